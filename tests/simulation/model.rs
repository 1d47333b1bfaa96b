//! What every byte may hold. A write puts its own bytes everywhere, so a byte that is read tells
//! whose it is. Of the writes that may be there, none is older than one that was acknowledged before
//! the read began; and after a crash, none is older than one that was acknowledged and synced, unless
//! the disk had lied.

use std::collections::BTreeMap;

use crate::plan::{NOBODYS, Plan};

/// The byte that write `id` puts at a place of a file; write 0 is what was there at first.
pub fn pattern(id: u64, file: usize, at: u64) -> u8 {
    let mut z = (at >> 3) ^ (file as u64) << 32 ^ id.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> (8 * (at & 7))) as u8
}

/// A write.
#[derive(Clone, Copy, Debug)]
struct Wrote {
    /// Whose it is: what one connection asks for is done in that order.
    conn: u64,
    begun: u64,
    /// When it was known to be over; what is not over may come at any time.
    ended: u64,
    /// When it was acknowledged.
    acked: u64,
    /// A crash may have taken it, or a part of it.
    taken: bool,
}

const NEVER: u64 = u64::MAX;

/// A range of a file, all of whose bytes have the same history.
#[derive(Clone, Debug)]
struct Run {
    end: u64,
    /// Writes that came here, and may be here.
    wrote: Vec<u64>,
    /// Those of them that were acknowledged, and are not lost by a crash; those that no crash can
    /// undo.
    certain: Vec<u64>,
    durable: Vec<u64>,
    /// A disk has lost what it had said to be on stable storage.
    lost: bool,
    /// It may have been what was copied to a spare file, and left what that held before.
    bared: bool,
    /// Somebody has called a leg right that need not be: what is there may be of any write, for good.
    repaired: bool,
}

/// All of it.
pub struct Model {
    files: Vec<BTreeMap<u64, Run>>,
    writes: Vec<Wrote>,
    /// Writes that nobody will hear of any more: they may be done later.
    orphans: Vec<u64>,
    /// The servers that a file's bytes are on, and when each of all servers died last.
    shared: Vec<Vec<usize>>,
    crashes: Vec<u64>,
    /// Grows with everything that happens.
    pub clock: u64,
}

/// A range of a thing as ranges of files.
pub type Ranges = Vec<(usize, u64, u64)>;

impl Model {
    pub fn new(plan: &Plan) -> Model {
        let run = |file: &Vec<u8>| Run {
            end: file.len() as u64,
            wrote: vec![0],
            certain: vec![0],
            durable: vec![0],
            lost: false,
            bared: false,
            repaired: false,
        };
        let files = plan.files.iter().map(|file| BTreeMap::from([(0, run(file))])).collect();
        let first = Wrote { conn: 0, begun: 0, ended: 0, acked: 0, taken: false };
        let shared = plan.shared.clone();
        let (writes, orphans, crashes) = (vec![first], Vec::new(), vec![0; plan.servers]);
        Model { files, writes, orphans, shared, crashes, clock: 1 }
    }

    /// Whether `x` is gone where `y` was done: it was over before, or came before on one connection.
    fn is_before(&self, x: u64, y: u64) -> bool {
        let (x, y) = (&self.writes[x as usize], &self.writes[y as usize]);
        x.ended < y.begun || x.conn == y.conn && x.begun < y.begun
    }

    fn split(&mut self, file: usize, at: u64) {
        let runs = &mut self.files[file];
        if let Some((&start, run)) = runs.range_mut(..=at).next_back()
            && start < at
            && at < run.end
        {
            let after = run.clone();
            run.end = at;
            runs.insert(at, after);
        }
    }

    /// Calls `with` with each run of these ranges.
    fn each(&mut self, ranges: &[(usize, u64, u64)], mut with: impl FnMut(&mut Run)) {
        for &(file, start, count) in ranges {
            self.split(file, start);
            self.split(file, start + count);
            self.files[file].range_mut(start..start + count).for_each(|(_, run)| with(run));
        }
    }

    /// A write is asked for: its number.
    pub fn begin_write(&mut self, conn: u64, ranges: &Ranges) -> u64 {
        let id = self.writes.len() as u64;
        self.writes.push(Wrote {
            conn,
            begun: self.clock,
            ended: NEVER,
            acked: NEVER,
            taken: false,
        });
        self.each(ranges, |run| run.wrote.push(id));
        id
    }

    /// A write has been answered, well or not.
    pub fn end_write(&mut self, id: u64, ranges: &Ranges, ok: bool) {
        self.writes[id as usize].ended = self.clock;
        if !ok {
            return;
        }
        self.writes[id as usize].acked = self.clock;
        let begun = self.writes[id as usize].begun;
        for range in ranges {
            // A server may have died after it did its part, and before this was known.
            if self.shared[range.0].iter().all(|&server| self.crashes[server] < begun) {
                self.each(&[*range], |run| {
                    if !run.repaired {
                        run.certain.push(id);
                    }
                });
            }
        }
    }

    /// A write was flushed before it began: it is not done, and never will be.
    pub fn drop_write(&mut self, id: u64, ranges: &Ranges) {
        self.writes[id as usize].ended = self.clock;
        self.each(ranges, |run| run.wrote.retain(|&wrote| wrote != id));
    }

    /// Nobody will hear of a write any more.
    pub fn forget_write(&mut self, id: u64) {
        self.orphans.push(id);
    }

