//! Reading ahead of those who read a file from the disk, one piece after the other.
//!
//! The kernel reads ahead, too, but as part of the read that comes to the edge of what it has: on the
//! loop's own thread, for up to milliseconds where it is set to read far ahead, and all other clients
//! wait. So the loop notices such readers itself, and asks for what they will want next in small pieces: what
//! they come to then is in memory, with no edge in it.

use std::ops::Range;

use crate::inner::FileKey;

/// Readers that are remembered, until they have come to the end of their file or others have had to wait
/// since. Each read from memory looks at all of them while there are any.
const READERS: usize = 16;

/// How far ahead of a reader is read at most, in bytes: what a fast disk gives in some milliseconds, so that it
/// is there though the disk stops for a moment. Who comes to what is not there costs a worker thread.
const FURTHEST: u64 = 8 * 1024 * 1024;

/// How many times as far as a reader has come it is read ahead at most, since it may stop. The kernel begins
/// so, too.
const GROWTH: u64 = 4;

/// What is asked for at one time, in bytes: some 40 microseconds, in which the kernel looks for the memory.
const PIECE: u64 = 256 * 1024;

/// Somebody who had to wait for the disk.
#[derive(Debug)]
struct Reader {
    file: FileKey,
    /// Where it began.
    start: u64,
    /// Where it will go on, if it does.
    next: u64,
    /// Up to where has been read ahead.
    until: u64,
}

/// Readers of files that were not in memory.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// The one that read last is the first.
    readers: Vec<Reader>,
}

impl Ahead {
    /// Whether nobody is remembered.
    pub fn is_idle(&self) -> bool {
        self.readers.is_empty()
    }

    /// Somebody reads these bytes of a file of this length, and has to wait for them or not: what is to
    /// be read ahead now, if anything is.
    pub fn read(
        &mut self,
        (file, length): (FileKey, u64),
        range: Range<u64>,
        waits: bool,
    ) -> Option<Range<u64>> {
        let Range { start, end } = range;
        let goes_on = |reader: &Reader| reader.next == start && reader.file == file;
        let Some(at) = self.readers.iter().position(goes_on) else {
            if waits && end < length {
                self.readers.truncate(READERS - 1);
                self.readers.insert(0, Reader { file, start, next: end, until: end });
            }
            return None;
        };
        if end >= length {
            self.readers.remove(at);
            return None;
        }
        self.readers[..=at].rotate_right(1);
        let reader = &mut self.readers[0];
        reader.next = end;
        reader.until = reader.until.max(end);
        let far = FURTHEST.min((end - reader.start).saturating_mul(GROWTH));
        let piece = PIECE.min(far);
        if reader.until >= length || reader.until + piece > end + far {
            return None;
        }
        let ahead = reader.until..length.min(reader.until + piece);
        reader.until = ahead.end;
        Some(ahead)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIECE: u64 = 128 * 1024;
    const FILE: (FileKey, u64) = (FileKey::Local(1, 2), 2_000_000 * PIECE);

    fn read(ahead: &mut Ahead, piece: u64, waits: bool) -> Option<Range<u64>> {
        ahead.read(FILE, piece * PIECE..(piece + 1) * PIECE, waits)
    }

    #[test]
    fn who_reads_on_is_read_ahead_of_and_never_twice() {
        let mut ahead = Ahead::default();
        assert_eq!(read(&mut ahead, 0, true), None, "it may not go on");
        let mut until = PIECE;
        for piece in 1..1000 {
            let next = (piece + 1) * PIECE;
            if let Some(range) = read(&mut ahead, piece, piece % 7 == 0) {
                assert_eq!(range.start, until.max(next), "nothing twice, and nothing left out");
                until = range.end;
            }
            let far = FURTHEST.min(next * GROWTH);
            assert!(until > next && until <= next + far, "{until} at {next}");
        }
        assert!(until > 1000 * PIECE + FURTHEST / 2, "{until}");
    }

    #[test]
    fn nobody_is_read_ahead_of_beyond_the_end_nor_remembered_there() {
        let (mut ahead, file) = (Ahead::default(), (FILE.0, 10 * PIECE - 1));
        let mut until = PIECE;
        for piece in 0..10 {
            let range = ahead.read(file, piece * PIECE..file.1.min((piece + 1) * PIECE), true);
            until = range.map_or(until, |range| range.end);
        }
        assert_eq!(until, file.1);
        assert!(ahead.is_idle());
        assert_eq!(ahead.read(file, 9 * PIECE..file.1, true), None);
        assert!(ahead.is_idle());
    }

    #[test]
    fn who_never_waits_and_who_jumps_is_not_read_ahead_of() {
        let mut ahead = Ahead::default();
        (0..100).for_each(|piece| assert_eq!(read(&mut ahead, piece, false), None));
        assert!(ahead.is_idle());
        (0..100).for_each(|piece| assert_eq!(read(&mut ahead, piece * 3, true), None));
        assert_eq!(ahead.readers.len(), READERS);
    }

    #[test]
    fn readers_of_one_file_are_told_apart_and_strangers_do_not_push_them_out() {
        let mut ahead = Ahead::default();
        let (mut ranges, mut stranger) = (0, 0);
        for piece in 0..100 {
            for start in [0, 10_000, 20_000] {
                ranges += usize::from(read(&mut ahead, start + piece, piece == 0).is_some());
                stranger += 7;
                assert_eq!(read(&mut ahead, 1_000_000 + stranger, true), None);
            }
        }
        assert!(ranges > 3 * 10, "{ranges}");
    }
}
