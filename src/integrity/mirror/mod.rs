//! What one mirror remembers of its legs. Pure: times are arguments, in milliseconds since 1970,
//! and what is to be copied, synced or recorded is told to the caller, who then tells how it went.
//!
//! A region that is *marked* may differ between legs, because a write to it has begun and it is
//! not known yet to be on stable storage everywhere. A region that is *stale* on a leg must be
//! rewritten there. A leg in service may have stale regions: it answered no read of them, or a
//! write stopped before it came there; its bytes are still ones that were written.

mod clean;
mod leg;
mod record;
mod replace;
#[cfg(test)]
mod tests;
mod upset;

use std::cell::Cell;
use std::ops::Range;
use std::rc::Rc;

use styx::enames;

use crate::integrity::intent::{Regions, Scale};
use crate::integrity::log::Identity;
use crate::integrity::pace::STEP;

pub use leg::{Leg, Service};
pub use upset::Upsets;

/// A leg that fails this many reads, none of them longer than [`FORGET`] after the one before, is
/// out of service: each costs a client the time of a failed read.
pub const MAX_FAILED_READS: u32 = 16;

/// A failed read that is this old says nothing any more, in milliseconds.
pub const FORGET: u64 = 60_000;

/// How long after something went wrong in a leg that stays in service it is mended, in
/// milliseconds: the cause may still be at work.
pub const MOMENT: u64 = 1_000;

/// How long after it went out a leg is tried again, in milliseconds; doubled each time that fails.
pub const MIN_RETRY: u64 = 1_000;

/// The longest time between two such tries, in milliseconds.
pub const MAX_RETRY: u64 = 60_000;

/// Regions marked beyond a write that follows another one, so that a long run of writes waits for
/// the log once for this many regions.
const AHEAD: usize = 16;

/// News kept for who asks next: more than one turn of the loop brings.
const MAX_NEWS: usize = 64;

/// Some bytes to be copied from one leg to another where they differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The leg with the right bytes.
    pub from: usize,
    /// The leg to be mended.
    pub to: usize,
    /// Where.
    pub offset: u64,
    /// How many bytes, at most [`STEP`].
    pub count: u64,
}

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stepped {
    /// Both legs hold the same now.
    Equal {
        /// Of the leg that was mended other bytes could be read before.
        changed: bool,
    },
    /// Nothing was done: the good leg went out of service, or the log could not be written.
    NotBegun,
    /// The good leg could not be read.
    SourceFailed,
    /// The other leg could not be written: why, and whether it has lost bytes at its end.
    TargetFailed {
        /// The error.
        why: String,
        /// It would have got a hole.
        lost: bool,
    },
}

/// How a read failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadRead {
    /// With an error.
    Error,
    /// With only so many bytes.
    Short(u64),
}

/// What is known of the log on stable storage.
#[derive(Debug)]
struct Logged {
    /// Regions that it marks, whatever becomes of the record that is being written.
    marked: Regions,
    /// What a record that is being written marks, and the change that it has.
    under_way: Option<(Regions, u64)>,
    /// Changes of legs that a write must not overtake, and how many of them are in the log.
    changes: u64,
    durable: u64,
    /// Something that can wait is to be recorded.
    wanted: bool,
    sequence: u64,
    /// Which half of the file is written next.
    half: usize,
    identity: Identity,
}

/// The memory of one mirror.
#[derive(Debug)]
pub struct Mirror {
    scale: Scale,
    legs: Vec<Leg>,
    marked: Regions,
    /// Marked regions that were written to since the last cleaning began.
    touched: Regions,
    /// Regions of the writes under way.
    writing: Vec<Range<usize>>,
    /// What the cleaning under way will unmark.
    cleaning: Option<Regions>,
    log: Option<Logged>,
    /// The leg that is being replaced, and whether a person had held it before.
    replacing: Option<(usize, bool)>,
    upsets: Upsets,
    news: Vec<String>,
    stirred: Rc<Cell<bool>>,
}

