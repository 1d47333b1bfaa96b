//! A small read that is one run of one file here, all of it in memory, needs no frame: the run is
//! computed, read, and that was it.

use std::io::IoSliceMut;

use crate::device::{Kind, Piece};
use crate::inner::{Carrier, Inner};

/// The longest read that is tried so, in bytes. What is saved is the same for each read, some
/// hundred instructions; what is lost where not all is in memory is a copy of what was.
pub(super) const MOST: usize = 16 * 1024;

/// Reads all of `data`, if that is one run of one file that gives it at once: whether it was. If
/// not, nothing has been decided, and the frames say why.
pub(super) fn read(
    carrier: &mut impl Carrier,
    inner: &Inner,
    offset: u64,
    data: &mut [u8],
) -> bool {
    let device = match inner {
        Inner::File(file) => {
            return carrier.read_scattered(file, offset, &mut [IoSliceMut::new(data)]);
        }
        Inner::Device(device) => device,
        Inner::Ctl | Inner::Absent(_) => return false,
    };
    let (geometry, count) = (&device.geometry, data.len() as u64);
    if geometry.clip(offset, count) < count {
        return false;
    }
    let piece = match geometry.kind() {
        Kind::Crypt => return false,
        Kind::Mirror => match device.mirror().and_then(|mirror| mirror.first_read()) {
            Some(inner) => Piece { inner, offset, count },
            None => return false,
        },
        Kind::Cat | Kind::Inter | Kind::Part { .. } => geometry.piece(offset, count),
    };
    piece.count == count
        && piece.offset.saturating_add(count) <= geometry.inner_length(piece.inner)
        && read(carrier, &device.inner()[piece.inner], piece.offset, data)
}
