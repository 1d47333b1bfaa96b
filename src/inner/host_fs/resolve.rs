//! From names to descriptors, without leaving the root.
//!
//! A file is found again by its path, and is the one that is meant only if its [`Identity`] is: one
//! that took its place is none of the client's. All openings by name are here, and each is confined.

use std::fs::File as HostFile;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, Statx, openat2};
use rustix::io::Errno;

use super::seen::{Identity, identify, identify_in};
use super::{CONFINED, Found, HostFs, Look, Subject};

/// The longest path that the kernel takes at one time, in bytes: PATH_MAX, less the NUL. Longer
/// ones go in pieces, and then no link in a piece may lead above where the piece starts.
const PIECE: usize = 4095;

/// How often an opening is tried again when the host renames so much that the kernel can't tell
/// whether a `..` in a link has left the root (openat2(2), EAGAIN).
const TRIES: usize = 1000;

/// Where a file is, and which one it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// The names from the root to its directory, with `/` between them.
    pub dir: String,
    /// Which directory that is.
    pub parent: Identity,
    /// Its name there; empty for the root.
    pub name: String,
    /// What has that name: a symbolic link, if it is one.
    pub entry: Identity,
    /// What that leads to.
    pub file: Identity,
}

impl Way {
    /// The names from the root to the file itself.
    pub fn path(&self) -> String {
        join(&self.dir, &self.name)
    }
}

/// The path of `name` in the directory at `dir`, either of which may be empty.
pub fn join(dir: &str, name: &str) -> String {
    if dir.is_empty() || name.is_empty() { [dir, name].concat() } else { [dir, "/", name].concat() }
}

/// The descriptor of a file that something is asked of.
pub(super) enum Hold {
    /// One of its own, O_PATH.
    Path(OwnedFd),
    /// The one that it is open as.
    Open(Arc<HostFile>),
}

impl AsFd for Hold {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Hold::Path(fd) => fd.as_fd(),
            Hold::Open(file) => file.as_fd(),
        }
    }
}

/// Opens `path` below `dir`.
pub(super) fn open_below(
    dir: BorrowedFd<'_>,
    path: &str,
    flags: OFlags,
    mode: Mode,
    resolve: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    let path = if path.is_empty() { "." } else { path };
    let mut tries = 0;
    loop {
        match openat2(dir, path, flags | OFlags::CLOEXEC, mode, resolve) {
            Err(Errno::AGAIN) if tries < TRIES && !resolve.contains(ResolveFlags::CACHED) => {
                tries += 1;
            }
            Err(Errno::INTR) => {}
            opened => return opened,
        }
    }
}

impl HostFs {
    /// The O_PATH descriptor of what is at `path`, links followed.
    pub(super) fn open_path(&self, path: &str, resolve: ResolveFlags) -> Result<OwnedFd, Errno> {
        let (mut at, mut rest): (Option<OwnedFd>, _) = (None, path);
        loop {
            let from = at.as_ref().map_or(self.dir(), AsFd::as_fd);
            if rest.len() <= PIECE {
                return open_below(from, rest, OFlags::PATH, Mode::empty(), resolve);
            }
            let cut = rest.as_bytes()[..PIECE].iter().rposition(|&byte| byte == b'/');
            let (piece, after) = rest.split_at(cut.ok_or(Errno::NAMETOOLONG)?);
            let flags = OFlags::PATH | OFlags::DIRECTORY;
            at = Some(open_below(from, piece, flags, Mode::empty(), resolve)?);
            rest = &after[1..];
        }
    }

    /// Looks at the file of a descriptor. EAGAIN if that has to wait and `resolve` says that it
    /// must not.
    fn identify(
        &self,
        fd: BorrowedFd<'_>,
        resolve: ResolveFlags,
    ) -> Result<(Identity, Statx), Errno> {
        match resolve.contains(ResolveFlags::CACHED) {
            true => self.0.near.identify_now(fd),
            false => self.0.near.identify(fd),
        }
    }

    /// The O_PATH descriptor of the file that a way leads to, if it is still that one.
    pub(super) fn reach(
        &self,
        way: &Way,
        resolve: ResolveFlags,
    ) -> Result<(OwnedFd, Statx), Errno> {
        let fd = self.open_path(&way.path(), resolve)?;
        let (identity, stat) = self.identify(fd.as_fd(), resolve)?;
        if identity == way.file { Ok((fd, stat)) } else { Err(Errno::NOENT) }
    }

    /// A descriptor of the file that something is asked of.
    pub(super) fn hold(
        &self,
        subject: &Subject,
        resolve: ResolveFlags,
    ) -> Result<(Hold, Statx), Errno> {
        match &subject.held {
            Some(file) => {
                let (_, stat) = self.identify(file.as_fd(), resolve)?;
                Ok((Hold::Open(file.clone()), stat))
            }
            None => self.reach(&subject.way, resolve).map(|(fd, stat)| (Hold::Path(fd), stat)),
        }
    }

    /// The O_PATH descriptor of the directory of a file, if it is still that one and has still
    /// this entry in it. The root has none.
    pub(super) fn reach_entry(&self, way: &Way) -> Result<(OwnedFd, FileType), Errno> {
        if way.name.is_empty() {
            return Err(Errno::PERM);
        }
        let dir = self.open_path(&way.dir, CONFINED)?;
        let (parent, _) = identify(dir.as_fd())?;
        let (entry, stat) = identify_in(dir.as_fd(), &way.name)?;
        if (parent, entry) == (way.parent, way.entry) {
            Ok((dir, FileType::from_raw_mode(stat.stx_mode.into())))
        } else {
            Err(Errno::NOENT)
        }
    }

    pub(super) fn look(&self, look: &Look, resolve: ResolveFlags) -> Result<Found, Errno> {
        let (fd, stat, entry) = match look {
            Look::Child(dir, name) => {
                let (dir_fd, _) = self.reach(dir, resolve)?;
                return self.walk_in(dir_fd.as_fd(), &dir.path(), name, resolve);
            }
            Look::Again(way) => {
                let (fd, stat) = self.reach(way, resolve)?;
                (fd, stat, way.entry)
            }
            Look::Root => {
                let fd = self.open_path("", resolve)?;
                let (root, stat) = self.identify(fd.as_fd(), resolve)?;
                (fd, stat, root)
            }
        };
        let seen = self.see(fd.as_fd(), stat, resolve)?;
        Ok(Found { entry, file: seen.identity, qid: self.qid(&seen) })
    }

    /// What is called `name` in a directory, which is at `path`.
    fn walk_in(
        &self,
        dir: BorrowedFd<'_>,
        path: &str,
        name: &str,
        resolve: ResolveFlags,
    ) -> Result<Found, Errno> {
        let mut fd =
            open_below(dir, name, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty(), resolve)?;
        let (entry, mut stat) = self.identify(fd.as_fd(), resolve)?;
        let mut file = entry;
        if FileType::from_raw_mode(stat.stx_mode.into()) == FileType::Symlink {
            fd = self.open_path(&join(path, name), resolve)?;
            (file, stat) = self.identify(fd.as_fd(), resolve)?;
        }
        let qid = self.qid(&self.see(fd.as_fd(), stat, resolve)?);
        Ok(Found { entry, file, qid })
    }
}
