//! `dsfs zeros`: chunks, the files that devices are made of.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use super::Error;
use super::local::failed;

/// Make files of zeros, for devices to be made of.
///
/// As lab 15's zeros, but all of the files at once, and none that is there already is touched. Their
/// room on the disk is taken at once, so that a write to a device never finds it full.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dsfs zeros 64M /tmp/disks/a /tmp/disks/b   two chunks of 64 MiB
  dsfs zeros -v 3 8K /tmp/chunk3             a chunk of bytes 3, as lab 15 has them
  dsfs zeros --sparse 1T /tmp/big            a large one that takes no room yet")]
pub struct Options {
    /// The length of each, in bytes; K, M, G and T are powers of 1024
    #[arg(value_parser = size)]
    size: u64,
    /// The files; none may exist
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// The value of every byte
    #[arg(short, long, value_name = "N", default_value_t = 0)]
    value: u8,
    /// Take no room on the disk until something is written
    #[arg(long, conflicts_with = "value")]
    sparse: bool,
}

/// The bytes that are written at one time.
const PIECE: usize = 1 << 20;

/// The longest file: what Linux can count.
const MAX_SIZE: u64 = i64::MAX as u64;

/// A number of bytes, as `512`, `64M` or `1T`.
fn size(text: &str) -> Result<u64, String> {
    const SUFFIXES: [(char, u32); 4] = [('K', 10), ('M', 20), ('G', 30), ('T', 40)];
    let suffix = SUFFIXES.iter().find(|(suffix, _)| text.to_ascii_uppercase().ends_with(*suffix));
    let (digits, shift) = match suffix {
        Some((_, shift)) => (&text[..text.len() - 1], *shift),
        None => (text, 0),
    };
    let bad = || "a number of bytes, as in 512, 8K or 64M; K, M, G and T are powers of 1024";
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(bad().into());
    }
    let bytes = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
    bytes.filter(|&bytes| bytes <= MAX_SIZE).ok_or_else(|| format!("at most {MAX_SIZE} bytes"))
}

impl Options {
    /// Makes them.
    ///
    /// # Errors
    /// If one is there already, or can't be made: those before it are there then, whole, and it is
    /// not.
    pub fn run(self) -> Result<(), Error> {
        self.files.iter().try_for_each(|path| self.make(path))
    }

    fn make(&self, path: &Path) -> Result<(), Error> {
        let mut file = File::create_new(path).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Error::Exists(path.to_path_buf()),
            _ => failed(path)(error),
        })?;
        self.fill(&mut file).map_err(|error| {
            // A part of a chunk would be taken for one.
            let _ = fs::remove_file(path);
            failed(path)(error)
        })
    }

    fn fill(&self, file: &mut File) -> io::Result<()> {
        if self.sparse || self.size == 0 {
            return file.set_len(self.size);
        }
        if self.value == 0 {
            match fallocate(&*file, FallocateFlags::empty(), 0, self.size) {
                // Not every file system can.
                Err(Errno::OPNOTSUPP) => {}
                done => return Ok(done?),
            }
        }
        let piece = vec![self.value; PIECE];
        let mut left = self.size;
        while left > 0 {
            let part = left.min(PIECE as u64);
            file.write_all(&piece[..part as usize])?;
            left -= part;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_bytes_or_powers_of_1024() {
        let good = [("0", 0), ("512", 512), ("8K", 8192), ("3m", 3 << 20), ("2T", 2 << 40)];
        for (text, bytes) in good {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "K", "-1", "+1", "1.5G", "8KiB", "1 K", "9223372036854775808", "99999999T"]
        {
            assert!(size(text).is_err(), "{text}");
        }
        assert_eq!(size("9223372036854775807"), Ok(MAX_SIZE));
    }
}
