//! The root directory as a tree of its own (`#U`): what each request does there.
//!
//! What a fid stands for is a place ([`places`]); an open one holds the descriptor as well. What
//! the host is asked ([`jobs`]) goes through a [`Keeper`], and is answered later unless it is known at
//! once. Reads and writes are transfers, as those of devices are. Nothing here touches the system.
//!
//! A server that exports its root acts there with the rights of the user who runs it, whatever name
//! a client attaches with.

mod jobs;
mod places;
mod slots;

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use styx::server::{DirEntries, Ename, Opened, Outcome, RequestId};
use styx::{Qid, Stat, dm, enames, omode};

use super::{Answered, ClientId, Kind, Payload};
use crate::ctl::check_name;
use crate::inner::LocalFile;
use crate::inner::host_fs::{Found, Held, How, JobId, Keeper, OpenDir, Told};
use jobs::{Jobs, List, Request, Target, To};
use places::{Place, Places};
use slots::{Slot, Slots};

/// The longest name that can be created, in bytes: NAME_MAX of the host's file systems.
const MAX_NAME: usize = 255;

/// Of all files that may be open, one client may have this part, so that others can open some.
const CLIENT_SHARE: (usize, usize) = (3, 4);

/// Close on exec, which means nothing to a server (open(2)).
const OCEXEC: u8 = 0x20;

/// The bits of a mode that a file or directory can be created with (stat(5)).
const FILE_BITS: u32 = dm::APPEND | dm::EXCL | dm::TMP | 0o777;
const DIR_BITS: u32 = dm::DIR | 0o777;

/// Whose a request is.
type Who = (ClientId, RequestId);

/// What a fid stands for.
#[derive(Clone, Debug)]
pub(super) struct File {
    place: Rc<Place>,
    pub qid: Qid,
    open: Option<Rc<Open>>,
}

#[derive(Debug)]
struct Open {
    held: Held,
    /// It is to be removed when it is closed.
    remove: bool,
    _slot: Slot,
}

/// The tree, and what it waits for.
#[derive(Debug)]
pub(super) struct Export {
    read_only: bool,
    /// What is closed is put on stable storage first: the server is about to end.
    ending: bool,
    places: Places,
    slots: Slots,
    jobs: Jobs,
    answers: VecDeque<Answered>,
}

impl Export {
    pub fn new(read_only: bool) -> Self {
        Export {
            read_only,
            ending: false,
            places: Places::default(),
            slots: Slots::default(),
            jobs: Jobs::default(),
            answers: VecDeque::new(),
        }
    }

    /// The next request that had been left pending and is over.
    pub fn next_answer(&mut self) -> Option<Answered> {
        self.answers.pop_front()
    }

    /// Whether there is one.
    pub fn has_answers(&self) -> bool {
        !self.answers.is_empty()
    }

    /// Whether the host has done all that it was asked.
    pub fn is_idle(&self) -> bool {
        self.jobs.is_idle()
    }

    /// The server is about to end: what is closed from now on is put on stable storage first.
    pub fn end(&mut self) {
        self.ending = true;
    }

    pub fn attach(&mut self, keeper: &mut impl Keeper, who: Who) -> Outcome<super::File> {
        self.look(keeper, who, To::Root)
    }

    pub fn walk(
        &mut self,
        keeper: &mut impl Keeper,
        who: Who,
        from: &File,
        name: &str,
    ) -> Outcome<super::File> {
        if !from.qid.is_dir() {
            return Poll::Ready(Err(enames::ENOTDIR.into()));
        }
        let to = match name {
            "" | "." => return Poll::Ready(Ok(from.clone().into())),
            ".." => To::Again(from.place.parent().unwrap_or(&from.place).clone()),
            _ if name.contains('/') => return Poll::Ready(Err(enames::ENONEXIST.into())),
            _ if name.len() > MAX_NAME => return Poll::Ready(Err(enames::ENAMETOOLONG.into())),
            _ => To::Child(from.place.clone(), name.to_owned()),
        };
        self.look(keeper, who, to)
    }

    fn look(&mut self, keeper: &mut impl Keeper, who: Who, to: To) -> Outcome<super::File> {
        match keeper.look_now(&to.look()) {
            // It may be there by another name in a moment.
            Some(Err(_)) if self.jobs.is_renaming() => {}
            Some(known) => {
                return Poll::Ready(known.and_then(|found| self.found(who.0, to, &found)));
            }
            None => {}
        }
        self.jobs.begin(keeper, Some(who), Request::Look(to));
        Poll::Pending
    }

    fn found(&mut self, client: ClientId, to: To, found: &Found) -> Result<super::File, Ename> {
        let place = match to {
            To::Root => self.places.root(found.file),
            To::Again(place) => place,
            To::Child(dir, name) => self.places.at(client, &dir, &name, found.entry, found.file)?,
        };
        Ok(File { place, qid: found.qid, open: None }.into())
    }

