//! The host swaps directories, files and links around while clients walk, create, write, rename and
//! remove: whatever comes of that, nothing outside the exported directory is touched or read.
//!
//! Three seconds, or as many as DSFS_RACE_SECONDS says:
//! `DSFS_RACE_SECONDS=30 cargo test --test export_race`.

#[path = "export/ops.rs"]
#[allow(dead_code, reason = "the conformance run uses more of this")]
mod ops;
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, RenameFlags, Timespec, Timestamps, mkdirat, mkfifoat, openat,
    renameat_with, symlinkat, utimensat,
};
use styx::{Tmsg, dm, omode};

use ops::{Node, Ops, only};
use support::client::{Client, Failure, MSIZE, Outcome};
use support::program::Place;
use support::random::Random;

/// What is in every file outside, and in none inside.
const SECRET: &[u8] = b"outside outside outside";
/// What clients write.
const INSIDE: &[u8] = b"inside";
/// The names that are swapped, and that are the same inside and outside.
const DIRS: [&str; 3] = ["d0", "d1", "d2"];
const CLIENTS: u64 = 3;

/// How long a test of races runs.
fn duration() -> Duration {
    let seconds = std::env::var("DSFS_RACE_SECONDS").map(|seconds| seconds.parse());
    Duration::from_secs(seconds.unwrap_or(Ok(3)).expect("a number of seconds"))
}

/// How much longer it may take on a busy machine.
const BUSY: Duration = Duration::from_secs(60);

/// Outside: the same names as inside, so that whoever comes there finds what it looks for.
fn make_outside(place: &Place) -> PathBuf {
    let outside = place.path().join("outside");
    for dir in ["", "sub", "d0", "d0/sub", "d1", "d1/sub", "d2", "d2/sub"] {
        let dir = outside.join(dir);
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("f"), SECRET).unwrap();
        fs::write(dir.join("g"), SECRET).unwrap();
    }
    // Read last long before they were written, so that a read would show.
    let time = |tv_sec| Timespec { tv_sec, tv_nsec: 0 };
    let times = Timestamps { last_access: time(1), last_modification: time(1_000_000_000) };
    for path in all_below(&outside) {
        utimensat(CWD, &path, &times, AtFlags::empty()).unwrap();
    }
    outside
}

fn all_below(dir: &Path) -> Vec<PathBuf> {
    let mut all = vec![dir.to_path_buf()];
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { all.extend(all_below(&path)) } else { all.push(path) }
    }
    all
}

/// All that the host tells of what is outside, when it was last read included.
fn told_of(paths: &[PathBuf]) -> BTreeMap<PathBuf, String> {
    let of = |path: &PathBuf| {
        let meta = fs::symlink_metadata(path);
        meta.map_or("gone".into(), |meta| {
            format!(
                "mode {:o} length {} inode {} links {} owner {}:{} a {}.{} m {}.{} c {}.{}",
                meta.mode(),
                meta.len(),
                meta.ino(),
                meta.nlink(),
                meta.uid(),
                meta.gid(),
                meta.atime(),
                meta.atime_nsec(),
                meta.mtime(),
                meta.mtime_nsec(),
                meta.ctime(),
                meta.ctime_nsec()
            )
        })
    };
    paths.iter().map(|path| (path.clone(), of(path))).collect()
}

