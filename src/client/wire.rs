//! The socket of a client, and the frames on it.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use styx::client::{Client as Session, Event, ProtocolError};
use styx::frame::frame_len;
use styx::{Rmsg, Tmsg};

use super::error::Error;
use crate::dial::{Addr, Host};

/// How long each address of a host has to take a connection, and a server to answer Tversion and
/// Tattach. What is not 9P may keep silent; a file, once attached to, may well take its time.
const GREETING: Duration = Duration::from_secs(10);

/// The least bytes of room for what is received, so that many small replies come by one read.
const MIN_ROOM: usize = 64 << 10;

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// One connection. Requests are numbered from 0 in the order in which they are sent.
#[derive(Debug)]
pub(super) struct Wire {
    addr: Addr,
    stream: Stream,
    session: Session<u64>,
    serial: u64,
    output: Vec<u8>,
    /// What came in is `input[start..end]`.
    input: Box<[u8]>,
    start: usize,
    end: usize,
    settled: bool,
}

impl Stream {
    fn dial(addr: &Addr) -> io::Result<Self> {
        let stream = match addr {
            Addr::Tcp { host: Host::Name(host), port } => {
                let stream = dial_tcp(host, *port)?;
                stream.set_nodelay(true)?;
                Stream::Tcp(stream)
            }
            Addr::Unix(path) => Stream::Unix(UnixStream::connect(path)?),
            Addr::Tcp { host: Host::Any, .. } | Addr::Stdio | Addr::Systemd => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "only a listener's address",
                ));
            }
        };
        stream.set_timeouts(Some(GREETING))?;
        Ok(stream)
    }

    fn set_timeouts(&self, timeout: Option<Duration>) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => {
                stream.set_read_timeout(timeout)?;
                stream.set_write_timeout(timeout)
            }
            Stream::Unix(stream) => {
                stream.set_read_timeout(timeout)?;
                stream.set_write_timeout(timeout)
            }
        }
    }

    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.read(room),
            Stream::Unix(stream) => stream.read(room),
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.write_all(bytes),
            Stream::Unix(stream) => stream.write_all(bytes),
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Stream::Tcp(stream) => stream.as_fd(),
            Stream::Unix(stream) => stream.as_fd(),
        }
    }
}

/// Tries each of the host's addresses in turn; the last one's error if none takes the call.
fn dial_tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for addr in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&addr, GREETING) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

impl Wire {
    pub(super) fn dial(addr: &Addr, msize: u32) -> Result<Self, Error> {
        let stream =
            Stream::dial(addr).map_err(|source| Error::Connect { addr: addr.clone(), source })?;
        Ok(Wire {
            addr: addr.clone(),
            stream,
            session: Session::new(msize),
            serial: 0,
            output: Vec::new(),
            input: vec![0; MIN_ROOM.max(msize as usize)].into(),
            start: 0,
            end: 0,
            settled: false,
        })
    }

    pub(super) fn addr(&self) -> &Addr {
        &self.addr
    }

    /// The longest message, in bytes.
    pub(super) fn msize(&self) -> u32 {
        self.session.msize()
    }

    /// How many bytes of a file one read or write has at the most.
    pub(super) fn unit(&self, iounit: u32) -> u32 {
        self.session.unit(iounit)
    }

    /// How many requests have no reply yet.
    pub(super) fn outstanding(&self) -> usize {
        self.session.outstanding()
    }

    /// Agrees on the version.
    pub(super) fn version(&mut self) -> Result<(), Error> {
        self.session.version(self.serial, &mut self.output);
        self.serial += 1;
        let refused = self.receive(|_, outcome| outcome.err().map(str::to_owned))?;
        if let Some(why) = refused {
            return Err(Error::Greeting { addr: self.addr.clone(), why });
        }
        // Less would be no use: see the constant.
        if self.msize() < super::MIN_MSIZE {
            let why = format!("it takes messages of {} bytes only", self.msize());
            return Err(Error::Greeting { addr: self.addr.clone(), why });
        }
        Ok(())
    }

    /// The greeting is over: from now on a reply may take as long as it takes.
    pub(super) fn settled(&mut self) -> Result<(), Error> {
        self.settled = true;
        self.stream.set_timeouts(None).map_err(|source| self.lost(source))
    }

    /// Puts a request into the output; its number. It goes out with the next
    /// [`receive`](Wire::receive).
    pub(super) fn send(&mut self, message: &Tmsg<'_>) -> Result<u64, Error> {
        let serial = self.serial;
        if self.session.send(message, serial, &mut self.output).is_err() {
            return Err(self.lost(io::Error::other("too many requests are under way")));
        }
        self.serial += 1;
        Ok(serial)
    }

    /// Sends the output, waits for the next reply, and gives `take` its request's number and what
    /// it says.
    pub(super) fn receive<R>(
        &mut self,
        take: impl FnOnce(u64, Result<Rmsg<'_>, &str>) -> R,
    ) -> Result<R, Error> {
        self.flush()?;
        loop {
            while !self.whole_frame()? {
                self.fill()?;
            }
            let there = &self.input[self.start..self.end];
            // `whole_frame` has looked at the size.
            let len = frame_len(there, self.session.msize()).ok().flatten().unwrap_or(there.len());
            self.start += len;
            match self.session.receive(&there[..len]) {
                Ok(Some(Event::Reply(serial, outcome))) => return Ok(take(serial, outcome)),
                Ok(Some(Event::Flushed(_)) | None) => {}
                Err(error) => return Err(self.broken(error)),
            }
        }
    }

    /// Sends the output now.
    pub(super) fn flush(&mut self) -> Result<(), Error> {
        if self.output.is_empty() {
            return Ok(());
        }
        let sent = self.stream.write_all(&self.output);
        self.output.clear();
        sent.map_err(|source| self.lost(source))
    }

    /// Whether a reply, or the end of the connection, can be had without waiting for the server.
    pub(super) fn is_ready(&self) -> Result<bool, Error> {
        if self.whole_frame()? {
            return Ok(true);
        }
        let mut waits = [PollFd::new(&self.stream, PollFlags::IN)];
        match poll(&mut waits, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(self.lost(error.into())),
        }
    }

    fn whole_frame(&self) -> Result<bool, Error> {
        let there = &self.input[self.start..self.end];
        let len =
            frame_len(there, self.session.msize()).map_err(|error| self.broken(error.into()))?;
        Ok(len.is_some_and(|len| len <= there.len()))
    }

    fn fill(&mut self) -> Result<(), Error> {
        // A frame is at most an msize, and the room is no less: once at the front, it fits.
        if self.start > 0 {
            self.input.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let read = loop {
            match self.stream.read(&mut self.input[self.end..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        match read {
            Ok(0) => Err(self.lost(io::Error::new(io::ErrorKind::UnexpectedEof, "it hung up"))),
            Ok(read) => {
                self.end += read;
                Ok(())
            }
            Err(source) => Err(self.lost(source)),
        }
    }

    fn lost(&self, source: io::Error) -> Error {
        let addr = self.addr.clone();
        if self.settled {
            return Error::Lost { addr, source };
        }
        let why = match source.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                format!("it said nothing for {} seconds", GREETING.as_secs())
            }
            _ => source.to_string(),
        };
        Error::Greeting { addr, why }
    }

    fn broken(&self, source: ProtocolError) -> Error {
        let addr = self.addr.clone();
        if self.settled {
            Error::Protocol { addr, source }
        } else {
            Error::Greeting { addr, why: source.to_string() }
        }
    }
}
