//! Whose turn it is, and how much a client may have of one.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::Server;
use super::connection::{Share, Turn};
use crate::limits;

/// How long after the turn of another client a client is not alone. Who asks for one thing after the
/// other asks again within some round trips.
const COMPANY: Duration = Duration::from_millis(20);

/// A loop that always has something to do begins a turn in less time than this after the last one. In more it
/// waited.
const PAUSE: Duration = Duration::from_micros(10);

/// Clients that have something to do.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// Those who have, in the order in which they came to have it.
    ready: VecDeque<usize>,
    /// Those who had a turn that was not enough. Who comes meanwhile goes before them.
    again: Vec<usize>,
    /// Who had the last turn.
    last: usize,
    /// Until when nobody is alone, since that was somebody else than the one before.
    company: Option<Instant>,
    /// When the last one ended.
    ended: Option<Instant>,
    /// Who asked for little last, and until when that counts.
    modest: Option<(usize, Instant)>,
}

impl Turns {
    /// Whether somebody has something to do.
    pub fn are_wanted(&self) -> bool {
        !self.ready.is_empty() || !self.again.is_empty()
    }

    /// A client has something to do, and is not in line yet.
    pub fn wanted(&mut self, index: usize) {
        self.ready.push_back(index);
    }

    /// Whether no client but the last one had a turn lately.
    pub fn is_alone(&self, now: Instant) -> bool {
        self.company.is_none_or(|until| until < now)
    }

    /// This client asked for little.
    fn was_modest(&mut self, index: usize, now: Instant) {
        self.modest = Some((index, now + COMPANY));
    }

    /// Whether another client than this one asked for little lately, and so should not have to wait.
    fn has_modest_company(&self, index: usize, now: Instant) -> bool {
        self.modest.is_some_and(|(other, until)| other != index && now <= until)
    }

    /// How many bytes a turn of this client may move.
    fn bytes(&mut self, index: usize, now: Instant) -> usize {
        if std::mem::replace(&mut self.last, index) != index {
            self.company = Some(now + COMPANY);
        }
        if self.is_alone(now) { limits::TURN_BYTES } else { limits::SHARED_TURN_BYTES }
    }
}

impl Server {
    /// A client has something to do.
    pub(super) fn make_ready(&mut self, index: usize) {
        if let Some(client) = self.clients.get_mut(index)
            && !std::mem::replace(&mut client.is_ready, true)
        {
            self.turns.wanted(index);
        }
    }

    /// One turn for each client that has something to do. Who has more waits for the next round.
    pub(super) fn take_turns(&mut self) {
        if !self.turns.are_wanted() {
            return;
        }
        let now = self.host.now;
        self.world.client_came(now);
        let Turns { ready, again, .. } = &mut self.turns;
        ready.extend(again.drain(..));
        let has_waited = self.turns.ended.is_none_or(|ended| now >= ended + PAUSE);
        for _ in 0..self.turns.ready.len() {
            let Some(index) = self.turns.ready.pop_front() else { return };
            let Some(client) = self.clients.get_mut(index) else { continue };
            client.is_ready = false;
            let bytes = self.turns.bytes(index, now);
            let is_last = self.turns.ready.is_empty();
            let share = Share { listens: self.ending.is_none(), bytes, is_last, has_waited };
            self.host.has_modest_company = self.turns.has_modest_company(index, now);
            let turn = client.connection.take_turn(
                &mut self.world,
                &mut self.host,
                &mut self.buffers,
                share,
            );
            self.host.has_modest_company = false;
            let ended = Instant::now();
            client.connection.end_turn(&mut self.world, ended - now);
            self.turns.ended = Some(ended);
            if client.connection.is_modest() {
                self.turns.was_modest(index, now);
            }
            match turn {
                Turn::Idle => {}
                Turn::Last(client) => self.release(Some(client)),
                Turn::More => {
                    client.is_ready = true;
                    self.turns.again.push(index);
                }
                Turn::Over => self.dismiss(index),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_modest_company_has_short_turns_and_who_is_left_alone_long_ones_again() {
        let (mut turns, start) = (Turns::default(), Instant::now());
        let mut turn = |index, millis| turns.bytes(index, start + Duration::from_millis(millis));
        let (whole, shared) = (limits::TURN_BYTES, limits::SHARED_TURN_BYTES);
        assert_eq!([turn(0, 0), turn(0, 1)], [whole; 2]);
        assert_eq!([turn(1, 2), turn(0, 3), turn(0, 4), turn(0, 22)], [shared; 4]);
        assert_eq!([turn(0, 24), turn(0, 25)], [whole; 2]);
        assert_eq!(turn(1, 26), shared);
    }

    #[test]
    fn who_asks_for_little_is_company_for_others_and_not_for_ever() {
        let (mut turns, start) = (Turns::default(), Instant::now());
        let at = |millis| start + Duration::from_millis(millis);
        assert!(!turns.has_modest_company(1, at(0)));
        turns.was_modest(0, at(0));
        assert!(turns.has_modest_company(1, at(20)));
        assert!(!turns.has_modest_company(0, at(20)), "itself");
        assert!(!turns.has_modest_company(1, at(21)));
    }
}
