//! One of our own devices: its arithmetic together with what it is made of.

use std::cell::{Cell, RefCell, RefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{File, Inner};
use crate::device::crypt::Cipher;
use crate::device::{Geometry, Kind, Rules};
use crate::integrity::Mirror;

/// A configured device.
#[derive(Debug)]
pub struct Device {
    /// How its bytes map to those of its inner files.
    pub geometry: Geometry,
    /// What it is made of, in the order of the control message.
    pub inner: Vec<Inner>,
    /// What the dialect says of its transfers.
    pub rules: &'static Rules,
    /// crypt: what encrypts it; `None` if its key is not known.
    pub cipher: Option<Cipher>,
    /// mirror: what is known of its legs.
    mirror: Option<RefCell<Mirror>>,
    /// Whether a write of no bytes to it can fail, because our ctl is somewhere inside.
    has_ctl: bool,
    /// How many files there are below it, each counted as often as it is reached.
    leaves: usize,
    /// Which servers its files are on, as bits.
    homes: u64,
    /// How many devices there are between it and the files, itself and those on other servers
    /// included.
    depth: usize,
    /// How often each of the files below it was changed, by whatever device.
    changes: Vec<Arc<AtomicU32>>,
    /// It was deleted: nobody reaches it any more but through the devices that are made of it.
    gone: Cell<bool>,
}

impl Device {
    /// A device of these inner files, which have the lengths that `geometry` was made from.
    pub fn new(geometry: Geometry, inner: Vec<Inner>, rules: &'static Rules) -> Self {
        let of = |inner: &Inner| match inner {
            Inner::Device(device) => (device.has_ctl, device.leaves, device.depth),
            Inner::File(File::Local(_)) => (false, 1, 0),
            Inner::File(File::Remote(file)) => (false, 1, file.depth()),
            Inner::Ctl => (true, 1, 0),
        };
        let mut changes: Vec<_> = inner.iter().flat_map(Inner::changes).cloned().collect();
        changes.sort_unstable_by_key(Arc::as_ptr);
        changes.dedup_by(|one, other| Arc::ptr_eq(one, other));
        let homes = inner.iter().fold(0, |homes, inner| homes | inner.homes());
        let parts: Vec<_> = inner.iter().map(of).collect();
        let mirror = || RefCell::new(Mirror::new(geometry.length(), inner.len()));
        Device {
            mirror: (*geometry.kind() == Kind::Mirror).then(mirror),
            has_ctl: parts.iter().any(|&(ctl, _, _)| ctl),
            leaves: parts.iter().fold(0, |sum: usize, &(_, n, _)| sum.saturating_add(n)),
            depth: 1 + parts.iter().map(|&(_, _, depth)| depth).max().unwrap_or(0),
            gone: Cell::new(false),
            homes,
            changes,
            cipher: None,
            geometry,
            inner,
            rules,
        }
    }

    /// How many files one transfer can reach at most, each counted as often as it is reached.
    pub fn leaves(&self) -> usize {
        self.leaves
    }

    /// How many devices deep it is.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// The same device, encrypted; without a cipher its key is not known.
    pub fn with_cipher(self, cipher: Option<Cipher>) -> Self {
        Device { cipher, ..self }
    }

    pub(super) fn changes(&self) -> &[Arc<AtomicU32>] {
        &self.changes
    }

    /// Moves whenever its bytes are changed: through it, a device inside it, or any other that has
    /// a file with it in common.
    pub fn version(&self) -> u32 {
        let counts = self.changes.iter().map(|count| count.load(Ordering::Relaxed));
        counts.fold(0, u32::wrapping_add)
    }

    /// Which servers its files are on: bit n for mount n, modulo 64, none for this machine.
    pub fn homes(&self) -> u64 {
        self.homes
    }

    /// Whether our ctl is somewhere inside.
    pub fn has_ctl(&self) -> bool {
        self.has_ctl
    }

    /// mirror: what is known of its legs. It must not be held over a step of a transfer.
    pub fn mirror(&self) -> Option<RefMut<'_, Mirror>> {
        self.mirror.as_ref().map(RefCell::borrow_mut)
    }

    /// Whether it is a mirror.
    pub fn is_mirror(&self) -> bool {
        self.mirror.is_some()
    }

    /// It was deleted (B5): further transfers fail, but those of the devices that are made of it, which
    /// would lose their data otherwise.
    pub fn delete(&self) {
        self.gone.set(true);
    }

    /// Whether it was deleted.
    pub fn is_gone(&self) -> bool {
        self.gone.get()
    }
}
