//! What the server counts of itself: requests, bytes, how long they took, by connection and by
//! device. A leaf: plain numbers, no clock and no text. Whoever does something adds to them; the
//! `admin` tree shows them.
//!
//! A request that is answered in the turn in which it came costs a few additions. Its latency is that
//! of the turn, from the moment the loop woke up until the replies were sent, so the clock is read
//! once for all of a turn's requests.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Instant;

use styx::mtype;

/// The T-messages by [`kind`]; the fourth of the numbers on the wire is no message.
pub const KINDS: [&str; 14] = [
    "Tversion", "Tauth", "Tattach", "", "Tflush", "Twalk", "Topen", "Tcreate", "Tread", "Twrite",
    "Tclunk", "Tremove", "Tstat", "Twstat",
];

/// The place in [`KINDS`] of a message with this number on the wire, a T-message's or its reply's.
pub fn kind(number: u8) -> Option<usize> {
    let kind = usize::from(number.checked_sub(mtype::TVERSION)? / 2);
    (kind < KINDS.len()).then_some(kind)
}

/// The upper ends of a histogram's buckets, in nanoseconds; the last bucket has none. From what a
/// read of memory takes to what a client waits for at most before it thinks the server dead.
pub const BOUNDS: [u64; 19] = [
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
];

/// How long things took.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    /// How many took at most as long as each of [`BOUNDS`] and longer than the one before it, and
    /// how many took longer than all.
    pub buckets: [u64; BOUNDS.len() + 1],
    /// All of them together, in nanoseconds.
    pub nanos: u64,
}

impl Histogram {
    /// So many took so long, in nanoseconds.
    pub fn add(&mut self, nanos: u64, times: u64) {
        self.buckets[BOUNDS.partition_point(|&bound| bound < nanos)] += times;
        self.nanos = self.nanos.saturating_add(nanos.saturating_mul(times));
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With the reply that it asked for.
    Done,
    /// With an Rerror.
    Failed,
    /// With no reply of its own, because it was flushed.
    Flushed,
}

/// The requests of one type.
#[derive(Clone, Debug, Default)]
pub struct Requests {
    /// Those that were answered with what they asked for.
    pub done: u64,
    /// Those that were answered with an Rerror.
    pub failed: u64,
    /// Those that a Tflush ended.
    pub flushed: u64,
    /// How long all but the flushed ones took.
    pub latency: Histogram,
    /// Those of the turn under way, done and failed.
    turn: (u64, u64),
}

/// One client, for as long as it is connected. There may be thousands that do nothing, so it is small.
#[derive(Debug, Default)]
pub struct Connection {
    /// Counted from 1, since the server was started.
    pub number: u64,
    /// Where it comes from.
    pub peer: Box<str>,
    /// When it came, in seconds since 1970.
    pub since: u32,
    /// Who it said it is when it attached last, and to which tree.
    pub attached: RefCell<(Box<str>, Box<str>)>,
    /// The msize in force, in bytes.
    pub msize: Cell<u32>,
    /// Fids that it has.
    pub fids: Cell<u32>,
    /// Requests under way.
    pub pending: Cell<u32>,
    /// Bytes of replies that it has not taken.
    pub unread: Cell<usize>,
    /// Requests that were answered, with an error or without.
    pub answered: Cell<u64>,
    /// Of these, those with an error.
    pub failed: Cell<u64>,
    /// How long they took, in nanoseconds together.
    pub nanos: Cell<u64>,
    /// Bytes that came from it.
    pub received: Cell<u64>,
    /// Bytes of the replies to it.
    pub sent: Cell<u64>,
}

/// What clients have done with one device.
#[derive(Debug, Default)]
pub struct Counts {
    /// Reads, and the bytes that they gave.
    pub reads: Cell<(u64, u64)>,
    /// Writes, and the bytes that they took.
    pub writes: Cell<(u64, u64)>,
    /// Reads and writes that failed.
    pub failed: Cell<u64>,
    /// Reads and writes under way.
    pub pending: Cell<usize>,
    /// How long all of them took, in nanoseconds together.
    pub nanos: Cell<u64>,
    /// Those that were answered in the turn under way.
    turn: Cell<u64>,
}

/// A server that the name space mounts.
#[derive(Debug, Default)]
pub struct Mount {
    /// Whether there is a connection that files can be reached over.
    pub up: Cell<bool>,
    /// Requests that it has not answered.
    pub pending: Cell<usize>,
}

/// All of one server.
#[derive(Debug, Default)]
pub struct Server {
    /// By [`kind`].
    pub requests: [Requests; KINDS.len()],
    /// The clients that are connected, by the number of their [`ClientId`](crate::tree::ClientId).
    pub connections: BTreeMap<usize, Rc<Connection>>,
    /// How many have been.
    pub accepted: u64,
    /// Bytes that came from clients.
    pub received: u64,
    /// Bytes of the replies to them.
    pub sent: u64,
    /// The mounts of the name space, by number.
    pub mounts: Vec<Rc<Mount>>,
    /// Jobs that worker threads have not finished.
    pub jobs: usize,
    /// When the server was started, in seconds since 1970.
    pub since: u32,
    /// The same by the clock that never goes back, if there is one.
    pub started: Option<Instant>,
    /// What was answered in the turn under way: types of requests, as bits by [`kind`].
    answered: u16,
    /// Devices that were read or written in it.
    touched: Vec<Rc<Counts>>,
}

fn add(cell: &Cell<u64>, more: u64) {
    cell.set(cell.get().wrapping_add(more));
}

/// The bytes that are kept of the name of a user or a tree: more than people give them.
const NAME: usize = 64;

impl Connection {
    /// Its client attached to a tree as this user.
    pub fn attached(&self, user: &str, tree: &str) {
        let start = |name: &str| name[..name.floor_char_boundary(NAME)].into();
        *self.attached.borrow_mut() = (start(user), start(tree));
    }
}

impl Counts {
    /// A read or write ended, after so many nanoseconds.
    fn ended(&self, write: bool, result: Option<usize>) {
        match result {
            Some(bytes) => {
                let cell = if write { &self.writes } else { &self.reads };
                let (times, sum) = cell.get();
                cell.set((times + 1, sum.wrapping_add(bytes as u64)));
            }
            None => add(&self.failed, 1),
        }
    }

