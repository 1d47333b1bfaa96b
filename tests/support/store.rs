//! A file of a disk that can lose power: it keeps written and synced bytes apart, so that a crash can be
//! played. Synced bytes stay, the others are kept, lost or torn at random.

#![allow(dead_code, reason = "each program uses its own part of this")]

use crate::random::Random;

/// One file: what readers see, what is on stable storage, and the writes between.
#[derive(Clone)]
pub struct Store {
    /// What readers see.
    pub seen: Vec<u8>,
    stable: Vec<u8>,
    unsynced: Vec<(u64, usize, Vec<u8>)>,
    /// How many writes there were.
    pub writes: u64,
    /// The last one that was said to be on stable storage and need not be.
    lied: u64,
}

impl Store {
    /// A file that holds these bytes, all of them on stable storage.
    pub fn new(bytes: Vec<u8>) -> Store {
        Store { seen: bytes.clone(), stable: bytes, unsynced: Vec::new(), writes: 0, lied: 0 }
    }

    /// Written, but not to stable storage.
    pub fn write(&mut self, offset: usize, data: &[u8]) {
        put(&mut self.seen, offset, data);
        self.writes += 1;
        self.unsynced.push((self.writes, offset, data.to_vec()));
    }

    /// The file is cut to this length, behind the back of who writes it.
    pub fn cut(&mut self, length: usize) {
        self.seen.truncate(length);
        self.stable.truncate(length);
        self.unsynced.retain(|(_, offset, data)| offset + data.len() <= length);
    }

    /// What was written up to `until` is on stable storage.
    pub fn sync(&mut self, until: u64) {
        self.unsynced.retain(|(number, offset, data)| {
            if *number <= until {
                put(&mut self.stable, *offset, data);
            }
            *number > until
        });
    }

    /// What was written up to `until` is said to be on stable storage, and nothing is done for it.
    pub fn lie(&mut self, until: u64) {
        self.lied = self.lied.max(until);
    }

    /// What a power cut may take: where it is, its bytes, and whether it was said to be on stable storage.
    pub fn unsynced(&self) -> impl Iterator<Item = (usize, &[u8], bool)> {
        let unsynced = self.unsynced.iter();
        unsynced.map(|(number, offset, data)| (*offset, &data[..], *number <= self.lied))
    }

    /// What is found after a power cut: of a write that was not synced all, nothing, or some of its
    /// pieces of `unit` bytes.
    pub fn crashed(mut self, unit: usize, dice: &mut Random) -> Store {
        for (_, offset, data) in std::mem::take(&mut self.unsynced) {
            let fate = dice.below(3);
            for (index, piece) in data.chunks(unit).enumerate() {
                if fate == 0 || fate == 1 && dice.one_in(2) {
                    let at = offset + index * unit;
                    put(&mut self.stable, at, piece);
                }
            }
        }
        Store::new(self.stable)
    }
}

/// Puts bytes into a file, which grows if it has to.
fn put(file: &mut Vec<u8>, offset: usize, data: &[u8]) {
    file.resize(file.len().max(offset + data.len()), 0);
    file[offset..offset + data.len()].copy_from_slice(data);
}
