//! What each request does: a client's session asks this of the world.

use std::task::Poll;

use styx::server::{DirEntries, Ename, Opened, Outcome, RequestId, Service};
use styx::{Qid, Stat, enames, omode};

use super::devices::Node;
use super::losses::Told;
use super::{ClientId, File, Kind, Owner, View, Waiting, World, admin, devices};
use crate::ctl::{Entry, Finder, OpenDir, check_name};
use crate::inner::host_fs::Keeper;
use crate::inner::{Carrier, File as InnerFile, Inner};
use crate::transfer::Ask;

/// Close on exec, which means nothing to a server and is not refused (open(2)).
const OCEXEC: u8 = 0x20;

/// One client at the world, with what carries out the reading and finding of files.
pub struct Visit<'a, H> {
    /// What clients share.
    pub world: &'a mut World,
    /// What touches the system.
    pub host: &'a mut H,
    /// Who it is.
    pub client: ClientId,
}

impl<H> Visit<'_, H> {
    fn owner(&self, request: RequestId) -> Owner {
        Owner::Client(self.client, request)
    }

    fn check_writable(&self) -> Result<(), Ename> {
        if self.world.settings.read_only { Err(enames::EREADONLY.into()) } else { Ok(()) }
    }

    fn open_device(&mut self, view: View, node: &Node, mode: u8) -> Result<Opened<File>, Ename> {
        let opened = |world: &World, node: Node| {
            let qid = devices::qid(world, &node);
            Opened::new(File { kind: Kind::Device(view, node) }, qid)
        };
        devices::check_there(self.world, node)?;
        let access = mode & !(omode::OTRUNC | omode::ORCLOSE | OCEXEC);
        let is_dir = matches!(node, Node::Top | Node::Dir(..));
        if is_dir && mode == omode::OREAD {
            return Ok(opened(self.world, node.clone()));
        }
        let only_read = self.world.control.rules().open_dir == OpenDir::OnlyRead;
        match access {
            _ if is_dir && only_read => return Err(enames::EPERM.into()),
            0..=omode::OEXEC => {}
            _ => return Err(enames::EBADARG.into()),
        }
        match access {
            omode::OEXEC if is_dir => return Err(enames::EEXECDIR.into()),
            _ if is_dir && mode != OCEXEC => return Err(enames::EPERM.into()),
            omode::OWRITE | omode::ORDWR => self.check_writable()?,
            _ => {}
        }
        if let Node::Device(slot, entry, _) = node {
            if entry.device.is_gone() {
                return Err(self.world.control.rules().transfers.gone.into());
            }
            entry.opens.set(entry.opens.get() + 1);
            let node = Node::Device(*slot, entry.clone(), Some(Told::new(entry)));
            return Ok(opened(self.world, node));
        }
        Ok(opened(self.world, node.clone()))
    }

    fn open_admin(&mut self, node: admin::Node, mode: u8) -> Result<Opened<File>, Ename> {
        let access = mode & !(omode::OTRUNC | OCEXEC);
        let writes = matches!(access, omode::OWRITE | omode::ORDWR);
        if writes {
            self.check_writable()?;
        } else if access != omode::OREAD {
            return Err(enames::EPERM.into());
        }
        let node = admin::opened(self.world, node, writes)?;
        let file = File { kind: Kind::Admin(node) };
        Ok(Opened::new(file, admin::qid(self.world, node)))
    }

    /// Counts a read or write of a device.
    fn count(
        &mut self,
        (request, entry, write): (RequestId, &Entry, bool),
        outcome: &Outcome<usize>,
    ) {
        match outcome {
            Poll::Ready(result) => {
                let result = result.as_ref().ok().copied();
                self.world.observed.device_answered(&entry.counts, write, result);
            }
            Poll::Pending => {
                let counts = entry.counts.clone();
                counts.begun();
                let waiting = Waiting { counts, write, since: self.world.turn };
                self.world.waiting.insert((self.client, request), waiting);
            }
        }
    }

    /// Plans a read, if it is one that can be carried out later: whether it is.
    fn plan(&mut self, file: &File, offset: u64, count: usize) -> bool {
        let transfers = &self.world.transfers;
        let (found, counts) = match &file.kind {
            Kind::Device(_, Node::Device(_, entry, _)) => {
                (transfers.find(&entry.inner(), offset, count), Some(&entry.counts))
            }
            Kind::Host(file) => {
                let inner = file.bytes().map(|file| Inner::File(InnerFile::Local(file.clone())));
                (inner.and_then(|inner| transfers.find(&inner, offset, count)), None)
            }
            Kind::Device(..) | Kind::Admin(_) => (None, None),
        };
        found.map(|found| self.world.batch.add(found, count, counts.cloned())).is_some()
    }

    fn clunk_device(&mut self, node: &Node, mode: Option<u8>) {
        match (node, mode) {
            (Node::Ctl, Some(_)) => self.world.control.ctl_closed(),
            (Node::Device(_, entry, _), Some(_)) => self.world.control.closed(entry),
            _ => {}
        }
    }
}

