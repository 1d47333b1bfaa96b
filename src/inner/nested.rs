//! One of our own devices: its arithmetic together with what it is made of.

use std::cell::{Cell, Ref, RefCell, RefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{File, Inner};
use crate::device::crypt::Cipher;
use crate::device::{Geometry, Kind, Rules};
use crate::integrity::{Mirror, Upsets};

/// A configured device.
#[derive(Debug)]
pub struct Device {
    /// How its bytes map to those of its inner files.
    pub geometry: Geometry,
    /// What it is made of, in the order of the control message.
    inner: RefCell<Vec<Inner>>,
    /// What the dialect says of its transfers.
    pub rules: &'static Rules,
    /// crypt: what encrypts it; `None` if its key is not known.
    pub cipher: Option<Cipher>,
    /// mirror: what is known of its legs.
    mirror: Option<RefCell<Mirror>>,
    /// What follows from what it is made of.
    measure: Cell<Measure>,
    /// How often each of the files that are or were below it was changed, by whatever device. One
    /// that is left out would let the sum go back.
    changes: RefCell<Vec<Arc<AtomicU32>>>,
    /// It was deleted: nobody reaches it any more but through the devices that are made of it.
    gone: Cell<bool>,
}

/// What is known of a device from the things that it is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Measure {
    /// Whether a write of no bytes to it can fail, because our ctl is somewhere inside.
    has_ctl: bool,
    /// How many files there are below it, each counted as often as it is reached.
    leaves: usize,
    /// Which servers its files are on, as bits.
    homes: u64,
    /// How many devices there are between it and the files, itself and those on other servers
    /// included.
    depth: usize,
}

impl Measure {
    fn of(inner: &[Inner]) -> Self {
        let of = |inner: &Inner| match inner {
            Inner::Device(device) => (device.has_ctl(), device.leaves(), device.depth()),
            Inner::File(File::Local(_)) | Inner::Absent(_) => (false, 1, 0),
            Inner::File(File::Remote(file)) => (false, 1, file.depth()),
            Inner::Ctl => (true, 1, 0),
        };
        let parts: Vec<_> = inner.iter().map(of).collect();
        Measure {
            has_ctl: parts.iter().any(|&(ctl, _, _)| ctl),
            leaves: parts.iter().fold(0, |sum: usize, &(_, n, _)| sum.saturating_add(n)),
            homes: inner.iter().fold(0, |homes, inner| homes | inner.homes()),
            depth: 1 + parts.iter().map(|&(_, _, depth)| depth).max().unwrap_or(0),
        }
    }
}

impl Device {
    /// A device of these inner files, which have the lengths that `geometry` was made from.
    pub fn new(geometry: Geometry, inner: Vec<Inner>, rules: &'static Rules) -> Self {
        let mirror = || {
            let mut mirror = Mirror::new(geometry.length(), inner.len());
            for (leg, inner) in inner.iter().enumerate() {
                if let Inner::Absent(why) = inner {
                    mirror.set_absent(leg, why);
                }
            }
            RefCell::new(mirror)
        };
        let device = Device {
            mirror: (*geometry.kind() == Kind::Mirror).then(mirror),
            measure: Cell::new(Measure::of(&inner)),
            gone: Cell::new(false),
            changes: RefCell::default(),
            cipher: None,
            geometry,
            inner: RefCell::new(inner),
            rules,
        };
        device.add_changes();
        device
    }

    /// What it is made of, in the order of the control message.
    pub fn inner(&self) -> Ref<'_, [Inner]> {
        Ref::map(self.inner.borrow(), Vec::as_slice)
    }

    /// Puts another inner file in the place of one: the one that was there. Who has changed
    /// something [measures](Device::measure_again) this and all devices above it again.
    pub fn put(&self, place: usize, inner: Inner) -> Inner {
        std::mem::replace(&mut self.inner.borrow_mut()[place], inner)
    }

    /// Takes in what has become of the things that it is made of. True if that is something else
    /// than before.
    pub fn measure_again(&self) -> bool {
        let measure = Measure::of(&self.inner());
        self.add_changes() | (self.measure.replace(measure) != measure)
    }

    /// Why a leg of this mirror can't be done without: another one lacks something, or was cut on the host
    /// and nobody has noticed it yet.
    pub fn why_needed(&self, leg: usize) -> Option<String> {
        let mirror = self.mirror()?;
        let is_cut = |&(other, inner): &(usize, &Inner)| match inner {
            Inner::File(File::Local(file)) if other != leg && mirror.is_read(other) => {
                file.ends_before(self.geometry.length())
            }
            _ => false,
        };
        let cut = || self.inner().iter().enumerate().find(is_cut).map(|(other, _)| other);
        mirror.why_needed(leg).or_else(|| {
            let cut = cut()?;
            Some(format!(
                "leg {cut} has become shorter than the mirror; repair it from another first"
            ))
        })
    }

    /// Whether this is the device, or it is made of it.
    pub fn reaches(&self, device: &Device) -> bool {
        let reaches = |inner: &Inner| match inner {
            Inner::Device(inner) => inner.reaches(device),
            _ => false,
        };
        std::ptr::eq(self, device) || self.inner().iter().any(reaches)
    }

    /// From now on what is changed in its files counts: whether there are others than before.
    fn add_changes(&self) -> bool {
        let mut changes = self.changes.borrow_mut();
        let before = changes.len();
        changes.extend(self.inner().iter().flat_map(Inner::changes));
        changes.sort_unstable_by_key(Arc::as_ptr);
        changes.dedup_by(|one, other| Arc::ptr_eq(one, other));
        changes.len() > before
    }

    /// How many files one transfer can reach at most, each counted as often as it is reached.
    pub fn leaves(&self) -> usize {
        self.measure.get().leaves
    }

    /// How many devices deep it is.
    pub fn depth(&self) -> usize {
        self.measure.get().depth
    }

    /// The same device, encrypted; without a cipher its key is not known.
    pub fn with_cipher(self, cipher: Option<Cipher>) -> Self {
        Device { cipher, ..self }
    }

    pub(super) fn changes(&self) -> Vec<Arc<AtomicU32>> {
        self.changes.borrow().clone()
    }

    /// Moves whenever its bytes are changed: through it, a device inside it, or any other that has
    /// a file with it in common.
    pub fn version(&self) -> u32 {
        let changes = self.changes.borrow();
        let counts = changes.iter().map(|count| count.load(Ordering::Relaxed));
        counts.fold(0, u32::wrapping_add)
    }

    /// How often its bytes may have changed though nobody wrote to it.
    pub fn upsets(&self) -> Upsets {
        match self.mirror() {
            Some(mirror) => mirror.upsets(),
            None => self.inner().iter().map(Inner::upsets).fold(Upsets::default(), Upsets::and),
        }
    }

    /// mirror: what its legs have had is noticed. Those whose servers may have lost something are not
    /// read from now on. The time is `now`, in milliseconds since 1970.
    pub fn notice_upsets(&self, now: u64) {
        for (leg, inner) in self.inner().iter().enumerate() {
            if let Inner::Device(device) = inner {
                device.notice_upsets(now);
            }
            if let Some(mut mirror) = self.mirror() {
                mirror.notice(leg, inner.upsets(), now);
            }
        }
    }

    /// Which servers its files are on: bit n for mount n, modulo 64, none for this machine.
    pub fn homes(&self) -> u64 {
        self.measure.get().homes
    }

    /// Whether our ctl is somewhere inside.
    pub fn has_ctl(&self) -> bool {
        self.measure.get().has_ctl
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
