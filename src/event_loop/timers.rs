//! What is to be done though nothing happens: when, and the doing of it.

use std::time::{Duration, Instant};

use super::Server;
use super::links::Link;

impl Server {
    /// When something is due, at the earliest. What a turn brings is not due before the next one.
    pub(super) fn due(&self) -> Option<Instant> {
        let handshake = self.handshakes.front().map(|&(until, _)| until);
        let crowd = [handshake, self.scrapes.deadline(), self.refusals.deadline()];
        let own = [self.resting, self.ending, self.upkeep, self.buffers.next_look()];
        let due = crowd.into_iter().fold(own.into_iter().fold(None, sooner), sooner);
        self.host.links.iter().map(Link::deadline).fold(due, sooner)
    }

    /// How long a turn waits for something to happen; for ever with `None`.
    pub(super) fn patience(&self, due: Option<Instant>) -> Option<Duration> {
        if self.turns.are_wanted() || self.host.ahead.is_behind() {
            return Some(Duration::ZERO);
        }
        // By the clock as it was read last: what is late by no more than a turn is not late.
        due.map(|due| due.saturating_duration_since(self.host.now))
    }

    /// Does what is due. Links, the upkeep and the end are looked after in each turn.
    pub(super) fn attend_timers(&mut self) {
        let now = self.host.now;
        if self.resting.is_some_and(|until| until <= now) {
            self.resting = None;
            self.spare.take_again();
            (0..self.listeners.len()).for_each(|listener| self.accept(listener));
        }
        self.end_handshakes();
        self.scrapes.end_overdue(now);
        self.refusals.look(now);
    }
}

fn sooner(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        _ => one.or(other),
    }
}
