//! Frames come out of a stream whole and in order, in whatever pieces it arrives.

mod common;

use common::parts::{TKINDS, parts, tframe};
use proptest::collection::vec;
use proptest::prelude::*;
use styx::frame::{FrameError, HEADER, frame_len, split_frame};

const MSIZE: u32 = 64;

/// What a connection does with its input: keeps what came, and takes whole frames off its front.
#[derive(Default)]
struct Input {
    bytes: Vec<u8>,
    frames: Vec<Vec<u8>>,
}

impl Input {
    fn arrive(&mut self, piece: &[u8], msize: u32) -> Result<(), FrameError> {
        self.bytes.extend_from_slice(piece);
        while let Some((frame, rest)) = split_frame(&self.bytes, msize)? {
            self.frames.push(frame.to_vec());
            self.bytes = rest.to_vec();
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn a_stream_in_any_pieces_gives_the_same_frames(
        messages in vec((parts(), 0..TKINDS), 0..8),
        pieces in vec(1..200usize, 1..40),
    ) {
        let frames: Vec<_> = messages.iter().map(|(parts, kind)| tframe(1, &parts.tmsg(*kind))).collect();
        let stream = frames.concat();
        let mut input = Input::default();
        let mut rest = &stream[..];
        for len in pieces.iter().cycle() {
            let (piece, after) = rest.split_at(rest.len().min(*len));
            input.arrive(piece, u32::MAX).expect("these are frames");
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(input.frames, frames);
        prop_assert!(input.bytes.is_empty());
    }

    #[test]
    fn a_frame_is_not_there_before_its_last_byte(parts in parts(), kind in 0..TKINDS) {
        let frame = tframe(1, &parts.tmsg(kind));
        for len in 0..frame.len() {
            prop_assert_eq!(split_frame(&frame[..len], u32::MAX), Ok(None));
            let told = frame_len(&frame[..len], u32::MAX);
            prop_assert_eq!(told, Ok((len >= 4).then_some(frame.len())));
        }
    }

    #[test]
    fn no_bytes_make_a_frame_that_is_longer_than_agreed(bytes in vec(any::<u8>(), 0..20)) {
        if let Ok(Some(len)) = frame_len(&bytes, MSIZE) {
            prop_assert!((HEADER..=MSIZE as usize).contains(&len));
        }
    }
}

#[test]
fn a_size_out_of_range_is_refused_as_soon_as_it_is_there() {
    let rows = [
        (0, Err(FrameError::Short(0))),
        (6, Err(FrameError::Short(6))),
        (7, Ok(Some(7))),
        (64, Ok(Some(64))),
        (65, Err(FrameError::Long { size: 65, msize: MSIZE })),
        (u32::MAX, Err(FrameError::Long { size: u32::MAX, msize: MSIZE })),
    ];
    for (size, told) in rows {
        assert_eq!(frame_len(&size.to_le_bytes(), MSIZE), told);
    }
}

/// What mount(1) of Inferno sends when it wants to authenticate first (wire/inferno-mount-without-A).
#[test]
fn the_start_of_an_authentication_is_no_frame() {
    let told = frame_len(b"0001\n1", u32::MAX);
    assert_eq!(told, Ok(Some(0x3130_3030)));
    let told = frame_len(b"0001\n1", 8216);
    assert_eq!(told, Err(FrameError::Long { size: 0x3130_3030, msize: 8216 }));
}
