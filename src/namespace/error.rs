//! Why a name leads nowhere, and the text that each dialect answers for it, byte for byte.

use std::borrow::Cow;

use styx::enames;

use super::path::{self, Parsed};

/// The longest error text, in bytes: ERRMAX (128) of both kernels, without its NUL.
const MAX_TEXT: usize = 127;

/// A prefix of this many bytes and more is shortened: ERRMAX / 3 of both kernels.
const LONG_PREFIX: usize = 42;

/// Plan 9 shows more than that where prefix and text together stay below this: 2 * ERRMAX / 3.
const LONG_TOGETHER: usize = 85;

/// What Plan 9 shows of a last element that is too long itself: ERRMAX / 4.
const LAST_BYTES: usize = 32;

/// Why a name leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The name is empty.
    Empty,
    /// It starts with a `#x` that is none of our devices.
    Device,
    /// It starts with `#U` or `#k` and more that is no `/`.
    Spec,
    /// It has more than [`MAX_NAME_BYTES`](super::resolve::MAX_NAME_BYTES).
    TooLong,
    /// An element is missing that was the first to be looked up after a mount point or `..`.
    NotFound,
    /// An element is missing further on.
    Missing,
    /// Something follows what is no directory.
    NotDirectory,
    /// Another server's words for why a walk failed.
    Walk(String),
    /// It was found and can't be opened: a directory, or no right to it.
    Permission,
    /// It was found and can't be opened, in another server's words.
    Open(String),
}

/// Which part of a text is the name's.
#[derive(PartialEq)]
enum Shown {
    /// None: the failure came before the walk.
    Never,
    /// The elements walked: the failure is the walk's.
    Always,
    /// As `Always` in plan9, none in devds: the failure is the open's.
    InPlan9,
}

impl Failure {
    fn text(&self) -> (&str, Shown) {
        match self {
            Failure::Empty => (enames::EEMPTYNAME, Shown::Never),
            Failure::Device => (enames::EBADSHARP, Shown::Never),
            Failure::Spec => (enames::EBADSPEC, Shown::Never),
            Failure::TooLong => (enames::ENAMETOOLONG, Shown::Never),
            Failure::NotFound => (enames::ENONEXIST, Shown::Always),
            Failure::Missing => (enames::ENOELEMENT, Shown::Always),
            Failure::NotDirectory => (enames::ENOTDIR, Shown::Always),
            Failure::Walk(text) => (text, Shown::Always),
            Failure::Permission => (enames::EPERM, Shown::InPlan9),
            Failure::Open(text) => (text, Shown::InPlan9),
        }
    }
}

/// A name that leads nowhere, how much of it is to be shown, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameError {
    name: String,
    elements: usize,
    failure: Failure,
}

impl NameError {
    /// The error of the whole of `name`, as typed: what opening it said after [`Step::Found`], or
    /// [`Failure::NotFound`] for a device that would contain itself (D15).
    ///
    /// [`Step::Found`]: super::Step::Found
    pub fn new(name: &str, failure: Failure) -> NameError {
        NameError::within(name, usize::MAX, failure)
    }

    /// The error of the first `elements` elements of `name`.
    pub(super) fn within(name: &str, elements: usize, failure: Failure) -> NameError {
        let elements = elements.min(parsed(name).elements.len());
        NameError { name: name.to_owned(), elements, failure }
    }

    /// Why.
    pub fn failure(&self) -> &Failure {
        &self.failure
    }

    /// The text in dialect devds (docs/compatibility.md, "Names of inner files"); at most 127 bytes.
    pub fn devds(&self) -> String {
        let (text, shown) = self.failure.text();
        if shown != Shown::Always {
            return clip(text, MAX_TEXT).to_owned();
        }
        let prefix = &self.name[..parsed(&self.name).end_of(self.elements)];
        let mut whole = quoted(clip(&devds_shortened(prefix), MAX_TEXT), MAX_TEXT);
        let room = MAX_TEXT - whole.len();
        whole.push_str(clip(&format!(" {text}"), room));
        whole
    }

