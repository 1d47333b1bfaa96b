//! The write-intent logs of the mirrors: who waits for which record.
//!
//! One record of a log is written at a time. What comes while it is under way waits for the next
//! one, which then serves all that wait. Nothing is written here: the caller is told what is to be,
//! and says when it has been.

use std::io;
use std::rc::Rc;
use std::task::Poll;

use slab::Slab;
use styx::server::{Ename, Outcome};

use crate::inner::{Device, Op};
use crate::integrity::log::Found;

#[derive(Debug)]
struct Log<F> {
    mirror: Rc<Device>,
    file: F,
    /// Whose record is being written, and who waits for the next one.
    under_way: Vec<Op>,
    waiting: Vec<Op>,
}

/// All of them. `F` is what a log is kept in.
#[derive(Debug)]
pub struct Logs<F>(Slab<Log<F>>);

/// A record that is to be written, and to be on stable storage when [`Logs::recorded`] is called.
#[derive(Debug)]
pub struct Write<F> {
    /// The number of the log.
    pub log: usize,
    /// Where it is kept.
    pub file: F,
    /// Where in it the record goes, in bytes.
    pub offset: u64,
    /// The record.
    pub bytes: Vec<u8>,
}

impl<F> Default for Logs<F> {
    fn default() -> Self {
        Logs(Slab::new())
    }
}

impl<F: Clone> Logs<F> {
    /// A mirror has a log from now on, in `file`; `found` is what it says.
    pub fn add(&mut self, mirror: Rc<Device>, file: F, found: &Found) {
        if let Some(mut mirror) = mirror.mirror() {
            mirror.restore(found);
        }
        // A mirror that only its log remembers is gone.
        self.0.retain(|_, log| Rc::strong_count(&log.mirror) > 1);
        let (under_way, waiting) = (Vec::new(), Vec::new());
        self.0.insert(Log { mirror, file, under_way, waiting });
    }

    /// Sees to it that what a mirror knows is recorded, and `op` told: what is to be written for that
    /// now, if nothing is already. Without a log there is nothing to wait for.
    pub fn record(
        &mut self,
        mirror: &Rc<Device>,
        op: Option<Op>,
    ) -> (Outcome<()>, Option<Write<F>>) {
        let found = self.0.iter_mut().find(|(_, log)| Rc::ptr_eq(&log.mirror, mirror));
        let Some((number, log)) = found else { return (Poll::Ready(Ok(())), None) };
        log.waiting.extend(op);
        (Poll::Pending, log.begin(number))
    }

    /// A record is written, or not: who waited for it, and what is to be written next.
    #[allow(clippy::type_complexity, reason = "it is taken apart at once")]
    pub fn recorded(
        &mut self,
        number: usize,
        result: io::Result<()>,
    ) -> (Vec<(Op, Result<(), Ename>)>, Option<Write<F>>) {
        let Some(log) = self.0.get_mut(number) else { return (Vec::new(), None) };
        if let Some(mut mirror) = log.mirror.mirror() {
            mirror.end_record(result.is_ok());
        }
        let result = result.map_err(|error| {
            tracing::error!(%error, "a write-intent log can't be written");
            Ename::from(format!("write-intent log: {error}"))
        });
        let ended = std::mem::take(&mut log.under_way);
        let next = if log.waiting.is_empty() { None } else { log.begin(number) };
        (ended.into_iter().map(|op| (op, result.clone())).collect(), next)
    }
}

impl<F: Clone> Log<F> {
    fn begin(&mut self, number: usize) -> Option<Write<F>> {
        let (offset, bytes) = self.mirror.mirror()?.begin_record()?;
        self.under_way = std::mem::take(&mut self.waiting);
        Some(Write { log: number, file: self.file.clone(), offset, bytes })
    }
}
