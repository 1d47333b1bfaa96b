//! What a mirror hears from its legs beside their answers, and tells whoever it is a leg of: that bytes
//! have changed which nobody wrote.

use styx::enames;

use super::{Leg, Mirror, Service};

/// How often the bytes of a file or device may have changed though nobody wrote to it, since the
/// server started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Upsets {
    /// Something that was written and not synced may be gone.
    pub losses: u32,
    /// Other bytes are read, which were written too: after a crash the legs of a mirror may hold them
    /// differently, and of a leg that was made equal to one of them, another one is asked now.
    pub shifts: u32,
}

impl Upsets {
    /// Those of two things that are parts of one.
    pub fn and(self, other: Upsets) -> Upsets {
        let losses = self.losses.wrapping_add(other.losses);
        Upsets { losses, shifts: self.shifts.wrapping_add(other.shifts) }
    }
}

impl Mirror {
    /// What a leg has had so far. If it has lost more than was known, it is out, or if it is the last one,
    /// something may be gone for good. If it has shifted, all of it is compared, since nobody knows where.
    pub fn notice(&mut self, leg: usize, upsets: Upsets, now: u64) {
        let Some(known) = self.legs[leg].upsets.replace(upsets) else { return };
        if known.losses != upsets.losses {
            self.sync_failed(leg, enames::EAWAY, now);
            if self.is_read(leg) {
                self.upsets.losses = self.upsets.losses.wrapping_add(1);
            }
        }
        if known.shifts != upsets.shifts {
            self.lost(leg);
            self.want_record();
            self.tell(format!("leg {leg} may hold other bytes than it did, and is compared"));
            if self.is_read(leg) {
                self.shift();
            }
        }
    }

    /// What it has had itself: its last leg in service may have lost something, or what is read of it
    /// has shifted.
    pub fn upsets(&self) -> Upsets {
        self.upsets
    }

    /// Other bytes than before may be read.
    pub(super) fn shift(&mut self) {
        self.upsets.shifts = self.upsets.shifts.wrapping_add(1);
        self.stirred.set(true);
    }

    /// A leg came into service or went out of it. If that leaves another one to be read first, it may
    /// differ where one in service is still to be rewritten.
    pub(super) fn shift_from(&mut self, first: Option<usize>) {
        let differs = |leg: &Leg| leg.service == Service::In && !leg.stale.is_empty();
        if self.first() != first && self.legs.iter().any(differs) {
            self.shift();
        }
    }
}
