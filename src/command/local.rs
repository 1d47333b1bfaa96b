//! The files of this machine that `read` and `write` copy to and from.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::Error;
use crate::client::is_zero;

/// The bytes of a hole, or of several: a block of the usual file systems.
const BLOCK: usize = 4096;

/// The name of standard input and of standard output.
pub(super) const STDIO: &str = "-";

/// Whether `name` means standard input or output, as no name at all does.
pub(super) fn is_stdio(name: Option<&Path>) -> bool {
    name.is_none_or(|name| name == STDIO)
}

/// An error of the file `path`.
pub(super) fn failed(path: &Path) -> impl Fn(io::Error) -> Error {
    move |source| Error::File { path: path.to_path_buf(), source }
}

/// The same, where only an [`io::Error`] will do.
fn named(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// A file that is read from some byte on.
pub(super) struct Input {
    path: Option<Box<Path>>,
    from: Box<dyn Read>,
    /// How many bytes there are from there on, where the system says it.
    pub length: Option<u64>,
}

impl Input {
    /// The file of this name, or standard input, without the first `skip` bytes.
    pub fn open(name: Option<&Path>, skip: u64) -> Result<Self, Error> {
        match name.filter(|_| !is_stdio(name)) {
            Some(path) => Self::file(path, skip).map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => failed(path)(no_file(&error)),
                _ => failed(path)(error),
            }),
            None => Self::stdin(skip).map_err(Error::Input),
        }
    }

    fn file(path: &Path, skip: u64) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let meta = file.metadata()?;
        if meta.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let mut length = None;
        if meta.is_file() {
            file.seek(SeekFrom::Start(skip))?;
            length = Some(meta.len().checked_sub(skip).ok_or_else(|| too_short(meta.len()))?);
        } else {
            pass_over(&mut file, skip)?;
        }
        Ok(Input { path: Some(path.into()), from: Box::new(file), length })
    }

    fn stdin(skip: u64) -> io::Result<Self> {
        let mut stdin = io::stdin().lock();
        pass_over(&mut stdin, skip)?;
        Ok(Input { path: None, from: Box::new(stdin), length: None })
    }
}

fn no_file(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{error}; to write a text itself, give it with --text"))
}

fn pass_over(input: &mut dyn Read, skip: u64) -> io::Result<()> {
    let passed = io::copy(&mut input.take(skip), &mut io::sink())?;
    if passed < skip { Err(too_short(passed)) } else { Ok(()) }
}

fn too_short(length: u64) -> io::Error {
    let why = format!("--skip goes past its end: it has {length} bytes");
    io::Error::new(io::ErrorKind::UnexpectedEof, why)
}

impl Read for Input {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let path = self.path.as_deref();
        self.from.read(room).map_err(|error| match path {
            Some(path) if error.kind() != io::ErrorKind::Interrupted => named(path, error),
            _ => error,
        })
    }
}

/// A file that is written in order, from its end on. Blocks of zeros are left out of a regular one:
/// they are holes, which read as zeros and take no room on the disk.
pub(super) struct Output {
    path: Box<Path>,
    file: File,
    sparse: bool,
    at: u64,
}

impl Output {
    /// Opens or makes the file, and cuts it to nothing unless it is to be `continued`.
    pub fn open(path: &Path, continued: bool) -> Result<Self, Error> {
        let opened = || -> io::Result<Self> {
            let mut options = OpenOptions::new();
            let file = options.write(true).create(true).truncate(!continued).open(path)?;
            let meta = file.metadata()?;
            if continued && !meta.is_file() {
                let why = "only a regular file has an end to go on from";
                return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
            }
            let at = if continued { meta.len() } else { 0 };
            Ok(Output { path: path.into(), file, sparse: meta.is_file(), at })
        };
        opened().map_err(failed(path))
    }

    /// The byte that is written next.
    pub fn at(&self) -> u64 {
        self.at
    }

    fn write_run(&mut self, data: &[u8]) -> io::Result<usize> {
        if !self.sparse {
            return self.file.write(data);
        }
        let first = (BLOCK - (self.at % BLOCK as u64) as usize).min(data.len());
        let zero = is_zero(&data[..first]);
        let same = data[first..].chunks(BLOCK).take_while(|block| is_zero(block) == zero);
        let run = first + same.map(<[u8]>::len).sum::<usize>();
        if !zero {
            self.file.write_all_at(&data[..run], self.at)?;
        }
        Ok(run)
    }
}

impl Write for Output {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let wrote = self.write_run(data).map_err(|error| named(&self.path, error))?;
        self.at += wrote as u64;
        Ok(wrote)
    }

    /// A hole at the end belongs to the file, too.
    fn flush(&mut self) -> io::Result<()> {
        if !self.sparse {
            return Ok(());
        }
        self.file.set_len(self.at).map_err(|error| named(&self.path, error))
    }
}
