//! The fids of a session: what each stands for, and whether it is open.

use slab::Slab;

use super::Ename;
use crate::enames;
use crate::message::omode;

/// One fid.
#[derive(Debug)]
pub(super) struct Fid<F> {
    pub file: F,
    /// How it is open; `None` if it is not.
    pub mode: Option<u8>,
    /// It is open, and a directory.
    pub is_dir: bool,
    /// A request that will change what the fid stands for is under way.
    pub busy: bool,
    /// Where the next read of a directory must start (read(5)), and what the service calls it.
    pub dir_offset: u64,
    pub dir_cursor: u64,
    /// The last write that took nothing: where, and how often in a row.
    stuck: (u64, u32),
    serial: u64,
}

/// How often in a row a write may take nothing at one place. Linux sends what a write has not
/// taken again, for ever: its `dd` to a full device could only be killed. Nobody else repeats it.
const MAX_STUCK: u32 = 16;

/// A fid from its making to its clunk: not the one that has the same number afterwards.
#[derive(Clone, Copy, Debug)]
pub(super) struct FidRef {
    number: u32,
    serial: u64,
}

impl<F> Fid<F> {
    /// Whether it is open, and in one of these ways; the error says why not, `bad_use` where it is
    /// open in another.
    pub fn check_open(&self, ways: &[u8], bad_use: &'static str) -> Result<(), Ename> {
        match self.mode {
            None => Err(enames::EMODE.into()),
            Some(mode) if ways.contains(&(mode & omode::ACCESS)) => Ok(()),
            Some(_) => Err(bad_use.into()),
        }
    }

    /// Takes note of how many bytes of a write of `most` at `offset` were taken; an error if it is
    /// the same as before and nothing, once too often.
    pub fn check_progress(&mut self, offset: u64, most: u32, count: u32) -> Result<(), Ename> {
        if count > 0 || most == 0 {
            self.stuck = (0, 0);
            return Ok(());
        }
        let times = if self.stuck.0 == offset { self.stuck.1.saturating_add(1) } else { 1 };
        self.stuck = (offset, times);
        if times > MAX_STUCK { Err(enames::EFULL.into()) } else { Ok(()) }
    }

    /// Where in the directory a read at `offset` starts: at 0, which starts all over again, or
    /// where the last one ended (read(5)).
    pub fn seek_dir(&mut self, offset: u64) -> Result<u64, Ename> {
        if offset == 0 {
            (self.dir_offset, self.dir_cursor) = (0, 0);
        }
        if offset == self.dir_offset { Ok(self.dir_cursor) } else { Err(enames::EDIRSEEK.into()) }
    }
}

/// All fids of a session. Clients choose the numbers: a sorted list is searched as fast whatever they
/// choose, faster than a hash for the few that most clients have, and takes little memory for those.
#[derive(Debug)]
pub(super) struct Fids<F> {
    /// The number of each, in order, and which entry it has.
    numbers: Vec<(u32, usize)>,
    entries: Slab<Fid<F>>,
    limit: usize,
    serial: u64,
}

impl<F> Fids<F> {
    /// No fids, of which at most `limit` may exist at one time.
    pub fn new(limit: usize) -> Self {
        Fids { numbers: Vec::new(), entries: Slab::new(), limit, serial: 0 }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Where in the list the number is; or where it would be.
    fn find(&self, number: u32) -> Result<usize, usize> {
        self.numbers.binary_search_by_key(&number, |&(number, _)| number)
    }

    pub fn get(&self, number: u32) -> Option<&Fid<F>> {
        let (_, entry) = self.numbers[self.find(number).ok()?];
        self.entries.get(entry)
    }

    fn get_mut(&mut self, number: u32) -> Option<&mut Fid<F>> {
        let (_, entry) = self.numbers[self.find(number).ok()?];
        self.entries.get_mut(entry)
    }

    /// The fid, if it exists and no request is about to change it.
    pub fn usable(&mut self, number: u32) -> Result<(FidRef, &mut Fid<F>), Ename> {
        match self.get_mut(number) {
            None => Err(enames::EUNKNOWNFID.into()),
            Some(fid) if fid.busy => Err(enames::EFIDINUSE.into()),
            Some(fid) => Ok((FidRef { number, serial: fid.serial }, fid)),
        }
    }

    /// The fid, if it is usable and not open yet.
    pub fn closed(&mut self, number: u32) -> Result<(FidRef, &mut Fid<F>), Ename> {
        let usable = self.usable(number)?;
        if usable.1.mode.is_some() { Err(enames::EMODE.into()) } else { Ok(usable) }
    }

    /// The fid that was meant then, unless it was clunked since.
    pub fn same(&mut self, fid: FidRef) -> Result<&mut Fid<F>, Ename> {
        let entry = self.get_mut(fid.number).filter(|entry| entry.serial == fid.serial);
        entry.ok_or(enames::EUNKNOWNFID.into())
    }

    /// Whether a new fid may have this number.
    pub fn vacant(&self, number: u32) -> Result<(), Ename> {
        self.place(number).map(|_| ())
    }

    /// Where in the list a new fid with this number would be, if it may have it.
    fn place(&self, number: u32) -> Result<usize, Ename> {
        match self.find(number) {
            _ if number == crate::NOFID => Err(enames::EUNKNOWNFID.into()),
            Ok(_) => Err(enames::EFIDINUSE.into()),
            Err(_) if self.entries.len() >= self.limit => Err(enames::ENOFIDS.into()),
            Err(at) => Ok(at),
        }
    }

    /// Makes a fid that stands for `file`, if the number is vacant.
    pub fn make(&mut self, number: u32, file: F) -> Result<(), Ename> {
        let at = self.place(number)?;
        self.serial += 1;
        let serial = self.serial;
        let fid = Fid {
            file,
            mode: None,
            is_dir: false,
            busy: false,
            dir_offset: 0,
            dir_cursor: 0,
            stuck: (0, 0),
            serial,
        };
        self.numbers.insert(at, (number, self.entries.insert(fid)));
        Ok(())
    }

    /// Takes the fid out. That a request is about to change it is no hindrance: a clunk can't be
    /// refused (clunk(5)).
    pub fn remove(&mut self, number: u32) -> Result<Fid<F>, Ename> {
        let at = self.find(number).map_err(|_| enames::EUNKNOWNFID)?;
        let (_, entry) = self.numbers.remove(at);
        Ok(self.entries.remove(entry))
    }

    pub fn drain(&mut self) -> impl Iterator<Item = Fid<F>> {
        self.numbers.clear();
        std::mem::take(&mut self.entries).into_iter().map(|(_, fid)| fid)
    }
}
