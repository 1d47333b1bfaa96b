//! A mirror's part of a transfer: which leg comes next, what its answer means, and what the
//! mirror has to remember of it (`docs/design.md`, "Mirrors").
//!
//! ds(3): a read is from left to right, until one leg has it all; a write is from right to left,
//! and stops at the first failure.

use std::rc::Rc;

use styx::enames;
use styx::server::Ename;

use super::machine::{Bytes, Ended, Machine, Moved, Span, Step};
use crate::inner::{Carrier, Device, refuses_sync};
use crate::integrity::Service;
use crate::integrity::mirror::BadRead;

/// A mirror's transfer that is under way.
#[derive(Debug)]
pub(super) struct Legs {
    device: Rc<Device>,
    span: Span,
    phase: Phase,
    /// Legs dealt with, from the left in a sync and from the right in a write; in a read, up to the one that was
    /// asked last.
    tried: usize,
    /// Legs that were asked in a read, as bits.
    asked: u64,
    /// Whether the one that is being written is only catching up.
    catching_up: bool,
    /// Legs that were in service and took all of a write, or were synced, as bits.
    took: u64,
    /// Legs that took all of a write while they were catching up. One may be in service by its end.
    caught_up: u64,
    /// Legs that failed a write, or in service failed a sync, and why.
    failed: Vec<(usize, Ename)>,
    /// What the first leg in service said whose server does not sync.
    refused: Option<Ename>,
    pub child: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing has been done.
    New,
    /// A write waits for its mark.
    Marking,
    /// The legs are being dealt with.
    Legs,
    /// A write waits until the log knows which legs did not get it, a sync until it knows which
    /// could not be synced.
    Settling,
}

impl Legs {
    pub fn new(device: Rc<Device>, span: Span) -> Self {
        let span = Span { leg: true, ..span };
        Legs {
            device,
            span,
            phase: Phase::New,
            tried: 0,
            asked: 0,
            catching_up: false,
            took: 0,
            caught_up: 0,
            failed: Vec::new(),
            refused: None,
            child: None,
        }
    }

    fn range(&self) -> (u64, u64) {
        (self.span.offset, self.span.count as u64)
    }

    /// For a read, the first leg from the left that is read and was not asked yet. One to the left of the last
    /// may have come back meanwhile, and then it has all that the others have.
    fn next_unasked(&mut self) -> Option<usize> {
        let mirror = self.device.mirror()?;
        let is_next = |&leg: &usize| self.asked >> leg & 1 == 0 && mirror.is_read(leg);
        let leg = (0..self.device.inner().len()).find(is_next)?;
        self.asked |= 1 << leg;
        self.tried = leg + 1;
        Some(leg)
    }

    /// For a sync, the next leg from the left that is written.
    fn next_from_left(&mut self) -> Option<usize> {
        let mirror = self.device.mirror()?;
        while self.tried < self.device.inner().len() {
            let leg = self.tried;
            self.tried += 1;
            if mirror.is_written(leg) {
                return Some(leg);
            }
        }
        None
    }

    fn next_from_right(&mut self) -> Option<usize> {
        let (offset, count) = self.range();
        let mut mirror = self.device.mirror()?;
        while self.tried < self.device.inner().len() {
            self.tried += 1;
            let leg = self.device.inner().len() - self.tried;
            if mirror.is_written(leg) {
                self.catching_up = mirror.legs()[leg].service == Service::CatchingUp;
                return Some(leg);
            }
            mirror.missed(leg, offset, count);
        }
        None
    }

    /// The leg that was tried last, from the right.
    fn leg_from_right(&self) -> usize {
        self.device.inner().len() - self.tried
    }

    /// Whether the log has all that a write waits for.
    fn is_settled(&self) -> bool {
        self.device.mirror().is_none_or(|mirror| mirror.is_settled())
    }