/// The host, who has a mind of his own: swaps what is there for a link that leads out, or for a
/// FIFO, and back; moves directories; and puts back what clients have removed.
fn swap(root: &Path, seed: u64, over: &AtomicBool) -> usize {
    let mut random = Random::new(seed);
    let root = open_dir(CWD, root).expect("the root is there");
    let exchange = |a: &OwnedFd, from: &str, b: &OwnedFd, to: &str| {
        renameat_with(a, from, b, to, RenameFlags::EXCHANGE).is_ok()
    };
    let mut swaps = 0;
    while !over.load(Ordering::Relaxed) {
        let (name, other) = (*random.pick(&DIRS), *random.pick(&DIRS));
        let link = format!("link {name}");
        if random.below(8) == 0 {
            swaps += usize::from(exchange(&root, name, &root, &link));
            continue;
        }
        let Ok(dir) = open_dir(&root, name) else { continue };
        let done = match random.below(7) {
            0 => exchange(&dir, "f", &dir, "link f"),
            1 => exchange(&dir, "sub", &dir, "link sub"),
            2 => exchange(&dir, "f", &dir, "fifo"),
            3 => exchange(&dir, "sub", &root, other),
            4 => exchange(&dir, "sub", &root, &link),
            5 => open_dir(&dir, "sub").is_ok_and(|sub| exchange(&sub, "f", &dir, "link f")),
            _ => {
                furnish(&root, name);
                false
            }
        };
        swaps += usize::from(done);
    }
    swaps
}

