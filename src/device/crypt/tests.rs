//! The cipher against a second statement of XTS, against the published vectors, and against what
//! 9front wrote. `xts` below is the construction of IEEE Std 1619-2007, clause 5, in full view:
//! one block cipher call a block and a multiplication in GF(2^128); it must not use what it tests.

use aes::cipher::{Block, BlockCipherEncrypt, KeyInit};
use aes::{Aes128, Aes256};
use proptest::prelude::*;
use serde_json::Value;

use super::*;

type AesBlock = [u8; 16];

/// One block through AES with a key of 16 or 32 bytes.
fn aes_block(key: &[u8], block: AesBlock) -> AesBlock {
    let mut block: Block<Aes128> = block.into();
    match key.len() {
        16 => Aes128::new_from_slice(key).expect("16 bytes").encrypt_block(&mut block),
        32 => Aes256::new_from_slice(key).expect("32 bytes").encrypt_block(&mut block),
        other => panic!("no AES has a key of {other} bytes"),
    }
    block.into()
}

/// The product of a block and alpha, the polynomial x, modulo x^128 + x^7 + x^2 + x + 1; bit 0 is
/// the lowest of byte 0 (5.2).
fn times_alpha(block: AesBlock) -> AesBlock {
    let value = u128::from_le_bytes(block);
    let carry = if value >> 127 == 1 { 0x87 } else { 0 };
    ((value << 1) ^ carry).to_le_bytes()
}

fn xor(a: AesBlock, b: AesBlock) -> AesBlock {
    std::array::from_fn(|i| a[i] ^ b[i])
}

/// XTS-AES of a data unit of whole blocks: C = E(key1, P xor T) xor T, where T is E(key2, i) times
/// alpha to the power of the block's number (5.3).
fn xts(key1: &[u8], key2: &[u8], i: u128, plain: &[u8]) -> Vec<u8> {
    let mut tweak = aes_block(key2, i.to_le_bytes());
    let mut cipher = Vec::with_capacity(plain.len());
    for block in plain.chunks(16) {
        let block: AesBlock = block.try_into().expect("whole blocks");
        cipher.extend(xor(aes_block(key1, xor(block, tweak)), tweak));
        tweak = times_alpha(tweak);
    }
    cipher
}

fn unhex(digits: &str) -> Vec<u8> {
    let pair = |at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal digits");
    (0..digits.len()).step_by(2).map(pair).collect()
}

/// A published vector.
struct Vector {
    number: u32,
    /// The data's key and the tweak's, in this order, as the standard has them.
    keys: [Vec<u8>; 2],
    unit: u64,
    plain: Vec<u8>,
    cipher: Vec<u8>,
}

fn published() -> Vec<Vector> {
    let lines = include_str!("ieee1619.txt").lines().filter(|line| !line.starts_with('#'));
    let vector = |line: &str| {
        let fields: Vec<&str> = line.split(' ').collect();
        let [number, key1, key2, unit, plain, cipher] = fields[..] else { panic!("{line}") };
        Vector {
            number: number.parse().expect("a number"),
            keys: [unhex(key1), unhex(key2)],
            unit: u64::from_str_radix(unit, 16).expect("a number"),
            plain: unhex(plain),
            cipher: unhex(cipher),
        }
    };
    lines.map(vector).collect()
}

#[test]
fn the_statement_holds_for_every_published_vector() {
    let vectors = published();
    assert_eq!(vectors.iter().map(|v| v.number).collect::<Vec<_>>(), Vec::from_iter(1..=14));
    for Vector { number, keys: [key1, key2], unit, plain, cipher } in vectors {
        let got = xts(&key1, &key2, unit.into(), &plain);
        assert_eq!(got, cipher, "vector {number}");
    }
}

/// Of those whose data unit is a sector, the ones with a sequence number past the header: the
/// cipher tweaks by the byte offset in the inner file, so this number is that offset.
#[test]
fn the_cipher_holds_for_the_published_vectors_it_can_be_given() {
    let mut given = Vec::new();
    for Vector { number, keys: [data, tweak], unit, plain, cipher } in published() {
        let Some(offset) = unit.checked_sub(HEADER) else { continue };
        if plain.len() as u64 != SECTOR {
            continue;
        }
        let xts = Cipher::new(&tweak, &data).expect("two keys of a length");
        let mut sector = plain.clone();
        xts.encrypt(offset, &mut sector);
        assert_eq!(sector, cipher, "vector {number}");
        xts.decrypt(offset, &mut sector);
        assert_eq!(sector, plain, "vector {number}");
        given.push(number);
    }
    assert_eq!(given, [12, 13, 14]);
}

#[test]
fn keys_of_other_lengths_make_no_cipher() {
    for (tweak, data) in [(0, 0), (16, 32), (32, 16), (15, 15), (24, 24), (64, 64)] {
        assert!(Cipher::new(&vec![0; tweak], &vec![0; data]).is_none(), "{tweak} and {data}");
    }
}

