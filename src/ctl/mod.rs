//! Control messages: one message to one command, in both dialects, and the configuration back to
//! text.
//!
//! Pure: what a message needs to know of the devices there are, it asks of [`Devices`]; nothing
//! is opened here, and nothing changes. [`parse`] makes the checks of a message up to, and without,
//! the opening of its inner files. The checks after that, and the lengths, are made by who opens
//! them, with what [`Rules`] says.
//!
//! A message is hostile until it is a [`Command`]: it may hold any bytes, a million words, or a
//! word of a million bytes.

mod check;
mod control;
mod devds;
mod dialect;
mod find;
mod key;
mod keys;
mod make;
mod order;
mod plan9;
mod replace;
pub mod saved;
mod text;

use styx::enames;
use styx::words::{self, Words};
use zeroize::Zeroize;

use crate::limits::{MESSAGE as MAX_MESSAGE, NAME as MAX_NAME};

pub use control::{Control, Entry};
pub use dialect::{
    Dialect, InterLength, OpenDir, OpenError, PastEnd, Rules, TakenCheck, UnknownDialect, Verb,
};
pub use find::{Finder, SaveLog};
pub use key::Key;
pub use keys::Keys;
pub use replace::Replacement;
pub use text::line;

/// Words that are looked at. No command has more than 34 (`mirror`, a name, 32 files), and the
/// error that shows a message has room for less than 117 bytes, hence for no more than 58 words:
/// those that follow can change no answer.
const MAX_WORDS: usize = 64;

/// What a control message asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// Nothing: a comment or an empty message of fs(3). It succeeds.
    Nothing,
    /// A new device.
    Configure(Config),
    /// The removal of the devices that match, of which there is one at least unless the pattern
    /// names every directory.
    Delete(Pattern),
    /// The removal of all devices.
    Clear,
    /// New defaults in place of the old ones.
    Disk(DiskDefaults),
}

/// A device as a message describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Its directory: [`Rules::dir`], or another in fs(3).
    pub dir: String,
    /// Its name in the directory.
    pub name: String,
    /// What it makes of its inner files.
    pub kind: Kind,
    /// The names of its inner files, as typed, in order; devds takes a device without any.
    pub inner: Vec<String>,
    /// The message's words as typed, which is how ds(3) prints it. Empty in fs(3), whose text is
    /// made from the other fields and must not have the key.
    pub words: Vec<String>,
}

/// What a device makes of its inner files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The same bytes in all of them.
    Mirror,
    /// One after the other.
    Cat,
    /// Blocks in turn.
    Inter,
    /// A range of the one there is, in bytes. As parsed, each is at most 2^63-1 and nothing is known
    /// of the file; whoever has opened it puts the range here that is left of it, which is what fs(3)
    /// prints.
    Part {
        /// Where the range starts.
        start: u64,
        /// How long it is.
        length: u64,
    },
    /// Decrypted, with the key; `None` only in a saved configuration, whose keys are kept elsewhere.
    Crypt {
        /// The key.
        key: Option<Key>,
    },
}

/// The names that `del` removes. `None` stands for `*`: any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// The directory.
    pub dir: Option<String>,
    /// The name in it.
    pub name: Option<String>,
}

impl Pattern {
    /// Whether a device of this name is meant.
    pub fn matches(&self, dir: &str, name: &str) -> bool {
        let meant = |pattern: &Option<String>, text| pattern.as_deref().is_none_or(|p| p == text);
        meant(&self.dir, dir) && meant(&self.name, name)
    }
}

/// What `disk` sets for the messages that follow, from all writers (fs(3)). The default value is what
/// holds before any `disk`, and again after the close of any open ctl fid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskDefaults {
    /// The directory of a name without one. Not checked before it is used, so any bytes.
    pub dir: Vec<u8>,
    /// The bytes of one unit of `part`'s numbers, at most 2^63-1.
    pub unit: u64,
    /// The inner file of a `part` that names none. Not checked before it is used, so any bytes.
    pub source: Option<Vec<u8>>,
}

impl Default for DiskDefaults {
    fn default() -> Self {
        let dir = Dialect::Plan9.rules().dir.into();
        DiskDefaults { dir, unit: 1, source: None }
    }
}

/// What the checks of a message must know of the devices there are. A device that was deleted and is
/// still listed counts in all three.
pub trait Devices {
    /// Whether there is a device of this name. The name of the ctl file is not asked for.
    fn is_taken(&self, dir: &str, name: &str) -> bool;
    /// Whether `dir` has no slot left ([`Rules::max_devices`]).
    fn is_full(&self, dir: &str) -> bool;
    /// Whether a device matches.
    fn any(&self, pattern: &Pattern) -> bool;
}

/// The command that one Twrite to ctl asks for.
///
/// All checks are made that come before the opening of the inner files, in the order of
/// docs/compatibility.md (devds 0 to 7, plan9 1 to 8). What is left to the caller is the opening of
/// [`Config::inner`], left to right, each for reading and writing; then, in fs(3), that the name is
/// taken ([`Rules::taken`], with [`Rules::is_ctl`]) and that there is room for its directory
/// ([`Rules::max_dirs`]); then the lengths.
///
/// # Errors
/// The text for the Rerror, at most 128 bytes.
pub fn parse(
    dialect: Dialect,
    message: &[u8],
    devices: &impl Devices,
    disk: &DiskDefaults,
) -> Result<Command, String> {
    match dialect {
        Dialect::Devds => devds::parse(message, devices),
        Dialect::Plan9 => plan9::parse(message, devices, disk, None),
    }
}

/// [`parse`] for one line of a saved configuration: what [`line()`] prints is taken too, a `crypt` without
/// its key. That is then the one in `keys`; where there is none, it is [`Kind::Crypt`] without one.
///
/// # Errors
/// As [`parse`].
pub fn parse_saved(
    dialect: Dialect,
    message: &[u8],
    devices: &impl Devices,
    disk: &DiskDefaults,
    keys: &Keys,
) -> Result<Command, String> {
    match dialect {
        Dialect::Devds => devds::parse(message, devices),
        Dialect::Plan9 => plan9::parse(message, devices, disk, Some(keys)),
    }
}

/// Whether a name may be that of a file: what Inferno's create checks before anything else.
///
/// # Errors
/// The text for the Rerror.
pub fn check_name(name: &str) -> Result<(), String> {
    if matches!(name, "." | "..") {
        return Err(enames::EFILENAME.into());
    }
    check::characters(name.as_bytes(), false).map(|_| ())
}

/// The words of a message, wiped when dropped: one of them may be a key.
struct Secret(Words);

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.bytes_mut().zeroize();
    }
}

/// The words of a message: the checks of its length, of NUL (D8), and that there are any.
fn words_of(message: &[u8]) -> Result<Secret, String> {
    if message.len() > MAX_MESSAGE {
        return Err(enames::ECOUNT.into());
    }
    if message.contains(&0) {
        return Err(enames::EBADARG.into());
    }
    let message = message.strip_suffix(b"\n").unwrap_or(message);
    let words = Secret(words::split(message, MAX_WORDS));
    if words.0.is_empty() { Err(enames::EEMPTYCTL.into()) } else { Ok(words) }
}
