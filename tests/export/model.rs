//! Operations at random, by several clients, on the server and on a model of what it should have:
//! each answer must be the model's, and at the end the host must have what the model has.
//!
//! The model knows nothing of paths: a fid stands for a file, which keeps its fids whatever it is
//! called, until it is removed. A seed is one run; a run that fails says which.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use styx::{Qid, Stat, dm, enames, omode};

use crate::ops::{Node, Ops, only, refused};
use crate::support::client::{Client, Entry, Outcome};
use crate::support::random::Random;

/// Runs in one test, unless one is asked for.
const RUNS: u64 = 12;
/// Operations in one run.
const STEPS: usize = 500;
const CLIENTS: usize = 3;
/// Names are few, so that they meet.
const NAMES: [&str; 6] = ["a", "b", "c", "d", "two words", "\u{fc}"];

#[derive(Debug)]
struct File {
    parent: usize,
    name: String,
    /// What stat(5) says of it.
    mode: u32,
    data: Vec<u8>,
    children: BTreeMap<String, usize>,
    removed: bool,
    mtime: Option<u32>,
    qid_path: Option<u64>,
    /// Open fids of an exclusive-use file.
    claimed: usize,
}

impl File {
    fn new(parent: usize, name: &str, mode: u32) -> File {
        File {
            parent,
            name: name.to_owned(),
            mode,
            data: Vec::new(),
            children: BTreeMap::new(),
            removed: false,
            mtime: None,
            qid_path: None,
            claimed: 0,
        }
    }

    fn is_dir(&self) -> bool {
        self.mode & dm::DIR != 0
    }
}

#[derive(Clone, Copy, Debug)]
struct Fid {
    number: u32,
    file: usize,
    mode: Option<u8>,
    claims: bool,
}

struct World {
    files: Vec<File>,
    fids: Vec<Vec<Fid>>,
}

const ROOT: usize = 0;

impl World {
    fn remove(&mut self, file: usize) -> Result<(), &'static str> {
        match &self.files[file] {
            _ if file == ROOT => Err(enames::EPERM),
            File { removed: true, .. } => Err(enames::ENONEXIST),
            File { children, .. } if !children.is_empty() => Err("Directory not empty"),
            File { parent, name, .. } => {
                let (parent, name) = (*parent, name.clone());
                self.files[parent].children.remove(&name);
                self.files[file].removed = true;
                Ok(())
            }
        }
    }

    /// The fid is gone; what a clunk of it answers.
    fn close(&mut self, client: usize, fid: usize) -> Result<(), &'static str> {
        let fid = self.fids[client].remove(fid);
        if fid.claims {
            self.files[fid.file].claimed -= 1;
        }
        match fid.mode {
            Some(mode) if mode & omode::ORCLOSE != 0 => self.remove(fid.file),
            _ => Ok(()),
        }
    }

    fn open(&mut self, client: usize, fid: usize, mode: u8) -> Result<(), &'static str> {
        let Fid { file: at, mode: open, .. } = self.fids[client][fid];
        let file = &mut self.files[at];
        if open.is_some() {
            return Err(enames::EMODE);
        }
        if file.is_dir() && mode != omode::OREAD {
            let executes = mode & omode::ACCESS == omode::OEXEC;
            return Err(if executes { enames::EEXECDIR } else { enames::EPERM });
        }
        if file.removed {
            return Err(enames::ENONEXIST);
        }
        let claims = file.mode & dm::EXCL != 0;
        if claims && file.claimed > 0 {
            return Err(enames::ELOCKED);
        }
        if mode & omode::ACCESS == omode::OEXEC && file.mode & 0o111 == 0 {
            return Err(enames::EPERM);
        }
        if mode & omode::OTRUNC != 0 && file.mode & dm::APPEND == 0 {
            file.data.clear();
            file.mtime = None;
        }
        file.claimed += usize::from(claims);
        let fid = &mut self.fids[client][fid];
        (fid.mode, fid.claims) = (Some(mode), claims);
        Ok(())
    }

    fn create(
        &mut self,
        client: usize,
        fid: usize,
        (name, perm, mode): (&str, u32, u8),
    ) -> Result<(), &'static str> {
        let Fid { file: dir, mode: open, .. } = self.fids[client][fid];
        let parent = &self.files[dir];
        if open.is_some() {
            return Err(enames::EMODE);
        }
        if !parent.is_dir() {
            return Err(enames::ENOTDIR);
        }
        if perm & dm::DIR != 0 && mode != omode::OREAD {
            let executes = mode & omode::ACCESS == omode::OEXEC;
            return Err(if executes { enames::EEXECDIR } else { enames::EPERM });
        }
        if parent.removed {
            return Err(enames::ENONEXIST);
        }
        if parent.children.contains_key(name) {
            return Err(enames::EEXIST);
        }
        let kept = if perm & dm::DIR == 0 { 0o666 } else { 0o777 };
        let mode_bits = perm & !0o777 | perm & 0o777 & (!kept | parent.mode & kept);
        let at = self.files.len();
        let mut file = File::new(dir, name, mode_bits);
        let claims = perm & dm::EXCL != 0;
        file.claimed = usize::from(claims);
        self.files.push(file);
        self.files[dir].children.insert(name.to_owned(), at);
        let number = self.fids[client][fid].number;
        self.fids[client][fid] = Fid { number, file: at, mode: Some(mode), claims };
        Ok(())
    }

    /// The path of a file that is not removed.
    fn path(&self, file: usize) -> String {
        let (mut names, mut at) = (Vec::new(), file);
        while at != ROOT {
            names.push(self.files[at].name.as_str());
            at = self.files[at].parent;
        }
        names.reverse();
        names.join("/")
    }
}

