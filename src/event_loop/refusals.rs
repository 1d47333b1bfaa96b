//! What the log says of those who are hung up on as they come. They come as fast as they like, so
//! only so many of a kind have a line of their own; the others are counted.

use std::fmt::Display;
use std::time::Instant;

use crate::limits;

/// Why somebody is hung up on. One kind can't keep another out of the log.
#[derive(Clone, Copy)]
pub(super) enum Refusal {
    Stranger,
    OverBound,
    Silent,
    NotAccepted,
}

/// What a kind is called where its refusals are counted, by its number.
const NAMES: [&str; 4] =
    ["strangers", "clients over a bound", "silent clients", "clients that could not be taken in"];

/// The refusals of late.
#[derive(Default)]
pub(super) struct Refusals([Lines; NAMES.len()]);

/// Those of one kind.
#[derive(Default)]
struct Lines {
    /// When lines are counted from 0 again, if there have been some.
    until: Option<Instant>,
    written: usize,
    left_out: u64,
}

impl Refusals {
    /// Somebody is refused, and this is the line about it.
    pub fn tell(&mut self, kind: Refusal, line: impl Display) {
        let now = Instant::now();
        self.look(now);
        let lines = &mut self.0[kind as usize];
        lines.until.get_or_insert(now + limits::REFUSAL_TIME);
        if lines.written < limits::REFUSALS {
            lines.written += 1;
            tracing::warn!("refused: {line}");
        } else {
            lines.left_out += 1;
        }
    }

    /// When something is to be written again of those that were left out.
    pub fn deadline(&self) -> Option<Instant> {
        let left_out = self.0.iter().filter(|lines| lines.left_out > 0);
        left_out.filter_map(|lines| lines.until).min()
    }

    /// Says how many were left out, where the time for that has come.
    pub fn look(&mut self, now: Instant) {
        for (lines, name) in self.0.iter_mut().zip(NAMES) {
            if lines.until.is_some_and(|until| until <= now) {
                std::mem::take(lines).sum_up(name);
            }
        }
    }
}

impl Lines {
    fn sum_up(self, name: &str) {
        if self.left_out > 0 {
            let seconds = limits::REFUSAL_TIME.as_secs();
            tracing::warn!("refused: {} more {name}, within {seconds} seconds", self.left_out);
        }
    }
}

impl Drop for Refusals {
    /// Who was left out last is told, too.
    fn drop(&mut self) {
        for (lines, name) in self.0.iter_mut().zip(NAMES) {
            std::mem::take(lines).sum_up(name);
        }
    }
}
