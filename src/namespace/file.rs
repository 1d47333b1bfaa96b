//! The grammar of namespace(6) files: text -> lines. It must never run them, nor read a file.
//!
//! Words are separated by blanks; `'` starts and ends quoting, `''` inside is a quote, and `$name`
//! outside it is a variable, its name ending at a blank, `/`, `.`, `$` or `'`. A line that starts
//! with `#`, and all that follows a word that is only `#`, is a comment. What only a kernel could
//! do (`fork`, `import`, keys) is refused by name.

use std::cell::Cell;

use nom::branch::alt;
use nom::bytes::complete::{is_not, tag, take_while};
use nom::character::complete::{char, satisfy};
use nom::combinator::{eof, map, not, opt, value};
use nom::error::{ErrorKind, ParseError};
use nom::multi::{fold_many1, many0};
use nom::sequence::preceded;
use nom::{Finish, IResult, Parser};
use thiserror::Error;

use crate::dial::BadDial;

use super::line::{Line, Op};
use super::table::{
    MAX_ELEMENT_BYTES, MAX_ELEMENTS, MAX_INCLUDE_DEPTH, MAX_INCLUDES, MAX_MEMBERS, MAX_PATH_BYTES,
    MAX_POINTS, MAX_REMOTES, MAX_UNION,
};

/// The longest file, in bytes. Inferno's own is a tenth of that; its lines, as parsed, may
/// be many times as long, and stay in memory while the files it includes are run.
pub const MAX_FILE_BYTES: usize = 64 << 10;

/// The longest line in bytes, as it stands and with its variables replaced: two of the longest
/// paths, and words around them.
pub const MAX_LINE_BYTES: usize = 3 << 10;

/// The most lines that do something, in one file and in all that one run reads: each may grow to
/// [`MAX_LINE_BYTES`], so that a file is at most 3 MiB in memory.
pub const MAX_LINES: usize = 1024;

/// What is wrong with a namespace(6) file, and where.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{file}:{line}: {reason}")]
pub struct FileError {
    /// The file's name.
    pub file: String,
    /// The line's number, from 1.
    pub line: usize,
    /// What is wrong.
    pub reason: Reason,
}

