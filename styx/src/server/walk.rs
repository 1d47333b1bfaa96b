//! Walks, one name at a time (walk(5)): each step may be answered at once or later.

use std::task::Poll;

use super::fids::FidRef;
use super::receive::Taken;
use super::requests::Then;
use super::{Answer, Ename, RequestId, Service, Session, wrong_kind};
use crate::buffer::Output;
use crate::enames;
use crate::message::{Qid, Rmsg, UpTo16};

/// A walk under way.
#[derive(Debug)]
pub(super) struct Walk<F> {
    newfid: Newfid,
    at: F,
    qids: UpTo16<Qid>,
    /// Names that the service has not been asked for yet.
    names: Vec<String>,
}

/// What is to stand for the file that a walk comes to.
#[derive(Clone, Copy, Debug)]
enum Newfid {
    /// The fid that the walk started from.
    Same(FidRef),
    /// A fid with this number, which must be vacant when the walk ends.
    Other(u32),
}

impl<F> Walk<F> {
    /// The fid that this walk will change, if it is an old one.
    pub fn changes(&self) -> Option<FidRef> {
        match self.newfid {
            Newfid::Same(fid) => Some(fid),
            Newfid::Other(_) => None,
        }
    }

    /// How many bytes its names take.
    pub fn bytes(&self) -> usize {
        self.names.iter().map(String::len).sum()
    }

    fn advance<S: Service<File = F>>(&mut self, file: F, service: &S) {
        let pushed = self.qids.push(service.qid(&file));
        debug_assert!(pushed, "the decoder lets no walk of more than 16 names through");
        self.at = file;
    }
}

impl<F: Clone> Session<F> {
    pub(super) fn walk<S: Service<File = F>>(
        &mut self,
        tag: u16,
        (fid, newfid): (u32, u32),
        names: &[&str],
        service: &mut S,
        out: &mut impl Output,
    ) -> Taken {
        let (from, entry) = self.fids.usable(fid)?;
        if entry.mode.is_some() {
            return Err(enames::EWALKOPEN.into());
        }
        let at = entry.file.clone();
        let newfid = if newfid == fid { Newfid::Same(from) } else { Newfid::Other(newfid) };
        let id = self.requests.begin(tag);
        let walk = Walk { newfid, at, qids: UpTo16::new(), names: Vec::new() };
        match self.walk_on(id, walk, names, service, out) {
            Poll::Ready(taken) => taken,
            Poll::Pending => Ok(()),
        }
    }

    /// Goes on with a walk whose last step has come back.
    pub(super) fn resume_walk<S: Service<File = F>>(
        &mut self,
        id: RequestId,
        mut walk: Walk<F>,
        stepped: Result<Answer<'_, F>, Ename>,
        service: &mut S,
        out: &mut impl Output,
    ) -> Poll<Taken> {
        match stepped {
            Ok(Answer::File(file)) => {
                walk.advance(file, service);
                let names = std::mem::take(&mut walk.names);
                self.walk_on(id, walk, &names, service, out)
            }
            Ok(_) => wrong_kind(),
            Err(ename) => Poll::Ready(self.end_walk(id.tag, &walk, Some(ename), out)),
        }
    }

    /// Pending if it is kept until the service has found the next name.
    fn walk_on<S: Service<File = F>>(
        &mut self,
        id: RequestId,
        mut walk: Walk<F>,
        names: &[impl AsRef<str>],
        service: &mut S,
        out: &mut impl Output,
    ) -> Poll<Taken> {
        for (done, name) in names.iter().enumerate() {
            match service.walk(id, &walk.at, name.as_ref()) {
                Poll::Ready(Ok(file)) => walk.advance(file, service),
                Poll::Ready(Err(ename)) => {
                    return Poll::Ready(self.end_walk(id.tag, &walk, Some(ename), out));
                }
                Poll::Pending => {
                    walk.names = names[done + 1..].iter().map(|n| n.as_ref().to_owned()).collect();
                    self.keep(id, Then::Walk(Box::new(walk)));
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(self.end_walk(id.tag, &walk, None, out))
    }

    fn end_walk(
        &mut self,
        tag: u16,
        walk: &Walk<F>,
        failed: Option<Ename>,
        out: &mut impl Output,
    ) -> Taken {
        match failed {
            None => self.arrive(tag, walk, out),
            Some(ename) if walk.qids.is_empty() => Err(ename),
            Some(_) => self.reply(tag, &Rmsg::Walk { qids: walk.qids }, out),
        }
    }

    /// Every name was found: newfid stands for where they lead.
    fn arrive(&mut self, tag: u16, walk: &Walk<F>, out: &mut impl Output) -> Taken {
        let start = out.end();
        // The reply comes first, because one that is too long to be sent must leave no fid behind.
        self.reply(tag, &Rmsg::Walk { qids: walk.qids }, out)?;
        let made = match walk.newfid {
            Newfid::Same(fid) => self.fids.same(fid).map(|entry| entry.file = walk.at.clone()),
            Newfid::Other(number) => self.fids.make(number, walk.at.clone()),
        };
        made.inspect_err(|_| out.cut(start))
    }
}
