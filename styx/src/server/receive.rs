//! What a session does with each T-message: whether it is legal now, and what to ask the service.

use std::task::Poll;

use super::requests::Then;
use super::{Answer, DirEntries, Ename, Fatal, MIN_MSIZE, Service, Session};
use crate::buffer::Output;
use crate::decode::{self, DecodeError};
use crate::enames;
use crate::encode::{self, RREAD_HEADER};
use crate::frame;
use crate::message::{IOHDRSZ, NOFID, Rmsg, Tmsg, VERSION, mtype, omode};
use crate::stat::Stat;

/// The largest offset: further ones are negative in Plan 9's signed offsets.
const MAX_OFFSET: u64 = i64::MAX as u64;

/// A message was taken, and answered or left pending; or it is refused with this text.
pub(super) type Taken = Result<(), Ename>;

impl<F: Clone> Session<F> {
    /// Whether a frame should wait until requests that are under way have been answered, because
    /// there are as many, or as large ones, as the limits allow, or of `bytes` bytes, if that is less.
    /// Neither a Tflush nor a Tversion ever waits: they may be what ends the others.
    pub fn must_wait(&self, frame: &[u8], bytes: usize) -> bool {
        let full = self.requests.len() >= self.limits.requests
            || self.requests.bytes() >= self.limits.bytes.min(bytes);
        full && !matches!(frame::header(frame), Some((mtype::TFLUSH | mtype::TVERSION, _)))
    }

    /// Takes one whole frame from the client, and appends to `out` what can be answered at once.
    ///
    /// # Errors
    /// If the frame is no T-message: the connection should be closed.
    pub fn receive<S: Service<File = F>>(
        &mut self,
        frame: &[u8],
        service: &mut S,
        out: &mut impl Output,
    ) -> Result<(), Fatal> {
        let decoded = Tmsg::decode(frame);
        let (tag, message) = match &decoded {
            Ok((tag, message)) => (*tag, message),
            Err(DecodeError::Text) => {
                let tag = decode::tag_of(frame).ok_or(DecodeError::Size)?;
                self.error(tag, enames::EBADTEXT, out);
                return Ok(());
            }
            Err(error) => return Err((*error).into()),
        };
        let taken = match *message {
            Tmsg::Version { msize, version } => self.version(tag, msize, version, service, out),
            _ if self.msize.is_none() => Err(enames::ENOVERSION.into()),
            _ if self.requests.with_tag(tag).is_some() => Err(enames::EDUPTAG.into()),
            _ => self.dispatch(tag, message, service, out),
        };
        if let Err(ename) = taken {
            self.error(tag, &ename, out);
        }
        Ok(())
    }

    fn dispatch<S: Service<File = F>>(
        &mut self,
        tag: u16,
        message: &Tmsg<'_>,
        service: &mut S,
        out: &mut impl Output,
    ) -> Taken {
        match *message {
            Tmsg::Version { .. } => unreachable!("a Tversion is taken before all others"),
            Tmsg::Auth { .. } => Err(enames::ENOAUTH.into()),
            Tmsg::Attach { fid, afid, uname, aname } => {
                self.attach(tag, (fid, afid), (uname, aname), service, out)
            }
            Tmsg::Flush { oldtag } => {
                self.flush(tag, oldtag, service, out);
                Ok(())
            }
            Tmsg::Walk { fid, newfid, ref names } => {
                self.walk(tag, (fid, newfid), names, service, out)
            }
            Tmsg::Open { fid, mode } => self.open(tag, fid, mode, service, out),
            Tmsg::Create { fid, name, perm, mode } => {
                self.create(tag, fid, (name, perm, mode), service, out)
            }
            Tmsg::Read { fid, offset, count } => self.read(tag, fid, (offset, count), service, out),
            Tmsg::Write { fid, offset, data } => self.write(tag, fid, (offset, data), service, out),
            Tmsg::Clunk { fid } => self.clunk(tag, fid, service, out),
            Tmsg::Remove { fid } => self.remove(tag, fid, service, out),
            Tmsg::Stat { fid } => self.stat(tag, fid, service, out),
            Tmsg::Wstat { fid, stat } => self.wstat(tag, fid, stat, service, out),
        }
    }

    /// version(5): ends the session before it, if there was one.
    fn version<S: Service<File = F>>(
        &mut self,
        tag: u16,
        msize: u32,
        version: &str,
        service: &mut S,
        out: &mut impl Output,
    ) -> Taken {
        self.close(service);
        if msize < MIN_MSIZE {
            return Err(enames::ETOOSMALL.into());
        }
        let msize = msize.min(self.limits.msize);
        // A client of a later 9P, or of a variant, may fall back to this one; "9P" alone may not.
        let known = version.starts_with("9P") && version >= VERSION;
        if known {
            self.msize = Some(msize);
        }
        let version = if known { VERSION } else { "unknown" };
        self.reply(tag, &Rmsg::Version { msize, version }, out)
    }

    fn attach<S: Service<File = F>>(
        &mut self,
        tag: u16,
        (fid, afid): (u32, u32),
        (uname, aname): (&str, &str),
        service: &mut S,
        out: &mut impl Output,
    ) -> Taken {
        if afid != NOFID {
            return Err(enames::ENOAUTH.into());
        }
        self.fids.vacant(fid)?;
        let id = self.requests.begin(tag);
        let outcome = service.attach(id, uname, aname).map_ok(Answer::File);
        self.settle(id, Then::Attach { fid }, outcome, service, out)
    }

