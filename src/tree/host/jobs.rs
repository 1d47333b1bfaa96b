//! Requests that the host has been asked to carry out, from their beginning to their end.
//!
//! Those that change names or what is said of files go to the host one at a time, in the order in
//! which they came from whomever, so that none can slip in between what another looks at and what
//! it does. All others go at once, and may be on their way by a name that is just being changed:
//! one that found nothing there goes again, in line with the changes, so that no name is changed
//! meanwhile. A way is therefore only made of its places when it is used.

use std::collections::{HashMap, VecDeque};
use std::fs::File as HostFile;
use std::rc::Rc;
use std::sync::Arc;

use styx::enames;
use styx::server::{DirEntries, Ename};

use super::Who;
use super::places::Place;
use super::slots::Slot;
use crate::inner::host_fs::{Ask, Held, How, JobId, Keeper, Look, OpenDir, Subject, Told};

/// What the host is asked.
#[derive(Debug)]
pub(super) enum Request {
    Look(To),
    Open {
        place: Rc<Place>,
        how: How,
        slot: Slot,
    },
    Create {
        dir: Rc<Place>,
        name: String,
        perm: u32,
        how: How,
        slot: Slot,
    },
    List(List),
    Stat(Target),
    /// An entry as it came, and the name in it.
    Wstat {
        target: Target,
        stat: Vec<u8>,
        name: String,
    },
    Sync(Target),
    Remove(Rc<Place>),
    Close(Option<Held>, bool),
}

/// Where a step of a walk leads.
#[derive(Debug)]
pub(super) enum To {
    Root,
    Again(Rc<Place>),
    Child(Rc<Place>, String),
}

/// A file, by its place or, if it is open, by its descriptor.
#[derive(Debug)]
pub(super) struct Target {
    pub place: Rc<Place>,
    pub held: Option<Arc<HostFile>>,
}

/// A read of a directory.
#[derive(Debug)]
pub(super) struct List {
    pub dir: Arc<OpenDir>,
    pub place: Rc<Place>,
    pub cursor: u64,
    pub entries: Option<DirEntries>,
}

impl To {
    pub fn look(&self) -> Look {
        match self {
            To::Root => Look::Root,
            To::Again(place) => Look::Again(place.way()),
            To::Child(dir, name) => Look::Child(dir.way(), name.clone()),
        }
    }
}

impl Target {
    pub fn subject(&self) -> Subject {
        Subject { way: self.place.way(), held: self.held.clone() }
    }
}

impl Request {
    fn ask(&mut self) -> Ask {
        const ONCE: &str = "a read of a directory and a close are asked for once";
        match self {
            Request::Look(to) => Ask::Look(to.look()),
            Request::Open { place, how, .. } => Ask::Open(place.way(), *how),
            Request::Create { dir, name, perm, how, .. } => {
                Ask::Create(dir.way(), name.clone(), *perm, *how)
            }
            Request::List(list) => {
                let entries = list.entries.take().expect(ONCE);
                Ask::List(list.dir.clone(), list.place.way(), list.cursor, entries)
            }
            Request::Stat(target) => Ask::Stat(target.subject()),
            Request::Wstat { target, stat, .. } => Ask::Wstat(target.subject(), stat.clone()),
            Request::Sync(target) => Ask::Sync(target.subject()),
            Request::Remove(place) => Ask::Remove(place.way()),
            Request::Close(held, sync) => Ask::Close(held.take().expect(ONCE), *sync),
        }
    }

    /// Whether it changes names, or what is said of files.
    fn changes(&self) -> bool {
        matches!(self, Request::Create { .. } | Request::Wstat { .. } | Request::Remove(_))
    }

    fn renames(&self) -> bool {
        matches!(self, Request::Wstat { name, .. } if !name.is_empty())
    }

    /// Whether it finds its file by a name, and can go there again.
    fn goes_by_name(&self) -> bool {
        match self {
            Request::Look(_) | Request::Open { .. } => true,
            Request::Stat(target) | Request::Sync(target) => target.held.is_none(),
            _ => false,
        }
    }

