//! The rules of control messages as the golden README and PLAN9.md state them: for each dialect a
//! list of checks, to be tried in order. Quotations are theirs. It must use nothing of `dsfs::ctl`.

use crate::Table;

/// A message, taken apart once.
pub struct Message<'a> {
    pub raw: &'a [u8],
    pub words: Vec<Vec<u8>>,
    pub table: &'a Table,
    pub disk: (&'a [u8], u64, Option<&'a [u8]>),
}

type Check = fn(&Message) -> Option<String>;

fn when(wrong: bool, text: &str) -> Option<String> {
    wrong.then(|| text.to_owned())
}

/// "words split at space, tab, CR, LF. `'` anywhere starts and ends quoting, `''` inside is a
/// quote, an open quote runs to the end": a machine that looks at one byte at a time.
pub fn words(raw: &[u8]) -> Vec<Vec<u8>> {
    let raw = if raw.last() == Some(&b'\n') { &raw[..raw.len() - 1] } else { raw };
    let (mut words, mut word, mut quoting, mut at) = (Vec::new(), None::<Vec<u8>>, false, 0);
    while at < raw.len() {
        let byte = raw[at];
        if quoting && byte == b'\'' && raw.get(at + 1) == Some(&b'\'') {
            word.get_or_insert_default().push(byte);
            at += 1;
        } else if byte == b'\'' {
            word.get_or_insert_default();
            quoting = !quoting;
        } else if !quoting && b" \t\r\n".contains(&byte) {
            words.extend(word.take());
        } else {
            word.get_or_insert_default().push(byte);
        }
        at += 1;
    }
    words.extend(word);
    words
}

/// "one U+FFFD for each bad byte": the characters, and `None` for each bad byte.
fn characters(bytes: &[u8]) -> impl Iterator<Item = Option<char>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = &bytes[at..];
        let one = (1..=rest.len().min(4)).find_map(|n| std::str::from_utf8(&rest[..n]).ok());
        at += one.map_or(1, str::len);
        (!rest.is_empty()).then(|| one.and_then(|text| text.chars().next()))
    })
}

fn quoted(shown: &[char], always: bool) -> String {
    let asks = always || shown.is_empty() || shown.iter().any(|&c| c <= ' ' || c == '\'');
    let text: String = shown.iter().collect();
    if asks { format!("'{}'", text.replace('\'', "''")) } else { text }
}

/// "each quoted if it is empty or has a byte <= 0x20 or `'`", "whole runes", "a quoted word that
/// is cut keeps its closing quote. What did not fit does not ask for quotes": the longest prefix
/// that fits. (The kernels' exception: a `'` for which alone there is room asks for them.)
fn fitting(word: &[u8], room: usize) -> String {
    // One character more than there can be room for, to see what follows.
    let all = characters(word).take(room + 1).map(|c| c.unwrap_or('\u{fffd}'));
    let all: Vec<char> = all.collect();
    if all.is_empty() {
        return if room >= 2 { "''".to_owned() } else { String::new() };
    }
    for length in (1..=all.len()).rev() {
        let shown = quoted(&all[..length], false);
        if shown.len() <= room {
            let bare = !shown.starts_with('\'');
            let stays = bare && all.get(length) == Some(&'\'') && shown.len() + 3 <= room;
            return quoted(&all[..length], stays);
        }
    }
    if all[0] == '\'' && room == 3 { "''".to_owned() } else { String::new() }
}

/// "the words joined with one space ... all of `unknown control message "...` is at most 117
/// bytes, whole runes, then `"`"
fn showing(text: &str, message: &Message) -> String {
    let mut shown = text.to_owned() + " \"";
    for (number, word) in message.words.iter().enumerate() {
        if number != 0 && shown.len() < 117 {
            shown += " ";
        }
        shown += &fitting(word, 117 - shown.len());
    }
    shown + "\""
}

/// "`bad character in file name: NAME` for bytes 01-1f, 7f, bad UTF-8 (D7), and `/` in the
/// device's name", "at most 127 bytes"
fn bad_character(name: &[u8], inner: bool) -> Option<String> {
    let bad = characters(name).any(|c| match c {
        None => true,
        Some('/') => !inner,
        Some(c) => c < ' ' || c == '\x7f',
    });
    let text = "bad character in file name: ";
    bad.then(|| text.to_owned() + &fitting(name, 127 - text.len()))
}

