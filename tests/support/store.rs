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
        self.seen[offset..offset + data.len()].copy_from_slice(data);
        self.writes += 1;
        self.unsynced.push((self.writes, offset, data.to_vec()));
    }

    /// What was written up to `until` is on stable storage.
    pub fn sync(&mut self, until: u64) {
        self.unsynced.retain(|(number, offset, data)| {
            if *number <= until {
                self.stable[*offset..offset + data.len()].copy_from_slice(data);
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
                    self.stable[at..at + piece.len()].copy_from_slice(piece);
                }
            }
        }
        Store::new(self.stable)
    }
}
