//! Legs that are not there, and legs that become other files.

use super::{Leg, Mirror, Service};
use crate::integrity::intent::Regions;
use crate::integrity::log::{Found, Record};

impl Mirror {
    /// What a leg should be is not there: it is out until it is replaced, or the server starts
    /// again. For a mirror that has just been made.
    pub fn set_absent(&mut self, leg: usize, why: &str) {
        self.legs[leg].absent = true;
        self.legs[leg].why = why.to_string();
        self.legs[leg].service = Service::Out;
        self.legs[leg].stale.add_everything();
    }

    /// What the log says of a leg that is absent: it is out, and nobody knows what is in it when it
    /// is back.
    pub(super) fn keep_absent(&mut self, leg: usize, why: String, now: u64) {
        let absent = &mut self.legs[leg];
        absent.stale.add_everything();
        absent.why = why;
        if absent.service == Service::In {
            absent.since = now;
        }
        if absent.service != Service::Held {
            absent.service = Service::Out;
        }
        let why = &self.legs[leg].why;
        tracing::warn!(leg, why, "a mirror's leg is not there");
        let news = format!("leg {leg} is not there: {why}");
        self.tell(news);
    }

    /// A leg is about to become another file. Until [`end_replace`](Mirror::end_replace) it is held,
    /// and nothing of it counts.
    pub fn begin_replace(&mut self, leg: usize, now: u64) {
        let was_held = self.legs[leg].service == Service::Held;
        self.lost(leg);
        self.take_out(leg, "it is being replaced", Service::Held, now);
        self.legs[leg].service = Service::Held;
        self.replacing = Some((leg, was_held));
    }

    /// Why a leg can't be one that others are made equal to, whatever a person says of it.
    pub fn is_no_source(&self, leg: usize) -> Option<&'static str> {
        match self.replacing {
            _ if self.legs[leg].absent => Some("that leg is not there"),
            Some((replaced, _)) if replaced == leg => Some("that leg is being replaced"),
            _ if self.legs[leg].unfilled => Some("that leg was replaced, and has not been filled"),
            _ => None,
        }
    }

    /// Why a leg, in service or not, can't be done without: no other one in service has some bytes for
    /// sure.
    pub fn why_needed(&self, leg: usize) -> Option<String> {
        let own = &self.legs[leg];
        if own.absent || own.unfilled {
            return None;
        }
        let mut alone = Regions::new(self.scale.count());
        alone.add_everything();
        for other in self.others(leg) {
            alone.keep(&self.legs[other].unsure());
        }
        alone.subtract(&own.unsure());
        let bytes = self.bytes(&alone);
        (bytes > 0).then(|| {
            format!(
                "leg {leg} alone has {bytes} bytes right; wait until the others do (status), or give \
                 them up by a repair from another"
            )
        })
    }

    /// Begins to record that the leg which is being replaced is out and lacks everything: what a new
    /// log is to say, and the bytes of that record for the log there is, with their place. `None`
    /// while a record is under way. Ended by [`end_move`](Mirror::end_move) if there is a new log,
    /// or else by [`end_record`](Mirror::end_record).
    pub fn begin_move(&mut self, leg: usize) -> Option<(Record, u64, Vec<u8>)> {
        let mut record = self.record();
        let new = &mut record.legs[leg];
        (new.service, new.unsynced, new.unfilled) = (Service::Out, false, true);
        let (offset, bytes) = self.begin(&record)?;
        Some((record, offset, bytes))
    }

    /// The new log is there, and the configuration names it; or neither is so.
    pub fn end_move(&mut self, found: Option<&Found>) {
        self.end_record(found.is_some());
        if let (Some(found), Some(log)) = (found, &mut self.log) {
            (log.sequence, log.identity) = (found.sequence, found.identity);
            log.half = 1 - found.half.min(1);
        }
    }

    /// The leg is another file now, all of which is to be filled; or it is what it was, and is to
    /// catch up.
    pub fn end_replace(&mut self, leg: usize, replaced: bool) {
        let was_held = self.replacing.take().is_some_and(|(_, was_held)| was_held);
        if replaced {
            let since = self.legs[leg].since;
            let mut new = Leg::new(self.scale.count());
            new.stale.add_everything();
            new.why = "it was replaced, and is to be filled".to_string();
            (new.service, new.since, new.unfilled) = (Service::Out, since, true);
            self.legs[leg] = new;
            self.tell(format!("leg {leg} is another file, which is to be filled"));
        } else if !was_held {
            self.legs[leg].service = Service::Out;
        }
        self.want_record();
    }
}
