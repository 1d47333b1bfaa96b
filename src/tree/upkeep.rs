//! The upkeep of mirrors while the server runs: legs are made equal again, marks are cleaned,
//! legs are compared when somebody asks for it. One small step at a time, at a bounded rate, as
//! transfers like those of clients; what is to be done is known by each mirror
//! ([`Mirror`](crate::integrity::Mirror)), and nothing is decided here about bytes.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use styx::enames;
use styx::server::Ename;

use super::journal::Journal;
use super::{Owner, World};
use crate::ctl::Entry;
use crate::inner::{Carrier, Inner, refuses_sync};
use crate::integrity::Step;
use crate::integrity::mirror::Stepped;
use crate::integrity::pace::{Pace, STEP};
use crate::transfer::{Ask, Copied};

/// How long a region is quiet before it is synced and unmarked. It is marked again at the cost of
/// a write of the log, so what is written now and then should stay marked.
const QUIET: Duration = Duration::from_secs(3);

/// How long after a step that could not be begun or recorded, or a sync that failed, it is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// Ranges that a comparison tells at most: who has more will repair all of it.
const MAX_TOLD: usize = 100;

/// What upkeep does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chore {
    /// Copies or compares some bytes.
    Step,
    /// Syncs a mirror, to unmark what is quiet.
    Clean,
}

/// A comparison of a mirror's legs that is under way.
#[derive(Debug)]
struct Verify {
    entry: Rc<Entry>,
    /// Compared up to here, with the legs from this one on still to come.
    offset: u64,
    leg: usize,
    /// Bytes in ranges that differ, and how many ranges were told.
    differ: u64,
    told: usize,
}

#[derive(Debug)]
enum Job {
    Copy(Rc<Entry>, Step),
    Compare(Verify, Step),
}

/// What is under way, and what has happened.
#[derive(Debug, Default)]
pub struct Upkeep {
    /// How fast.
    pub(super) pace: Pace,
    /// What has happened.
    pub journal: Journal,
    /// Whether anything is changed: not before the server runs, and not while it only checks.
    mends: bool,
    /// Mirrors whose legs were found to differ.
    differing: usize,
    job: Option<Job>,
    cleaning: Option<Rc<Entry>>,
    /// Which mirror was cleaned last: the others come before it again.
    cleaned: usize,
    verifying: VecDeque<Verify>,
    /// When marks are looked at next.
    clean_at: Option<Instant>,
    /// A sync has failed, so the next one is not before this.
    sync_again: Option<Instant>,
    next: Option<Instant>,
    /// Chores that are over.
    ended: Vec<(Chore, Result<usize, Ename>, Option<Copied>)>,
    /// Which mirror had the last step.
    turn: usize,
}

fn name(entry: &Entry) -> String {
    format!("{}/{}", entry.config().dir, entry.config().name)
}

impl Upkeep {
    pub(super) fn ended(
        &mut self,
        chore: Chore,
        result: Result<usize, Ename>,
        copied: Option<Copied>,
    ) {
        self.ended.push((chore, result, copied));
    }

    /// How far a comparison of this mirror is, in bytes; `None` if none is under way.
    pub fn verified(&self, entry: &Rc<Entry>) -> Option<u64> {
        let running = match &self.job {
            Some(Job::Compare(verify, _)) => Some(verify),
            _ => None,
        };
        let mut all = running.into_iter().chain(&self.verifying);
        all.find(|verify| Rc::ptr_eq(&verify.entry, entry)).map(|verify| verify.offset)
    }

    /// Compares the legs in service of a mirror, from its start.
    pub(super) fn verify(&mut self, entry: Rc<Entry>) {
        let (offset, leg, differ, told) = (0, 0, 0, 0);
        self.verifying.push_back(Verify { entry, offset, leg, differ, told });
        self.next = None;
    }

    /// Looks at everything again, and soon.
    pub(super) fn wake(&mut self) {
        self.next = None;
    }
}

