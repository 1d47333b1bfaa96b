//! Dial strings: the addresses of dial(2), `tcp!host!service` and its kin.
//!
//! Parsing only. Nothing here opens a socket or looks up a host: that a host or a path exists is
//! for whoever dials or listens to find out.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use thiserror::Error;

/// The services that have names here, and their TCP ports: `styx` of Inferno's
/// `/lib/ndb/services`, `9fs` of Plan 9's `/lib/ndb/common`.
const SERVICES: [(&str, u16); 2] = [("styx", STYX), ("9fs", 564)];

/// The TCP port of the service `styx`.
pub const STYX: u16 = 6666;

/// Where a server listens, or where a client finds it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Addr {
    /// `tcp!host!service`.
    Tcp {
        /// Which host.
        host: Host,
        /// The TCP port. 0 asks a listener for any free port; no client can dial it.
        port: u16,
    },
    /// `unix!/path`: a Unix stream socket.
    Unix(PathBuf),
    /// `stdio`: standard input and output, which are one connection.
    Stdio,
    /// `systemd`: the sockets that the service manager hands over (sd_listen_fds(3)).
    Systemd,
}

/// The host of a [`Addr::Tcp`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// `*`: all addresses of this machine. A listener's only.
    Any,
    /// A name or a number, as it was given. Never empty.
    Name(String),
}

/// The text is not a dial string.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("'{text}' is no dial string: {problem}; write tcp!HOST!SERVICE, unix!/PATH{others}", others = others(*dialling))]
pub struct BadDial {
    /// What was given.
    text: String,
    /// Whether it was to be dialled, and so could not be `stdio` or `systemd`.
    dialling: bool,
    problem: Problem,
}

fn others(dialling: bool) -> &'static str {
    if dialling {
        " (as in tcp!127.0.0.1!styx)"
    } else {
        ", stdio or systemd (as in tcp!127.0.0.1!styx; tcp!*!styx is all of this machine's addresses)"
    }
}

#[derive(Clone, Debug, Error, PartialEq, Eq)]
enum Problem {
    #[error("it is empty")]
    Empty,
    #[error("there is no network '{0}'")]
    Network(String),
    #[error("it has no host")]
    NoHost,
    #[error("a host has no blanks and no '/' in it")]
    BadHost,
    #[error("a port follows a '!', not a ':'")]
    Colon,
    #[error("there is no service '{0}' (styx, 9fs or a port from 0 to 65535)")]
    Service(String),
    #[error("it has no path")]
    NoPath,
    #[error("it has more than three parts")]
    Parts,
    #[error("only a listener can be that")]
    ListenerOnly,
}

impl Addr {
    /// The address of the server that is meant when nobody says which: `tcp!127.0.0.1!styx`.
    pub fn local() -> Self {
        Addr::Tcp { host: Host::Name("127.0.0.1".into()), port: STYX }
    }

    /// What a client is to dial. Beside the full forms it takes `HOST` and `HOST!SERVICE`, as
    /// dial(2) and netmkaddr do, the service being `styx` if there is none; and `/PATH`, as a
    /// mount of Plan 9's /srv/name is written, for `unix!/PATH`.
    ///
    /// # Errors
    /// As [`Addr::from_str`], and if nothing can be dialled there: `stdio`, `systemd`, the host
    /// `*`, port 0.
    pub fn to_dial(text: &str) -> Result<Self, BadDial> {
        let network = text.split('!').next().unwrap_or_default();
        let short = !matches!(network, "" | "tcp" | "net" | "unix" | "stdio" | "systemd");
        let parsed = match text {
            path if path.starts_with('/') => Ok(Addr::Unix(path.into())),
            text if short => tcp(text),
            text => parse(text),
        };
        parsed
            .and_then(|addr| match addr {
                Addr::Tcp { port: 0, .. } | Addr::Tcp { host: Host::Any, .. } => {
                    Err(Problem::ListenerOnly)
                }
                Addr::Stdio | Addr::Systemd => Err(Problem::ListenerOnly),
                addr => Ok(addr),
            })
            .map_err(|problem| BadDial { text: text.into(), dialling: true, problem })
    }
}

impl FromStr for Addr {
    type Err = BadDial;

    /// Reads `tcp!host!service`, `tcp!host` (the service is `styx`), `unix!path`, `stdio` or
    /// `systemd`. A service is a name (`styx`, `9fs`) or a port.
    ///
    /// # Errors
    /// If it is none of these.
    fn from_str(text: &str) -> Result<Self, BadDial> {
        parse(text).map_err(|problem| BadDial { text: text.into(), dialling: false, problem })
    }
}

fn parse(text: &str) -> Result<Addr, Problem> {
    if let Some((network, rest)) = text.split_once('!') {
        return match network {
            "tcp" | "net" => tcp(rest),
            // A path may have a '!' in it.
            "unix" if rest.is_empty() => Err(Problem::NoPath),
            "unix" => Ok(Addr::Unix(rest.into())),
            other => Err(Problem::Network(other.into())),
        };
    }
    match text {
        "" => Err(Problem::Empty),
        "stdio" => Ok(Addr::Stdio),
        "systemd" => Ok(Addr::Systemd),
        "tcp" | "net" => Err(Problem::NoHost),
        "unix" => Err(Problem::NoPath),
        other => Err(Problem::Network(other.into())),
    }
}

