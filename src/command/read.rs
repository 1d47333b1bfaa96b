//! `dsfs read`: what is in a file.

use std::io::Write;

use clap::Args;
use styx::omode::OREAD;

use super::Error;
use super::remote::Remote;

/// Copy a file, or part of it, to standard output.
#[derive(Debug, Args)]
pub struct Options {
    /// The file
    path: String,
    /// Where to start, in bytes
    #[arg(long, value_name = "N", default_value_t = 0)]
    offset: u64,
    /// How many bytes at most [default: all]
    #[arg(long, value_name = "N", default_value_t = u64::MAX, hide_default_value = true)]
    count: u64,
    #[command(flatten)]
    remote: Remote,
}

impl Options {
    /// Reads.
    ///
    /// # Errors
    /// If there is no server, or no such file, or it can't be read.
    pub fn run(self, out: &mut dyn Write) -> Result<(), Error> {
        let mut client = self.remote.connect()?;
        let file = client.open(&self.path, OREAD)?;
        client.read(&file, self.offset, self.count, out)?;
        client.close(file)?;
        Ok(())
    }
}
