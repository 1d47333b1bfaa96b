//! A file on this machine, found below the root directory and nowhere else.
//!
//! Only regular files and block devices are opened, and what a name leads to is looked at before
//! it is opened: opening a FIFO would block, opening a tape would rewind it. Nothing here waits for
//! a disk unless the caller, a worker thread, asks for that.

use std::fs::File as HostFile;
use std::io;
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;

use rustix::fs::{
    Access, Advice, AtFlags, CWD, FileType, FsWord, Mode, OFlags, ResolveFlags, SeekFrom, Stat,
    accessat, fadvise, fcntl_setfl, fstat, fstatfs, openat2, seek,
};
use rustix::io::{Errno, ReadWriteFlags, preadv2, pwrite};
use styx::enames;
use styx::server::{Ename, Outcome};

use super::FileKey;
use super::changes::Changes;
use crate::namespace::{Failure, Walked};

/// The longest that a file can be, in bytes: the host's offsets are signed.
const MAX_LENGTH: u64 = i64::MAX as u64;

/// The directory that `#U` is.
#[derive(Clone, Debug)]
pub struct Root {
    dir: Arc<OwnedFd>,
    changes: Arc<Changes>,
    read_only: bool,
    trial: bool,
}

/// Neither `..` nor a link may lead out of the root, nor into /proc's ways around that.
pub(super) const CONFINED: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);

impl Root {
    /// The root at a path of the host. With `read_only`, files are opened for reading only.
    ///
    /// # Errors
    /// If it is no directory that can be opened; ENOSYS if openat2(2) is not there, or is refused as
    /// if it were not: each name would then look like one that is not there.
    pub fn open(path: &Path, read_only: bool) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::open(path, flags, Mode::empty())?;
        let root = Root { dir: Arc::new(dir), changes: Arc::default(), read_only, trial: false };
        root.look(&[])?;
        Ok(root)
    }

    pub(super) fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    pub(super) fn changes(&self) -> &Arc<Changes> {
        &self.changes
    }

    /// On trial, files are opened for reading only, though it is checked that they could be written.
    pub fn set_trial(&mut self, trial: bool) {
        self.trial = trial;
    }

    fn look(&self, path: &[String]) -> Result<(OwnedFd, Stat), Errno> {
        let fd = self.open_at(path, OFlags::PATH)?;
        let stat = fstat(&fd)?;
        Ok((fd, stat))
    }

    fn open_at(&self, path: &[String], flags: OFlags) -> Result<OwnedFd, Errno> {
        let joined = if path.is_empty() { ".".to_string() } else { path.join("/") };
        openat2(&*self.dir, joined, flags | OFlags::CLOEXEC, Mode::empty(), CONFINED)
    }

    /// How far a walk of `names` from the directory at `path` comes.
    pub fn walk(&self, path: &[String], names: &[String]) -> Walked {
        let mut at = path.to_vec();
        let is_dir = |at: &[String]| match self.look(at) {
            Ok((_, stat)) => Some(FileType::from_raw_mode(stat.st_mode) == FileType::Directory),
            Err(_) => None,
        };
        // A target that is not there counts as an empty directory.
        let mut directory = is_dir(&at).unwrap_or(true);
        for (found, name) in names.iter().enumerate() {
            at.push(name.clone());
            // What may not be searched is told like what is not there, as Inferno does.
            match is_dir(&at) {
                Some(next) if directory => directory = next,
                _ => return Walked::Reached { found, directory },
            }
        }
        Walked::Reached { found: names.len(), directory }
    }

    /// Opens the file at `path` for reading and writing, and takes its length.
    pub fn open_file(&self, path: &[String]) -> Result<LocalFile, Failure> {
        let failure = |errno| match errno {
            Errno::NOENT => Failure::NotFound,
            Errno::ACCESS | Errno::PERM | Errno::XDEV | Errno::LOOP => Failure::Permission,
            errno => Failure::Open(ename(errno).into_owned()),
        };
        let (fd_seen, seen) = self.look(path).map_err(failure)?;
        let kind = FileType::from_raw_mode(seen.st_mode);
        if !matches!(kind, FileType::RegularFile | FileType::BlockDevice) {
            return Err(Failure::Permission);
        }
        if self.trial && !self.read_only {
            check_rights(&fd_seen).map_err(failure)?;
        }
        let access = if self.read_only || self.trial { OFlags::RDONLY } else { OFlags::RDWR };
        let flags = access | OFlags::NONBLOCK | OFlags::NOCTTY;
        let fd = self.open_at(path, flags).map_err(failure)?;
        let stat = fstat(&fd).map_err(failure)?;
        if (stat.st_dev, stat.st_ino) != (seen.st_dev, seen.st_ino) {
            // Another file took its place since it was looked at.
            return Err(Failure::Permission);
        }
        let length = match kind {
            FileType::BlockDevice => seek(&fd, SeekFrom::End(0)).map_err(failure)?,
            _ => stat.st_size as u64,
        };
        // When a device was read last is of no use to the host, which would look at the clock for each
        // read. Only the file's owner and root may do without; for others it goes on as it is.
        let _ = fcntl_setfl(&fd, flags | OFlags::NOATIME);
        let key = FileKey::Local(stat.st_dev, stat.st_ino);
        Ok(LocalFile::new(fd, key, length, self.changes.of(key)))
    }
}

