//! Connections to the servers that the name space mounts.
//!
//! A link is dialled when something under its mount is wanted, and again, after growing pauses,
//! as long as files of it are open.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::{TcpStream, UnixStream};
use mio::{Registry, Token};
use styx::buffer::Buffer;
use styx::client::ProtocolError;
use styx::enames;
use styx::frame::split_frame;

use super::connection::Stream as _;
use super::stream::Stream;
use super::workers::{Job, Workers};
use crate::dial::{Addr, Host};
use crate::inner::remote::{Broken, Mount};
use crate::namespace::Table;

/// The pause before a lost server is tried again, at first; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// By how much of itself a pause is longer at the most.
const JITTER: f64 = 0.25;

/// The longest pause before a lost server is tried again: a server that is back is in use again
/// within seconds.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How many bytes are read from a server at one time at least.
const READ_SIZE: usize = 64 * 1024;

/// How long a connection may take to be made.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a server may be silent, when this one is told to end, before it is taken for dead.
const LAST_SILENCE: Duration = Duration::from_secs(1);

/// One mount of the name space and its connection.
pub(super) struct Link {
    addr: Addr,
    number: usize,
    pub mount: Mount,
    wire: Wire,
    pause: Duration,
    /// Addresses of the host that are still to be tried.
    addresses: VecDeque<SocketAddr>,
    input: Buffer,
    /// When we were told to end, or heard of the server since then.
    ending: Option<Instant>,
}

/// Adds a link for each server of the name space that has none yet. `uname` is who attaches there, and
/// `timeout` how long it may take to answer.
pub(super) fn add(links: &mut Vec<Link>, names: &Table, uname: &str, timeout: Duration) {
    let known = links.len();
    for (number, remote) in names.remotes().iter().enumerate().skip(known) {
        let mount = Mount::new(number, uname, &remote.aname, timeout);
        links.push(Link::new(number, remote.dial.clone(), mount));
    }
}

/// Why there is no connection any more.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Broken(#[from] Broken),
}

enum Wire {
    /// Not connected; not to be dialled before this time.
    Down(Option<Instant>),
    Resolving,
    Dialling(Stream, Instant),
    /// Connected at this time.
    Up(Stream, Instant),
}

impl Link {
    pub fn new(number: usize, addr: Addr, mount: Mount) -> Self {
        Link {
            addr,
            number,
            mount,
            wire: Wire::Down(None),
            pause: FIRST_PAUSE,
            addresses: VecDeque::new(),
            input: Buffer::new(),
            ending: None,
        }
    }

    /// When something is to be done though nothing happens.
    pub fn deadline(&self) -> Option<Instant> {
        match &self.wire {
            Wire::Down(at) => at.filter(|_| self.mount.is_wanted()),
            Wire::Dialling(_, since) => Some(*since + DIAL_TIMEOUT),
            Wire::Up(..) => {
                let silent = self.ending.filter(|_| self.mount.is_busy());
                let silent = silent.map(|since| since + LAST_SILENCE);
                self.mount.deadline().into_iter().chain(silent).min()
            }
            _ => None,
        }
    }

    /// We were told to end. Nobody can tell when a server that is away will be back, so nobody
    /// waits for it any more.
    pub fn end(&mut self, now: Instant) {
        self.ending = Some(now);
        if self.mount.is_down() {
            self.wire = Wire::Down(None);
        }
    }

    /// Does what is due: dials, gives up, flushes what is overdue, and sends what is to be sent.
    pub fn attend(
        &mut self,
        registry: &Registry,
        token: Token,
        workers: &mut Workers,
        now: Instant,
    ) {
        self.mount.collect_dropped(now);
        match &self.wire {
            Wire::Down(_) if self.ending.is_some() => self.mount.disconnected(enames::EHUNGUP),
            Wire::Down(at) => {
                if self.mount.is_wanted() && at.is_none_or(|at| at <= now) {
                    self.dial(registry, token, workers, now);
                }
            }
            Wire::Dialling(_, since) if *since + DIAL_TIMEOUT <= now => {
                self.lost(io::Error::from(io::ErrorKind::TimedOut).into(), now);
            }
            Wire::Up(..) => {
                let silent = self.ending.is_some_and(|since| since + LAST_SILENCE <= now);
                let expired = match silent && self.mount.is_busy() {
                    true => Err(Broken::Silent),
                    false => self.mount.expire(now),
                };
                match expired {
                    Ok(()) => self.send(now),
                    Err(broken) => self.lost(broken.into(), now),
                }
            }
            Wire::Resolving | Wire::Dialling(..) => {}
        }
    }

    fn dial(&mut self, registry: &Registry, token: Token, workers: &mut Workers, now: Instant) {
        let stream = match &self.addr {
            Addr::Tcp { host: Host::Name(host), port } => match host.parse() {
                Ok(ip) => TcpStream::connect(SocketAddr::new(ip, *port)).map(Stream::Tcp),
                Err(_) => {
                    self.wire = Wire::Resolving;
                    let (host, port) = (host.clone(), *port);
                    workers.submit(Job::Resolve { link: self.number, host, port });
                    return;
                }
            },
            Addr::Unix(path) => UnixStream::connect(path).map(Stream::Unix),
            Addr::Tcp { host: Host::Any, .. } | Addr::Stdio | Addr::Systemd => {
                Err(io::Error::from(io::ErrorKind::InvalidInput))
            }
        };
        self.dialled(stream, registry, token, now);
    }