    fn open<S: Service<File = F>>(
        &mut self,
        tag: u16,
        fid: u32,
        mode: u8,
        service: &mut S,
        out: &mut impl Output,
    ) -> Taken {
        let (fid, entry) = self.fids.closed(fid)?;
        let id = self.requests.begin(tag);
        let outcome = service.open(id, &entry.file, mode).map_ok(Answer::Opened);
        self.settle(id, Then::Open { fid, mode }, outcome, service, out)
    }

    fn create<S: Service<File = F>>(
        &mut self,
        tag: u16,
        fid: u32,
        (name, perm, mode): (&str, u32, u8),
        service: &mut S,
        out: &mut impl Output,
    ) -> Taken {
        let (fid, entry) = self.fids.closed(fid)?;
        let id = self.requests.begin(tag);
        let outcome = service.create(id, &entry.file, name, perm, mode).map_ok(Answer::Opened);
        self.settle(id, Then::Create { fid, mode }, outcome, service, out)
    }

    fn read<S: Service<File = F>>(
        &mut self,
        tag: u16,
        fid: u32,
        (offset, count): (u64, u32),
        service: &mut S,
        out: &mut impl Output,
    ) -> Taken {
        let msize = self.msize();
        let (fid, entry) = self.fids.usable(fid)?;
        entry.check_open(&[omode::OREAD, omode::ORDWR, omode::OEXEC], service.bad_use())?;
        check_transfer(offset, count as usize, msize)?;
        if entry.is_dir {
            let cursor = entry.seek_dir(offset)?;
            let id = self.requests.begin(tag);
            let room = DirEntries::new(count as usize, cursor);
            let outcome = service.read_dir(id, &entry.file, cursor, room).map_ok(Answer::Entries);
            return self.settle(id, Then::ReadDir { fid, offset, count }, outcome, service, out);
        }
        let id = self.requests.begin(tag);
        // The data go straight into their place; the room is given back unless they come at once.
        let start = encode::begin_read(out, tag, count as usize);
        match service.read(id, &entry.file, offset, &mut out.bytes_mut()[start + RREAD_HEADER..]) {
            Poll::Ready(Ok(used)) => {
                encode::end_read(out, start, used.min(count as usize));
                Ok(())
            }
            Poll::Ready(Err(ename)) => {
                out.cut(start);
                Err(ename)
            }
            Poll::Pending => {
                out.cut(start);
                self.keep(id, Then::Read { count });
                Ok(())
            }
        }
    }

    fn write<S: Service<File = F>>(
        &mut self,
        tag: u16,
        fid: u32,
        (offset, data): (u64, &[u8]),
        service: &mut S,
        out: &mut impl Output,
    ) -> Taken {
        let msize = self.msize();
        let (fid, entry) = self.fids.usable(fid)?;
        entry.check_open(&[omode::OWRITE, omode::ORDWR], service.bad_use())?;
        check_transfer(offset, data.len(), msize)?;
        let id = self.requests.begin(tag);
        let count = data.len() as u32;
        match service.write(id, &entry.file, offset, data) {
            Poll::Ready(taken) => {
                let taken = taken?.min(count);
                entry.check_progress(offset, count, taken)?;
                self.reply(tag, &Rmsg::Write { count: taken }, out)
            }
            Poll::Pending => {
                self.keep(id, Then::Write { fid, offset, count });
                Ok(())
            }
        }
    }

    fn clunk<S: Service<File = F>>(
        &mut self,
        tag: u16,
        fid: u32,
        service: &mut S,
        out: &mut impl Output,
    ) -> Taken {
        let entry = self.fids.remove(fid)?;
        let id = self.requests.begin(tag);
        let outcome = service.close(id, entry.file, entry.mode).map_ok(|()| Answer::Done);
        self.settle(id, Then::Clunk, outcome, service, out)
    }

    fn remove<S: Service<File = F>>(
        &mut self,
        tag: u16,
        fid: u32,
        service: &mut S,
        out: &mut impl Output,
    ) -> Taken {
        let entry = self.fids.remove(fid)?;
        let id = self.requests.begin(tag);
        let outcome = service.remove(id, entry.file, entry.mode).map_ok(|()| Answer::Done);
        self.settle(id, Then::Remove, outcome, service, out)
    }

    fn stat<S: Service<File = F>>(
        &mut self,
        tag: u16,
        fid: u32,
        service: &mut S,
        out: &mut impl Output,
    ) -> Taken {
        let (_, entry) = self.fids.usable(fid)?;
        let id = self.requests.begin(tag);
        let mut stat = std::mem::take(&mut self.scratch);
        stat.clear();
        let asked = service.stat(id, &entry.file, &mut stat);
        let answer = asked.map_ok(|()| Answer::Stat(&stat));
        let taken = self.settle(id, Then::Stat, answer, service, out);
        self.scratch = stat;
        taken
    }

    fn wstat<S: Service<File = F>>(
        &mut self,
        tag: u16,
        fid: u32,
        stat: &[u8],
        service: &mut S,
        out: &mut impl Output,
    ) -> Taken {
        let (_, entry) = self.fids.usable(fid)?;
        let decoded = Stat::decode(stat).map_err(|_| service.bad_stat())?;
        let id = self.requests.begin(tag);
        let outcome = service.wstat(id, &entry.file, &decoded).map_ok(|()| Answer::Done);
        self.settle(id, Then::Wstat { bytes: stat.len() }, outcome, service, out)
    }
}

fn check_transfer(offset: u64, count: usize, msize: u32) -> Taken {
    if count > (msize - IOHDRSZ) as usize {
        return Err(enames::ECOUNT.into());
    }
    if offset > MAX_OFFSET {
        return Err(enames::ENEGOFF.into());
    }
    Ok(())
}
