//! The logic of Styx, the file protocol of Inferno and Plan 9 (9P2000), for servers and clients,
//! and nothing else: no sockets, no files, no clock, no threads, and no unsafe code. Bytes go in
//! and bytes come out, by calls; where they come from and go to is the caller's business. So a
//! connection can be run by any event loop, or by none, and tested in memory.
//!
//! # The protocol
//!
//! Styx makes a tree of files out of anything that can answer thirteen questions. A client
//! sends T-messages, the server answers each with the R-message of the same name, or with an
//! *Rerror* that says in words why not. Section 5 of the Plan 9 manual is the definition, one page
//! for each message; the names here are the manual's.
//!
//! - *Tversion* opens a session. It settles the *msize*, the longest message that either side may
//!   send, in bytes. *Tauth* can start an authentication, which this crate's server never asks for.
//! - *Tattach* makes a first *fid* stand for the root of a tree. A fid is a number that the client
//!   chooses, and that stands for a file until it is clunked.
//! - *Twalk* goes from a fid by up to 16 names and makes a new fid for where they lead, *Topen*
//!   prepares the file for *Tread* and *Twrite*, and *Tcreate* makes one in a directory and opens it.
//!   Reads and writes carry their own offset. What is read from a directory is entries, one [`Stat`]
//!   for each file in it.
//! - *Tstat* asks for a file's own entry, *Twstat* changes some of it, *Tremove* removes the file,
//!   and *Tclunk* forgets the fid.
//! - *Tflush* says that the answer to an earlier request is no longer wanted.
//!
//! Each request carries a *tag*, another number of the client's choice, and its reply carries the
//! same. So any number of requests can be under way at one time, and their replies may overtake each
//! other. A [`Qid`] is the server's name for a file: two files are one if their qids' paths are equal.
//!
//! # The crate
//!
//! | to do this | there is |
//! |---|---|
//! | cut a stream of bytes into messages | [`frame`] |
//! | read and write messages | [`Tmsg`], [`Rmsg`], [`Stat`]; [`decode`], [`encode`] |
//! | be a server | [`server::Session`], and a [`server::Service`] of yours |
//! | be a client | [`client::Client`] |
//! | say what went wrong in the words that Inferno and Plan 9 use | [`enames`] |
//! | show messages to people | [`show`] |
//! | read and write lines of quoted words, as control files take them | [`words`] |
//!
//! Neither half trusts the other. A message is decoded strictly, or not at all; a session checks
//! each against the state of its fid and its tag before a service hears of it; a client checks
//! each reply against what it asked. The largest msize, the fids and the requests of a session are
//! bounded, by [`server::Limits`].
//!
//! # A server
//!
//! A server implements [`Service`](server::Service): what a fid stands for, and what each request
//! does. For each connection it has a [`Session`](server::Session), which is fed with frames and
//! appends its replies to a buffer. This one has a single file that cannot be written:
//!
//! ```
//! use std::task::Poll::Ready;
//! use styx::server::{DirEntries, Limits, Opened, Outcome, RequestId, Service, Session};
//! use styx::{NOFID, NOTAG, Qid, Rmsg, Stat, Tmsg, VERSION, enames, omode, qt};
//!
//! struct Motto(&'static str);
//!
//! impl Service for Motto {
//!     type File = ();
//!
//!     fn attach(&mut self, _: RequestId, _uname: &str, _aname: &str) -> Outcome<()> {
//!         Ready(Ok(()))
//!     }
//!     fn qid(&self, _: &()) -> Qid {
//!         Qid { kind: qt::FILE, vers: 0, path: 1 }
//!     }
//!     fn open(&mut self, _: RequestId, _: &(), mode: u8) -> Outcome<Opened<()>> {
//!         if mode != omode::OREAD {
//!             return Ready(Err(enames::EPERM.into()));
//!         }
//!         Ready(Ok(Opened::new((), self.qid(&()))))
//!     }
//!     fn read(&mut self, _: RequestId, _: &(), offset: u64, out: &mut [u8]) -> Outcome<usize> {
//!         let start = self.0.len().min(usize::try_from(offset).unwrap_or(usize::MAX));
//!         let count = out.len().min(self.0.len() - start);
//!         out[..count].copy_from_slice(&self.0.as_bytes()[start..start + count]);
//!         Ready(Ok(count))
//!     }
//!     // There is nothing to walk to, to list, or to change.
//! #   fn walk(&mut self, _: RequestId, _: &(), _: &str) -> Outcome<()> {
//! #       Ready(Err(enames::ENOTDIR.into()))
//! #   }
//! #   fn create(
//! #       &mut self, _: RequestId, _: &(), _: &str, _: u32, _: u8,
//! #   ) -> Outcome<Opened<()>> {
//! #       Ready(Err(enames::EPERM.into()))
//! #   }
//! #   fn read_dir(
//! #       &mut self, _: RequestId, _: &(), _: u64, entries: DirEntries,
//! #   ) -> Outcome<DirEntries> {
//! #       Ready(Ok(entries))
//! #   }
//! #   fn write(&mut self, _: RequestId, _: &(), _: u64, _: &[u8]) -> Outcome<u32> {
//! #       Ready(Err(enames::EPERM.into()))
//! #   }
//! #   fn stat(&mut self, _: RequestId, _: &(), _: &mut Vec<u8>) -> Outcome<()> {
//! #       Ready(Err(enames::EPERM.into()))
//! #   }
//! #   fn wstat(&mut self, _: RequestId, _: &(), _: &Stat<'_>) -> Outcome<()> {
//! #       Ready(Err(enames::EPERM.into()))
//! #   }
//! #   fn remove(&mut self, _: RequestId, _: (), _: Option<u8>) -> Outcome<()> {
//! #       Ready(Err(enames::EPERM.into()))
//! #   }
//! #   fn clunk(&mut self, _: (), _: Option<u8>) {}
//! #   fn flush(&mut self, _: RequestId) -> bool {
//! #       true
//! #   }
//! }
//!
//! let mut motto = Motto("Look, no kernel.\n");
//! let mut session = Session::new(Limits::default());
//!
//! // What a client sends, and what it hears.
//! let mut hear = |tag: u16, message: Tmsg<'_>| {
//!     let (mut frame, mut out) = (Vec::new(), Vec::new());
//!     message.encode(tag, &mut frame);
//!     session.receive(&frame, &mut motto, &mut out).expect("a whole T-message");
//!     out
//! };
//! hear(NOTAG, Tmsg::Version { msize: 8216, version: VERSION });
//! hear(1, Tmsg::Attach { fid: 0, afid: NOFID, uname: "glenda", aname: "" });
//! hear(1, Tmsg::Open { fid: 0, mode: omode::OREAD });
//! let reply = hear(1, Tmsg::Read { fid: 0, offset: 6, count: 100 });
//! assert_eq!(Rmsg::decode(&reply), Ok((1, Rmsg::Read { data: b"no kernel.\n" })));
//! let reply = hear(2, Tmsg::Write { fid: 0, offset: 0, data: b"?" });
//! assert_eq!(Rmsg::decode(&reply), Ok((2, Rmsg::Error { ename: enames::EBADUSE })));
//! ```
//!
//! A whole server, on `std::net`, is the example `ramfs`; a whole client is `cat`.
//!
//! # What it does not contain
//!
//! Authentication (a Tauth is answered with "authentication not required"), the dialects 9P2000.u
//! and 9P2000.L (a client that offers them is answered 9P2000), permissions (what a user may do is
//! for the service to say), and anything that waits: timeouts, retries and reconnecting are for
//! those who have a clock.

pub mod buffer;
pub mod client;
pub mod decode;
pub mod enames;
pub mod encode;
pub mod frame;
mod message;
pub mod server;
pub mod show;
mod stat;
pub mod words;
pub use message::*;
pub use stat::{BadStat, STATFIXLEN, Stat};
