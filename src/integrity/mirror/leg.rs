//! One leg of a mirror: its state, and what is to be rewritten on it.

use std::ops::Range;

use super::{MIN_RETRY, Upsets};
use crate::integrity::intent::Regions;

/// The state of a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// It is read and written.
    In,
    /// It is written and not read, and what it missed is being copied.
    CatchingUp,
    /// It is neither read nor written, and will be tried again.
    Out,
    /// As [`Out`](Service::Out), but only a person brings it back.
    Held,
}

impl Service {
    /// The stable word of `status`.
    pub fn word(self) -> &'static str {
        match self {
            Service::In => "in-service",
            Service::CatchingUp => "catching-up",
            Service::Out => "out",
            Service::Held => "held",
        }
    }
}

/// One leg.
#[derive(Debug)]
pub struct Leg {
    /// Its state.
    pub service: Service,
    /// Since when, in milliseconds since 1970; 0 if it has never changed.
    pub since: u64,
    /// Why, if it is not in service.
    pub why: String,
    /// Regions that are to be rewritten.
    pub stale: Regions,
    /// Its server does not sync: nothing of it is known to be on stable storage.
    pub unsynced: bool,
    /// It was replaced, and has not been filled since: it holds what never was the mirror's.
    pub unfilled: bool,
    /// There is nothing there that could be rewritten.
    pub absent: bool,
    /// Bytes compared and made equal since the server started.
    pub resynced: u64,
    /// What was noticed of it last.
    pub(super) upsets: Option<Upsets>,
    /// Regions that were rewritten and are not synced, and those that are being synced.
    pub(super) copied: Regions,
    pub(super) syncing: Regions,
    /// The stale region that is being rewritten, and how far that is.
    pub(super) cursor: Option<(usize, u64)>,
    pub(super) failures: u32,
    pub(super) failed_at: u64,
    pub(super) retry_at: u64,
    pub(super) retry_wait: u64,
}

impl Leg {
    pub(super) fn new(regions: usize) -> Self {
        Leg {
            service: Service::In,
            since: 0,
            why: String::new(),
            stale: Regions::new(regions),
            unsynced: false,
            unfilled: false,
            absent: false,
            resynced: 0,
            upsets: None,
            copied: Regions::new(regions),
            syncing: Regions::new(regions),
            cursor: None,
            failures: 0,
            failed_at: 0,
            retry_at: 0,
            retry_wait: MIN_RETRY,
        }
    }

    pub(super) fn add_stale(&mut self, span: Range<usize>) {
        if self.cursor.is_some_and(|(region, _)| span.contains(&region)) {
            self.cursor = None;
        }
        self.stale.add(span);
    }

    /// What the log says is to be rewritten: also what was, and may not be on stable storage.
    pub(super) fn unsure(&self) -> Regions {
        let mut stale = self.stale.clone();
        stale.unite(&self.copied);
        stale.unite(&self.syncing);
        stale
    }

    /// Whether it may be rewritten without a person's word.
    pub(super) fn may_return(&self) -> bool {
        self.service != Service::Held && !self.absent
    }

    pub(super) fn is_whole(&self) -> bool {
        self.stale.is_empty() && self.copied.is_empty() && self.syncing.is_empty()
    }
}
