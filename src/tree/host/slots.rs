//! How many files of the host clients have open: each open one is a descriptor, of which there are
//! not many.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use styx::enames;
use styx::server::Ename;

use crate::tree::ClientId;

/// Of all files that may be open, one client may have this part, so that others can open some.
const CLIENT_SHARE: (usize, usize) = (3, 4);

/// What is open.
#[derive(Clone, Debug, Default)]
pub(super) struct Slots(Rc<RefCell<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    of: HashMap<ClientId, usize>,
    all: usize,
}

/// One of the files that a client may have open. It is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Slots,
    client: ClientId,
}

impl Slots {
    /// Room for one more file of a client, if there may be `limit` in all.
    pub fn take(&self, client: ClientId, limit: usize) -> Result<Slot, Ename> {
        let mut counts = self.0.borrow_mut();
        let own = counts.of.get(&client).copied().unwrap_or(0);
        if counts.all >= limit || own >= limit / CLIENT_SHARE.1 * CLIENT_SHARE.0 {
            return Err(enames::ENOFD.into());
        }
        counts.all += 1;
        counts.of.insert(client, own + 1);
        Ok(Slot { slots: self.clone(), client })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut counts = self.slots.0.borrow_mut();
        counts.all -= 1;
        if let Some(count) = counts.of.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                counts.of.remove(&self.client);
            }
        }
    }
}