impl Mirror {
    /// A mirror of `length` bytes whose legs are all in service, and equal as far as is known.
    pub fn new(length: u64, legs: usize) -> Self {
        let scale = Scale::new(length);
        let none = Regions::new(scale.count());
        Mirror {
            scale,
            legs: (0..legs).map(|_| Leg::new(scale.count())).collect(),
            marked: none.clone(),
            touched: none,
            writing: Vec::new(),
            cleaning: None,
            log: None,
            replacing: None,
            upsets: Upsets::default(),
            news: Vec::new(),
            stirred: Rc::default(),
        }
    }

    /// Sets `flag` from now on when there is something to look after.
    pub fn watch(&mut self, flag: Rc<Cell<bool>>) {
        flag.set(true);
        self.stirred = flag;
    }

    /// How it is cut into regions.
    pub fn scale(&self) -> Scale {
        self.scale
    }

    /// Its legs.
    pub fn legs(&self) -> &[Leg] {
        &self.legs
    }

    /// Regions that may differ until they are known to be on stable storage.
    pub fn marked(&self) -> &Regions {
        &self.marked
    }

    /// How many bytes these regions have.
    pub fn bytes(&self, regions: &Regions) -> u64 {
        regions.iter().map(|region| self.scale.bytes(region)).map(|b| b.end - b.start).sum()
    }

    /// What has happened since this was last called, as lines of text.
    pub fn take_news(&mut self) -> Vec<String> {
        std::mem::take(&mut self.news)
    }

    fn tell(&mut self, news: String) {
        self.stirred.set(true);
        if self.news.len() < MAX_NEWS {
            self.news.push(news);
        }
    }

    /// Whether a leg is read.
    pub fn is_read(&self, leg: usize) -> bool {
        self.legs.get(leg).is_some_and(|leg| leg.service == Service::In)
    }

    /// Whether a leg is written.
    pub fn is_written(&self, leg: usize) -> bool {
        let written = |leg: &Leg| matches!(leg.service, Service::In | Service::CatchingUp);
        self.legs.get(leg).is_some_and(written)
    }

    /// The legs that are read beside this one.
    fn others(&self, leg: usize) -> impl Iterator<Item = usize> {
        (0..self.legs.len()).filter(move |&other| other != leg && self.is_read(other))
    }

    /// The leg that is read first.
    pub fn first(&self) -> Option<usize> {
        (0..self.legs.len()).find(|&leg| self.is_read(leg))
    }

    /// Whether a write of this range, which reaches the legs now, has nothing to wait for, and nothing is
    /// to be remembered of it if all take it: every leg is in service, the range is marked, and the
    /// log knows all that there is.
    pub fn writes_plainly(&mut self, offset: u64, count: u64) -> bool {
        let plainly = self.legs.iter().all(|leg| leg.service == Service::In);
        let Some(log) = &self.log else { return plainly };
        let span = self.scale.span(offset, count);
        let is_marked = log.marked.has_all(span.clone()) && self.marked.has_all(span.clone());
        if !plainly || !is_marked || log.durable != log.changes {
            return false;
        }
        self.touched.add(span);
        true
    }

    /// A write of this range is about to reach the legs. True if it may; if not, it has to wait
    /// until a record that is begun from now on has ended. [`end_write`](Mirror::end_write) is
    /// owed in any case.
    pub fn begin_write(&mut self, offset: u64, count: u64) -> bool {
        let Some(log) = &self.log else { return true };
        let span = self.scale.span(offset, count);
        self.writing.push(span.clone());
        self.touched.add(span.clone());
        if log.marked.has_all(span.clone()) {
            // It may be on its way out of the marked ones (see `end_clean`), and is to be cleaned again.
            if !self.marked.has_all(span.clone()) {
                self.marked.add(span);
                self.stirred.set(true);
            }
            return true;
        }
        let runs_on = span.start > 0 && self.marked.has(span.start - 1);
        let ahead = if runs_on { AHEAD } else { 0 };
        self.marked.add(span.start..span.end.saturating_add(ahead));
        self.stirred.set(true);
        false
    }

    /// A write that began is over, or was never begun after all.
    pub fn end_write(&mut self, offset: u64, count: u64) {
        if self.log.is_some() {
            let span = self.scale.span(offset, count);
            if let Some(at) = self.writing.iter().position(|other| *other == span) {
                self.writing.swap_remove(at);
            }
            self.touched.add(span);
        }
    }

