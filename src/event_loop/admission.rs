//! Who gets in. Styx without authentication trusts whoever connects, so that is decided here, before
//! the first byte is read.
//!
//! From this machine, processes of the user who runs the server, and root's: the kernel says whose
//! the socket at the other end is. From elsewhere, addresses that `--allow` names.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use byteorder::{BE, ByteOrder, NativeEndian};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, sendto,
    socket_with,
};

use crate::allow::Net;

/// Decides who gets in.
#[derive(Debug)]
pub(super) struct Admission {
    allow: Vec<Net>,
    uid: u32,
    kernel: Kernel,
}

/// Where the kernel is asked whose a socket is. The socket for that is opened once and kept: when all
/// other descriptors are in use, who connects should be told that, and not be taken for a stranger.
#[derive(Debug)]
struct Kernel {
    socket: io::Result<OwnedFd>,
    /// Of the last request.
    number: u32,
}

/// A message of sock_diag(7): one request and its answer, with the offsets of what is asked and told.
mod diag {
    pub const SOCK_DIAG_BY_FAMILY: u16 = 20;
    pub const NLM_F_REQUEST: u16 = 1;
    pub const HEADER: usize = 16;
    /// In the header, after its length.
    pub const KIND: usize = 4;
    pub const FLAGS: usize = 6;
    pub const NUMBER: usize = 8;
    /// `nlmsghdr` and `inet_diag_req_v2`.
    pub const REQUEST: usize = HEADER + 56;
    /// Of the socket's identity in the request, and what is in it.
    pub const ID: usize = HEADER + 8;
    pub const SOURCE: usize = ID + 4;
    pub const DESTINATION: usize = ID + 20;
    pub const COOKIE: usize = ID + 40;
    /// Of the uid in `inet_diag_msg`, after its four bytes, the identity and three counters.
    pub const UID: usize = HEADER + 4 + 48 + 12;
    pub const IPPROTO_TCP: u8 = 6;
    /// The states of TCP, as bits: all of them.
    pub const ALL_STATES: u32 = !0;
}

impl Admission {
    pub fn new(allow: Vec<Net>) -> Self {
        Admission { allow, uid: rustix::process::geteuid().as_raw(), kernel: Kernel::new() }
    }

    /// Whether a listener may be reached from other machines.
    ///
    /// # Errors
    /// If it could, and nobody was allowed to connect: what to do.
    pub fn check_listener(&self, addr: SocketAddr) -> io::Result<()> {
        if addr.ip().to_canonical().is_loopback() || !self.allow.is_empty() {
            return Ok(());
        }
        let why = "others can reach this address; say who may connect, as in --allow 10.0.0.0/8 \
                   (anyone: --allow 0.0.0.0/0), or listen on 127.0.0.1";
        Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
    }

    /// Whether a client at `peer`, connected to our `local`, gets in.
    ///
    /// # Errors
    /// Why not, and what would let it in.
    pub fn check(&mut self, peer: SocketAddr, local: SocketAddr) -> Result<(), String> {
        let ip = peer.ip().to_canonical();
        if self.allow.iter().any(|net| net.contains(ip)) {
            return Ok(());
        }
        if !ip.is_loopback() {
            return Err(format!("{ip} is not allowed to connect; --allow {ip} would let it"));
        }
        match self.kernel.socket_owner(peer, local) {
            Ok(uid) => self.check_uid(uid).map_err(|why| {
                format!("{why}; --allow {ip} would let in everyone on this machine")
            }),
            Err(error) => Err(format!(
                "the kernel does not say whose connection from {peer} is ({error}); --allow {ip} \
                 would let in everyone on this machine"
            )),
        }
    }

    /// Whether a process of this user gets in.
    ///
    /// # Errors
    /// Why not.
    pub fn check_uid(&self, uid: u32) -> Result<(), String> {
        if uid == self.uid || uid == 0 {
            return Ok(());
        }
        Err(format!(
            "a process of user {uid} tried to connect, and this server is user {}'s",
            self.uid
        ))
    }
}

