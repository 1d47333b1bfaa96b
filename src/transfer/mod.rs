//! One read, write or sync under way: its steps, in the order that ds(3) promises, and its result.
//!
//! A transfer of a device becomes transfers of its inner files, down to the files themselves. As
//! long as every file answers at once nothing is remembered at all; when one does not, what is left
//! to do is kept as a tree of frames (`machine`, and `pieces`, `legs`, `crypt` for the kinds) and goes on when the answer comes.
//!
//! Transfers that touch the same bytes, one of them to write, run in the order in which they came
//! (`footprint`); all others may overtake each other. While nothing is kept there is nothing to
//! wait for, so the order costs nothing on the fast path.
//!
//! While somebody else asks for little, a large read is kept from its beginning, and done in slices
//! (`slices`).

mod copy;
mod crypt;
mod direct;
mod footprint;
mod legs;
mod machine;
mod pieces;
mod scatter;
mod slices;

use std::collections::VecDeque;
use std::rc::Rc;
use std::task::Poll;

use slab::Slab;
use styx::server::{Ename, Outcome};

pub use copy::Copied;
use copy::{CopyRange, Next};
pub use footprint::{Direction, Footprint};
use machine::{Bytes, Frames, Machine};
use slices::{Sliced, Slices};

use crate::inner::{Carrier, Device, File, Inner, Op};
use crate::integrity::Step;

