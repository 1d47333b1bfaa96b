//! `dsfs ls`: what is in a directory.

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;

use super::Error;
use super::listing::{self, Line};
use super::remote::Remote;
use crate::client::{self, Client};

/// List files, as Inferno's ls(1) does.
#[derive(Debug, Args)]
pub struct Options {
    /// All of a file's entry: mode, device, owner, group, length, time (GMT), name
    #[arg(short)]
    long: bool,
    /// A directory itself, not what is in it
    #[arg(short)]
    directory: bool,
    /// The files [default: the root, its names alone]
    #[arg(value_name = "PATH")]
    paths: Vec<String>,
    #[command(flatten)]
    remote: Remote,
}

/// Now, in seconds since 1970.
pub(super) fn now() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}

/// What `ls` calls a file that it was asked for by the name `path`: as it was typed where that has
/// a directory in it, else as the server says.
fn called(path: &str, name: &str) -> String {
    if path.contains('/') { path.into() } else { name.into() }
}

/// What is in the directory `path`, each file called as one in the directory `dir`.
pub(super) fn directory(
    client: &mut Client,
    path: &str,
    dir: &str,
) -> Result<Vec<Line>, client::Error> {
    let entries = client.read_dir(path)?;
    let line = |entry: client::Entry| Line { name: listing::inside(dir, &entry.name), entry };
    Ok(entries.into_iter().map(line).collect())
}

/// Prints lines, sorted.
pub(super) fn print(long: bool, lines: &mut [Line], out: &mut dyn Write) -> Result<(), Error> {
    let printed = if long { listing::long(lines, now(), out) } else { listing::short(lines, out) };
    printed.map_err(Error::Output)
}

impl Options {
    /// Lists.
    ///
    /// # Errors
    /// If there is no server; or, once all the others are listed, if a path could not be.
    pub fn run(self, out: &mut dyn Write) -> Result<(), Error> {
        let mut client = self.remote.connect()?;
        if self.paths.is_empty() && !self.directory {
            let mut lines = directory(&mut client, "/", "")?;
            return print(self.long, &mut lines, out);
        }
        let root = ["/".to_owned()];
        let paths = if self.paths.is_empty() { &root } else { self.paths.as_slice() };
        let mut failed = false;
        // Files that are next to one another are one listing.
        let mut files = Vec::new();
        for path in paths {
            match self.list(&mut client, path, &mut files, out) {
                Ok(()) => {}
                Err(Error::Client(error @ client::Error::Refused { .. })) => {
                    failed = true;
                    eprintln!("dsfs: {error}");
                }
                Err(error) => return Err(error),
            }
        }
        print(self.long, &mut files, out)?;
        if failed { Err(Error::Told) } else { Ok(()) }
    }

    fn list(
        &self,
        client: &mut Client,
        path: &str,
        files: &mut Vec<Line>,
        out: &mut dyn Write,
    ) -> Result<(), Error> {
        let entry = client.stat(path)?;
        if self.directory || !entry.qid.is_dir() {
            files.push(Line { name: called(path, &entry.name), entry });
            return Ok(());
        }
        print(self.long, files, out)?;
        files.clear();
        print(self.long, &mut directory(client, path, path)?, out)
    }
}
