//! The write-intent logs of the mirrors: who waits for which record.
//!
//! One record of a log is written at a time. What comes while it is under way waits for the next
//! one, which then serves all that wait.

use std::fs::File;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use slab::Slab;
use styx::server::{Ename, Outcome};

use super::workers::{Job, Workers};
use crate::inner::{Device, Op};
use crate::integrity::log::Found;

struct Log {
    mirror: Rc<Device>,
    file: Arc<File>,
    /// Whose record is being written, and who waits for the next one.
    under_way: Vec<Op>,
    waiting: Vec<Op>,
}

#[derive(Default)]
pub(super) struct Logs(Slab<Log>);

impl Logs {
    /// A mirror has a log from now on.
    pub fn add(&mut self, mirror: Rc<Device>, file: File, found: &Found) {
        if let Some(mut mirror) = mirror.mirror() {
            mirror.restore(found);
        }
        // A mirror that only its log remembers is gone.
        self.0.retain(|_, log| Rc::strong_count(&log.mirror) > 1);
        let (under_way, waiting) = (Vec::new(), Vec::new());
        self.0.insert(Log { mirror, file: Arc::new(file), under_way, waiting });
    }

    /// Sees to it that what a mirror knows is recorded.
    pub fn record(
        &mut self,
        workers: &mut Workers,
        mirror: &Rc<Device>,
        op: Option<Op>,
    ) -> Outcome<()> {
        let found = self.0.iter_mut().find(|(_, log)| Rc::ptr_eq(&log.mirror, mirror));
        let Some((number, log)) = found else { return Poll::Ready(Ok(())) };
        log.waiting.extend(op);
        log.begin(number, workers);
        Poll::Pending
    }

    /// A record is written, or not: who waited for it.
    pub fn recorded(
        &mut self,
        workers: &mut Workers,
        number: usize,
        result: io::Result<()>,
    ) -> Vec<(Op, Result<(), Ename>)> {
        let Some(log) = self.0.get_mut(number) else { return Vec::new() };
        if let Some(mut mirror) = log.mirror.mirror() {
            mirror.end_record(result.is_ok());
        }
        let result = result.map_err(|error| {
            tracing::error!(%error, "a write-intent log can't be written");
            Ename::from(format!("write-intent log: {error}"))
        });
        let ended = std::mem::take(&mut log.under_way);
        if !log.waiting.is_empty() {
            log.begin(number, workers);
        }
        ended.into_iter().map(|op| (op, result.clone())).collect()
    }
}

impl Log {
    fn begin(&mut self, number: usize, workers: &mut Workers) {
        let record = self.mirror.mirror().and_then(|mut mirror| mirror.begin_record());
        if let Some((offset, bytes)) = record {
            self.under_way = std::mem::take(&mut self.waiting);
            workers.submit(Job::Record { log: number, file: self.file.clone(), offset, bytes });
        }
    }
}