impl Kernel {
    fn new() -> Self {
        let socket = socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            Some(netlink::SOCK_DIAG),
        );
        Kernel { socket: socket.map_err(io::Error::from), number: 0 }
    }

    /// The uid of the process that has the socket which is bound to `owned` and connected to
    /// `other`.
    fn socket_owner(&mut self, owned: SocketAddr, other: SocketAddr) -> io::Result<u32> {
        let socket = self.socket.as_ref().map_err(|error| io::Error::from(error.kind()))?;
        self.number = self.number.wrapping_add(1);
        let request = request(owned, other, self.number);
        sendto(socket, &request, SendFlags::empty(), &netlink::SocketAddrNetlink::new(0, 0))?;
        let mut answer = [0; 512];
        loop {
            let (length, _) = recv(socket, &mut answer, RecvFlags::DONTWAIT)?;
            if NativeEndian::read_u32(&answer[diag::NUMBER..]) != self.number {
                continue;
            }
            let kind = NativeEndian::read_u16(&answer[diag::KIND..]);
            if kind != diag::SOCK_DIAG_BY_FAMILY || length < diag::UID + 4 {
                return Err(io::Error::new(io::ErrorKind::NotFound, "no such socket any more"));
            }
            return Ok(NativeEndian::read_u32(&answer[diag::UID..]));
        }
    }
}

fn request(owned: SocketAddr, other: SocketAddr, number: u32) -> [u8; diag::REQUEST] {
    let mut request = [0; diag::REQUEST];
    NativeEndian::write_u32(&mut request, diag::REQUEST as u32);
    NativeEndian::write_u16(&mut request[diag::KIND..], diag::SOCK_DIAG_BY_FAMILY);
    NativeEndian::write_u16(&mut request[diag::FLAGS..], diag::NLM_F_REQUEST);
    NativeEndian::write_u32(&mut request[diag::NUMBER..], number);
    let (source, destination) = (owned.ip().to_canonical(), other.ip().to_canonical());
    let family = if source.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    request[diag::HEADER] = family.as_raw() as u8;
    request[diag::HEADER + 1] = diag::IPPROTO_TCP;
    NativeEndian::write_u32(&mut request[diag::HEADER + 4..], diag::ALL_STATES);
    BE::write_u16(&mut request[diag::ID..], owned.port());
    BE::write_u16(&mut request[diag::ID + 2..], other.port());
    put_ip(&mut request[diag::SOURCE..], source);
    put_ip(&mut request[diag::DESTINATION..], destination);
    request[diag::COOKIE..diag::COOKIE + 8].fill(0xff);
    request
}

fn put_ip(place: &mut [u8], ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => place[..4].copy_from_slice(&ip.octets()),
        IpAddr::V6(ip) => place[..16].copy_from_slice(&ip.octets()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn the_kernel_says_whose_a_socket_is() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (server, peer) = listener.accept().unwrap();
            let (mut kernel, local) = (Kernel::new(), server.local_addr().unwrap());
            let ours = rustix::process::geteuid().as_raw();
            let nobody = SocketAddr::new(peer.ip(), peer.port() ^ 1);
            for _ in 0..2 {
                assert_eq!(kernel.socket_owner(peer, local).unwrap(), ours);
                assert!(kernel.socket_owner(nobody, local).is_err());
            }
            drop(client);
        }
    }

    #[test]
    fn strangers_are_told_apart() {
        let mut here = Admission { uid: 1000, ..Admission::new(Vec::new()) };
        assert!(here.check_uid(1000).is_ok() && here.check_uid(0).is_ok());
        assert!(here.check_uid(1001).is_err());
        let far: SocketAddr = "10.1.2.3:999".parse().unwrap();
        let local: SocketAddr = "10.0.0.1:6666".parse().unwrap();
        assert!(here.check(far, local).unwrap_err().contains("--allow 10.1.2.3"));
        assert!(here.check_listener(local).is_err());
        let mut wide = Admission::new(vec!["10.0.0.0/8".parse().unwrap()]);
        assert!(wide.check(far, local).is_ok() && wide.check_listener(local).is_ok());
        assert!(wide.check("11.0.0.1:1".parse().unwrap(), local).is_err());
    }
}