/// `host!service` or `host`.
fn tcp(text: &str) -> Result<Addr, Problem> {
    let (name, service) = text.split_once('!').unwrap_or((text, "styx"));
    if service.contains('!') {
        return Err(Problem::Parts);
    }
    let host = match name {
        "" => return Err(Problem::NoHost),
        "*" => Host::Any,
        name if name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/') => {
            return Err(Problem::BadHost);
        }
        // An address of IPv6 has at least two colons.
        name if name.bytes().filter(|&byte| byte == b':').count() == 1 => {
            return Err(Problem::Colon);
        }
        name => Host::Name(name.into()),
    };
    Ok(Addr::Tcp { host, port: port(service)? })
}

fn port(service: &str) -> Result<u16, Problem> {
    if let Some((_, port)) = SERVICES.iter().find(|(name, _)| *name == service) {
        return Ok(*port);
    }
    // `u16::from_str` would take a sign.
    let digits = !service.is_empty() && service.bytes().all(|byte| byte.is_ascii_digit());
    match service.parse() {
        Ok(port) if digits => Ok(port),
        _ => Err(Problem::Service(service.into())),
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Any => f.write_str("*"),
            Host::Name(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for Addr {
    /// The full form, which [`Addr::from_str`] reads back to an equal address. The port is a
    /// number, which needs no name service where it is typed in again.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Addr::Tcp { host, port } => write!(f, "tcp!{host}!{port}"),
            Addr::Unix(path) => write!(f, "unix!{}", path.display()),
            Addr::Stdio => f.write_str("stdio"),
            Addr::Systemd => f.write_str("systemd"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn named(host: &str, port: u16) -> Addr {
        Addr::Tcp { host: Host::Name(host.into()), port }
    }

    #[test]
    fn reads_every_form() {
        let cases = [
            ("tcp!127.0.0.1!6666", named("127.0.0.1", 6666)),
            ("tcp!node1!styx", named("node1", 6666)),
            ("tcp!node1!9fs", named("node1", 564)),
            ("tcp!node1", named("node1", 6666)),
            ("net!node1!0", named("node1", 0)),
            ("tcp!::1!65535", named("::1", 65535)),
            ("tcp!*!styx", Addr::Tcp { host: Host::Any, port: 6666 }),
            ("unix!/run/ds", Addr::Unix("/run/ds".into())),
            ("unix!a!b", Addr::Unix("a!b".into())),
            ("stdio", Addr::Stdio),
            ("systemd", Addr::Systemd),
        ];
        for (text, addr) in cases {
            assert_eq!(text.parse(), Ok(addr), "{text}");
        }
        assert_eq!("tcp!127.0.0.1!styx".parse(), Ok(Addr::local()));
    }

    #[test]
    fn refuses_and_says_why() {
        let cases = [
            ("", "it is empty"),
            ("tcp", "it has no host"),
            ("tcp!", "it has no host"),
            ("tcp!!styx", "it has no host"),
            ("il!host!styx", "there is no network 'il'"),
            ("node1", "there is no network 'node1'"),
            ("tcp!a!b!c", "it has more than three parts"),
            ("tcp!localhost:6666", "a port follows a '!', not a ':'"),
            ("tcp!h!", "there is no service ''"),
            ("tcp!h!+80", "there is no service '+80'"),
            ("tcp!h!65536", "there is no service '65536'"),
            ("tcp!h!http", "there is no service 'http'"),
            ("tcp!a b!styx", "a host has no blanks"),
            ("unix", "it has no path"),
            ("unix!", "it has no path"),
        ];
        for (text, why) in cases {
            let error = text.parse::<Addr>().expect_err(text).to_string();
            assert!(error.contains(why), "{text}: {error}");
            assert!(error.contains("tcp!HOST!SERVICE"), "{text}: {error}");
        }
    }

    #[test]
    fn a_client_may_leave_out_the_network() {
        assert_eq!(Addr::to_dial("node1"), Ok(named("node1", 6666)));
        assert_eq!(Addr::to_dial("node1!564"), Ok(named("node1", 564)));
        assert_eq!(Addr::to_dial("::1"), Ok(named("::1", 6666)));
        assert_eq!(Addr::to_dial("tcp!node1"), Ok(named("node1", 6666)));
        assert_eq!(Addr::to_dial("unix!/s"), Ok(Addr::Unix("/s".into())));
        assert_eq!(Addr::to_dial("/srv/a!b"), Ok(Addr::Unix("/srv/a!b".into())));
    }

    #[test]
    fn a_client_dials_no_listener() {
        for text in ["stdio", "systemd", "tcp!*!styx", "*", "tcp!h!0", "h!0", "", "h:1", "a!b!c"] {
            let error = Addr::to_dial(text).expect_err(text).to_string();
            assert!(!error.contains("systemd (as"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_an_address_that_reads_back_or_is_refused(text in "(tcp!|unix!|)[ -~]{0,20}") {
            if let Ok(addr) = text.parse::<Addr>() {
                prop_assert_eq!(addr.to_string().parse(), Ok(addr));
            }
            if let Ok(addr) = Addr::to_dial(&text) {
                prop_assert_eq!(Addr::to_dial(&addr.to_string()), Ok(addr));
            }
        }
    }
}