impl World {
    /// How fast legs are mended and compared.
    pub fn pace(&mut self) -> &mut Pace {
        &mut self.upkeep.pace
    }

    /// A client asked for something, so upkeep gives way.
    pub fn client_came(&mut self, now: Instant) {
        self.turn = Some(now);
        self.upkeep.pace.client_came(now);
    }

    /// From now on legs are mended, or not: then they are only compared. A server that is read
    /// only mends nothing.
    pub fn mend(&mut self, mends: bool) {
        self.upkeep.mends = mends && !self.settings.read_only;
        self.control.stirred().set(true);
    }

    /// Compares the legs in service of every mirror.
    pub fn verify_all(&mut self) {
        self.mirrors().into_iter().for_each(|entry| self.upkeep.verify(entry));
    }

    /// Whether legs are being compared.
    pub fn is_verifying(&self) -> bool {
        !self.upkeep.verifying.is_empty() || self.upkeep.job.is_some()
    }

    /// Whether there is nothing left to mend, as far as it can be.
    pub fn is_mended(&self) -> bool {
        let mirrors = self.mirrors();
        let mended = |entry: &Rc<Entry>| entry.device.mirror().is_none_or(|m| m.is_mended());
        self.upkeep.job.is_none() && self.upkeep.cleaning.is_none() && mirrors.iter().all(mended)
    }

    /// Whether all legs of all mirrors are in service, nothing is marked, and no comparison has
    /// found a difference.
    pub fn is_sound(&self) -> bool {
        let mirrors = self.mirrors();
        let sound = |entry: &Rc<Entry>| entry.device.mirror().is_none_or(|m| m.is_sound());
        self.upkeep.differing == 0 && mirrors.iter().all(sound)
    }

    /// What has happened to the mirrors, the latest at the end.
    pub fn happened(&self) -> &str {
        self.upkeep.journal.text()
    }

    /// What is known of the devices and their legs.
    pub fn status(&self) -> String {
        super::admin::status(self)
    }

    fn mirrors(&self) -> Vec<Rc<Entry>> {
        let mirrors = self.control.table().iter().map(|(_, _, entry)| entry);
        mirrors.filter(|e| e.device.is_mirror() && !e.device.is_gone()).cloned().collect()
    }

    /// Does what is due. The result is when there is more to do; `None` if not before something
    /// happens.
    pub fn upkeep(&mut self, host: &mut impl Carrier, now: Instant) -> Option<Instant> {
        let stirred = self.control.stirred().replace(false);
        let due = self.upkeep.next.is_some_and(|next| next <= now);
        if !stirred && !due && self.upkeep.ended.is_empty() && self.upkeep.verifying.is_empty() {
            return self.upkeep.next;
        }
        let time = host.time();
        for (chore, result, copied) in std::mem::take(&mut self.upkeep.ended) {
            match chore {
                Chore::Step => self.step_ended(copied, time),
                Chore::Clean => {
                    // What can't be synced at all is known to the mirror.
                    let synced = result.err().is_none_or(|ename| refuses_sync(&ename));
                    self.upkeep.sync_again = (!synced).then_some(now + AGAIN);
                    self.clean_ended(host, synced, time);
                }
            }
        }
        let mirrors = self.mirrors();
        mirrors.iter().for_each(|entry| entry.device.notice_upsets(time));
        self.tell_news(&mirrors, time);
        let mut next: Option<Instant> = None;
        let mut at = |when: Option<Instant>| next = next.into_iter().chain(when).min();
        if self.upkeep.mends {
            at(self.clean(host, &mirrors, now));
        }
        at(self.step(host, &mirrors, time, now));
        for entry in mirrors.iter().filter(|_| self.upkeep.mends) {
            let wants = entry.device.mirror().is_some_and(|mirror| mirror.wants_record());
            if wants {
                let _ = host.record(&entry.device, None);
                at(Some(now + AGAIN));
            }
        }
        self.tell_news(&mirrors, time);
        if self.transfers.has_finished() || self.control.stirred().get() {
            at(Some(now));
        }
        self.upkeep.next = next;
        next
    }

