//! Looks at the messages of one client as they pass, and counts them: what was asked, how it ended,
//! and how long that took. It changes nothing, and knows a request only by its tag.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Instant;

use byteorder::{ByteOrder, LE};
use styx::encode::TREAD_SIZE;
use styx::frame::{HEADER, header, split_frame};
use styx::mtype;

use crate::observe::{Connection, Ended, Server, kind};

/// A request that was left pending.
#[derive(Debug)]
struct Late {
    kind: usize,
    since: Instant,
    /// A Tflush: the tag of the request that it is to end.
    flushes: Option<u16>,
}

/// What is known of the messages of one client.
#[derive(Debug)]
pub(super) struct Watch {
    pub connection: Rc<Connection>,
    late: HashMap<u16, Late>,
}

/// The numbers and tags of the messages in what was put into the output.
fn messages(mut replies: &[u8]) -> impl Iterator<Item = (u8, u16)> {
    std::iter::from_fn(move || {
        let (frame, rest) = split_frame(replies, u32::MAX).ok().flatten()?;
        replies = rest;
        header(frame)
    })
}

fn nanos(since: Instant, now: Instant) -> u64 {
    now.saturating_duration_since(since).as_nanos() as u64
}

impl Watch {
    pub fn new(connection: Rc<Connection>) -> Self {
        Watch { connection, late: HashMap::new() }
    }

    /// A request was taken in the turn that began at `now`, and this was put into the output.
    pub fn took(&mut self, frame: &[u8], replies: &[u8], seen: &mut Server, now: Instant) {
        seen.moved(&self.connection, frame.len(), replies.len());
        let Some((number, tag)) = header(frame) else { return };
        let Some(kind) = kind(number) else { return };
        // Of a Tflush that has all its bytes.
        let oldtag = |frame: &[u8]| frame.get(HEADER..HEADER + 2).map(LE::read_u16);
        let flushes = if number == mtype::TFLUSH { oldtag(frame) } else { None };
        if number == mtype::TVERSION {
            self.late.drain().for_each(|(_, late)| {
                seen.ended_late(&self.connection, late.kind, Ended::Flushed, 0);
            });
        }
        let mut pending = true;
        for (reply, reply_tag) in messages(replies) {
            if pending && reply_tag == tag {
                pending = false;
                seen.answered(kind, reply == mtype::RERROR, 1);
                self.flushed(flushes, seen);
            } else {
                self.reply(reply, reply_tag, seen, now);
            }
        }
        if pending {
            self.late.insert(tag, Late { kind, since: now, flushes });
        }
    }

    /// So many Treads were answered at once, with so many bytes.
    pub fn read(&self, reads: usize, bytes: usize, seen: &mut Server) {
        if reads > 0
            && let Some(kind) = kind(mtype::TREAD)
        {
            seen.moved(&self.connection, reads * TREAD_SIZE, bytes);
            seen.answered(kind, false, reads as u64);
        }
    }

    /// Requests that had been left pending were answered with this.
    pub fn answered(&mut self, replies: &[u8], seen: &mut Server, now: Instant) {
        seen.moved(&self.connection, 0, replies.len());
        messages(replies).for_each(|(reply, tag)| self.reply(reply, tag, seen, now));
    }

    fn reply(&mut self, reply: u8, tag: u16, seen: &mut Server, now: Instant) {
        let Some(late) = self.late.remove(&tag) else { return };
        let ended = if reply == mtype::RERROR { Ended::Failed } else { Ended::Done };
        seen.ended_late(&self.connection, late.kind, ended, nanos(late.since, now));
        self.flushed(late.flushes, seen);
    }

    /// An Rflush was sent: the request with this tag will not be answered any more.
    fn flushed(&mut self, oldtag: Option<u16>, seen: &mut Server) {
        if let Some(late) = oldtag.and_then(|tag| self.late.remove(&tag)) {
            seen.ended_late(&self.connection, late.kind, Ended::Flushed, 0);
        }
    }
}