    /// A read or write was left pending.
    pub fn begun(&self) {
        self.pending.set(self.pending.get() + 1);
    }

    /// A read or write that was left pending is no longer wanted.
    pub fn dropped(&self) {
        self.pending.set(self.pending.get().saturating_sub(1));
    }

    /// A read or write that was left pending ended after so many nanoseconds: how many bytes it moved,
    /// or `None` if it failed.
    pub fn ended_late(&self, write: bool, result: Option<usize>, nanos: u64) {
        self.dropped();
        self.ended(write, result);
        add(&self.nanos, nanos);
    }
}

impl Server {
    /// One that was started at this time, in seconds since 1970.
    pub fn new(since: u32) -> Self {
        Server { since, ..Server::default() }
    }

    /// A client came.
    pub fn came(&mut self, client: usize, peer: Box<str>, since: u32) -> Rc<Connection> {
        self.accepted += 1;
        let connection =
            Rc::new(Connection { number: self.accepted, peer, since, ..Connection::default() });
        self.connections.insert(client, connection.clone());
        connection
    }

    /// So many requests of this type were answered in the turn under way.
    pub fn answered(&mut self, kind: usize, failed: bool, times: u64) {
        self.answered |= 1 << kind;
        let turn = &mut self.requests[kind].turn;
        if failed { turn.1 += times } else { turn.0 += times }
    }

    /// A read or write of a device ended in the turn under way: how many bytes it moved, or `None` if
    /// it failed.
    pub fn device_answered(&mut self, counts: &Rc<Counts>, write: bool, result: Option<usize>) {
        counts.ended(write, result);
        if counts.turn.get() == 0 {
            self.touched.push(counts.clone());
        }
        counts.turn.set(counts.turn.get() + 1);
    }

