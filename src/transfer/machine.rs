//! The steps of one transfer: which inner file comes next, and what its answer means.
//!
//! A device's transfer is a frame. A frame asks for the transfers below it one after the other, or
//! some at the same time where nothing can come of it (reads of pieces on different servers). While
//! they end at once the frame lives on the stack; the first that does not turns it into a node,
//! which goes on when its child ends. Depth is bounded by the nesting of devices.

use std::rc::Rc;
use std::task::Poll;

use slab::Slab;
use styx::server::{Ename, Outcome};

use super::Done;
use super::crypt::Crypt;
use super::footprint::Direction;
use super::legs::Legs;
use super::pieces::Pieces;
use crate::device::Kind;
use crate::inner::{Carrier, Device, File, Inner, Op};

/// How many bytes were moved, or why not all that could be tried was.
pub(super) type Moved = Result<usize, Ename>;

/// A child that has ended: its node, and how.
pub(super) type Ended = (usize, Moved);

/// The bytes of a transfer.
pub(super) enum Bytes<'a> {
    In(&'a mut [u8]),
    Out(&'a [u8]),
    None,
}

impl<'a> Bytes<'a> {
    pub fn of(direction: Direction, data: &'a mut [u8]) -> Self {
        match direction {
            Direction::Read => Bytes::In(data),
            Direction::Write => Bytes::Out(data),
            Direction::Sync => Bytes::None,
        }
    }

    pub fn reborrow(&mut self) -> Bytes<'_> {
        match self {
            Bytes::In(data) => Bytes::In(data),
            Bytes::Out(data) => Bytes::Out(data),
            Bytes::None => Bytes::None,
        }
    }

    pub fn to_vec(&self) -> Vec<u8> {
        match self {
            Bytes::In(data) => data.to_vec(),
            Bytes::Out(data) => data.to_vec(),
            Bytes::None => Vec::new(),
        }
    }
}

/// A range of a file or device, and where its bytes are: at `at` of the transfer's own, or of
/// what a crypt device made of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub offset: u64,
    pub count: usize,
    pub at: usize,
    pub scratch: Option<usize>,
    /// It is part of a mirror's leg: a write that leaves a hole there is told.
    pub leg: bool,
}

impl Span {
    fn whole(offset: u64, count: usize, leg: bool) -> Self {
        Span { offset, count, at: 0, scratch: None, leg }
    }
}

/// What is kept of a transfer that could not end at once.
#[derive(Debug, Default)]
pub(super) struct Frames {
    nodes: Slab<Node>,
    /// Encrypted copies of what is being written.
    pub(super) scratch: Slab<Vec<u8>>,
}

#[derive(Debug)]
struct Node {
    parent: Option<usize>,
    frame: Frame,
}

#[derive(Debug)]
enum Frame {
    /// An operation on a file.
    File(Span),
    Pieces(Pieces),
    Legs(Legs),
    Crypt(Crypt),
}

/// How far a transfer came: to its end, or to a node that waits.
pub(super) enum Step {
    Done(Moved),
    Wait(usize),
}

impl From<Step> for Outcome<usize> {
    fn from(step: Step) -> Self {
        match step {
            Step::Done(result) => Poll::Ready(result),
            Step::Wait(_) => Poll::Pending,
        }
    }
}

pub(super) struct Machine<'a, C: Carrier> {
    pub carrier: &'a mut C,
    pub frames: &'a mut Frames,
    pub bytes: Bytes<'a>,
    /// Which transfer this is; the node is filled in for each operation.
    pub op: Op,
    /// A write to a mirror's leg left a hole there, since this was last looked at.
    pub holed: bool,
}

impl<'a, C: Carrier> Machine<'a, C> {
    pub fn new(carrier: &'a mut C, frames: &'a mut Frames, bytes: Bytes<'a>, op: Op) -> Self {
        Machine { carrier, frames, bytes, op, holed: false }
    }
}