/// What is wrong with a line.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[expect(missing_docs, reason = "each says itself what it is")]
pub enum Reason {
    #[error("the file has more than {MAX_FILE_BYTES} bytes")]
    FileTooLong,
    #[error("the line has more than {MAX_LINE_BYTES} bytes, its variables counted")]
    LineTooLong,
    #[error("more than {MAX_LINES} lines")]
    TooManyLines,
    #[error("not UTF-8")]
    NotUtf8,
    #[error("not the words of a line")]
    Words,
    #[error("a quote is not closed on its line")]
    OpenQuote,
    #[error("`$` without a name (quote it if it is meant)")]
    NamelessVariable,
    #[error("the variable `{0}` is not set")]
    Unset(String),
    #[error("control character {0:?} in a word")]
    Control(char),
    #[error("`{0}` is not an operation of namespace(6)")]
    UnknownOperation(String),
    #[error("`{0}` makes no sense for a name space that is made once, of our own trees and mounts")]
    Senseless(&'static str),
    #[error("`{0}` has no option -{1} here")]
    UnknownOption(&'static str, char),
    #[error("-a and -b exclude each other")]
    BothPlaces,
    #[error("usage: {0}")]
    Usage(&'static str),
    #[error("an empty name")]
    EmptyName,
    #[error("`{0}` is no device: there are #U and #k, and they take no spec")]
    NoDevice(String),
    #[error("`{0}` can't be mounted upon: only paths can")]
    SharpMountPoint(String),
    #[error(transparent)]
    Dial(BadDial),
    #[error(
        "a path of more than {MAX_PATH_BYTES} bytes, {MAX_ELEMENTS} elements, or \
         {MAX_ELEMENT_BYTES} bytes in one"
    )]
    PathTooLong,
    #[error("more than {MAX_INCLUDES} files included")]
    TooManyIncludes,
    #[error("more than {MAX_INCLUDE_DEPTH} files that include each other")]
    IncludedTooDeep,
    #[error("can't include `{0}`: {1}")]
    Include(String, String),
    #[error("more than {MAX_POINTS} mount points")]
    TooManyPoints,
    #[error("more than {MAX_UNION} members in a union")]
    UnionTooLarge,
    #[error("more than {MAX_MEMBERS} members in all unions")]
    TooManyMembers,
    #[error("more than {MAX_REMOTES} servers")]
    TooManyRemotes,
    #[error("nothing is bound or mounted above `{0}`")]
    NothingThere(String),
    #[error("nothing is bound or mounted on `{0}`")]
    NotMounted(String),
    #[error("`{0}` is not in the union on `{1}`")]
    NotInUnion(String, String),
}

impl ParseError<&str> for Reason {
    fn from_error_kind(_: &str, _: ErrorKind) -> Self {
        Reason::Words
    }
    fn append(_: &str, _: ErrorKind, other: Self) -> Self {
        other
    }
}

type Parsed<'a, T> = IResult<&'a str, T, Reason>;

/// Gives a variable's value, if it is set.
pub type Variable<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The lines of the file `file` (only used in errors), whose bytes are `text`. `variable` gives the
/// value of `$name`.
///
/// # Errors
/// The first line that is not namespace(6), or goes over a bound.
pub fn parse(file: &str, text: &[u8], variable: Variable<'_>) -> Result<Vec<Line>, FileError> {
    let at = |line, reason| FileError { file: file.to_owned(), line, reason };
    if text.len() > MAX_FILE_BYTES {
        return Err(at(1, Reason::FileTooLong));
    }
    let text = std::str::from_utf8(text).map_err(|error| {
        let before = &text[..error.valid_up_to()];
        at(1 + before.iter().filter(|&&byte| byte == b'\n').count(), Reason::NotUtf8)
    })?;
    let mut lines = Vec::new();
    for (number, line) in (1..).zip(text.split('\n')) {
        let words = words(line, variable).map_err(|reason| at(number, reason))?;
        let Some((name, words)) = words.split_first() else { continue };
        if lines.len() == MAX_LINES {
            return Err(at(number, Reason::TooManyLines));
        }
        let op = Op::from_words(name, words).map_err(|reason| at(number, reason))?;
        lines.push(Line { number, op });
    }
    Ok(lines)
}

/// What ends the part of a word that stands for itself.
const PLAIN_ENDS: &str = " \t\r'$";

/// What ends a variable's name (namespace(6)), and the quote.
const NAME_ENDS: &str = " \t\r/.$'";

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r')
}

/// The words of a line, comments left out and variables replaced.
fn words(line: &str, variable: Variable<'_>) -> Result<Vec<String>, Reason> {
    let blanks = || take_while::<_, _, Reason>(is_blank);
    let room = Cell::new(MAX_LINE_BYTES);
    if line.len() > room.get() {
        return Err(Reason::LineTooLong);
    }
    if (blanks(), char('#')).parse(line).is_ok() {
        return Ok(Vec::new());
    }
    let words = many0(preceded(blanks(), |input| word(input, variable, &room))).parse(line);
    let (_, words) = words.finish()?;
    let control = words.iter().flat_map(|word| word.chars()).find(|&c| c < ' ' || c == '\x7f');
    control.map_or(Ok(words), |c| Err(Reason::Control(c)))
}

/// A word: quoted parts, variables and the rest, up to a blank. Its bytes are taken from `room`.
fn word<'a>(input: &'a str, variable: Variable<'_>, room: &Cell<usize>) -> Parsed<'a, String> {
    let comment = (char('#'), alt((value((), satisfy(is_blank)), value((), eof))));
    let part = |input| {
        let replaced = |input| replaced(input, variable);
        let (rest, part) =
            alt((quoted, replaced, map(is_not(PLAIN_ENDS), str::to_owned))).parse(input)?;
        // A failure, not an error: a part that does not fit must not end the word before it.
        let left = room.get().checked_sub(part.len());
        room.set(left.ok_or(nom::Err::Failure(Reason::LineTooLong))?);
        Ok((rest, part))
    };
    let joined = |mut word: String, part: String| {
        word.push_str(&part);
        word
    };
    preceded(not(comment), fold_many1(part, String::new, joined)).parse(input)
}

/// `'...'`, where `''` is a quote.
fn quoted(input: &str) -> Parsed<'_, String> {
    let parts = many0(alt((value("'", tag("''")), is_not("'"))));
    let (rest, parts) = preceded(char('\''), parts).parse(input)?;
    let rest = rest.strip_prefix('\'').ok_or(nom::Err::Failure(Reason::OpenQuote))?;
    Ok((rest, parts.concat()))
}

