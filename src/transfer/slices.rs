//! Large reads in slices, while somebody else asks for little.
//!
//! To copy a large read takes some tens of microseconds, and several hundred where the memory that the file
//! was read into is new to a virtual machine, whose host finds each page when it is touched first.
//! Who asks for little, and has to wait for that, waits longer than for all the rest. So such a read
//! goes on by one slice between the turns of the clients.

use std::collections::VecDeque;
use std::ops::Range;
use std::task::Poll;

use styx::server::Ename;

use super::Transfers;
use crate::inner::{Carrier, Inner};
use crate::limits::SLICE;

/// How far a read has come that is done in slices.
#[derive(Debug)]
pub(super) struct Sliced {
    done: usize,
    end: usize,
}

impl Sliced {
    /// Nothing has been read of `count` bytes.
    pub fn new(count: usize) -> Self {
        Sliced { done: 0, end: count.min(SLICE) }
    }

    /// The slice that is being read.
    pub fn range(&self) -> Range<usize> {
        self.done..self.end
    }

    /// The slice ended like this, of a read of `count` bytes: how all of the read did, or `None` if there is
    /// a next slice.
    pub fn next(
        &mut self,
        result: Result<usize, Ename>,
        count: usize,
    ) -> Option<Result<usize, Ename>> {
        let moved = match result {
            Ok(moved) => moved,
            Err(ename) => return Some(Err(ename)),
        };
        self.done += moved;
        if self.done < self.end || self.end == count {
            return Some(Ok(self.done));
        }
        self.end = count.min(self.end + SLICE);
        None
    }
}

/// The reads of which a slice is to be read.
#[derive(Debug, Default)]
pub(super) struct Slices {
    /// Which transfers: the place of each, and its serial number. The first one is read.
    next: VecDeque<(usize, u64)>,
    /// How many bytes were left for later since somebody asked.
    left: usize,
}

impl Slices {
    /// A read of so many bytes is left for later.
    pub fn leave(&mut self, id: usize, serial: u64, count: usize) {
        self.next.push_back((id, serial));
        self.left += count;
    }

    /// The next slice of a transfer is to be read before those of others.
    pub fn go_on(&mut self, id: usize, serial: u64) {
        self.next.push_front((id, serial));
    }
}

/// Whether a read of so many bytes is done in slices. What is elsewhere is not copied by us, and is better
/// asked for at one time.
pub(super) fn suits(carrier: &impl Carrier, inner: &Inner, count: usize) -> bool {
    count > SLICE && carrier.has_modest_company() && inner.homes() == 0
}

impl<O: Copy + PartialEq> Transfers<O> {
    /// Reads one slice of a read that was left for later.
    pub fn read_slice<C: Carrier>(&mut self, carrier: &mut C) {
        let Some((id, serial)) = self.slices.next.pop_front() else { return };
        // Another one in its place means that nobody waits for it any more.
        if self.kept.get(id).is_some_and(|kept| kept.serial == serial)
            && let Poll::Ready(result) = self.run(carrier, id)
        {
            self.end(id, result);
            self.begin_queued(carrier);
        }
    }

    /// Whether there is a slice to be read.
    pub fn has_slices(&self) -> bool {
        !self.slices.next.is_empty()
    }

    /// How many bytes of reads were left for later since this was asked last.
    pub fn take_left(&mut self) -> usize {
        std::mem::take(&mut self.slices.left)
    }
}
