//! The entries of a directory.
//!
//! A listing has what a walk could come to, and nothing else: no name that is not UTF-8, and no
//! link that leads out of the root or nowhere. Nothing of it is kept from one read to the next: a
//! position is the host's own (`d_off`), and the host sees to it that what is in the directory all
//! the while is told once, whatever comes and goes meanwhile (readdir(3)).

use std::fs::File as HostFile;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{FileType, Mode, OFlags, RawDir, SeekFrom, seek};
use rustix::io::Errno;
use styx::server::DirEntries;

use super::resolve::{join, open_below};
use super::seen::{Seen, identify, identify_in};
use super::{CONFINED, HostFs, Way};

/// How many bytes of names are fetched at a time: as many as have room in the reply of an msize of
/// 64 KiB.
const BUFFER: usize = 32 * 1024;

/// An open directory.
#[derive(Debug)]
pub struct OpenDir {
    file: Arc<HostFile>,
    /// One read at a time: the descriptor has one position.
    reading: Mutex<()>,
}

impl OpenDir {
    pub(super) fn new(fd: OwnedFd) -> Self {
        OpenDir { file: Arc::new(fd.into()), reading: Mutex::new(()) }
    }

    pub(super) fn host_file(&self) -> &Arc<HostFile> {
        &self.file
    }
}

impl HostFs {
    pub(super) fn list(
        &self,
        dir: &OpenDir,
        way: &Way,
        cursor: u64,
        mut entries: DirEntries,
    ) -> Result<DirEntries, Errno> {
        let _alone = dir.reading.lock().unwrap_or_else(PoisonError::into_inner);
        seek(&*dir.file, SeekFrom::Start(cursor))?;
        let mut buffer = Vec::with_capacity(BUFFER);
        let mut names = RawDir::new(&*dir.file, buffer.spare_capacity_mut());
        while let Some(name) = names.next() {
            let name = match name {
                // The directory was removed: there is nothing in it.
                Err(Errno::NOENT) => break,
                name => name?,
            };
            let next = name.next_entry_cookie();
            let Ok(name) = name.file_name().to_str() else {
                tracing::info!(name = ?name.file_name(), "a name that is not UTF-8 is not listed");
                continue;
            };
            if matches!(name, "." | "..") {
                continue;
            }
            let pushed = self
                .see_entry(dir, way, name)
                .and_then(|seen| self.entry(&seen, name, false, |stat| entries.push(stat, next)));
            match pushed {
                Ok(true) => {}
                Ok(false) => break,
                Err(errno) => tracing::debug!(name, %errno, "no walk comes here: not listed"),
            }
        }
        Ok(entries)
    }

    fn see_entry(&self, dir: &OpenDir, way: &Way, name: &str) -> Result<Seen, Errno> {
        let (_, stat) = identify_in(dir.file.as_fd(), name)?;
        let fd = match FileType::from_raw_mode(stat.stx_mode.into()) {
            FileType::Symlink => {
                // By the path, since it may lead anywhere below the root.
                let (still, _) = self.reach(way, CONFINED)?;
                drop(still);
                self.open_path(&join(&way.path(), name), CONFINED)?
            }
            FileType::BlockDevice => {
                let flags = OFlags::PATH | OFlags::NOFOLLOW;
                open_below(dir.file.as_fd(), name, flags, Mode::empty(), CONFINED)?
            }
            _ => return self.see_in(dir.file.as_fd(), name, stat),
        };
        self.see(fd.as_fd(), identify(fd.as_fd())?.1, CONFINED)
    }
}
