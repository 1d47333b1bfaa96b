//! The byte streams that connections run over.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use mio::event::Source;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use styx::buffer::{Buffer, Output};

use super::connection;

/// A socket, or standard input and output.
pub(super) enum Stream {
    Tcp(mio::net::TcpStream),
    Unix(mio::net::UnixStream),
    Stdio,
}

impl Stream {
    fn input(&self) -> BorrowedFd<'_> {
        match self {
            Stream::Tcp(stream) => stream.as_fd(),
            Stream::Unix(stream) => stream.as_fd(),
            Stream::Stdio => rustix::stdio::stdin(),
        }
    }

    fn output(&self) -> BorrowedFd<'_> {
        match self {
            Stream::Tcp(stream) => stream.as_fd(),
            Stream::Unix(stream) => stream.as_fd(),
            Stream::Stdio => rustix::stdio::stdout(),
        }
    }

    /// Who is at the other end: a dial string, or for a Unix socket the process that connected.
    pub fn peer(&self) -> String {
        match self {
            Stream::Tcp(stream) => stream.peer_addr().map_or("tcp".into(), |peer| {
                format!("tcp!{}!{}", peer.ip().to_canonical(), peer.port())
            }),
            Stream::Unix(stream) => rustix::net::sockopt::socket_peercred(stream)
                .map_or("unix".into(), |peer| format!("unix!{}", peer.pid.as_raw_nonzero())),
            Stream::Stdio => "stdio".into(),
        }
    }

    /// Starts to tell `token` of what can be read and written.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        match self {
            Stream::Tcp(stream) => stream.register(registry, token, both),
            Stream::Unix(stream) => stream.register(registry, token, both),
            Stream::Stdio => {
                for fd in [self.input(), self.output()] {
                    rustix::io::ioctl_fionbio(fd, true)?;
                }
                let (input, output) = (self.input().as_raw_fd(), self.output().as_raw_fd());
                // A socket may be both, and is registered once (inetd, srv -e).
                match same_file(self.input(), self.output()) {
                    true => SourceFd(&input).register(registry, token, both),
                    false => {
                        SourceFd(&input).register(registry, token, Interest::READABLE)?;
                        SourceFd(&output).register(registry, token, Interest::WRITABLE)
                    }
                }
            }
        }
    }

    /// Whether a connection that was being made is there, or why not.
    pub fn connected(&self) -> io::Result<bool> {
        let (error, peer) = match self {
            Stream::Tcp(stream) => (stream.take_error()?, stream.peer_addr().map(drop)),
            Stream::Unix(stream) => (stream.take_error()?, stream.peer_addr().map(drop)),
            Stream::Stdio => (None, Ok(())),
        };
        match (error, peer) {
            (Some(error), _) => Err(error),
            (None, Ok(())) => Ok(true),
            (None, Err(error)) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            (None, Err(error)) => Err(error),
        }
    }
}

impl connection::Stream for Stream {
    fn read(&self, buffer: &mut Buffer, room: usize) -> io::Result<usize> {
        let start = buffer.end();
        buffer.append_room(room);
        let place = &mut buffer.bytes_mut()[start..];
        let read = match self {
            Stream::Stdio => rustix::io::read(self.input(), place),
            Stream::Tcp(_) | Stream::Unix(_) => {
                recv(self.input(), place, RecvFlags::empty()).map(|(n, _)| n)
            }
        };
        buffer.cut(start + read.unwrap_or(0));
        Ok(read?)
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(match self {
            Stream::Stdio => rustix::io::write(self.output(), bytes),
            Stream::Tcp(_) | Stream::Unix(_) => send(self.output(), bytes, SendFlags::NOSIGNAL),
        }?)
    }
}

fn same_file(a: BorrowedFd<'_>, b: BorrowedFd<'_>) -> bool {
    let id = |fd| rustix::fs::fstat(fd).map(|stat| (stat.st_dev, stat.st_ino));
    matches!((id(a), id(b)), (Ok(a), Ok(b)) if a == b)
}

impl Drop for Stream {
    /// Standard input and output are others' too, and should block for them as before.
    fn drop(&mut self) {
        if let Stream::Stdio = self {
            for fd in [rustix::stdio::stdin(), rustix::stdio::stdout()] {
                let _ = rustix::io::ioctl_fionbio(fd, false);
            }
        }
    }
}
