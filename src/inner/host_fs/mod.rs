//! The root directory as a file system: what the export (`#U`) asks of the host, and nothing else.
//!
//! Every operation starts at the root's own descriptor and ends before it returns: but for open
//! files, nothing of the host is held from one to the next. It must never follow a name out of the
//! root, open what is neither file, directory nor block device, or act on another file than the
//! one that was meant. So a name is resolved by `openat2` with RESOLVE_BENEATH and NO_MAGICLINKS to
//! an O_PATH descriptor, which opens nothing; what that is gets compared with what is wanted
//! ([`Identity`]); and what is done then is done to that descriptor, by way of `/proc/self/fd`, or,
//! to a name, in the descriptor of its directory, without following a link there.
//!
//! What the host does may wait for a disk or another machine, so [`HostFs::run`] is for worker
//! threads; [`HostFs::look_now`] and [`HostFs::stat_now`] answer only what is in memory.

mod change;
mod list;
mod names;
mod near;
mod open;
mod resolve;
mod seen;

use std::fs::File as HostFile;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex};

use rustix::fs::ResolveFlags;
use rustix::io::Errno;
use styx::server::{DirEntries, Ename};
use styx::{Qid, enames};

use super::changes::{Changes, Memory};
use super::local::{CONFINED, Root, ename, proc_path};
pub use list::OpenDir;
pub use open::{Held, How};
pub use resolve::{Way, join};
pub use seen::Identity;

/// Names something that was asked for and is not done yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId(pub u64);

/// The exported directory. Clones are of the same one.
#[derive(Clone, Debug)]
pub struct HostFs(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    root: Root,
    /// The device that the root is on.
    root_dev: u64,
    names: names::Names,
    changes: Arc<Changes>,
    /// The bits of the mode that the host has none for, of files that were looked at.
    bits: Mutex<Memory<seen::Bits>>,
    near: near::Near,
    claims: open::Claims,
}

/// What is asked for.
#[derive(Debug)]
pub enum Ask {
    /// What is there?
    Look(Look),
    /// Open it.
    Open(Way, How),
    /// Make a file of this name and these permissions (open(5)) in that directory, and open it.
    Create(Way, String, u32, How),
    /// The entries of an open directory, from a position on: 0, or what the last one was pushed
    /// with.
    List(Arc<OpenDir>, Way, u64, DirEntries),
    /// Its entry.
    Stat(Subject),
    /// Change it to this entry, as [`styx::Stat::encode`] writes it.
    Wstat(Subject, Vec<u8>),
    /// See to it that it is on stable storage.
    Sync(Subject),
    /// Remove it.
    Remove(Way),
    /// Close it; first see to it that it is on stable storage, if this is so.
    Close(Held, bool),
}

/// Where to look.
#[derive(Debug)]
pub enum Look {
    /// At the root.
    Root,
    /// At a file that was found before.
    Again(Way),
    /// At what is called this in that directory.
    Child(Way, String),
}

/// A file that something is asked of: where it is, and its descriptor if it is open.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Where it is, or was when it was opened.
    pub way: Way,
    /// What it is open as.
    pub held: Option<Arc<HostFile>>,
}

/// The answer.
#[derive(Debug)]
pub enum Told {
    /// To [`Ask::Look`].
    Found(Found),
    /// To [`Ask::Open`] and [`Ask::Create`].
    Opened(Found, Held),
    /// To [`Ask::List`].
    Entries(DirEntries),
    /// To [`Ask::Stat`].
    Stat(Vec<u8>),
    /// To all others.
    Done,
}

/// A file that was found.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// What has the name: a symbolic link, if it is one.
    pub entry: Identity,
    /// What it leads to.
    pub file: Identity,
    /// Its qid.
    pub qid: Qid,
}

/// What carries out operations on the exported directory: the event loop by its worker threads, or
/// a simulator in their place.
pub trait Keeper {
    /// Begins an operation. It ends by a call of
    /// [`World::host_told`](crate::tree::World::host_told) with its `job`.
    fn ask(&mut self, job: JobId, ask: Ask);

