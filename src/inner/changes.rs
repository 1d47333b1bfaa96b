//! What is remembered of files by their numbers, as long as there is room for it.
//!
//! The host's time stamps are as coarse as its clock ticks, so two writes may leave a file with the
//! same times and the same length. [`Changes`] counts the writes in between, for the qid.vers of
//! what is exported, and of devices. It must never grow with the number of files that are written.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::FileKey;

/// How many files are remembered before the oldest half is forgotten: some megabytes. What is
/// forgotten of a file that nobody has open makes its qid.vers change once more than its content.
pub const REMEMBERED: usize = 1 << 16;

/// Something for each of the last files: at least [`REMEMBERED`] of them, at most twice as many
/// and those in use.
#[derive(Debug)]
pub struct Memory<T> {
    young: HashMap<FileKey, T>,
    old: HashMap<FileKey, T>,
}

impl<T> Default for Memory<T> {
    fn default() -> Self {
        Memory { young: HashMap::new(), old: HashMap::new() }
    }
}

impl<T> Memory<T> {
    /// What is remembered of a file.
    pub fn get(&self, key: FileKey) -> Option<&T> {
        self.young.get(&key).or_else(|| self.old.get(&key))
    }

    /// Remembers `what` of a file. When that is too much, the older half is forgotten, but for
    /// what is `in_use`.
    pub fn put(&mut self, key: FileKey, what: T, in_use: impl Fn(&T) -> bool) {
        self.old.remove(&key);
        self.young.insert(key, what);
        if self.young.len() >= REMEMBERED {
            let mut forgotten = std::mem::take(&mut self.old);
            forgotten.retain(|_, what| in_use(what));
            self.old = std::mem::take(&mut self.young);
            self.old.extend(forgotten);
        }
    }
}

/// How often each file was changed through this server, modulo 2^32.
#[derive(Debug, Default)]
pub struct Changes(Mutex<Memory<Arc<AtomicU32>>>);

impl Changes {
    /// The counter of a file: the same one for everyone who has it open.
    pub fn of(&self, key: FileKey) -> Arc<AtomicU32> {
        let mut memory = self.memory();
        if let Some(counter) = memory.get(key) {
            return counter.clone();
        }
        let counter = Arc::<AtomicU32>::default();
        memory.put(key, counter.clone(), |counter| Arc::strong_count(counter) > 1);
        counter
    }

    /// How often the file was changed.
    pub fn count(&self, key: FileKey) -> u32 {
        self.memory().get(key).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }

    /// The file was changed.
    pub fn add(&self, key: FileKey) {
        self.of(key).fetch_add(1, Ordering::Relaxed);
    }

    fn memory(&self) -> MutexGuard<'_, Memory<Arc<AtomicU32>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
