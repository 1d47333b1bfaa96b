//! A server's connection to one of its mounts: what the event loop does around
//! [`Mount`], with pauses and deadlines in virtual time.

use std::time::{Duration, Instant};

use dsfs::event_loop::connection::Stream;
use dsfs::inner::remote::Mount;
use styx::buffer::Buffer;
use styx::enames;
use styx::frame::split_frame;

use crate::net::End;

/// The pause before a lost server is dialled again, doubled each time up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How long another server may take to answer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Bytes read at one time.
const READ_SIZE: usize = 8192;

enum Wire {
    /// Not connected, and not to be dialled before this time.
    Down(Option<Instant>),
    /// It waits for the world to connect it.
    Dialling,
    Up(End),
}

/// One mount of the name space, and its connection.
pub struct Link {
    /// The server that is mounted.
    pub peer: usize,
    pub mount: Mount,
    wire: Wire,
    pause: Duration,
    input: Buffer,
}

impl Link {
    /// Mount number `number` of a name space: the tree `aname` of a server.
    pub fn new(number: usize, peer: usize, aname: &str) -> Link {
        let mount = Mount::new(number, "sim", aname, TIMEOUT);
        let (wire, input) = (Wire::Down(None), Buffer::new());
        Link { peer, mount, wire, pause: FIRST_PAUSE, input }
    }

    /// Whether it waits to be connected.
    pub fn is_dialling(&self) -> bool {
        matches!(self.wire, Wire::Dialling)
    }

    /// Whether there is a session, or nobody wants one.
    pub fn is_well(&self) -> bool {
        self.mount.is_up() || !self.mount.is_wanted()
    }

    /// The other server has taken the connection, or is not there.
    pub fn dialled(&mut self, end: Option<End>, now: Instant) {
        match end {
            Some(end) => {
                self.wire = Wire::Up(end);
                self.mount.connected(now);
            }
            None => self.lost("connection refused", now),
        }
    }

    /// The server is no more.
    pub fn hang_up(&self) {
        if let Wire::Up(end) = &self.wire {
            end.cut();
        }
    }

    fn lost(&mut self, why: &str, now: Instant) {
        if let Wire::Up(end) = &self.wire {
            end.cut();
            self.pause = FIRST_PAUSE;
        }
        self.wire = Wire::Down(Some(now + self.pause));
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        self.input.clear();
        self.mount.disconnected(why);
    }

    /// Does what is due: asks to be dialled, flushes what is overdue, and sends what is to be sent.
    pub fn attend(&mut self, now: Instant) {
        self.mount.collect_dropped(now);
        match &self.wire {
            Wire::Down(at) if self.mount.is_wanted() && at.is_none_or(|at| at <= now) => {
                self.wire = Wire::Dialling;
            }
            Wire::Up(_) => match self.mount.expire(now) {
                Ok(()) => self.send(now),
                Err(broken) => self.lost(&broken.to_string(), now),
            },
            Wire::Down(_) | Wire::Dialling => {}
        }
    }

    /// Something happened on the wire: takes what has come.
    pub fn ready(&mut self, now: Instant) {
        while let Wire::Up(end) = &self.wire {
            match end.read(&mut self.input, READ_SIZE) {
                Ok(0) => return self.lost(enames::EHUNGUP, now),
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(_) => return self.lost(enames::EHUNGUP, now),
            }
            let mut rest = &self.input[..];
            while let Some((frame, after)) =
                split_frame(rest, self.mount.msize()).expect("a server of ours sends frames")
            {
                self.mount.receive(frame, now).expect("a server of ours keeps to the protocol");
                rest = after;
            }
            let done = self.input.len() - rest.len();
            self.input.take_off(done);
        }
        self.send(now);
    }

    fn send(&mut self, now: Instant) {
        let Wire::Up(end) = &self.wire else { return };
        let output = self.mount.output();
        while !output.is_empty() {
            match end.write(output) {
                Ok(count) => drop(output.drain(..count)),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(_) => return self.lost(enames::EHUNGUP, now),
            }
        }
    }
}
