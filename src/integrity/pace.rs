//! How fast legs are mended: a bound on the bytes in a second, and way given to clients. Pure; the
//! time is an argument.

use std::time::{Duration, Instant};

/// Bytes that one step compares and copies: a client's request that comes just after it began
/// waits for one step of each of its legs, and this is a short request's time.
pub const STEP: u64 = 64 * 1024;

/// Bytes in a second that are compared or copied when nobody says otherwise.
pub const RATE: u64 = 64 * 1024 * 1024;

/// As slow as anyone can want it: a step in a minute.
pub const MIN_RATE: u64 = STEP / 60;

/// While clients ask for something, only this part of the rate is used.
const BUSY_SHARE: u32 = 4;

/// Clients count as busy for this long after a request.
const BUSY: Duration = Duration::from_millis(50);

/// When the next step may begin.
#[derive(Debug)]
pub struct Pace {
    rate: u64,
    paused: bool,
    next: Option<Instant>,
    client: Option<Instant>,
}

impl Default for Pace {
    fn default() -> Self {
        Pace { rate: RATE, paused: false, next: None, client: None }
    }
}

impl Pace {
    /// The bound, in bytes a second.
    pub fn rate(&self) -> u64 {
        self.rate
    }

    /// Another bound, in bytes a second: [`MIN_RATE`] at least.
    pub fn set_rate(&mut self, rate: u64) {
        self.rate = rate.max(MIN_RATE);
        self.next = None;
    }

    /// Whether no step may begin.
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// Stops, or goes on.
    pub fn pause(&mut self, paused: bool) {
        self.paused = paused;
    }

    /// A client asked for something.
    pub fn client_came(&mut self, now: Instant) {
        self.client = Some(now);
    }

    /// When the next step may begin, at the earliest; `None` while paused.
    pub fn next(&self, now: Instant) -> Option<Instant> {
        (!self.paused).then(|| self.next.map_or(now, |next| next.max(now)))
    }

    /// A step over this many bytes begins.
    pub fn began(&mut self, bytes: u64, now: Instant) {
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.rate);
        let mut wait = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        if self.client.is_some_and(|came| now.saturating_duration_since(came) < BUSY) {
            wait = wait.saturating_mul(BUSY_SHARE);
        }
        self.next = Some(now + wait);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_keep_to_the_rate_and_clients_come_first() {
        let start = Instant::now();
        let mut pace = Pace::default();
        pace.set_rate(STEP * 10);
        assert_eq!(pace.next(start), Some(start));
        pace.began(STEP, start);
        assert_eq!(pace.next(start), Some(start + Duration::from_millis(100)));
        pace.client_came(start);
        pace.began(STEP, start);
        assert_eq!(pace.next(start), Some(start + Duration::from_millis(400)));
        pace.began(STEP, start + Duration::from_secs(1));
        assert_eq!(pace.next(start), Some(start + Duration::from_millis(1100)));
        pace.pause(true);
        assert_eq!(pace.next(start), None);
        pace.set_rate(0);
        pace.began(u64::MAX, start);
    }
}
