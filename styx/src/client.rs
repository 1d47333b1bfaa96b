//! The client half of a connection: requests go out, and each reply is matched to its request and
//! checked against it before anyone sees it.
//!
//! A [`Client`] holds no socket, no file and no clock. The server at the other end is not trusted:
//! a reply with a tag that nothing waits for, of another type than was asked for, with more bytes
//! or qids than were asked for, or an msize larger than was offered, ends the connection.

use slab::Slab;
use thiserror::Error;

use crate::decode::DecodeError;
use crate::frame::FrameError;
use crate::message::{IOHDRSZ, MAXWELEM, NOTAG, Rmsg, Tmsg, VERSION, mtype};
use crate::server::MIN_MSIZE;

/// The most requests that may be under way at one time: every tag but NOTAG.
pub const MAX_OUTSTANDING: usize = NOTAG as usize;

/// The blocks of the usual file systems, and sectors, in bytes.
const BLOCK: u32 = 4096;
const SECTOR: u32 = 512;

/// How many of at most `unit` bytes, at least 1, a part of a longer read or write should have: whole sectors, if
/// one fits, since some devices take nothing else (`crypt` of Plan 9's fs(3)); whole blocks, where that costs no
/// more than an eighth, since a part of one is more work than all of it.
pub fn whole_blocks(unit: u32) -> u32 {
    match unit {
        ..SECTOR => unit,
        _ if unit / 8 >= BLOCK => unit - unit % BLOCK,
        _ => unit - unit % SECTOR,
    }
}

/// The server broke the protocol, and the connection should be closed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ProtocolError {
    /// No frames can be cut from the stream any more.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A frame that is no R-message.
    #[error(transparent)]
    Message(#[from] DecodeError),
    /// Nothing was asked with this tag.
    #[error("reply with tag {0}, which nothing waits for")]
    Tag(u16),
    /// A reply of another type than the request's.
    #[error("reply of type {got} to a request of type {asked}")]
    Type {
        /// The type of the request.
        asked: u8,
        /// The type of what came.
        got: u8,
    },
    /// More than was asked for, or less than the protocol allows.
    #[error("reply of type {0} that does not fit its request")]
    Excess(u8),
    /// A version other than 9P2000.
    #[error("the server does not speak 9P2000")]
    Version,
}

/// What came in for a request.
#[derive(Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "a walk's qids are in place: no message allocates")]
pub enum Event<'a, T> {
    /// The server's answer; `Err` is the text of an Rerror.
    Reply(T, Result<Rmsg<'a>, &'a str>),
    /// The request was flushed, and no answer to it came before the Rflush.
    Flushed(T),
}

/// What is remembered of a request, to check its reply by.
#[derive(Clone, Copy, Debug)]
struct Expected {
    kind: u8,
    /// The most bytes, or qids, or the msize, that the reply may have.
    most: u32,
}

impl Expected {
    fn of(message: &Tmsg<'_>) -> Self {
        let most = match message {
            Tmsg::Version { msize, .. } => *msize,
            Tmsg::Read { count, .. } => *count,
            Tmsg::Write { data, .. } => data.len() as u32,
            Tmsg::Walk { names, .. } => names.len() as u32,
            _ => 0,
        };
        Expected { kind: message.mtype(), most }
    }

    fn check(self, reply: &Rmsg<'_>) -> Result<(), ProtocolError> {
        if reply.mtype() != self.kind + 1 {
            return Err(ProtocolError::Type { asked: self.kind, got: reply.mtype() });
        }
        let most = self.most as usize;
        let fits = match reply {
            Rmsg::Version { msize, .. } => (MIN_MSIZE..=self.most).contains(msize),
            Rmsg::Read { data } => data.len() <= most,
            Rmsg::Write { count } => *count <= self.most,
            // A walk of which not even the first name is found has an Rerror for an answer.
            Rmsg::Walk { qids } => qids.len() <= most && (most == 0 || !qids.is_empty()),
            _ => true,
        };
        if fits { Ok(()) } else { Err(ProtocolError::Excess(reply.mtype())) }
    }
}

#[derive(Debug)]
enum Pending<T> {
    Request {
        context: T,
        expected: Expected,
        flushed: bool,
    },
    /// A Tflush of the request with this tag.
    Flush {
        oldtag: u16,
    },
    /// A request whose answer came while its Tflush was under way: its tag may not be used again
    /// before the Rflush (flush(5)).
    Answered,
}

/// The client half of one connection. `T` is what the caller wants to have back with each reply.
#[derive(Debug)]
pub struct Client<T> {
    msize: u32,
    pending: Slab<Pending<T>>,
    version: Option<(T, Expected)>,
}

impl<T> Client<T> {
    /// A connection on which nothing has been said. `msize` is what will be offered, in bytes.
    pub fn new(msize: u32) -> Self {
        Client { msize, pending: Slab::new(), version: None }
    }

    /// The longest message that may be sent or received, in bytes: what was offered, and after
    /// an Rversion what was agreed.
    pub fn msize(&self) -> u32 {
        self.msize
    }

    /// How many bytes one read or write of an open file may have, at least 1: as many as its server says
    /// (`iounit`, or 0 if it says nothing, open(5)) and a message has room for.
    pub fn unit(&self, iounit: u32) -> u32 {
        let most = self.msize.saturating_sub(IOHDRSZ).max(1);
        if iounit == 0 { most } else { iounit.min(most) }
    }

    /// How many requests are under way, flushes included.
    pub fn outstanding(&self) -> usize {
        self.pending.len() + usize::from(self.version.is_some())
    }

