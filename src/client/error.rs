//! What can go wrong for a client: which file or address, what happened, and what to do about it.

use std::fmt;
use std::io;

use styx::client::ProtocolError;
use thiserror::Error;

use crate::dial::Addr;

/// Why something could not be had from a server. The text is one line, for people.
#[derive(Debug, Error)]
pub enum Error {
    /// Nobody could be reached at the address.
    #[error("cannot connect to {addr}: {source}{}", connecting(addr, source))]
    Connect {
        /// What was dialled.
        addr: Addr,
        /// What the system said.
        source: io::Error,
    },
    /// There was an answer, but it was not that of a 9P2000 server, or none came in time.
    #[error(
        "{addr} does not answer as a 9P2000 server: {why}; see that a 9P server is what listens there, and that it lets you in"
    )]
    Greeting {
        /// What was dialled.
        addr: Addr,
        /// What was wrong.
        why: String,
    },
    /// The connection ended.
    #[error("the connection to {addr} is lost: {source}; see whether the server still runs")]
    Lost {
        /// What had been dialled.
        addr: Addr,
        /// What the system said.
        source: io::Error,
    },
    /// The server broke the protocol.
    #[error("{addr} breaks the protocol: {source}")]
    Protocol {
        /// What had been dialled.
        addr: Addr,
        /// How.
        source: ProtocolError,
    },
    /// A reply whose contents can't be right.
    #[error("{addr} breaks the protocol: a reply that makes no sense")]
    Nonsense {
        /// What had been dialled.
        addr: Addr,
    },
    /// The server answered with an error.
    #[error("{}: {}{}", Printable(path), Printable(ename), advice(ename))]
    Refused {
        /// The file.
        path: String,
        /// The server's text.
        ename: String,
    },
    /// The server answered with an error to one of the requests of a transfer.
    #[error(
        "{}: {} at byte {offset}{}",
        Printable(path),
        Printable(ename),
        if *offset > 0 { "; what comes before it is done" } else { "" }
    )]
    RefusedAt {
        /// The file.
        path: String,
        /// Where the request began, in bytes.
        offset: u64,
        /// The server's text.
        ename: String,
    },
    /// The server took less than it was given.
    #[error("{}: took no byte past {offset}; it is full, or ends there", Printable(path))]
    Full {
        /// The file.
        path: String,
        /// The first byte that was not written.
        offset: u64,
    },
    /// What should be a file is a directory.
    #[error("{}: is a directory; 'dsfs ls' lists it", Printable(path))]
    Directory {
        /// The directory.
        path: String,
    },
    /// The server has no admin tree, or not this file in it.
    #[error(
        "{addr}: no {what} there ({}): it is no dsfs server, or an older one; see what it serves with \"dsfs ls -a '{addr}'\"",
        Printable(ename)
    )]
    NoAdmin {
        /// What had been dialled.
        addr: Addr,
        /// The tree, or the file.
        what: String,
        /// The server's text.
        ename: String,
    },
    /// A text of the admin tree that can't be understood.
    #[error("{addr}: {file}: {why}; the server may be of another version")]
    Text {
        /// What had been dialled.
        addr: Addr,
        /// The file.
        file: &'static str,
        /// Which line, and why.
        why: String,
    },
    /// A directory that does not end.
    #[error("{}: more than {entries} entries; the server may be at fault", Printable(path))]
    Endless {
        /// The directory.
        path: String,
        /// How many were read.
        entries: usize,
    },
    /// What is to be written could not be read.
    #[error("cannot read what is to be written: {0}")]
    Input(#[source] io::Error),
    /// What was read could not be written.
    #[error("cannot write what was read: {0}")]
    Output(#[source] io::Error),
}

/// What someone can do who could not connect.
fn connecting(addr: &Addr, source: &io::Error) -> String {
    match source.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound if *addr == Addr::local() => {
            "; start a server with 'dsfs serve', or name another one with -a".into()
        }
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => {
            format!(
                "; start a server there with \"dsfs serve --listen '{addr}'\", or name another one with -a"
            )
        }
        io::ErrorKind::PermissionDenied => {
            "; the socket is its owner's alone: run this as the user who runs the server".into()
        }
        _ => "; see that the host and the service are right".into(),
    }
}

/// What someone can do about the commonest of the servers' errors.
fn advice(ename: &str) -> &'static str {
    match ename {
        "file does not exist" => "; 'dsfs ls' lists what there is",
        "file already exists" => "; 'dsfs ctl' shows what is configured",
        // An inner file of a message, in quotes.
        _ if ename.starts_with('\'') && ename.ends_with("' file does not exist") => {
            "; the server looks names up in its name space, which begins at its --root"
        }
        _ if ename.starts_with("unknown control message") => "; dsfs-ctl(3) has those there are",
        _ => "",
    }
}

/// Text from outside, with U+FFFD for each control character: a name must not steer a terminal.
pub(crate) struct Printable<'a>(pub &'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        self.0.chars().try_for_each(|c| {
            f.write_char(if c.is_control() { char::REPLACEMENT_CHARACTER } else { c })
        })
    }
}
