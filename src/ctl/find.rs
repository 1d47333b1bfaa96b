//! How the inner files of a message are found: who is asked, and what is known so far.

use std::rc::Rc;
use std::task::Poll;

use styx::server::Ename;

use super::control::Control;
use super::replace::Replacement;
use super::{Config, Devices, OpenError, Rules};
use crate::inner::remote::JobId;
use crate::inner::{Device, File, Inner};
use crate::integrity::log::Record;
use crate::integrity::state::Key;
use crate::namespace::{self, Failure, NameError, Resolver, Target, Walked};

/// Finds and opens files by the name space's targets. What is pending is answered later, by
/// [`Control::walked`] and [`Control::opened`].
pub trait Finder {
    /// How far `names` go from the directory `target`.
    fn walk(&mut self, job: JobId, target: &Target, names: &[String]) -> Poll<Walked>;

    /// Opens a file for reading and writing, and takes its length.
    fn open(&mut self, job: JobId, target: &Target) -> Poll<Result<File, Failure>>;

    /// What the log of a mirror says that is being restored from the state directory; `None` if no
    /// logs are kept.
    fn remembered(&mut self, _key: &Key) -> Result<Option<Record>, Ename> {
        Ok(None)
    }

    /// Puts on stable storage what has to be there before a message is answered: the ctl text, if
    /// it changes, and what becomes of a mirror's log. Answered later by [`Control::saved`].
    fn save(
        &mut self,
        job: JobId,
        text: Option<String>,
        log: Option<SaveLog<'_>>,
    ) -> Poll<Result<(), Ename>>;
}

/// What becomes of a mirror's log when the configuration changes.
#[derive(Debug)]
pub enum SaveLog<'a> {
    /// The mirror is new, and gets its log.
    New(&'a Rc<Device>, Key),
    /// A leg is to become another file, so that the mirror has another key. Until that is on stable
    /// storage the leg is held, and nothing else is recorded.
    Replace {
        /// The mirror.
        mirror: &'a Rc<Device>,
        /// Which leg.
        leg: usize,
        /// The key that it has, and the one that it is to have.
        keys: (Key, Key),
    },
}

/// The inner files of a message, as far as they were found.
#[derive(Debug)]
pub(super) struct Finding {
    /// One name space for all of the names in a message.
    pub names: Rc<namespace::Table>,
    pub config: Config,
    pub found: Vec<Inner>,
    pub resolver: Option<Resolver>,
    /// A leg of a mirror that there is, to be replaced; else there is to be a new device.
    pub replaces: Option<Replacement>,
    /// A mirror of a kept configuration: it may lack legs.
    pub may_lack: bool,
}

impl<O: Copy> Control<O> {
    /// How far `names` go in the tree of our own devices, from the directory at `path`. The device
    /// that is being made, `own`, is found, so that what is told is that it can't be opened (D15).
    pub(super) fn walk_kernel(
        &self,
        path: &[String],
        names: &[String],
        own: (&str, &str),
    ) -> Walked {
        let all: Vec<&str> = path.iter().chain(names).map(String::as_str).collect();
        let (depth, directory): (usize, bool) = match all[..] {
            [] => (0, true),
            [dir, ..] if self.table().dir(dir).is_none() && dir != own.0 => (0, true),
            [_] => (1, true),
            [dir, name, ..] if self.is_file(dir, name) || (dir, name) == own => (2, false),
            [..] => (1, true),
        };
        Walked::Reached { found: depth.saturating_sub(path.len()), directory }
    }

    pub(super) fn is_file(&self, dir: &str, name: &str) -> bool {
        self.rules().is_ctl(dir, name) || self.is_taken(dir, name)
    }

    pub(super) fn open_kernel(&self, path: &[String]) -> Result<Inner, Failure> {
        let [dir, name] = path else { return Err(Failure::Permission) };
        if self.rules().is_ctl(dir, name) {
            return Ok(Inner::Ctl);
        }
        let slot = self.table().dir(dir).and_then(|dir| self.table().find(dir, name));
        match slot.and_then(|slot| self.table().get(slot)) {
            None => Err(Failure::NotFound),
            Some((_, entry)) if entry.device.is_gone() => {
                Err(Failure::Open(self.rules().transfers.gone.to_string()))
            }
            Some((_, entry)) => Ok(Inner::Device(entry.device.clone())),
        }
    }
}

impl Finding {
    pub fn take(&mut self, inner: Inner) {
        self.found.push(inner);
        self.resolver = None;
    }

    /// An inner file is not there, which may be taken as it is.
    pub fn lack(&mut self, ename: Ename) -> Result<(), Ename> {
        if !self.may_lack {
            return Err(ename);
        }
        self.take(Inner::Absent(ename.as_ref().into()));
        Ok(())
    }

    pub fn name_error(&self, failure: Failure, rules: &Rules) -> Ename {
        let name = self.config.inner.get(self.found.len()).map_or("", String::as_str);
        name_text(&NameError::new(name, failure), rules)
    }
}

pub(super) fn name_text(error: &NameError, rules: &Rules) -> Ename {
    match rules.open_error {
        OpenError::NameFirst => error.devds().into(),
        OpenError::NameLast => error.plan9().into(),
    }
}
