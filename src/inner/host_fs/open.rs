//! Opening files and directories, and creating them.
//!
//! What is opened is the very file that was looked at: its O_PATH descriptor is opened again by
//! `/proc/self/fd`, so that nothing can take its place in between. An append-only file is opened
//! with O_APPEND, so the kernel puts each write at the end.

use std::collections::HashSet;
use std::fs::File as HostFile;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{
    Access, AtFlags, CWD, FileType, Gid, Mode, OFlags, Statx, accessat, fchmod, fchown,
    fcntl_getfl, mkdirat, unlinkat,
};
use rustix::io::Errno;
use styx::server::Ename;
use styx::{dm, enames, omode};

use super::resolve::open_below;
use super::seen::{ALL_BITS, Seen, identify};
use super::{CONFINED, Found, HostFs, OpenDir, Told, Way, refusal};
use crate::inner::local::proc_path;
use crate::inner::{FileKey, LocalFile};

/// How a file is to be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct How {
    /// OREAD, OWRITE, ORDWR or OEXEC of [`styx::omode`].
    pub access: u8,
    /// Whether it is to be truncated first.
    pub truncate: bool,
    /// Whether it is to be removed when it is closed, which needs the permission to remove it. The
    /// removal itself is the caller's.
    pub remove: bool,
}

/// What was opened.
#[derive(Debug)]
pub enum Held {
    /// A regular file or block device.
    File {
        /// The file.
        file: LocalFile,
        /// Whether what is written goes to its end, whatever the offset.
        append: bool,
        /// The claim on it, if it is for one user at a time.
        claim: Option<Claim>,
    },
    /// A directory.
    Dir(Arc<OpenDir>),
}

impl Held {
    /// Its descriptor.
    pub fn host_file(&self) -> &Arc<HostFile> {
        match self {
            Held::File { file, .. } => file.host_file(),
            Held::Dir(dir) => dir.host_file(),
        }
    }

    /// Gives up the claim on it, so that another may open it.
    pub fn release(&mut self) {
        if let Held::File { claim, .. } = self {
            *claim = None;
        }
    }

    pub(super) fn close(self, sync: bool) -> Result<(), Errno> {
        if sync { rustix::fs::fsync(&**self.host_file()) } else { Ok(()) }
    }
}

/// The exclusive-use files that are open.
#[derive(Clone, Debug, Default)]
pub(super) struct Claims(Arc<Mutex<HashSet<FileKey>>>);

/// An exclusive-use file is open. It ends when this is dropped.
#[derive(Debug)]
pub struct Claim {
    claims: Claims,
    key: FileKey,
}

