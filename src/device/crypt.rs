//! Crypt: one inner file, encrypted by sectors with AES-XTS, as Plan 9's fs(3) has it.
//!
//! Byte P of the device is byte P + [`HEADER`] of the inner file. A sector's tweak is the byte
//! offset of the sector in the inner file, little endian; of the key, the first half makes the
//! tweak and the second encrypts the data, the reverse of IEEE 1619's order.

use aes::cipher::KeyInit;
use aes::{Aes128, Aes256};
use xts_mode::Xts128;

/// The length of a sector in bytes: what is encrypted as one.
pub const SECTOR: u64 = 512;

/// What is left alone at the start of the inner file, in bytes.
pub const HEADER: u64 = 64 * 1024;

/// The length of a crypt device on an inner file of this length: whole sectors after the header.
/// `None` if the file ends before the header does.
pub fn length(inner_length: u64) -> Option<u64> {
    inner_length.checked_sub(HEADER).map(|left| left / SECTOR * SECTOR)
}

/// Whether a transfer starts and ends at sectors' boundaries.
pub fn aligned(offset: u64, count: u64) -> bool {
    offset.is_multiple_of(SECTOR) && count.is_multiple_of(SECTOR)
}

/// Encrypts and decrypts sectors. The round keys are zeroized when it is dropped.
pub enum Cipher {
    /// With two keys of 16 bytes.
    Aes128(Box<Xts128<Aes128>>),
    /// With two keys of 32 bytes.
    Aes256(Box<Xts128<Aes256>>),
}

impl std::fmt::Debug for Cipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cipher(..)")
    }
}

impl Cipher {
    /// The cipher of two keys of 16 or 32 bytes each: the tweak's and the data's. `None` if they
    /// have another length.
    pub fn new(tweak: &[u8], data: &[u8]) -> Option<Self> {
        match (tweak.len(), data.len()) {
            (16, 16) => Some(Cipher::Aes128(Box::new(Xts128::new(
                Aes128::new_from_slice(data).ok()?,
                Aes128::new_from_slice(tweak).ok()?,
            )))),
            (32, 32) => Some(Cipher::Aes256(Box::new(Xts128::new(
                Aes256::new_from_slice(data).ok()?,
                Aes256::new_from_slice(tweak).ok()?,
            )))),
            _ => None,
        }
    }

    /// Encrypts whole sectors in place; `offset` is where in the device the first one is.
    pub fn encrypt(&self, offset: u64, sectors: &mut [u8]) {
        for_each_sector(offset, sectors, |tweak, sector| match self {
            Cipher::Aes128(xts) => xts.encrypt_sector(sector, tweak.into()),
            Cipher::Aes256(xts) => xts.encrypt_sector(sector, tweak.into()),
        });
    }

    /// Decrypts whole sectors in place; `offset` is where in the device the first one is.
    pub fn decrypt(&self, offset: u64, sectors: &mut [u8]) {
        for_each_sector(offset, sectors, |tweak, sector| match self {
            Cipher::Aes128(xts) => xts.decrypt_sector(sector, tweak.into()),
            Cipher::Aes256(xts) => xts.decrypt_sector(sector, tweak.into()),
        });
    }
}

fn for_each_sector(offset: u64, sectors: &mut [u8], mut work: impl FnMut([u8; 16], &mut [u8])) {
    let at = u128::from(offset) + u128::from(HEADER);
    for (i, sector) in sectors.chunks_exact_mut(SECTOR as usize).enumerate() {
        work((at + i as u128 * u128::from(SECTOR)).to_le_bytes(), sector);
    }
}

#[cfg(test)]
mod tests;
