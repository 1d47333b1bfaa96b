//! One line of a namespace(6) file: its words -> an operation, and an operation -> its words.

use std::fmt;

use super::file::Reason;
use super::path;
use crate::dial::Addr;

/// Where a new member goes in the union at a mount point (bind(1)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// It replaces what was there.
    #[default]
    Replace,
    /// `-b`: before all that was there.
    Before,
    /// `-a`: after all that was there.
    After,
}

/// The options of `bind` and `mount`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// `-a`, `-b` or neither.
    pub place: Place,
    /// `-c`: new files may be made there.
    pub create: bool,
    /// `-i`: if it fails, go on.
    pub ignore: bool,
}

/// One operation. Paths are as written, variables replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// `bind [-abci] new old`: `new` (a path or a sharp name) is seen at the path `old` from now
    /// on.
    Bind {
        /// Its options.
        flags: Flags,
        /// What is to be seen.
        new: String,
        /// Where.
        old: String,
    },
    /// `mount [-abciA] [net!]machine[!svc] dir [spec]`: a server's tree is seen at `old`.
    Mount {
        /// Its options.
        flags: Flags,
        /// `-A`: no authentication.
        authless: bool,
        /// The server.
        dial: Addr,
        /// Where.
        old: String,
        /// The attach name; empty if there is none.
        spec: String,
    },
    /// `unmount [-i] [new] old`: undoes `bind` or `mount` of `new` at `old`, or all of them.
    Unmount {
        /// `-i`: if it fails, go on.
        ignore: bool,
        /// A path, a sharp name or a dial string.
        new: Option<String>,
        /// Where.
        old: String,
    },
    /// `. file`: the lines of that file.
    Include(String),
    /// `cd dir`: relative names of the lines that follow start here.
    Cd(String),
}

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its number in the file, from 1.
    pub number: usize,
    /// What it does.
    pub op: Op,
}

/// What only a kernel could do, or would undo what the file is read for.
const SENSELESS: [&str; 5] = ["fork", "new", "nodev", "import", "clear"];

impl Op {
    /// The operation `name` with these words after it.
    ///
    /// # Errors
    /// If there is no such operation, or the words are not its own.
    pub(super) fn from_words(name: &str, words: &[String]) -> Result<Op, Reason> {
        match name {
            "bind" => bind(words),
            "mount" => mount(words),
            "unmount" => unmount(words),
            "." => match words {
                [file] if !file.is_empty() => Ok(Op::Include(file.clone())),
                _ => Err(Reason::Usage(". file")),
            },
            "cd" => match words {
                [dir] => Ok(Op::Cd(mount_point(dir)?)),
                _ => Err(Reason::Usage("cd dir")),
            },
            _ => Err(match SENSELESS.iter().find(|&&senseless| senseless == name) {
                Some(senseless) => Reason::Senseless(senseless),
                None => Reason::UnknownOperation(name.to_owned()),
            }),
        }
    }
}

fn bind(words: &[String]) -> Result<Op, Reason> {
    let (options, words) = options("bind", "abci", words)?;
    let [new, old] = words else { return Err(Reason::Usage("bind [-abci] new old")) };
    Ok(Op::Bind { flags: options.flags, new: source(new)?, old: mount_point(old)? })
}

fn mount(words: &[String]) -> Result<Op, Reason> {
    const USAGE: Reason = Reason::Usage("mount [-abciA] [net!]machine[!svc] dir [spec]");
    let (Options { flags, authless }, words) = options("mount", "abciA", words)?;
    let (server, old, spec) = match words {
        [server, old] => (server, old, ""),
        [server, old, spec] => (server, old, spec.as_str()),
        _ => return Err(USAGE),
    };
    let dial = Addr::to_dial(server).map_err(Reason::Dial)?;
    Ok(Op::Mount { flags, authless, dial, old: mount_point(old)?, spec: spec.to_owned() })
}

fn unmount(words: &[String]) -> Result<Op, Reason> {
    let (options, words) = options("unmount", "i", words)?;
    let (new, old) = match words {
        [old] => (None, old),
        [new, old] => (Some(source(new)?), old),
        _ => return Err(Reason::Usage("unmount [-i] [new] old")),
    };
    Ok(Op::Unmount { ignore: options.flags.ignore, new, old: mount_point(old)? })
}