    pub fn open(
        &mut self,
        keeper: &mut impl Keeper,
        who: Who,
        file: &File,
        mode: u8,
    ) -> Outcome<Opened<super::File>> {
        let how = how(mode)?;
        if file.qid.is_dir() {
            check_dir(how)?;
        } else if how.truncate || how.remove || writes(how) {
            self.check_writable()?;
        }
        let slot = self.take_slot(keeper, who.0)?;
        let place = file.place.clone();
        self.jobs.begin(keeper, Some(who), Request::Open { place, how, slot });
        Poll::Pending
    }

    pub fn create(
        &mut self,
        keeper: &mut impl Keeper,
        who: Who,
        dir: &File,
        (name, perm, mode): (&str, u32, u8),
    ) -> Outcome<Opened<super::File>> {
        if !dir.qid.is_dir() {
            return Poll::Ready(Err(enames::ENOTDIR.into()));
        }
        check_new_name(name)?;
        let how = how(mode)?;
        let bits = if perm & dm::DIR == 0 { FILE_BITS } else { DIR_BITS };
        if perm & !bits != 0 {
            return Poll::Ready(Err(enames::EPERM.into()));
        }
        if perm & dm::DIR != 0 {
            check_dir(how)?;
        }
        self.check_writable()?;
        dir.place.check_room(name)?;
        let slot = self.take_slot(keeper, who.0)?;
        let (dir, name) = (dir.place.clone(), name.to_owned());
        self.jobs.begin(keeper, Some(who), Request::Create { dir, name, perm, how, slot });
        Poll::Pending
    }

    pub fn read_dir(
        &mut self,
        keeper: &mut impl Keeper,
        who: Who,
        dir: &File,
        cursor: u64,
        entries: DirEntries,
    ) -> Outcome<DirEntries> {
        let Some(open) = dir.dir() else { return Poll::Ready(Err(enames::EMODE.into())) };
        let (open, place) = (open.clone(), dir.place.clone());
        let list = List { dir: open, place, cursor, entries: Some(entries) };
        self.jobs.begin(keeper, Some(who), Request::List(list));
        Poll::Pending
    }

    pub fn stat(
        &mut self,
        keeper: &mut impl Keeper,
        who: Who,
        file: &File,
        out: &mut Vec<u8>,
    ) -> Outcome<()> {
        let target = file.target();
        match keeper.stat_now(&target.subject()) {
            Some(Err(_)) if self.jobs.is_renaming() => {}
            Some(known) => {
                return Poll::Ready(known.map(|bytes| out.extend_from_slice(&bytes)));
            }
            None => {}
        }
        self.jobs.begin(keeper, Some(who), Request::Stat(target));
        Poll::Pending
    }

    pub fn wstat(
        &mut self,
        keeper: &mut impl Keeper,
        who: Who,
        file: &File,
        stat: &Stat<'_>,
    ) -> Outcome<()> {
        let target = file.target();
        if stat.is_sync() {
            self.jobs.begin(keeper, Some(who), Request::Sync(target));
            return Poll::Pending;
        }
        self.check_writable()?;
        let name = match file.place.parent() {
            None if !matches!(stat.name, "" | "/") => {
                return Poll::Ready(Err(enames::EPERM.into()));
            }
            None => String::new(),
            Some(_) if stat.name.is_empty() || file.place.is_called(stat.name) => stat.name.into(),
            Some(_) => {
                check_new_name(stat.name)?;
                stat.name.into()
            }
        };
        let mut bytes = Vec::with_capacity(stat.encoded_len());
        stat.encode(&mut bytes);
        self.jobs.begin(keeper, Some(who), Request::Wstat { target, stat: bytes, name });
        Poll::Pending
    }

    pub fn remove(&mut self, keeper: &mut impl Keeper, who: Who, file: File) -> Outcome<()> {
        let place = file.place.clone();
        self.let_go(keeper, file);
        self.check_writable()?;
        if place.parent().is_none() {
            return Poll::Ready(Err(enames::EPERM.into()));
        }
        self.jobs.begin(keeper, Some(who), Request::Remove(place));
        Poll::Pending
    }

    /// A fid is gone. If its file has to be removed, `who` may be someone who waits for that.
    pub fn close(&mut self, keeper: &mut impl Keeper, who: Option<Who>, file: File) -> Outcome<()> {
        let place = file.place.clone();
        if !self.let_go(keeper, file) {
            return Poll::Ready(Ok(()));
        }
        self.jobs.begin(keeper, who, Request::Remove(place));
        Poll::Pending
    }

    /// Closes a file if it is open; whether it is to be removed then. That is not done here, where
    /// nothing may wait: what is removed from the host is freed by the last one who closes it.
    fn let_go(&mut self, keeper: &mut impl Keeper, file: File) -> bool {
        let Some(open) = file.open.and_then(Rc::into_inner) else { return false };
        let Open { mut held, remove, .. } = open;
        held.release();
        self.jobs.begin(keeper, None, Request::Close(Some(held), self.ending));
        remove
    }

    /// Whether a pending request could be dropped (see [`styx::server::Service::flush`]).
    pub fn flush(&mut self, who: Who) -> bool {
        self.jobs.flush(who)
    }

