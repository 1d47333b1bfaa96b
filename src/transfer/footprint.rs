//! Which bytes of which files a transfer may touch, so that transfers that touch the same bytes
//! run in the order in which they came.

use crate::device::inter::BLOCK;
use crate::device::{Geometry, Kind};
use crate::inner::{FileKey, Inner};

/// What a transfer does to the bytes that it touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Reads them.
    Read,
    /// Writes them.
    Write,
    /// Waits until they are on stable storage.
    Sync,
}

/// The bytes that a transfer may touch. Of each file it is one range, which may have holes: two
/// transfers may wait for each other without need, but never run together wrongly.
#[derive(Debug)]
pub struct Footprint {
    direction: Direction,
    ranges: Vec<(FileKey, u64, u64)>,
}

impl Footprint {
    /// The bytes that `count` bytes at `offset` of `inner` are on.
    pub fn of(direction: Direction, inner: &Inner, offset: u64, count: u64) -> Self {
        let mut footprint = Footprint { direction, ranges: Vec::new() };
        footprint.add(inner, offset, count);
        footprint
    }

    /// Whether this transfer must wait for `earlier` to end.
    pub fn must_wait_for(&self, earlier: &Footprint) -> bool {
        use Direction::{Read, Sync, Write};
        let clash = match (self.direction, earlier.direction) {
            (Write, Read | Write) | (Read | Sync, Write) => true,
            // What is written after a sync began is not the sync's business.
            (Write, Sync) | (Read | Sync, Read | Sync) => false,
        };
        clash
            && self.ranges.iter().any(|&(key, start, end)| {
                earlier
                    .ranges
                    .iter()
                    .any(|&(other, from, to)| key == other && start < to && from < end)
            })
    }

    fn add(&mut self, inner: &Inner, offset: u64, count: u64) {
        match inner {
            Inner::Ctl | Inner::Absent(_) => {}
            Inner::File(file) => self.add_range(file.key(), offset, offset.saturating_add(count)),
            Inner::Device(device) => {
                let geometry = &device.geometry;
                let count = geometry.clip(offset, count);
                match geometry.kind() {
                    _ if count == 0 => {}
                    Kind::Mirror => {
                        device.inner().iter().for_each(|leg| self.add(leg, offset, count));
                    }
                    Kind::Inter => self.add_inter(geometry, &device.inner(), offset, count),
                    Kind::Cat | Kind::Part { .. } | Kind::Crypt => {
                        let mut done = 0;
                        while done < count {
                            let piece = geometry.piece(offset + done, count - done);
                            self.add(&device.inner()[piece.inner], piece.offset, piece.count);
                            done += piece.count;
                        }
                    }
                }
            }
        }
    }

    /// An inter of many blocks is the same few files over and over: one range for each.
    fn add_inter(&mut self, geometry: &Geometry, inner: &[Inner], offset: u64, count: u64) {
        let n = inner.len() as u64;
        let (first, last) = (offset / BLOCK, (offset + count - 1) / BLOCK);
        for block in first..=last.min(first.saturating_add(n - 1)) {
            // The last block that is in the same file as this one, and still in the range.
            let same = last - (last - block) % n;
            let start = geometry.piece((block * BLOCK).max(offset), 1);
            let end = same / n * BLOCK + BLOCK;
            self.add(&inner[start.inner], start.offset, end - start.offset);
        }
    }

    fn add_range(&mut self, key: FileKey, start: u64, end: u64) {
        let known = self
            .ranges
            .iter_mut()
            .find(|(other, from, to)| *other == key && start <= *to && *from <= end);
        match known {
            Some((_, from, to)) => {
                *from = start.min(*from);
                *to = end.max(*to);
            }
            None => self.ranges.push((key, start, end)),
        }
    }
}
