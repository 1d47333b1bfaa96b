//! Inter: blocks from each inner file in turn (ds(3)). Block b of the device is block b / n of
//! inner file b mod n.

use super::Piece;

/// The length of a block in bytes, which is ds(3)'s and part of how data lie on the disks.
pub const BLOCK: u64 = 8192;

/// devds: the whole blocks of every inner file. With files of unequal length some of these bytes
/// lie past the end of a file, and a transfer there fails.
pub fn length_of_all(lengths: &[u64]) -> u64 {
    lengths.iter().fold(0, |sum: u64, length| sum.saturating_add(length / BLOCK * BLOCK))
}

/// Plan 9: as many whole blocks of each as the shortest has. As there, a length of 0 is passed
/// over for the next one.
pub fn length_of_even(lengths: &[u64]) -> u64 {
    let least = lengths
        .iter()
        .fold(0, |least, &length| if least == 0 { length } else { length.min(least) });
    (least / BLOCK * BLOCK).saturating_mul(lengths.len() as u64)
}

/// The first piece of a range inside the device: what of it is in one block.
pub fn piece(n: u64, offset: u64, count: u64) -> Piece {
    let (block, within) = (offset / BLOCK, offset % BLOCK);
    Piece {
        inner: (block % n) as usize,
        offset: block / n * BLOCK + within,
        count: count.min(BLOCK - within),
    }
}

/// How many of the first `offset` bytes of the device are in inner file `inner` of `n`.
pub fn before(n: u64, inner: u64, offset: u64) -> u64 {
    let (rounds, within) = (offset / BLOCK / n, offset - offset / BLOCK / n * n * BLOCK);
    rounds * BLOCK + within.saturating_sub(inner * BLOCK).min(BLOCK)
}
