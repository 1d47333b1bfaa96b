//! The requests of a session that are under way, and the flushes that wait for them (flush(5)).

use std::collections::HashMap;

use slab::Slab;

use super::fids::FidRef;
use super::walk::Walk;
use super::{RequestId, Service};

/// What a request that was left pending is to do when its answer comes.
#[derive(Debug)]
pub(super) enum Then<F> {
    /// The service's answer is being looked at.
    Unknown,
    Attach {
        fid: u32,
    },
    Walk(Box<Walk<F>>),
    Open {
        fid: FidRef,
        mode: u8,
    },
    Create {
        fid: FidRef,
        mode: u8,
    },
    Read {
        count: u32,
    },
    ReadDir {
        fid: FidRef,
        offset: u64,
        count: u32,
    },
    Write {
        fid: FidRef,
        offset: u64,
        count: u32,
    },
    Stat,
    Wstat {
        bytes: usize,
    },
    Remove,
    Clunk,
    /// A Tflush that waits for another request.
    Flush,
}

impl<F> Then<F> {
    /// How many bytes somebody keeps for this: what was sent, or what is to be sent back. Small
    /// things do not count.
    fn bytes(&self) -> usize {
        match self {
            Then::Read { count } | Then::ReadDir { count, .. } | Then::Write { count, .. } => {
                *count as usize
            }
            Then::Walk(walk) => walk.bytes(),
            Then::Wstat { bytes } => *bytes,
            _ => 0,
        }
    }
}

#[derive(Debug)]
pub(super) struct Request<F> {
    pub tag: u16,
    pub then: Then<F>,
    /// The session that it belongs to has ended: its answer goes nowhere.
    pub silent: bool,
    /// Flushes that are answered after this one, in the order in which they came.
    pub flushes: Vec<RequestId>,
    bytes: usize,
    serial: u64,
}

impl<F> Request<F> {
    /// Whether the service should be asked to drop it: once, and not if it is a flush, which the
    /// service knows nothing of, nor a remove or a clunk: its fid is gone already, and that it was
    /// never removed is more than an Rflush can say.
    pub fn may_drop(&self) -> bool {
        self.flushes.is_empty() && !matches!(self.then, Then::Flush | Then::Remove | Then::Clunk)
    }
}

/// All requests of a session that are under way.
#[derive(Debug)]
pub(super) struct Requests<F> {
    tags: HashMap<u16, RequestId>,
    entries: Slab<Request<F>>,
    /// What all of them keep.
    bytes: usize,
    serial: u64,
}

impl<F> Requests<F> {
    pub fn new() -> Self {
        Requests { tags: HashMap::new(), entries: Slab::new(), bytes: 0, serial: 0 }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many bytes are kept for them.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The request that is under way with this tag.
    pub fn with_tag(&self, tag: u16) -> Option<RequestId> {
        self.tags.get(&tag).copied()
    }

    /// Names a new request. Most are answered at once and need no more; it counts as under way from
    /// [`keep`](Requests::keep) on, and until then no other is begun.
    pub fn begin(&mut self, tag: u16) -> RequestId {
        self.serial += 1;
        RequestId { index: self.entries.vacant_key(), serial: self.serial, tag }
    }

    /// The request was left pending; `then` is what its answer is for.
    pub fn keep(&mut self, id: RequestId, then: Then<F>) {
        let bytes = then.bytes();
        self.bytes += bytes;
        if let Some(request) = self.get_mut(id) {
            request.then = then;
            let before = std::mem::replace(&mut request.bytes, bytes);
            self.bytes -= before;
            return;
        }
        let RequestId { tag, serial, .. } = id;
        let index = self.entries.insert(Request {
            tag,
            then,
            silent: false,
            flushes: Vec::new(),
            bytes,
            serial,
        });
        debug_assert_eq!(
            index, id.index,
            "a request was kept between the naming of another and its keeping"
        );
        self.tags.insert(tag, id);
    }

    pub fn get_mut(&mut self, id: RequestId) -> Option<&mut Request<F>> {
        self.entries.get_mut(id.index).filter(|request| request.serial == id.serial)
    }

    /// Takes the request out, if it was kept; its tag may be used again.
    pub fn end(&mut self, id: RequestId) -> Option<Request<F>> {
        self.get_mut(id)?;
        let request = self.entries.remove(id.index);
        self.bytes -= request.bytes;
        if self.tags.get(&request.tag) == Some(&id) {
            self.tags.remove(&request.tag);
        }
        Some(request)
    }

    /// Ends every request without an answer: those that the service can drop at once, the others
    /// when they complete.
    pub fn abandon<S: Service<File = F>>(&mut self, service: &mut S) {
        self.tags.clear();
        self.entries.retain(|index, request| {
            let id = RequestId { index, serial: request.serial, tag: request.tag };
            let over = matches!(request.then, Then::Flush)
                || !request.silent && request.may_drop() && service.flush(id);
            request.silent = true;
            self.bytes -= if over { request.bytes } else { 0 };
            !over
        });
    }
}
