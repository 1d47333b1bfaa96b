//! Part: a range of one inner file (ds(3)).

use super::Piece;

/// What of a range is inside a file: a start past the end becomes the end, and the length is cut
/// to what is left. The result is the start and the length.
pub fn clamp(inner_length: u64, start: u64, length: u64) -> (u64, u64) {
    let start = start.min(inner_length);
    (start, length.min(inner_length - start))
}

/// The whole range, further on.
pub fn piece(start: u64, offset: u64, count: u64) -> Piece {
    Piece { inner: 0, offset: start + offset, count }
}
