//! Saved configurations: a file of control messages (`--config`). Only its text: files are opened, and
//! messages run, elsewhere. No error shows a key.
//!
//! # What a configuration is
//! One message a line. Taken are, in each dialect, what reading `ctl` gives and what the original
//! kernel reads at its start:
//! - A first line that starts with `fsdev:` is skipped. devds demands it of the file that it reads and
//!   does not print it in its `ctl` text; dsfs takes both. A file that has neither it nor, in its
//!   first line, a command is no configuration: in devds that is devds's own error,
//!   ``config string must start with `fsdev:'``.
//! - Empty lines are skipped. In fs(3) lines that start with `#` or `fsdev:` are too, because as
//!   messages they do nothing; in devds they are messages that it does not know.
//! - A line is taken with its newline, as `echo` would write it. No name holds a newline, so no
//!   line of a `ctl` text is split.

use std::borrow::Cow;

use styx::enames;
use styx::words::{Words, lossy, split};
use thiserror::Error;

use super::dialect::Verb;
use super::{Dialect, Secret};

/// The bytes of a saved configuration, or of a file of keys, at most: the 64 devices of devds, each
/// with the longest message.
pub const MAX_SAVED: usize = 64 * super::MAX_MESSAGE;

/// What a first line may start with instead of being a message.
const SIGNATURE: &[u8] = b"fsdev:";

/// The characters of a line that an error shows.
const MAX_SHOWN: usize = 200;

/// The words of a `crypt` line before its key.
const BEFORE_KEY: usize = 3;

/// The hexadecimal digits, anywhere in a word, from which on it may be a key, or a good part of one:
/// a quarter of the shortest key that there is.
const MAYBE_KEY: usize = 16;

/// The hexadecimal digits from which on a word can be taken for a whole key.
const WHOLE_KEY: usize = 64;

/// What is shown in place of a word that may be a key.
const HIDDEN: &str = "...";

/// One message of a saved configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Its line, from 1.
    pub number: usize,
    /// Its bytes, with their newline if there is one.
    pub message: &'a [u8],
}

/// Why a saved configuration or a file of keys is refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SavedError {
    /// It is too long.
    #[error("it is larger than {MAX_SAVED} bytes")]
    TooLarge,
    /// A line is refused.
    #[error("line {number}: {message:?}: {error}")]
    Line {
        /// The line, from 1.
        number: usize,
        /// As much of the message as can be shown; no key.
        message: String,
        /// The error that a client that had written the message would have got.
        error: String,
    },
    /// A line of a file of keys is refused. Nothing of it is shown: any word may be the key.
    #[error("line {number}: {error}")]
    Key {
        /// The line, from 1.
        number: usize,
        /// What is wrong.
        error: String,
    },
}

impl Line<'_> {
    /// The error that says that this line was refused with `error`, the text of an Rerror. No key is
    /// shown, in the message or in the error: not of a `crypt`, and not of a line that may have been
    /// meant to be one, because its first word is no command of the dialect.
    pub fn refused(&self, dialect: Dialect, error: &str) -> SavedError {
        let words = &Secret(split(self.message, usize::MAX)).0;
        let (message, error) = match without_key(dialect, words) {
            Some(message) => (message, without_names(error)),
            None => (lossy(self.message.trim_ascii_end()).into_owned(), error.into()),
        };
        let message = message.chars().take(MAX_SHOWN).collect();
        SavedError::Line { number: self.number, message, error: error.into_owned() }
    }
}

/// What can be shown of a line that has, or may have, a key in it; `None` if all of it can be.
fn without_key(dialect: Dialect, words: &Words) -> Option<String> {
    let verb = words.get(0).and_then(|word| dialect.rules().verb(word));
    let maybe_crypt = matches!(verb, None | Some(Verb::Crypt));
    let limit = if maybe_crypt { MAYBE_KEY } else { WHOLE_KEY };
    let digits = |word: &[u8]| word.iter().filter(|byte| byte.is_ascii_hexdigit()).count();
    // Blanks in a key that is not quoted make many words of it.
    let last: usize = words.iter().skip(BEFORE_KEY).map(digits).sum();
    let has_key = words.iter().map(digits).chain([last]).any(|digits| digits >= limit)
        || verb == Some(Verb::Crypt) && words.len() > BEFORE_KEY;
    let show = |word| if digits(word) < limit { lossy(word) } else { HIDDEN.into() };
    has_key.then(|| words.iter().take(BEFORE_KEY).map(show).collect::<Vec<_>>().join(" "))
}

