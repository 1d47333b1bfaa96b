//! Random messages: sound ones, sound ones with a flaw, and noise; and random surroundings for them.

use std::collections::BTreeSet;

use dsfs::ctl::{Dialect, DiskDefaults};

use crate::Table;

/// SplitMix64: small, seeded, the same on every machine.
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
    fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
    fn of<'a, T: ?Sized>(&mut self, list: &[&'a T]) -> &'a T {
        list[self.below(list.len())]
    }
}

const VERBS: [&str; 12] = [
    "mirror", "cat", "inter", "part", "part", "crypt", "crypt", "del", "del", "clear", "disk",
    "disk",
];
const NAMES: [&[u8]; 26] = [
    b"a",
    b"b",
    b"c0",
    b"d/x",
    b"e/a",
    b"fs/b",
    b"ctl",
    b"fs/ctl",
    b"d/ctl",
    b"*",
    b"d/*",
    b"*/a",
    b"*/*",
    b"",
    b".",
    b"..",
    b"./x",
    b"d/..",
    b"/x",
    b"//",
    b"a/b/c",
    b"it's",
    b"a b",
    b"x\x01",
    b"d\xff/y",
    b"\xc3\xa9",
];
const FILES: [&[u8]; 9] =
    [b"/chunks/a0", b"a1", b"", b"/b b", b"/n/ds/a", b"/\x7f", b"/\xe2\x82", b"#k/fs/a", b"/it's"];
const NUMBERS: [&[u8]; 18] = [
    b"0",
    b"5",
    b"+10",
    b"010",
    b"100",
    b"9223372036854775807",
    b"9223372036854775808",
    b"99999999999999999999999999999999999999999999",
    b"",
    b"-1",
    b"+-1",
    b"0x200",
    b"0X1f",
    b"08",
    b"01000",
    b"1k",
    b" 1",
    b"18446744073709551616",
];
const NOISE: &[u8] = b"acprt019 '\t\n\r\0\x01\x1f /.*#+-\x7f\x80\xc3\xa9\xe2\x82\xac\xff\"";

fn key(random: &mut Random) -> Vec<u8> {
    let digits = random.of(&[&63, &64, &64, &65, &127, &128, &128, &129, &1]);
    let mut key: Vec<u8> =
        (0..*digits).map(|_| b"0123456789abcdefABCDEF"[random.below(22)]).collect();
    if random.one_in(3) {
        key.insert(random.below(key.len()), NOISE[random.below(NOISE.len())]);
    }
    key
}

fn name(random: &mut Random) -> Vec<u8> {
    match random.below(12) {
        0 => vec![b'n'; 80 + random.below(200)],
        1 => format!("{}/{}", "d".repeat(254 + random.below(3)), "n".repeat(254 + random.below(3)))
            .into(),
        2 => (0..random.below(120)).map(|_| NOISE[random.below(NOISE.len())]).collect(),
        _ => random.of(&NAMES).to_vec(),
    }
}

/// The words of a message that has at most one flaw of number or kind.
fn sound(random: &mut Random) -> Vec<Vec<u8>> {
    let verb = random.of(&VERBS);
    let mut words = vec![verb.as_bytes().to_vec()];
    match verb {
        "clear" => {}
        "del" => words.push(name(random)),
        "part" => {
            words.push(name(random));
            if !random.one_in(3) {
                words.push(random.of(&FILES).to_vec());
            }
            words.extend([random.of(&NUMBERS).to_vec(), random.of(&NUMBERS).to_vec()]);
        }
        "crypt" => words.extend([name(random), random.of(&FILES[..6]).to_vec(), key(random)]),
        "disk" => {
            words.extend([name(random), random.of(&NUMBERS).to_vec(), random.of(&FILES).to_vec()]);
            words.truncate(2 + random.below(3));
        }
        _ => {
            words.push(name(random));
            let files = if random.one_in(4) { random.below(40) } else { random.below(10) };
            let clean = 1 + random.below(FILES.len());
            words.extend((0..files).map(|_| random.of(&FILES[..clean]).to_vec()));
        }
    }
    words
}

/// The words on a line, with blanks and quoting of any sort.
fn written(words: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut line = Vec::new();
    for word in words {
        for _ in 0..random.below(2) + usize::from(!line.is_empty()) {
            line.push(b" \t\r\n"[if random.one_in(5) { random.below(4) } else { 0 }]);
        }
        let must = word.is_empty() || word.iter().any(|byte| b" \t\r\n'".contains(byte));
        let quotes = must || random.one_in(6);
        let after = if quotes { random.below(word.len() + 1) } else { word.len() };
        let after = if must { 0 } else { after };
        line.extend(&word[..after]);
        if quotes {
            line.push(b'\'');
            word[after..]
                .iter()
                .for_each(|&b| line.extend(if b == b'\'' { vec![b, b] } else { vec![b] }));
            line.push(b'\'');
        }
    }
    line.extend(&b"\n\n"[..random.below(3)]);
    line
}

pub fn message(random: &mut Random) -> Vec<u8> {
    let mut words = sound(random);
    match random.below(10) {
        // noise
        0 => (0..random.below(200)).map(|_| NOISE[random.below(NOISE.len())]).collect(),
        // a line that fs(3) ignores, nearly
        1 => {
            let start =
                random.of(&[&b"#"[..], b"\n", b" \n", b"fsdev:", b"fsdev", b"\0", b" #", b""]);
            [start.to_vec(), written(&words[..random.below(words.len() + 1)], random)].concat()
        }
        // a long message, cut in the error that shows it
        2 => {
            words[0] = [words[0].clone(), name(random)].concat();
            words.extend((0..random.below(80)).map(|_| name(random)));
            written(&words, random)
        }
        // a word more, less or elsewhere
        3 => {
            let at = random.below(words.len());
            match random.below(3) {
                0 => drop(words.remove(at)),
                1 => words.insert(at, name(random)),
                _ => words.swap(0, at),
            }
            written(&words, random)
        }
        // a byte more, less or other
        4 | 5 => {
            let mut line = written(&words, random);
            let at = random.below(line.len());
            let byte = NOISE[random.below(NOISE.len())];
            match random.below(3) {
                0 => drop(line.remove(at)),
                1 => line.insert(at, byte),
                _ => line[at] = byte,
            }
            line
        }
        6 if random.one_in(300) => {
            let mut line = written(&words, random);
            line.resize(65535 + random.below(3), b' ');
            line
        }
        _ => written(&words, random),
    }
}

pub fn table(dialect: Dialect, random: &mut Random) -> Table {
    let mut table = Table { devices: BTreeSet::new(), slots: 3 + random.below(8) };
    for _ in 0..random.below(12).min(table.slots) {
        let dir = match dialect {
            Dialect::Devds => "ds",
            Dialect::Plan9 => random.of(&["fs", "fs", "d", "e", "*"]),
        };
        let name = random.of(&["a", "b", "c0", "x", "it's", "*", "\u{e9}"]);
        table.devices.insert((dir.to_owned(), name.to_owned()));
    }
    table
}

pub fn disk(random: &mut Random) -> DiskDefaults {
    if random.one_in(2) {
        return DiskDefaults::default();
    }
    DiskDefaults {
        dir: random.of(&[&b"fs"[..], b"d", b"*", b"", b"a/b", b"d\xff", b"e"]).to_vec(),
        unit: *random.of(&[&0, &1, &512, &(1 << 31), &((1 << 63) - 1)]),
        source: random
            .of(&[&None, &Some(&b"/chunks/a0"[..]), &Some(b""), &Some(b"/\x01")])
            .map(Into::into),
    }
}