impl<C: Carrier> Machine<'_, C> {
    /// Begins the transfer of a range of what a client asked for.
    pub fn begin(&mut self, inner: &Inner, offset: u64, count: usize) -> Outcome<usize> {
        if let Inner::Device(device) = inner
            && device.is_gone()
        {
            return Poll::Ready(Err(device.rules.gone.into()));
        }
        self.start(inner, Span::whole(offset, count, false)).into()
    }

    /// Begins the transfer of a range of a mirror's leg.
    pub fn begin_leg(&mut self, leg: &Inner, offset: u64, count: usize) -> Outcome<usize> {
        self.start(leg, Span::whole(offset, count, true)).into()
    }

    /// Begins to wait until a mirror's log has what the mirror knows.
    pub fn begin_record(&mut self, mirror: &Rc<Device>) -> Outcome<usize> {
        self.record(mirror).into()
    }

    pub(super) fn record(&mut self, mirror: &Rc<Device>) -> Step {
        let op = Op { node: self.frames.nodes.vacant_key(), ..self.op };
        match self.carrier.record(mirror, Some(op)) {
            Poll::Ready(result) => Step::Done(result.map(|()| 0)),
            Poll::Pending => {
                let node = Node { parent: None, frame: Frame::File(Span::whole(0, 0, false)) };
                Step::Wait(self.frames.nodes.insert(node))
            }
        }
    }

    /// The operation of a node is over; the result of the whole transfer, if that ends it.
    pub fn complete(&mut self, node: usize, result: Result<Done<'_>, Ename>) -> Option<Moved> {
        let Some(Node { parent, frame: Frame::File(span) }) = self.frames.nodes.try_remove(node)
        else {
            return None;
        };
        let mut result = result.map(|done| match done {
            Done::Read(data) => {
                let count = data.len().min(span.count);
                if let Bytes::In(bytes) = &mut self.bytes {
                    bytes[span.at..span.at + count].copy_from_slice(&data[..count]);
                }
                count
            }
            Done::Wrote(count) => count.min(span.count),
            Done::Synced | Done::Recorded => 0,
        });
        let (mut child, mut parent) = (node, parent);
        while let Some(id) = parent {
            let node = &mut self.frames.nodes[id];
            let placeholder = Frame::File(Span::whole(0, 0, false));
            let mut frame = std::mem::replace(&mut node.frame, placeholder);
            match self.advance(&mut frame, Some((child, result))) {
                None => {
                    self.adopt(id, &frame);
                    self.frames.nodes[id].frame = frame;
                    return None;
                }
                Some(done) => {
                    result = done;
                    child = id;
                    parent = self.frames.nodes.remove(id).parent;
                }
            }
        }
        Some(result)
    }

    /// Starts the transfer of a range of one inner file.
    pub(super) fn start(&mut self, inner: &Inner, span: Span) -> Step {
        match inner {
            Inner::File(file) => self.start_file(file, span),
            Inner::Ctl => Step::Done(Ok(0)),
            Inner::Absent(why) => Step::Done(Err(why.to_string().into())),
            Inner::Device(device) => self.start_device(device, span),
        }
    }

    fn start_file(&mut self, file: &File, span: Span) -> Step {
        let op = Op { node: self.frames.nodes.vacant_key(), ..self.op };
        let end = span.at + span.count;
        let is_write = matches!(self.bytes, Bytes::Out(_));
        self.holed |= is_write && span.leg && self.carrier.ends_before(file, span.offset);
        let outcome = match (&mut self.bytes, span.scratch) {
            (Bytes::In(bytes), _) => {
                self.carrier.read(file, span.offset, &mut bytes[span.at..end], op)
            }
            (Bytes::Out(bytes), None) => {
                self.carrier.write(file, span.offset, &bytes[span.at..end], op)
            }
            (Bytes::Out(_), Some(scratch)) => {
                let bytes = &self.frames.scratch[scratch];
                self.carrier.write(file, span.offset, &bytes[span.at..end], op)
            }
            (Bytes::None, _) => self.carrier.sync(file, op).map_ok(|()| 0),
        };
        match outcome {
            Poll::Ready(result) => Step::Done(result),
            Poll::Pending => {
                let node = Node { parent: None, frame: Frame::File(span) };
                Step::Wait(self.frames.nodes.insert(node))
            }
        }
    }

    /// A check that all devices need stands here, in front of them all: nothing beyond the end.
    fn start_device(&mut self, device: &Rc<Device>, span: Span) -> Step {
        let count = device.geometry.clip(span.offset, span.count as u64) as usize;
        let span = Span { count, ..span };
        if count == 0 && !matches!(self.bytes, Bytes::None) {
            return Step::Done(Ok(0));
        }
        let device = device.clone();
        let mut frame = match device.geometry.kind() {
            Kind::Mirror => {
                if device.homes() != 0 {
                    device.notice_upsets(self.carrier.time());
                }
                Frame::Legs(Legs::new(device, span))
            }
            Kind::Crypt if !matches!(self.bytes, Bytes::None) => {
                match self.start_crypt(device, span) {
                    Ok(crypt) => Frame::Crypt(crypt),
                    Err(ename) => return Step::Done(Err(ename.into())),
                }
            }
            _ => Frame::Pieces(Pieces::new(device, span)),
        };
        match self.advance(&mut frame, None) {
            Some(result) => Step::Done(result),
            None => {
                let id = self.frames.nodes.vacant_key();
                self.adopt(id, &frame);
                Step::Wait(self.frames.nodes.insert(Node { parent: None, frame }))
            }
        }
    }

    /// The children of a frame that waits are told whose they are.
    fn adopt(&mut self, id: usize, frame: &Frame) {
        let nodes = &mut self.frames.nodes;
        match frame {
            Frame::File(_) => {}
            Frame::Pieces(pieces) => {
                pieces.waiting.iter().for_each(|waiting| nodes[waiting.child].parent = Some(id));
            }
            Frame::Legs(Legs { child, .. }) | Frame::Crypt(Crypt { child, .. }) => {
                if let Some(child) = *child {
                    nodes[child].parent = Some(id);
                }
            }
        }
    }

    /// Goes on with a frame, of which a child may have ended: its result, or `None` if it waits.
    fn advance(&mut self, frame: &mut Frame, ended: Option<Ended>) -> Option<Moved> {
        match frame {
            Frame::File(_) => unreachable!("a file has no children"),
            Frame::Pieces(pieces) => self.advance_pieces(pieces, ended),
            Frame::Legs(legs) => self.advance_legs(legs, ended),
            Frame::Crypt(crypt) => self.advance_crypt(crypt, ended),
        }
    }
}
