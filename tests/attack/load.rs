//! All of them at once.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::crowd::{self, BIG, CALM};
use crate::frames;
use crate::support::client::{Client, MSIZE};
use crate::support::program::{Place, Program, Serve, eventually};

/// How large an attack is.
struct Counts {
    frames: u64,
    quick: usize,
    idle: usize,
    slow: usize,
    deaf: usize,
}

const FULL: Counts = Counts { frames: 1_000_000, quick: 20_000, idle: 5000, slow: 200, deaf: 10 };
const SMALL: Counts = Counts { frames: 20_000, quick: 500, idle: 200, slow: 20, deaf: 10 };

/// What the allocator may keep after a small attack, in bytes: of each size some. After the whole one,
/// nothing more than a tenth.
const KEPT: u64 = 2 << 20;

/// The descriptors of the devices that there may be afterwards: hostile clients configure some too.
const DEVICE_FILES: usize = 64 * 2;

/// The allocator gives back within 10 s.
const GIVEN_BACK: Duration = Duration::from_secs(12);

/// Small reads of a well-behaved client wait no longer than this, but for one in a hundred.
const P99: Duration = Duration::from_millis(50);

fn is_full() -> bool {
    std::env::var("DSFS_ATTACK").is_ok_and(|value| value == "full")
}

struct Server {
    // Before the place, so that it is killed first.
    program: Program,
    /// How many descriptors it had before the first client came.
    files: usize,
    place: Place,
}

impl Server {
    fn start() -> Server {
        let place = Place::new();
        let root = place.root();
        fs::write(root.join("secret"), crowd::calm()).expect("a new file");
        fs::write(root.join("huge"), vec![5; 1 << 20]).expect("a new file");
        fs::write(root.join("f"), vec![6; 100_000]).expect("a new file");
        fs::create_dir(root.join("sub")).expect("a new directory");
        symlink("../..", root.join("out")).expect("a new link");
        symlink("sub", root.join("link")).expect("a new link");
        mknodat(CWD, root.join("fifo"), FileType::Fifo, Mode::from_raw_mode(0o600), 0)
            .expect("a new fifo");
        let socket = place.path().join("socket");
        let program = Serve::on("tcp!127.0.0.1!0")
            .and_on(&format!("unix!{}", socket.display()))
            .flag("--export")
            .option("--root", root)
            .start();
        let files = program.open_files();
        let mut client = Client::mount(program.dial(), MSIZE, "").expect("it serves");
        client.ctl(&format!("part {CALM} /secret 0 65536")).expect("a device");
        client.ctl(&format!("part {BIG} /huge 0 1048576")).expect("a device");
        client.ctl("mirror d /f").expect("a device");
        Server { program, files, place }
    }

    fn socket(&self) -> PathBuf {
        self.place.path().join("socket")
    }

    /// The memory that it has once all clients are gone, and have left no descriptor behind.
    fn at_rest(&self) -> u64 {
        eventually("it closes what is gone", || {
            (self.program.open_files() <= self.files + DEVICE_FILES).then_some(())
        });
        self.program.memory()
    }
}

/// As many descriptors as this process may have.
fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    setrlimit(Resource::Nofile, raised).expect("it may have what it may have");
}

/// Sends so many frames from several clients at once.
fn send_frames(socket: &Path, first: u64, frames: u64) {
    let (next, last) = (AtomicU64::new(first), first + frames.div_ceil(frames::FRAMES as u64));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= last {
                        return;
                    }
                    frames::send(socket, seed);
                }
            });
        }
    });
}

#[test]
fn frames_of_any_bytes_get_whole_answers_or_an_end() {
    let server = Server::start();
    let seed = std::env::var("DSFS_SEED").ok().and_then(|seed| seed.parse().ok());
    match seed {
        Some(seed) => frames::send(&server.socket(), seed),
        None => send_frames(&server.socket(), 1_000_000, SMALL.frames / 4),
    }
    let mut client = Client::mount(server.program.dial(), MSIZE, "").expect("it lives");
    assert!(client.read(&[CALM], 0, 4096).expect("it serves") == crowd::calm()[..4096]);
}

#[test]
fn a_well_behaved_client_is_served_in_the_middle_of_all_attacks() {
    let counts = if is_full() { FULL } else { SMALL };
    raise_descriptors();
    let mut server = Server::start();
    let program = &server.program;
    // What is kept for the next time is kept once.
    send_frames(&server.socket(), 1, 2000);
    crowd::quick(program, 100);
    drop((crowd::idle(program, 100), crowd::deaf(program, counts.deaf)));
    if is_full() {
        thread::sleep(GIVEN_BACK);
    }
    let memory = server.at_rest();

    let (over, start) = (&AtomicBool::new(false), Instant::now());
    let mut most = 0;
    let waits = thread::scope(|scope| {
        let calm = scope.spawn(|| crowd::calm_reads(program, over));
        let slow = scope.spawn(|| crowd::slow(program, counts.slow, over));
        let deaf = crowd::deaf(program, counts.deaf);
        let idle = crowd::idle(program, counts.idle);
        let quick = scope.spawn(|| crowd::quick(program, counts.quick));
        send_frames(&server.socket(), 1, counts.frames);
        quick.join().expect("it accepts them all");
        most = program.memory();
        over.store(true, Ordering::Relaxed);
        slow.join().expect("every answer comes, and is right");
        drop((deaf, idle));
        calm.join().expect("every answer comes, and is right")
    });
    let took = start.elapsed();
    println!(
        "{took:?}: {} small reads, p50 {:?}, p99 {:?}, the longest {:?}; memory {memory} before, \
         {most} at the end of it, {} after",
        waits.count(),
        waits.of_a_thousand(500),
        waits.of_a_thousand(990),
        waits.of_a_thousand(1000),
        server.at_rest(),
    );
    assert_eq!(server.program.ended(), None, "{}", server.program.errors());
    let most = memory + memory / 10 + if is_full() { 0 } else { KEPT };
    let held = eventually("the memory is given back", || {
        Some(server.program.memory()).filter(|&held| held <= most)
    });
    println!("memory {held} in the end");
    if is_full() && !cfg!(debug_assertions) {
        assert!(waits.of_a_thousand(990) < P99, "a well-behaved client waits too long");
    }
}
