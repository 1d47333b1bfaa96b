//! `dsfs stat`: all that a server says of a file.

use std::io::{self, Write};

use clap::Args;

use super::Error;
use super::listing::modes;
use super::remote::Remote;
use crate::client::{Entry, Printable};

/// Print a file's whole entry, one field a line.
#[derive(Debug, Args)]
pub struct Options {
    /// The file
    path: String,
    #[command(flatten)]
    remote: Remote,
}

impl Options {
    /// Prints.
    ///
    /// # Errors
    /// If there is no server, or no such file.
    pub fn run(self, out: &mut dyn Write) -> Result<(), Error> {
        let entry = self.remote.connect()?.stat(&self.path)?;
        print(&entry, out).map_err(Error::Output)
    }
}

/// The fields of stat(5), in its order; times in seconds since 1970.
fn print(entry: &Entry, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "name   {}", Printable(&entry.name))?;
    writeln!(out, "qid    {}", entry.qid)?;
    writeln!(out, "mode   {:o} {}", entry.mode, modes(entry.mode))?;
    writeln!(out, "atime  {}", entry.atime)?;
    writeln!(out, "mtime  {}", entry.mtime)?;
    writeln!(out, "length {}", entry.length)?;
    writeln!(out, "owner  {}", Printable(&entry.uid))?;
    writeln!(out, "group  {}", Printable(&entry.gid))?;
    writeln!(out, "muid   {}", Printable(&entry.muid))
}
