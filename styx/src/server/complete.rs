//! Answers, at once or later, and the flushes that wait for them (flush(5)).

use std::task::Poll;

use super::fids::FidRef;
use super::receive::Taken;
use super::requests::Then;
use super::{Answer, DirEntries, Ename, Opened, Outcome, RequestId, Service, Session, wrong_kind};
use crate::buffer::Output;
use crate::enames;
use crate::message::{Qid, Rmsg};

impl<F: Clone> Session<F> {
    /// Gives the answer to a request that was left pending, and appends what is due to `out`. An
    /// answer to a request that is over (flushed, or of a session that ended) goes nowhere.
    ///
    /// # Panics
    /// If the answer is not of the kind that the request asks for: an error of the service.
    pub fn complete<S: Service<File = F>>(
        &mut self,
        id: RequestId,
        answer: Result<Answer<'_, F>, Ename>,
        service: &mut S,
        out: &mut impl Output,
    ) {
        let Some(request) = self.requests.get_mut(id) else { return };
        let silent = request.silent;
        let then = std::mem::replace(&mut request.then, Then::Unknown);
        if !silent {
            self.reserve(&then, false);
            let taken = match (then, answer) {
                (Then::Walk(walk), stepped) => {
                    match self.resume_walk(id, *walk, stepped, service, out) {
                        Poll::Ready(taken) => taken,
                        Poll::Pending => return,
                    }
                }
                (then, answer) => {
                    answer.and_then(|answer| self.deliver(id.tag, then, answer, service, out))
                }
            };
            return self.finish(id, taken, out);
        }
        if let (Then::Open { mode, .. } | Then::Create { mode, .. }, Ok(Answer::Opened(opened))) =
            (then, answer)
        {
            service.clunk(opened.file, Some(mode));
        }
        self.requests.end(id);
    }

    /// Answers a new request by what the service said of it, or keeps it until it says more.
    pub(super) fn settle<S: Service<File = F>>(
        &mut self,
        id: RequestId,
        then: Then<F>,
        outcome: Outcome<Answer<'_, F>>,
        service: &mut S,
        out: &mut impl Output,
    ) -> Taken {
        match outcome {
            Poll::Ready(answer) => self.deliver(id.tag, then, answer?, service, out),
            Poll::Pending => {
                self.keep(id, then);
                Ok(())
            }
        }
    }

    pub(super) fn keep(&mut self, id: RequestId, then: Then<F>) {
        self.reserve(&then, true);
        self.requests.keep(id, then);
    }

    /// Marks the fid that a pending request will change as busy, or as usable again.
    fn reserve(&mut self, then: &Then<F>, busy: bool) {
        let fid = match then {
            Then::Open { fid, .. } | Then::Create { fid, .. } => Some(*fid),
            Then::Walk(walk) => walk.changes(),
            _ => None,
        };
        if let Some(entry) = fid.and_then(|fid| self.fids.same(fid).ok()) {
            entry.busy = busy;
        }
    }

    fn deliver<S: Service<File = F>>(
        &mut self,
        tag: u16,
        then: Then<F>,
        answer: Answer<'_, F>,
        service: &mut S,
        out: &mut impl Output,
    ) -> Taken {
        let reply = match (then, answer) {
            (Then::Attach { fid }, Answer::File(file)) => {
                let qid = service.qid(&file);
                self.fids.make(fid, file)?;
                Rmsg::Attach { qid }
            }
            (Then::Open { fid, mode }, Answer::Opened(opened)) => {
                let (qid, iounit) = self.opened(fid, mode, opened, service)?;
                Rmsg::Open { qid, iounit }
            }
            (Then::Create { fid, mode }, Answer::Opened(opened)) => {
                let (qid, iounit) = self.opened(fid, mode, opened, service)?;
                Rmsg::Create { qid, iounit }
            }
            (Then::Read { count }, Answer::Data(data)) => {
                Rmsg::Read { data: &data[..data.len().min(count as usize)] }
            }
            (Then::ReadDir { fid, offset, .. }, Answer::Entries(entries)) => {
                return self.dir_read(tag, (fid, offset), &entries, out);
            }
            (Then::Write { fid, offset, count: most }, Answer::Count(count)) => {
                let count = count.min(most);
                if let Ok(entry) = self.fids.same(fid) {
                    entry.check_progress(offset, most, count)?;
                }
                Rmsg::Write { count }
            }
            (Then::Stat, Answer::Stat(stat)) => {
                let reply = self.reply(tag, &Rmsg::Stat { stat }, out);
                return reply.map_err(|_| enames::ESHORTSTAT.into());
            }
            (Then::Wstat { .. }, Answer::Done) => Rmsg::Wstat,
            (Then::Remove, Answer::Done) => Rmsg::Remove,
            (Then::Clunk, Answer::Done) => Rmsg::Clunk,
            _ => wrong_kind(),
        };
        self.reply(tag, &reply, out)
    }

