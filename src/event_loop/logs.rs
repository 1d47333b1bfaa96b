//! The write-intent logs of the mirrors: who waits for which record.
//!
//! One record of a log is written at a time. What comes while it is under way waits for the next
//! one, which then serves all that wait. A mirror of which a leg is replaced moves to another log;
//! meanwhile nothing is recorded. Nothing is written here: the caller is told what is to be, and
//! says when it has been.

use std::io;
use std::rc::Rc;
use std::task::Poll;

use slab::Slab;
use styx::server::{Ename, Outcome};

use crate::inner::remote::JobId;
use crate::inner::{Device, Op};
use crate::integrity::log::{Found, Record};
use crate::integrity::state::{Key, StateError};

/// A leg that is being replaced.
#[derive(Debug)]
pub struct Move {
    /// Who waits for it.
    pub job: JobId,
    /// The number of the leg.
    pub leg: usize,
    /// The mirror's key, and the one that it is to have.
    pub keys: (Key, Key),
    /// The configuration from then on.
    pub text: String,
}

/// What is to be done for a log. `F` is what a log is kept in.
#[derive(Debug)]
pub enum Work<F> {
    /// A record is to be written, and to be on stable storage when [`Logs::recorded`] is called.
    Record {
        /// The number of the log.
        log: usize,
        /// Where it is kept.
        file: F,
        /// Where in it the record goes, in bytes.
        offset: u64,
        /// The record.
        bytes: Vec<u8>,
    },
    /// The mirror is to be moved to another log and configuration; then [`Logs::moved`] is called.
    Move {
        /// The number of the log.
        log: usize,
        /// The mirror's key, and the one that it is to have.
        keys: (Key, Key),
        /// What the new log says first.
        record: Box<Record>,
        /// The configuration from then on.
        text: String,
    },
}

#[derive(Debug)]
struct Log<F> {
    mirror: Rc<Device>,
    file: F,
    /// Whose record is being written, and who waits for the next one.
    under_way: Vec<Op>,
    waiting: Vec<Op>,
    /// What comes before those, and whose end is the end of what is being written now.
    next_move: Option<Move>,
    moving: Option<JobId>,
}

/// Those who waited for a record that is over, and for the replacement of a leg.
#[derive(Debug, Default)]
pub struct Recorded {
    /// Those who waited for the record.
    pub ops: Vec<(Op, Result<(), Ename>)>,
    /// Who waited for the replacement, if it was one.
    pub moved: Option<(JobId, Result<(), Ename>)>,
}

/// All of them. `F` is what a log is kept in.
#[derive(Debug)]
pub struct Logs<F>(Slab<Log<F>>);

impl<F> Default for Logs<F> {
    fn default() -> Self {
        Logs(Slab::new())
    }
}

impl<F: Clone> Logs<F> {
    /// A mirror has a log from now on, in `file`; `found` is what it says. The time is in
    /// milliseconds since 1970.
    pub fn add(&mut self, mirror: Rc<Device>, file: F, found: &Found, time: u64) {
        if let Some(mut mirror) = mirror.mirror() {
            mirror.restore(found, time);
        }
        // A mirror that only its log remembers is gone.
        self.0.retain(|_, log| Rc::strong_count(&log.mirror) > 1);
        let (under_way, waiting, next_move, moving) = Default::default();
        self.0.insert(Log { mirror, file, under_way, waiting, next_move, moving });
    }

    /// Sees to it that what a mirror knows is recorded, and `op` told: what is to be done for that
    /// now, if nothing is already. Without a log there is nothing to wait for.
    pub fn record(
        &mut self,
        mirror: &Rc<Device>,
        op: Option<Op>,
    ) -> (Outcome<()>, Option<Work<F>>) {
        let Some((number, log)) = self.find(mirror) else { return (Poll::Ready(Ok(())), None) };
        log.waiting.extend(op);
        (Poll::Pending, log.begin(number))
    }

    /// Sees to it that a mirror's log and the configuration say that a leg is replaced: what is to
    /// be done for that now, if nothing is already. Without a log there is nothing to wait for.
    pub fn replace(&mut self, mirror: &Rc<Device>, by: Move) -> (Outcome<()>, Option<Work<F>>) {
        let Some((number, log)) = self.find(mirror) else { return (Poll::Ready(Ok(())), None) };
        log.next_move = Some(by);
        (Poll::Pending, log.begin(number))
    }

    fn find(&mut self, mirror: &Rc<Device>) -> Option<(usize, &mut Log<F>)> {
        self.0.iter_mut().find(|(_, log)| Rc::ptr_eq(&log.mirror, mirror))
    }