/// "D6: names `.`, `..`, empty or long"
fn unreachable(name: &[u8]) -> Option<String> {
    let names: [&[u8]; 3] = [b"", b".", b".."];
    when(names.contains(&name), "file name syntax")
        .or_else(|| when(name.len() > 255, "name too long"))
}

/// "decimal digits, one leading `+` allowed ... above 2^63-1 saturates"
pub fn number(word: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(word).ok()?;
    let digits = digits.strip_prefix('+').unwrap_or(digits);
    in_base(digits, 10)
}

fn in_base(digits: &str, base: u32) -> Option<u64> {
    let sound = !digits.is_empty() && digits.chars().all(|c| c.is_digit(base));
    let short = digits.trim_start_matches('0');
    let value = match short.len() {
        0 => 0,
        1..=24 => u128::from_str_radix(short, base).unwrap_or(u128::MAX),
        _ => u128::MAX,
    };
    sound.then(|| value.min((1 << 63) - 1) as u64)
}

/// "UNIT (C number: 0x, leading 0; default 1)"
pub fn unit(word: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(word).ok()?;
    let text = text.strip_prefix('+').unwrap_or(text).to_ascii_lowercase();
    match (text.strip_prefix("0x"), text.starts_with('0')) {
        (Some(digits), _) => in_base(digits, 16),
        (None, true) => in_base(&text, 8),
        (None, false) => in_base(&text, 10),
    }
}

/// "KEY hex, 32 bytes or 64. Other bytes in it are skipped, upper case is fine, an odd last digit
/// is ignored, digits past 128 too"
pub fn key(word: &[u8]) -> Option<String> {
    let digits: String =
        word.iter().filter(|b| b.is_ascii_hexdigit()).map(|&b| b as char).collect();
    let digits = &digits[..digits.len().min(128) / 2 * 2];
    matches!(digits.len(), 64 | 128).then(|| digits.to_ascii_lowercase())
}

fn first_of(checks: &[Check], message: &Message) -> Option<String> {
    checks.iter().find_map(|check| check(message))
}

fn is(message: &Message, verbs: &str) -> bool {
    verbs.split(' ').any(|verb| message.words[0] == verb.as_bytes())
}

/// Golden README, "The order of the checks of one control message".
pub fn devds(message: &Message) -> Option<String> {
    first_of(
        &[
            // A bound of dsfs's own.
            |m| when(m.raw.len() > 65536, "read/write -- count too big"),
            // 0
            |m| when(m.raw.contains(&0), "bad arg in system call"),
            // 1
            |m| when(m.words.is_empty(), "empty control message"),
            // 2
            |m| (!is(m, "mirror cat inter part")).then(|| showing("unknown control message", m)),
            // 3
            |m| {
                let wrong = if is(m, "part") { m.words.len() != 5 } else { m.words.len() < 2 };
                wrong.then(|| showing("wrong #args in control message", m))
            },
            |m| {
                let sound = !is(m, "part") || m.words[3..].iter().all(|w| number(w).is_some());
                when(!sound, "bad arg in system call")
            },
            // 4
            |m| {
                let mut taken =
                    m.table.devices.iter().map(|(_, name)| name.as_str()).chain(["ctl"]);
                when(taken.any(|name| name.as_bytes() == m.words[1]), "file already exists")
            },
            // 5
            |m| when(!is(m, "part") && m.words.len() - 2 > 8, "too many devices; fix me"),
            // 6
            |m| bad_character(&m.words[1], false),
            |m| inner(m).iter().find_map(|name| bad_character(name, true)),
            |m| unreachable(&m.words[1]),
            // 7
            |m| when(m.table.devices.len() >= m.table.slots, "no free devices"),
        ],
        message,
    )
}

fn inner<'a>(m: &'a Message) -> &'a [Vec<u8>] {
    if is(m, "part") { &m.words[2..3] } else { &m.words[2..] }
}

/// PLAN9.md: "a first byte of NUL, `#` or newline: ignored", "a write that starts with `fsdev:`"
pub fn ignored(raw: &[u8]) -> bool {
    raw.is_empty() || b"\0#\n".contains(&raw[0]) || raw.starts_with(b"fsdev:")
}