impl Claims {
    fn claim(&self, key: FileKey) -> Option<Claim> {
        let mut claimed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        claimed.insert(key).then(|| Claim { claims: self.clone(), key })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.claims.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

/// The host's flags for an access of a file with these bits.
fn flags(access: u8, bits: u32) -> OFlags {
    let access = match access {
        omode::OWRITE => OFlags::WRONLY,
        omode::ORDWR => OFlags::RDWR,
        _ => OFlags::RDONLY,
    };
    let append = if bits & dm::APPEND != 0 { OFlags::APPEND } else { OFlags::empty() };
    // Nothing of the host, as a lease on the file, is waited for.
    access | append | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC
}

/// Opens the very file that a descriptor is of.
pub(super) fn reopen(fd: BorrowedFd<'_>, flags: OFlags) -> Result<OwnedFd, Errno> {
    rustix::fs::open(proc_path(fd), flags, Mode::empty())
}

/// Whether this process may use a file so.
fn check(fd: BorrowedFd<'_>, rights: Access) -> Result<(), Errno> {
    accessat(CWD, proc_path(fd), rights, AtFlags::EACCESS)
}

impl HostFs {
    pub(super) fn open(&self, way: &Way, how: How) -> Result<Told, Ename> {
        let (path, stat) = self.reach(way, CONFINED).map_err(refusal)?;
        let seen = self.see(path.as_fd(), stat, CONFINED).map_err(refusal)?;
        if seen.kind == FileType::Directory {
            let dir = self.open_dir(path.as_fd(), how).map_err(refusal)?;
            let found = Found { entry: way.entry, file: way.file, qid: self.qid(&seen) };
            return Ok(Told::Opened(found, Held::Dir(Arc::new(dir))));
        }
        if !matches!(seen.kind, FileType::RegularFile | FileType::BlockDevice) {
            return Err(enames::EPERM.into());
        }
        if how.remove {
            let (dir, _) = self.reach_entry(way).map_err(refusal)?;
            check(dir.as_fd(), Access::WRITE_OK | Access::EXEC_OK).map_err(refusal)?;
        }
        let claim = self.claim(&seen)?;
        let fd = self.open_bytes(path.as_fd(), &seen, how).map_err(refusal)?;
        self.opened(fd, claim, way.entry).map_err(refusal)
    }

    fn open_dir(&self, path: BorrowedFd<'_>, how: How) -> Result<OpenDir, Errno> {
        if how != (How { access: omode::OREAD, truncate: false, remove: false }) {
            return Err(Errno::PERM);
        }
        reopen(path, flags(how.access, 0) | OFlags::DIRECTORY).map(OpenDir::new)
    }

    fn open_bytes(&self, path: BorrowedFd<'_>, seen: &Seen, how: How) -> Result<OwnedFd, Errno> {
        if how.access == omode::OEXEC {
            check(path, Access::EXEC_OK)?;
        }
        let mut flags = flags(how.access, seen.bits);
        if how.truncate {
            check(path, Access::WRITE_OK)?;
            // An append-only file stays as it is (open(5)).
            if seen.bits & dm::APPEND == 0 {
                flags |= OFlags::TRUNC;
                self.0.changes.add(seen.identity.key());
            }
        }
        reopen(path, flags)
    }

    /// The claim on a file, if it needs one.
    fn claim(&self, seen: &Seen) -> Result<Option<Claim>, Ename> {
        if seen.bits & dm::EXCL == 0 {
            return Ok(None);
        }
        let claim = self.0.claims.claim(seen.identity.key());
        claim.map(Some).ok_or(enames::ELOCKED.into())
    }

    fn opened(
        &self,
        fd: OwnedFd,
        claim: Option<Claim>,
        entry: super::Identity,
    ) -> Result<Told, Errno> {
        let (file, stat) = identify(fd.as_fd())?;
        let seen = self.see(fd.as_fd(), stat, CONFINED)?;
        let found = Found { entry, file, qid: self.qid(&seen) };
        let key = file.key();
        let append = fcntl_getfl(&fd)?.contains(OFlags::APPEND);
        let file = LocalFile::new(fd, key, seen.length, self.0.changes.of(key));
        Ok(Told::Opened(found, Held::File { file, append, claim }))
    }

    /// Makes a file or directory. Its permissions are those of open(5), whatever the umask: what
    /// is asked for and the directory allows. Its group is the directory's where that is allowed.
    pub(super) fn create(&self, dir: &Way, name: &str, perm: u32, how: How) -> Result<Told, Ename> {
        let (parent, stat) = self.reach(dir, CONFINED).map_err(refusal)?;
        let is_dir = perm & dm::DIR != 0;
        let made = if is_dir {
            make_dir(parent.as_fd(), name)
        } else {
            let flags = flags(how.access, perm) | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
            open_below(parent.as_fd(), name, flags, OWNER_ONLY, CONFINED)
        };
        let fd = made.map_err(refusal)?;
        self.0.changes.add(dir.file.key());
        let dressed = self.dress(fd.as_fd(), &stat, perm).map_err(refusal).and_then(|found| {
            Ok(if is_dir {
                Told::Opened(found, Held::Dir(Arc::new(OpenDir::new(fd))))
            } else {
                let (file, stat) = identify(fd.as_fd()).map_err(refusal)?;
                let claim = self.claim(&self.see(fd.as_fd(), stat, CONFINED).map_err(refusal)?)?;
                self.opened(fd, claim, file).map_err(refusal)?
            })
        });
        if dressed.is_err() {
            let flags = if is_dir { AtFlags::REMOVEDIR } else { AtFlags::empty() };
            // It is new, and nobody has been told of it; that it can't go either is no news.
            let _ = unlinkat(&parent, name, flags);
        }
        dressed
    }

    /// Gives a new file its bits, group and permissions.
    fn dress(&self, fd: BorrowedFd<'_>, parent: &Statx, perm: u32) -> Result<Found, Errno> {
        let (file, stat) = identify(fd)?;
        let bits = perm & ALL_BITS;
        if bits != 0 {
            self.set_bits(fd, file.key(), bits)?;
        }
        if stat.stx_gid != parent.stx_gid {
            match fchown(fd, None, Some(Gid::from_raw(parent.stx_gid))) {
                Err(Errno::PERM | Errno::INVAL) => {}
                done => done?,
            }
        }
        let allowed = u32::from(parent.stx_mode);
        let perm = match perm & dm::DIR {
            0 => perm & (!0o666 | allowed & 0o666),
            _ => perm & (!0o777 | allowed & 0o777),
        };
        let kept = u32::from(stat.stx_mode) & 0o7000;
        fchmod(fd, Mode::from_raw_mode(kept | perm & 0o777))?;
        let seen = self.see(fd, identify(fd)?.1, CONFINED)?;
        if seen.bits != bits {
            return Err(Errno::OPNOTSUPP);
        }
        Ok(Found { entry: file, file, qid: self.qid(&seen) })
    }
}

/// The permissions of what is not finished.
const OWNER_ONLY: Mode = Mode::RUSR.union(Mode::WUSR);

fn make_dir(parent: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Errno> {
    mkdirat(parent, name, OWNER_ONLY | Mode::XUSR)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    open_below(parent, name, flags, Mode::empty(), CONFINED)
}
