//! The two dialects, and in one table everything that differs between them.
//!
//! `devds` is Inferno's ds(3) , `plan9` is fs(3) of today's Plan 9; docs/compatibility.md has
//! what each answers. Who needs to know which dialect is spoken asks [`Dialect::rules`] for
//! the one fact that matters to it, and never compares dialects itself: a third dialect is then a
//! third table. The order of the checks of a message is the one thing that is not data; it is the
//! text of `devds.rs` and `plan9.rs` beside this file.

use std::fmt;
use std::str::FromStr;

use styx::enames;

/// Whose control messages are spoken, with whose limits and whose errors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// ds(3), Inferno's.
    #[default]
    Devds,
    /// fs(3), Plan 9's, as in 9front.
    Plan9,
}

/// What the first word of a message asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// A device whose inner files all hold the same.
    Mirror,
    /// A device that is its inner files one after the other.
    Cat,
    /// A device that deals its blocks out to its inner files in turn.
    Inter,
    /// A device that is a range of its inner file.
    Part,
    /// A device that is its inner file decrypted.
    Crypt,
    /// Removal of devices by name.
    Del,
    /// Removal of all devices.
    Clear,
    /// Defaults for the messages that follow.
    Disk,
}

/// How long an interleaving is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InterLength {
    /// Each inner length rounded down to whole blocks, then the sum.
    Sum,
    /// The least inner length rounded down to whole blocks, times the number of inner files. A
    /// least length of 0 is passed over, as the original does (D10 leaves it so).
    LeastTimesCount,
}

/// What becomes of a partition that starts past the end of its inner file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PastEnd {
    /// It starts at the end and is empty.
    Clamped,
    /// It is refused: `partition starts after device end`.
    Refused,
}

/// When a name that is taken is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakenCheck {
    /// Before anything else is looked at: [`parse`](super::parse) does it.
    First,
    /// When the inner files are open, so that a missing file is told first: not
    /// [`parse`](super::parse)'s.
    AfterOpening,
}

/// How the name of an inner file that does not open stands in the error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// `'PREFIX' TEXT`; PREFIX of 42 bytes and more is shown as `.../` and its last element.
    NameFirst,
    /// `TEXT: 'PREFIX'`; a long PREFIX is shown as `...` and its last 32 bytes.
    NameLast,
}

/// How a directory may be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenDir {
    /// For reading, with no other bit; anything else is `permission denied`.
    OnlyRead,
    /// For reading, on exec closed or not; a mode that is none, and execution, have their own errors.
    Checked,
}

/// What differs between the dialects.
#[derive(Debug)]
pub struct Rules {
    /// The dialect's name on the command line.
    pub name: &'static str,
    /// The directory of `#k` that holds `ctl`, is there from the start and never goes; a name
    /// without a directory is in it.
    pub dir: &'static str,
    /// The commands, by their first word.
    pub verbs: &'static [(&'static str, Verb)],
    /// Directories at most, `dir` counted.
    pub max_dirs: usize,
    /// Devices in one directory at most.
    pub max_devices: usize,
    /// Inner files of one device at most.
    pub max_inner: usize,
    /// The error for more of them.
    pub many_inner: &'static str,
    /// Whether an empty message, a comment (`#`) and a `fsdev:` line are taken and ignored.
    pub ignores: bool,
    /// The error for a saved configuration that starts neither with `fsdev:` nor with a message.
    pub no_signature: Option<&'static str>,
    /// When a name that is taken is refused.
    pub taken: TakenCheck,
    /// How an inner file that does not open is told.
    pub open_error: OpenError,
    /// The length of an interleaving.
    pub inter_length: InterLength,
    /// A partition past the end.
    pub past_end: PastEnd,
    /// A transfer that a fid is not open for.
    pub bad_use: &'static str,
    /// A wstat whose entry is malformed.
    pub bad_stat: &'static str,
    /// How a directory may be opened.
    pub open_dir: OpenDir,
    /// Whether `..` of a file leads to its directory, or nowhere.
    pub files_have_parents: bool,
    /// The permissions of the files in the tree of one level (D14).
    pub flat_mode: u32,
    /// What differs in the reads and writes of devices.
    pub transfers: crate::device::Rules,
}

