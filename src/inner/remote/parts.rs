//! Reads, writes and syncs of the files of a mount. A transfer that is larger than one message can carry
//! goes out in parts, and is put together again when they have come back.

use std::sync::atomic::Ordering;
use std::time::Instant;

use styx::server::Ename;
use styx::{Stat, Tmsg, enames};

use super::{Asked, Done, Mount, RemoteFile};
use crate::inner::Op;

/// The most requests that are under way on one connection before further parts wait: as many as a
/// dsfs takes at one time from a client, and enough to keep any network full. Parts of transfers
/// that are large by far are so kept from using up the tags.
const MAX_UNDER_WAY: usize = 1024;

/// A read or write, in parts.
#[derive(Debug)]
pub(super) struct Split {
    op: Op,
    write: bool,
    fid: u32,
    offset: u64,
    count: usize,
    /// The most bytes of one part.
    unit: usize,
    /// A read's bytes so far, each part's in its place; of a write that could not be sent at once,
    /// the rest.
    data: Vec<u8>,
    /// Where the bytes in `data` start.
    base: usize,
    /// How many bytes have been asked for.
    asked: usize,
    /// How many parts are under way.
    under_way: usize,
    /// Whether it is among those that have more to send.
    queued: bool,
    /// Where the bytes that count end: a short part ends them there.
    end: usize,
    error: Option<Ename>,
}

impl Split {
    pub fn is_write(&self) -> bool {
        self.write
    }

    /// Whether no more of it is to be asked for: what comes after a part that failed, or stopped
    /// short, would be of no use.
    fn is_asked(&self) -> bool {
        self.asked == self.count || self.error.is_some() || self.end < self.asked
    }
}

impl Mount {
    /// Reads `count` bytes from byte `offset`; the answer is a [`Done::Read`].
    ///
    /// # Errors
    /// If the file is not open: the server is away, or the file is not what it was.
    pub fn read(
        &mut self,
        file: &RemoteFile,
        offset: u64,
        count: usize,
        op: Op,
        now: Instant,
    ) -> Result<(), Ename> {
        let split = self.split(file, (offset, count), false, op, now)?;
        self.splits[split].data = vec![0; count];
        self.start(split, &[], now);
        Ok(())
    }

    /// Writes `data` at byte `offset`; the answer is a [`Done::Wrote`].
    ///
    /// # Errors
    /// If the file is not open: the server is away, or the file is not what it was.
    pub fn write(
        &mut self,
        file: &RemoteFile,
        offset: u64,
        data: &[u8],
        op: Op,
        now: Instant,
    ) -> Result<(), Ename> {
        let split = self.split(file, (offset, data.len()), true, op, now)?;
        file.changes().fetch_add(1, Ordering::Relaxed);
        self.start(split, data, now);
        Ok(())
    }

    /// Asks that the file be on stable storage, by a wstat that touches nothing (stat(5)); the
    /// answer is a [`Done::Synced`].
    ///
    /// # Errors
    /// If the file is not open: the server is away, or the file is not what it was.
    pub fn sync(&mut self, file: &RemoteFile, op: Op, now: Instant) -> Result<(), Ename> {
        let open = self.open_fid(file, now)?;
        let (id, until) = self.begin_sync(file)?;
        let mut stat = Vec::new();
        Stat::DONT_TOUCH.encode(&mut stat);
        let asked = Asked::Sync { op, file: id, until };
        self.send(&Tmsg::Wstat { fid: open.fid, stat: &stat }, asked, now);
        Ok(())
    }

    fn split(
        &mut self,
        file: &RemoteFile,
        (offset, count): (u64, usize),
        write: bool,
        op: Op,
        now: Instant,
    ) -> Result<usize, Ename> {
        let open = self.open_fid(file, now)?;
        if write {
            self.begin_write(file);
        }
        Ok(self.splits.insert(Split {
            op,
            write,
            fid: open.fid,
            offset,
            count,
            unit: open.unit as usize,
            data: Vec::new(),
            base: 0,
            asked: 0,
            under_way: 0,
            queued: false,
            end: count,
            error: None,
        }))
    }