proptest! {
    /// The first half of fs(3)'s key is the standard's key 2; every sector is a data unit of its
    /// own, whose number is the byte offset of the sector in the inner file.
    #[test]
    fn the_cipher_is_xts_by_byte_offsets(
        key in prop::collection::vec(any::<u8>(), 64),
        short in any::<bool>(),
        offset in prop_oneof![0..1u64 << 20, any::<u64>()],
        sectors in 0usize..4,
        seed in any::<u8>(),
    ) {
        let half = if short { 16 } else { 32 };
        let (first, second) = (&key[..half], &key[half..2 * half]);
        let offset = offset / SECTOR * SECTOR;
        let size = SECTOR as usize;
        let plain: Vec<u8> = (0..sectors * size).map(|i| (i * 7) as u8 ^ seed).collect();
        let mut wanted = Vec::new();
        for (number, sector) in plain.chunks(size).enumerate() {
            let at = u128::from(offset) + 65536 + number as u128 * 512;
            wanted.extend(xts(second, first, at, sector));
        }
        let cipher = Cipher::new(first, second).expect("two keys of a length");
        let mut bytes = plain.clone();
        cipher.encrypt(offset, &mut bytes);
        prop_assert_eq!(&bytes, &wanted);
        cipher.decrypt(offset, &mut bytes);
        prop_assert_eq!(&bytes, &plain);
    }
}

/// The bytes that a string of the recordings stands for.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        let escaped = if c == '\\' { rest.next() } else { None };
        match escaped {
            None => bytes.push(u8::try_from(c).expect("ASCII")),
            Some('n') => bytes.push(b'\n'),
            Some('t') => bytes.push(b'\t'),
            Some('r') => bytes.push(b'\r'),
            Some('x') => bytes.extend(unhex(&rest.by_ref().take(2).collect::<String>())),
            Some(other) => bytes.push(u8::try_from(other).expect("ASCII")),
        }
    }
    bytes
}

/// What a write of the recordings writes: `data`, or `len` bytes of a pattern.
fn written(input: &Value) -> Vec<u8> {
    if let Some(data) = input["data"].as_str() {
        return unescape(data);
    }
    let number = |name| input[name].as_u64().expect("a number");
    let byte = |j: u64| (number("pattern") + 31 * j + 17 * (j >> 8)) as u8;
    (0..number("len")).map(byte).collect()
}

/// A write to a crypt device that 9front was asked for, and what it left in the inner file:
/// runs of bytes, each from the start of a sector.
struct Recorded {
    case: String,
    key: Vec<u8>,
    offset: u64,
    plain: Vec<u8>,
    left: Vec<(u64, Vec<u8>)>,
}

/// Every such write in the recordings.
fn recorded() -> Vec<Recorded> {
    let mut found = Vec::new();
    for line in include_str!("../../../tests/golden/plan9fs.jsonl").lines() {
        let row: Value = serde_json::from_str(line).expect("a row");
        if row["family"] != "crypt" {
            continue;
        }
        let mut key = None;
        for step in row["steps"].as_array().into_iter().flatten() {
            let words = step["input"].as_str().unwrap_or("").trim_end_matches("\\n");
            if let ["crypt", _, _, hex] = words.split(' ').collect::<Vec<_>>()[..] {
                key = Some(hex.to_owned());
            }
            let Some(runs) = step["inner_hex"].as_array() else { continue };
            if step["op"] != "write" {
                continue;
            }
            let run = |run: &Value| {
                (run[1].as_u64().expect("an offset"), unhex(run[2].as_str().expect("bytes")))
            };
            found.push(Recorded {
                case: row["case"].as_str().expect("a name").to_owned(),
                key: unhex(key.as_deref().expect("a device before a write")),
                offset: step["input"]["offset"].as_u64().expect("an offset"),
                plain: written(&step["input"]),
                left: runs.iter().map(run).collect(),
            });
        }
    }
    found
}

#[test]
fn what_9front_wrote_is_written_the_same_and_decrypted() {
    let (mut writes, mut decrypted) = (0, 0);
    for Recorded { case, key, offset, plain, left } in recorded() {
        let (tweak, data) = key.split_at(key.len() / 2);
        let cipher = Cipher::new(tweak, data).expect("the device took this key");
        let mut bytes = plain.clone();
        cipher.encrypt(offset, &mut bytes);
        for (at, run) in left {
            let start = (at - HEADER - offset) as usize;
            assert_eq!(bytes[start..start + run.len()], run, "{case}: bytes at {at}");
            // The recordings have the first bytes of some sectors only. Each block of a sector is
            // decrypted on its own, so the others may be anything.
            let mut sectors = run.clone();
            sectors.resize(run.len().next_multiple_of(SECTOR as usize), 0);
            cipher.decrypt(at - HEADER, &mut sectors);
            let end = run.len() / 16 * 16;
            assert_eq!(sectors[..end], plain[start..start + end], "{case}: bytes at {at}");
            decrypted += end;
        }
        writes += 1;
    }
    assert!(writes > 20 && decrypted > 3000, "{writes} writes and {decrypted} bytes only");
}
