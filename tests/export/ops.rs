//! A server that exports a directory, and what a client does there, by path. Paths are from the
//! root, with `/` between names; the root is "". Nothing here knows what an answer should be.

use std::fmt::Debug;
use std::path::PathBuf;

use styx::{IOHDRSZ, MAXWELEM, Qid, Rmsg, Stat, Tmsg};

use crate::support::client::{Client, Entry, Failure, MSIZE, Outcome, entry};
use crate::support::program::{Place, Program, Serve};

/// Where a test's server listens.
pub const ANY_PORT: &str = "tcp!127.0.0.1!0";

/// A server with `--export`, a client attached to `#U`, and the exported directory.
pub struct Node {
    pub client: Client,
    pub program: Program,
    pub place: Place,
}

impl Node {
    /// With an empty root.
    pub fn start() -> Node {
        Node::with(Place::new(), &[])
    }

    /// With the root of `place`, and these further options.
    pub fn with(place: Place, flags: &[&str]) -> Node {
        let serve = Serve::on(ANY_PORT).flag("--export").option("--root", place.root());
        Node::of(flags.iter().fold(serve, |serve, flag| serve.flag(flag)), place)
    }

    /// Of a server that is run by nobody, with the root of `place`.
    pub fn as_nobody(place: Place) -> Node {
        let serve = Serve::as_nobody(ANY_PORT, place.path());
        Node::of(serve.flag("--export").option("--root", place.root()), place)
    }

    /// With an empty root, and a server that may have no more than this many descriptors.
    pub fn with_descriptors(count: usize) -> Node {
        let place = Place::new();
        let serve = Serve::with_descriptors(ANY_PORT, count);
        Node::of(serve.flag("--export").option("--root", place.root()), place)
    }

    fn of(serve: Serve, place: Place) -> Node {
        let program = serve.start();
        let client = Client::mount(program.dial(), MSIZE, "#U").expect("the export is served");
        Node { client, program, place }
    }

    /// Where a file is on the host.
    pub fn host(&self, path: &str) -> PathBuf {
        self.place.root().join(path)
    }

    /// Another client of the same server.
    pub fn another(&self) -> Client {
        Client::mount(self.program.dial(), MSIZE, "#U").expect("the export is served")
    }
}

/// The text of the Rerror that was answered.
///
/// # Panics
/// If it was none.
pub fn refused<T: Debug>(outcome: Outcome<T>) -> String {
    match outcome {
        Err(Failure::Error(text)) => text,
        other => panic!("an Rerror was wanted, and this came: {other:?}"),
    }
}