/// `$name`, replaced by its value.
fn replaced<'a>(input: &'a str, variable: Variable<'_>) -> Parsed<'a, String> {
    let (rest, name) = preceded(char('$'), opt(is_not(NAME_ENDS))).parse(input)?;
    let name = name.ok_or(nom::Err::Failure(Reason::NamelessVariable))?;
    let unset = || nom::Err::Failure(Reason::Unset(name.to_owned()));
    Ok((rest, variable(name).ok_or_else(unset)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dial::Addr;
    use crate::namespace::{Flags, Place};
    use proptest::prelude::*;

    fn variable(name: &str) -> Option<String> {
        match name {
            "node" => Some("node1".into()),
            "blank" => Some("a 'b".into()),
            "empty" => Some(String::new()),
            "long" => Some("x".repeat(MAX_LINE_BYTES)),
            "bell" => Some("\x07".into()),
            _ => None,
        }
    }

    fn parsed(text: &str) -> Result<Vec<Line>, FileError> {
        parse("ns", text.as_bytes(), &variable)
    }

    fn reason(line: &str) -> Reason {
        parsed(line).expect_err(line).reason
    }

    fn printed(lines: &[Line]) -> String {
        lines.iter().map(|line| format!("{}\n", line.op)).collect()
    }

    #[test]
    fn every_operation_is_read_and_printed_short() {
        for (line, want) in [
            ("bind #U /  # the root", "bind #U /"),
            ("\tbind -a -cb '#U/it''s' /x\r", "usage"),
            ("bind -ac '#U/it''s' /x\r", "bind -ac '#U/it''s' /x"),
            ("bind -b -ci -- -x- /x", "bind -bci -- -x- /x"),
            ("bind a' b 'c '/d e'", "bind 'a b c' '/d e'"),
            ("bind $node/$node.$node'$node' /$blank", "bind 'node1/node1.node1$node' '/a ''b'"),
            ("mount -A $node /n/$node", "mount -A tcp!node1!6666 /n/node1"),
            ("mount -ac net!h!564 /n main/active", "mount -ac tcp!h!564 /n main/active"),
            ("mount /srv/boot /n ''", "mount unix!/srv/boot /n"),
            ("mount h /n '#'", "mount tcp!h!6666 /n '#'"),
            ("unmount /n", "unmount /n"),
            ("unmount -i #k/ds /n", "unmount -i #k/ds /n"),
            ("cd /a/b", "cd /a/b"),
            (". '/lib/name space'", ". '/lib/name space'"),
        ] {
            let got = parsed(line).map_or("usage".into(), |lines| printed(&lines));
            assert_eq!(got.trim_end(), want, "{line}");
        }
        let bind = Op::Bind {
            flags: Flags { place: Place::After, create: true, ignore: false },
            new: "#k/ds".into(),
            old: "/ds".into(),
        };
        let lines = parsed("# a comment\n\n  #another\nbind -ac #k/ds /ds\n# the end").unwrap();
        assert_eq!(lines, [Line { number: 4, op: bind }]);
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        for (line, want) in [
            ("fork", Reason::Senseless("fork")),
            ("new", Reason::Senseless("new")),
            ("nodev", Reason::Senseless("nodev")),
            ("clear", Reason::Senseless("clear")),
            ("import host /n", Reason::Senseless("import")),
            ("Bind a b", Reason::UnknownOperation("Bind".into())),
            ("mount -k key host /n", Reason::UnknownOption("mount", 'k')),
            ("mount -9 host /n", Reason::UnknownOption("mount", '9')),
            ("mount -C none host /n", Reason::UnknownOption("mount", 'C')),
            ("bind -A a b", Reason::UnknownOption("bind", 'A')),
            ("unmount -a b", Reason::UnknownOption("unmount", 'a')),
            ("bind -ab a b", Reason::BothPlaces),
            ("bind -b -a a b", Reason::BothPlaces),
            ("bind #U* /", Reason::NoDevice("#U*".into())),
            ("bind '#' /", Reason::NoDevice("#".into())),
            ("bind #c /dev", Reason::NoDevice("#c".into())),
            ("unmount #c /dev", Reason::NoDevice("#c".into())),
            ("bind a #U", Reason::SharpMountPoint("#U".into())),
            ("cd #U", Reason::SharpMountPoint("#U".into())),
            ("bind '' /", Reason::EmptyName),
            ("bind a $empty", Reason::EmptyName),
            ("mount il!h!s /n", Reason::Dial(Addr::to_dial("il!h!s").unwrap_err())),
            ("bind a $nope/b", Reason::Unset("nope".into())),
            ("bind a $", Reason::NamelessVariable),
            ("bind a $/b", Reason::NamelessVariable),
            ("bind 'a b", Reason::OpenQuote),
            ("bind 'a\tb' c", Reason::Control('\t')),
            ("bind a\x01 c", Reason::Control('\x01')),
            ("bind a\x7f c", Reason::Control('\x7f')),
            ("bind a b$bell", Reason::Control('\x07')),
            ("cd", Reason::Usage("cd dir")),
            (". a b", Reason::Usage(". file")),
            (". ''", Reason::Usage(". file")),
            ("bind a", Reason::Usage("bind [-abci] new old")),
            ("unmount", Reason::Usage("unmount [-i] [new] old")),
        ] {
            assert_eq!(reason(line), want, "{line}");
        }
    }

    #[test]
    fn an_error_says_file_line_and_reason() {
        let error = parsed("bind #U /\n\nfork # now\n").unwrap_err();
        let want = "ns:3: `fork` makes no sense for a name space that is made once, \
                    of our own trees and mounts";
        assert_eq!(error.to_string(), want);
        let error = parse("ns", b"cd /\n# \xff\n", &variable).unwrap_err();
        assert_eq!(error.to_string(), "ns:2: not UTF-8");
    }

    #[test]
    fn a_hostile_file_meets_a_bound() {
        let long = |n| format!("cd {}", "x".repeat(n));
        assert_eq!(reason(&"\n".repeat(MAX_FILE_BYTES + 1)), Reason::FileTooLong);
        assert!(parsed(&"\n".repeat(MAX_FILE_BYTES)).is_ok());
        assert_eq!(reason(&long(MAX_LINE_BYTES - 2)), Reason::LineTooLong);
        assert!(parsed(&long(MAX_LINE_BYTES - 3)).is_ok());
        assert_eq!(reason("cd $long"), Reason::LineTooLong);
        assert_eq!(reason(&format!("bind {}", "$long ".repeat(400))), Reason::LineTooLong);
        assert_eq!(reason(&"cd /\n".repeat(MAX_LINES + 1)), Reason::TooManyLines);
        assert!(parsed(&"cd /\n".repeat(MAX_LINES)).is_ok());
    }

    fn word() -> impl Strategy<Value = String> {
        "[a/#$' .!-]{1,6}".prop_map(|word| word.replace("a/", "é/"))
    }

    fn line() -> impl Strategy<Value = String> {
        let quoted = |word: String| format!("'{}'", word.replace('\'', "''"));
        let op = prop_oneof![
            3 => "bind( -[abci]{1,2})?( --)?",
            3 => "mount( -[bciA]{1,2})?( --)?",
            2 => "unmount( -i)?( --)?",
            1 => "cd|\\.",
        ];
        (op, proptest::collection::vec(word().prop_map(quoted), 1..4))
            .prop_map(|(op, words)| format!("{op} {}", words.join(" ")))
    }

    /// Lines with all kinds of words.
    const FILE: &str = "((bind|mount|unmount|cd)\
        ( ([ab/.!-]|#U/|'[a# $]{0,2}'|\\$node/|''''){1,4}){1,2}( # x)?\n){1,3}";

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn what_is_printed_reads_back_the_same(line in line()) {
            if let Ok(lines) = parsed(&line) {
                let again = printed(&lines);
                prop_assert_eq!(parsed(&again), Ok(lines), "{}", again);
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = parse("ns", &bytes, &variable);
        }

        #[test]
        fn files_read_back_the_same(text in FILE) {
            let ops = |lines: Vec<Line>| lines.into_iter().map(|line| line.op).collect::<Vec<_>>();
            if let Ok(lines) = parsed(&text) {
                let again = parsed(&printed(&lines)).map(ops);
                prop_assert_eq!(again, Ok(ops(lines)));
            }
        }
    }
}