/// "the name, split at its first `/` into DIR and NAME (no `/`: the default directory, else `fs`)"
pub fn name(m: &Message) -> (Vec<u8>, Vec<u8>) {
    let mut parts = m.words[1].splitn(2, |&byte| byte == b'/').map(<[u8]>::to_vec);
    match (parts.next().unwrap_or_default(), parts.next()) {
        (dir, Some(name)) => (dir, name),
        (name, None) => (m.disk.0.to_vec(), name),
    }
}

/// The words that are inner names; the default source of a `part` without a file.
pub fn inner_fs(m: &Message) -> Vec<Vec<u8>> {
    match &m.words[0][..] {
        b"part" if m.words.len() == 4 => m.disk.2.iter().map(|name| name.to_vec()).collect(),
        b"part" | b"crypt" => m.words[2..3].to_vec(),
        _ => m.words[2..].to_vec(),
    }
}

/// Start and length in bytes; `None` for what is refused.
pub fn range(m: &Message) -> Option<(u64, u64)> {
    let last: Vec<u64> =
        m.words[m.words.len() - 2..].iter().map(|word| number(word)).collect::<Option<_>>()?;
    let length = if m.words.len() == 4 { last[1].checked_sub(last[0])? } else { last[1] };
    let bytes = |units: u64| (units as u128 * m.disk.1 as u128).min((1 << 63) - 1) as u64;
    Some((bytes(last[0]), bytes(length)))
}

/// PLAN9.md, "One write to fs/ctl, checks in order", 2 to 8.
pub fn plan9(message: &Message) -> Option<String> {
    first_of(
        &[
            |m| when(m.raw.len() > 65536, "read/write -- count too big"),
            |m| when(m.raw.contains(&0), "bad arg in system call"),
            // 2
            |m| when(m.words.is_empty(), "empty control message"),
            // 3
            |m| {
                let known = is(m, "mirror cat inter part crypt del clear disk");
                (!known).then(|| showing("unknown control message", m))
            },
            // 4
            |m| {
                let wrong =
                    is(m, "clear") && m.words.len() != 1 || is(m, "del") && m.words.len() != 2;
                wrong.then(|| showing("wrong #args in control message", m))
            },
            // 5
            |m| when(is(m, "mirror cat inter") && m.words.len() < 3, "too few arguments for ctl"),
            |m| when(is(m, "mirror cat inter") && m.words.len() > 34, "too many devices in ctl"),
            |m| {
                let right = (2..=4).contains(&m.words.len());
                when(is(m, "disk") && !right, "ctl usage: disk name [sz dev]")
            },
            |m| {
                let right = m.words.len() == 5 || m.words.len() == 4 && m.disk.2.is_some();
                when(is(m, "part") && !right, "ctl usage: part new [file] off len")
            },
            |m| {
                let wrong = is(m, "crypt") && m.words.len() != 4;
                when(wrong, "ctl usage: crypt newname device keyhex")
            },
            // 6, and D3
            |m| when(is(m, "crypt") && key(&m.words[3]).is_none(), "bad hexkey"),
            |m| when(is(m, "part") && range(m).is_none(), "bad arg in system call"),
            |m| {
                let wrong = is(m, "disk") && m.words.get(2).is_some_and(|u| unit(u).is_none());
                when(wrong, "bad arg in system call")
            },
            // 7; del is not asked for D6
            |m| named(m).then(|| bad_character(&name(m).0, false))?,
            |m| device(m).then(|| unreachable(&name(m).0))?,
            |m| named(m).then(|| bad_character(&name(m).1, false))?,
            |m| device(m).then(|| unreachable(&name(m).1))?,
            |m| device(m).then(|| inner_fs(m).iter().find_map(|name| bad_character(name, true)))?,
            // 8
            |m| when(is(m, "del") && !any(m) && name(m).0 != b"*", "file does not exist"),
        ],
        message,
    )
}

fn device(m: &Message) -> bool {
    is(m, "mirror cat inter part crypt")
}

fn named(m: &Message) -> bool {
    device(m) || is(m, "del")
}

/// "`del DIR/NAME`, `del NAME`, `del DIR/*`: no other patterns. `*` as DIR: every directory"
fn any(m: &Message) -> bool {
    let (dir, name) = name(m);
    let meant = |pattern: &[u8], text: &str| pattern == b"*" || pattern == text.as_bytes();
    m.table.devices.iter().any(|(d, n)| meant(&dir, d) && meant(&name, n))
}