    /// The fid stands for what was opened from now on; what Ropen and Rcreate say of it.
    fn opened<S: Service<File = F>>(
        &mut self,
        fid: FidRef,
        mode: u8,
        opened: Opened<F>,
        service: &mut S,
    ) -> Result<(Qid, u32), Ename> {
        match self.fids.same(fid) {
            Ok(entry) => {
                entry.file = opened.file;
                entry.mode = Some(mode);
                entry.is_dir = opened.qid.is_dir();
                Ok((opened.qid, self.iounit(opened.iounit)))
            }
            Err(ename) => {
                service.clunk(opened.file, Some(mode));
                Err(ename)
            }
        }
    }

    fn dir_read(
        &mut self,
        tag: u16,
        (fid, offset): (FidRef, u64),
        entries: &DirEntries,
        out: &mut impl Output,
    ) -> Taken {
        // A count of 0 has room for nothing, and asks for nothing.
        if entries.bytes.is_empty() && entries.refused && entries.room > 0 {
            return Err(enames::EDIRCOUNT.into());
        }
        if let Ok(entry) = self.fids.same(fid) {
            entry.dir_offset = offset.saturating_add(entries.bytes.len() as u64);
            entry.dir_cursor = entries.cursor;
        }
        self.reply(tag, &Rmsg::Read { data: &entries.bytes }, out)
    }

    /// A request that was kept is over, and its answer is in `out` unless it failed: answers the
    /// flushes that waited for it.
    fn finish(&mut self, id: RequestId, taken: Taken, out: &mut impl Output) {
        let Some(request) = self.requests.end(id) else { return };
        if let Err(ename) = taken {
            self.error(id.tag, &ename, out);
        }
        self.end_flushes(request.flushes, out);
    }

    /// flush(5): answered when the old request is, or at once if it is over or can be dropped.
    pub(super) fn flush<S: Service<File = F>>(
        &mut self,
        tag: u16,
        oldtag: u16,
        service: &mut S,
        out: &mut impl Output,
    ) {
        let flush = self.requests.begin(tag);
        let old = self.requests.with_tag(oldtag);
        let Some((old, request)) = old.and_then(|id| Some((id, self.requests.get_mut(id)?))) else {
            return Rmsg::Flush.encode(tag, out);
        };
        let dropped = request.may_drop() && service.flush(old);
        request.flushes.push(flush);
        self.requests.keep(flush, Then::Flush);
        if dropped && let Some(request) = self.requests.end(old) {
            self.reserve(&request.then, false);
            self.end_flushes(request.flushes, out);
        }
    }

    /// Answers flushes in their order, each one before those that wait for it in turn.
    fn end_flushes(&mut self, flushes: Vec<RequestId>, out: &mut impl Output) {
        let mut due = flushes;
        due.reverse();
        while let Some(id) = due.pop() {
            if let Some(flush) = self.requests.end(id) {
                Rmsg::Flush.encode(flush.tag, out);
                due.extend(flush.flushes.into_iter().rev());
            }
        }
    }
}
