//! The network: streams between servers and whoever speaks to them. Bytes that were sent are on their
//! way until the world says that they have come; a wire can stall, and can be cut.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;

use dsfs::event_loop::connection::{Readiness, Stream};
use styx::buffer::{Buffer, Output};

/// Bytes that one direction holds before it takes no more, as a socket's buffers do.
const ROOM: usize = 24 * 1024;

/// One direction of a wire.
#[derive(Debug, Default)]
struct Pipe {
    /// On their way, and come but not read.
    sent: VecDeque<u8>,
    come: VecDeque<u8>,
    /// The sender has said that there will be no more; the receiver knows.
    ending: bool,
    ended: bool,
    /// Both sides have lost the other.
    cut: bool,
    /// The sender has found it full.
    full: bool,
}

/// One end of a wire.
#[derive(Clone, Debug)]
pub struct End {
    out: Rc<RefCell<Pipe>>,
    into: Rc<RefCell<Pipe>>,
}

impl Stream for End {
    fn read(&self, buffer: &mut Buffer, room: usize) -> io::Result<usize> {
        let mut pipe = self.into.borrow_mut();
        let count = room.min(pipe.come.len());
        if pipe.cut {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if count == 0 {
            return if pipe.ended { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) };
        }
        let bytes: Vec<u8> = pipe.come.drain(..count).collect();
        buffer.append(&bytes);
        Ok(count)
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut pipe = self.out.borrow_mut();
        if pipe.cut || pipe.ending {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let count = bytes.len().min(ROOM.saturating_sub(pipe.sent.len() + pipe.come.len()));
        pipe.full = count < bytes.len();
        pipe.sent.extend(&bytes[..count]);
        if count == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(count) }
    }
}

impl End {
    /// No more will be sent.
    pub fn end(&self) {
        self.out.borrow_mut().ending = true;
    }

    /// Cuts the wire: what was on its way is lost.
    pub fn cut(&self) {
        for pipe in [&self.out, &self.into] {
            let mut pipe = pipe.borrow_mut();
            pipe.cut = true;
            pipe.sent.clear();
            pipe.come.clear();
        }
    }

    /// Whether it was cut.
    pub fn is_cut(&self) -> bool {
        self.out.borrow().cut
    }
}

/// Who is at an end of a wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// A connection of a server, and which.
    Server(usize, usize),
    /// A server's connection to one of its mounts.
    Mount(usize, usize),
    /// A client.
    Client(usize),
}

/// A wire. Direction 0 is from side 0.
#[derive(Debug)]
pub struct Wire {
    pub sides: [Side; 2],
    /// The end of side 0.
    pub end: End,
    /// Nothing comes through before this time.
    pub stalled: u64,
}

impl Wire {
    /// A wire, and its ends.
    pub fn new(sides: [Side; 2]) -> (Wire, [End; 2]) {
        let (there, back) = (Rc::<RefCell<Pipe>>::default(), Rc::<RefCell<Pipe>>::default());
        let end = End { out: there.clone(), into: back.clone() };
        let other = End { out: back, into: there };
        (Wire { sides, end: end.clone(), stalled: 0 }, [end, other])
    }

    fn pipe(&self, direction: usize) -> &Rc<RefCell<Pipe>> {
        if direction == 0 { &self.end.out } else { &self.end.into }
    }

    /// Whether something is to come in this direction, or there is room again.
    pub fn is_due(&self, direction: usize) -> bool {
        let pipe = self.pipe(direction).borrow();
        let room = pipe.full && pipe.sent.len() + pipe.come.len() < ROOM / 2;
        !pipe.cut && (!pipe.sent.is_empty() || pipe.ending && !pipe.ended || room)
    }

    /// Lets up to `most` bytes come: what the receiver and the sender have to be told.
    pub fn carry(&self, direction: usize, most: usize) -> (Readiness, Readiness) {
        let mut pipe = self.pipe(direction).borrow_mut();
        let count = most.min(pipe.sent.len());
        let bytes: Vec<u8> = pipe.sent.drain(..count).collect();
        pipe.come.extend(bytes);
        pipe.ended = pipe.ending && pipe.sent.is_empty();
        let writable = pipe.full && pipe.sent.len() + pipe.come.len() < ROOM / 2;
        pipe.full &= !writable;
        let closed = pipe.ended;
        let receiver = Readiness { readable: count > 0, closed, ..Readiness::default() };
        (receiver, Readiness { writable, ..Readiness::default() })
    }
}