    /// The text in dialect plan9 (the same rows); at most 127 bytes.
    pub fn plan9(&self) -> String {
        let (text, shown) = self.failure.text();
        if shown == Shown::Never || self.elements == 0 {
            return clip(text, MAX_TEXT).to_owned();
        }
        let parsed = parsed(&self.name);
        // The last element's end is the name's: unlike Inferno's, slashes after it are shown.
        let end = if self.elements == parsed.elements.len() {
            self.name.len()
        } else {
            parsed.end_of(self.elements)
        };
        let prefix = plan9_shortened(&self.name[..end], text.len());
        let mut whole = clip(&format!("{text}: "), MAX_TEXT).to_owned();
        let room = MAX_TEXT - whole.len();
        whole.push_str(&quoted(clip(&prefix, MAX_TEXT), room));
        whole
    }
}

fn parsed(name: &str) -> Parsed<'_> {
    let from = match path::sharp(name) {
        Some(Ok((_, from))) => from,
        _ => 0,
    };
    Parsed::new(name, from)
}

/// A long prefix is `...` and its last element, if there is a slash past its first byte.
fn devds_shortened(prefix: &str) -> Cow<'_, str> {
    match prefix.rfind('/') {
        Some(slash) if slash > 0 && prefix.len() >= LONG_PREFIX => {
            format!("...{}", &prefix[slash..]).into()
        }
        _ => prefix.into(),
    }
}

/// A long prefix is `...` and as many of its last elements as fit beside a text of `text` bytes; if
/// not even the last does, its last bytes.
fn plan9_shortened(prefix: &str, text: usize) -> Cow<'_, str> {
    let fits = |from: usize| {
        let len = prefix.len() - from;
        len < LONG_PREFIX || len + text < LONG_TOGETHER
    };
    if fits(0) {
        return prefix.into();
    }
    let slashes = prefix.rmatch_indices('/').map(|(at, _)| at);
    let from =
        slashes.filter(|&at| at > 0).take_while(|&at| fits(at)).last().unwrap_or_else(|| {
            let from = prefix.len() - LAST_BYTES;
            (from..=prefix.len()).find(|&at| prefix.is_char_boundary(at)).unwrap_or(from)
        });
    format!("...{}", &prefix[from..]).into()
}