struct Run {
    random: Random,
    world: World,
    clients: Vec<Client>,
}

/// Both failed for the same reason, or neither did.
fn agree<T: std::fmt::Debug>(
    what: &str,
    expected: Result<(), &'static str>,
    came: Outcome<T>,
) -> Option<T> {
    match expected {
        Ok(()) => Some(came.unwrap_or_else(|failure| panic!("{what}: {failure}"))),
        Err(text) => {
            assert_eq!(refused(came), text, "{what}");
            None
        }
    }
}

impl Run {
    fn step(&mut self) {
        let client = self.random.below(CLIENTS);
        let fid = self.random.below(self.world.fids[client].len());
        // The root's fid stays what it is, to walk from.
        let is_root = self.world.fids[client][fid].number == 0;
        match self.random.below(100) {
            25..52 | 92.. if is_root => {}
            0..25 => self.walk(client, fid),
            25..37 => self.create(client, fid),
            37..52 => self.open(client, fid),
            52..62 => self.write(client, fid),
            62..72 => self.read(client, fid),
            72..80 => self.stat(client, fid),
            80..88 => self.wstat(client, fid),
            88..92 => self.rename(client, fid),
            92..96 => self.clunk(client, fid),
            _ => self.remove(client, fid),
        }
    }

    /// To a new fid, so that there are always some.
    fn walk(&mut self, client: usize, fid: usize) {
        let Fid { number: from, file: mut at, mode, .. } = self.world.fids[client][fid];
        let names: Vec<&str> = (0..self.random.below(4))
            .map(|_| if self.random.chance(15) { ".." } else { *self.random.pick(&NAMES) })
            .collect();
        let newfid = self.clients[client].fid();
        let reply = self.clients[client].walk(from, newfid, &names);
        if mode.is_some() {
            assert_eq!(refused(reply), enames::EWALKOPEN);
            return;
        }
        let mut walked = 0;
        let mut error = "";
        for name in &names {
            let file = &self.world.files[at];
            if !file.is_dir() {
                error = enames::ENOTDIR;
                break;
            }
            let next = match *name {
                // A removed directory has still a parent, as long as that is there.
                ".." => Some(file.parent),
                name if !file.removed => file.children.get(name).copied(),
                _ => None,
            };
            match next.filter(|next| !self.world.files[*next].removed) {
                Some(next) => at = next,
                None => {
                    error = enames::ENONEXIST;
                    break;
                }
            }
            walked += 1;
        }
        if walked == 0 && !names.is_empty() {
            assert_eq!(refused(reply), error, "walk of {names:?}");
            return;
        }
        let reply = reply.unwrap_or_else(|failure| panic!("walk of {names:?}: {failure}"));
        let styx::Rmsg::Walk { qids } = reply.msg() else { unreachable!() };
        assert_eq!(qids.len(), walked, "walk of {names:?}");
        if walked == names.len() {
            if let Some(&qid) = qids.last() {
                self.check_qid(at, qid);
            }
            self.world.fids[client].push(Fid {
                number: newfid,
                file: at,
                mode: None,
                claims: false,
            });
        }
    }