    /// The resolver has answered.
    pub fn resolved(
        &mut self,
        addresses: io::Result<Vec<SocketAddr>>,
        registry: &Registry,
        token: Token,
        now: Instant,
    ) {
        match addresses {
            Ok(addresses) => {
                self.addresses = addresses.into();
                self.dial_next(registry, token, now);
            }
            Err(error) => self.lost(error.into(), now),
        }
    }

    fn dial_next(&mut self, registry: &Registry, token: Token, now: Instant) {
        let Some(address) = self.addresses.pop_front() else {
            return self.lost(io::Error::from(io::ErrorKind::HostUnreachable).into(), now);
        };
        let stream = TcpStream::connect(address).map(Stream::Tcp);
        self.dialled(stream, registry, token, now);
    }

    fn dialled(
        &mut self,
        stream: io::Result<Stream>,
        registry: &Registry,
        token: Token,
        now: Instant,
    ) {
        let registered = stream.and_then(|mut stream| {
            stream.register(registry, token)?;
            Ok(stream)
        });
        match registered {
            Ok(stream) => self.wire = Wire::Dialling(stream, now),
            Err(error) => self.lost(error.into(), now),
        }
    }

    /// The connection is gone or could not be made: what is under way fails, and it is tried again
    /// after a pause, which is not the same for all who have lost a server at the same moment.
    fn lost(&mut self, lost: Lost, now: Instant) {
        let up = match self.wire {
            Wire::Up(_, since) => Some(since),
            _ => None,
        };
        if up.is_some_and(|since| self.mount.is_up() && since + LONGEST_PAUSE <= now) {
            self.pause = FIRST_PAUSE;
        }
        tracing::warn!(server = %self.addr, error = %lost, "no connection to a mounted server");
        let jitter = self.pause.mul_f64(JITTER * self.random());
        self.wire = Wire::Down(Some(now + self.pause + jitter));
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        self.input = Buffer::new();
        let why = match &lost {
            Lost::Broken(Broken::Silent) => enames::ETIMEDOUT.to_string(),
            Lost::Broken(broken) => format!("{}: {broken}", self.addr),
            Lost::Io(_) if up.is_some() => enames::EHUNGUP.to_string(),
            Lost::Io(error) => dial_error(&self.addr, error),
        };
        self.mount.disconnected(&why);
    }

    /// From 0 to 1, another in each process and for each server.
    fn random(&self) -> f64 {
        let hash = RandomState::new().hash_one(self.number);
        hash as f64 / u64::MAX as f64
    }

    /// Something happened on the connection.
    pub fn ready(&mut self, registry: &Registry, token: Token, now: Instant) {
        if let Wire::Dialling(stream, _) = &self.wire {
            match stream.connected() {
                Ok(false) => return,
                Ok(true) => {
                    if let Wire::Dialling(stream, _) =
                        std::mem::replace(&mut self.wire, Wire::Resolving)
                    {
                        if let Stream::Tcp(stream) = &stream {
                            // A request should not wait for the next one to fill a packet.
                            let _ = stream.set_nodelay(true);
                        }
                        self.wire = Wire::Up(stream, now);
                    }
                    self.mount.connected(now);
                }
                Err(_) if !self.addresses.is_empty() => {
                    return self.dial_next(registry, token, now);
                }
                Err(error) => return self.lost(error.into(), now),
            }
        }
        if let Err(lost) = self.receive(now) {
            return self.lost(lost, now);
        }
        self.send(now);
    }

    fn receive(&mut self, now: Instant) -> Result<(), Lost> {
        let Wire::Up(stream, _) = &self.wire else { return Ok(()) };
        loop {
            match stream.read(&mut self.input, READ_SIZE) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            }
            let mut rest = &self.input[..];
            while let Some((frame, after)) = split_frame(rest, self.mount.msize())
                .map_err(|error| Broken::from(ProtocolError::from(error)))?
            {
                self.mount.receive(frame, now)?;
                rest = after;
                self.ending = self.ending.map(|_| now);
            }
            let done = self.input.len() - rest.len();
            self.input.take_off(done);
        }
    }

    fn send(&mut self, now: Instant) {
        let Wire::Up(stream, _) = &self.wire else { return };
        let mut failed = None;
        let mut sent = 0;
        let output = self.mount.output();
        while sent < output.len() {
            match stream.write(&output[sent..]) {
                Ok(n) => sent += n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        output.drain(..sent);
        if let Some(error) = failed {
            self.lost(error.into(), now);
        }
    }
}

fn dial_error(addr: &Addr, error: &io::Error) -> String {
    let text = error.to_string();
    let end = text.rfind(" (os error").unwrap_or(text.len());
    format!("{addr}: {}", &text[..end])
}
