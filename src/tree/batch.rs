//! Small reads of one client that are planned first, and then carried out one after the other.
//!
//! After a system call little of our own program is left in the processor's caches, and the way of a request
//! to its file is about a thousand instructions. So many requests go that way before the first of their
//! files is read. The reply to each stands in the output at once, but for its data.
//!
//! Whoever takes messages has all that carried out before another kind of message is taken, and before
//! anything is sent.

use std::io::IoSliceMut;
use std::ops::Range;
use std::rc::Rc;

use styx::buffer::{Buffer, Output};
use styx::encode::{RREAD_HEADER, TREAD_SIZE};

use super::World;
use crate::inner::{Carrier, File};
use crate::observe::Counts;

/// How many reads are planned at one time: as many as clients have in flight. Of more, the data of the first
/// would no longer be in a small cache when they are sent.
const MOST: usize = 32;

/// The frame of a Tread.
type Request = [u8; TREAD_SIZE];

/// What came of the planned reads.
#[derive(Debug)]
pub struct CarriedOut {
    /// How many were read.
    pub reads: usize,
    /// The bytes of their replies.
    pub bytes: usize,
    /// The requests of those that would have to wait.
    pub missed: Vec<Request>,
}

/// A read that is planned.
#[derive(Debug)]
struct Planned {
    /// The one file that has all of it, and where.
    file: File,
    offset: u64,
    count: usize,
    /// Of the device that is read, if it is one.
    counts: Option<Rc<Counts>>,
    request: Request,
    /// Where its reply starts in the output.
    reply: usize,
    is_read: bool,
}

impl Planned {
    fn data(&self) -> Range<usize> {
        let start = self.reply + RREAD_HEADER;
        start..start + self.count
    }

    fn reply(&self) -> Range<usize> {
        self.reply..self.data().end
    }
}

/// The reads that are planned.
#[derive(Debug, Default)]
pub struct Batch {
    planned: Vec<Planned>,
    /// The message that is being taken, if it may be planned, and where its reply starts.
    open: Option<(Request, usize)>,
}

impl Batch {
    /// The message that is taken next may be planned: a Tread with this frame, whose reply starts there
    /// in the output.
    pub fn open(&mut self, frame: &[u8], reply: usize) {
        self.open = frame.try_into().ok().map(|request| (request, reply));
    }

    /// It was taken.
    pub fn close(&mut self) {
        self.open = None;
    }

    /// Whether the message that is being taken may be planned.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// It is planned: all that it reads is in this file, from byte `offset` on.
    pub(super) fn add(
        &mut self,
        (file, offset): (File, u64),
        count: usize,
        counts: Option<Rc<Counts>>,
    ) {
        if let Some((request, reply)) = self.open.take() {
            let is_read = false;
            self.planned.push(Planned { file, offset, count, counts, request, reply, is_read });
        }
    }

    /// How many are planned.
    pub fn len(&self) -> usize {
        self.planned.len()
    }

    /// Whether none is planned.
    pub fn is_empty(&self) -> bool {
        self.planned.is_empty()
    }

    /// Whether no more should be.
    pub fn is_full(&self) -> bool {
        self.planned.len() >= MOST
    }
}

impl World {
    /// Carries out what is planned, and puts the data into the output. The replies to those reads that would have
    /// to wait are taken out again: their requests are to be taken once more.
    pub fn carry_out(&mut self, carrier: &mut impl Carrier, out: &mut Buffer) -> CarriedOut {
        let planned = &mut self.batch.planned;
        for this in planned.iter_mut() {
            let mut data = [IoSliceMut::new(&mut out.bytes_mut()[this.data()])];
            this.is_read = carrier.read_scattered(&this.file, this.offset, &mut data);
        }
        // Not between the reads: there it would cost far more.
        let (mut reads, mut bytes) = (0, 0);
        planned.retain(|this| {
            if this.is_read {
                reads += 1;
                bytes += this.reply().len();
                if let Some(counts) = &this.counts {
                    self.observed.device_answered(counts, false, Some(this.count));
                }
            }
            !this.is_read
        });
        planned.iter().rev().for_each(|this| out.take_out(this.reply()));
        let missed = planned.drain(..).map(|this| this.request).collect();
        CarriedOut { reads, bytes, missed }
    }
}
