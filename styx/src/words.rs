//! Plan 9's quoting: a line to words and words to a line, as quote(2) of the Plan 9 manual has it
//! and as the kernels' control messages are read and shown (row "words" of dsfs's
//! docs/compatibility.md).
//!
//! Words are bytes on the way in, since what a client writes need not be UTF-8, and text on the
//! way out. Nothing here fails: every byte string is some list of words.

use std::borrow::Cow;
use std::ops::Range;

use nom::branch::alt;
use nom::bytes::complete::{tag, take_while, take_while1};
use nom::combinator::{eof, value};
use nom::multi::fold_many0;
use nom::sequence::delimited;
use nom::{IResult, Parser};

/// The words of a line. They lie unquoted one after the other in a single buffer, which is made
/// long enough at the start and never moves: whoever holds a secret in a word can wipe it.
#[derive(Default)]
pub struct Words {
    text: Vec<u8>,
    spans: Vec<Range<usize>>,
}

impl Words {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The word with this number, from 0.
    pub fn get(&self, number: usize) -> Option<&[u8]> {
        self.spans.get(number).map(|span| &self.text[span.clone()])
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.spans.iter().map(|span| &self.text[span.clone()])
    }

    /// The bytes of all words, to be overwritten by who must not leave them in memory.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.text
    }
}

type Parsed<'a, T> = IResult<&'a [u8], T>;

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// A stretch of a word outside quotes.
fn plain<'a>(input: &'a [u8], out: &mut Vec<u8>) -> Parsed<'a, ()> {
    take_while1(|byte| !is_blank(byte) && byte != b'\'')
        .map(|bytes: &[u8]| out.extend_from_slice(bytes))
        .parse(input)
}

/// A stretch of a word inside quotes: up to the quote that ends it, or to the end of the input.
fn quoted<'a>(input: &'a [u8], out: &mut Vec<u8>) -> Parsed<'a, ()> {
    let piece = alt((take_while1(|byte| byte != b'\''), value(&b"'"[..], tag("''"))));
    let pieces = fold_many0(piece, || (), |(), bytes: &[u8]| out.extend_from_slice(bytes));
    delimited(tag("'"), pieces, alt((tag("'"), eof))).parse(input)
}

/// The blanks between words.
fn blanks(input: &[u8]) -> Parsed<'_, &[u8]> {
    take_while(is_blank).parse(input)
}

/// Splits `line` at blanks (space, tab, CR, LF). A `'` anywhere starts and ends quoting; within,
/// blanks are ordinary and `''` is a quote; quoting that is not ended runs to the end of the line.
///
/// The split stops after `most` words and ignores what follows, so that a line of a million words
/// costs no more than its reader can use.
pub fn split(line: &[u8], most: usize) -> Words {
    let mut words = Words { text: Vec::with_capacity(line.len()), spans: Vec::new() };
    let mut rest = line;
    while words.len() < most {
        rest = blanks(rest).map_or(rest, |(after, _)| after);
        if rest.is_empty() {
            break;
        }
        let start = words.text.len();
        while let Ok((after, ())) =
            plain(rest, &mut words.text).or_else(|_| quoted(rest, &mut words.text))
        {
            rest = after;
        }
        words.spans.push(start..words.text.len());
    }
    words
}

/// The word as [`split`] reads it back: in quotes if it is empty or has a character up to space or a
/// `'` in it (Plan 9's `%q`).
pub fn quote(word: &str) -> Cow<'_, str> {
    let plain = |c: char| c > ' ' && c != '\'';
    if !word.is_empty() && word.chars().all(plain) {
        return Cow::Borrowed(word);
    }
    Cow::Owned(format!("'{}'", word.replace('\'', "''")))
}

/// As much of `quote(word)` as fits into `room` bytes, as the kernels' formatted print has it:
/// whole characters, a closing quote whenever there is an opening one, and no quotes for the sake
/// of a character that they would leave no room for.
///
/// A `'` is the odd one: where the quotes fit, but not the `'` twice within them, the quotes stay.
pub fn quote_within(word: &str, room: usize) -> String {
    if word.is_empty() {
        return if room < 2 { String::new() } else { "''".to_owned() };
    }
    let (mut used, mut in_quotes, mut end) = (0, false, word.len());
    for (at, c) in word.char_indices() {
        let width = c.len_utf8();
        let quotes = if in_quotes || (c > ' ' && c != '\'') { 0 } else { 2 };
        if used + quotes + width > room {
            end = at;
            break;
        }
        in_quotes |= quotes != 0;
        used += quotes;
        let doubled = if c == '\'' { 2 } else { width };
        if used + doubled > room {
            end = at;
            break;
        }
        used += doubled;
    }
    let shown = &word[..end];
    if in_quotes { format!("'{}'", shown.replace('\'', "''")) } else { shown.to_owned() }
}

