//! Where clients come in.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use mio::{Interest, Registry, Token};
use rustix::net::sockopt::{set_tcp_congestion, tcp_congestion};

use super::admission::Admission;
use super::stream::Stream;
use crate::dial::{Addr, Host};

/// How replies to a client on this machine are paced: not at all. No network lies between that could
/// be congested, and pacing, which is the default of many machines (bbr), costs a timer or more for each
/// reply, and a tenth of the rate of long reads. Every kernel has this one.
///
/// Listeners have it, and their connections from them. Set on a connection that was paced it would not help: the
/// kernel goes on to pace it.
const LOOPBACK_CONGESTION: &str = "reno";

/// A socket that clients connect to.
pub(super) enum Listener {
    /// With what paces its connections from other machines, if it had to be told what does not.
    Tcp(mio::net::TcpListener, Option<String>),
    /// Its path is removed with it, if it was made here.
    Unix(mio::net::UnixListener, Option<PathBuf>),
}

impl Listener {
    /// The sockets that `addr` means: one, or as many as the service manager hands over; none for
    /// standard input and output, which is no socket to listen on.
    pub fn open(addr: &Addr, admission: &Admission) -> io::Result<Vec<Self>> {
        match addr {
            Addr::Tcp { host, port } => Ok(vec![Self::tcp(host, *port, admission)?]),
            Addr::Unix(path) => Ok(vec![Self::unix(path)?]),
            Addr::Stdio => Ok(Vec::new()),
            Addr::Systemd => Self::inherited(admission),
        }
    }

    fn tcp(host: &Host, port: u16, admission: &Admission) -> io::Result<Self> {
        let listener = match host {
            Host::Any => TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))
                .or_else(|_| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)))?,
            Host::Name(name) => {
                let addresses: Vec<SocketAddr> = (name.as_str(), port).to_socket_addrs()?.collect();
                TcpListener::bind(&addresses[..])?
            }
        };
        Self::from_tcp(listener, admission)
    }

    fn from_tcp(listener: TcpListener, admission: &Admission) -> io::Result<Self> {
        admission.check_listener(listener.local_addr()?)?;
        listener.set_nonblocking(true)?;
        let usual = tcp_congestion(&listener).ok();
        // Where it can't be had, it is only slower.
        let usual = usual.filter(|_| set_tcp_congestion(&listener, LOOPBACK_CONGESTION).is_ok());
        Ok(Listener::Tcp(mio::net::TcpListener::from_std(listener), usual))
    }

    fn unix(path: &Path) -> io::Result<Self> {
        // What a server that was killed has left behind is in the way, and of no use to anyone.
        let left = fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
        if left && std::os::unix::net::UnixStream::connect(path).is_err() {
            fs::remove_file(path)?;
        }
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        Ok(Listener::Unix(mio::net::UnixListener::from_std(listener), Some(path.to_path_buf())))
    }

    fn inherited(admission: &Admission) -> io::Result<Vec<Self>> {
        let mut fds = listenfd::ListenFd::from_env();
        let mut listeners = Vec::new();
        for index in 0..fds.len() {
            if let Ok(Some(listener)) = fds.take_tcp_listener(index) {
                listeners.push(Self::from_tcp(listener, admission)?);
            } else if let Some(listener) = fds.take_unix_listener(index)? {
                listener.set_nonblocking(true)?;
                listeners.push(Listener::Unix(mio::net::UnixListener::from_std(listener), None));
            }
        }
        if listeners.is_empty() {
            let why = "no sockets were handed over (LISTEN_FDS is not set for this process): have a socket unit, or systemd-socket-activate, start it";
            return Err(io::Error::new(io::ErrorKind::NotFound, why));
        }
        Ok(listeners)
    }

    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match self {
            Listener::Tcp(listener, _) => registry.register(listener, token, Interest::READABLE),
            Listener::Unix(listener, _) => registry.register(listener, token, Interest::READABLE),
        }
    }

    /// Has it told once more of those who wait, though they were told of.
    pub fn tell_again(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match self {
            Listener::Tcp(listener, _) => registry.reregister(listener, token, Interest::READABLE),
            Listener::Unix(listener, _) => registry.reregister(listener, token, Interest::READABLE),
        }
    }

    /// The next client; or why one that connected does not get in, which it learns by being hung up
    /// on: nothing is read from a stranger and nothing told.
    pub fn accept(&self, admission: &mut Admission) -> io::Result<Result<Stream, String>> {
        match self {
            Listener::Tcp(listener, usual) => {
                let (stream, peer) = listener.accept()?;
                if let Err(why) = admission.check(peer, stream.local_addr()?) {
                    return Ok(Err(why));
                }
                // A reply should not wait for the next one to fill a packet.
                stream.set_nodelay(true)?;
                if let Some(usual) = usual
                    && !peer.ip().to_canonical().is_loopback()
                {
                    // One that only root may choose can't be had again, and that is no reason to hang up.
                    let _ = set_tcp_congestion(&stream, usual);
                }
                Ok(Ok(Stream::Tcp(stream)))
            }
            Listener::Unix(listener, _) => {
                let (stream, _) = listener.accept()?;
                let peer = rustix::net::sockopt::socket_peercred(&stream)?;
                let admitted = admission.check_uid(peer.uid.as_raw());
                Ok(admitted.map(|()| Stream::Unix(stream)))
            }
        }
    }

    /// Where it listens in fact.
    pub fn addr(&self) -> io::Result<Addr> {
        match self {
            Listener::Tcp(listener, _) => {
                let addr = listener.local_addr()?;
                let host = match addr.ip() {
                    ip if ip.is_unspecified() => Host::Any,
                    ip => Host::Name(ip.to_string()),
                };
                Ok(Addr::Tcp { host, port: addr.port() })
            }
            Listener::Unix(listener, _) => {
                let addr = listener.local_addr()?;
                Ok(Addr::Unix(addr.as_pathname().unwrap_or(Path::new("")).to_path_buf()))
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Listener::Unix(_, Some(path)) = self {
            let _ = fs::remove_file(path);
        }
    }
}
