//! What a mirror knows, into its log and out of it again.

use super::{Leg, Logged, Mirror, Service};
use crate::integrity::intent::Regions;
use crate::integrity::log::{Found, LegRecord, Record};

impl Mirror {
    pub(super) fn want_record(&mut self) {
        self.stirred.set(true);
        if let Some(log) = &mut self.log {
            log.wanted = true;
        }
    }

    /// Whether the log does not say yet all that it should.
    pub fn wants_record(&self) -> bool {
        self.log.as_ref().is_some_and(|log| {
            let mut missing = self.marked.clone();
            missing.subtract(&log.marked);
            log.wanted || log.durable != log.changes || !missing.is_empty()
        })
    }

    /// Begins to record what is known now: the bytes, and where in the log they go. `None` if
    /// there is no log, or a record is under way.
    pub fn begin_record(&mut self) -> Option<(u64, Vec<u8>)> {
        self.begin(&self.record())
    }

    pub(super) fn begin(&mut self, record: &Record) -> Option<(u64, Vec<u8>)> {
        let log = self.log.as_mut().filter(|log| log.under_way.is_none())?;
        // From now on nobody knows which of the two the log holds.
        log.marked.keep(&self.marked);
        log.under_way = Some((self.marked.clone(), log.changes));
        (log.wanted, log.sequence) = (false, log.sequence + 1);
        Some(record.encode(&log.identity, log.sequence, log.half))
    }

    /// The record is on stable storage, or not.
    pub fn end_record(&mut self, ok: bool) {
        let Some(log) = &mut self.log else { return };
        let Some((marked, change)) = log.under_way.take() else { return };
        if ok {
            (log.marked, log.durable) = (marked, change);
            log.half = 1 - log.half;
        } else {
            log.wanted = true;
        }
    }

    /// What the log would say now.
    pub fn record(&self) -> Record {
        let leg = |leg: &Leg| LegRecord {
            service: leg.service,
            since: leg.since,
            why: leg.why.clone(),
            stale: leg.unsure(),
            unsynced: leg.unsynced,
            unfilled: leg.unfilled,
        };
        let legs = self.legs.iter().map(leg).collect();
        Record { scale: self.scale, legs, marked: self.marked.clone() }
    }

    /// A leg that could not be synced may have lost what is marked, which another one has: only
    /// when that has been copied is it read.
    fn distrust(&mut self, marked: &Regions) {
        let synced = |leg: &Leg| leg.service == Service::In && !leg.unsynced;
        if marked.is_empty() || !self.legs.iter().any(synced) {
            return;
        }
        for leg in self.legs.iter_mut().filter(|leg| leg.service == Service::In && leg.unsynced) {
            leg.service = Service::Out;
            leg.why = "it could not be synced before the restart".to_string();
        }
    }

    /// Keeps a log from now on, and takes what it says: what it marks is stale on every leg but
    /// the one that is read first. The time is `now`.
    pub fn restore(&mut self, found: &Found, now: u64) {
        let record = &found.record;
        let absent = |(number, leg): (usize, &Leg)| leg.absent.then(|| (number, leg.why.clone()));
        let absent: Vec<_> = self.legs.iter().enumerate().filter_map(absent).collect();
        let rescale = |regions: &Regions| regions.rescale(record.scale, self.scale);
        let marked = rescale(&record.marked);
        for (leg, saved) in self.legs.iter_mut().zip(&record.legs) {
            leg.service = match saved.service {
                Service::CatchingUp => Service::Out,
                service => service,
            };
            (leg.since, leg.why) = (saved.since, saved.why.clone());
            leg.stale = rescale(&saved.stale);
            (leg.unsynced, leg.unfilled) = (saved.unsynced, saved.unfilled);
        }
        let lacks = !absent.is_empty();
        absent.into_iter().for_each(|(leg, why)| self.keep_absent(leg, why, now));
        if self.first().is_none()
            && let Some(leg) = self.legs.first_mut()
        {
            // Only a file written by hand says so; something has to be read.
            leg.service = Service::In;
        }
        self.distrust(&marked);
        let first = self.first();
        for (number, leg) in self.legs.iter_mut().enumerate() {
            if Some(number) != first {
                leg.stale.unite(&marked);
            }
        }
        self.marked = marked.clone();
        self.touched.clear();
        let under_way = None;
        let (changes, durable, wanted) = (0, 0, lacks);
        let (sequence, half, identity) = (found.sequence, 1 - found.half.min(1), found.identity);
        self.log =
            Some(Logged { marked, under_way, changes, durable, wanted, sequence, half, identity });
        self.stirred.set(true);
    }
}
