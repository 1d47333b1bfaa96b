//! Cat: the inner files one after the other (ds(3)).

use super::Piece;

/// Where each inner file ends in the device. The sum saturates: what lies beyond 2^64 - 1 has no
/// offset.
pub fn ends(lengths: &[u64]) -> Box<[u64]> {
    lengths
        .iter()
        .scan(0u64, |end, &length| {
            *end = end.saturating_add(length);
            Some(*end)
        })
        .collect()
}

/// The first piece of a range inside the device. An offset at a boundary starts in the next file
/// that is not empty.
pub fn piece(ends: &[u64], offset: u64, count: u64) -> Piece {
    let inner = ends.partition_point(|&end| end <= offset);
    let start = if inner == 0 { 0 } else { ends[inner - 1] };
    let left = ends.get(inner).map_or(0, |end| end - offset);
    Piece { inner, offset: offset - start, count: count.min(left) }
}
