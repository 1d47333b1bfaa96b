//! The state directory (`--state DIR`): the configuration, and a write-intent log for each mirror
//! (docs/state-format.md). Every call waits for the disk, so a server that is at work leaves them to
//! a worker thread. A file that is damaged, or was never ours, is refused and never replaced.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::config;
use super::log::{Found, Identity, LogError, MAX_LOG, Record, decode};

const LOCK: &str = "lock";
const CTL: &str = "ctl";
const MIRRORS: &str = "mirrors";
/// A file that was not finished when the server ended. The next one is written over it.
const UNFINISHED: &str = ".new";

/// The longest configuration: that of a saved ctl, and its first line.
const MAX_CONFIG: u64 = 8 * 1024 * 1024;

/// Why a state directory is refused.
#[derive(Debug, Error)]
pub enum StateError {
    /// Something with a file of it.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process has it.
    #[error("{}: another dsfs uses this state directory; end that one, or give another --state", .0.display())]
    Locked(PathBuf),
    /// There are files, but none of ours.
    #[error("{}: it holds files and no dsfs configuration; give an empty directory, or put its ctl back", .0.display())]
    Foreign(PathBuf),
    /// The configuration.
    #[error("{}: {why}; nothing was changed: put a good copy back, or move the directory away", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A mirror's log.
    #[error("{} (the write-intent log of {mirror}): {why}; nothing was changed: put a good copy back, or, if the legs are known to be equal, move it away and configure the mirror again", path.display())]
    Log {
        /// The file.
        path: PathBuf,
        /// The mirror.
        mirror: String,
        /// What is wrong with it.
        why: LogError,
    },
    /// A mirror's log is not there.
    #[error("{}: the write-intent log of {mirror} is missing; put it back", path.display())]
    NoLog {
        /// Where it should be.
        path: PathBuf,
        /// The mirror.
        mirror: String,
    },
    /// A log of another mirror.
    #[error("{}: it is the log of another mirror than {mirror}; put the right one back", path.display())]
    OtherLog {
        /// The file.
        path: PathBuf,
        /// The mirror.
        mirror: String,
    },
}

/// Which mirror a log is of.
#[derive(Clone, Debug)]
pub struct Key {
    /// Its directory and name, for people.
    pub mirror: String,
    /// What names it: another mirror of that name has another.
    pub identity: Identity,
}

impl Key {
    /// The key of the mirror `name` in `dir` that is configured by `line`.
    pub fn new(dialect: &str, dir: &str, name: &str, line: &str) -> Self {
        let mut hash = Sha256::new();
        for part in [dialect, dir, line.trim_end_matches('\n')] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        Key { mirror: format!("{dir}/{name}"), identity: hash.finalize().into() }
    }

