//! Small reads of one client that are planned first, and then carried out one after the other.
//!
//! After a system call little of our own program is left in the processor's caches, and the way of a request
//! to its file is some thousand instructions. So many requests go that way before the first of their
//! files is read. The reply to each stands in the output at once, but for its data.
//!
//! Whoever takes messages has all that carried out before another kind of message is taken, and before
//! anything is sent.

use std::io::IoSliceMut;
use std::ops::Range;
use std::rc::Rc;

use styx::buffer::{Buffer, Output};
use styx::encode::RREAD_HEADER;

use super::World;
use crate::inner::{Carrier, File};
use crate::observe::Counts;

/// How many reads are planned at one time: as many as clients have in flight. Of more, the data of the first
/// would no longer be in a small cache when they are sent.
const MOST: usize = 32;

/// The bytes of a Tread, `size[4] Tread tag[2] fid[4] offset[8] count[4]` (read(5)).
pub const TREAD: usize = 23;

/// The frame of a Tread.
pub type Request = [u8; TREAD];

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
    /// The message that is taken may add one.
    is_open: bool,
    /// It did.
    has_grown: bool,
}

impl Batch {
    /// The message that is taken next may be a read that is planned.
    pub fn open(&mut self) {
        self.is_open = true;
    }

    /// Whether the message that is being taken may.
    pub(super) fn is_open(&self) -> bool {
        self.is_open
    }

    /// It is planned: all that it reads is in this file, from byte `offset` on.
    pub(super) fn add(
        &mut self,
        (file, offset): (File, u64),
        count: usize,
        counts: Option<Rc<Counts>>,
    ) {
        let (request, reply) = ([0; TREAD], 0);
        let planned = Planned { file, offset, count, counts, request, reply, is_read: false };
        self.planned.push(planned);
        self.has_grown = true;
    }

    /// The message with this frame was taken, and its reply starts there in the output: whether it was
    /// planned.
    pub fn took(&mut self, frame: &[u8], reply: usize) -> bool {
        self.is_open = false;
        let has_grown = std::mem::take(&mut self.has_grown);
        if has_grown && let Some(last) = self.planned.last_mut() {
            last.request.copy_from_slice(frame);
            last.reply = reply;
        }
        has_grown
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
    /// Carries out what is planned, and puts the data into the output: how many reads that were, and how many
    /// bytes. The replies to those that would have to wait are taken out again, and their requests are
    /// the last result: they are to be taken once more.
    pub fn carry_out(
        &mut self,
        carrier: &mut impl Carrier,
        out: &mut Buffer,
    ) -> (usize, usize, Vec<Request>) {
        let planned = &mut self.batch.planned;
        for this in planned.iter_mut() {
            let mut data = [IoSliceMut::new(&mut out.bytes_mut()[this.data()])];
            this.is_read = carrier.read_scattered(&this.file, this.offset, &mut data);
        }
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
        (reads, bytes, planned.drain(..).map(|this| this.request).collect())
    }
}
