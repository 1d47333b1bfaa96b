//! One function for each decoder: what decodes is what its bytes say, and nothing else.

use std::borrow::Cow;

use styx::frame::{FrameError, HEADER, frame_len, split_frame};
use styx::words::{join, lossy, quote, quote_within, split};
use styx::{Rmsg, Stat, Tmsg};

/// A frame from a client is refused, or encodes to the same bytes again.
pub fn t_message(data: &[u8]) {
    if let Ok((tag, message)) = Tmsg::decode(data) {
        let mut again = Vec::new();
        message.encode(tag, &mut again);
        assert_eq!(again, data, "{message:?}");
    }
}

/// A frame from a server is refused, or encodes to the same bytes again.
pub fn r_message(data: &[u8]) {
    if let Ok((tag, message)) = Rmsg::decode(data) {
        let mut again = Vec::new();
        message.encode(tag, &mut again);
        assert_eq!(again, data, "{message:?}");
    }
}

/// Entries, one after the other, are refused or encode to the same bytes again.
pub fn entries(data: &[u8]) {
    let (mut rest, mut again) = (data, Vec::new());
    while let Ok((stat, after)) = Stat::decode_first(rest) {
        assert_eq!(Stat::decode(&rest[..rest.len() - after.len()]), Ok(stat));
        stat.encode(&mut again);
        rest = after;
    }
    assert_eq!([&again, rest].concat(), data);
}

/// A stream is cut into frames of at most an msize, which the first two bytes say, without losing
/// a byte.
pub fn frames(data: &[u8]) {
    let Some((msize, stream)) = data.split_first_chunk() else { return };
    let msize = u32::from(u16::from_le_bytes(*msize));
    let (mut rest, mut taken) = (stream, 0);
    loop {
        let told = frame_len(rest, msize);
        match split_frame(rest, msize) {
            Ok(Some((frame, after))) => {
                assert!((HEADER..=msize as usize).contains(&frame.len()));
                assert_eq!(told, Ok(Some(frame.len())));
                taken += frame.len();
                assert_eq!(after, &stream[taken..]);
                rest = after;
            }
            Ok(None) => {
                assert!(told.is_ok_and(|len| len.is_none_or(|len| len > rest.len())));
                return;
            }
            Err(error) => {
                assert_eq!(told, Err(error));
                match error {
                    FrameError::Short(size) => assert!(size < HEADER as u32),
                    FrameError::Long { size, .. } => assert!(size > msize),
                }
                return;
            }
        }
    }
}

/// The words of a line, joined, are the same words again; `most` of them are the first ones; a word
/// that is cut fits its room.
pub fn words(data: &[u8]) {
    let Some((&most, line)) = data.split_first() else { return };
    let most = usize::from(most);
    let all = split(line, usize::MAX);
    assert!(split(line, most).iter().eq(all.iter().take(most)));
    let text: Vec<Cow<'_, str>> = all.iter().map(lossy).collect();
    let line = join(&text);
    let again = split(line.as_bytes(), usize::MAX);
    assert!(again.iter().eq(text.iter().map(|word| word.as_bytes())), "{line:?}");
    for word in text {
        let cut = quote_within(&word, most);
        assert!(cut.len() <= most, "{cut:?}");
        assert!(cut == quote(&word) || quote(&word).len() > most, "{cut:?}");
    }
}