/// An error without the message or the name that it shows, where it shows one: in
/// `TEXT "MESSAGE"`, `TEXT: 'NAME'`, `TEXT: NAME` of a bad character, and `'NAME' TEXT`.
fn without_names(error: &str) -> Cow<'_, str> {
    if let Some((_, text)) = error.strip_prefix('\'').and_then(|rest| rest.rsplit_once('\'')) {
        return text.trim_start().into();
    }
    if error.starts_with(enames::EBADCHAR) {
        return enames::EBADCHAR.into();
    }
    let end = [" \"", ": '"].iter().filter_map(|quote| error.find(quote)).min();
    error[..end.unwrap_or(error.len())].into()
}

/// The messages of a saved configuration, in order.
///
/// # Errors
/// If the text is too long, or not a configuration at all.
pub fn messages(dialect: Dialect, text: &[u8]) -> Result<Vec<Line<'_>>, SavedError> {
    if text.len() > MAX_SAVED {
        return Err(SavedError::TooLarge);
    }
    let signed = text.starts_with(SIGNATURE);
    let lines = numbered(text).skip(usize::from(signed));
    let lines: Vec<Line> = lines.filter(|line| line.message != b"\n").collect();
    let rules = dialect.rules();
    let starts_with_command =
        |line: &Line| split(line.message, 1).get(0).is_some_and(|word| rules.verb(word).is_some());
    match (rules.no_signature, lines.first()) {
        (Some(error), Some(first)) if !signed && !starts_with_command(first) => {
            Err(first.refused(dialect, error))
        }
        _ => Ok(lines),
    }
}