    /// What is there, if that is known without waiting for anything.
    fn look_now(&mut self, look: &Look) -> Option<Result<Found, Ename>>;

    /// A file's entry, as [`styx::Stat::encode`] writes it, if it is known without waiting for
    /// anything.
    fn stat_now(&mut self, subject: &Subject) -> Option<Result<Vec<u8>, Ename>>;

    /// How many files and directories may be open at one time.
    fn open_limit(&self) -> usize;
}

impl HostFs {
    /// The file system below `root`.
    ///
    /// # Errors
    /// If the root can't be looked at, or there is no `/proc`, without which an open descriptor
    /// can't be named.
    pub fn new(root: &Root) -> io::Result<Self> {
        let fd = root.dir();
        rustix::fs::stat(proc_path(fd)).map_err(|errno| {
            let why = format!("the export needs /proc to be mounted: {errno}");
            io::Error::new(io::Error::from(errno).kind(), why)
        })?;
        let (identity, _) = seen::identify(fd)?;
        Ok(HostFs(Arc::new(Shared {
            root: root.clone(),
            root_dev: identity.dev,
            names: names::Names::default(),
            changes: root.changes().clone(),
            bits: Mutex::default(),
            near: near::Near::default(),
            claims: open::Claims::default(),
        })))
    }

    /// Does what is asked. It may wait.
    ///
    /// # Errors
    /// The host's error, as a client is told it.
    pub fn run(&self, ask: Ask) -> Result<Told, Ename> {
        let told = match ask {
            Ask::Open(way, how) => return self.open(&way, how),
            Ask::Create(dir, name, perm, how) => return self.create(&dir, &name, perm, how),
            Ask::Wstat(subject, stat) => return self.wstat(&subject, &stat).map(|()| Told::Done),
            Ask::Look(look) => self.look(&look, CONFINED).map(Told::Found),
            Ask::Stat(subject) => self.stat(&subject, CONFINED).map(Told::Stat),
            Ask::List(dir, way, cursor, entries) => {
                self.list(&dir, &way, cursor, entries).map(Told::Entries)
            }
            Ask::Sync(subject) => self.sync(&subject).map(|()| Told::Done),
            Ask::Remove(way) => self.remove(&way).map(|()| Told::Done),
            Ask::Close(held, sync) => held.close(sync).map(|()| Told::Done),
        };
        told.map_err(refusal)
    }

    /// As [`Keeper::look_now`].
    pub fn look_now(&self, look: &Look) -> Option<Result<Found, Ename>> {
        now(self.look(look, CACHED))
    }

    /// As [`Keeper::stat_now`].
    pub fn stat_now(&self, subject: &Subject) -> Option<Result<Vec<u8>, Ename>> {
        now(self.stat(subject, CACHED))
    }

    fn dir(&self) -> BorrowedFd<'_> {
        self.0.root.dir()
    }
}

/// Resolves names that are in memory, and answers EAGAIN to all others.
const CACHED: ResolveFlags = CONFINED.union(ResolveFlags::CACHED);

fn now<T>(done: Result<T, Errno>) -> Option<Result<T, Ename>> {
    match done {
        Err(Errno::AGAIN) => None,
        done => Some(done.map_err(refusal)),
    }
}

/// What a client is told of an error of the host: in Plan 9's words where it has any.
fn refusal(errno: Errno) -> Ename {
    match errno {
        Errno::NOENT => enames::ENONEXIST.into(),
        Errno::NOTDIR => enames::ENOTDIR.into(),
        Errno::EXIST => enames::EEXIST.into(),
        Errno::NAMETOOLONG => enames::ENAMETOOLONG.into(),
        Errno::MFILE | Errno::NFILE => enames::ENOFD.into(),
        // A link that leads out of the root, or in a circle.
        Errno::XDEV | Errno::LOOP => enames::EPERM.into(),
        errno => ename(errno),
    }
}