impl<H: Carrier + Finder + Keeper> Visit<'_, H> {
    /// A read, write or sync of an open file of the host: a transfer as any other.
    fn transfer(
        &mut self,
        request: RequestId,
        file: &super::host::File,
        offset: u64,
        ask: Ask<'_>,
    ) -> Outcome<usize> {
        let Some(file) = file.bytes() else { return Poll::Ready(Err(enames::EPERM.into())) };
        let inner = Inner::File(InnerFile::Local(file.clone()));
        let owner = self.owner(request);
        self.world.transfers.begin(self.host, &inner, offset, ask, owner)
    }
}

impl<H: Carrier + Finder + Keeper> Service for Visit<'_, H> {
    type File = File;

    fn attach(&mut self, request: RequestId, uname: &str, aname: &str) -> Outcome<File> {
        if let Some(seen) = self.world.observed.connections.get(&self.client.0) {
            seen.attached(uname, aname);
        }
        let dir = self.world.control.rules().dir;
        let (view, node) = match aname {
            "" | "/" => (View::Flat, Node::Dir(0, 0)),
            "#k" => (View::Kernel, Node::Top),
            name if name == dir => (View::Flat, Node::Dir(0, 0)),
            "admin" => {
                let kind = Kind::Admin(admin::Node::Root);
                return Poll::Ready(Ok(File { kind }));
            }
            "#U" if self.world.settings.export => {
                return self.world.export.attach(self.host, (self.client, request));
            }
            "#U" => return Poll::Ready(Err(enames::ENOEXPORT.into())),
            _ => return Poll::Ready(Err(enames::ENOTREE.into())),
        };
        Poll::Ready(Ok(File { kind: Kind::Device(view, node) }))
    }

    fn qid(&self, file: &File) -> Qid {
        self.world.qid(file)
    }

    fn walk(&mut self, request: RequestId, from: &File, name: &str) -> Outcome<File> {
        match &from.kind {
            Kind::Device(view, node) => {
                let node = devices::walk(self.world, *view, node, name);
                Poll::Ready(node.map(|node| File { kind: Kind::Device(*view, node) }))
            }
            Kind::Host(from) => {
                self.world.export.walk(self.host, (self.client, request), from, name)
            }
            Kind::Admin(from) => {
                Poll::Ready(admin::walk(*from, name).map(|node| File { kind: Kind::Admin(node) }))
            }
        }
    }

    fn open(&mut self, request: RequestId, file: &File, mode: u8) -> Outcome<Opened<File>> {
        match &file.kind {
            Kind::Device(view, node) => Poll::Ready(self.open_device(*view, node, mode)),
            Kind::Host(file) => {
                self.world.export.open(self.host, (self.client, request), file, mode)
            }
            Kind::Admin(node) => Poll::Ready(self.open_admin(*node, mode)),
        }
    }

    fn create(
        &mut self,
        request: RequestId,
        dir: &File,
        name: &str,
        perm: u32,
        mode: u8,
    ) -> Outcome<Opened<File>> {
        if let Kind::Host(dir) = &dir.kind {
            let who = (self.client, request);
            return self.world.export.create(self.host, who, dir, (name, perm, mode));
        }
        let refused = check_name(name).err().unwrap_or_else(|| enames::EPERM.into());
        Poll::Ready(Err(refused.into()))
    }

    fn read(
        &mut self,
        request: RequestId,
        file: &File,
        offset: u64,
        data: &mut [u8],
    ) -> Outcome<usize> {
        if self.world.batch.is_open() && self.plan(file, offset, data.len()) {
            return Poll::Ready(Ok(data.len()));
        }
        let owner = self.owner(request);
        let node = match &file.kind {
            Kind::Device(_, node) => node,
            Kind::Host(file) => return self.transfer(request, file, offset, Ask::Read(data)),
            Kind::Admin(node) => return admin::read(self.world, *node, owner, offset, data),
        };
        match node {
            Node::Top | Node::Dir(..) => Poll::Ready(Err(enames::EPERM.into())),
            Node::Ctl => {
                let text = self.world.control.shown();
                let start = usize::try_from(offset).map_or(text.len(), |at| at.min(text.len()));
                let bytes = &text.as_bytes()[start..];
                let count = bytes.len().min(data.len());
                data[..count].copy_from_slice(&bytes[..count]);
                Poll::Ready(Ok(count))
            }
            Node::Device(_, entry, _) => {
                let ask = Ask::Read(data);
                let outcome =
                    self.world.transfers.begin(self.host, &entry.inner(), offset, ask, owner);
                self.count((request, entry, false), &outcome);
                outcome
            }
        }
    }

    fn read_dir(
        &mut self,
        request: RequestId,
        dir: &File,
        cursor: u64,
        entries: DirEntries,
    ) -> Outcome<DirEntries> {
        match &dir.kind {
            Kind::Device(view, node) => {
                Poll::Ready(Ok(devices::list(self.world, *view, node, cursor, entries)))
            }
            Kind::Host(dir) => {
                let who = (self.client, request);
                self.world.export.read_dir(self.host, who, dir, cursor, entries)
            }
            Kind::Admin(_) => Poll::Ready(Ok(admin::list(self.world, cursor, entries))),
        }
    }

    fn write(&mut self, request: RequestId, file: &File, offset: u64, data: &[u8]) -> Outcome<u32> {
        self.check_writable()?;
        let owner = self.owner(request);
        let node = match &file.kind {
            Kind::Device(_, node) => node,
            Kind::Host(file) => {
                let offset = file.write_offset(offset);
                let written = self.transfer(request, file, offset, Ask::Write(data));
                return written.map_ok(|count| count as u32);
            }
            Kind::Admin(_) => {
                let by = (owner, self.host.time());
                let written = admin::write(self.world, self.host, data, by);
                return written.map_ok(|()| data.len() as u32);
            }
        };
        match node {
            Node::Top | Node::Dir(..) => Poll::Ready(Err(enames::EPERM.into())),
            Node::Ctl => {
                let count = data.len() as u32;
                let written = self.world.control.write(self.host, data, (owner, count));
                written.map_ok(|()| count)
            }
            Node::Device(_, entry, _) => {
                let now = self.world.now;
                let ask = Ask::Write(data);
                let outcome =
                    self.world.transfers.begin(self.host, &entry.inner(), offset, ask, owner);
                self.count((request, entry, true), &outcome);
                if !matches!(outcome, Poll::Ready(Ok(0) | Err(_))) {
                    entry.mtime.set(now);
                }
                outcome.map_ok(|count| count as u32)
            }
        }
    }

    fn bad_use(&self) -> &'static str {
        self.world.control.rules().bad_use
    }

    fn bad_stat(&self) -> &'static str {
        self.world.control.rules().bad_stat
    }

    fn stat(&mut self, request: RequestId, file: &File, out: &mut Vec<u8>) -> Outcome<()> {
        match &file.kind {
            Kind::Device(view, node) => {
                devices::check_there(self.world, node)?;
                devices::entry(self.world, *view, node, |stat| stat.encode(out));
                Poll::Ready(Ok(()))
            }
            Kind::Host(file) => {
                self.world.export.stat(self.host, (self.client, request), file, out)
            }
            Kind::Admin(node) => {
                admin::entry(self.world, *node, |stat| stat.encode(out));
                Poll::Ready(Ok(()))
            }
        }
    }

    fn wstat(&mut self, request: RequestId, file: &File, stat: &Stat<'_>) -> Outcome<()> {
        let node = match &file.kind {
            Kind::Device(_, node) => node,
            // What is being written to it comes first.
            Kind::Host(file) if stat.is_sync() && file.bytes().is_some() => {
                return self.transfer(request, file, 0, Ask::Sync).map_ok(|_| ());
            }
            Kind::Host(file) => {
                return self.world.export.wstat(self.host, (self.client, request), file, stat);
            }
            Kind::Admin(node) => {
                let ignored = stat.is_sync() || (*node == admin::Node::Ctl && is_truncation(stat));
                return Poll::Ready(if ignored { Ok(()) } else { Err(enames::EPERM.into()) });
            }
        };
        if !stat.is_sync() {
            let is_dir = matches!(node, Node::Top | Node::Dir(..));
            let refused = is_dir || !is_truncation(stat);
            let refused = if refused { Err(enames::EPERM.into()) } else { self.check_writable() };
            return Poll::Ready(refused);
        }
        match node {
            Node::Device(_, entry, told) => {
                let owner = self.owner(request);
                let told = told.clone().unwrap_or_else(|| Told::new(entry));
                let synced =
                    self.world.transfers.begin(self.host, &entry.inner(), 0, Ask::Sync, owner);
                let Poll::Ready(synced) = synced else {
                    self.world.syncing.insert((self.client, request), told);
                    return Poll::Pending;
                };
                Poll::Ready(told.answer(synced.map(|_| ())))
            }
            _ => Poll::Ready(Ok(())),
        }
    }

    fn remove(&mut self, request: RequestId, file: File, mode: Option<u8>) -> Outcome<()> {
        match file.kind {
            Kind::Device(_, node) => {
                self.clunk_device(&node, mode);
                Poll::Ready(Err(enames::EPERM.into()))
            }
            Kind::Host(file) => self.world.export.remove(self.host, (self.client, request), file),
            Kind::Admin(node) => {
                admin::closed(self.world, node);
                Poll::Ready(Err(enames::EPERM.into()))
            }
        }
    }

    fn clunk(&mut self, file: File, mode: Option<u8>) {
        match file.kind {
            Kind::Device(_, node) => self.clunk_device(&node, mode),
            Kind::Host(file) => {
                // Nobody waits for a removal that this may begin.
                let _ = self.world.export.close(self.host, None, file);
            }
            Kind::Admin(node) => admin::closed(self.world, node),
        }
    }

    fn close(&mut self, request: RequestId, file: File, mode: Option<u8>) -> Outcome<()> {
        match file.kind {
            Kind::Device(_, node) => {
                self.clunk_device(&node, mode);
                Poll::Ready(Ok(()))
            }
            Kind::Host(file) => {
                self.world.export.close(self.host, Some((self.client, request)), file)
            }
            Kind::Admin(node) => {
                admin::closed(self.world, node);
                Poll::Ready(Ok(()))
            }
        }
    }

    fn flush(&mut self, request: RequestId) -> bool {
        let owner = self.owner(request);
        // A control message that has begun is completed, as a write is.
        let who = (self.client, request);
        if self.world.transfers.cancel(self.host, owner) {
            if let Some(waiting) = self.world.waiting.remove(&who) {
                waiting.counts.dropped();
            }
            self.world.syncing.remove(&who);
            return true;
        }
        self.world.export.flush(who) || self.world.upkeep.journal.forget(owner)
    }
}

/// Whether a wstat is what Linux sends beside an open with O_TRUNC: length 0, and the time. It is
/// ignored, as OTRUNC is, or `echo >ctl` would be refused there.
fn is_truncation(stat: &Stat<'_>) -> bool {
    let (length, atime, mtime) = (u64::MAX, u32::MAX, u32::MAX);
    stat.length == 0 && Stat { length, atime, mtime, ..*stat }.is_sync()
}
