//! A descriptor that is kept for the moment when there is no other: a client that connects then
//! would wait in the kernel's queue for ever, and nobody would know why.

use std::os::fd::OwnedFd;

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;

/// A descriptor of nothing, whose place is what counts. `None` when it could not be had again.
pub(super) struct Spare(Option<OwnedFd>);

impl Spare {
    pub fn new() -> Self {
        let mut spare = Spare(None);
        spare.take_again();
        spare
    }

    /// Does something with one descriptor more, which it must have given back when it ends.
    pub fn lend<T>(&mut self, with: impl FnOnce() -> T) -> T {
        self.0 = None;
        let result = with();
        self.take_again();
        result
    }

    /// Whether it is there.
    pub fn is_there(&self) -> bool {
        self.0.is_some()
    }

    /// Sees to it that it is there, if that is possible again.
    pub fn take_again(&mut self) {
        if self.0.is_none() {
            self.0 = eventfd(0, EventfdFlags::CLOEXEC).ok();
        }
    }
}

/// Whether this says that there is no descriptor left, for this process or for all.
pub(super) fn is_out_of_descriptors(error: &std::io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}