/// The words on one line, each quoted if it must be, with one space between: what [`split`] takes
/// apart again.
pub fn join<S: AsRef<str>>(words: impl IntoIterator<Item = S>) -> String {
    let mut line = String::new();
    for (number, word) in words.into_iter().enumerate() {
        if number > 0 {
            line.push(' ');
        }
        line.push_str(&quote(word.as_ref()));
    }
    line
}

/// Bytes as text, with one U+FFFD for each byte that is in no character (D7).
///
/// The standard library's lossy conversion has one for a whole truncated sequence, so this is not
/// it.
pub fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(line: &[u8]) -> Vec<String> {
        split(line, usize::MAX).iter().map(|word| lossy(word).into_owned()).collect()
    }

    #[test]
    fn splits_and_quotes() {
        let cases: &[(&str, &[&str])] = &[
            ("", &[]),
            (" \t\r\n", &[]),
            ("cat c0\t/a\r\n", &["cat", "c0", "/a"]),
            ("cat\x0bc0 \x0c", &["cat\x0bc0", "\x0c"]),
            ("''", &[""]),
            ("a '' b", &["a", "", "b"]),
            ("ca't' 'a b'c'd e'", &["cat", "a bcd e"]),
            ("'it''s' '''' q''", &["it's", "'", "q"]),
            ("'''", &["'"]),
            ("'", &[""]),
            ("x 'open to\nthe end ", &["x", "open to\nthe end "]),
        ];
        for (line, expected) in cases {
            assert_eq!(words(line.as_bytes()), *expected, "{line:?}");
        }
    }

    #[test]
    fn the_split_stops_at_most() {
        let some = split(b"a b 'c d' e", 3);
        assert_eq!(some.iter().collect::<Vec<_>>(), [&b"a"[..], b"b", b"c d"]);
        assert_eq!((some.get(2), some.get(3)), (Some(&b"c d"[..]), None));
        assert!(split(b"a b", 0).is_empty());
    }

    #[test]
    fn quotes_only_what_needs_it() {
        for (word, quoted) in [
            ("", "''"),
            ("a", "a"),
            ("a\"b\x7f\u{a0}", "a\"b\x7f\u{a0}"),
            ("a b", "'a b'"),
            ("a\x01", "'a\x01'"),
            ("it's", "'it''s'"),
        ] {
            assert_eq!(quote(word), quoted);
            assert_eq!(quote_within(word, quoted.len()), quoted);
        }
    }

    /// The rows are devds's own (family more/cut-text), with the room made small.
    #[test]
    fn a_quoted_word_that_is_cut_keeps_its_closing_quote() {
        for (word, room, shown) in [
            ("", 1, ""),
            ("c d e f", 7, "'c d e'"),
            ("c d e f", 6, "'c d '"),
            ("ab cd", 2, "ab"),
            ("ab cd", 4, "ab"),
            ("ab cd", 5, "'ab '"),
            ("\u{20ac}x", 2, ""),
            ("a\u{20ac}x", 3, "a"),
            ("a \u{20ac}x", 6, "'a '"),
            ("''''", 4, "''''"),
            ("''''", 5, "''''"),
            ("''''", 6, "''''''"),
            ("abc'", 6, "'abc'"),
            ("abc'", 5, "abc"),
        ] {
            assert_eq!(quote_within(word, room), shown, "{word:?} in {room}");
        }
    }

    #[test]
    fn one_replacement_for_each_bad_byte() {
        assert_eq!(
            lossy(b"\xe2\x86z\xf4\x90\x80\x80"),
            "\u{fffd}\u{fffd}z\u{fffd}\u{fffd}\u{fffd}\u{fffd}"
        );
        assert_eq!(lossy(b"\xed\xa0\x80"), "\u{fffd}\u{fffd}\u{fffd}");
        assert_eq!(lossy(b"\xef\xbf\xbd\xc3\xa9"), "\u{fffd}\u{e9}");
    }

    proptest! {
        #[test]
        fn joined_words_split_into_themselves(list in prop::collection::vec("[ -'a\u{e9}\t\n\r\0]{0,6}|\\PC{0,6}", 0..8)) {
            prop_assert_eq!(words(join(&list).as_bytes()), list);
        }

        #[test]
        fn a_cut_word_fits_and_is_a_prefix(word in "[ '\u{20ac}a\u{e9}\t]{0,12}", room in 0usize..30) {
            let shown = quote_within(&word, room);
            prop_assert!(shown.len() <= room);
            if quote(&word).len() <= room {
                prop_assert_eq!(&shown, &quote(&word));
            }
            let back = words(shown.as_bytes());
            prop_assert!(back.len() <= 1);
            prop_assert!(word.starts_with(back.first().map_or("", String::as_str)));
        }

        #[test]
        fn any_bytes_are_words(line in prop::collection::vec(prop::sample::select(&b"ab' \t\r\n\x00\xff\x0b"[..]), 0..40)) {
            let all = split(&line, usize::MAX);
            prop_assert!(all.iter().map(<[u8]>::len).sum::<usize>() <= line.len());
            for most in 0..4 {
                let some = split(&line, most);
                prop_assert!(some.iter().eq(all.iter().take(most)));
            }
        }
    }
}
