//! `dsfs ctl`: what is configured, and what shall be.

use std::io::{self, BufRead, Write};

use clap::Args;
use styx::omode::{OREAD, OTRUNC, OWRITE};

use super::remote::Remote;
use super::{Error, upkeep};
use crate::client::{self, Client, File};

/// Send messages to the ctl file, or print its text.
///
/// Several WORDS are one message, each quoted where it has to be; one WORD is a whole message.
///
/// With -A admin: prints what the message did, and waits for long work (resync, verify, repair,
/// replace) to end, with its progress at a terminal. The work goes on if this is ended before. Exits
/// with 0 if the legs are equal then, else with 1.
#[derive(Debug, Args)]
pub struct Options {
    /// A message, as in: ctl mirror m0 /tmp/a /tmp/b; or - for one message a line of standard
    /// input; or nothing, to print the text
    #[arg(value_name = "WORDS")]
    words: Vec<String>,
    #[command(flatten)]
    remote: Remote,
}

/// Where a tree has its ctl: the one-level trees, ds(3)'s own tree, fs(3)'s own tree.
const PLACES: [&str; 3] = ["ctl", "ds/ctl", "fs/ctl"];

/// What the first line of a saved ctl has in it, and no message is.
const SAVED: &[u8] = b"fsdev:";

/// Opens the ctl of the tree.
fn open(client: &mut Client, mode: u8) -> Result<File, client::Error> {
    let mut missing = None;
    for place in PLACES {
        match client.open(place, mode) {
            Err(error @ client::Error::Refused { .. }) => missing = missing.or(Some(error)),
            other => return other,
        }
    }
    Err(missing.expect("there is at least one place"))
}

/// The message that `words` are, with a newline at its end as echo(1) writes it.
fn message(words: &[String]) -> String {
    let line = match words {
        [whole] => whole.clone(),
        words => styx::words::join(words),
    };
    line + "\n"
}

impl Options {
    /// Sends or prints.
    ///
    /// # Errors
    /// If there is no server, or it has no ctl, or it refuses a message: then none of the
    /// following are sent.
    pub fn run(self, out: &mut dyn Write) -> Result<(), Error> {
        let mut client = self.remote.connect()?;
        if self.words.is_empty() {
            let file = open(&mut client, OREAD)?;
            client.read(&file, 0, u64::MAX, out)?;
            client.close(file)?;
            return Ok(());
        }
        if self.words != ["-"] {
            let message = message(&self.words);
            let send = |client: &mut Client| send(client, message.as_bytes());
            return match self.remote.is_admin() {
                true => upkeep::carry_out(&mut client, &self.remote, &message, out, send),
                false => send(&mut client),
            };
        }
        // As the shell opens it for `echo ... >ctl`.
        let file = open(&mut client, OWRITE | OTRUNC)?;
        lines(&mut client, &file, io::stdin().lock())?;
        client.close(file)?;
        Ok(())
    }
}

/// Sends one message.
fn send(client: &mut Client, message: &[u8]) -> Result<(), Error> {
    let file = open(client, OWRITE | OTRUNC)?;
    client.write_message(&file, message)?;
    client.close(file)?;
    Ok(())
}

/// Sends each line as one message, its newline with it.
fn lines(client: &mut Client, file: &File, mut input: impl BufRead) -> Result<(), Error> {
    for number in 1.. {
        let mut line = Vec::new();
        if input.read_until(b'\n', &mut line).map_err(Error::Input)? == 0 {
            break;
        }
        let heading = number == 1 && line.starts_with(SAVED);
        if heading || line.trim_ascii().is_empty() {
            continue;
        }
        client.write_message(file, &line).map_err(|error| match error {
            error @ client::Error::Refused { .. } => {
                Error::Line { line: number, why: error.to_string() }
            }
            error => Error::Client(error),
        })?;
    }
    Ok(())
}
