//! The commands of the program, one a file: its options, and a `run` that does it.
//!
//! A command prints what it was asked for on standard output and nothing else; an error is for
//! [`cli::main`](crate::cli::main) to print.

pub mod check;
pub mod ctl;
mod figures;
pub mod help;
pub mod lab15;
mod listing;
mod local;
pub mod ls;
pub mod man;
pub mod map;
mod progress;
mod rates;
pub mod read;
mod remote;
pub mod rm;
pub mod serve;
pub mod stat;
pub mod status;
pub mod top;
pub mod trace;
pub mod tree;
mod upkeep;
pub mod write;
pub mod zeros;

use std::io::{self, Write};
use std::path::PathBuf;

use thiserror::Error;

use crate::client::{self, Printable};
use crate::ctl::saved::SavedError;
use crate::integrity::state::StateError;
use crate::namespace;

/// Why a command failed. The text is one line, for people.
#[derive(Debug, Error)]
pub enum Error {
    /// Something at a server.
    #[error(transparent)]
    Client(#[from] client::Error),
    /// Something with a file of this machine.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file that an option names.
    #[error("{}: {source}; {option} names a file or directory that is there", path.display())]
    Option {
        /// The option, as it is typed.
        option: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Standard input can't be read.
    #[error("standard input: {0}")]
    Input(#[source] io::Error),
    /// Standard output can't be written.
    #[error("standard output: {0}")]
    Output(#[source] io::Error),
    /// A message for a ctl file that can't be sent.
    #[error("line {line}: {why}")]
    Line {
        /// Which line of the input, from 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// Legs of a mirror that are not equal, or not known to be: what the status says of it.
    #[error("the legs are not equal:\n{0}")]
    NotEqual(String),
    /// The transcript of `lab15` is not the lab's.
    #[error("{0} of the lab's commands did not do what the lab says")]
    Differs(usize),
    /// The server can't start, or can't go on.
    #[error("{0}")]
    Server(#[source] io::Error),
    /// A name space file.
    #[error(transparent)]
    Namespace(namespace::FileError),
    /// A saved ctl.
    #[error("{}: {source}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// Which line of it, and why.
        source: SavedError,
    },
    /// A configuration that was kept in the state directory.
    #[error("{}: {source}; put it back, or start with another --state directory and, as its --config, what of this file's lines after the first is to be", path.display())]
    Kept {
        /// The file.
        path: PathBuf,
        /// Which line of it, and why.
        source: SavedError,
    },
    /// A file of keys that others than its owner can get at.
    #[error("{path}: mode {mode:04o}: others can get at the keys in it; chmod 600 {path}", path = path.display())]
    OpenKeys {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The state directory.
    #[error(transparent)]
    State(StateError),
    /// There is no directory to serve.
    #[error("no directory to serve: neither XDG_DATA_HOME nor HOME is set; give --root DIR")]
    NoRoot,
    /// A copy that was broken off, and can be gone on with.
    #[error("{source}; to go on, give the same command with {how}")]
    Stopped {
        /// Why it was.
        source: client::Error,
        /// The options that go on with it.
        how: String,
    },
    /// Standard input and output have no end to go on from.
    #[error("--resume needs FILE, not '-': a file has an end to go on from")]
    NothingToResume,
    /// A local file that is longer than what it should be a part of.
    #[error(
        "{path}: there are {length} bytes to copy, and FILE has {have} already: it is no part of them; \
         without --resume it is written anew"
    )]
    TooLong {
        /// The file at the server.
        path: String,
        /// The bytes that there are here.
        have: u64,
        /// The bytes that are to be here at the end.
        length: u64,
    },
    /// A file that is there already, and may be a chunk of some device.
    #[error("{}: it exists, and may be in use; remove it first, or give another name", .0.display())]
    Exists(PathBuf),
    /// A device that the server does not have.
    #[error("{}: no such device; 'dsfs tree' shows what there is", Printable(name))]
    NoDevice {
        /// As it was typed.
        name: String,
    },
    /// A range that begins where the device has ended.
    #[error("{}: it ends at byte {length}, before byte {offset}", Printable(name))]
    PastEnd {
        /// The device.
        name: String,
        /// How long it is, in bytes.
        length: u64,
        /// Where the range begins, in bytes.
        offset: u64,
    },
    /// A device whose description can't be right.
    #[error(
        "{}: what the server says of it can't be right; it may be of another version",
        Printable(name)
    )]
    NoGeometry {
        /// The device.
        name: String,
    },
    /// A screen, and nowhere to draw it.
    #[error(
        "standard output is no terminal; --once prints one screen, and 'dsfs status' says as much"
    )]
    NoTerminal,
    /// Everything has been said already.
    #[error("some of it failed")]
    Told,
}

impl Error {
    /// The same with the options that go on with what it has broken off, if that can do any good.
    fn resumed_by(self, how: &str) -> Self {
        use client::Error as E;
        match self {
            error if error.is_quiet() => error,
            Error::Client(
                source @ (E::RefusedAt { .. }
                | E::Lost { .. }
                | E::Protocol { .. }
                | E::Nonsense { .. }
                | E::Input(_)
                | E::Output(_)),
            ) => Error::Stopped { source, how: how.into() },
            error => error,
        }
    }

    /// Whether there is nothing left to tell: it has been told, or whoever read the output has
    /// closed it and wants no more.
    pub fn is_quiet(&self) -> bool {
        match self {
            Error::Told => true,
            Error::Output(error) | Error::Client(client::Error::Output(error)) => {
                error.kind() == io::ErrorKind::BrokenPipe
            }
            _ => false,
        }
    }
}

/// Prints a value as JSON, for scripts.
fn json(value: &impl serde::Serialize, out: &mut dyn Write) -> Result<(), Error> {
    let printed = serde_json::to_writer_pretty(&mut *out, value).map_err(io::Error::from);
    printed.and_then(|()| writeln!(out)).map_err(Error::Output)
}
