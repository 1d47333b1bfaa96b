//! The copying of a range of a mirror from one leg to another, where they differ: how legs are made
//! equal again. It is a transfer like others, so that no client's write of the range comes between
//! its steps; it writes only to the leg that is being mended.

use std::ops::Range;
use std::rc::Rc;

use styx::enames;
use styx::server::{Ename, Outcome};

use super::machine::{Bytes, Frames, Machine};
use crate::inner::{Carrier, Device, Op};
use crate::integrity::Step;

/// What came of a copy or a comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Copied {
    /// The legs held the same.
    Same,
    /// They differed, in these bytes of the mirror at the most; after a copy they do not.
    Differed(Range<u64>),
    /// What could be read of the other one was the same; these bytes could not. After a copy they can.
    Lacked(Range<u64>),
    /// The good leg could not be read.
    SourceFailed(Ename),
    /// The other one could not be written.
    TargetFailed(Ename),
    /// Nothing was done: the good leg went out of service before, or the log could not be written.
    NotBegun(Ename),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Mark,
    ReadSource,
    ReadTarget,
    Write,
}

pub(super) enum Next {
    Step,
    Over,
}

#[derive(Debug)]
pub(super) struct CopyRange {
    mirror: Rc<Device>,
    step: Step,
    compare: bool,
    stage: Stage,
    /// Whether an end of a write is owed to the mirror.
    marked: bool,
    /// The write left a hole.
    holed: bool,
    source: Vec<u8>,
    target: Vec<u8>,
    differs: Option<Copied>,
    ended: Option<Copied>,
}

impl CopyRange {
    pub fn new(mirror: Rc<Device>, step: Step, compare: bool) -> Self {
        CopyRange {
            mirror,
            step,
            compare,
            stage: if compare { Stage::ReadSource } else { Stage::Mark },
            marked: false,
            holed: false,
            source: Vec::new(),
            target: Vec::new(),
            differs: None,
            ended: None,
        }
    }

    /// The bytes of the stage that is under way.
    pub fn bytes(&mut self) -> Bytes<'_> {
        match self.stage {
            Stage::Mark => Bytes::None,
            Stage::ReadSource => Bytes::In(&mut self.source),
            Stage::ReadTarget => Bytes::In(&mut self.target),
            Stage::Write => Bytes::Out(&self.source),
        }
    }

    pub fn run<C: Carrier>(
        &mut self,
        carrier: &mut C,
        frames: &mut Frames,
        op: Op,
    ) -> Outcome<usize> {
        let Step { from, to, offset, count } = self.step;
        self.mirror.notice_upsets(carrier.time());
        let leg = match self.stage {
            // It may have waited for writes that the good leg failed, or may have become another file:
            // then it is good no more.
            Stage::Mark | Stage::ReadSource if !self.is_read(from) => {
                return Outcome::Ready(Err(enames::EIO.into()));
            }
            Stage::Mark => {
                self.marked = true;
                let ready = self.mirror.mirror().is_none_or(|mut m| m.begin_write(offset, count));
                let mirror = self.mirror.clone();
                return match ready {
                    true => Outcome::Ready(Ok(0)),
                    false => Machine::new(carrier, frames, Bytes::None, op).begin_record(&mirror),
                };
            }
            Stage::ReadSource => {
                self.source = vec![0; count as usize];
                from
            }
            Stage::ReadTarget => {
                self.target = vec![0; count as usize];
                to
            }
            Stage::Write => to,
        };
        let mirror = self.mirror.clone();
        let bytes = self.bytes();
        let mut machine = Machine::new(carrier, frames, bytes, op);
        let outcome = machine.begin_leg(&mirror.inner()[leg], offset, count as usize);
        self.holed |= machine.holed;
        outcome
    }

    fn is_read(&self, leg: usize) -> bool {
        self.mirror.mirror().is_some_and(|mirror| mirror.is_read(leg))
    }

    /// The stage that was under way is over.
    pub fn next(&mut self, result: Result<usize, Ename>) -> Next {
        let Step { offset, count, .. } = self.step;
        let short = || Ename::from(enames::ETRUNCATED);
        let whole = |moved: &usize| *moved as u64 == count;
        let ended = match (self.stage, result) {
            (Stage::Mark, Ok(_)) => {
                self.stage = Stage::ReadSource;
                return Next::Step;
            }
            (Stage::Mark, Err(ename)) => Copied::NotBegun(ename),
            (Stage::ReadSource, _) if !self.is_read(self.step.from) => {
                Copied::NotBegun(enames::EIO.into())
            }
            (Stage::ReadSource, Ok(moved)) if whole(&moved) => {
                self.stage = Stage::ReadTarget;
                return Next::Step;
            }
            (Stage::ReadSource, result) => Copied::SourceFailed(result.err().unwrap_or_else(short)),
            (Stage::ReadTarget, _) if self.compare && !self.is_read(self.step.to) => {
                Copied::NotBegun(enames::EIO.into())
            }
            (Stage::ReadTarget, result) => {
                let read = result.unwrap_or(0).min(self.target.len());
                let other = &self.target[..read];
                let place =
                    |bytes: Range<usize>| offset + bytes.start as u64..offset + bytes.end as u64;
                let found = match difference(&self.source, other).map(place) {
                    None => Copied::Same,
                    Some(bytes) if self.source.starts_with(other) => Copied::Lacked(bytes),
                    Some(bytes) => Copied::Differed(bytes),
                };
                if !self.compare && found != Copied::Same {
                    self.differs = Some(found);
                    self.stage = Stage::Write;
                    return Next::Step;
                }
                found
            }
            // All of it has to be looked at again: what is in the hole was never written.
            (Stage::Write, Ok(_)) if self.holed => Copied::TargetFailed(short()),
            (Stage::Write, Ok(moved)) if whole(&moved) => {
                self.differs.take().unwrap_or(Copied::Same)
            }
            (Stage::Write, result) => Copied::TargetFailed(result.err().unwrap_or_else(short)),
        };
        self.ended = Some(ended);
        Next::Over
    }

    /// How it ended.
    pub fn ended(self) -> Option<Copied> {
        if self.marked
            && let Some(mut mirror) = self.mirror.mirror()
        {
            mirror.end_write(self.step.offset, self.step.count);
        }
        self.ended
    }
}

/// The first to the last byte in which they differ; what one lacks counts as different.
fn difference(right: &[u8], other: &[u8]) -> Option<Range<usize>> {
    if right == other {
        return None;
    }
    let first = right.iter().zip(other).position(|(a, b)| a != b).unwrap_or(other.len());
    let last = match right.len() == other.len() {
        true => right.iter().zip(other).rposition(|(a, b)| a != b).unwrap_or(first),
        false => right.len() - 1,
    };
    Some(first..last + 1)
}
