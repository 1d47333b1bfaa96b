//! The key of a crypt device: two halves of 16 or 32 bytes.
//!
//! A key must not outlive its device in memory, nor be shown: it is wiped when dropped, it lies in
//! one place on the heap, so that handing it on leaves no copy behind, and its `Debug` prints
//! nothing of it.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

/// The bytes of the longest key: AES-256, twice.
const LONGEST: usize = 64;

/// A key for AES-XTS: one half makes the tweak, the other encrypts the data (fs(3); row
/// "`crypt`: where bytes are" of docs/compatibility.md).
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Key {
    bytes: Box<[u8]>,
    half: usize,
}

impl Key {
    /// The key that a message or a key file gives in hexadecimal: 64 digits for AES-128, 128 for
    /// AES-256. Digits are taken in pairs; other bytes among them are skipped, and so are a last
    /// digit without a second and all digits past 128, as fs(3) does. `None` if that gives any
    /// other number of bytes.
    pub fn from_hex(text: &[u8]) -> Option<Key> {
        let mut key = Key { bytes: vec![0; LONGEST].into(), half: 0 };
        let mut digits = 0;
        for value in text.iter().filter_map(|&byte| (byte as char).to_digit(16)) {
            if digits == 2 * LONGEST {
                break;
            }
            let byte = &mut key.bytes[digits / 2];
            *byte = (*byte << 4) | value as u8;
            digits += 1;
        }
        let length = digits / 2;
        if !matches!(length, 32 | 64) {
            return None;
        }
        key.half = length / 2;
        // A digit without a second is in the array, past the key.
        key.bytes[length..].zeroize();
        Some(key)
    }

    /// The first half, which makes the tweak: 16 bytes or 32.
    pub fn tweak(&self) -> &[u8] {
        &self.bytes[..self.half]
    }

    /// The second half, which encrypts the data: as long as the first.
    pub fn data(&self) -> &[u8] {
        &self.bytes[self.half..2 * self.half]
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Option<Key> {
        Key::from_hex(text.as_bytes())
    }

    /// The rows of the golden family crypt/key.
    #[test]
    fn lengths_and_other_bytes() {
        let zeros = "0".repeat(200);
        for digits in 0..zeros.len() {
            let good = matches!(digits, 64 | 65 | 128..);
            assert_eq!(key(&zeros[..digits]).is_some(), good, "{digits} digits");
        }
        let plain = key(&"5a".repeat(32));
        assert!(plain.is_some());
        assert_eq!(key(&format!(" g{}-{}zz", "5A".repeat(16), "5a".repeat(16))), plain);
        assert_eq!(key(&format!("{}7", "5a".repeat(32))), plain, "a lone digit leaves nothing");
        assert_eq!(key(&format!("0x{}", "5a".repeat(32))), key(&format!("05{}", "a5".repeat(31))));
    }

    #[test]
    fn the_first_half_is_the_tweaks() {
        let short = key(&("11".repeat(16) + &"22".repeat(16))).expect("32 bytes");
        assert_eq!((short.tweak(), short.data()), (&[0x11; 16][..], &[0x22; 16][..]));
        let long = key(&("33".repeat(32) + &"44".repeat(32) + "55")).expect("64 bytes");
        assert_eq!((long.tweak(), long.data()), (&[0x33; 32][..], &[0x44; 32][..]));
    }

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", key(&"5a".repeat(64))), "Some(Key)");
    }
}