    fn check_qid(&mut self, file: usize, qid: Qid) {
        let file = &mut self.world.files[file];
        assert_eq!(u32::from(qid.kind), file.mode >> 24, "{file:?}");
        let known = *file.qid_path.get_or_insert(qid.path);
        assert_eq!(known, qid.path, "{file:?}");
    }

    fn create(&mut self, client: usize, fid: usize) {
        let name = *self.random.pick(&NAMES);
        let bits = [0, 0, 0, 0, dm::APPEND, dm::EXCL, dm::TMP, dm::DIR, dm::DIR, dm::DIR];
        let perm = *self.random.pick(&bits) | *self.random.pick(&[0o666, 0o777, 0o640, 0o200]);
        let mode = self.mode(perm & dm::DIR != 0);
        let number = self.world.fids[client][fid].number;
        let asked = styx::Tmsg::Create { fid: number, name, perm, mode };
        let came = self.clients[client].rpc(&asked);
        let expected = self.world.create(client, fid, (name, perm, mode));
        let what = format!("create {name} {perm:o} {mode:#x}");
        if let Some(reply) = agree(&what, expected, came) {
            let styx::Rmsg::Create { qid, .. } = reply.msg() else { unreachable!() };
            self.check_qid(self.world.fids[client][fid].file, qid);
        }
    }

    fn mode(&mut self, is_dir: bool) -> u8 {
        if is_dir && self.random.chance(90) {
            return omode::OREAD;
        }
        let extra = if self.random.chance(10) { omode::ORCLOSE } else { 0 };
        let extra = extra | if self.random.chance(10) { omode::OTRUNC } else { 0 };
        let access = [omode::OREAD, omode::OWRITE, omode::ORDWR, omode::ORDWR, omode::OEXEC];
        *self.random.pick(&access) | extra
    }

    fn open(&mut self, client: usize, fid: usize) {
        let Fid { number, file, .. } = self.world.fids[client][fid];
        let mode = self.mode(self.world.files[file].is_dir());
        let came = self.clients[client].open_fid(number, mode);
        let expected = self.world.open(client, fid, mode);
        if let Some(qid) = agree(&format!("open {mode:#x}"), expected, came) {
            self.check_qid(file, qid);
        }
    }

    fn write(&mut self, client: usize, fid: usize) {
        let Fid { number, file, mode, .. } = self.world.fids[client][fid];
        let offset = self.random.below(3000);
        let data = vec![self.random.below(256) as u8; self.random.below(2000)];
        let came = self.clients[client].put(number, offset as u64, &data);
        let expected = match mode.map(|mode| mode & omode::ACCESS) {
            None => Err(enames::EMODE),
            Some(omode::OWRITE | omode::ORDWR) => Ok(()),
            Some(_) => Err(enames::EBADUSE),
        };
        let Some(count) = agree("write", expected, came) else { return };
        assert_eq!(count as usize, data.len());
        let file = &mut self.world.files[file];
        let start = if file.mode & dm::APPEND == 0 { offset } else { file.data.len() };
        // How it was opened decides, not what it has become since.
        if !data.is_empty() {
            file.data.resize(file.data.len().max(start + data.len()), 0);
            file.data[start..start + data.len()].copy_from_slice(&data);
            file.mtime = None;
        }
    }