/// As much of `text` as fits in `room` bytes, in whole characters.
fn clip(text: &str, room: usize) -> &str {
    let end = (0..=room.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
    &text[..end.unwrap_or(0)]
}

/// `text` in single quotes, those in it doubled, cut so that all of it, with the closing quote, is
/// within `room` bytes.
fn quoted(text: &str, room: usize) -> String {
    let mut out = String::new();
    if room < 2 {
        return out;
    }
    out.push('\'');
    for c in text.chars() {
        let width = if c == '\'' { 2 } else { c.len_utf8() };
        if out.len() + width + 1 > room {
            break;
        }
        if c == '\'' {
            out.push('\'');
        }
        out.push(c);
    }
    out.push('\'');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn devds(name: &str, failure: Failure) -> String {
        NameError::new(name, failure).devds()
    }

    fn plan9(name: &str, failure: Failure) -> String {
        NameError::new(name, failure).plan9()
    }

    /// Recorded: cases more/prefix-0, longname and extra/D15-self of the golden recordings.
    #[test]
    fn devds_shortens_and_cuts_as_recorded() {
        let k = |n| "k".repeat(n);
        for (name, want) in [
            (format!("/chunks/{}", k(33)), format!("'/chunks/{}' file does not exist", k(33))),
            (format!("/chunks/{}", k(34)), format!("'.../{}' file does not exist", k(34))),
            (format!("/n/ds/{}", k(35)), format!("'/n/ds/{}' file does not exist", k(35))),
            (format!("/n/ds/{}", k(36)), format!("'.../{}' file does not exist", k(36))),
            (format!("/n/ds/{}", k(104)), format!("'.../{}' file does not ex", k(104))),
            (format!("/n/ds/{}", k(121)), format!("'.../{}'", k(121))),
            (format!("/n/ds/{}", k(130)), format!("'.../{}'", k(121))),
            (k(42), format!("'{}' file does not exist", k(42))),
            (k(106), format!("'{}' file does not exis", k(106))),
            (k(124), format!("'{}' ", k(124))),
            (k(126), format!("'{}'", k(125))),
            (format!("/{}", k(100)), format!("'/{}' file does not exist", k(100))),
            (format!("/chunks/{}", "'".repeat(70)), format!("'.../{}' ", "''".repeat(60))),
            ("/chunks/it's".into(), "'/chunks/it''s' file does not exist".into()),
            ("//n/ds//i9".into(), "'//n/ds//i9' file does not exist".into()),
        ] {
            assert_eq!(devds(&name, Failure::NotFound), want, "{name}");
        }
    }

    /// Recorded: family inner of the plan9 recordings; lengths in between from 9front's namec.
    #[test]
    fn plan9_shortens_as_recorded() {
        let k = |n| "k".repeat(n);
        for (name, want) in [
            ("/chunks/nope".into(), "'/chunks/nope'".into()),
            ("/chunks/it's".into(), "'/chunks/it''s'".into()),
            (format!("/chunks/{}", "é".repeat(180)), format!("'...{}'", "é".repeat(16))),
            (format!("/chunks/x{}é", k(31)), format!("'/chunks/x{}é'", k(31))),
            (format!("/chunks/{}€{}", k(99), k(31)), format!("'...{}'", k(31))),
            (format!("/chunks/{}", k(57)), format!("'/chunks/{}'", k(57))),
            (format!("/chunks/{}", k(58)), format!("'.../{}'", k(58))),
            (format!("/a/{}/{}", k(60), k(9)), format!("'.../{}'", k(9))),
            (format!("/a/b/{}/{}", k(51), k(9)), format!("'.../b/{}/{}'", k(51), k(9))),
            (format!("/chunks/{}", k(66)), format!("'...{}'", k(32))),
        ] {
            let want = format!("file does not exist: {want}");
            assert_eq!(plan9(&name, Failure::NotFound), want, "{name}");
        }
    }

    /// Recorded: inner-empty-quoted, inner-root, order, nonroot; plan9's inner/directory,
    /// directory-ktop, directory-ram, dot, and ctl/command-then-comment.
    #[test]
    fn an_opens_error_shows_the_name_in_plan9_only() {
        let ram = Failure::Open("is a directory".into());
        for (name, failure, in_devds, in_plan9) in [
            ("/chunks", Failure::Permission, "permission denied", "permission denied: '/chunks'"),
            ("/chunks/", Failure::Permission, "permission denied", "permission denied: '/chunks/'"),
            ("#k", Failure::Permission, "permission denied", "permission denied"),
            (".", Failure::Permission, "permission denied", "permission denied"),
            ("/ram", ram, "is a directory", "is a directory: '/ram'"),
            ("", Failure::Empty, "empty file name", "empty file name"),
            ("#", Failure::Device, enames::EBADSHARP, "unknown device in # filename"),
        ] {
            assert_eq!(devds(name, failure.clone()), in_devds, "{name}");
            assert_eq!(plan9(name, failure), in_plan9, "{name}");
        }
    }

    #[test]
    fn another_servers_words_are_cut_in_whole_characters() {
        let words = Failure::Walk("é".repeat(100));
        assert_eq!(devds("abcd", words.clone()), format!("'abcd' {}", "é".repeat(60)));
        assert_eq!(plan9("abcd", words), "é".repeat(63));
        let words = Failure::Walk("w".repeat(121));
        assert_eq!(plan9("abcd", words), format!("{}: 'ab'", "w".repeat(121)));
    }

    proptest! {
        #[test]
        fn no_text_is_longer_than_errmax(
            name in "[a/.#'é€]{0,300}",
            words in "[x'é]{0,200}",
            n in 0usize..40,
        ) {
            let open = Failure::Open(words.clone());
            for failure in [Failure::NotFound, Failure::Walk(words), open] {
                let error = NameError::within(&name, n, failure);
                prop_assert!(error.devds().len() <= MAX_TEXT);
                prop_assert!(error.plan9().len() <= MAX_TEXT);
            }
        }
    }
}
