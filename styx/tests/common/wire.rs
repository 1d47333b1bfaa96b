//! A session with a [`Tree`] behind it, to be talked to in messages, and its answers in words.

#![allow(dead_code, reason = "each test is a program of its own, and none uses all of this")]

use styx::frame::split_frame;
use styx::server::{Fatal, Limits, Session};
use styx::{NOFID, Rmsg, Stat, Tmsg, UpTo16, VERSION};

use super::parts::tframe;
use super::tree::{File, Tree};

/// One connection.
pub struct Wire {
    pub session: Session<File>,
    pub tree: Tree,
    pub out: Vec<u8>,
}

impl Wire {
    /// A connection on which nothing has been said.
    pub fn fresh() -> Wire {
        Wire { session: Session::new(Limits::default()), tree: Tree::default(), out: Vec::new() }
    }

    /// A connection on which an msize was agreed, and that is attached at fid 0.
    pub fn attached(msize: u32) -> Wire {
        let mut wire = Wire::fresh();
        wire.session(msize);
        wire
    }

    /// Tversion and Tattach on fid 0.
    pub fn session(&mut self, msize: u32) {
        self.t(Tmsg::Version { msize, version: VERSION });
        self.t(attach(0));
    }

    /// Sends a message with tag 1, and says what came back.
    pub fn t(&mut self, message: Tmsg<'_>) -> String {
        self.tagged(1, message)
    }

    /// Sends a message, and says what came back.
    pub fn tagged(&mut self, tag: u16, message: Tmsg<'_>) -> String {
        self.frame(&tframe(tag, &message)).expect("a T-message")
    }

    /// Sends a message that is left pending.
    pub fn held(&mut self, tag: u16, message: Tmsg<'_>) {
        self.tree.hold = true;
        assert_eq!(self.tagged(tag, message), "", "{message:?} is left pending");
        self.tree.hold = false;
    }

    /// Sends any bytes as one frame, and says what came back.
    pub fn frame(&mut self, frame: &[u8]) -> Result<String, Fatal> {
        self.session.receive(frame, &mut self.tree, &mut self.out)?;
        Ok(self.heard())
    }

    /// Completes the oldest pending request, and says what came back.
    pub fn complete(&mut self) -> String {
        self.tree.complete(0, &mut self.session, &mut self.out);
        self.heard()
    }

    /// The replies that came, in words; no words for tag 1.
    fn heard(&mut self) -> String {
        let out = std::mem::take(&mut self.out);
        let mut rest = &out[..];
        let mut words = Vec::new();
        while let Some((frame, after)) = split_frame(rest, self.session.msize()).unwrap() {
            let (tag, reply) = Rmsg::decode(frame).expect("an R-message");
            words.push(match tag {
                1 => show(&reply),
                tag => format!("{tag}: {}", show(&reply)),
            });
            rest = after;
        }
        assert!(rest.is_empty(), "whole frames only");
        words.join(", ")
    }
}

fn show(reply: &Rmsg<'_>) -> String {
    match reply {
        Rmsg::Version { msize, version } => format!("Rversion {msize} {version}"),
        Rmsg::Auth { aqid } => format!("Rauth {}", aqid.path),
        Rmsg::Attach { qid } => format!("Rattach {}", qid.path),
        Rmsg::Error { ename } => (*ename).to_owned(),
        Rmsg::Flush => "Rflush".into(),
        Rmsg::Walk { qids } => {
            let paths: Vec<u64> = qids.iter().map(|qid| qid.path).collect();
            format!("Rwalk {paths:?}")
        }
        Rmsg::Open { qid, iounit } => format!("Ropen {} {iounit}", qid.path),
        Rmsg::Create { qid, iounit } => format!("Rcreate {} {iounit}", qid.path),
        Rmsg::Read { data } => format!("Rread {}", data.len()),
        Rmsg::Write { count } => format!("Rwrite {count}"),
        Rmsg::Clunk => "Rclunk".into(),
        Rmsg::Remove => "Rremove".into(),
        Rmsg::Stat { stat } => format!("Rstat {}", Stat::decode(stat).expect("an entry").name),
        Rmsg::Wstat => "Rwstat".into(),
    }
}

pub fn attach(fid: u32) -> Tmsg<'static> {
    Tmsg::Attach { fid, afid: NOFID, uname: "root", aname: "" }
}

pub fn walk<'a>(fid: u32, newfid: u32, names: &[&'a str]) -> Tmsg<'a> {
    Tmsg::Walk { fid, newfid, names: UpTo16::from_slice(names).expect("at most 16") }
}

pub fn open(fid: u32, mode: u8) -> Tmsg<'static> {
    Tmsg::Open { fid, mode }
}

pub fn read(fid: u32, offset: u64, count: u32) -> Tmsg<'static> {
    Tmsg::Read { fid, offset, count }
}
