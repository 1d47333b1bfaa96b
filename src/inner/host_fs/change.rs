//! Changing what a file is called and what is said of it, and removing it.
//!
//! A wstat does all of what it asks or nothing (stat(5)): what can be told beforehand is checked
//! first, each step that fails has those before it undone, and the one that can't be undone, the
//! change of the length, comes last. Others may see a step that is undone.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, RenameFlags, StatxTimestamp, Timespec, Timestamps,
    UTIME_OMIT, chmod, chownat, fsync, ftruncate, renameat, renameat_with, unlinkat, utimensat,
};
use rustix::io::Errno;
use styx::server::Ename;
use styx::{Stat, dm, enames};

use super::open::reopen;
use super::seen::{ALL_BITS, Seen, identify, identify_in};
use super::{CONFINED, HostFs, Subject, Way, refusal};
use crate::inner::local::proc_path;

/// What a wstat changes.
#[derive(Default)]
struct Plan<'a> {
    gid: Option<u32>,
    /// The host's mode.
    mode: Option<u32>,
    bits: Option<u32>,
    times: Option<Timestamps>,
    name: Option<&'a str>,
    length: Option<u64>,
}

/// What takes the steps so far back, the last one first.
type Undo<'a> = Vec<Box<dyn FnOnce() + 'a>>;

impl HostFs {
    pub(super) fn remove(&self, way: &Way) -> Result<(), Errno> {
        let (dir, kind) = self.reach_entry(way)?;
        let is_dir = kind == FileType::Directory;
        let flags = if is_dir { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        unlinkat(&dir, &way.name, flags)?;
        self.0.changes.add(way.parent.key());
        self.0.changes.add(way.file.key());
        Ok(())
    }

    pub(super) fn sync(&self, subject: &Subject) -> Result<(), Errno> {
        if let Some(file) = &subject.held {
            return fsync(&**file);
        }
        let (fd, stat) = self.hold(subject, CONFINED)?;
        let kind = FileType::from_raw_mode(stat.stx_mode.into());
        if !matches!(kind, FileType::RegularFile | FileType::Directory | FileType::BlockDevice) {
            return Ok(());
        }
        let flags = OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let open = match reopen(fd.as_fd(), flags | OFlags::RDONLY) {
            Err(Errno::ACCESS) => reopen(fd.as_fd(), flags | OFlags::WRONLY)?,
            open => open?,
        };
        fsync(open)
    }

    pub(super) fn wstat(&self, subject: &Subject, stat: &[u8]) -> Result<(), Ename> {
        let wish = Stat::decode(stat).map_err(|_| enames::EBADSTAT)?;
        let (fd, stat) = self.hold(subject, CONFINED).map_err(refusal)?;
        let seen = self.see(fd.as_fd(), stat, CONFINED).map_err(refusal)?;
        let plan = self
            .entry(&seen, &subject.way.name, false, |now| self.plan(&seen, now, &wish))
            .map_err(refusal)??;
        let mut undo = Undo::new();
        let done = self.carry_out(&plan, fd.as_fd(), &subject.way, &seen, &mut undo);
        if done.is_err() {
            undo.into_iter().rev().for_each(|step| step());
        }
        self.0.changes.add(seen.identity.key());
        self.0.changes.add(subject.way.parent.key());
        done.map_err(refusal)
    }

    /// What there is to do to make the entry `now` the one that is wished for, if that is allowed.
    fn plan<'a>(&self, seen: &Seen, now: &Stat<'_>, wish: &Stat<'a>) -> Result<Plan<'a>, Ename> {
        check_fixed(now, wish)?;
        let mut plan = Plan::default();
        let is_file = seen.kind == FileType::RegularFile;
        if wish.mode != !0 && wish.mode != now.mode {
            let changed = wish.mode ^ now.mode;
            let settable = 0o777 | if is_file { ALL_BITS } else { 0 };
            if changed & !settable != 0 {
                return Err(enames::EPERM.into());
            }
            plan.mode = Some(u32::from(seen.stat.stx_mode) & 0o7000 | wish.mode & 0o777);
            plan.bits = (changed & ALL_BITS != 0).then_some(wish.mode & ALL_BITS);
        }
        if !wish.gid.is_empty() && wish.gid != now.gid {
            let gid = self.0.names.gid(wish.gid);
            plan.gid = Some(gid.ok_or(enames::EUNKNOWNGROUP)?);
        }
        let time = |wish: u32, now: u32| if wish == !0 || wish == now { OMIT } else { whole(wish) };
        let times = [time(wish.atime, now.atime), time(wish.mtime, now.mtime)];
        if times != [OMIT, OMIT] {
            let [last_access, last_modification] = times;
            plan.times = Some(Timestamps { last_access, last_modification });
        }
        if !wish.name.is_empty() && wish.name != now.name {
            plan.name = Some(wish.name);
        }
        if wish.length != !0 && wish.length != now.length {
            if !is_file || seen.bits & dm::APPEND != 0 {
                return Err(enames::EPERM.into());
            }
            plan.length = Some(wish.length);
        }
        Ok(plan)
    }

    fn carry_out<'a>(
        &'a self,
        plan: &Plan<'a>,
        fd: BorrowedFd<'a>,
        way: &'a Way,
        seen: &'a Seen,
        undo: &mut Undo<'a>,
    ) -> Result<(), Errno> {
        // Whether it may be written is asked of the mode that it has before all this.
        let to_cut = match plan.length {
            Some(length) if length > i64::MAX as u64 => return Err(Errno::FBIG),
            Some(length) => Some((reopen(fd, OFlags::WRONLY | OFlags::CLOEXEC)?, length)),
            None => None,
        };
        let old_mode = u32::from(seen.stat.stx_mode) & 0o7777;
        if let Some(gid) = plan.gid {
            set_gid(fd, gid)?;
            undo.push(Box::new(move || {
                let _ = set_gid(fd, seen.stat.stx_gid).and_then(|()| set_mode(fd, old_mode));
            }));
        }
        self.set_mode_and_bits(plan, fd, seen, undo)?;
        if let Some(times) = &plan.times {
            set_times(fd, times)?;
            undo.push(Box::new(move || {
                let old = [seen.stat.stx_atime, seen.stat.stx_mtime].map(exact);
                let [last_access, last_modification] = old;
                let _ = set_times(fd, &Timestamps { last_access, last_modification });
            }));
        }
        if let Some(name) = plan.name {
            let (dir, _) = self.reach_entry(way)?;
            rename(dir.as_fd(), &way.name, name)?;
            undo.push(Box::new(move || {
                let _ = rename(dir.as_fd(), name, &way.name);
            }));
        }
        if let Some((file, length)) = to_cut {
            ftruncate(file, length)?;
            // The new length has made it change now; that it may be told otherwise is known.
            if let Some(times) = &plan.times {
                set_times(fd, times)?;
            }
        }
        Ok(())
    }