    /// The host has done something that it was asked.
    pub fn told(&mut self, keeper: &mut impl Keeper, job: JobId, told: Result<Told, Ename>) {
        if let Some((who, request, told)) = self.jobs.told(job, told) {
            let client = who.map(|(client, _)| client);
            let answer = told.and_then(|told| self.finish(client, request, told));
            match (who, answer) {
                (Some((client, request)), answer) => {
                    self.answers.push_back(Answered { client, request, answer });
                }
                (None, Err(error)) => tracing::info!(%error, "a file that nobody has any more"),
                (None, Ok(_)) => {}
            }
        }
        self.jobs.go_on(keeper);
    }

    fn finish(
        &mut self,
        client: Option<ClientId>,
        request: Request,
        told: Told,
    ) -> Result<Payload, Ename> {
        const ASKED: &str = "nobody but a client asks for this";
        match (request, told) {
            (Request::Look(to), Told::Found(found)) => {
                self.found(client.expect(ASKED), to, &found).map(Payload::File)
            }
            (Request::Open { place, how, slot }, Told::Opened(found, held)) => {
                Ok(opened(place, &found, Open { held, remove: how.remove, _slot: slot }))
            }
            (Request::Create { dir, name, how, slot, .. }, Told::Opened(found, held)) => {
                let client = client.expect(ASKED);
                let place = self.places.at(client, &dir, &name, found.entry, found.file)?;
                Ok(opened(place, &found, Open { held, remove: how.remove, _slot: slot }))
            }
            (Request::List(_), Told::Entries(entries)) => Ok(Payload::Entries(entries)),
            (Request::Stat(_), Told::Stat(bytes)) => Ok(Payload::Stat(bytes)),
            (Request::Wstat { target, name, .. }, Told::Done) => {
                if !name.is_empty() {
                    self.places.rename(&target.place, &name);
                }
                Ok(Payload::Done)
            }
            (Request::Sync(_) | Request::Remove(_) | Request::Close(..), Told::Done) => {
                Ok(Payload::Done)
            }
            (request, told) => unreachable!("{told:?} is no answer to {request:?}"),
        }
    }

    /// Room for one more open file.
    fn take_slot(&self, keeper: &impl Keeper, client: ClientId) -> Result<Slot, Ename> {
        let all = keeper.open_limit();
        let own = all / CLIENT_SHARE.1 * CLIENT_SHARE.0;
        self.slots.take(client, own, all).ok_or(enames::ENOFD.into())
    }

    fn check_writable(&self) -> Result<(), Ename> {
        if self.read_only { Err(enames::EREADONLY.into()) } else { Ok(()) }
    }
}

impl File {
    /// The file of an open fid, if it is one.
    pub fn bytes(&self) -> Option<&LocalFile> {
        match &self.open.as_deref()?.held {
            Held::File { file, .. } => Some(file),
            Held::Dir(_) => None,
        }
    }

    /// Where a write of an open fid goes, as far as that can be told: to the end of an append-only
    /// file by itself.
    pub fn write_offset(&self, offset: u64) -> u64 {
        match self.open.as_deref().map(|open| &open.held) {
            Some(Held::File { append: true, .. }) => 0,
            _ => offset,
        }
    }

    fn dir(&self) -> Option<&Arc<OpenDir>> {
        match &self.open.as_deref()?.held {
            Held::File { .. } => None,
            Held::Dir(dir) => Some(dir),
        }
    }

    fn target(&self) -> Target {
        let held = self.open.as_deref().map(|open| open.held.host_file().clone());
        Target { place: self.place.clone(), held }
    }
}

impl From<File> for super::File {
    fn from(file: File) -> Self {
        super::File { kind: Kind::Host(file) }
    }
}

fn opened(place: Rc<Place>, found: &Found, open: Open) -> Payload {
    let file = File { place, qid: found.qid, open: Some(Rc::new(open)) };
    Payload::Opened(Opened::new(file.into(), found.qid))
}

/// What the mode of an open or create asks for.
fn how(mode: u8) -> Result<How, Ename> {
    let access = mode & !(omode::OTRUNC | omode::ORCLOSE | OCEXEC);
    if access > omode::OEXEC {
        return Err(enames::EBADARG.into());
    }
    Ok(How { access, truncate: mode & omode::OTRUNC != 0, remove: mode & omode::ORCLOSE != 0 })
}

fn writes(how: How) -> bool {
    matches!(how.access, omode::OWRITE | omode::ORDWR)
}

/// It is illegal to write a directory, truncate it, or attempt to remove it on close (open(5)).
fn check_dir(how: How) -> Result<(), Ename> {
    match how {
        How { access: omode::OREAD, truncate: false, remove: false } => Ok(()),
        How { access: omode::OEXEC, .. } => Err(enames::EEXECDIR.into()),
        _ => Err(enames::EPERM.into()),
    }
}

/// What a file may be called: as a device, and no longer than the host allows.
fn check_new_name(name: &str) -> Result<(), Ename> {
    check_name(name)?;
    match name.len() {
        0 => Err(enames::EFILENAME.into()),
        1..=MAX_NAME => Ok(()),
        _ => Err(enames::ENAMETOOLONG.into()),
    }
}