    /// Whether the log knows which legs are out. Until then no write is answered that they did
    /// not get: after a crash one of them would be taken for right.
    pub fn is_settled(&self) -> bool {
        self.log.as_ref().is_none_or(|log| log.durable == log.changes)
    }

    /// A write of this range passed a leg over, or failed there. The log need not say so: the
    /// range is marked, so that it is stale there after a crash.
    pub fn missed(&mut self, leg: usize, offset: u64, count: u64) {
        let span = self.scale.span(offset, count);
        // A leg that is alone can't differ from any other.
        if self.legs.len() > 1 {
            self.legs[leg].add_stale(span);
        }
    }

    /// A leg failed a write: it misses that range, and is out unless it is the last one in
    /// service.
    pub fn write_failed(&mut self, leg: usize, range: (u64, u64), why: &str, now: u64) {
        self.missed(leg, range.0, range.1);
        self.take_out(leg, why, Service::Out, now);
    }

    /// A leg was made shorter behind our back, and a write to it has left a hole that reads as
    /// zeros. It is not read until all of it has been compared; it is still written.
    pub fn holed(&mut self, leg: usize, now: u64) {
        // One that is alone is compared with nothing, and would be found short again and again.
        if self.legs.len() == 1 {
            return;
        }
        self.lost(leg);
        self.mend_soon(leg, now);
        let first = self.first();
        let is_alone = self.others(leg).next().is_none();
        let holed = &mut self.legs[leg];
        if !is_alone && holed.service == Service::In {
            (holed.service, holed.since) = (Service::CatchingUp, now);
            holed.why = enames::ETRUNCATED.to_string();
            if let Some(log) = &mut self.log {
                log.changes += 1;
            }
            tracing::warn!(leg, "a mirror's leg is shorter than it was");
            self.tell(format!("leg {leg} catching-up: {}", enames::ETRUNCATED));
            self.shift_from(first);
        }
    }

    /// A write stopped half way: legs in service hold this range differently, until they are made
    /// equal from the one that is read first.
    pub fn half_written(&mut self, offset: u64, count: u64, now: u64) {
        let first = self.first();
        for leg in (0..self.legs.len()).filter(|&leg| Some(leg) != first) {
            self.missed(leg, offset, count);
            self.mend_soon(leg, now);
        }
    }

    /// A leg in service failed a read of this range, or answered short.
    pub fn read_failed(&mut self, leg: usize, offset: u64, count: u64, bad: BadRead, now: u64) {
        if !self.is_read(leg) {
            return;
        }
        let (from, lacks) = match bad {
            BadRead::Error => (offset, count),
            // Nobody knows how much is gone before that.
            BadRead::Short(0) => (0, u64::MAX),
            BadRead::Short(got) => (offset.saturating_add(got), u64::MAX),
        };
        let span = self.scale.span(from, lacks);
        if self.others(leg).any(|other| self.is_stale(other, span.clone())) {
            // That one may answer now.
            self.shift();
        }
        self.missed(leg, from, lacks);
        self.mend_soon(leg, now);
        let failed = &mut self.legs[leg];
        if now.saturating_sub(failed.failed_at) > FORGET {
            failed.failures = 0;
        }
        (failed.failures, failed.failed_at) = (failed.failures.saturating_add(1), now);
        let failures = failed.failures;
        if failures == 1 {
            self.tell(format!("leg {leg} failed a read at {offset}, which is to be rewritten"));
        }
        if failures >= MAX_FAILED_READS {
            self.take_out(leg, "it fails reads again and again", Service::Out, now);
        }
    }

    fn is_stale(&self, leg: usize, mut span: Range<usize>) -> bool {
        span.any(|region| self.legs[leg].stale.has(region))
    }

    fn mend_soon(&mut self, leg: usize, now: u64) {
        let leg = &mut self.legs[leg];
        leg.retry_at = leg.retry_at.max(now.saturating_add(MOMENT));
        self.want_record();
    }

    /// A leg holds less than it did: all of it has to be looked at.
    fn lost(&mut self, leg: usize) {
        self.missed(leg, 0, u64::MAX);
        self.legs[leg].cursor = None;
    }