    fn tell_news(&mut self, mirrors: &[Rc<Entry>], time: u64) {
        for entry in mirrors {
            let news = entry.device.mirror().map(|mut mirror| mirror.take_news());
            for line in news.into_iter().flatten() {
                self.upkeep.journal.add(time, &format!("{}: {line}", name(entry)));
            }
        }
    }

    // Cleaning.

    fn clean(
        &mut self,
        host: &mut impl Carrier,
        mirrors: &[Rc<Entry>],
        now: Instant,
    ) -> Option<Instant> {
        if self.upkeep.cleaning.is_some() {
            return None;
        }
        if let Some(again) = self.upkeep.sync_again.filter(|&again| again > now) {
            return Some(again);
        }
        let at = *self.upkeep.clean_at.get_or_insert(now + QUIET);
        let last = self.upkeep.cleaned;
        let in_turn = || (1..=mirrors.len()).map(move |index| (last + index) % mirrors.len());
        let mirror = |turn: usize| mirrors[turn].device.mirror();
        let urgent = in_turn().find(|&turn| mirror(turn).is_some_and(|m| m.waits_for_sync()));
        if urgent.is_none() && at > now {
            if in_turn().any(|turn| mirror(turn).is_some_and(|m| m.is_marked())) {
                return Some(at);
            }
            self.upkeep.clean_at = None;
            return None;
        }
        if urgent.is_none() {
            self.upkeep.clean_at = Some(now + QUIET);
        }
        let begins = |&turn: &usize| mirror(turn).is_some_and(|mut m| m.begin_clean());
        let begun = match urgent {
            Some(_) => urgent.filter(begins),
            None => in_turn().find(begins),
        };
        let Some(turn) = begun else { return self.upkeep.clean_at };
        let entry = &mirrors[turn];
        (self.upkeep.cleaned, self.upkeep.cleaning) = (turn, Some(entry.clone()));
        let inner = Inner::Device(entry.device.clone());
        let owner = Owner::Upkeep(Chore::Clean);
        match self.transfers.begin(host, &inner, 0, Ask::Sync, owner) {
            std::task::Poll::Ready(result) => {
                self.upkeep.ended(Chore::Clean, result, None);
                Some(now)
            }
            std::task::Poll::Pending => None,
        }
    }

    fn clean_ended(&mut self, host: &mut impl Carrier, synced: bool, time: u64) {
        let Some(entry) = self.upkeep.cleaning.take() else { return };
        if let Some(mut mirror) = entry.device.mirror() {
            mirror.end_clean(synced, time);
        }
        let _ = host.record(&entry.device, None);
    }

    // Steps.

    fn step(
        &mut self,
        host: &mut impl Carrier,
        mirrors: &[Rc<Entry>],
        time: u64,
        now: Instant,
    ) -> Option<Instant> {
        if self.upkeep.job.is_some() {
            return None;
        }
        let ready = self.upkeep.pace.next(now)?;
        if ready > now {
            let idle = self.upkeep.verifying.is_empty()
                && mirrors.iter().all(|e| e.device.mirror().is_none_or(|m| m.next_due().is_none()));
            return (!idle).then_some(ready);
        }
        for index in 0..mirrors.len() {
            let turn = (self.upkeep.turn + 1 + index) % mirrors.len();
            let entry = &mirrors[turn];
            if !self.upkeep.mends {
                break;
            }
            let step = entry.device.mirror().and_then(|mut mirror| mirror.next_step(time));
            if let Some(step) = step {
                self.upkeep.turn = turn;
                self.upkeep.pace.began(step.count, now);
                self.upkeep.job = Some(Job::Copy(entry.clone(), step));
                let owner = Owner::Upkeep(Chore::Step);
                self.transfers.begin_copy(host, &entry.device, step, false, owner);
                return None;
            }
        }
        if self.compare(host, time, now) {
            return None;
        }
        if !self.upkeep.mends {
            return None;
        }
        let due = mirrors.iter().filter_map(|entry| entry.device.mirror()?.next_due()).min()?;
        Some(now + Duration::from_millis(due.saturating_sub(time)))
    }