    /// Sends as many parts as there is room for, after those that have waited longer.
    fn start(&mut self, split: usize, data: &[u8], now: Instant) {
        while self.unsent.is_empty() && self.has_room() && !self.splits[split].is_asked() {
            let rest = &data[data.len().min(self.splits[split].asked)..];
            self.send_part(split, rest, now);
        }
        let state = &mut self.splits[split];
        if !state.is_asked() {
            if state.write {
                state.data = data[state.asked..].to_vec();
                state.base = state.asked;
            }
            state.queued = true;
            self.unsent.push_back(split);
        }
        self.end_split(split);
    }

    fn has_room(&self) -> bool {
        self.client.outstanding() < MAX_UNDER_WAY
    }

    /// Sends parts that have waited, one of each transfer in turn, as long as there is room.
    pub(super) fn send_parts(&mut self, now: Instant) {
        while self.has_room() {
            let Some(split) = self.unsent.pop_front() else { return };
            let state = &mut self.splits[split];
            state.queued = false;
            if !state.is_asked() {
                let data = std::mem::take(&mut state.data);
                let rest = if state.write { &data[state.asked - state.base..] } else { &[] };
                self.send_part(split, rest, now);
                let state = &mut self.splits[split];
                state.data = data;
                if !state.is_asked() {
                    state.queued = true;
                    self.unsent.push_back(split);
                }
            }
            self.end_split(split);
        }
    }

    /// Sends the next part; of a write, `rest` starts with its data.
    fn send_part(&mut self, split: usize, rest: &[u8], now: Instant) {
        let state = &mut self.splits[split];
        let (fid, at) = (state.fid, state.asked);
        let count = state.unit.min(state.count - at);
        let offset = state.offset.saturating_add(at as u64);
        state.asked += count;
        state.under_way += 1;
        let message = match state.write {
            true => Tmsg::Write { fid, offset, data: &rest[..count] },
            false => Tmsg::Read { fid, offset, count: count as u32 },
        };
        let asked = Asked::Part { split, at, count };
        if self.try_send(&message, asked, now).is_err() {
            let state = &mut self.splits[split];
            state.under_way -= 1;
            state.error.get_or_insert(enames::ENOTAGS.into());
        }
    }

    /// The data of one part of a read: no more than were asked for.
    pub(super) fn read_part(&mut self, split: usize, at: usize, count: usize, data: &[u8]) {
        self.splits[split].data[at..at + data.len()].copy_from_slice(data);
        self.part_moved(split, at, count, data.len());
    }

    /// One part of a write: so many of its `count` bytes were taken.
    pub(super) fn wrote_part(&mut self, split: usize, at: usize, count: usize, taken: usize) {
        self.part_moved(split, at, count, taken);
    }

    fn part_moved(&mut self, split: usize, at: usize, count: usize, moved: usize) {
        let state = &mut self.splits[split];
        if moved < count {
            state.end = state.end.min(at + moved);
        }
        state.under_way -= 1;
        self.end_split(split);
    }

    pub(super) fn part_failed(&mut self, split: usize, ename: Ename) {
        let state = &mut self.splits[split];
        state.error.get_or_insert(ename);
        state.under_way -= 1;
        self.end_split(split);
    }

    /// Tells what came of a transfer if all of it has come back.
    fn end_split(&mut self, split: usize) {
        let state = &self.splits[split];
        if state.under_way > 0 || state.queued || !state.is_asked() {
            return;
        }
        let Split { op, write, mut data, end, error, .. } = self.splits.remove(split);
        self.done.push_back(match (write, error) {
            (true, error) => Done::Wrote(op, error.map_or(Ok(end), Err)),
            (false, Some(ename)) => Done::Read(op, Err(ename)),
            (false, None) => {
                data.truncate(end);
                Done::Read(op, Ok(data))
            }
        });
    }

    /// The connection is gone: all reads and writes fail.
    pub(super) fn fail_splits(&mut self, why: &str) {
        self.unsent.clear();
        for split in std::mem::take(&mut self.splits).into_iter().map(|(_, split)| split) {
            let error = Ename::from(why.to_string());
            self.done.push_back(match split.write {
                true => Done::Wrote(split.op, Err(error)),
                false => Done::Read(split.op, Err(error)),
            });
        }
    }
}
