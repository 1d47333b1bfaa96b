//! Networks that may connect: `--allow 10.1.0.0/16`. Parsing and comparing only.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use thiserror::Error;

/// A network: the addresses that share their first bits with one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Net {
    addr: IpAddr,
    /// How many bits: 0 to 32, or to 128 for IPv6.
    bits: u8,
}

/// The text is not a network.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error(
    "'{text}' is no network: {why}; write ADDRESS or ADDRESS/BITS, as in 10.1.0.0/16 or fd00::/8"
)]
pub struct BadNet {
    text: String,
    why: &'static str,
}

fn bits_of(addr: IpAddr) -> u8 {
    if addr.is_ipv4() { 32 } else { 128 }
}

/// The address as a number whose highest bit is the address's first.
fn number(addr: IpAddr) -> u128 {
    match addr {
        IpAddr::V4(addr) => u128::from(addr.to_bits()) << 96,
        IpAddr::V6(addr) => addr.to_bits(),
    }
}

impl Net {
    /// Whether `peer` is in this network. An IPv4 address inside IPv6 (`::ffff:10.1.2.3`, what a
    /// socket that listens on both calls it) is that IPv4 address.
    pub fn contains(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        let differs = number(self.addr) ^ number(peer);
        self.addr.is_ipv4() == peer.is_ipv4() && differs.leading_zeros() >= u32::from(self.bits)
    }
}

impl FromStr for Net {
    type Err = BadNet;

    /// Reads `ADDRESS` or `ADDRESS/BITS`.
    ///
    /// # Errors
    /// If it is neither, or if the address has bits set after the network's: then one of the two
    /// is a mistake, and a guess would let the wrong people in.
    fn from_str(text: &str) -> Result<Self, BadNet> {
        let bad = |why| BadNet { text: text.into(), why };
        let (addr, bits) = match text.split_once('/') {
            Some((addr, bits)) => (addr, Some(bits)),
            None => (text, None),
        };
        let addr: IpAddr = addr.parse().map_err(|_| bad("its address is not a number"))?;
        let bits = match bits {
            None => bits_of(addr),
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits
                .parse()
                .ok()
                .filter(|&bits| bits <= bits_of(addr))
                .ok_or_else(|| bad("it has 0 to 32 bits, or to 128 with IPv6"))?,
            Some(_) => return Err(bad("what follows the '/' is not a number of bits")),
        };
        if number(addr).checked_shl(u32::from(bits)).unwrap_or(0) != 0 {
            return Err(bad("its address has bits that are outside the network"));
        }
        // So that `contains`, which sees no address inside another, still finds it.
        match addr.to_canonical() {
            IpAddr::V4(v4) if addr.is_ipv6() => {
                let bits = bits.checked_sub(96).ok_or_else(|| bad("it is half IPv4, half IPv6"))?;
                Ok(Net { addr: IpAddr::V4(v4), bits })
            }
            _ => Ok(Net { addr, bits }),
        }
    }
}

impl fmt::Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn net(text: &str) -> Net {
        text.parse().expect(text)
    }

    fn holds(network: &str, peer: &str) -> bool {
        net(network).contains(peer.parse().expect(peer))
    }

    #[test]
    fn a_network_holds_its_own_and_no_others() {
        assert!(holds("10.1.0.0/16", "10.1.255.3"));
        assert!(!holds("10.1.0.0/16", "10.2.0.0"));
        assert!(holds("10.1.2.3", "10.1.2.3"));
        assert!(!holds("10.1.2.3", "10.1.2.2"));
        assert!(holds("0.0.0.0/0", "255.1.2.3"));
        assert!(!holds("0.0.0.0/0", "::1"));
        assert!(holds("::/0", "fe80::1"));
        assert!(!holds("::/0", "1.2.3.4"));
        assert!(holds("fd00::/8", "fdff::1"));
        assert!(!holds("fd00::/8", "fe00::1"));
        assert!(holds("::1", "::1"));
        assert!(holds("10.1.0.0/16", "::ffff:10.1.2.3"));
        assert!(holds("::ffff:10.1.0.0/112", "10.1.2.3"));
        assert!(!holds("::ffff:10.1.0.0/112", "10.2.2.3"));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in [
            "",
            "/",
            "10.1.0.0/",
            "10.1.0.0/33",
            "10.1.0.0/-1",
            "10.1.0.0/+8",
            "10.1.0.0/ 8",
            "::/129",
            "10.1.0.0/8",
            "node1",
            "10.1",
            "10.1.0.0/16/8",
            "fd00::1/8",
            "::/999999999999",
            "::ffff:0:0/90",
        ] {
            let error = text.parse::<Net>().expect_err(text).to_string();
            assert!(error.contains("write ADDRESS"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn a_bit_in_the_network_tells_and_one_outside_does_not(
            addr: u32, bits in 0u8..=32, flip in 0u8..32,
        ) {
            let base = if bits == 0 { 0 } else { addr & (u32::MAX << (32 - bits)) };
            let net = net(&format!("{}/{bits}", std::net::Ipv4Addr::from_bits(base)));
            let peer = base ^ (1 << (31 - flip));
            let peer = IpAddr::from(std::net::Ipv4Addr::from_bits(peer));
            prop_assert_eq!(net.contains(peer), flip >= bits);
            prop_assert_eq!(net.to_string().parse(), Ok(net));
        }
    }
}