    fn read(&mut self, client: usize, fid: usize) {
        let Fid { number, file, mode, .. } = self.world.fids[client][fid];
        let is_dir = self.world.files[file].is_dir();
        let offset = if is_dir { 0 } else { self.random.below(4000) };
        let came = self.clients[client].get(number, offset as u64, 4000);
        let expected = match mode.map(|mode| mode & omode::ACCESS) {
            None => Err(enames::EMODE),
            Some(omode::OWRITE) => Err(enames::EBADUSE),
            Some(_) => Ok(()),
        };
        let Some(data) = agree("read", expected, came) else { return };
        let file = &self.world.files[file];
        if !is_dir {
            let end = file.data.len().min(offset + 4000);
            assert!(data == file.data[offset.min(end)..end], "the bytes of {}", file.name);
            return;
        }
        let mut names: Vec<String> =
            Entry::all(&data).unwrap().into_iter().map(|entry| entry.name).collect();
        names.sort();
        assert!(names.iter().eq(file.children.keys()), "{names:?} {:?}", file.children);
    }

    fn stat(&mut self, client: usize, fid: usize) {
        let Fid { number, file, mode, .. } = self.world.fids[client][fid];
        let came = self.clients[client].entry_of(number);
        let there = mode.is_some() || !self.world.files[file].removed;
        let expected = if there { Ok(()) } else { Err(enames::ENONEXIST) };
        let Some(entry) = agree("stat", expected, came) else { return };
        self.check_qid(file, entry.qid);
        let file = &self.world.files[file];
        assert_eq!((&entry.name, entry.mode), (&file.name, file.mode));
        assert_eq!(entry.length as usize, file.data.len(), "{}", file.name);
        assert!(file.mtime.is_none_or(|mtime| mtime == entry.mtime), "{file:?} {entry:?}");
    }

    /// Everything but the name.
    fn wstat(&mut self, client: usize, fid: usize) {
        let Fid { number, file, mode, .. } = self.world.fids[client][fid];
        let target = &self.world.files[file];
        let mut stat = Stat::DONT_TOUCH;
        if self.random.chance(40) && file != ROOT {
            let bits = if target.is_dir() {
                dm::DIR
            } else {
                *self.random.pick(&[0, 0, dm::APPEND, dm::TMP])
            };
            // An open file goes on as it was opened, which this model does not know.
            let bits = if target.is_dir() || self.anyone_has_open(file) {
                target.mode & !0o777
            } else {
                bits
            };
            stat.mode = bits | *self.random.pick(&[0o777, 0o644, 0o400]);
        }
        if self.random.chance(30) {
            stat.mtime = self.random.below(2_000_000_000) as u32;
        }
        if self.random.chance(40) {
            stat.length = self.random.below(3000) as u64;
        }
        let came = self.clients[client].wstat_fid(number, stat);
        let target = &mut self.world.files[file];
        let cuts = stat.length != !0 && stat.length != target.data.len() as u64;
        let expected = if stat.is_sync() && (mode.is_some() || !target.removed) {
            Ok(())
        } else if target.removed && mode.is_none() {
            Err(enames::ENONEXIST)
        } else if cuts && (target.is_dir() || target.mode & dm::APPEND != 0) {
            Err(enames::EPERM)
        } else {
            Ok(())
        };
        if agree(&format!("{stat:?}"), expected, came).is_none() {
            return;
        }
        if stat.mode != !0 {
            target.mode = stat.mode;
        }
        if cuts {
            target.data.resize(stat.length as usize, 0);
            target.mtime = None;
        }
        if stat.mtime != !0 {
            target.mtime = Some(stat.mtime);
        }
        // A directory's changes with what is in it.
        if target.is_dir() {
            target.mtime = None;
        }
    }

