//! How many clients have of something that there is not much of: open files of the host, each of
//! which is a descriptor, and places.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use crate::tree::ClientId;

/// What is in use.
#[derive(Clone, Debug, Default)]
pub(super) struct Slots(Rc<RefCell<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    of: HashMap<ClientId, usize>,
    all: usize,
}

/// One of those that a client may have. It is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Slots,
    client: ClientId,
}

impl Slots {
    /// One more for a client, if it may have `own`, and all together `all`.
    pub fn take(&self, client: ClientId, own: usize, all: usize) -> Option<Slot> {
        let mut counts = self.0.borrow_mut();
        let has = counts.of.get(&client).copied().unwrap_or(0);
        if counts.all >= all || has >= own {
            return None;
        }
        counts.all += 1;
        counts.of.insert(client, has + 1);
        Some(Slot { slots: self.clone(), client })
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
