//! The write-intent logs of the mirrors: who waits for which record.
//!
//! One record of a log is written at a time. What comes while it is under way waits for the next
//! one, which then serves all that wait. A mirror of which a leg is replaced moves to another log;
//! meanwhile nothing is recorded.

use std::fs::File;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use slab::Slab;
use styx::server::{Ename, Outcome};

use super::workers::{Job, Workers};
use crate::inner::remote::JobId;
use crate::inner::{Device, Op};
use crate::integrity::log::Found;
use crate::integrity::state::{Key, StateDir, StateError};

/// A leg that is being replaced.
pub(super) struct Move {
    pub job: JobId,
    pub leg: usize,
    /// The mirror's key, and the one that it is to have.
    pub keys: (Key, Key),
    pub state: Arc<StateDir>,
    pub text: String,
}

struct Log {
    mirror: Rc<Device>,
    file: Arc<File>,
    /// Whose record is being written, and who waits for the next one.
    under_way: Vec<Op>,
    waiting: Vec<Op>,
    /// What comes before those, and whose end is the end of what is being written now.
    next_move: Option<Move>,
    moving: Option<JobId>,
}

/// Those who waited for a record that is over, and for the replacement of a leg.
pub(super) struct Recorded {
    pub ops: Vec<(Op, Result<(), Ename>)>,
    pub moved: Option<(JobId, Result<(), Ename>)>,
}

#[derive(Default)]
pub(super) struct Logs(Slab<Log>);

impl Logs {
    /// A mirror has a log from now on. The time is in milliseconds since 1970.
    pub fn add(&mut self, mirror: Rc<Device>, file: File, found: &Found, time: u64) {
        if let Some(mut mirror) = mirror.mirror() {
            mirror.restore(found, time);
        }
        // A mirror that only its log remembers is gone.
        self.0.retain(|_, log| Rc::strong_count(&log.mirror) > 1);
        let file = Arc::new(file);
        let (under_way, waiting, next_move, moving) = Default::default();
        self.0.insert(Log { mirror, file, under_way, waiting, next_move, moving });
    }

    /// Sees to it that what a mirror knows is recorded.
    pub fn record(
        &mut self,
        workers: &mut Workers,
        mirror: &Rc<Device>,
        op: Option<Op>,
    ) -> Outcome<()> {
        let Some((number, log)) = self.find(mirror) else { return Poll::Ready(Ok(())) };
        log.waiting.extend(op);
        log.begin(number, workers);
        Poll::Pending
    }

    /// Sees to it that a mirror's log and the configuration say that a leg is replaced. False if
    /// the mirror has no log.
    pub fn replace(&mut self, workers: &mut Workers, mirror: &Rc<Device>, by: Move) -> bool {
        let Some((number, log)) = self.find(mirror) else { return false };
        log.next_move = Some(by);
        log.begin(number, workers);
        true
    }

    fn find(&mut self, mirror: &Rc<Device>) -> Option<(usize, &mut Log)> {
        self.0.iter_mut().find(|(_, log)| Rc::ptr_eq(&log.mirror, mirror))
    }

    /// A record is written, or not. [`go_on`](Logs::go_on) is owed when a replacement is over.
    pub fn recorded(&mut self, number: usize, result: io::Result<()>) -> Recorded {
        let ended = |log: &Log| {
            if let Some(mut mirror) = log.mirror.mirror() {
                mirror.end_record(result.is_ok());
            }
        };
        self.0.get(number).into_iter().for_each(ended);
        let result = result.map_err(|error| {
            tracing::error!(%error, "a write-intent log can't be written");
            Ename::from(format!("write-intent log: {error}"))
        });
        self.ended(number, &result)
    }

    /// A mirror has another log, or not. [`go_on`](Logs::go_on) is owed when the replacement is over.
    pub fn moved(&mut self, number: usize, result: Result<(File, Found), StateError>) -> Recorded {
        let result = result.map_err(|error| {
            tracing::error!(%error, "the state can't be saved");
            Ename::from(error.to_string())
        });
        let found = result.as_ref().ok().map(|(_, found)| found);
        if let Some(mut mirror) = self.0.get(number).and_then(|log| log.mirror.mirror()) {
            mirror.end_move(found);
        }
        let result = result.map(|(file, _)| {
            if let Some(log) = self.0.get_mut(number) {
                log.file = Arc::new(file);
            }
        });
        self.ended(number, &result)
    }

    fn ended(&mut self, number: usize, result: &Result<(), Ename>) -> Recorded {
        let Some(log) = self.0.get_mut(number) else {
            return Recorded { ops: Vec::new(), moved: None };
        };
        let ended = std::mem::take(&mut log.under_way);
        let moved = log.moving.take().map(|job| (job, result.clone()));
        Recorded { ops: ended.into_iter().map(|op| (op, result.clone())).collect(), moved }
    }

    /// Begins the next record of a log, if somebody waits for it.
    pub fn go_on(&mut self, workers: &mut Workers, number: usize) {
        if let Some(log) = self.0.get_mut(number)
            && (!log.waiting.is_empty() || log.next_move.is_some())
        {
            log.begin(number, workers);
        }
    }
}

impl Log {
    fn begin(&mut self, number: usize, workers: &mut Workers) {
        if let Some(leg) = self.next_move.as_ref().map(|by| by.leg) {
            let begun = self.mirror.mirror().and_then(|mut mirror| mirror.begin_move(leg));
            if let Some((record, offset, bytes)) = begun
                && let Some(by) = self.next_move.take()
            {
                self.under_way = std::mem::take(&mut self.waiting);
                self.moving = Some(by.job);
                let Move { keys, state, text, .. } = by;
                workers.submit(match keys.0.identity == keys.1.identity {
                    // The file has the name that the old one had.
                    true => Job::Record { log: number, file: self.file.clone(), offset, bytes },
                    false => Job::Move { log: number, keys, state, record: record.into(), text },
                });
            }
            return;
        }
        let record = self.mirror.mirror().and_then(|mut mirror| mirror.begin_record());
        if let Some((offset, bytes)) = record {
            self.under_way = std::mem::take(&mut self.waiting);
            workers.submit(Job::Record { log: number, file: self.file.clone(), offset, bytes });
        }
    }
}