    fn set_mode_and_bits<'a>(
        &'a self,
        plan: &Plan<'a>,
        fd: BorrowedFd<'a>,
        seen: &'a Seen,
        undo: &mut Undo<'a>,
    ) -> Result<(), Errno> {
        let Some(mode) = plan.mode else { return Ok(()) };
        let old_mode = u32::from(seen.stat.stx_mode) & 0o7777;
        let key = seen.identity.key();
        let set_bits = || plan.bits.map_or(Ok(()), |bits| self.set_bits(fd, key, bits));
        // The host takes the attribute of a file that its owner can write, and no other.
        let writable = mode & Mode::WUSR.bits() != 0;
        if !writable {
            set_bits()?;
        }
        if plan.bits.is_some() {
            undo.push(Box::new(move || {
                let _ = self.set_bits(fd, key, seen.bits);
            }));
        }
        set_mode(fd, mode)?;
        undo.push(Box::new(move || {
            let _ = set_mode(fd, old_mode);
        }));
        if writable {
            set_bits()?;
        }
        match plan.bits {
            // What can't be read back would be forgotten.
            Some(bits) if self.see(fd, identify(fd)?.1, CONFINED)?.bits != bits => {
                Err(Errno::OPNOTSUPP)
            }
            _ => Ok(()),
        }
    }
}

/// Refuses changes of what a wstat can't change (stat(5)). What is asked to be what it is already
/// is not changed. The time of the last access may be set along with that of the last change, as
/// touch(1) does on systems that mount this, but not alone. Who changed it last is not looked at in
/// what is a new name and nothing else: Linux tells its user there.
fn check_fixed(now: &Stat<'_>, wish: &Stat<'_>) -> Result<(), Ename> {
    let is_rename = !wish.name.is_empty() && Stat { name: "", muid: "", ..*wish }.is_sync();
    let differs = (wish.kind != !0 && wish.kind != now.kind)
        || (wish.dev != !0 && wish.dev != now.dev)
        || (wish.qid.kind != !0 && wish.qid.kind != now.qid.kind)
        || (wish.qid.vers != !0 && wish.qid.vers != now.qid.vers)
        || (wish.qid.path != !0 && wish.qid.path != now.qid.path)
        || (wish.atime != !0 && wish.atime != now.atime && wish.mtime == !0)
        || (!wish.uid.is_empty() && wish.uid != now.uid)
        || (!wish.muid.is_empty() && wish.muid != now.muid && !is_rename);
    if differs { Err(enames::EPERM.into()) } else { Ok(()) }
}

/// Leaves a time as it is.
const OMIT: Timespec = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };

fn whole(seconds: u32) -> Timespec {
    Timespec { tv_sec: seconds.into(), tv_nsec: 0 }
}

fn exact(time: StatxTimestamp) -> Timespec {
    Timespec { tv_sec: time.tv_sec, tv_nsec: time.tv_nsec.into() }
}

fn set_times(fd: BorrowedFd<'_>, times: &Timestamps) -> Result<(), Errno> {
    utimensat(CWD, proc_path(fd), times, AtFlags::empty())
}

fn set_mode(fd: BorrowedFd<'_>, mode: u32) -> Result<(), Errno> {
    chmod(proc_path(fd), Mode::from_raw_mode(mode))
}

fn set_gid(fd: BorrowedFd<'_>, gid: u32) -> Result<(), Errno> {
    chownat(CWD, proc_path(fd), None, Some(Gid::from_raw(gid)), AtFlags::empty())
}

/// Gives the entry `old` of a directory the name `new`, which must not be taken.
fn rename(dir: BorrowedFd<'_>, old: &str, new: &str) -> Result<(), Errno> {
    match renameat_with(dir, old, dir, new, RenameFlags::NOREPLACE) {
        // A file system that can't look and rename in one step.
        Err(Errno::INVAL | Errno::NOSYS) => match identify_in(dir, new) {
            Ok(_) => Err(Errno::EXIST),
            Err(Errno::NOENT) => renameat(dir, old, dir, new),
            Err(errno) => Err(errno),
        },
        done => done,
    }
}
