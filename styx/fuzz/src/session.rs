//! What a client does: any messages, of which a service leaves some pending. A model of the tags
//! says which replies are legal.

use std::collections::HashMap;

use styx::frame::split_frame;
use styx::server::{Limits, Session};
use styx::{NOFID, NOTAG, Rmsg, Tmsg, VERSION, enames, mtype};

use super::Choices;
use super::tree::{File, Tree};

/// A request that has not been answered.
struct Asked {
    /// Which request of all: a tag is used again and again.
    serial: usize,
    kind: u8,
    /// For a Tflush: the request that it flushes, if that was under way.
    old: Option<(u16, usize)>,
}

struct World {
    session: Session<File>,
    tree: Tree,
    out: Vec<u8>,
    asked: HashMap<u16, Asked>,
    serial: usize,
}

/// A session answers each request at most once, with a reply of its type, before its Rflush and
/// within the msize, and comes to rest when the service has completed all.
pub fn session(data: &[u8]) {
    let mut choices = Choices(data);
    let limits = Limits { msize: 8216, fids: 4, requests: 4, bytes: 1000 };
    let mut world = World {
        session: Session::new(limits),
        tree: Tree::default(),
        out: Vec::new(),
        asked: HashMap::new(),
        serial: 0,
    };
    if choices.one_of(32) != 0 {
        world.t(NOTAG, Tmsg::Version { msize: 8216, version: VERSION });
        world.t(0, Tmsg::Attach { fid: 0, afid: NOFID, uname: "", aname: "" });
    }
    while !choices.is_over() {
        let tag = u16::from(choices.one_of(6));
        match choices.one_of(64) {
            0..4 => world.tree.hold = !world.tree.hold,
            4 => world.tree.drops = !world.tree.drops,
            5..16 => world.complete(choices.one_of(4).into()),
            16 => {
                let msize = 56 + choices.number() as u32 % 10_000;
                let version = if choices.one_of(8) == 0 { choices.name() } else { VERSION };
                world.t(tag, Tmsg::Version { msize, version });
            }
            17..20 => world.t(tag, Tmsg::Flush { oldtag: choices.one_of(6).into() }),
            20 => {
                if !world.bytes(choices.bytes()) {
                    break;
                }
            }
            _ => world.t(tag, choices.request()),
        }
    }
    world.rest();
}

impl World {
    fn t(&mut self, tag: u16, message: Tmsg<'_>) {
        let mut frame = Vec::new();
        let msize = self.session.msize();
        if message.encode_within(msize, tag, &mut frame).is_ok() {
            let goes_on = self.frame(&frame);
            assert!(goes_on, "a message may be refused, but does not end the connection");
        }
    }

    /// Any bytes as a frame, with the right size; false if that ends the connection.
    fn bytes(&mut self, bytes: &[u8]) -> bool {
        let size = (bytes.len() + 4) as u32;
        self.frame(&[&size.to_le_bytes(), bytes].concat())
    }

    fn frame(&mut self, frame: &[u8]) -> bool {
        if let Ok((tag, message)) = Tmsg::decode(frame) {
            self.receive(frame, tag, message);
            return true;
        }
        // Refused for its text, or the end.
        let before = self.session.outstanding();
        let taken = self.session.receive(frame, &mut self.tree, &mut self.out).is_ok();
        assert_eq!(taken, !self.out.is_empty());
        assert_eq!(self.session.outstanding(), before);
        self.out.clear();
        taken
    }

    fn receive(&mut self, frame: &[u8], tag: u16, message: Tmsg<'_>) {
        if self.session.must_wait(frame, usize::MAX) {
            return;
        }
        let version = matches!(message, Tmsg::Version { .. });
        if version {
            self.asked.clear();
        }
        let refused = self.asked.contains_key(&tag);
        if !refused {
            let old = match message {
                Tmsg::Flush { oldtag } => {
                    self.asked.get(&oldtag).map(|asked| (oldtag, asked.serial))
                }
                _ => None,
            };
            let asked = Asked { serial: self.serial, kind: message.mtype(), old };
            self.asked.insert(tag, asked);
            self.serial += 1;
        }
        let taken = self.session.receive(frame, &mut self.tree, &mut self.out);
        assert_eq!(taken, Ok(()));
        if refused {
            let mut want = Vec::new();
            Rmsg::Error { ename: enames::EDUPTAG }.encode(tag, &mut want);
            assert_eq!(std::mem::take(&mut self.out), want);
        }
        if version {
            assert!(!self.out.is_empty() && self.session.fids() == 0);
        }
        self.hear();
    }

    fn complete(&mut self, nth: usize) {
        if nth < self.tree.held.len() {
            self.tree.complete(nth, &mut self.session, &mut self.out);
            self.hear();
        }
    }

    fn hear(&mut self) {
        let out = std::mem::take(&mut self.out);
        let mut rest = &out[..];
        while let Some((frame, after)) =
            split_frame(rest, self.session.msize()).expect("no frame is longer than agreed")
        {
            let (tag, reply) = Rmsg::decode(frame).expect("an R-message");
            let asked = self.asked.remove(&tag).expect("a reply to what was asked");
            let fits = reply.mtype() == asked.kind + 1
                || reply.mtype() == mtype::RERROR && asked.kind != mtype::TFLUSH
                || reply == Rmsg::Error { ename: enames::ENOVERSION };
            assert!(fits, "{reply:?} to type {}", asked.kind);
            if let Some((oldtag, serial)) = asked.old
                && self.asked.get(&oldtag).is_some_and(|old| old.serial == serial)
            {
                // It was dropped: from now on its tag is another request's.
                assert!(self.tree.drops, "what goes on is answered before its Rflush");
                self.asked.remove(&oldtag);
            }
            rest = after;
        }
        assert!(rest.is_empty(), "whole frames");
    }

    fn rest(mut self) {
        self.tree.hold = false;
        while !self.tree.held.is_empty() {
            self.complete(0);
        }
        assert!(self.asked.is_empty(), "everything is answered");
        assert_eq!(self.session.outstanding(), 0);
        let fids = self.session.fids();
        self.tree.clunked.clear();
        self.session.close(&mut self.tree);
        assert_eq!(self.tree.clunked.len(), fids, "each fid is clunked once");
        assert_eq!((self.session.fids(), self.session.outstanding()), (0, 0));
    }
}