    /// Whether nobody could tell if it was done or not.
    fn is_harmless(&self) -> bool {
        matches!(self, Request::Look(_) | Request::List(_) | Request::Stat(_) | Request::Sync(_))
    }
}

#[derive(Debug)]
struct Waiting {
    who: Option<Who>,
    request: Request,
    /// How many renames there had been when it went.
    renames: u64,
}

/// The requests that are under way.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    last: u64,
    waiting: HashMap<JobId, Waiting>,
    of: HashMap<Who, JobId>,
    /// Changes that have not begun, and what goes again, in the order in which they came.
    queue: VecDeque<JobId>,
    /// The one that has.
    changing: Option<JobId>,
    /// How many names have been changed.
    renames: u64,
}

impl Jobs {
    /// Begins a request, or puts it into the queue. Nobody need be waiting for it.
    pub fn begin(&mut self, keeper: &mut impl Keeper, who: Option<Who>, request: Request) {
        self.last += 1;
        let job = JobId(self.last);
        let changes = request.changes();
        if let Some(who) = who {
            self.of.insert(who, job);
        }
        self.waiting.insert(job, Waiting { who, request, renames: 0 });
        if changes {
            self.queue.push_back(job);
            self.go_on(keeper);
        } else {
            self.send(keeper, job);
        }
    }

    fn send(&mut self, keeper: &mut impl Keeper, job: JobId) {
        if let Some(waiting) = self.waiting.get_mut(&job) {
            waiting.renames = self.renames;
            keeper.ask(job, waiting.request.ask());
        }
    }

    /// The host is done with a job. The request and what came of it, if that is its end, and
    /// somebody may still want to know. [`go_on`](Jobs::go_on) is to follow.
    #[allow(clippy::type_complexity, reason = "it is taken apart at once")]
    pub fn told(
        &mut self,
        job: JobId,
        told: Result<Told, Ename>,
    ) -> Option<(Option<Who>, Request, Result<Told, Ename>)> {
        let changed = self.changing == Some(job);
        if changed {
            self.changing = None;
        }
        // What was flushed meanwhile is of no use to anyone.
        let waiting = self.waiting.get(&job)?;
        if changed && waiting.request.renames() && told.is_ok() {
            self.renames += 1;
        }
        let renamed = waiting.renames != self.renames || self.is_renaming();
        let missing = matches!(&told, Err(ename) if ename == enames::ENONEXIST);
        if missing && renamed && waiting.request.goes_by_name() {
            self.queue.push_back(job);
            return None;
        }
        let Waiting { who, request, .. } = self.waiting.remove(&job)?;
        if let Some(who) = who {
            self.of.remove(&who);
        }
        Some((who, request, told))
    }

    /// Begins what may begin now.
    pub fn go_on(&mut self, keeper: &mut impl Keeper) {
        while self.changing.is_none()
            && let Some(job) = self.queue.pop_front()
        {
            self.changing = Some(job);
            self.send(keeper, job);
        }
    }

    /// Whether a name is being changed, so that it may be the old one or the new one that is
    /// there.
    pub fn is_renaming(&self) -> bool {
        let changing = self.changing.and_then(|job| self.waiting.get(&job));
        changing.is_some_and(|waiting| waiting.request.renames())
    }

    /// Whether nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.changing.is_none()
    }

    /// Whether a pending request could be dropped (see [`styx::server::Service::flush`]).
    pub fn flush(&mut self, who: Who) -> bool {
        let Some(&job) = self.of.get(&who) else { return false };
        let queued = self.queue.len();
        self.queue.retain(|other| *other != job);
        let begun = self.queue.len() == queued;
        let harmless = self.waiting.get(&job).is_some_and(|waiting| waiting.request.is_harmless());
        if begun && !harmless {
            return false;
        }
        self.of.remove(&who);
        self.waiting.remove(&job);
        true
    }
}
