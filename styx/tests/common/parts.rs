//! Messages made of random parts, for tests of the codec.

#![allow(dead_code, reason = "each test is a program of its own, and none uses all of this")]

use proptest::collection::vec;
use proptest::prelude::*;
use styx::{MAXWELEM, Qid, Rmsg, Stat, Tmsg, UpTo16};

/// How many kinds of T-messages there are, and of R-messages.
pub const TKINDS: usize = 13;
pub const RKINDS: usize = 14;

/// What any message can be made of: messages borrow, so that their parts need an owner.
#[derive(Clone, Debug)]
pub struct Parts {
    pub numbers: [u32; 3],
    pub long: u64,
    pub short: u16,
    pub byte: u8,
    pub names: Vec<String>,
    pub qids: Vec<Qid>,
    pub data: Vec<u8>,
}

pub fn qid() -> impl Strategy<Value = Qid> {
    any::<(u8, u32, u64)>().prop_map(|(kind, vers, path)| Qid { kind, vers, path })
}

/// Text that may stand in a message: any but NUL.
pub fn text() -> impl Strategy<Value = String> {
    "[^\\x00]{0,20}"
}

pub fn parts() -> impl Strategy<Value = Parts> {
    (
        any::<([u32; 3], u64, u16, u8)>(),
        vec(text(), 0..=MAXWELEM),
        vec(qid(), 0..=MAXWELEM),
        vec(any::<u8>(), 0..100),
    )
        .prop_map(|((numbers, long, short, byte), names, qids, data)| Parts {
            numbers,
            long,
            short,
            byte,
            names,
            qids,
            data,
        })
}

impl Parts {
    fn name(&self, index: usize) -> &str {
        self.names.get(index).map_or("", String::as_str)
    }

    /// The T-message with this number, counted from 0 in the manual's order.
    pub fn tmsg(&self, kind: usize) -> Tmsg<'_> {
        let [fid, second, count] = self.numbers;
        match kind {
            0 => Tmsg::Version { msize: fid, version: self.name(0) },
            1 => Tmsg::Auth { afid: fid, uname: self.name(0), aname: self.name(1) },
            2 => Tmsg::Attach { fid, afid: second, uname: self.name(0), aname: self.name(1) },
            3 => Tmsg::Flush { oldtag: self.short },
            4 => {
                let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
                let names = UpTo16::from_slice(&names).expect("at most 16");
                Tmsg::Walk { fid, newfid: second, names }
            }
            5 => Tmsg::Open { fid, mode: self.byte },
            6 => Tmsg::Create { fid, name: self.name(0), perm: second, mode: self.byte },
            7 => Tmsg::Read { fid, offset: self.long, count },
            8 => Tmsg::Write { fid, offset: self.long, data: &self.data },
            9 => Tmsg::Clunk { fid },
            10 => Tmsg::Remove { fid },
            11 => Tmsg::Stat { fid },
            12 => Tmsg::Wstat { fid, stat: &self.data },
            _ => panic!("there are {TKINDS} T-messages"),
        }
    }

    /// The R-message with this number, counted from 0 in the manual's order.
    pub fn rmsg(&self, kind: usize) -> Rmsg<'_> {
        let qid = self.qids.first().copied().unwrap_or_default();
        match kind {
            0 => Rmsg::Version { msize: self.numbers[0], version: self.name(0) },
            1 => Rmsg::Auth { aqid: qid },
            2 => Rmsg::Attach { qid },
            3 => Rmsg::Error { ename: self.name(0) },
            4 => Rmsg::Flush,
            5 => Rmsg::Walk { qids: UpTo16::from_slice(&self.qids).expect("at most 16") },
            6 => Rmsg::Open { qid, iounit: self.numbers[0] },
            7 => Rmsg::Create { qid, iounit: self.numbers[0] },
            8 => Rmsg::Read { data: &self.data },
            9 => Rmsg::Write { count: self.numbers[0] },
            10 => Rmsg::Clunk,
            11 => Rmsg::Remove,
            12 => Rmsg::Stat { stat: &self.data },
            13 => Rmsg::Wstat,
            _ => panic!("there are {RKINDS} R-messages"),
        }
    }

    pub fn stat(&self) -> Stat<'_> {
        Stat {
            kind: self.short,
            dev: self.numbers[0],
            qid: self.qids.first().copied().unwrap_or_default(),
            mode: self.numbers[1],
            atime: self.numbers[2],
            mtime: !self.numbers[2],
            length: self.long,
            name: self.name(0),
            uid: self.name(1),
            gid: self.name(2),
            muid: self.name(3),
        }
    }
}

/// One frame with this message in it.
pub fn tframe(tag: u16, message: &Tmsg<'_>) -> Vec<u8> {
    let mut frame = Vec::new();
    message.encode(tag, &mut frame);
    frame
}

/// One frame with this message in it.
pub fn rframe(tag: u16, message: &Rmsg<'_>) -> Vec<u8> {
    let mut frame = Vec::new();
    message.encode(tag, &mut frame);
    frame
}

/// Writes the length of the frame into its size, so that no mistake hides behind that one.
pub fn resize(frame: &mut [u8]) {
    let size = u32::try_from(frame.len()).expect("a short frame");
    frame[..4].copy_from_slice(&size.to_le_bytes());
}