/// Operations by path.
pub trait Ops {
    /// A fid of the file at `path`.
    fn go(&mut self, path: &str) -> Outcome<u32>;
    /// The qid of the file at `path`.
    fn qid(&mut self, path: &str) -> Outcome<Qid>;
    /// Walks there and opens it: the fid and the qid of Ropen.
    fn open(&mut self, path: &str, mode: u8) -> Outcome<(u32, Qid)>;
    /// Opens a fid.
    fn open_fid(&mut self, fid: u32, mode: u8) -> Outcome<Qid>;
    /// Creates a file in the directory of `path`, and opens it: the fid and the qid of Rcreate.
    fn create(&mut self, path: &str, perm: u32, mode: u8) -> Outcome<(u32, Qid)>;
    /// Creates it with this content, and clunks it.
    fn make(&mut self, path: &str, perm: u32, data: &[u8]) -> Outcome<()>;
    /// Creates a directory, and clunks it.
    fn make_dir(&mut self, path: &str) -> Outcome<()>;
    /// One Tread.
    fn get(&mut self, fid: u32, offset: u64, count: u32) -> Outcome<Vec<u8>>;
    /// One Twrite.
    fn put(&mut self, fid: u32, offset: u64, data: &[u8]) -> Outcome<u32>;
    /// Tclunk.
    fn clunk(&mut self, fid: u32) -> Outcome<()>;
    /// Walks there and removes it.
    fn remove(&mut self, path: &str) -> Outcome<()>;
    /// Tremove.
    fn remove_fid(&mut self, fid: u32) -> Outcome<()>;
    /// The entry of the file at `path`.
    fn entry(&mut self, path: &str) -> Outcome<Entry>;
    /// The entry of a fid.
    fn entry_of(&mut self, fid: u32) -> Outcome<Entry>;
    /// Twstat of the file at `path`.
    fn wstat(&mut self, path: &str, stat: Stat<'_>) -> Outcome<()>;
    /// Twstat.
    fn wstat_fid(&mut self, fid: u32, stat: Stat<'_>) -> Outcome<()>;
    /// Renames the file at `path`.
    fn rename(&mut self, path: &str, name: &str) -> Outcome<()>;
    /// The names in a directory, sorted.
    fn names(&mut self, path: &str) -> Outcome<Vec<String>>;
    /// All that is in a file.
    fn content(&mut self, path: &str) -> Outcome<Vec<u8>>;
}

/// The names of a path.
pub fn names_of(path: &str) -> Vec<&str> {
    path.split('/').filter(|name| !name.is_empty()).collect()
}

/// A wstat that changes nothing but what `change` does to it.
pub fn only(change: impl FnOnce(&mut Stat<'static>)) -> Stat<'static> {
    let mut stat = Stat::DONT_TOUCH;
    change(&mut stat);
    stat
}

impl Ops for Client {
    fn go(&mut self, path: &str) -> Outcome<u32> {
        let names = names_of(path);
        let fid = self.fid();
        let mut from = 0;
        let mut parts = names.chunks(MAXWELEM);
        loop {
            let part = parts.next().unwrap_or(&[]);
            let walked = self.walk(from, fid, part).and_then(|reply| match reply.msg() {
                Rmsg::Walk { qids } if qids.len() == part.len() => Ok(()),
                Rmsg::Walk { qids } => Err(Failure::Error(format!("(short walk {})", qids.len()))),
                _ => unreachable!(),
            });
            if let Err(failure) = walked {
                if from != 0 {
                    self.clunk(fid)?;
                }
                return Err(failure);
            }
            from = fid;
            if parts.len() == 0 {
                return Ok(fid);
            }
        }
    }

    fn qid(&mut self, path: &str) -> Outcome<Qid> {
        self.entry(path).map(|entry| entry.qid)
    }

    fn open(&mut self, path: &str, mode: u8) -> Outcome<(u32, Qid)> {
        let fid = self.go(path)?;
        match self.open_fid(fid, mode) {
            Ok(qid) => Ok((fid, qid)),
            Err(failure) => {
                self.clunk(fid)?;
                Err(failure)
            }
        }
    }

    fn open_fid(&mut self, fid: u32, mode: u8) -> Outcome<Qid> {
        match self.rpc(&Tmsg::Open { fid, mode })?.msg() {
            Rmsg::Open { qid, .. } => Ok(qid),
            _ => unreachable!(),
        }
    }

    fn create(&mut self, path: &str, perm: u32, mode: u8) -> Outcome<(u32, Qid)> {
        let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
        let fid = self.go(dir)?;
        match self.rpc(&Tmsg::Create { fid, name, perm, mode }) {
            Ok(reply) => match reply.msg() {
                Rmsg::Create { qid, .. } => Ok((fid, qid)),
                _ => unreachable!(),
            },
            Err(failure) => {
                self.clunk(fid)?;
                Err(failure)
            }
        }
    }

    fn make(&mut self, path: &str, perm: u32, data: &[u8]) -> Outcome<()> {
        let (fid, _) = self.create(path, perm, styx::omode::OWRITE)?;
        let most = (self.msize() - IOHDRSZ) as usize;
        for (number, part) in data.chunks(most).enumerate() {
            self.put(fid, (number * most) as u64, part)?;
        }
        self.clunk(fid)
    }

    fn make_dir(&mut self, path: &str) -> Outcome<()> {
        let (fid, _) = self.create(path, styx::dm::DIR | 0o777, styx::omode::OREAD)?;
        self.clunk(fid)
    }

    fn get(&mut self, fid: u32, offset: u64, count: u32) -> Outcome<Vec<u8>> {
        Ok(self.rpc(&Tmsg::Read { fid, offset, count })?.data().to_vec())
    }

    fn put(&mut self, fid: u32, offset: u64, data: &[u8]) -> Outcome<u32> {
        match self.rpc(&Tmsg::Write { fid, offset, data })?.msg() {
            Rmsg::Write { count } => Ok(count),
            _ => unreachable!(),
        }
    }

    fn clunk(&mut self, fid: u32) -> Outcome<()> {
        self.rpc(&Tmsg::Clunk { fid }).map(drop)
    }

    fn remove(&mut self, path: &str) -> Outcome<()> {
        let fid = self.go(path)?;
        self.remove_fid(fid)
    }

    fn remove_fid(&mut self, fid: u32) -> Outcome<()> {
        self.rpc(&Tmsg::Remove { fid }).map(drop)
    }

    fn entry(&mut self, path: &str) -> Outcome<Entry> {
        let fid = self.go(path)?;
        let entry = self.entry_of(fid);
        self.clunk(fid)?;
        entry
    }

    fn entry_of(&mut self, fid: u32) -> Outcome<Entry> {
        entry(&self.rpc(&Tmsg::Stat { fid })?)
    }

    fn wstat(&mut self, path: &str, stat: Stat<'_>) -> Outcome<()> {
        let fid = self.go(path)?;
        let done = self.wstat_fid(fid, stat);
        self.clunk(fid)?;
        done
    }

    fn wstat_fid(&mut self, fid: u32, stat: Stat<'_>) -> Outcome<()> {
        let mut bytes = Vec::new();
        stat.encode(&mut bytes);
        self.rpc(&Tmsg::Wstat { fid, stat: &bytes }).map(drop)
    }

    fn rename(&mut self, path: &str, name: &str) -> Outcome<()> {
        self.wstat(path, Stat { name, ..Stat::DONT_TOUCH })
    }

    fn names(&mut self, path: &str) -> Outcome<Vec<String>> {
        let entries = self.ls(&names_of(path))?;
        let mut names: Vec<_> = entries.into_iter().map(|entry| entry.name).collect();
        names.sort();
        Ok(names)
    }

    fn content(&mut self, path: &str) -> Outcome<Vec<u8>> {
        self.read_all(&names_of(path))
    }
}