    /// Nothing is under way anywhere: what nobody heard of is over.
    pub fn all_quiet(&mut self) {
        for id in std::mem::take(&mut self.orphans) {
            self.writes[id as usize].ended = self.clock;
        }
    }

    /// A sync that began at a time has ended well: what was acknowledged before it stays.
    pub fn synced(&mut self, began: u64, ranges: &Ranges) {
        let writes = std::mem::take(&mut self.writes);
        self.each(ranges, |run| {
            let stays = |&&id: &&u64| writes[id as usize].acked < began;
            let more: Vec<u64> = run.certain.iter().filter(stays).copied().collect();
            run.durable = [std::mem::take(&mut run.durable), more].concat();
            run.durable.sort_unstable();
            run.durable.dedup();
        });
        self.writes = writes;
    }

    /// A server has died: these files may have lost what was not on stable storage.
    pub fn crashed(&mut self, server: usize, files: &[usize]) {
        self.crashes[server] = self.clock;
        for &file in files {
            let runs = self.files[file].values_mut();
            runs.for_each(|run| run.certain.clone_from(&run.durable));
        }
    }

    /// When a write was acknowledged.
    pub fn acked(&self, id: u64) -> u64 {
        self.writes[id as usize].acked
    }

    /// Whether a server has bytes of a file, or of the mirror that it is in.
    pub fn is_on(&self, file: usize, server: usize) -> bool {
        self.shared[file].contains(&server)
    }

    /// A crash may have taken these bytes of a file, which were not on stable storage.
    pub fn took(&mut self, file: usize, offset: u64, data: &[u8]) {
        let runs = self.files[file].range(..=offset).next_back();
        // Of fewer bytes nobody can tell whose they are.
        let Some((_, run)) = runs.filter(|_| data.len() >= 8) else { return };
        let is_its =
            |id| data.iter().zip(offset..).all(|(&byte, at)| pattern(id, file, at) == byte);
        for &id in run.wrote.iter().filter(|&&id| is_its(id)) {
            self.writes[id as usize].taken = true;
        }
    }

    /// Checks that a sync that began at a time may end well on a fid by which these writes came since
    /// the last one: no server that another one has the file from has lost one of them, or it must be told.
    pub fn check_synced(&self, began: u64, ranges: &Ranges, writes: &[u64]) -> Result<(), String> {
        let is_alone = ranges.iter().all(|&(file, _, _)| self.shared[file].len() == 1);
        let taken = |id: &&u64| {
            let wrote = &self.writes[**id as usize];
            is_alone && wrote.taken && wrote.acked < began
        };
        writes.iter().find(taken).map_or(Ok(()), |id| Err(format!("write {id} may be lost")))
    }

    /// A disk has lost what it had said to be on stable storage: what is there may be of any write.
    pub fn lost(&mut self, ranges: &Ranges) {
        self.doubt(ranges);
        self.each(ranges, |run| run.bared = true);
    }

    fn doubt(&mut self, ranges: &Ranges) {
        self.each(ranges, |run| {
            run.certain.clear();
            run.durable.clear();
            run.lost = true;
        });
    }

    /// Somebody calls a leg of a mirror right, now or when that is heard.
    pub fn repaired(&mut self, ranges: &Ranges) {
        self.doubt(ranges);
        self.each(ranges, |run| run.repaired = true);
    }

    /// Whether a disk that lied may have lost this byte.
    pub fn is_lost(&self, file: usize, at: u64) -> bool {
        self.files[file].range(..=at).next_back().is_some_and(|(_, run)| run.lost)
    }

    /// Whether write `id` may be found in a run by a read that began at this time.
    fn may_be(&self, run: &Run, id: u64, began: u64) -> bool {
        let covers = |&&by: &&u64| self.writes[by as usize].acked < began && self.is_before(id, by);
        !run.certain.iter().any(|by| covers(&by))
    }

    /// Checks what a read that began at a time has found, or says whose it may be.
    pub fn check(&self, began: u64, ranges: &Ranges, data: &[u8]) -> Result<(), String> {
        let mut data = data.iter();
        for &(file, start, count) in ranges {
            let first = self.files[file].range(..=start).next_back().map_or(0, |(&at, _)| at);
            for (&from, run) in self.files[file].range(first..start + count) {
                let may = |&&id: &&u64| self.may_be(run, id, began);
                let may: Vec<u64> = run.wrote.iter().filter(may).copied().collect();
                for at in from.max(start)..run.end.min(start + count) {
                    let Some(&byte) = data.next() else { return Ok(()) };
                    let is_nobodys = run.bared && byte == NOBODYS;
                    if !is_nobodys && !may.iter().any(|&id| pattern(id, file, at) == byte) {
                        let was = run.wrote.iter().find(|&&id| pattern(id, file, at) == byte);
                        return Err(format!(
                            "byte {at} of file {file} is of write {was:?} and not of {may:?}; \
                             all {:?}, certain {:?}, durable {:?}",
                            run.wrote, run.certain, run.durable
                        ));
                    }
                }
            }
        }
        Ok(())
    }
}

/// The part of a thing's ranges that `count` bytes from `offset` on are.
pub fn part(ranges: &Ranges, offset: u64, count: u64) -> Ranges {
    let (mut at, end) = (0, offset + count);
    let mut found = Ranges::new();
    for &(file, place, length) in ranges {
        let (from, to) = (at.max(offset), (at + length).min(end));
        if from < to {
            found.push((file, place + from - at, to - from));
        }
        at += length;
    }
    found
}