/// The lines of a file.
pub(super) fn numbered(text: &[u8]) -> impl Iterator<Item = Line<'_>> {
    let lines = text.split_inclusive(|&byte| byte == b'\n');
    lines.enumerate().map(|(index, message)| Line { number: index + 1, message })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(dialect: Dialect, text: &str) -> Result<Vec<usize>, SavedError> {
        Ok(messages(dialect, text.as_bytes())?.iter().map(|line| line.number).collect())
    }

    fn refused(number: usize, message: &str, error: &str) -> SavedError {
        SavedError::Line { number, message: message.into(), error: error.into() }
    }

    #[test]
    fn the_signature_and_empty_lines_are_skipped() {
        for dialect in Dialect::ALL {
            for (text, expected) in [
                ("", &[][..]),
                ("\n\n", &[]),
                ("fsdev:\n", &[]),
                ("fsdev:", &[]),
                ("fsdev:\ncat a /a\n\nmirror m /a /b", &[2, 4]),
                ("\ncat a /a\n", &[2]),
                ("'cat' a /a\nfoo\n", &[1, 2]),
            ] {
                assert_eq!(numbers(dialect, text).as_deref(), Ok(expected), "{dialect} {text:?}");
            }
        }
        let lines = messages(Dialect::Devds, b"cat a\ncat b").expect("two messages");
        assert_eq!((lines[0].message, lines[1].message), (&b"cat a\n"[..], &b"cat b"[..]));
    }

    #[test]
    fn what_is_no_configuration_gets_devdss_own_error() {
        let error = refused(2, "# mine", "config string must start with `fsdev:'");
        assert_eq!(numbers(Dialect::Devds, "\n# mine\ncat a /a\n"), Err(error));
        assert_eq!(numbers(Dialect::Plan9, "\n# mine\ncat a /a\n"), Ok(vec![2, 3]));
        assert_eq!(numbers(Dialect::Devds, "fsdev:\n# mine\n"), Ok(vec![2]));
    }

    #[test]
    fn a_refused_line_is_shown_without_its_key() {
        let line = Line { number: 7, message: b"crypt 'd/x' /a 00112233445566\n" };
        let error = refused(7, "crypt d/x /a", "bad hexkey");
        assert_eq!(line.refused(Dialect::Plan9, "bad hexkey"), error);
        let line = Line { number: 8, message: b"part p\t/a 1 \xff\r\n" };
        let error = line.refused(Dialect::Devds, enames::EBADARG);
        assert_eq!(error.to_string(), "line 8: \"part p\\t/a 1 \u{fffd}\": bad arg in system call");
        let long = [b'x'; 1000];
        let line = Line { number: 1, message: &long };
        let SavedError::Line { message, .. } = line.refused(Dialect::Devds, "") else {
            panic!("a line's error")
        };
        assert_eq!(message.len(), MAX_SHOWN);
    }

    /// Whatever is wrong with a line that was meant to be a `crypt`.
    #[test]
    fn a_key_is_shown_of_no_line() {
        let key = "00112233445566778899aabbccddeeff".repeat(2);
        let unknown = |line: &str| format!("{} \"{line}\"", enames::EUNKNOWNCTL);
        let missing = |name: &str| format!("{}: '{name}'", enames::ENONEXIST);
        let bad = |name: &str| format!("{}: {name}", enames::EBADCHAR);
        let tail = &key[key.len() - 32..];
        for (line, error, message, without) in [
            (format!("crytp d/x /a {key}"), "", "crytp d/x /a", enames::EUNKNOWNCTL),
            (format!("crytp /a {key}"), "", "crytp /a ...", enames::EUNKNOWNCTL),
            (format!("cryptd/x/a{key}"), "", "...", enames::EUNKNOWNCTL),
            (format!("{key} crypt d/x /a"), "", "... crypt d/x", enames::EUNKNOWNCTL),
            (format!("crytp d x /a '{key}'"), "", "crytp d x", enames::EUNKNOWNCTL),
            (format!("crypt d/x {key}"), &missing(&key), "crypt d/x ...", enames::ENONEXIST),
            (
                format!("crypt d/x {key}"),
                &missing(&format!("...{tail}")),
                "crypt d/x ...",
                enames::ENONEXIST,
            ),
            (format!("crypt d/x/{key} /a"), &bad(&key), "crypt ... /a", enames::EBADCHAR),
            (format!("crypt x /a {key} 1"), enames::ECRYPTUSAGE, "crypt x /a", enames::ECRYPTUSAGE),
            (format!("cat x /a {key}"), &missing(&key), "cat x /a", enames::ENONEXIST),
        ] {
            let error = if error.is_empty() { unknown(&line) } else { error.to_owned() };
            let line = Line { number: 1, message: line.as_bytes() };
            let got = line.refused(Dialect::Plan9, &error);
            assert_eq!(got, refused(1, message, without), "{}", line.message.escape_ascii());
        }
        let line = format!("crypt d/x /a {key}");
        let devds = Line { number: 1, message: line.as_bytes() };
        let error = refused(1, "crypt d/x /a", enames::EUNKNOWNCTL);
        assert_eq!(devds.refused(Dialect::Devds, &unknown(&line)), error);
        let named = format!("'{key}' {}", enames::ENONEXIST);
        let cat = format!("cat x {key}");
        let devds = Line { number: 1, message: cat.as_bytes() };
        let error = refused(1, "cat x ...", enames::ENONEXIST);
        assert_eq!(devds.refused(Dialect::Devds, &named), error);
    }

    #[test]
    fn the_rest_is_shown_whole() {
        for (line, error) in [
            ("frob a b c d", "unknown control message \"frob a b c d\""),
            ("cat c /chunks/deadbeef0123/face", "'/chunks' file does not exist"),
            ("part p /a 99999999999999999999 1", "'/a' does not exist"),
            ("crypt x /a", "file does not exist: '/a'"),
        ] {
            let shown = Line { number: 3, message: line.as_bytes() };
            assert_eq!(shown.refused(Dialect::Plan9, error), refused(3, line, error));
        }
    }

    #[test]
    fn too_large_is_refused() {
        let text = vec![b'\n'; MAX_SAVED + 1];
        assert_eq!(messages(Dialect::Devds, &text), Err(SavedError::TooLarge));
        assert_eq!(messages(Dialect::Devds, &text[1..]), Ok(vec![]));
    }
}