/// A path or a sharp name.
fn source(name: &str) -> Result<String, Reason> {
    match path::sharp(name) {
        Some(Err(_)) => Err(Reason::NoDevice(name.to_owned())),
        _ if name.is_empty() => Err(Reason::EmptyName),
        _ => Ok(name.to_owned()),
    }
}

/// A path.
fn mount_point(name: &str) -> Result<String, Reason> {
    match name.chars().next() {
        Some('#') => Err(Reason::SharpMountPoint(name.to_owned())),
        None => Err(Reason::EmptyName),
        Some(_) => Ok(name.to_owned()),
    }
}

#[derive(Default)]
struct Options {
    flags: Flags,
    authless: bool,
}

/// The options of `op`, each a letter of `known`, and the words after them; `--` ends them
/// (arg(2)).
fn options<'a>(
    op: &'static str,
    known: &str,
    mut words: &'a [String],
) -> Result<(Options, &'a [String]), Reason> {
    let mut options = Options::default();
    while let [first, rest @ ..] = words
        && let Some(letters) = first.strip_prefix('-').filter(|letters| !letters.is_empty())
    {
        words = rest;
        if letters == "-" {
            break;
        }
        for letter in letters.chars() {
            if !known.contains(letter) {
                return Err(Reason::UnknownOption(op, letter));
            }
            options.set(letter)?;
        }
    }
    Ok((options, words))
}

impl Options {
    fn set(&mut self, letter: char) -> Result<(), Reason> {
        match letter {
            'a' => self.place(Place::After)?,
            'b' => self.place(Place::Before)?,
            'c' => self.flags.create = true,
            'i' => self.flags.ignore = true,
            _ => self.authless = true,
        }
        Ok(())
    }

    fn place(&mut self, place: Place) -> Result<(), Reason> {
        if self.flags.place != Place::Replace && self.flags.place != place {
            return Err(Reason::BothPlaces);
        }
        self.flags.place = place;
        Ok(())
    }
}

/// A word, quoted where it would not read back as itself.
struct Word<'a>(&'a str);

impl fmt::Display for Word<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Word(word) = *self;
        if !matches!(word, "" | "#") && !word.contains([' ', '\'', '$']) {
            return f.write_str(word);
        }
        write!(f, "'{}'", word.replace('\'', "''"))
    }
}

/// The options that are set, and `--` where the word after them could be taken for more.
fn write_options(
    f: &mut fmt::Formatter<'_>,
    flags: &Flags,
    authless: bool,
    next: &str,
) -> fmt::Result {
    let set = [
        ("b", flags.place == Place::Before),
        ("a", flags.place == Place::After),
        ("c", flags.create),
        ("i", flags.ignore),
        ("A", authless),
    ];
    let letters: String = set.iter().filter(|(_, set)| *set).map(|&(letter, _)| letter).collect();
    if !letters.is_empty() {
        write!(f, " -{letters}")?;
    }
    if next.starts_with('-') { f.write_str(" --") } else { Ok(()) }
}

/// The line, without a newline; it reads back as the same operation.
impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Op::Bind { flags, new, old } => {
                f.write_str("bind")?;
                write_options(f, flags, false, new)?;
                write!(f, " {} {}", Word(new), Word(old))
            }
            Op::Mount { flags, authless, dial, old, spec } => {
                f.write_str("mount")?;
                let dial = dial.to_string();
                write_options(f, flags, *authless, &dial)?;
                write!(f, " {} {}", Word(&dial), Word(old))?;
                if spec.is_empty() { Ok(()) } else { write!(f, " {}", Word(spec)) }
            }
            Op::Unmount { ignore, new, old } => {
                let flags = Flags { ignore: *ignore, ..Flags::default() };
                f.write_str("unmount")?;
                write_options(f, &flags, false, new.as_ref().unwrap_or(old))?;
                match new {
                    Some(new) => write!(f, " {} {}", Word(new), Word(old)),
                    None => write!(f, " {}", Word(old)),
                }
            }
            Op::Include(file) => write!(f, ". {}", Word(file)),
            Op::Cd(dir) => write!(f, "cd {}", Word(dir)),
        }
    }
}
