//! Who is told that something was lost: what was written to a device and not synced, when the server of
//! one of its files was away, or said so itself. As with fsync(2) of Linux each open fid tells it once, at
//! its next sync; what nobody was told yet is told to who opens the device next.

use std::cell::Cell;
use std::rc::Rc;

use styx::enames;
use styx::server::Ename;

use crate::ctl::Entry;

/// How many losses of a device the client of a fid was told of.
#[derive(Clone, Debug)]
pub(super) struct Told {
    entry: Rc<Entry>,
    losses: Rc<Cell<u32>>,
}

impl Told {
    /// A fid of a device is opened, or used without that.
    pub fn new(entry: &Rc<Entry>) -> Self {
        Told { entry: entry.clone(), losses: Rc::new(entry.told.clone()) }
    }

    /// A sync is over: what is answered.
    pub fn answer<T>(&self, synced: Result<T, Ename>) -> Result<T, Ename> {
        let losses = self.entry.device.upsets().losses;
        let known = self.losses.replace(losses);
        self.entry.told.set(losses);
        match synced {
            Ok(_) if known != losses => Err(enames::EAWAY.into()),
            synced => synced,
        }
    }
}