    fn anyone_has_open(&self, file: usize) -> bool {
        self.world.fids.iter().flatten().any(|fid| fid.file == file && fid.mode.is_some())
    }

    fn rename(&mut self, client: usize, fid: usize) {
        let Fid { number, file, .. } = self.world.fids[client][fid];
        let name = *self.random.pick(&NAMES);
        let came = self.clients[client].wstat_fid(number, only(|stat| stat.name = name));
        let target = &self.world.files[file];
        let siblings = &self.world.files[target.parent].children;
        let expected = match target {
            _ if file == ROOT => Err(enames::EPERM),
            File { removed: true, name: old, .. } if old != name => Err(enames::ENONEXIST),
            File { removed: true, .. } if self.world.fids[client][fid].mode.is_none() => {
                Err(enames::ENONEXIST)
            }
            File { name: old, .. } if old == name => Ok(()),
            _ if siblings.contains_key(name) => Err(enames::EEXIST),
            _ => Ok(()),
        };
        if agree(&format!("rename to {name}"), expected, came).is_none() || target.name == name {
            return;
        }
        let (parent, old) = (target.parent, target.name.clone());
        self.world.files[file].name = name.to_owned();
        let siblings = &mut self.world.files[parent].children;
        siblings.remove(&old);
        siblings.insert(name.to_owned(), file);
    }

    fn clunk(&mut self, client: usize, fid: usize) {
        let number = self.world.fids[client][fid].number;
        let came = self.clients[client].clunk(number);
        let expected = self.world.close(client, fid);
        agree("clunk", expected, came);
    }

    fn remove(&mut self, client: usize, fid: usize) {
        let Fid { number, file, .. } = self.world.fids[client][fid];
        let came = self.clients[client].remove_fid(number);
        self.world.fids[client][fid].mode = None;
        let _ = self.world.close(client, fid);
        let expected = self.world.remove(file);
        agree("remove", expected, came);
    }

    /// What the host has is what the model has.
    fn check_host(&self, root: &Path) {
        let mut found = 0;
        for (number, file) in self.world.files.iter().enumerate() {
            if number == ROOT || file.removed {
                continue;
            }
            found += 1;
            let path = root.join(self.world.path(number));
            let meta =
                fs::symlink_metadata(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
            assert_eq!(meta.is_dir(), file.is_dir(), "{path:?}");
            assert_eq!(meta.mode() & 0o777, file.mode & 0o777, "{path:?}");
            if !file.is_dir() {
                assert!(fs::read(&path).unwrap() == file.data, "the bytes of {path:?}");
            }
        }
        assert_eq!(count(root), found);
    }
}

fn count(dir: &Path) -> usize {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| 1 + if entry.path().is_dir() { count(&entry.path()) } else { 0 }).sum()
}

fn run(seed: u64) {
    let node = Node::start();
    let root = File::new(ROOT, "/", dm::DIR | 0o755);
    let start = Fid { number: 0, file: ROOT, mode: None, claims: false };
    let mut run = Run {
        random: Random::new(seed),
        world: World { files: vec![root], fids: vec![vec![start]; CLIENTS] },
        clients: (0..CLIENTS).map(|_| node.another()).collect(),
    };
    (0..STEPS).for_each(|_| run.step());
    run.check_host(&node.place.root());
}

#[test]
fn a_model_of_the_tree_agrees() {
    let seeds = match std::env::var("DSFS_SEED") {
        Ok(seed) => vec![seed.parse().expect("a seed is a number")],
        Err(_) => (1..=RUNS).collect(),
    };
    for seed in seeds {
        if std::panic::catch_unwind(|| run(seed)).is_err() {
            panic!("replay: DSFS_SEED={seed} cargo test --test export model");
        }
    }
}
