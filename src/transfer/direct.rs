//! A small read or write that is one run of one file here, or of one in each leg of a mirror, and needs no
//! waiting, needs no frame either: the run is computed, read or written, and that was it.

use std::io::IoSliceMut;
use std::rc::Rc;

use styx::server::Ename;

use super::Ask;
use crate::device::{Kind, Piece};
use crate::inner::{Carrier, Device, File, Inner};

/// The longest transfer that is tried so, in bytes. What is saved is the same for each, some hundred
/// instructions; what is lost where not all of a read is in memory is a copy of what was.
const MOST: usize = 16 * 1024;

/// Carries out a transfer, if that can be done so: how many bytes were moved, all there are, or why it
/// failed. `None` if not; then nothing has been decided, and the frames take over. What a mirror's right
/// legs may have got by then they get again. `unseen` gets the mirrors whose legs are to be looked at.
pub(super) fn transfer(
    carrier: &mut impl Carrier,
    inner: &Inner,
    offset: u64,
    ask: &mut Ask<'_>,
    unseen: &mut Vec<Rc<Device>>,
) -> Option<Result<usize, Ename>> {
    let (count, way) = match ask {
        Ask::Read(data) => (data.len(), Way::Read),
        Ask::Write(data) => (data.len(), Way::Write),
        Ask::Sync => return None,
    };
    if !suits(inner, count) {
        return None;
    }
    each_file(inner, (offset, count as u64), way, &mut |file, offset, way| match ask {
        Ask::Read(data) => {
            let all = carrier.read_scattered(file, offset, &mut [IoSliceMut::new(data)]);
            all.then_some(Ok(count))
        }
        Ask::Write(data) => {
            match way {
                // That a leg was cut is more than can be dealt with here.
                Way::WriteLeg if carrier.ends_before(file, offset) => return None,
                Way::WriteFile(mirror) if !unseen.iter().any(|one| Rc::ptr_eq(one, mirror)) => {
                    unseen.push(mirror.clone());
                }
                _ => {}
            }
            carrier.write_at_once(file, offset, data)
        }
        Ask::Sync => None,
    })
}

/// The file that has all of a range that is to be read, and where in it, if that is a small read of one
/// file here.
pub(super) fn find(inner: &Inner, (offset, count): (u64, usize)) -> Option<(File, u64)> {
    let mut found = None;
    if suits(inner, count) {
        each_file(inner, (offset, count as u64), Way::Read, &mut |file, offset, _| {
            found = matches!(file, File::Local(_)).then(|| (file.clone(), offset));
            None
        });
    }
    found
}

/// Whether a transfer of so many bytes may be one.
fn suits(inner: &Inner, count: usize) -> bool {
    let is_gone = matches!(inner, Inner::Device(device) if device.is_gone());
    !is_gone && (1..=MOST).contains(&count)
}

/// What is done with a range.
#[derive(Clone, Copy)]
enum Way<'a> {
    Read,
    Write,
    /// It is written, and part of a mirror's leg.
    WriteLeg,
    /// It is written, and a leg of this mirror: that it was cut can be seen afterwards.
    WriteFile(&'a Rc<Device>),
}

/// Calls `then` with the one file that has all of a range (where it starts, and how many bytes it has),
/// and where in it; for a write to a mirror with each leg's, from right to left. `None` if there is no such
/// file, or if `then` can't deal with one.
fn each_file(
    inner: &Inner,
    (offset, count): (u64, u64),
    way: Way<'_>,
    then: &mut impl FnMut(&File, u64, Way<'_>) -> Option<Result<usize, Ename>>,
) -> Option<Result<usize, Ename>> {
    let device = match inner {
        Inner::File(file) => return then(file, offset, way),
        Inner::Device(device) => device,
        Inner::Ctl | Inner::Absent(_) => return None,
    };
    let geometry = &device.geometry;
    if geometry.clip(offset, count) < count {
        return None;
    }
    let piece = match geometry.kind() {
        Kind::Mirror => match way {
            Way::Read => Piece { inner: device.mirror()?.first()?, offset, count },
            Way::Write => return each_leg(device, (offset, count), then),
            // Were it left half written here, and then a leg beside it failed, it would never know.
            Way::WriteLeg | Way::WriteFile(_) => return None,
        },
        // A write that comes to our ctl is a message to it, if one of no bytes.
        Kind::Cat | Kind::Inter | Kind::Part { .. }
            if matches!(way, Way::Read) || !device.has_ctl() =>
        {
            geometry.piece(offset, count)
        }
        _ => return None,
    };
    let is_whole = piece.count == count
        && piece.offset.saturating_add(count) <= geometry.inner_length(piece.inner);
    if !is_whole {
        return None;
    }
    each_file(&device.inner()[piece.inner], (piece.offset, count), way, then)
}

/// Calls `then` with the file that has all of a range in each leg of a mirror that is written, if every leg
/// has one here and the mirror has nothing to remember of it. Not at the end of the mirror: a leg that was cut
/// would then have its length again.
fn each_leg(
    device: &Rc<Device>,
    range: (u64, u64),
    then: &mut impl FnMut(&File, u64, Way<'_>) -> Option<Result<usize, Ename>>,
) -> Option<Result<usize, Ename>> {
    let is_end = range.0.saturating_add(range.1) >= device.geometry.length();
    if is_end || device.homes() != 0 || !device.mirror()?.writes_plainly(range.0, range.1) {
        return None;
    }
    let legs = device.inner();
    if !legs.iter().all(|leg| is_plain(leg, range)) {
        return None;
    }
    for leg in legs.iter().rev() {
        let way = match leg {
            Inner::File(_) => Way::WriteFile(device),
            _ => Way::WriteLeg,
        };
        // Which leg failed is for the frames to find out, and to remember.
        each_file(leg, range, way, then)?.ok()?;
    }
    Some(Ok(range.1 as usize))
}

/// Whether there is one file for each leg that a range comes to when it is written.
fn is_plain(inner: &Inner, range: (u64, u64)) -> bool {
    each_file(inner, range, Way::WriteLeg, &mut |_, _, _| Some(Ok(0))).is_some()
}
