//! `dsfs write`: what a file shall have in it.

use std::io;

use clap::Args;
use styx::omode::{OTRUNC, OWRITE};

use super::Error;
use super::remote::Remote;

/// Write a text, or standard input, to a file that exists.
///
/// Without --offset the file is cut to nothing first, as the shell's '>' does it; a device keeps
/// its length.
#[derive(Debug, Args)]
pub struct Options {
    /// The file
    path: String,
    /// What to write [default: standard input]
    text: Option<String>,
    /// Where to start, in bytes; what the file has elsewhere stays
    #[arg(long, value_name = "N")]
    offset: Option<u64>,
    #[command(flatten)]
    remote: Remote,
}

impl Options {
    /// Writes.
    ///
    /// # Errors
    /// If there is no server, or no such file, or it does not take all of it.
    pub fn run(self) -> Result<(), Error> {
        let mut client = self.remote.connect()?;
        let mode = if self.offset.is_some() { OWRITE } else { OWRITE | OTRUNC };
        let file = client.open(&self.path, mode)?;
        let offset = self.offset.unwrap_or(0);
        match &self.text {
            Some(text) => client.write(&file, offset, &mut text.as_bytes())?,
            None => client.write(&file, offset, &mut io::stdin().lock())?,
        };
        client.close(file)?;
        Ok(())
    }
}
