//! Who gets in. Styx without authentication trusts whoever connects, so that is decided here, before
//! the first byte is read.
//!
//! From this machine, processes of the user who runs the server, and root's: the kernel says whose
//! the socket at the other end is. From elsewhere, addresses that `--allow` names.

use std::io;
use std::net::{IpAddr, SocketAddr};

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
}

/// A message of sock_diag(7): one request and its answer, with the offsets of what is asked and told.
mod diag {
    pub const SOCK_DIAG_BY_FAMILY: u16 = 20;
    pub const NLM_F_REQUEST: u16 = 1;
    pub const HEADER: usize = 16;
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
        Admission { allow, uid: rustix::process::geteuid().as_raw() }
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
    pub fn check(&self, peer: SocketAddr, local: SocketAddr) -> Result<(), String> {
        let ip = peer.ip().to_canonical();
        if self.allow.iter().any(|net| net.contains(ip)) {
            return Ok(());
        }
        if !ip.is_loopback() {
            return Err(format!("{ip} is not allowed to connect; --allow {ip} would let it"));
        }
        match socket_owner(peer, local) {
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

/// The uid of the process that has the socket which is bound to `owned` and connected to `other`.
fn socket_owner(owned: SocketAddr, other: SocketAddr) -> io::Result<u32> {
    let flags = SocketFlags::CLOEXEC;
    let protocol = Some(netlink::SOCK_DIAG);
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)?;
    let request = request(owned, other);
    sendto(&socket, &request, SendFlags::empty(), &netlink::SocketAddrNetlink::new(0, 0))?;
    let mut answer = [0; 512];
    let (length, _) = recv(&socket, &mut answer, RecvFlags::empty())?;
    let kind = answer.get(4..6).map(NativeEndian::read_u16);
    if kind != Some(diag::SOCK_DIAG_BY_FAMILY) || length < diag::UID + 4 {
        return Err(io::Error::new(io::ErrorKind::NotFound, "no such socket any more"));
    }
    Ok(NativeEndian::read_u32(&answer[diag::UID..]))
}

fn request(owned: SocketAddr, other: SocketAddr) -> [u8; diag::REQUEST] {
    let mut request = [0; diag::REQUEST];
    NativeEndian::write_u32(&mut request, diag::REQUEST as u32);
    NativeEndian::write_u16(&mut request[4..], diag::SOCK_DIAG_BY_FAMILY);
    NativeEndian::write_u16(&mut request[6..], diag::NLM_F_REQUEST);
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
            let uid = socket_owner(peer, server.local_addr().unwrap()).unwrap();
            assert_eq!(uid, rustix::process::geteuid().as_raw());
            let nobody = SocketAddr::new(peer.ip(), peer.port() ^ 1);
            assert!(socket_owner(nobody, server.local_addr().unwrap()).is_err());
            drop(client);
        }
    }

    #[test]
    fn strangers_are_told_apart() {
        let here = Admission { allow: Vec::new(), uid: 1000 };
        assert!(here.check_uid(1000).is_ok() && here.check_uid(0).is_ok());
        assert!(here.check_uid(1001).is_err());
        let far: SocketAddr = "10.1.2.3:999".parse().unwrap();
        let local: SocketAddr = "10.0.0.1:6666".parse().unwrap();
        assert!(here.check(far, local).unwrap_err().contains("--allow 10.1.2.3"));
        assert!(here.check_listener(local).is_err());
        let wide = Admission { allow: vec!["10.0.0.0/8".parse().unwrap()], uid: 1000 };
        assert!(wide.check(far, local).is_ok() && wide.check_listener(local).is_ok());
        assert!(wide.check("11.0.0.1:1".parse().unwrap(), local).is_err());
    }
}
