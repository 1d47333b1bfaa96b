//! How marks are taken back: when every leg that is written has what it was given on stable storage.

use super::{Leg, Mirror, Service};

impl Mirror {
    /// A leg was synced.
    pub fn synced(&mut self, leg: usize) {
        self.set_unsynced(leg, false);
    }

    /// A leg's server does not sync. It has not failed, but what is marked stays so, and after a
    /// crash another leg is right. A sync that another leg did is not answered before the log says
    /// so.
    pub fn sync_refused(&mut self, leg: usize) {
        self.set_unsynced(leg, true);
    }

    fn set_unsynced(&mut self, leg: usize, unsynced: bool) {
        if self.legs[leg].unsynced != unsynced {
            self.legs[leg].unsynced = unsynced;
            if let Some(log) = &mut self.log {
                log.changes += 1;
            }
            let does =
                if unsynced { "does not sync: what is written stays marked" } else { "syncs" };
            self.tell(format!("leg {leg}'s server {does}"));
        }
    }

    /// Whether marks stay, because a leg that is written can't be synced.
    pub(super) fn keeps_marks(&self) -> bool {
        (0..self.legs.len()).any(|leg| self.legs[leg].unsynced && self.is_written(leg))
    }

    /// A leg could not be synced: what was written to it last may be gone.
    pub fn sync_failed(&mut self, leg: usize, why: &str, now: u64) {
        let alone = self.legs.len() == 1;
        let failed = &mut self.legs[leg];
        failed.cursor = None;
        failed.stale = failed.unsure();
        match &self.log {
            // It can't differ from any other.
            _ if alone => {}
            Some(_) => failed.stale.unite(&self.marked),
            // Nobody knows what it was.
            None => failed.stale.add_everything(),
        }
        self.want_record();
        self.take_out(leg, why, Service::Out, now);
    }

    /// Whether a leg could come back if only what it got were synced.
    pub fn waits_for_sync(&self) -> bool {
        let waits = |leg: &Leg| leg.stale.is_empty() && !leg.copied.is_empty();
        self.cleaning.is_none() && self.legs.iter().any(waits)
    }

    /// Begins to clean: regions that have been quiet will be unmarked, if a sync of all legs that
    /// are written, begun after this, succeeds. False if there is nothing to clean.
    pub fn begin_clean(&mut self) -> bool {
        if self.cleaning.is_some() {
            return false;
        }
        let mut quiet = self.marked.clone();
        quiet.subtract(&self.touched);
        for leg in self.legs.iter().filter(|leg| leg.service == Service::In) {
            quiet.subtract(&leg.stale);
        }
        self.touched.clear();
        let copied = self.legs.iter().any(|leg| !leg.copied.is_empty());
        if quiet.is_empty() && !copied {
            return false;
        }
        for leg in &mut self.legs {
            std::mem::swap(&mut leg.copied, &mut leg.syncing);
        }
        self.cleaning = Some(quiet);
        true
    }

    /// The sync of the legs is over.
    pub fn end_clean(&mut self, synced: bool, now: u64) {
        let Some(mut quiet) = self.cleaning.take() else { return };
        for leg in &mut self.legs {
            if !synced {
                leg.copied.unite(&leg.syncing);
            }
            leg.syncing.clear();
        }
        if synced {
            quiet.subtract(&self.touched);
            if self.keeps_marks() {
                quiet.clear();
            }
            for leg in self.legs.iter().filter(|leg| leg.service == Service::In) {
                quiet.subtract(&leg.stale);
            }
            self.marked.subtract(&quiet);
            self.writing.iter().for_each(|span| self.marked.add(span.clone()));
            self.want_record();
            (0..self.legs.len()).for_each(|leg| self.bring_back(leg, now));
        }
    }

    /// Whether regions are marked that a cleaning may unmark, now or later.
    pub fn is_marked(&self) -> bool {
        !self.marked.is_empty() || self.legs.iter().any(|leg| !leg.copied.is_empty())
    }
}
