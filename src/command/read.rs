//! `dsfs read`: what is in a file.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use styx::omode::OREAD;

use super::Error;
use super::local::{Output, is_stdio};
use super::progress::Progress;
use super::remote::Remote;
use crate::client::{Client, File};

/// Copy a file, or a part of it, to this machine.
///
/// In a file here, blocks of zeros become holes. At a terminal, what takes longer than a second
/// says how far it is.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dsfs read m0 m0.img              copy the device m0 to a file
  dsfs read m0 m0.img --resume     go on with a copy that was broken off
  dsfs read m0 --count 512 | xxd   look at its first bytes")]
pub struct Options {
    /// The file
    path: String,
    /// Where to copy it, on this machine; - is standard output, as is nothing
    #[arg(value_name = "FILE")]
    to: Option<PathBuf>,
    /// Where to start, in bytes
    #[arg(long, value_name = "N", default_value_t = 0)]
    offset: u64,
    /// How many bytes at most [default: all]
    #[arg(long, value_name = "N", default_value_t = u64::MAX, hide_default_value = true)]
    count: u64,
    /// Go on where FILE ends: it has what this command, with the same --offset and --count, has
    /// copied before
    #[arg(long, requires = "to")]
    resume: bool,
    #[command(flatten)]
    remote: Remote,
}

impl Options {
    /// Reads.
    ///
    /// # Errors
    /// If there is no server, or no such file, or it can't be read, or FILE can't be written. One
    /// that breaks a copy off says how to go on with it.
    pub fn run(self, out: &mut dyn Write) -> Result<(), Error> {
        let to = self.to.as_deref().filter(|_| !is_stdio(self.to.as_deref()));
        if self.resume && to.is_none() {
            return Err(Error::NothingToResume);
        }
        let mut client = self.remote.connect()?;
        let file = client.open(&self.path, OREAD)?;
        match to {
            Some(to) => {
                let mut out = Output::open(to, self.resume)?;
                let have = out.at();
                let copied = self.copy(&mut client, &file, have, &mut out);
                // A hole at the end, too, is had.
                let ended = out.flush().map_err(Error::Output);
                copied.map_err(|(error, _)| error.resumed_by("--resume")).and(ended)?;
            }
            None => self.copy(&mut client, &file, 0, out).map_err(|(error, at)| {
                let rest = match self.count {
                    u64::MAX => String::new(),
                    count => format!(" --count {}", count - (at - self.offset)),
                };
                error.resumed_by(&format!("--offset {at}{rest}"))
            })?,
        }
        client.close(file)?;
        Ok(())
    }

    /// Copies what is beyond the first `have` bytes; or the error, and how far it came.
    fn copy(
        &self,
        client: &mut Client,
        file: &File,
        have: u64,
        out: &mut dyn Write,
    ) -> Result<(), (Error, u64)> {
        let start = self.offset.saturating_add(have);
        let length = file.length().saturating_sub(self.offset).min(self.count);
        if have > self.count || (have > length && file.length() > 0) {
            let error = Error::TooLong { path: self.path.clone(), have, length };
            return Err((error, start));
        }
        let progress = Progress::of((length > 0).then(|| length - have));
        let mut watched = Watched { out, progress, done: 0 };
        match client.read(file, start, self.count - have, &mut watched) {
            Ok(_) => Ok(()),
            Err(error) => Err((error.into(), start + watched.done)),
        }
    }
}

/// A [`Write`] that counts what goes through it.
struct Watched<'a> {
    out: &'a mut dyn Write,
    progress: Progress,
    done: u64,
}

impl Write for Watched<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let wrote = self.out.write(data)?;
        self.done += wrote as u64;
        self.progress.set(self.done);
        Ok(wrote)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
