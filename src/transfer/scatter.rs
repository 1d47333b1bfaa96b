//! An inter's read in one operation for each inner file: what it takes from a file is one run
//! there, of which every block has its own place in the read.

use std::io::IoSliceMut;

use super::machine::{Bytes, Machine};
use super::pieces::Pieces;
use crate::device::{Kind, inter};
use crate::inner::{Carrier, Inner};

/// Blocks of one inner file that are read in one operation: as many as the largest message has.
/// Room for them is on the stack.
const MOST: usize = 130;

impl<C: Carrier> Machine<'_, C> {
    /// Reads all of an inter's range, if every inner file is a file, has more than one block of it
    /// and gives all of that at once. False if not: then piece after piece says why.
    pub(super) fn read_scattered(&mut self, pieces: &Pieces) -> bool {
        let Bytes::In(data) = &mut self.bytes else { return false };
        let (device, span) = (&pieces.device, pieces.span);
        let inner = device.inner();
        let files = inner.len();
        let is_long = span.count as u64 > 2 * files as u64 * inter::BLOCK;
        if *device.geometry.kind() != Kind::Inter || !is_long {
            return false;
        }
        (0..files).all(|file| {
            let Inner::File(inner) = &inner[file] else { return false };
            let mut room: [IoSliceMut<'_>; MOST] =
                std::array::from_fn(|_| IoSliceMut::new(&mut []));
            let (mut count, mut first, mut end) = (0, 0, 0);
            let mut rest = &mut data[span.at..span.at + span.count];
            let mut offset = span.offset;
            while !rest.is_empty() {
                let piece = device.geometry.piece(offset, rest.len() as u64);
                let (block, after) = rest.split_at_mut(piece.count as usize);
                if piece.inner == file {
                    let Some(place) = room.get_mut(count) else { return false };
                    *place = IoSliceMut::new(block);
                    first = if count == 0 { piece.offset } else { first };
                    end = piece.offset + piece.count;
                    count += 1;
                }
                offset += piece.count;
                rest = after;
            }
            end <= device.geometry.inner_length(file)
                && self.carrier.read_scattered(inner, first, &mut room[..count])
        })
    }
}
