//! Bytes as the recordings write them: printable ASCII as it is, `\n \t \r \\`, and `\xNN` for
//! every other byte; and hexadecimal. Conversions only: nothing here knows what the bytes mean.

use std::fmt::Write;

use sha1::{Digest, Sha1};

/// `bytes` in the form of the recordings, which has one spelling for each byte.
pub fn escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            b'\n' => out.push_str("\\n"),
            b'\t' => out.push_str("\\t"),
            b'\r' => out.push_str("\\r"),
            b'\\' => out.push_str("\\\\"),
            b' '..=b'~' => out.push(char::from(byte)),
            _ => write!(out, "\\x{byte:02x}").expect("a String takes any text"),
        }
    }
    out
}

/// The bytes that `text` stands for; `None` if it is not in the form that [`escape`] gives.
pub fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'\\' {
            first.is_ascii().then(|| out.push(*first))?;
            continue;
        }
        let (kind, after) = rest.split_first()?;
        rest = after;
        out.push(match kind {
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'\\' => b'\\',
            b'x' => {
                let (digits, after) = rest.split_at_checked(2)?;
                rest = after;
                u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?
            }
            _ => return None,
        });
    }
    Some(out)
}

/// Two lower-case digits for each byte.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut out, byte| {
        write!(out, "{byte:02x}").expect("a String takes any text");
        out
    })
}

/// The bytes that `digits` stand for; `None` if they are not pairs of hexadecimal digits.
pub fn unhex(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

/// The SHA-1 of `bytes`, in hexadecimal.
pub fn sha1_hex(bytes: &[u8]) -> String {
    hex(&Sha1::digest(bytes))
}

/// The first `len` bytes of the pattern file `seed`: byte j is `(seed + 31*j + 17*(j>>8)) & 0xff`.
pub fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let byte = |j: u64| (seed.wrapping_add(31 * j).wrapping_add(17 * (j >> 8)) & 0xff) as u8;
    (0..len as u64).map(byte).collect()
}