    /// Begins the next step of a comparison, if one is under way.
    fn compare(&mut self, host: &mut impl Carrier, time: u64, now: Instant) -> bool {
        while let Some(mut verify) = self.upkeep.verifying.pop_front() {
            let device = verify.entry.device.clone();
            let length = device.geometry.length();
            let Some((first, next)) = device.mirror().and_then(|mirror| {
                let first = mirror.first()?;
                let legs = verify.leg.max(first + 1)..mirror.legs().len();
                Some((first, legs.into_iter().find(|&leg| mirror.is_read(leg))))
            }) else {
                continue;
            };
            if verify.offset >= length || device.is_gone() {
                self.upkeep.differing += usize::from(verify.differ > 0);
                let line = match verify.differ {
                    0 => format!("{}: verify: legs in service are equal", name(&verify.entry)),
                    n => format!("{}: verify: {n} bytes differ", name(&verify.entry)),
                };
                self.upkeep.journal.add(time, &line);
                continue;
            }
            let count = STEP.min(length - verify.offset);
            let Some(to) = next else {
                verify.offset += count;
                verify.leg = 0;
                if first + 1 >= device.inner().len() {
                    verify.offset = length;
                }
                self.upkeep.verifying.push_front(verify);
                continue;
            };
            let step = Step { from: first, to, offset: verify.offset, count };
            verify.leg = to + 1;
            self.upkeep.pace.began(count, now);
            self.upkeep.job = Some(Job::Compare(verify, step));
            self.transfers.begin_copy(host, &device, step, true, Owner::Upkeep(Chore::Step));
            return true;
        }
        false
    }

    fn step_ended(&mut self, copied: Option<Copied>, time: u64) {
        match self.upkeep.job.take() {
            Some(Job::Copy(entry, step)) => {
                let ended = match copied {
                    Some(Copied::Same | Copied::Lacked(_)) => Stepped::Equal { changed: false },
                    Some(Copied::Differed(_)) => Stepped::Equal { changed: true },
                    Some(Copied::SourceFailed(_)) => Stepped::SourceFailed,
                    Some(Copied::TargetFailed(why)) => {
                        let lost = why == enames::ETRUNCATED;
                        Stepped::TargetFailed { why: why.into_owned(), lost }
                    }
                    Some(Copied::NotBegun(_)) | None => Stepped::NotBegun,
                };
                if let Some(mut mirror) = entry.device.mirror() {
                    mirror.stepped(step, ended, time);
                }
            }
            Some(Job::Compare(mut verify, step)) => {
                let place = format!("{}: verify: leg {}", name(&verify.entry), step.to);
                let line = match copied {
                    Some(Copied::Differed(bytes) | Copied::Lacked(bytes)) => {
                        verify.differ += bytes.end - bytes.start;
                        let (start, end) = (bytes.start, bytes.end);
                        Some(format!("{place} differs from leg {} in {start}..{end}", step.from))
                    }
                    Some(Copied::SourceFailed(why)) => {
                        let leg = step.from;
                        verify.differ += step.count;
                        Some(format!("{place}: leg {leg} can't be read at {}: {why}", step.offset))
                    }
                    _ => None,
                };
                if let Some(line) = line {
                    verify.told += 1;
                    if verify.told <= MAX_TOLD {
                        self.upkeep.journal.add(time, &line);
                    }
                }
                self.upkeep.verifying.push_front(verify);
            }
            None => {}
        }
    }
}