    /// A request that had been left pending is over, after so many nanoseconds.
    pub fn ended_late(&mut self, connection: &Connection, kind: usize, ended: Ended, nanos: u64) {
        let requests = &mut self.requests[kind];
        match ended {
            Ended::Done => requests.done += 1,
            Ended::Failed => {
                requests.failed += 1;
                add(&connection.failed, 1);
            }
            Ended::Flushed => {
                requests.flushed += 1;
                return;
            }
        }
        requests.latency.add(nanos, 1);
        add(&connection.answered, 1);
        add(&connection.nanos, nanos);
    }

    /// The turn of a client is over, after so many nanoseconds: what was answered in it took as long.
    pub fn end_turn(&mut self, connection: &Connection, nanos: u64) {
        while self.answered != 0 {
            let requests = &mut self.requests[self.answered.trailing_zeros() as usize];
            self.answered &= self.answered - 1;
            let (done, failed) = std::mem::take(&mut requests.turn);
            let times = done + failed;
            requests.done += done;
            requests.failed += failed;
            requests.latency.add(nanos, times);
            add(&connection.answered, times);
            add(&connection.failed, failed);
            add(&connection.nanos, nanos.saturating_mul(times));
        }
        while let Some(counts) = self.touched.pop() {
            add(&counts.nanos, nanos.saturating_mul(counts.turn.take()));
        }
    }

    /// So many bytes came from a client, and were put into the replies to it.
    pub fn moved(&mut self, connection: &Connection, received: usize, sent: usize) {
        self.received = self.received.wrapping_add(received as u64);
        self.sent = self.sent.wrapping_add(sent as u64);
        add(&connection.received, received as u64);
        add(&connection.sent, sent as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_and_its_reply_have_one_kind() {
        for (kind_of, name) in KINDS.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
            let number = mtype::TVERSION + 2 * kind_of as u8;
            assert_eq!((kind(number), kind(number + 1)), (Some(kind_of), Some(kind_of)), "{name}");
        }
        assert_eq!(KINDS[kind(mtype::TREAD).unwrap()], "Tread");
        assert_eq!(KINDS[kind(mtype::TWSTAT).unwrap()], "Twstat");
        assert_eq!(
            (kind(0), kind(mtype::TVERSION - 1), kind(mtype::RWSTAT + 1)),
            (None, None, None)
        );
    }

    #[test]
    fn what_takes_as_long_as_a_bound_is_below_it() {
        let mut histogram = Histogram::default();
        histogram.add(0, 2);
        histogram.add(BOUNDS[0], 1);
        histogram.add(BOUNDS[0] + 1, 5);
        histogram.add(u64::MAX, 1);
        assert_eq!(histogram.buckets[..2], [3, 5]);
        assert_eq!((histogram.buckets[BOUNDS.len()], histogram.count()), (1, 9));
    }

    #[test]
    fn the_requests_of_a_turn_take_as_long_as_the_turn() {
        let mut server = Server::default();
        let connection = server.came(7, "here".into(), 1);
        let device = Rc::new(Counts::default());
        let read = kind(mtype::TREAD).unwrap();
        for result in [Some(10), Some(20), None] {
            server.answered(read, result.is_none(), 1);
            server.device_answered(&device, false, result);
        }
        server.end_turn(&connection, 1000);
        server.ended_late(&connection, read, Ended::Done, 500);
        server.ended_late(&connection, read, Ended::Flushed, 9999);
        let requests = &server.requests[read];
        assert_eq!((requests.done, requests.failed, requests.flushed), (3, 1, 1));
        assert_eq!((requests.latency.count(), requests.latency.nanos), (4, 3500));
        assert_eq!((connection.answered.get(), connection.failed.get()), (4, 1));
        assert_eq!(connection.nanos.get(), 3500);
        assert_eq!((device.reads.get(), device.failed.get()), ((2, 30), 1));
        assert_eq!(device.nanos.get(), 3000);
        server.end_turn(&connection, 77);
        assert_eq!((connection.nanos.get(), device.nanos.get()), (3500, 3000));
    }
}