/// A directory, and never a link to one: the host itself must not be led outside here.
fn open_dir(from: impl AsFd, path: impl rustix::path::Arg) -> rustix::io::Result<OwnedFd> {
    openat(from, path, OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// Puts into a directory what may be missing there.
fn furnish(root: &OwnedFd, name: &str) {
    let mode = Mode::from_raw_mode(0o755);
    let _ = mkdirat(root, name, mode);
    let _ = symlinkat(format!("../outside/{name}"), root, format!("link {name}"));
    let Ok(dir) = open_dir(root, name) else { return };
    let _ = mkdirat(&dir, "sub", mode);
    let _ = symlinkat("../../outside/f", &dir, "link f");
    let _ = symlinkat("../../outside/sub", &dir, "link sub");
    let _ = mkfifoat(&dir, "fifo", mode);
    let sub = open_dir(&dir, "sub");
    for dir in [Ok(dir), sub].into_iter().flatten() {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        if let Ok(file) = openat(&dir, "f", flags, mode) {
            let _ = fs::File::from(file).write_at(INSIDE, 0);
        }
    }
}

#[derive(Default)]
struct Tally {
    read: AtomicUsize,
    written: AtomicUsize,
    made: AtomicUsize,
    removed: AtomicUsize,
    changed: AtomicUsize,
    listed: AtomicUsize,
    refused: AtomicUsize,
}

impl Tally {
    /// Of each kind in turn: read, written, made, removed, changed, listed, refused.
    fn counts(&self) -> [usize; 7] {
        let Tally { read, written, made, removed, changed, listed, refused } = self;
        let counts = [read, written, made, removed, changed, listed, refused];
        counts.map(|count| count.load(Ordering::Relaxed))
    }
}

/// Does what clients do, over and over, to names that are being swapped.
fn meddle(dial: &str, seed: u64, over: &AtomicBool, tally: &Tally) {
    let mut client = Client::mount(dial, MSIZE, "#U").unwrap();
    let mut random = Random::new(seed);
    while !over.load(Ordering::Relaxed) {
        let dir = *random.pick(&DIRS);
        let path = match random.below(4) {
            0 => format!("{dir}/f"),
            1 => format!("{dir}/g"),
            2 => format!("{dir}/sub/f"),
            _ => format!("{dir}/sub/g"),
        };
        let (done, outcome) = meddle_with(&mut client, &mut random, &path, tally);
        match outcome {
            Ok(()) => done.fetch_add(1, Ordering::Relaxed),
            Err(Failure::Error(_)) => tally.refused.fetch_add(1, Ordering::Relaxed),
            Err(failure) => panic!("{path}: {failure}"),
        };
    }
}

fn meddle_with<'a>(
    client: &mut Client,
    random: &mut Random,
    path: &str,
    tally: &'a Tally,
) -> (&'a AtomicUsize, Outcome<()>) {
    let dir = path.rsplit_once('/').expect("it is in a directory").0;
    match random.below(9) {
        0 | 1 => (&tally.read, read(client, path)),
        2 => (&tally.written, write(client, path, *random.pick(&[0, omode::OTRUNC]))),
        3 => (&tally.made, client.make(path, 0o644, INSIDE)),
        4 => {
            let made = client.create(path, 0o644, omode::OWRITE | omode::ORCLOSE);
            (&tally.removed, made.and_then(|(fid, _)| client.clunk(fid)))
        }
        5 => {
            let file = random.below(3) > 0;
            (&tally.removed, client.remove(if file { path } else { dir }))
        }
        6 => (&tally.changed, client.rename(path, ["f", "g", "h", "link f"][random.below(4)])),
        7 => {
            let changes = [
                only(|stat| stat.mode = 0o666),
                only(|stat| stat.length = 3),
                only(|stat| (stat.mtime, stat.atime) = (7, 7)),
                only(|stat| stat.gid = "daemon"),
                only(|stat| stat.mode = dm::APPEND | 0o644),
            ];
            (&tally.changed, client.wstat(path, *random.pick(&changes)))
        }
        _ => (&tally.listed, list(client, dir)),
    }
}

fn read(client: &mut Client, path: &str) -> Outcome<()> {
    let (fid, _) = client.open(path, omode::OREAD)?;
    let data = client.get(fid, 0, 100)?;
    assert!(!data.windows(7).any(|part| part == b"outside"), "{path} was read outside");
    client.clunk(fid)
}

fn write(client: &mut Client, path: &str, mode: u8) -> Outcome<()> {
    let (fid, _) = client.open(path, omode::OWRITE | mode)?;
    client.put(fid, 0, INSIDE)?;
    client.clunk(fid)
}

fn list(client: &mut Client, dir: &str) -> Outcome<()> {
    let (fid, _) = client.open(dir, omode::OREAD)?;
    let data = client.rpc(&Tmsg::Read { fid, offset: 0, count: 4000 })?.data().to_vec();
    for entry in support::client::Entry::all(&data)? {
        assert_ne!(entry.length, SECRET.len() as u64, "{} was seen outside", entry.name);
    }
    client.clunk(fid)
}

#[test]
fn nothing_outside_is_touched_or_read() {
    let place = Place::new();
    let outside = make_outside(&place);
    let root = open_dir(CWD, place.root()).unwrap();
    DIRS.iter().for_each(|dir| furnish(&root, dir));
    let node = Node::with(place, &[]);
    let paths = all_below(&outside);
    // Looking for them was a read of the directories; another does not show.
    let before = told_of(&paths);
    let over = Arc::new(AtomicBool::new(false));
    let tally = Arc::new(Tally::default());
    let swappers: Vec<_> = (0..2)
        .map(|number| {
            let (root, over) = (node.place.root(), over.clone());
            thread::spawn(move || swap(&root, 1 + number, &over))
        })
        .collect();
    let meddlers: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let (dial, over) = (node.program.dial().to_owned(), over.clone());
            let tally = tally.clone();
            thread::spawn(move || meddle(&dial, 100 + number, &over, &tally))
        })
        .collect();
    // A race that never happens is none: on a busy machine it goes on until it has.
    let (begun, least) = (Instant::now(), duration());
    let is_enough = || begun.elapsed() >= least && tally.counts().iter().all(|count| *count > 10);
    while !is_enough()
        && begun.elapsed() < least + BUSY
        && !meddlers.iter().any(|meddler| meddler.is_finished())
    {
        thread::sleep(Duration::from_millis(20));
    }
    over.store(true, Ordering::Relaxed);
    meddlers.into_iter().for_each(|meddler| meddler.join().expect("nothing was seen outside"));
    let swaps: usize = swappers.into_iter().map(|swapper| swapper.join().unwrap()).sum();
    assert_eq!(told_of(&paths), before);
    assert_eq!(all_below(&outside).len(), paths.len(), "nothing was made outside");
    let counts = tally.counts();
    println!("{swaps} swaps; read, written, made, removed, changed, listed, refused: {counts:?}");
    assert!(swaps > 100, "{swaps}");
    assert!(counts.iter().all(|count| *count > 10), "{counts:?}");
}
