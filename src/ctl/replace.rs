//! Another file in the place of a mirror's leg: the checks, and what becomes of the configuration.

use std::rc::Rc;

use styx::enames;
use styx::server::Ename;

use super::control::{Control, Entry};
use super::{Config, check, line};
use crate::inner::Inner;
use crate::integrity::Mirror;
use crate::integrity::state::Key;
use crate::limits;

/// A leg of a mirror that is to be another file.
#[derive(Debug)]
pub struct Replacement {
    /// The mirror.
    pub entry: Rc<Entry>,
    /// Which leg, from 0.
    pub leg: usize,
    /// The name of the file, as in a control message.
    pub file: String,
    /// All is looked at, and nothing is changed.
    pub dry_run: bool,
}

impl Replacement {
    /// The mirror's configuration with that file as the only one: what is to be found.
    ///
    /// # Errors
    /// If no message could name the file so.
    pub(super) fn wanted(&self) -> Result<Config, Ename> {
        check::characters(self.file.as_bytes(), true)?;
        Ok(Config { inner: vec![self.file.clone()], ..self.entry.config().clone() })
    }

    /// The configuration of the mirror as it will be.
    fn config(&self) -> Config {
        let mut config = self.entry.config().clone();
        config.inner[self.leg] = self.file.clone();
        // In devds these are what is printed: a verb, a name and the files.
        let files = config.words.len().saturating_sub(config.inner.len());
        if let Some(word) = config.words.get_mut(files + self.leg) {
            *word = self.file.clone();
        }
        config
    }
}

/// Whether two names led to the same bytes.
fn is_same(one: &Inner, other: &Inner) -> bool {
    match (one, other) {
        (Inner::File(one), Inner::File(other)) => one.key() == other.key(),
        (Inner::Device(one), Inner::Device(other)) => Rc::ptr_eq(one, other),
        _ => false,
    }
}

impl<O: Copy> Control<O> {
    /// Whether this may become that leg.
    pub(super) fn check_replacement(
        &self,
        replacement: &Replacement,
        inner: &Inner,
    ) -> Result<(), Ename> {
        let Replacement { entry, leg, file, .. } = replacement;
        let device = &entry.device;
        let refused = |why: String| Err(format!("replace: {file}: {why}").into());
        if device.is_gone() {
            return Err(device.rules.gone.into());
        }
        if matches!(inner, Inner::Ctl) {
            return Err(enames::EPERM.into());
        }
        if let Inner::Device(other) = inner
            && other.reaches(device)
        {
            return refused(format!("it is made of {}", entry.config().name));
        }
        let (length, has) = (device.geometry.length(), inner.length());
        if has < length {
            return refused(format!("its {has} bytes are fewer than the mirror's {length}"));
        }
        let twin = device.inner().iter().position(|other| is_same(other, inner));
        if let Some(other) = twin.filter(|other| other != leg) {
            return refused(format!("it is leg {other} already"));
        }
        let others = |mirror: &Mirror| {
            (0..mirror.legs().len()).any(|other| other != *leg && mirror.is_read(other))
        };
        if !device.mirror().is_some_and(|mirror| others(&mirror)) {
            return refused("no other leg is in service, from which it could be filled".into());
        }
        if let Some(why) = device.why_needed(*leg) {
            return refused(why);
        }
        if line(self.dialect(), &replacement.config()).len() > limits::MESSAGE {
            // No restart could read it.
            return Err(enames::ECOUNT.into());
        }
        let old = device.put(*leg, inner.clone());
        let fits = self.measure_again();
        device.put(*leg, old);
        self.measure_again();
        if fits { Ok(()) } else { Err(enames::EDEEP.into()) }
    }

    /// Each device takes in what has become of those that it is made of. False if one is too large.
    fn measure_again(&self) -> bool {
        let devices = || self.table().iter().map(|(_, _, entry)| &entry.device);
        // One after another, from the inside out, whatever their places are.
        while devices().any(|device| device.measure_again()) {}
        devices().all(|device| device.leaves() <= limits::LEAVES && device.depth() <= limits::DEPTH)
    }

    /// The ctl text when the leg is replaced, and the key that the mirror's log has, and will have.
    pub(super) fn after(&self, replacement: &Replacement, inner: &Inner) -> (String, (Key, Key)) {
        let Replacement { entry, leg, .. } = replacement;
        let config = replacement.config();
        let keys = (self.key(&entry.config()), self.key(&config));
        // The lines stand in the order in which devices are made of each other.
        let old = (entry.configure(config), entry.device.put(*leg, inner.clone()));
        let text = self.kept_text();
        entry.configure(old.0);
        entry.device.put(*leg, old.1);
        (text, keys)
    }

    /// That is saved, or could not be.
    pub(super) fn end_replace(&mut self, replacement: &Replacement, inner: Inner, saved: bool) {
        let Replacement { entry, leg, .. } = replacement;
        if saved {
            entry.device.put(*leg, inner);
            entry.configure(replacement.config());
            self.measure_again();
            self.changed();
        }
        if let Some(mut mirror) = entry.device.mirror() {
            mirror.end_replace(*leg, saved);
        }
    }
}