    /// Takes a leg out of service (D19). The last one stays, since nothing holds more than it does.
    /// True if it is out.
    fn take_out(&mut self, leg: usize, why: &str, to: Service, now: u64) -> bool {
        let first = self.first();
        let is_alone = self.others(leg).next().is_none();
        let out = &mut self.legs[leg];
        let was = out.service;
        match was {
            Service::In if is_alone => return false,
            Service::Out | Service::Held => return true,
            Service::In => out.retry_wait = MIN_RETRY,
            Service::CatchingUp => out.retry_wait = (out.retry_wait * 2).min(MAX_RETRY),
        }
        (out.service, out.since) = (to, now);
        out.why = why.to_string();
        out.retry_at = now.saturating_add(out.retry_wait);
        out.cursor = None;
        // It will not be synced any more, so what was written to it last may be gone after a crash,
        // when it is marked no more.
        out.stale = out.unsure();
        out.stale.unite(&self.marked);
        out.copied.clear();
        out.syncing.clear();
        if let Some(log) = &mut self.log {
            log.changes += 1;
        }
        if was == Service::In {
            tracing::warn!(leg, why, "a mirror's leg is out of service");
        }
        self.tell(format!("leg {leg} {}: {why}", to.word()));
        self.shift_from(first);
        true
    }

    // What a person asks for.

    /// Takes a leg out of service until a person brings it back, if it is not the last one.
    pub fn hold(&mut self, leg: usize, why: &str, now: u64) {
        if self.take_out(leg, why, Service::Held, now) {
            self.legs[leg].service = Service::Held;
            self.want_record();
        }
    }

    /// Everything that is stale is to be rewritten now, and legs that are held come back.
    pub fn resync(&mut self) {
        let replaced = self.replacing.map(|(leg, _)| leg);
        for (number, leg) in self.legs.iter_mut().enumerate() {
            leg.retry_at = 0;
            if leg.service == Service::Held && Some(number) != replaced {
                leg.service = Service::Out;
            }
        }
        self.want_record();
    }

    /// A leg is right, whatever was known of it: all of the others is to be rewritten.
    pub fn repair_from(&mut self, source: usize, now: u64) {
        let good = &mut self.legs[source];
        (good.service, good.since) = (Service::In, now);
        good.why.clear();
        good.stale.clear();
        good.cursor = None;
        for leg in (0..self.legs.len()).filter(|&leg| leg != source) {
            self.lost(leg);
            self.take_out(leg, "it is being repaired", Service::Out, now);
            self.legs[leg].retry_at = 0;
        }
        self.shift();
        self.want_record();
    }

    // Mending.

    /// The next bytes to copy; none while there is nothing to do before a later time.
    pub fn next_step(&mut self, now: u64) -> Option<Step> {
        let due = |leg: &Leg| leg.may_return() && leg.retry_at <= now;
        // Legs that are read come first.
        for in_service in [true, false] {
            for to in 0..self.legs.len() {
                let leg = &self.legs[to];
                if (leg.service == Service::In) != in_service || !due(leg) {
                    continue;
                }
                if leg.service == Service::Out {
                    self.legs[to].service = Service::CatchingUp;
                    self.tell(format!("leg {to} catching-up"));
                }
                self.bring_back(to, now);
                if let Some(step) = self.step_of(to) {
                    return Some(step);
                }
            }
        }
        None
    }

    fn step_of(&mut self, to: usize) -> Option<Step> {
        let region = self.legs[to].stale.first()?;
        let good = self.others(to).find(|&leg| !self.legs[leg].stale.has(region));
        let from = good.or_else(|| self.others(to).next())?;
        let bytes = self.scale.bytes(region);
        let offset = match self.legs[to].cursor {
            Some((other, offset)) if other == region => offset,
            _ => bytes.start,
        };
        self.legs[to].cursor = Some((region, offset));
        Some(Step { from, to, offset, count: STEP.min(bytes.end - offset) })
    }