    /// A record is written, or not. [`go_on`](Logs::go_on) is owed when a replacement is over.
    pub fn recorded(&mut self, number: usize, result: io::Result<()>) -> Recorded {
        let ended = |log: &Log<F>| {
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
    pub fn moved(&mut self, number: usize, result: Result<(F, Found), StateError>) -> Recorded {
        let result = result.map_err(|error| {
            tracing::error!(%error, "the state can't be saved");
            Ename::from(error.to_string())
        });
        let found = result.as_ref().ok().map(|(_, found)| found);
        if let Some(mut mirror) = self.0.get(number).and_then(|log| log.mirror.mirror()) {
            mirror.end_move(found);
        }
        let Some(log) = self.0.get_mut(number) else { return Recorded::default() };
        let result = result.map(|(file, _)| log.file = file);
        if result.is_err() {
            // The log that there is can take what they wait for.
            log.waiting.splice(..0, log.under_way.drain(..));
        }
        self.ended(number, &result)
    }

    fn ended(&mut self, number: usize, result: &Result<(), Ename>) -> Recorded {
        let Some(log) = self.0.get_mut(number) else {
            return Recorded::default();
        };
        let ended = std::mem::take(&mut log.under_way);
        let moved = log.moving.take().map(|job| (job, result.clone()));
        Recorded { ops: ended.into_iter().map(|op| (op, result.clone())).collect(), moved }
    }

    /// What is to be done for a log next, if somebody waits for it.
    pub fn go_on(&mut self, number: usize) -> Option<Work<F>> {
        let log = self.0.get_mut(number)?;
        let wanted = !log.waiting.is_empty() || log.next_move.is_some();
        if wanted { log.begin(number) } else { None }
    }
}

impl<F: Clone> Log<F> {
    fn begin(&mut self, number: usize) -> Option<Work<F>> {
        let Some(leg) = self.next_move.as_ref().map(|by| by.leg) else {
            let (offset, bytes) = self.mirror.mirror()?.begin_record()?;
            self.under_way = std::mem::take(&mut self.waiting);
            return Some(Work::Record { log: number, file: self.file.clone(), offset, bytes });
        };
        let (record, offset, bytes) = self.mirror.mirror()?.begin_move(leg)?;
        let Move { job, keys, text, .. } = self.next_move.take()?;
        self.under_way = std::mem::take(&mut self.waiting);
        self.moving = Some(job);
        Some(match keys.0.identity == keys.1.identity {
            // The file has the name that the old one had.
            true => Work::Record { log: number, file: self.file.clone(), offset, bytes },
            false => Work::Move { log: number, keys, record: record.into(), text },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::Dialect;
    use crate::device::Geometry;
    use crate::inner::Inner;

    #[test]
    fn who_waits_for_a_record_goes_on_when_a_replacement_fails() {
        let rules = &Dialect::Devds.rules().transfers;
        let legs = vec![Inner::Ctl, Inner::Ctl];
        let mirror = Rc::new(Device::new(Geometry::mirror(&[100, 100]), legs, rules));
        let [from, to] = ["old", "new"].map(|line| Key::new("devds", "ds", "m0", line));
        let record = Record::new(100, 2);
        let found = Found { record, sequence: 1, half: 0, identity: from.identity };
        let mut logs = Logs::default();
        logs.add(mirror.clone(), "the old log", &found, 0);
        let op = |serial| Op { transfer: 0, serial, node: 0 };
        let (_, first) = logs.record(&mirror, Some(op(1)));
        assert!(matches!(first, Some(Work::Record { log: 0, .. })));
        assert!(logs.record(&mirror, Some(op(2))).1.is_none(), "one is under way");
        mirror.mirror().expect("a mirror").begin_replace(0, 0);
        let by = Move { job: JobId(3), leg: 0, keys: (from, to), text: String::new() };
        assert!(logs.replace(&mirror, by).1.is_none(), "one is under way");
        assert_eq!(logs.recorded(0, Ok(())).ops, [(op(1), Ok(()))]);
        assert!(matches!(logs.go_on(0), Some(Work::Move { log: 0, .. })));
        let Recorded { ops, moved } = logs.moved(0, Err(StateError::Foreign("full".into())));
        assert!(ops.is_empty() && matches!(moved, Some((JobId(3), Err(_)))), "{ops:?} {moved:?}");
        let again = logs.go_on(0);
        assert!(matches!(again, Some(Work::Record { file: "the old log", .. })), "{again:?}");
        assert_eq!(logs.recorded(0, Ok(())).ops, [(op(2), Ok(()))]);
    }
}
