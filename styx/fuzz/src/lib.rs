//! What the fuzz targets do with their bytes: a function for each, which panics when something is
//! wrong. The test `fuzz_seeds` of the crate calls the same functions on the stable compiler.

mod client;
mod decoders;
mod session;
#[path = "../../tests/common/tree.rs"]
mod tree;

pub use client::client;
pub use decoders::{entries, frames, r_message, t_message, words};
pub use session::session;

use styx::{MAXWELEM, Tmsg, UpTo16};

/// Bytes that are taken for choices; when there are none left, each is 0.
struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// One of `n`, from 0.
    fn one_of(&mut self, n: u8) -> u8 {
        self.byte() % n
    }

    /// A few bytes, or rarely as many as the next one says, if there are as many.
    fn bytes(&mut self) -> &'a [u8] {
        let len = match self.byte() {
            long if long >= 0xf0 => self.byte(),
            short => short % 8,
        };
        let len = usize::from(len).min(self.0.len());
        let (bytes, rest) = self.0.split_at(len);
        self.0 = rest;
        bytes
    }

    /// 0 mostly, small numbers, and some where something ends.
    fn number(&mut self) -> u64 {
        match self.byte() {
            0xff => u64::MAX,
            0xfe => i64::MAX as u64,
            0xfd => i64::MAX as u64 + 1,
            0xfc => u64::from(u32::MAX),
            0xfb => u64::from(self.byte()) << 8,
            small if small < 0x80 => 0,
            small => u64::from(small),
        }
    }

    /// One of a few fids, so that they meet; rarely none.
    fn fid(&mut self) -> u32 {
        match self.one_of(32) {
            31 => styx::NOFID,
            small => 1 + u32::from(small) % 3,
        }
    }

    /// Fid 0 mostly, which is the root and which nothing else is asked of.
    fn from(&mut self) -> u32 {
        if self.one_of(4) == 0 { self.fid() } else { 0 }
    }

    /// A name that is there, or text, if the bytes are.
    fn name(&mut self) -> &'a str {
        match self.one_of(16) {
            0 => "..",
            1 => tree::LONG,
            2 => std::str::from_utf8(self.bytes()).unwrap_or(""),
            n if n < 8 => tree::NAMES[usize::from(n) - 3],
            _ => ".",
        }
    }

    /// A T-message that is neither a Tversion nor a Tflush.
    fn request(&mut self) -> Tmsg<'a> {
        let kind = self.one_of(32);
        let fid = if (3..8).contains(&kind) { self.from() } else { self.fid() };
        match kind {
            0 => Tmsg::Auth { afid: fid, uname: self.name(), aname: "" },
            1 => Tmsg::Attach { fid, afid: self.fid(), uname: "", aname: self.name() },
            2 => Tmsg::Attach { fid, afid: styx::NOFID, uname: "", aname: "" },
            3 => {
                let mut names = UpTo16::new();
                for _ in 0..self.one_of(MAXWELEM as u8 + 1) {
                    let _ = names.push(self.name());
                }
                Tmsg::Walk { fid, newfid: self.fid(), names }
            }
            4..8 => {
                let names = [self.name()];
                let names = UpTo16::from_slice(&names[..usize::from(self.one_of(2))]);
                Tmsg::Walk { fid, newfid: self.fid(), names: names.unwrap_or_default() }
            }
            8..12 => Tmsg::Open { fid, mode: self.one_of(4) },
            12 => Tmsg::Open { fid, mode: self.byte() },
            13 | 14 => Tmsg::Create { fid, name: self.name(), perm: 0, mode: self.one_of(4) },
            15..20 => Tmsg::Read { fid, offset: self.number(), count: self.number() as u32 },
            20..24 => Tmsg::Write { fid, offset: self.number(), data: self.bytes() },
            24 | 25 => Tmsg::Clunk { fid },
            26 | 27 => Tmsg::Remove { fid },
            28..31 => Tmsg::Stat { fid },
            _ => Tmsg::Wstat { fid, stat: self.bytes() },
        }
    }
}