/// What is to be done with a range of bytes.
#[derive(Debug)]
pub enum Ask<'a> {
    /// Read it into these bytes.
    Read(&'a mut [u8]),
    /// Write these bytes to it.
    Write(&'a [u8]),
    /// See to it that all of the file or device is on stable storage. The range is not looked at.
    Sync,
}

/// How one operation on a file ended that had been left pending.
#[derive(Debug)]
pub enum Done<'a> {
    /// A read: the bytes.
    Read(&'a [u8]),
    /// A write: how many bytes were taken.
    Wrote(usize),
    /// A sync.
    Synced,
    /// A mirror's record.
    Recorded,
}

/// A transfer that had been left pending and is over.
#[derive(Debug)]
pub struct Finished<O> {
    /// Whose it was.
    pub owner: O,
    /// Which direction it had.
    pub direction: Direction,
    /// How many bytes were moved.
    pub result: Result<usize, Ename>,
    /// A read's bytes, as many as were moved.
    pub data: Vec<u8>,
    /// What came of a copy or a comparison.
    pub copied: Option<Copied>,
}

#[derive(Debug)]
struct Transfer<O> {
    owner: O,
    serial: u64,
    direction: Direction,
    inner: Inner,
    offset: u64,
    footprint: Footprint,
    /// A read's bytes as far as they came, a write's to the end.
    data: Vec<u8>,
    frames: Frames,
    work: Work,
    begun: bool,
}

/// What a transfer is made of.
#[derive(Debug)]
enum Work {
    /// What was asked for, and nothing more.
    Once,
    /// The sync that follows a write of so many bytes.
    SyncAfter(usize),
    /// The copying of a range of a mirror from leg to leg.
    Copy(CopyRange),
    /// A read, slice after slice.
    Sliced(Sliced),
}

/// All transfers that are under way. `O` is whose they are.
#[derive(Debug)]
pub struct Transfers<O> {
    kept: Slab<Transfer<O>>,
    /// Those not begun, in the order in which they came.
    queue: VecDeque<usize>,
    finished: VecDeque<Finished<O>>,
    slices: Slices,
    /// Mirrors that were written and whose legs were not looked at since.
    unseen: Vec<Rc<Device>>,
    serial: u64,
    /// Frames for the transfer that is being begun, kept for the next one.
    spare: Frames,
    /// Each write is followed by a sync before it is over.
    syncs_writes: bool,
}

impl<O> Default for Transfers<O> {
    fn default() -> Self {
        Transfers {
            kept: Slab::new(),
            queue: VecDeque::new(),
            finished: VecDeque::new(),
            slices: Slices::default(),
            unseen: Vec::new(),
            serial: 0,
            spare: Frames::default(),
            syncs_writes: false,
        }
    }
}

impl<O: Copy + PartialEq> Transfers<O> {
    /// Begins a transfer at byte `offset` of `inner`. If it is pending, its end comes by
    /// [`next_finished`](Transfers::next_finished).
    ///
    /// The result is how many bytes were moved: fewer than were asked for at the end of the
    /// device, none beyond it.
    pub fn begin<C: Carrier>(
        &mut self,
        carrier: &mut C,
        inner: &Inner,
        offset: u64,
        mut ask: Ask<'_>,
        owner: O,
    ) -> Outcome<usize> {
        let (direction, count) = match &ask {
            Ask::Read(data) => (Direction::Read, data.len()),
            Ask::Write(data) => (Direction::Write, data.len()),
            Ask::Sync => (Direction::Sync, 0),
        };
        let range =
            if direction == Direction::Sync { (0, u64::MAX) } else { (offset, count as u64) };
        let footprint = || Footprint::of(direction, inner, range.0, range.1);
        self.serial += 1;
        let serial = self.serial;
        let transfer = |footprint, data, begun, work| Transfer {
            owner,
            serial,
            direction,
            inner: inner.clone(),
            offset,
            footprint,
            data,
            frames: Frames::default(),
            work,
            begun,
        };
        if !self.kept.is_empty() {
            let footprint = footprint();
            if self.kept.iter().any(|(_, other)| footprint.must_wait_for(&other.footprint)) {
                let data = match ask {
                    Ask::Read(data) => vec![0; data.len()],
                    Ask::Write(data) => data.to_vec(),
                    Ask::Sync => Vec::new(),
                };
                let id = self.kept.insert(transfer(footprint, data, false, Work::Once));
                self.queue.push_back(id);
                return Poll::Pending;
            }
        }
        if matches!(ask, Ask::Read(_)) && slices::suits(carrier, inner, count) {
            let work = Work::Sliced(Sliced::new(count));
            let id = self.kept.insert(transfer(footprint(), vec![0; count], true, work));
            self.slices.leave(id, serial, count);
            return Poll::Pending;
        }
        let is_synced = self.syncs_writes && direction == Direction::Write;
        // Small writes that come together are looked after together.
        if direction != Direction::Write {
            self.look_at_legs(carrier);
        }
        if !is_synced
            && let Some(result) =
                direct::transfer(carrier, inner, offset, &mut ask, &mut self.unseen)
        {
            return Poll::Ready(result);
        }
        self.look_at_legs(carrier);
        let mut bytes = match ask {
            Ask::Read(data) => Bytes::In(data),
            Ask::Write(data) => Bytes::Out(data),
            Ask::Sync => Bytes::None,
        };
        let op = Op { transfer: self.kept.vacant_key(), serial, node: 0 };
        let mut frames = std::mem::take(&mut self.spare);
        let step =
            Machine::new(carrier, &mut frames, bytes.reborrow(), op).begin(inner, offset, count);
        match step {
            Poll::Ready(Ok(wrote @ 1..)) if is_synced => {
                self.spare = frames;
                let work = Work::SyncAfter(wrote);
                let id = self.kept.insert(transfer(footprint(), Vec::new(), true, work));
                let outcome = self.run(carrier, id);
                if outcome.is_ready() {
                    self.kept.remove(id);
                }
                outcome
            }
            Poll::Ready(result) => {
                self.spare = frames;
                Poll::Ready(result)
            }
            Poll::Pending => {
                let kept = transfer(footprint(), bytes.to_vec(), true, Work::Once);
                self.kept.insert(Transfer { frames, ..kept });
                Poll::Pending
            }
        }
    }

    /// The one file here that has all that a small read asks for, and where in it, if there is one and
    /// no transfer is under way that the read might have to wait for.
    pub fn find(&self, inner: &Inner, offset: u64, count: usize) -> Option<(File, u64)> {
        let may_be_read = self.kept.is_empty() && self.unseen.is_empty();
        if may_be_read { direct::find(inner, (offset, count)) } else { None }
    }

    /// Looks whether legs that small writes went to had been cut behind our back: there may be a hole
    /// now, but their ends are missing still. It is done before any other transfer begins or goes on, so no hole is
    /// read and no end made up for; whoever begins transfers asks for it when no more come for now.
    ///
    /// Done before each write it would take a twentieth of that.
    pub fn look_at_legs<C: Carrier>(&mut self, carrier: &mut C) {
        while let Some(device) = self.unseen.pop() {
            for (leg, inner) in device.inner().iter().enumerate().rev() {
                if let Inner::File(file) = inner
                    && carrier.ends_before(file, device.geometry.length())
                    && let Some(mut mirror) = device.mirror()
                {
                    mirror.holed(leg, carrier.time());
                }
            }
        }
    }

    /// From now on each write is on stable storage before it is over.
    pub fn sync_writes(&mut self) {
        self.syncs_writes = true;
    }

    /// Begins to make a leg of a mirror equal to another one in a range, or with `compare` only to
    /// look whether it is. Its end comes by [`next_finished`](Transfers::next_finished).
    pub fn begin_copy<C: Carrier>(
        &mut self,
        carrier: &mut C,
        mirror: &Rc<Device>,
        step: Step,
        compare: bool,
        owner: O,
    ) {
        let inner = Inner::Device(mirror.clone());
        let direction = if compare { Direction::Read } else { Direction::Write };
        self.serial += 1;
        let id = self.kept.insert(Transfer {
            owner,
            serial: self.serial,
            direction,
            footprint: Footprint::of(direction, &inner, step.offset, step.count),
            inner,
            offset: step.offset,
            data: Vec::new(),
            frames: Frames::default(),
            work: Work::Copy(CopyRange::new(mirror.clone(), step, compare)),
            begun: false,
        });
        self.queue.push_back(id);
        self.begin_queued(carrier);
    }

    /// An operation on a file that was pending is over. One that belongs to no transfer any more
    /// is passed over.
    pub fn complete<C: Carrier>(
        &mut self,
        carrier: &mut C,
        op: Op,
        result: Result<Done<'_>, Ename>,
    ) {
        self.look_at_legs(carrier);
        let Some(transfer) = self.kept.get_mut(op.transfer) else { return };
        if transfer.serial != op.serial {
            return;
        }
        let bytes = match &mut transfer.work {
            Work::Once => Bytes::of(transfer.direction, &mut transfer.data),
            Work::SyncAfter(_) => Bytes::None,
            Work::Copy(copy) => copy.bytes(),
            Work::Sliced(sliced) => Bytes::In(&mut transfer.data[sliced.range()]),
        };
        let mut machine = Machine::new(carrier, &mut transfer.frames, bytes, op);
        let Some(result) = machine.complete(op.node, result) else { return };
        if let Poll::Ready(result) = self.go_on(carrier, op.transfer, result) {
            self.end(op.transfer, result);
            self.begin_queued(carrier);
        }
    }

    /// Runs the step that a transfer is at, and those that follow.
    fn run<C: Carrier>(&mut self, carrier: &mut C, id: usize) -> Outcome<usize> {
        self.look_at_legs(carrier);
        let transfer = &mut self.kept[id];
        let op = Op { transfer: id, serial: transfer.serial, node: 0 };
        let Transfer { inner, offset, direction, data, frames, .. } = transfer;
        let result = match &mut transfer.work {
            Work::Once => {
                let count = data.len();
                let bytes = Bytes::of(*direction, data);
                Machine::new(carrier, frames, bytes, op).begin(inner, *offset, count)
            }
            Work::SyncAfter(_) => Machine::new(carrier, frames, Bytes::None, op).begin(inner, 0, 0),
            Work::Copy(copy) => copy.run(carrier, frames, op),
            Work::Sliced(sliced) => {
                let range = sliced.range();
                let offset = offset.saturating_add(range.start as u64);
                let count = range.len();
                let bytes = Bytes::In(&mut data[range]);
                Machine::new(carrier, frames, bytes, op).begin(inner, offset, count)
            }
        };
        match result {
            Poll::Ready(result) => self.go_on(carrier, id, result),
            Poll::Pending => Poll::Pending,
        }
    }

    /// A step of a transfer is over: the end of all of it, or the next step.
    fn go_on<C: Carrier>(
        &mut self,
        carrier: &mut C,
        id: usize,
        result: Result<usize, Ename>,
    ) -> Outcome<usize> {
        let transfer = &mut self.kept[id];
        match (&mut transfer.work, result) {
            (Work::Once, Ok(wrote @ 1..))
                if self.syncs_writes && transfer.direction == Direction::Write =>
            {
                transfer.work = Work::SyncAfter(wrote);
                self.run(carrier, id)
            }
            (Work::SyncAfter(wrote), Ok(_)) => Poll::Ready(Ok(*wrote)),
            (Work::Once | Work::SyncAfter(_), result) => Poll::Ready(result),
            (Work::Copy(copy), result) => match copy.next(result) {
                Next::Step => self.run(carrier, id),
                Next::Over => Poll::Ready(Ok(0)),
            },
            (Work::Sliced(sliced), result) => match sliced.next(result, transfer.data.len()) {
                Some(result) => Poll::Ready(result),
                None => {
                    self.slices.go_on(id, transfer.serial);
                    Poll::Pending
                }
            },
        }
    }

    fn end(&mut self, id: usize, result: Result<usize, Ename>) {
        let mut transfer = self.kept.remove(id);
        let moved = result.as_ref().copied().unwrap_or(0);
        transfer.data.truncate(if transfer.direction == Direction::Read { moved } else { 0 });
        let Transfer { owner, direction, data, work, .. } = transfer;
        let copied = match work {
            Work::Copy(copy) => copy.ended(),
            Work::Once | Work::SyncAfter(_) | Work::Sliced(_) => None,
        };
        self.finished.push_back(Finished { owner, direction, result, data, copied });
    }

    /// Begins those in the queue that wait for nothing any more.
    fn begin_queued<C: Carrier>(&mut self, carrier: &mut C) {
        let mut at = 0;
        while let Some(&id) = self.queue.get(at) {
            let this = &self.kept[id];
            let waits = self.kept.iter().any(|(_, other)| {
                other.serial < this.serial && this.footprint.must_wait_for(&other.footprint)
            });
            if waits {
                at += 1;
                continue;
            }
            self.queue.remove(at);
            self.kept[id].begun = true;
            if let Poll::Ready(result) = self.run(carrier, id) {
                self.end(id, result);
                at = 0;
            }
        }
    }

    /// The next transfer that was pending and is over.
    pub fn next_finished(&mut self) -> Option<Finished<O>> {
        self.finished.pop_front()
    }

    /// Whether there is one.
    pub fn has_finished(&self) -> bool {
        !self.finished.is_empty()
    }

    /// The owner no longer waits. True if nothing will be heard of its transfer: it had not begun,
    /// or it changes nothing. False if it is a write that has begun, which goes on to its end, or
    /// if it has ended already.
    ///
    /// What a dropped transfer had asked for may still come, and is passed over; it asks for
    /// nothing more, so a mirror does not go on through its legs for nobody.
    pub fn cancel<C: Carrier>(&mut self, carrier: &mut C, owner: O) -> bool {
        let Some((id, transfer)) = self.kept.iter().find(|(_, kept)| kept.owner == owner) else {
            return false;
        };
        if transfer.begun && transfer.direction == Direction::Write {
            return false;
        }
        self.queue.retain(|&queued| queued != id);
        self.kept.remove(id);
        self.begin_queued(carrier);
        true
    }

    /// Whether a write is under way that somebody asked for.
    pub fn is_writing(&self) -> bool {
        let is_write = |kept: &Transfer<O>| kept.direction == Direction::Write;
        self.kept.iter().any(|(_, kept)| is_write(kept) && !matches!(kept.work, Work::Copy(_)))
    }

    /// How many transfers are under way.
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }
}
