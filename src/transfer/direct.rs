//! A small read or write that is one run of one file here, and needs no waiting, needs no frame either:
//! the run is computed, read or written, and that was it.

use std::io::IoSliceMut;

use styx::server::Ename;

use super::Ask;
use crate::device::{Kind, Piece};
use crate::inner::{Carrier, File, Inner};

/// The longest transfer that is tried so, in bytes. What is saved is the same for each, some hundred
/// instructions; what is lost where not all of a read is in memory is a copy of what was.
const MOST: usize = 16 * 1024;

/// Carries out a transfer, if that can be done so: how many bytes were moved, all there are, or why it
/// failed. `None` if not; then nothing has been written and nothing decided, and the frames take over.
pub(super) fn transfer(
    carrier: &mut impl Carrier,
    inner: &Inner,
    offset: u64,
    ask: &mut Ask<'_>,
) -> Option<Result<usize, Ename>> {
    let (count, write) = match ask {
        Ask::Read(data) => (data.len(), false),
        Ask::Write(data) => (data.len(), true),
        Ask::Sync => return None,
    };
    let is_gone = matches!(inner, Inner::Device(device) if device.is_gone());
    if is_gone || count == 0 || count > MOST {
        return None;
    }
    let moved = |file: &File, offset| match ask {
        Ask::Read(data) => {
            let all = carrier.read_scattered(file, offset, &mut [IoSliceMut::new(data)]);
            all.then_some(Ok(count))
        }
        Ask::Write(data) => carrier.write_at_once(file, offset, data),
        Ask::Sync => None,
    };
    with_run(inner, (offset, count as u64), write, moved)
}

/// Calls `then` with the one file that has all of a range, and where in it, if there is one.
fn with_run<R>(
    inner: &Inner,
    (offset, count): (u64, u64),
    write: bool,
    then: impl FnOnce(&File, u64) -> Option<R>,
) -> Option<R> {
    let device = match inner {
        Inner::File(file) => return then(file, offset),
        Inner::Device(device) => device,
        Inner::Ctl | Inner::Absent(_) => return None,
    };
    let geometry = &device.geometry;
    if geometry.clip(offset, count) < count {
        return None;
    }
    let piece = match geometry.kind() {
        Kind::Mirror if !write => Piece { inner: device.mirror()?.first()?, offset, count },
        // A write that comes to our ctl is a message to it, if one of no bytes.
        Kind::Cat | Kind::Inter | Kind::Part { .. } if !(write && device.has_ctl()) => {
            geometry.piece(offset, count)
        }
        _ => return None,
    };
    let is_whole = piece.count == count
        && piece.offset.saturating_add(count) <= geometry.inner_length(piece.inner);
    let run = (piece.offset, count);
    if is_whole { with_run(&device.inner()[piece.inner], run, write, then) } else { None }
}