    /// What became of a write is remembered; `stopped`: it did not go on to the last leg. True if a
    /// leg that is still in service has it.
    fn end_write(&mut self, stopped: bool, now: u64) -> bool {
        let (offset, count) = self.range();
        let Some(mut mirror) = self.device.mirror() else { return false };
        let legs = 0..self.device.inner().len();
        let all = self.took | self.caught_up;
        let took = legs.into_iter().any(|leg| all >> leg & 1 == 1 && mirror.is_read(leg));
        if !took && self.took == 0 && !stopped {
            // None is worse than the others.
            self.failed.clear();
        }
        for (leg, why) in self.failed.drain(..) {
            mirror.write_failed(leg, (offset, count), &why, now);
        }
        if stopped || !took {
            mirror.half_written(offset, count, now);
        }
        mirror.end_write(offset, count);
        took
    }
}

impl Legs {
    /// What became of the sync of the leg that was tried last.
    fn end_sync(&mut self, result: Moved, now: u64) {
        let leg = self.tried - 1;
        let Some(mut mirror) = self.device.mirror() else { return };
        let in_service = mirror.is_read(leg);
        match result {
            Ok(_) => {
                mirror.synced(leg);
                self.took |= u64::from(in_service) << leg;
            }
            Err(ename) if refuses_sync(&ename) => {
                mirror.sync_refused(leg);
                if in_service {
                    self.refused.get_or_insert(ename);
                }
            }
            Err(ename) => {
                mirror.sync_failed(leg, &ename, now);
                if in_service {
                    self.failed.push((leg, ename));
                }
            }
        }
    }
}

/// Whether a leg failed only because our ctl is inside it, for which a write of no bytes is a
/// message: no disk has failed there, so it stays in service.
fn is_message_error(result: &Moved, device: &Device) -> bool {
    device.has_ctl() && result.as_ref().err().map(|ename| &**ename) == device.rules.empty_message
}

