//! What is to be done though nothing happens: when, and the doing of it.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use super::Server;
use super::links::Link;

/// What ends a wait for events when something is due. It is set far less often than the loop waits, and the
/// kernel need not set up a timeout for each wait and take it down again.
pub(super) struct Alarm {
    timer: OwnedFd,
    /// When it goes off, if it has not.
    set: Option<Instant>,
}

impl Alarm {
    /// One that goes off with `token`, and is not set.
    pub fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        registry.register(&mut SourceFd(&timer.as_raw_fd()), token, Interest::READABLE)?;
        Ok(Alarm { timer, set: None })
    }

    /// It goes off at `due` or before, and that is after `now`.
    pub fn set(&mut self, due: Instant, now: Instant) -> io::Result<()> {
        if self.set.is_none_or(|set| due < set) {
            let never = Timespec { tv_sec: 0, tv_nsec: 0 };
            let once = Timespec::try_from(due - now).map_err(io::Error::other)?;
            let times = Itimerspec { it_interval: never, it_value: once };
            timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &times)?;
            self.set = Some(due);
        }
        Ok(())
    }

    /// It went off.
    pub fn went_off(&mut self) {
        self.set = None;
    }
}

impl Server {
    /// When something is due, at the earliest. What a turn brings is not due before the next one.
    pub(super) fn due(&self) -> Option<Instant> {
        let handshake = self.handshakes.front().map(|&(until, _)| until);
        let crowd = [handshake, self.scrapes.deadline(), self.refusals.deadline()];
        let own = [self.resting, self.ending, self.upkeep, self.buffers.next_look()];
        let due = crowd.into_iter().fold(own.into_iter().fold(None, sooner), sooner);
        self.host.links.iter().map(Link::deadline).fold(due, sooner)
    }

    /// How long a turn waits for something to happen: not at all, or until then. Where something is due
    /// later, the alarm is what happens.
    pub(super) fn patience(&mut self, due: Option<Instant>) -> io::Result<Option<Duration>> {
        // By the clock as it was read last: what is late by no more than a turn is not late.
        let now = self.host.now;
        let is_due = due.is_some_and(|due| due <= now);
        let has_slices = self.world.transfers.has_slices();
        if is_due || has_slices || self.turns.are_wanted() || self.host.ahead.is_behind() {
            return Ok(Some(Duration::ZERO));
        }
        due.map_or(Ok(()), |due| self.alarm.set(due, now))?;
        Ok(None)
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
