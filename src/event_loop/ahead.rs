//! Reading ahead of those who read a file from the disk, one piece after the other.
//!
//! The kernel reads ahead, too, but as part of the read that comes to the edge of what it has: on the
//! loop's own thread, for up to milliseconds where it is set to read far ahead, and all other clients
//! wait. So the loop notices such readers itself, and asks for what they will want next in small pieces, between
//! the turns of its clients: what they come to then is in memory, with no edge in it.

use std::ops::Range;

use super::Server;
use crate::inner::{FileKey, LocalFile};
use crate::limits;

/// Readers that are remembered, until they have come to the end of their file, others have had to wait
/// since, or they did not go on. Each read from memory looks at all of them while there are any.
const READERS: usize = 16;

/// After so many reads by others those who have not gone on meanwhile are forgotten, so that a few reads
/// that had to wait do not slow down all others for ever. So many take 50 milliseconds and more, and who
/// streams goes on sooner.
const PATIENCE: u32 = 16 * 1024;

/// How far ahead of a reader is read at most, in bytes: what a fast disk gives in some milliseconds, so that it
/// is there though the disk stops for a moment. Who comes to what is not there costs a worker thread.
const FURTHEST: u64 = 8 * 1024 * 1024;

/// How many times as far as a reader has come it is read ahead at most, since it may stop. The kernel begins
/// so, too.
const GROWTH: u64 = 4;

/// What comes to be wanted with one read, in bytes: more than most move, so that the reader is left behind.
const PIECE: u64 = 256 * 1024;

/// What is asked for at one time while others have their turns, in bytes for each reader: what one may read
/// in a turn, and 20 to 50 microseconds, in which the kernel looks for the memory.
const STEP: u64 = limits::SHARED_TURN_BYTES as u64;

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
    /// It came, or went on, since that was looked at.
    went_on: bool,
}

/// Readers of files that were not in memory.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// The one that read last is the first.
    readers: Vec<Reader>,
    /// Reads by others since it was looked who of them goes on.
    others: u32,
    /// What has not been asked for yet.
    wanted: Vec<(LocalFile, Range<u64>)>,
}

impl Ahead {
    /// Somebody reads these bytes of a file here, and has to wait for them or not: what comes next is
    /// wanted, if it has to be read ahead.
    pub fn read(&mut self, file: &LocalFile, offset: u64, count: usize, waits: bool) {
        if !waits && self.readers.is_empty() {
            return;
        }
        let range = offset..offset.saturating_add(count as u64);
        if let Some(range) = self.follow((file.key(), file.length()), range, waits) {
            self.want(file, range);
        }
    }

    fn want(&mut self, file: &LocalFile, range: Range<u64>) {
        let goes_on = |(other, wanted): &&mut (LocalFile, Range<u64>)| {
            other.key() == file.key() && wanted.end == range.start
        };
        match self.wanted.iter_mut().find(goes_on) {
            Some((_, wanted)) => wanted.end = range.end,
            None => self.wanted.push((file.clone(), range)),
        }
    }

    /// Whether there is something to ask for.
    pub fn is_behind(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// Asks for as many bytes as this of each file in which some are wanted.
    fn ask(&mut self, most: u64) {
        self.wanted.retain_mut(|(file, range)| {
            let end = range.end.min(range.start.saturating_add(most));
            file.read_ahead(range.start..end);
            range.start = end;
            !range.is_empty()
        });
    }

    /// A read of a file of this length: what is to be read ahead of whoever it is that goes on, if
    /// anything is.
    fn follow(
        &mut self,
        (file, length): (FileKey, u64),
        range: Range<u64>,
        waits: bool,
    ) -> Option<Range<u64>> {
        let Range { start, end } = range;
        let goes_on = |reader: &Reader| reader.next == start && reader.file == file;
        let Some(at) = self.readers.iter().position(goes_on) else {
            self.others += 1;
            if self.others == PATIENCE {
                self.others = 0;
                self.readers.retain_mut(|reader| std::mem::take(&mut reader.went_on));
            }
            if waits && end < length {
                self.readers.truncate(READERS - 1);
                let reader = Reader { file, start, next: end, until: end, went_on: true };
                self.readers.insert(0, reader);
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
        reader.went_on = true;
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

impl Server {
    /// Asks for what is to be read ahead; only for a part of it if somebody else may be waiting.
    pub(super) fn read_ahead(&mut self) {
        if self.host.ahead.is_behind() {
            let is_alone = self.turns.is_alone(self.host.now);
            self.host.ahead.ask(if is_alone { u64::MAX } else { STEP });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inner::local::Root;

    const PIECE: u64 = 128 * 1024;
    const FILE: (FileKey, u64) = (FileKey::Local(1, 2), 2_000_000 * PIECE);

    fn read(ahead: &mut Ahead, piece: u64, waits: bool) -> Option<Range<u64>> {
        ahead.follow(FILE, piece * PIECE..(piece + 1) * PIECE, waits)
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
            let range = ahead.follow(file, piece * PIECE..file.1.min((piece + 1) * PIECE), true);
            until = range.map_or(until, |range| range.end);
        }
        assert_eq!(until, file.1);
        assert!(ahead.readers.is_empty());
        assert_eq!(ahead.follow(file, 9 * PIECE..file.1, true), None);
        assert!(ahead.readers.is_empty());
    }

    #[test]
    fn who_never_waits_and_who_jumps_is_not_read_ahead_of() {
        let mut ahead = Ahead::default();
        (0..100).for_each(|piece| assert_eq!(read(&mut ahead, piece, false), None));
        assert!(ahead.readers.is_empty());
        (0..100).for_each(|piece| assert_eq!(read(&mut ahead, piece * 3, true), None));
        assert_eq!(ahead.readers.len(), READERS);
    }

    #[test]
    fn who_does_not_go_on_is_forgotten_while_others_read_and_who_does_is_not() {
        let mut ahead = Ahead::default();
        let streams = 1_000_000;
        read(&mut ahead, 0, true);
        read(&mut ahead, streams, true);
        for turn in 1..=4 {
            (0..PATIENCE / 2).for_each(|_| assert_eq!(read(&mut ahead, 500, false), None));
            read(&mut ahead, streams + turn, false);
        }
        let left = ahead.readers.iter().map(|reader| reader.next / PIECE);
        assert!(left.eq([streams + 5]));
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

    #[test]
    fn what_is_wanted_is_asked_for_in_steps_and_its_files_are_let_go() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("f"), []).unwrap();
        let root = Root::open(dir.path(), true).unwrap();
        let file = root.open_file(&["f".to_string()]).unwrap();
        let mut ahead = Ahead::default();
        ahead.want(&file, 0..STEP);
        ahead.want(&file, STEP..2 * STEP + 1);
        ahead.want(&file, 9 * STEP..9 * STEP + 1);
        let ranges = [0..2 * STEP + 1, 9 * STEP..9 * STEP + 1];
        assert!(ahead.wanted.iter().map(|(_, range)| range).eq(&ranges), "as they go on");
        ahead.ask(STEP);
        assert!(ahead.wanted.iter().map(|(_, range)| range).eq([&(STEP..2 * STEP + 1)]));
        ahead.ask(STEP);
        assert!(ahead.is_behind(), "one byte is left");
        ahead.ask(STEP);
        assert!(!ahead.is_behind());
        ahead.want(&file, 0..9 * STEP);
        ahead.ask(u64::MAX);
        assert!(!ahead.is_behind(), "all at once");
    }
}