impl<C: Carrier> Machine<'_, C> {
    pub(super) fn advance_legs(&mut self, legs: &mut Legs, ended: Option<Ended>) -> Option<Moved> {
        match self.bytes {
            Bytes::In(_) => self.advance_read(legs, ended),
            Bytes::Out(_) => self.advance_write(legs, ended),
            Bytes::None => self.advance_sync(legs, ended),
        }
    }

    /// From left to right, the first leg that has it all.
    fn advance_read(&mut self, legs: &mut Legs, ended: Option<Ended>) -> Option<Moved> {
        let device = legs.device.clone();
        let (offset, count) = legs.range();
        let mut result = ended.map(|(_, result)| result);
        let leg = legs.tried.saturating_sub(1);
        if result.is_some() && device.mirror().is_some_and(|mirror| !mirror.is_read(leg)) {
            // It went out meanwhile: if it was cut, these may be bytes of the hole that a write has left.
            (result, legs.asked) = (None, 0);
        }
        loop {
            let bad = match result.take() {
                Some(Ok(moved)) if moved == legs.span.count => return Some(Ok(moved)),
                Some(Ok(moved)) => Some(BadRead::Short(moved as u64)),
                // A crypt device gives whole sectors only: no disk has failed.
                Some(Err(ename)) if ename == enames::EBADARG => None,
                Some(Err(_)) => Some(BadRead::Error),
                None => None,
            };
            if let (Some(bad), Some(mut mirror)) = (bad, device.mirror()) {
                mirror.read_failed(legs.tried - 1, offset, count, bad, self.carrier.time());
            }
            let Some(leg) = legs.next_unasked() else {
                return Some(Err(enames::EIO.into()));
            };
            match self.start(&device.inner()[leg], legs.span) {
                Step::Done(done) => result = Some(done),
                Step::Wait(child) => {
                    legs.child = Some(child);
                    return None;
                }
            }
        }
    }

    /// The range is marked, then the legs are written, then the answer may have to wait for the
    /// log once more.
    fn advance_write(&mut self, legs: &mut Legs, ended: Option<Ended>) -> Option<Moved> {
        let (offset, count) = legs.range();
        let mut ended = ended.map(|(_, result)| result);
        match legs.phase {
            Phase::New => {
                let ready =
                    legs.device.mirror().is_none_or(|mut mirror| mirror.begin_write(offset, count));
                if !ready {
                    legs.phase = Phase::Marking;
                    match self.record(&legs.device) {
                        Step::Done(result) => ended = Some(result),
                        Step::Wait(child) => {
                            legs.child = Some(child);
                            return None;
                        }
                    }
                }
            }
            Phase::Settling => return self.settle(legs, ended),
            Phase::Marking | Phase::Legs => {}
        }
        if legs.phase == Phase::Marking
            && let Some(Err(ename)) = ended.take()
        {
            // No leg was touched.
            if let Some(mut mirror) = legs.device.mirror() {
                mirror.end_write(offset, count);
            }
            return Some(Err(ename));
        }
        legs.phase = Phase::Legs;
        let answer = self.write_legs(legs, ended)?;
        // Of a write that failed nothing was promised.
        if answer.is_err() || legs.is_settled() {
            return Some(answer);
        }
        legs.phase = Phase::Settling;
        self.settle(legs, None)
    }

    fn settle(&mut self, legs: &mut Legs, mut ended: Option<Moved>) -> Option<Moved> {
        loop {
            if let Some(Err(ename)) = ended {
                return Some(Err(ename));
            }
            if legs.is_settled() {
                return Some(Ok(legs.span.count));
            }
            match self.record(&legs.device) {
                Step::Done(result) => ended = Some(result),
                Step::Wait(child) => {
                    legs.child = Some(child);
                    return None;
                }
            }
        }
    }

    /// From right to left; ds(3) stops at the first error, which is the answer, fs(3) goes on.
    fn write_legs(&mut self, legs: &mut Legs, mut result: Option<Moved>) -> Option<Moved> {
        let device = legs.device.clone();
        loop {
            if std::mem::take(&mut self.holed)
                && let Some(mut mirror) = device.mirror()
            {
                mirror.holed(legs.leg_from_right(), self.carrier.time());
            }
            match result.take() {
                None => {}
                Some(Ok(count)) if count == legs.span.count => {
                    let leg = legs.leg_from_right();
                    let took = if legs.catching_up { &mut legs.caught_up } else { &mut legs.took };
                    *took |= 1 << leg;
                }
                Some(other) => {
                    if !is_message_error(&other, &device) {
                        let why = other.as_ref().err().cloned();
                        let why = why.unwrap_or("it took only a part of a write".into());
                        legs.failed.push((legs.leg_from_right(), why));
                    }
                    if !device.rules.mirror_writes_all && !legs.catching_up {
                        legs.end_write(true, self.carrier.time());
                        return Some(other.and_then(|_| Err(enames::EIO.into())));
                    }
                }
            }
            let Some(leg) = legs.next_from_right() else {
                let took = legs.end_write(false, self.carrier.time());
                return Some(if took { Ok(legs.span.count) } else { Err(enames::EIO.into()) });
            };
            match self.start(&device.inner()[leg], legs.span) {
                Step::Done(done) => result = Some(done),
                Step::Wait(child) => {
                    if std::mem::take(&mut self.holed)
                        && let Some(mut mirror) = device.mirror()
                    {
                        mirror.holed(leg, self.carrier.time());
                    }
                    legs.child = Some(child);
                    return None;
                }
            }
        }
    }

    /// Every leg that is written; the first error of one in service is told when all have been
    /// tried. A leg whose server does not sync has not failed: another one that did is enough.
    fn advance_sync(&mut self, legs: &mut Legs, ended: Option<Ended>) -> Option<Moved> {
        let mut result = ended.map(|(_, result)| result);
        if legs.phase == Phase::Settling {
            return self.settle(legs, result);
        }
        let device = legs.device.clone();
        loop {
            if let Some(result) = result.take() {
                legs.end_sync(result, self.carrier.time());
            }
            let Some(leg) = legs.next_from_left() else { break };
            match self.start(&device.inner()[leg], legs.span) {
                Step::Done(done) => result = Some(done),
                Step::Wait(child) => {
                    legs.child = Some(child);
                    return None;
                }
            }
        }
        if !legs.failed.is_empty() {
            return Some(Err(legs.failed.swap_remove(0).1));
        }
        match legs.refused.take() {
            Some(ename) if legs.took == 0 => Some(Err(ename)),
            _ => {
                legs.phase = Phase::Settling;
                self.settle(legs, None)
            }
        }
    }
}
