//! What a file is: which one, of what kind, and how a client is told (stat(5)).
//!
//! The qid of a file: its path is made of the host's inode number, the device and the time of its
//! birth, so it stays with the file when it is renamed and across restarts of the server, and the
//! file that gets the same inode number later has another. On the root's device files born at the
//! same instant have the inode number's own differences; a device's or an instant's share is a mix
//! of 64 bits, so that two files collide by chance alone, one pair in 2^64. (Where the host does
//! not know births, a file may get the path of one that was removed before. On overlayfs a file
//! that is written for the first time is born anew.) Its version is a mix of the times of its last
//! changes and its length, plus how often it was changed through this server.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::PoisonError;

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, ResolveFlags, SeekFrom, Statx, StatxFlags, StatxTimestamp,
    XattrFlags, getxattr, lgetxattr, makedev, removexattr, seek, setxattr, statx,
};
use rustix::io::Errno;
use styx::{Qid, Stat, dm, qt};

use super::resolve::join;
use super::{HostFs, Subject};
use crate::inner::FileKey;
use crate::inner::local::proc_path;

/// The name of the attribute that holds the bits of a file's mode that the host has none for: the
/// words of [`BITS`] that are set, with blanks between them.
const ATTRIBUTE: &str = "user.dsfs.mode";

/// The bits and their words. Only regular files have them.
const BITS: [(u32, &str); 3] = [(dm::APPEND, "append"), (dm::EXCL, "excl"), (dm::TMP, "tmp")];

/// All of [`BITS`].
pub(super) const ALL_BITS: u32 = dm::APPEND | dm::EXCL | dm::TMP;

/// Room for the value of the attribute, in bytes: for all words and more. A longer one is none of
/// ours.
const VALUE: usize = 64;

/// The device type in an entry: `#U`.
pub(super) const TYPE: u16 = b'U' as u16;

/// Which file a file is. As long as it exists, no other has the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The device that it is on.
    pub dev: u64,
    /// Its number there.
    pub ino: u64,
    /// When it was born, in nanoseconds since 1970; 0 if the host does not know.
    pub born: u64,
}

impl Identity {
    /// The key that orders reads and writes.
    pub fn key(self) -> FileKey {
        FileKey::Local(self.dev, self.ino)
    }
}

/// The bits of a file, as they were when it had this change time and this many changes.
#[derive(Debug)]
pub(super) struct Bits {
    ctime: u64,
    count: u32,
    bits: u32,
}

/// A file that was looked at.
pub(super) struct Seen {
    pub identity: Identity,
    pub stat: Statx,
    pub kind: FileType,
    /// Those of [`BITS`] that are set.
    pub bits: u32,
    /// In bytes; 0 for what is neither file nor block device.
    pub length: u64,
}

/// Looks at the file of a descriptor.
pub(super) fn identify(fd: BorrowedFd<'_>) -> Result<(Identity, Statx), Errno> {
    look_at(fd, AtFlags::empty())
}

/// Looks at the file of a descriptor, in the way that the flags say.
pub(super) fn look_at(fd: BorrowedFd<'_>, flags: AtFlags) -> Result<(Identity, Statx), Errno> {
    let what = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    let stat = statx(fd, c"", AtFlags::EMPTY_PATH | flags, what)?;
    Ok((identity(&stat), stat))
}

/// Looks at what is called `name` in a directory, which may be a link.
pub(super) fn identify_in(dir: BorrowedFd<'_>, name: &str) -> Result<(Identity, Statx), Errno> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    let stat = statx(dir, name, flags, StatxFlags::BASIC_STATS | StatxFlags::BTIME)?;
    Ok((identity(&stat), stat))
}

fn identity(stat: &Statx) -> Identity {
    let known = stat.stx_mask & StatxFlags::BTIME.bits() != 0;
    Identity {
        dev: makedev(stat.stx_dev_major, stat.stx_dev_minor),
        ino: stat.stx_ino,
        born: if known { nanoseconds(stat.stx_btime) } else { 0 },
    }
}

