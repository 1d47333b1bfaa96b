//! Which of the host's file systems answer from memory.
//!
//! What is known of a file on a disk of this machine is in memory as soon as its name is, so it can
//! be looked at without waiting. A network file system asks its server, and one in user space a
//! process: these are for worker threads alone. The kind of a file system is learned by a worker
//! thread, since asking for it may wait as well.

use std::collections::HashMap;
use std::os::fd::BorrowedFd;
use std::sync::{Mutex, PoisonError};

use rustix::fs::{AtFlags, Statx, fstatfs};
use rustix::io::Errno;

use super::seen::{Identity, look_at};

/// How many devices are remembered: more than anyone mounts below one directory.
const REMEMBERED: usize = 1024;

/// The kinds that answer from memory, as statfs(2) numbers them: ext2 to ext4, XFS, Btrfs, tmpfs,
/// F2FS and ZFS.
const NEAR: [u32; 6] =
    [0x0000_ef53, 0x5846_5342, 0x9123_683e, 0x0102_1994, 0xf2f5_2010, 0x2fc1_2fc1];

/// The devices that are known, and whether they answer from memory.
#[derive(Debug, Default)]
pub(super) struct Near(Mutex<HashMap<u64, bool>>);

impl Near {
    /// Looks at the file of a descriptor without waiting for anything; EAGAIN if that can't be.
    pub fn identify_now(&self, fd: BorrowedFd<'_>) -> Result<(Identity, Statx), Errno> {
        let (identity, stat) = look_at(fd, AtFlags::STATX_DONT_SYNC)?;
        match self.known().get(&identity.dev) {
            Some(true) => Ok((identity, stat)),
            _ => Err(Errno::AGAIN),
        }
    }

    /// Looks at the file of a descriptor, and learns what its file system is.
    pub fn identify(&self, fd: BorrowedFd<'_>) -> Result<(Identity, Statx), Errno> {
        let (identity, stat) = look_at(fd, AtFlags::empty())?;
        if !self.known().contains_key(&identity.dev) {
            let near = NEAR.contains(&(fstatfs(fd)?.f_type as u32));
            let mut known = self.known();
            if known.len() >= REMEMBERED {
                known.clear();
            }
            known.insert(identity.dev, near);
        }
        Ok((identity, stat))
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<u64, bool>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
