//! A small read or write that is one run of one file here, or of one in each leg of a mirror, and needs no
//! waiting, needs no frame either: the run is computed, read or written, and that was it.

use std::io::IoSliceMut;

use styx::server::Ename;

use super::Ask;
use crate::device::{Kind, Piece};
use crate::inner::{Carrier, Device, File, Inner};

/// The longest transfer that is tried so, in bytes. What is saved is the same for each, some hundred
/// instructions; what is lost where not all of a read is in memory is a copy of what was.
const MOST: usize = 16 * 1024;

/// Carries out a transfer, if that can be done so: how many bytes were moved, all there are, or why it
/// failed. `None` if not; then nothing has been decided, and the frames take over. What a mirror's right
/// legs may have got by then they get again.
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
    let run = Run { offset, count: count as u64, write, leg: false };
    each_file(inner, run, &mut |file, Run { offset, leg, .. }| match ask {
        Ask::Read(data) => {
            let all = carrier.read_scattered(file, offset, &mut [IoSliceMut::new(data)]);
            all.then_some(Ok(count))
        }
        // That a leg was cut short is more than can be dealt with here.
        Ask::Write(_) if leg && carrier.leaves_hole(file, offset) => None,
        Ask::Write(data) => carrier.write_at_once(file, offset, data),
        Ask::Sync => None,
    })
}

/// A range of a file or device.
#[derive(Clone, Copy)]
struct Run {
    offset: u64,
    count: u64,
    /// It is written, and not read.
    write: bool,
    /// It is part of a mirror's leg.
    leg: bool,
}

/// Calls `then` with the one file that has all of a run, and where in it; for a write to a mirror with each
/// leg's, from right to left. `None` if there is no such file, or if `then` can't deal with one.
fn each_file(
    inner: &Inner,
    run: Run,
    then: &mut impl FnMut(&File, Run) -> Option<Result<usize, Ename>>,
) -> Option<Result<usize, Ename>> {
    let device = match inner {
        Inner::File(file) => return then(file, run),
        Inner::Device(device) => device,
        Inner::Ctl | Inner::Absent(_) => return None,
    };
    let Run { offset, count, write, .. } = run;
    let geometry = &device.geometry;
    if geometry.clip(offset, count) < count {
        return None;
    }
    let piece = match geometry.kind() {
        Kind::Mirror if write => return each_leg(device, run, then),
        Kind::Mirror => Piece { inner: device.mirror()?.first()?, offset, count },
        // A write that comes to our ctl is a message to it, if one of no bytes.
        Kind::Cat | Kind::Inter | Kind::Part { .. } if !(write && device.has_ctl()) => {
            geometry.piece(offset, count)
        }
        _ => return None,
    };
    let is_whole = piece.count == count
        && piece.offset.saturating_add(count) <= geometry.inner_length(piece.inner);
    let run = Run { offset: piece.offset, ..run };
    if is_whole { each_file(&device.inner()[piece.inner], run, then) } else { None }
}

/// Calls `then` with the file that has all of a run in each leg of a mirror, if every leg has one here and
/// the mirror has nothing to remember of it.
fn each_leg(
    device: &Device,
    run: Run,
    then: &mut impl FnMut(&File, Run) -> Option<Result<usize, Ename>>,
) -> Option<Result<usize, Ename>> {
    if device.homes() != 0 || !device.mirror()?.writes_plainly(run.offset, run.count) {
        return None;
    }
    let (legs, run) = (device.inner(), Run { leg: true, ..run });
    if !legs.iter().all(|leg| is_plain(leg, run)) {
        return None;
    }
    for leg in legs.iter().rev() {
        // Which leg failed is for the frames to find out, and to remember.
        each_file(leg, run, then)?.ok()?;
    }
    Some(Ok(run.count as usize))
}

/// Whether there is one file for each leg that a run comes to.
fn is_plain(inner: &Inner, run: Run) -> bool {
    each_file(inner, run, &mut |_, _| Some(Ok(0))).is_some()
}