/// Since 1970, modulo 2^64.
fn nanoseconds(time: StatxTimestamp) -> u64 {
    (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(u64::from(time.tv_nsec))
}

/// Since 1970, as far as an entry can tell.
fn seconds(time: StatxTimestamp) -> u32 {
    u32::try_from(time.tv_sec.max(0)).unwrap_or(u32::MAX)
}

/// Every bit of the result depends on every bit of the argument, and no two arguments have the
/// same result (the finalizer of SplitMix64).
fn mix(value: u64) -> u64 {
    let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}

impl HostFs {
    /// What there is to know of a file whose descriptor, which may be O_PATH, and numbers these are.
    /// EAGAIN if that is not known now and `resolve` says that it must be.
    pub(super) fn see(
        &self,
        fd: BorrowedFd<'_>,
        stat: Statx,
        resolve: ResolveFlags,
    ) -> Result<Seen, Errno> {
        let now = resolve.contains(ResolveFlags::CACHED);
        let read = |value: &mut [u8]| getxattr(proc_path(fd), ATTRIBUTE, value);
        let mut seen = self.seen(stat, now, read)?;
        if seen.kind == FileType::BlockDevice {
            if now {
                return Err(Errno::AGAIN);
            }
            seen.length = block_length(fd).unwrap_or(0);
        }
        Ok(seen)
    }

    /// What there is to know of what is called `name` in a directory, and is no link.
    pub(super) fn see_in(
        &self,
        dir: BorrowedFd<'_>,
        name: &str,
        stat: Statx,
    ) -> Result<Seen, Errno> {
        self.seen(stat, false, |value| lgetxattr(join(&proc_path(dir), name), ATTRIBUTE, value))
    }

    fn seen(
        &self,
        stat: Statx,
        now: bool,
        read: impl FnOnce(&mut [u8]) -> Result<usize, Errno>,
    ) -> Result<Seen, Errno> {
        let kind = FileType::from_raw_mode(stat.stx_mode.into());
        let identity = identity(&stat);
        let bits = match kind {
            FileType::RegularFile => self.bits(identity.key(), &stat, now, read)?,
            _ => 0,
        };
        let length = if kind == FileType::RegularFile { stat.stx_size } else { 0 };
        Ok(Seen { identity, stat, kind, bits, length })
    }

    fn bits(
        &self,
        key: FileKey,
        stat: &Statx,
        now: bool,
        read: impl FnOnce(&mut [u8]) -> Result<usize, Errno>,
    ) -> Result<u32, Errno> {
        let memory = || self.0.bits.lock().unwrap_or_else(PoisonError::into_inner);
        let (ctime, count) = (nanoseconds(stat.stx_ctime), self.0.changes.count(key));
        if let Some(known) = memory().get(key)
            && (known.ctime, known.count) == (ctime, count)
        {
            return Ok(known.bits);
        }
        if now {
            return Err(Errno::AGAIN);
        }
        let mut value = [0; VALUE];
        let bits = match read(&mut value) {
            Ok(length) => words_to_bits(&value[..length]),
            // It has none; it can have none; it can't be read, or is longer than any of ours.
            Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::ACCESS | Errno::PERM | Errno::RANGE) => 0,
            Err(errno) => return Err(errno),
        };
        memory().put(key, Bits { ctime, count, bits }, |_| false);
        Ok(bits)
    }

    /// Gives the file of a descriptor these bits.
    ///
    /// # Errors
    /// EOPNOTSUPP or EPERM if the host does not keep them.
    pub(super) fn set_bits(
        &self,
        fd: BorrowedFd<'_>,
        key: FileKey,
        bits: u32,
    ) -> Result<(), Errno> {
        let words: Vec<_> =
            BITS.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, word)| *word).collect();
        let done = if words.is_empty() {
            match removexattr(proc_path(fd), ATTRIBUTE) {
                Err(Errno::NODATA) => Ok(()),
                done => done,
            }
        } else {
            let value = words.join(" ");
            setxattr(proc_path(fd), ATTRIBUTE, value.as_bytes(), XattrFlags::empty())
        };
        // What is remembered of it holds no longer.
        self.0.changes.add(key);
        done
    }

    pub(super) fn qid(&self, seen: &Seen) -> Qid {
        let Identity { dev, ino, born } = seen.identity;
        let elsewhere = if dev == self.0.root_dev { 0 } else { mix(dev) };
        let birth = if born == 0 { 0 } else { mix(born) };
        let times = [seen.stat.stx_ctime, seen.stat.stx_mtime].map(nanoseconds);
        let content = mix(times[0] ^ mix(times[1] ^ mix(seen.stat.stx_size)));
        let is_dir = if seen.kind == FileType::Directory { qt::DIR } else { qt::FILE };
        Qid {
            // The upper bits of the mode are those of the qid (stat(5)).
            kind: is_dir | (seen.bits >> 24) as u8,
            vers: (content as u32).wrapping_add(self.0.changes.count(seen.identity.key())),
            path: ino ^ elsewhere ^ birth,
        }
    }

    /// Calls `with` with the entry of a file. EAGAIN if `now`, and it is not known at once.
    pub(super) fn entry<R>(
        &self,
        seen: &Seen,
        name: &str,
        now: bool,
        with: impl FnOnce(&Stat<'_>) -> R,
    ) -> Result<R, Errno> {
        let uid = self.0.names.user(seen.stat.stx_uid, now)?;
        let gid = self.0.names.group(seen.stat.stx_gid, now)?;
        Ok(with(&Stat {
            kind: TYPE,
            dev: 0,
            qid: self.qid(seen),
            mode: mode(seen),
            atime: seconds(seen.stat.stx_atime),
            mtime: seconds(seen.stat.stx_mtime),
            length: seen.length,
            name: if name.is_empty() { "/" } else { name },
            uid: &uid,
            gid: &gid,
            // The host does not know who it was; the owner is who it may have been.
            muid: &uid,
        }))
    }

    pub(super) fn stat(&self, subject: &Subject, resolve: ResolveFlags) -> Result<Vec<u8>, Errno> {
        let (fd, stat) = self.hold(subject, resolve)?;
        let seen = self.see(fd.as_fd(), stat, resolve)?;
        let now = resolve.contains(ResolveFlags::CACHED);
        let mut bytes = Vec::new();
        self.entry(&seen, &subject.way.name, now, |stat| stat.encode(&mut bytes))?;
        Ok(bytes)
    }
}

/// The mode that a client is told.
pub(super) fn mode(seen: &Seen) -> u32 {
    let dir = if seen.kind == FileType::Directory { dm::DIR } else { 0 };
    dir | seen.bits | u32::from(seen.stat.stx_mode) & 0o777
}

fn words_to_bits(value: &[u8]) -> u32 {
    let bit = |word: &[u8]| BITS.iter().find(|(_, known)| known.as_bytes() == word);
    value.split(|&byte| byte == b' ').filter_map(bit).fold(0, |bits, (bit, _)| bits | bit)
}

/// The length of a block device, in bytes, which only an open one tells.
fn block_length(fd: BorrowedFd<'_>) -> Result<u64, Errno> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let open = rustix::fs::open(proc_path(fd), flags, Mode::empty())?;
    seek(&open, SeekFrom::End(0))
}