/// Whether the file that was looked at may be read and written, without opening it for that.
fn check_rights(seen: &OwnedFd) -> Result<(), Errno> {
    // By way of /proc, since a path could lead to another file by now. Where that is missing nothing
    // can be said, and what is opened later tells.
    match accessat(
        CWD,
        proc_path(seen.as_fd()),
        Access::READ_OK | Access::WRITE_OK,
        AtFlags::EACCESS,
    ) {
        Err(Errno::NOENT) => Ok(()),
        result => result,
    }
}

/// The path of an open descriptor: of the file itself, wherever it is now.
pub(super) fn proc_path(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// The text that a client sees of an error of this machine.
pub fn ename(errno: Errno) -> Ename {
    match errno {
        Errno::IO => enames::EIO.into(),
        Errno::ACCESS | Errno::PERM => enames::EPERM.into(),
        errno => {
            let text = io::Error::from(errno).to_string();
            let end = text.rfind(" (os error").unwrap_or(text.len());
            text[..end].to_string().into()
        }
    }
}

/// The file system that is memory, as statfs(2) calls it. It refuses reads that must not wait, since
/// none there has to.
const TMPFS: FsWord = 0x0102_1994;

/// What file systems read and write at one time, in bytes, the smallest there is in use. Bytes
/// around what is written to a part of a block must be in memory.
const BLOCK: u64 = 4096;

/// An open file.
#[derive(Clone, Debug)]
pub struct LocalFile(Arc<Opened>);

#[derive(Debug)]
struct Opened {
    file: Arc<HostFile>,
    key: FileKey,
    length: u64,
    /// How often it was changed (see [`Changes`]).
    changes: Arc<AtomicU32>,
    /// It is on no disk, and nothing of it has to be waited for.
    is_memory: bool,
}

impl LocalFile {
    /// An open file, which has this key and this length, and whose changes are counted there.
    pub(super) fn new(fd: OwnedFd, key: FileKey, length: u64, changes: Arc<AtomicU32>) -> Self {
        let is_memory = fstatfs(&fd).is_ok_and(|fs| fs.f_type == TMPFS);
        let file = Arc::new(fd.into());
        LocalFile(Arc::new(Opened { file, key, length, changes, is_memory }))
    }

    pub(super) fn changes(&self) -> &Arc<AtomicU32> {
        &self.0.changes
    }

    pub(super) fn host_file(&self) -> &Arc<HostFile> {
        &self.0.file
    }

    /// Which file it is.
    pub fn key(&self) -> FileKey {
        self.0.key
    }

    /// The length that it had when it was opened, in bytes.
    pub fn length(&self) -> u64 {
        self.0.length
    }

    /// How many of `count` bytes at `offset` a file can have at the most.
    fn clip(offset: u64, count: usize) -> usize {
        usize::try_from(MAX_LENGTH.saturating_sub(offset)).map_or(count, |most| count.min(most))
    }

    /// Reads what is in memory already. Pending if something would have to be waited for; what is
    /// in `data` then is of no use.
    pub fn read_cached(&self, offset: u64, data: &mut [u8]) -> Outcome<usize> {
        let count = Self::clip(offset, data.len());
        let data = &mut data[..count];
        if self.0.is_memory {
            return Poll::Ready(self.read(offset, data));
        }
        let mut done = 0;
        while done < data.len() {
            let at = offset.saturating_add(done as u64);
            let mut rest = [io::IoSliceMut::new(&mut data[done..])];
            match preadv2(self.0.file.as_fd(), &mut rest, at, ReadWriteFlags::NOWAIT) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(Errno::INTR) => {}
                // Not in memory, or a file system that can't say whether it is.
                Err(Errno::AGAIN | Errno::OPNOTSUPP) => return Poll::Pending,
                Err(errno) => return Poll::Ready(Err(ename(errno))),
            }
        }
        Poll::Ready(Ok(done))
    }

    /// Reads a run of bytes into several places, if all of it is in memory: whether it was. If not,
    /// what is in the places is of no use.
    pub fn read_cached_scattered(&self, offset: u64, places: &mut [io::IoSliceMut<'_>]) -> bool {
        let count = places.iter().map(|place| place.len()).sum();
        let flags = if self.0.is_memory { ReadWriteFlags::empty() } else { ReadWriteFlags::NOWAIT };
        preadv2(self.0.file.as_fd(), places, offset, flags) == Ok(count)
    }

    /// Has these bytes brought into memory, and does not wait for them.
    pub fn read_ahead(&self, range: Range<u64>) {
        // No bytes would mean all there are.
        if let Some(count) = NonZeroU64::new(range.end.saturating_sub(range.start)) {
            // If it does not help it does not harm.
            let _ = fadvise(&self.0.file, range.start, Some(count), Advice::WillNeed);
        }
    }

    /// Reads, and waits for it: fewer bytes than were asked for only at the end of the file.
    pub fn read(&self, offset: u64, data: &mut [u8]) -> Result<usize, Ename> {
        let count = Self::clip(offset, data.len());
        let data = &mut data[..count];
        let mut done = 0;
        while done < data.len() {
            match self.0.file.read_at(&mut data[done..], offset.saturating_add(done as u64)) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(host_error(&error)),
            }
        }
        Ok(done)
    }

    /// Writes all of `data` if that is a matter of memory. Pending, with nothing written, if a block
    /// of which it changes only a part would have to be read from the disk first.
    pub fn write_cached(&self, offset: u64, data: &[u8]) -> Outcome<usize> {
        let end = offset.saturating_add(data.len() as u64);
        let before = (!offset.is_multiple_of(BLOCK)).then(|| offset - 1);
        let after = (!end.is_multiple_of(BLOCK)).then_some(end);
        if [before, after].into_iter().flatten().all(|at| self.is_cached(at)) {
            Poll::Ready(self.write(offset, data))
        } else {
            Poll::Pending
        }
    }

    /// Whether the byte at `offset` is in memory, or does not exist.
    fn is_cached(&self, offset: u64) -> bool {
        if self.0.is_memory {
            return true;
        }
        let mut byte = [0];
        let mut room = [io::IoSliceMut::new(&mut byte)];
        let read = preadv2(self.0.file.as_fd(), &mut room, offset, ReadWriteFlags::NOWAIT);
        !matches!(read, Err(Errno::AGAIN | Errno::OPNOTSUPP))
    }

    /// Writes all of `data`, and waits for it where the disk has to be waited for.
    pub fn write(&self, offset: u64, data: &[u8]) -> Result<usize, Ename> {
        if Self::clip(offset, data.len()) < data.len() {
            return Err(ename(Errno::FBIG));
        }
        // Counted even if it fails, since a part of it may have been written.
        self.0.changes.fetch_add(1, Ordering::Relaxed);
        let mut done = 0;
        while done < data.len() {
            // Not the C library's, which sees to it each time that a thread could be cancelled there.
            match pwrite(&self.0.file, &data[done..], offset + done as u64) {
                Ok(0) => return Err(enames::EIO.into()),
                Ok(n) => done += n,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(ename(errno)),
            }
        }
        Ok(done)
    }

    /// Whether the file ends before byte `offset`: it was longer when it was opened.
    pub fn ends_before(&self, offset: u64) -> bool {
        // Its times are not asked for, as stat(2) does: a file system that sees who looks at them gives
        // the next write a time of its own, which costs ext4 an entry in its journal.
        offset > 0 && seek(&self.0.file, SeekFrom::End(0)).is_ok_and(|length| length < offset)
    }

    /// Waits until all that was written is on stable storage.
    pub fn sync(&self) -> Result<(), Ename> {
        self.0.file.sync_data().map_err(|error| host_error(&error))
    }
}

fn host_error(error: &io::Error) -> Ename {
    match Errno::from_io_error(error) {
        Some(errno) => ename(errno),
        None => enames::EIO.into(),
    }
}