/// Slots in a directory of fs(3): its qid.path is the directory's number and, in the 16 bits below,
/// 3 + the slot.
const PLAN9_SLOTS: usize = (1 << 16) - 3;

const DEVDS: Rules = Rules {
    name: "devds",
    dir: "ds",
    verbs: &[
        ("mirror", Verb::Mirror),
        ("cat", Verb::Cat),
        ("inter", Verb::Inter),
        ("part", Verb::Part),
    ],
    max_dirs: 1,
    max_devices: 64,
    max_inner: 8,
    many_inner: enames::EMANYDS,
    ignores: false,
    no_signature: Some(enames::ECONFIG),
    taken: TakenCheck::First,
    open_error: OpenError::NameFirst,
    inter_length: InterLength::Sum,
    past_end: PastEnd::Clamped,
    bad_use: enames::EBADUSE,
    bad_stat: enames::EBADSTAT,
    open_dir: OpenDir::OnlyRead,
    files_have_parents: false,
    flat_mode: 0o666,
    transfers: crate::device::Rules {
        cat_short: enames::EDSWRITE,
        part_short_write_fails: false,
        mirror_writes_all: false,
        empty_message: Some(enames::EEMPTYCTL),
        gone: enames::EGONE,
    },
};

const PLAN9: Rules = Rules {
    name: "plan9",
    dir: "fs",
    verbs: &[
        ("mirror", Verb::Mirror),
        ("cat", Verb::Cat),
        ("inter", Verb::Inter),
        ("part", Verb::Part),
        ("crypt", Verb::Crypt),
        ("del", Verb::Del),
        ("clear", Verb::Clear),
        ("disk", Verb::Disk),
    ],
    max_dirs: 128,
    max_devices: PLAN9_SLOTS,
    max_inner: 32,
    many_inner: enames::EMANYFS,
    ignores: true,
    no_signature: None,
    taken: TakenCheck::AfterOpening,
    open_error: OpenError::NameLast,
    inter_length: InterLength::LeastTimesCount,
    past_end: PastEnd::Refused,
    bad_use: enames::EBADFD,
    bad_stat: enames::EPERM,
    open_dir: OpenDir::Checked,
    files_have_parents: true,
    flat_mode: 0o664,
    transfers: crate::device::Rules {
        cat_short: enames::EIO,
        part_short_write_fails: true,
        mirror_writes_all: true,
        empty_message: None,
        gone: enames::EGONE,
    },
};

impl Dialect {
    /// All dialects there are.
    pub const ALL: [Dialect; 2] = [Dialect::Devds, Dialect::Plan9];

    /// What holds in this dialect.
    pub const fn rules(self) -> &'static Rules {
        match self {
            Dialect::Devds => &DEVDS,
            Dialect::Plan9 => &PLAN9,
        }
    }
}

impl Rules {
    /// What a word commands, if it is one of the commands, exactly.
    pub(super) fn verb(&self, word: &[u8]) -> Option<Verb> {
        self.verbs.iter().find(|(name, _)| name.as_bytes() == word).map(|&(_, verb)| verb)
    }

    /// Whether this is the name of the ctl file, which is taken from the start (D6).
    pub fn is_ctl(&self, dir: &str, name: &str) -> bool {
        dir == self.dir && name == "ctl"
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.rules().name)
    }
}

impl FromStr for Dialect {
    type Err = UnknownDialect;

    fn from_str(name: &str) -> Result<Self, UnknownDialect> {
        Self::ALL.into_iter().find(|dialect| dialect.rules().name == name).ok_or(UnknownDialect)
    }
}

/// The name of no dialect.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("unknown dialect: devds and plan9 are the two there are")]
pub struct UnknownDialect;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dialects_have_names() {
        for dialect in Dialect::ALL {
            assert_eq!(dialect.to_string().parse(), Ok(dialect));
        }
        assert_eq!("Devds".parse::<Dialect>(), Err(UnknownDialect));
    }
}