    fn file_name(&self) -> String {
        self.identity[..16].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// A state directory that is ours, until this is dropped.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    dialect: &'static str,
    _lock: File,
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> StateError {
    let path = path.to_path_buf();
    move |source| StateError::File { path, source }
}

impl StateDir {
    /// The directory at `path`, made if there is none, and locked.
    ///
    /// # Errors
    /// If it is in use, or not ours.
    pub fn open(path: &Path, dialect: &'static str) -> Result<Self, StateError> {
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(at(path))?;
        let dir = Self::lock(path, dialect)?;
        if !path.join(CTL).try_exists().map_err(at(path))? {
            let ours = |name: &str| name == LOCK || name.ends_with(UNFINISHED);
            for entry in fs::read_dir(path).map_err(at(path))? {
                let entry = entry.map_err(at(path))?;
                if !entry.file_name().to_str().is_some_and(ours) {
                    return Err(StateError::Foreign(path.to_path_buf()));
                }
            }
            dir.save_config("")?;
        }
        Ok(dir)
    }

    fn lock(path: &Path, dialect: &'static str) -> Result<Self, StateError> {
        let file = path.join(LOCK);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let lock = options.open(&file).map_err(at(&file))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(StateDir { path: path.to_path_buf(), dialect, _lock: lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(StateError::Locked(path.to_path_buf())),
            Err(errno) => Err(at(&file)(errno.into())),
        }
    }

    /// Where the configuration is.
    pub fn config_path(&self) -> PathBuf {
        self.path.join(CTL)
    }

    /// The configuration: lines of ctl.
    ///
    /// # Errors
    /// If it can't be read, or is not what was saved.
    pub fn config(&self) -> Result<Vec<u8>, StateError> {
        let path = self.config_path();
        let bytes = read_bounded(&path, MAX_CONFIG).map_err(at(&path))?;
        match config::decode(&bytes, self.dialect) {
            Ok(text) => Ok(text.to_vec()),
            Err(why) => Err(StateError::Config { path, why }),
        }
    }

    /// Puts a configuration in place of the one there is. When this returns it is on stable
    /// storage; if it fails, the old one is.
    ///
    /// # Errors
    /// If a file can't be written.
    pub fn save_config(&self, text: &str) -> Result<(), StateError> {
        self.put(&self.config_path(), &config::encode(self.dialect, text.as_bytes()))
    }

    fn put(&self, path: &Path, bytes: &[u8]) -> Result<(), StateError> {
        let mut unfinished = path.as_os_str().to_owned();
        unfinished.push(UNFINISHED);
        let unfinished = PathBuf::from(unfinished);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&unfinished).map_err(at(&unfinished))?;
        file.write_all(bytes).and_then(|()| file.sync_all()).map_err(at(&unfinished))?;
        fs::rename(&unfinished, path).map_err(at(path))?;
        let dir = path.parent().unwrap_or(&self.path);
        sync_dir(dir)
    }

    /// Where a mirror's log is.
    pub fn log_path(&self, key: &Key) -> PathBuf {
        self.path.join(MIRRORS).join(key.file_name())
    }

    /// A mirror's log, and what it says. Unless it `must_exist`, a new one is made where there is
    /// none.
    ///
    /// # Errors
    /// If it is refused, or can't be made.
    pub fn open_log(
        &self,
        key: &Key,
        length: u64,
        legs: usize,
        must_exist: bool,
    ) -> Result<(File, Found), StateError> {
        let path = self.log_path(key);
        let (file, found) = match must_exist || path.try_exists().map_err(at(&path))? {
            true => self.read_log(key)?,
            false => self.new_log(key, &Record::new(length, legs))?,
        };
        if found.record.legs.len() != legs {
            let why = LogError::Nonsense("it has another number of legs");
            return Err(StateError::Log { path, mirror: key.mirror.clone(), why });
        }
        if found.record.scale.length() == length {
            return Ok((file, found));
        }
        // The legs have other lengths than they had: a new log, with what the old one said.
        let (old, new) = (found.record.scale, super::Scale::new(length));
        let mut record = found.record;
        (record.scale, record.marked) = (new, record.marked.rescale(old, new));
        for leg in &mut record.legs {
            leg.stale = leg.stale.rescale(old, new);
        }
        self.new_log(key, &record)
    }

    /// A new log that says this, in place of one that there may be.
    ///
    /// # Errors
    /// If it can't be made.
    pub fn new_log(&self, key: &Key, record: &Record) -> Result<(File, Found), StateError> {
        let dir = self.path.join(MIRRORS);
        DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(at(&dir))?;
        sync_dir(&self.path)?;
        self.put(&self.log_path(key), &record.file(&key.identity))?;
        self.read_log(key)
    }

    /// The mirror of `from` becomes that of `to`, by this configuration: its log is there before
    /// that is so, and the old one goes after it.
    ///
    /// # Errors
    /// If the log or the configuration can't be written. What then is there is refused at the next
    /// start, or is as it was.
    pub fn move_log(
        &self,
        (from, to): (&Key, &Key),
        record: &Record,
        text: &str,
    ) -> Result<(File, Found), StateError> {
        let log = self.new_log(to, record)?;
        let saved = self.save_config(text);
        // One that a crash leaves behind counts only if a mirror is ever configured so again.
        let old = if saved.is_ok() { from } else { to };
        let _ = fs::remove_file(self.log_path(old));
        saved.map(|()| log)
    }

    /// What a mirror's log says.
    ///
    /// # Errors
    /// If it is refused, or there is none.
    pub fn read_log(&self, key: &Key) -> Result<(File, Found), StateError> {
        let path = self.log_path(key);
        let mirror = key.mirror.clone();
        if !path.try_exists().map_err(at(&path))? {
            return Err(StateError::NoLog { path, mirror });
        }
        let file = OpenOptions::new().read(true).write(true).open(&path).map_err(at(&path))?;
        let bytes = read_bounded(&path, MAX_LOG + 1).map_err(at(&path))?;
        match decode(&bytes) {
            Err(why) => Err(StateError::Log { path, mirror, why }),
            Ok(found) if found.identity != key.identity => {
                Err(StateError::OtherLog { path, mirror })
            }
            Ok(found) => Ok((file, found)),
        }
    }
}

/// Writes a record into a log; it is on stable storage when this returns.
///
/// # Errors
/// As the system says.
pub fn write_record(file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
    file.write_all_at(bytes, offset)?;
    file.sync_data()
}

fn sync_dir(dir: &Path) -> Result<(), StateError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(at(dir))
}

fn read_bounded(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = File::open(path)?.take(most).read_to_end(&mut bytes)?;
    if read as u64 == most {
        return Err(io::Error::new(ErrorKind::FileTooLarge, "it is too large to be ours"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        Key::new("devds", "ds", "m0", "mirror m0 /a /b\n")
    }

    #[test]
    fn a_configuration_comes_back_and_any_damage_is_refused() {
        let place = tempfile::tempdir().expect("a directory");
        let dir = StateDir::open(place.path(), "devds").expect("an empty directory");
        assert_eq!(dir.config().expect("a new one"), b"");
        dir.save_config("cat a /a\n").expect("saved");
        assert_eq!(dir.config().expect("saved"), b"cat a /a\n");
        let good = fs::read(dir.config_path()).expect("a file");
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(dir.config_path(), &bad).expect("written");
            assert!(matches!(dir.config(), Err(StateError::Config { .. })), "byte {at}");
            fs::write(dir.config_path(), &good[..at]).expect("written");
            assert!(matches!(dir.config(), Err(StateError::Config { .. })), "cut at {at}");
        }
        drop(dir);
        fs::write(place.path().join(CTL), &good).expect("written");
        let other = StateDir::open(place.path(), "plan9").expect("a directory");
        assert!(matches!(other.config(), Err(StateError::Config { .. })));
    }

    #[test]
    fn one_server_at_a_time_and_nobody_elses_files() {
        let place = tempfile::tempdir().expect("a directory");
        let dir = StateDir::open(place.path(), "devds").expect("an empty directory");
        let second = StateDir::open(place.path(), "devds");
        assert!(matches!(second, Err(StateError::Locked(_))));
        drop(dir);
        drop(StateDir::open(place.path(), "devds").expect("it is free again"));
        let home = tempfile::tempdir().expect("a directory");
        fs::write(home.path().join("letter"), "dear").expect("written");
        let foreign = StateDir::open(home.path(), "devds");
        assert!(matches!(foreign, Err(StateError::Foreign(_))));
    }

    #[test]
    fn a_log_is_made_once_kept_and_never_replaced() {
        let place = tempfile::tempdir().expect("a directory");
        let dir = StateDir::open(place.path(), "devds").expect("an empty directory");
        let missing = dir.open_log(&key(), 1 << 20, 2, true);
        assert!(matches!(missing, Err(StateError::NoLog { .. })));
        let (file, found) = dir.open_log(&key(), 1 << 20, 2, false).expect("a new log");
        let mut record = found.record;
        record.marked.add(3..5);
        let (offset, bytes) = record.encode(&key().identity, 2, 1);
        write_record(&file, offset, &bytes).expect("written");
        let (_, found) = dir.open_log(&key(), 1 << 20, 2, true).expect("the same log");
        assert_eq!(found.record, record);
        let (_, grown) = dir.open_log(&key(), 2 << 30, 2, true).expect("of a longer mirror");
        assert_eq!(grown.record.scale.length(), 2 << 30);
        assert!(grown.record.marked.has_all(1..3) && grown.record.marked.len() == 2);
        let other = Key::new("devds", "ds", "m0", "mirror m0 /a /c\n");
        assert_ne!(dir.log_path(&other), dir.log_path(&key()));
        fs::copy(dir.log_path(&key()), dir.log_path(&other)).expect("copied");
        let stolen = dir.open_log(&other, 2 << 30, 2, false);
        assert!(matches!(stolen, Err(StateError::OtherLog { .. })));
        let legs = dir.open_log(&key(), 2 << 30, 3, true);
        assert!(matches!(legs, Err(StateError::Log { .. })), "of two legs, not of three");
        for long in [MAX_LOG + 1, MAX_LOG + 2] {
            fs::write(dir.log_path(&other), vec![0; long as usize]).expect("written");
            assert!(matches!(dir.read_log(&other), Err(StateError::File { .. })), "{long} bytes");
        }
        fs::write(dir.log_path(&key()), "something else").expect("written");
        let damaged = dir.open_log(&key(), 1 << 20, 2, false);
        assert!(matches!(damaged, Err(StateError::Log { .. })));
        assert_eq!(fs::read(dir.log_path(&key())).expect("there"), b"something else");
    }
}
