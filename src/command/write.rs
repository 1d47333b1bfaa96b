//! `dsfs write`: what a file shall have in it.

use std::io::{self, Read, Write};
use std::path::PathBuf;

use clap::Args;
use styx::omode::{OREAD, OTRUNC, OWRITE};

use super::Error;
use super::local::{Input, is_stdio};
use super::progress::Progress;
use super::remote::Remote;
use crate::client::{self, Client, Source};

/// Write a file, standard input or a text to a file that exists.
///
/// Without --offset and --resume the file is cut to nothing first, as the shell's '>' does it; a
/// device keeps its length. Several writes are under way at one time: of what is after the byte
/// that an error names, some may have been written.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dsfs write m0 m0.img             write a file to the device m0
  dsfs write m0 m0.img --resume    go on with a write that was broken off
  zcat m0.gz | dsfs write m0 -     write what another command says
  dsfs write p0 --text hello       write a text")]
pub struct Options {
    /// The file
    path: String,
    /// What to write, on this machine; - is standard input, as is nothing
    #[arg(value_name = "FILE")]
    from: Option<PathBuf>,
    /// Write this text
    #[arg(long, conflicts_with_all = ["from", "skip", "sparse"])]
    text: Option<String>,
    /// Where to start, in bytes; what the file has elsewhere stays
    #[arg(long, value_name = "N")]
    offset: Option<u64>,
    /// Leave out the first N bytes of FILE
    #[arg(long, value_name = "N", default_value_t = 0)]
    skip: u64,
    /// Go on with a write that was broken off: compare, and write from the first byte that differs.
    ///
    /// The length of a device says nothing of how far a write came, so what is there is read.
    #[arg(long, requires = "from")]
    resume: bool,
    /// Send no zeros where a whole message of them could be left out. Right only where the file has
    /// zeros there already, as devices of new chunks do
    #[arg(long)]
    sparse: bool,
    #[command(flatten)]
    remote: Remote,
}

/// A write that is resumed starts at a multiple of this many bytes: whole blocks of an inter device,
/// and whole sectors of anything else.
const RESUME_BLOCK: u64 = 8192;

impl Options {
    /// Writes.
    ///
    /// # Errors
    /// If there is no server, or no such file, or it does not take all of it, or FILE can't be
    /// read. One that breaks a write off says how to go on with it.
    pub fn run(self) -> Result<(), Error> {
        if self.resume && is_stdio(self.from.as_deref()) {
            return Err(Error::NothingToResume);
        }
        let mut client = self.remote.connect()?;
        let offset = self.offset.unwrap_or(0);
        let Some(text) = &self.text else {
            let have = if self.resume { self.have(&mut client, offset)? } else { 0 };
            let mut input = Input::open(self.from.as_deref(), self.skip.saturating_add(have))?;
            let length = input.length;
            return self.write(&mut client, offset.saturating_add(have), &mut input, length);
        };
        self.write(&mut client, offset, &mut text.as_bytes(), Some(text.len() as u64))
    }

    /// How many bytes of the input the file has already, from `offset` on.
    fn have(&self, client: &mut Client, offset: u64) -> Result<u64, Error> {
        let input = Input::open(self.from.as_deref(), self.skip)?;
        let progress = Progress::of(input.length);
        let mut compared = Compared { input, progress, same: 0, differs: false };
        let file = client.open(&self.path, OREAD)?;
        match client.read(&file, offset, u64::MAX, &mut compared) {
            Err(client::Error::Output(_)) if compared.differs => {}
            read => drop(read?),
        }
        client.close(file)?;
        let same = offset.saturating_add(compared.same);
        Ok((same - same % RESUME_BLOCK).saturating_sub(offset))
    }

    fn write(
        &self,
        client: &mut Client,
        start: u64,
        input: &mut dyn Read,
        length: Option<u64>,
    ) -> Result<(), Error> {
        let keeps = self.offset.is_some() || self.resume;
        let file = client.open(&self.path, if keeps { OWRITE } else { OWRITE | OTRUNC })?;
        let mut progress = Progress::of(length);
        let mut at = start;
        let mut done = |to| {
            at = to;
            progress.set(to - start);
        };
        let source = Source { input, sparse: self.sparse, done: &mut done };
        let wrote = client.write_from(&file, start, source);
        drop(progress);
        if let Err(error) = wrote {
            let error = Error::from(error);
            // A text is short enough to be written again.
            if self.text.is_some() {
                return Err(error);
            }
            let skip = self.skip + (at - self.offset.unwrap_or(0));
            return Err(error.resumed_by(&format!("--offset {at} --skip {skip}")));
        }
        client.close(file)?;
        Ok(())
    }
}

/// A [`Write`] that takes only what the input has, too.
struct Compared {
    input: Input,
    progress: Progress,
    same: u64,
    differs: bool,
}

impl Write for Compared {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let mut ours = vec![0; data.len()];
        let mut len = 0;
        while len < ours.len() {
            match self.input.read(&mut ours[len..]) {
                Ok(0) => break,
                Ok(read) => len += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let same = data.iter().zip(&ours[..len]).take_while(|(a, b)| a == b).count();
        self.same += same as u64;
        self.progress.set(self.same);
        if same < data.len() {
            self.differs = true;
            return Err(io::Error::other("it differs"));
        }
        Ok(same)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