    /// How a step ended.
    pub fn stepped(&mut self, step: Step, ended: Stepped, now: u64) {
        if let Stepped::Equal { changed } = ended
            && self.first() == Some(step.to)
        {
            // What could not be read now may have been other bytes when it could.
            let span = self.scale.span(step.offset, step.count);
            if changed || self.is_stale(step.from, span) {
                self.shift();
            }
        }
        let leg = &mut self.legs[step.to];
        match ended {
            Stepped::Equal { .. } => {
                leg.resynced = leg.resynced.saturating_add(step.count);
                let at = leg.cursor.filter(|&(_, offset)| offset == step.offset);
                // Else it became stale again meanwhile.
                let Some((region, _)) = at else { return };
                let next = step.offset + step.count;
                leg.cursor = Some((region, next));
                if next >= self.scale.bytes(region).end {
                    leg.cursor = None;
                    leg.stale.remove(region);
                    leg.copied.add(region..region + 1);
                    self.taken_for_right(step, region);
                }
            }
            Stepped::NotBegun => leg.retry_at = now.saturating_add(MIN_RETRY),
            Stepped::SourceFailed => {
                leg.retry_at = now.saturating_add(leg.retry_wait);
                leg.retry_wait = (leg.retry_wait * 2).min(MAX_RETRY);
                let (from, offset) = (step.from, step.offset);
                self.read_failed(from, offset, step.count, BadRead::Error, now);
            }
            Stepped::TargetFailed { why, lost } => {
                leg.cursor = None;
                leg.retry_at = now.saturating_add(MIN_RETRY);
                if lost {
                    self.lost(step.to);
                }
                self.write_failed(step.to, (step.offset, step.count), &why, now);
            }
        }
        self.stirred.set(true);
    }

    /// A region was copied. Where no leg had it right for sure, and one that is to be rewritten itself
    /// was copied, what the other legs got before may have been from yet another.
    fn taken_for_right(&mut self, step: Step, region: usize) {
        if !self.legs[step.from].stale.has(region) {
            return;
        }
        for (number, other) in self.legs.iter_mut().enumerate() {
            if number != step.from && number != step.to {
                other.add_stale(region..region + 1);
            }
        }
        self.want_record();
    }

    /// A leg that has caught up, and holds all of it on stable storage, is in service again.
    fn bring_back(&mut self, leg: usize, now: u64) {
        let first = self.first();
        let back = &mut self.legs[leg];
        if back.service == Service::CatchingUp && back.is_whole() {
            (back.service, back.since) = (Service::In, now);
            back.why.clear();
            back.unfilled = false;
            (back.failures, back.retry_wait) = (0, MIN_RETRY);
            self.tell(format!("leg {leg} in-service"));
            self.shift_from(first);
            self.want_record();
        }
    }

    /// When the next step is due, if there is one; some may be due already.
    pub fn next_due(&self) -> Option<u64> {
        let due = |&to: &usize| {
            let leg = &self.legs[to];
            let is_due = leg.service == Service::Out || !leg.stale.is_empty();
            is_due && leg.may_return() && self.others(to).next().is_some()
        };
        (0..self.legs.len()).filter(due).map(|leg| self.legs[leg].retry_at).min()
    }

    /// Whether every leg is in service, and none may differ from another. Where marks stay, they
    /// say nothing of that.
    pub fn is_sound(&self) -> bool {
        let sound = |leg: &Leg| leg.service == Service::In && leg.is_whole();
        (self.marked.is_empty() || self.keeps_marks()) && self.legs.iter().all(sound)
    }

    /// Whether there is nothing left to mend and to record, but for legs that could not be mended,
    /// and those that a person holds.
    pub fn is_mended(&self) -> bool {
        let gave_up =
            |leg: &Leg| leg.absent || leg.service == Service::Out && leg.retry_wait > MIN_RETRY;
        let done = |leg: &Leg| {
            let whole = leg.service == Service::In && leg.is_whole();
            whole || leg.service == Service::Held || gave_up(leg)
        };
        let alone = self.legs.iter().filter(|leg| leg.service == Service::In).count() == 1;
        let idle = self.log.as_ref().is_none_or(|log| log.under_way.is_none());
        let alone = alone && self.legs.iter().any(gave_up);
        let quiet = self.marked.is_empty() || alone || self.keeps_marks();
        idle && !self.wants_record() && quiet && self.legs.iter().all(done)
    }
}