    /// Appends a Tversion to `out`. It must be the first message of all.
    pub fn version(&mut self, context: T, out: &mut Vec<u8>) {
        let message = Tmsg::Version { msize: self.msize, version: VERSION };
        self.version = Some((context, Expected::of(&message)));
        message.encode(NOTAG, out);
    }

    /// Appends a request to `out`, and returns its tag.
    ///
    /// # Errors
    /// If [`MAX_OUTSTANDING`] are under way already, or the request is longer than the msize:
    /// nothing is sent, and the context comes back.
    pub fn send(&mut self, message: &Tmsg<'_>, context: T, out: &mut Vec<u8>) -> Result<u16, T> {
        let Some(tag) = self.vacant_tag() else { return Err(context) };
        if message.encode_within(self.msize, tag, out).is_err() {
            return Err(context);
        }
        let expected = Expected::of(message);
        self.pending.insert(Pending::Request { context, expected, flushed: false });
        Ok(tag)
    }

    /// What is to come back with the reply to the request with this tag, if one is under way.
    /// [`NOTAG`] is the Tversion's.
    pub fn context_mut(&mut self, tag: u16) -> Option<&mut T> {
        if tag == NOTAG {
            return self.version.as_mut().map(|(context, _)| context);
        }
        match self.pending.get_mut(usize::from(tag)) {
            Some(Pending::Request { context, .. }) => Some(context),
            _ => None,
        }
    }

    /// Asks the server to forget a request. An [`Event`] for it will still come: its reply, if the
    /// server had answered before, or [`Event::Flushed`]. False if nothing was sent: the request
    /// is over, or being flushed already, or there is no tag left.
    pub fn flush(&mut self, oldtag: u16, out: &mut Vec<u8>) -> bool {
        let Some(tag) = self.vacant_tag() else { return false };
        match self.pending.get_mut(usize::from(oldtag)) {
            Some(Pending::Request { flushed, .. }) if !*flushed => *flushed = true,
            _ => return false,
        }
        self.pending.insert(Pending::Flush { oldtag });
        Tmsg::Flush { oldtag }.encode(tag, out);
        true
    }

    /// The tag that the next entry in `pending` will have, if there may be one more.
    fn vacant_tag(&self) -> Option<u16> {
        let tag = u16::try_from(self.pending.vacant_key()).ok()?;
        (tag != NOTAG).then_some(tag)
    }

    /// Takes one whole frame from the server. `None` if it concerns nobody: an Rflush for a
    /// request that had been answered.
    ///
    /// # Errors
    /// If the frame is not what a server may send now: the connection should be closed, and
    /// [`drain`](Client::drain) gives back what was under way.
    pub fn receive<'a>(&mut self, frame: &'a [u8]) -> Result<Option<Event<'a, T>>, ProtocolError> {
        let (tag, reply) = Rmsg::decode(frame)?;
        if tag == NOTAG {
            return self.receive_version(reply);
        }
        let key = usize::from(tag);
        match self.pending.get(key) {
            None | Some(Pending::Answered) => Err(ProtocolError::Tag(tag)),
            Some(&Pending::Flush { oldtag }) => {
                if reply != Rmsg::Flush {
                    return Err(ProtocolError::Type { asked: mtype::TFLUSH, got: reply.mtype() });
                }
                self.pending.remove(key);
                Ok(match self.pending.try_remove(usize::from(oldtag)) {
                    Some(Pending::Request { context, .. }) => Some(Event::Flushed(context)),
                    _ => None,
                })
            }
            Some(&Pending::Request { expected, flushed, .. }) => {
                if !matches!(reply, Rmsg::Error { .. }) {
                    expected.check(&reply)?;
                }
                let old = std::mem::replace(&mut self.pending[key], Pending::Answered);
                if !flushed {
                    self.pending.remove(key);
                }
                let Pending::Request { context, .. } = old else { return Ok(None) };
                Ok(Some(Event::Reply(context, outcome(reply))))
            }
        }
    }

    fn receive_version<'a>(
        &mut self,
        reply: Rmsg<'a>,
    ) -> Result<Option<Event<'a, T>>, ProtocolError> {
        let Some(&(_, expected)) = self.version.as_ref() else {
            return Err(ProtocolError::Tag(NOTAG));
        };
        if let Rmsg::Version { msize, version } = reply {
            if version != VERSION {
                return Err(ProtocolError::Version);
            }
            expected.check(&reply)?;
            self.msize = msize;
        } else if !matches!(reply, Rmsg::Error { .. }) {
            return Err(ProtocolError::Type { asked: expected.kind, got: reply.mtype() });
        }
        let version = self.version.take();
        Ok(version.map(|(context, _)| Event::Reply(context, outcome(reply))))
    }

    /// The connection is gone: what was under way, in no order.
    pub fn drain(&mut self) -> impl Iterator<Item = T> {
        let version = self.version.take().map(|(context, _)| context);
        let pending = std::mem::take(&mut self.pending).into_iter();
        version.into_iter().chain(pending.filter_map(|(_, pending)| match pending {
            Pending::Request { context, .. } => Some(context),
            Pending::Flush { .. } | Pending::Answered => None,
        }))
    }
}

fn outcome<'a>(reply: Rmsg<'a>) -> Result<Rmsg<'a>, &'a str> {
    match reply {
        Rmsg::Error { ename } => Err(ename),
        reply => Ok(reply),
    }
}

/// The parts of a path that one Twalk can carry each: at most 16 names (walk(5)).
pub fn walk_parts<'n, 'a>(names: &'n [&'a str]) -> impl Iterator<Item = &'n [&'a str]> {
    // A walk of no names makes a new fid for the same file, so there is always a first part.
    let first = &names[..names.len().min(MAXWELEM)];
    std::iter::once(first).chain(names[first.len()..].chunks(MAXWELEM))
}
