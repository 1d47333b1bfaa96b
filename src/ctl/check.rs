//! The checks that both dialects make, each on its own, and the error texts that show what was
//! written. Which check comes when is the business of `devds.rs` and `plan9.rs`.

use nom::branch::alt;
use nom::bytes::complete::{tag, tag_no_case};
use nom::character::complete::{char, digit1, hex_digit1, oct_digit0};
use nom::combinator::{all_consuming, opt};
use nom::sequence::preceded;
use nom::{IResult, Parser};
use styx::enames;
use styx::words::{Words, lossy, quote_within};

use super::MAX_NAME;

/// The bytes of an error that shows a control message, before its closing `"`: ERRMAX - 10 of the
/// kernels, less the end of the string.
const MAX_CTL_ERROR: usize = 117;

/// The bytes of any other error: ERRMAX of the kernels, less the end of the string.
const MAX_ERROR: usize = 127;

/// The largest number a message can give; larger ones become it (D3).
pub(super) const MAX_NUMBER: u64 = i64::MAX as u64;

/// `TEXT "..."`: the message that was not understood, with as many of its words as have room.
///
/// Each word is cut on its own, as the kernels do it: after a character that does not fit, the
/// words that follow may still find the few bytes it left.
pub(super) fn with_message(text: &str, words: &Words) -> String {
    let mut shown = format!("{text} \"");
    for (number, word) in words.iter().enumerate() {
        if number > 0 && shown.len() < MAX_CTL_ERROR {
            shown.push(' ');
        }
        shown.push_str(&quote_within(&lossy(word), MAX_CTL_ERROR - shown.len()));
    }
    shown.push('"');
    shown
}

/// `bad character in file name: NAME`.
fn bad_character(name: &[u8]) -> String {
    let text = format!("{}: ", enames::EBADCHAR);
    let shown = quote_within(&lossy(name), MAX_ERROR - text.len());
    text + &shown
}

/// A name as text, if it has no control character, no bad UTF-8 (D7) and, unless `slashes` are
/// allowed, no `/`.
pub(super) fn characters(name: &[u8], slashes: bool) -> Result<&str, String> {
    let bad = |byte: &u8| matches!(byte, 0..=0x1f | 0x7f) || (*byte == b'/' && !slashes);
    match std::str::from_utf8(name) {
        Ok(text) if !name.iter().any(bad) => Ok(text),
        _ => Err(bad_character(name)),
    }
}

/// Refuses names of devices and directories that no walk could reach or show (D6).
pub(super) fn reachable(name: &str) -> Result<(), String> {
    match name {
        "" | "." | ".." => Err(enames::EFILENAME.into()),
        _ if name.len() > MAX_NAME => Err(enames::ENAMETOOLONG.into()),
        _ => Ok(()),
    }
}

type Parsed<'a, T> = IResult<&'a [u8], T>;

/// The value of digits in a base up to 16, at most [`MAX_NUMBER`].
fn saturated(digits: &[u8], base: u64) -> u64 {
    let values = digits.iter().filter_map(|&digit| (digit as std::primitive::char).to_digit(16));
    let add = |sum: u64, value| sum.saturating_mul(base).saturating_add(u64::from(value));
    values.fold(0, add).min(MAX_NUMBER)
}

fn decimal(input: &[u8]) -> Parsed<'_, u64> {
    digit1.map(|digits| saturated(digits, 10)).parse(input)
}

/// A number as C writes it: `0x` and hexadecimal, `0` and octal, or decimal.
fn c_number(input: &[u8]) -> Parsed<'_, u64> {
    let hexadecimal = preceded(tag_no_case("0x"), hex_digit1).map(|digits| saturated(digits, 16));
    let octal = preceded(tag("0"), oct_digit0).map(|digits| saturated(digits, 8));
    alt((hexadecimal, octal, decimal)).parse(input)
}

/// The whole word as a number with at most one `+` before it, saturated at 2^63-1; anything else
/// is `bad arg in system call` (D3).
fn whole<'a>(
    word: &'a [u8],
    number: impl Parser<&'a [u8], Output = u64, Error = nom::error::Error<&'a [u8]>>,
) -> Result<u64, String> {
    match all_consuming(preceded(opt(char('+')), number)).parse(word) {
        Ok((_, value)) => Ok(value),
        Err(_) => Err(enames::EBADARG.into()),
    }
}

/// A start, a length or an end: decimal.
pub(super) fn number(word: &[u8]) -> Result<u64, String> {
    whole(word, decimal)
}

/// A unit: decimal, hexadecimal or octal.
pub(super) fn unit(word: &[u8]) -> Result<u64, String> {
    whole(word, c_number)
}

#[cfg(test)]
mod tests {
    use styx::words::split;

    use super::*;

    #[test]
    fn numbers() {
        let most = MAX_NUMBER;
        for (word, value) in [
            ("0", Some(0)),
            ("+10", Some(10)),
            ("010", Some(10)),
            ("9223372036854775806", Some(most - 1)),
            ("9223372036854775808", Some(most)),
            ("18446744073709551617", Some(most)),
            ("99999999999999999999999999", Some(most)),
            ("", None),
            ("+", None),
            ("++1", None),
            ("+-1", None),
            ("-0", None),
            ("-1", None),
            ("1_0", None),
            ("0x10", None),
            ("1e1", None),
            (" 1", None),
            ("1 ", None),
            ("\u{661}", None),
        ] {
            assert_eq!(number(word.as_bytes()).ok(), value, "{word:?}");
        }
    }

    #[test]
    fn units() {
        for (word, value) in [
            ("512", Some(512)),
            ("+512", Some(512)),
            ("0x200", Some(512)),
            ("+0X200", Some(512)),
            ("01000", Some(512)),
            ("0", Some(0)),
            ("2147483648", Some(1 << 31)),
            ("0xffffffffffffffffffff", Some(MAX_NUMBER)),
            ("0x", None),
            ("08", None),
            ("512k", None),
            ("0xg", None),
            ("-1", None),
            ("", None),
        ] {
            assert_eq!(unit(word.as_bytes()).ok(), value, "{word:?}");
        }
    }

    #[test]
    fn a_word_after_one_that_was_cut_may_still_fit() {
        let line = format!("{}\u{20ac} yz", "z".repeat(90));
        let shown = with_message(enames::EUNKNOWNCTL, &split(line.as_bytes(), 9));
        assert_eq!(shown, format!("unknown control message \"{} y\"", "z".repeat(90)));
    }
}
