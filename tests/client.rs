//! The blocking client, at servers that are within the protocol but make the most of it: replies in
//! any order, reads that are short in the middle, files that answer one request at a time; and at
//! some that are outside it.

use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::Duration;

use dsfs::client::{Client, Error};
use dsfs::dial::Addr;
use proptest::prelude::*;
use styx::frame::split_frame;
use styx::omode::{OREAD, OWRITE};
use styx::{Qid, Rmsg, Stat, Tmsg, UpTo16, VERSION, qt};

/// A file server of one file, whose walks all lead to it but those to `missing`.
#[derive(Clone, Debug, Default)]
struct Odd {
    data: Vec<u8>,
    /// The length that stat gives.
    said: u64,
    msize: u32,
    /// Reads give no more than this at a time, and none crosses a multiple of it.
    piece: Option<usize>,
    /// What picks the next request to answer.
    seed: u64,
    /// Reads and writes at this byte, or across it, fail.
    bad: Option<u64>,
    directory: bool,
    /// `missing` is there for a walk of that name alone: it comes while a client looks for it.
    late: bool,
    /// The most reads and writes that were under way at one time.
    depth: usize,
}

/// How long nothing must come before the server believes that the client waits.
const IDLE: Duration = Duration::from_millis(2);

struct Served {
    addr: Addr,
    server: JoinHandle<Odd>,
    _dir: tempfile::TempDir,
}

impl Odd {
    fn serve(self) -> Served {
        let dir = tempfile::tempdir().expect("a directory");
        let path: PathBuf = dir.path().join("socket");
        let listener = UnixListener::bind(&path).expect("a socket");
        let server = std::thread::spawn(move || self.run(listener.accept().expect("a client").0));
        Served { addr: Addr::Unix(path), server, _dir: dir }
    }

    fn run(mut self, mut stream: UnixStream) -> Self {
        let mut input = Vec::new();
        let mut waiting: Vec<Vec<u8>> = Vec::new();
        let mut room = [0; 4096];
        loop {
            stream.set_read_timeout((!waiting.is_empty()).then_some(IDLE)).expect("a timeout");
            match stream.read(&mut room) {
                Ok(0) => return self,
                Ok(read) => input.extend_from_slice(&room[..read]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let mut out = Vec::new();
                    while !waiting.is_empty() {
                        self.seed = self.seed.wrapping_mul(6364136223846793005).wrapping_add(1);
                        let pick = (self.seed >> 33) as usize % waiting.len();
                        self.answer(&waiting.swap_remove(pick), &mut out);
                    }
                    if stream.write_all(&out).is_err() {
                        return self;
                    }
                }
                // It was stopped, and goes on.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => panic!("{error}"),
            }
            while let Some((frame, rest)) = split_frame(&input, self.msize).expect("a frame") {
                waiting.push(frame.to_vec());
                input = rest.to_vec();
            }
            self.depth = self.depth.max(waiting.len());
        }
    }

    fn fails(&self, from: u64, count: usize) -> bool {
        self.bad.is_some_and(|bad| (from..from + count as u64).contains(&bad))
    }

    fn answer(&mut self, frame: &[u8], out: &mut Vec<u8>) {
        let (tag, message) = Tmsg::decode(frame).expect("the client keeps to the protocol");
        let qid = Qid { kind: if self.directory { qt::DIR } else { qt::FILE }, vers: 0, path: 7 };
        let mut stat = Vec::new();
        let reply = match message {
            Tmsg::Version { msize, .. } => {
                self.msize = self.msize.min(msize);
                Rmsg::Version { msize: self.msize, version: VERSION }
            }
            Tmsg::Attach { .. } => Rmsg::Attach { qid },
            Tmsg::Walk { names, .. } if self.late && *names == ["missing"] => {
                Rmsg::Walk { qids: UpTo16::from_slice(&[qid]).expect("one fits") }
            }
            Tmsg::Walk { names, .. } => match names.iter().position(|name| *name == "missing") {
                Some(0) => Rmsg::Error { ename: "no such luck" },
                found => {
                    let qids = vec![qid; found.unwrap_or(names.len())];
                    Rmsg::Walk { qids: UpTo16::from_slice(&qids).expect("no more than names") }
                }
            },
            Tmsg::Open { .. } => Rmsg::Open { qid, iounit: 0 },
            Tmsg::Stat { .. } => {
                Stat { length: self.said, name: "f", ..Stat::DONT_TOUCH }.encode(&mut stat);
                Rmsg::Stat { stat: &stat }
            }
            Tmsg::Read { offset, count, .. } if self.fails(offset, count as usize) => {
                Rmsg::Error { ename: "bad luck" }
            }
            Tmsg::Read { offset, count, .. } => Rmsg::Read { data: self.read(offset, count) },
            Tmsg::Write { offset, data, .. } if self.fails(offset, data.len()) => {
                Rmsg::Error { ename: "bad luck" }
            }
            Tmsg::Write { offset, data, .. } => {
                let room = self.data.get_mut(offset as usize..).unwrap_or_default();
                let taken = room.len().min(data.len());
                room[..taken].copy_from_slice(&data[..taken]);
                Rmsg::Write { count: taken as u32 }
            }
            Tmsg::Clunk { .. } => Rmsg::Clunk,
            other => panic!("nobody asks for {other:?}"),
        };
        reply.encode(tag, out);
    }

    fn read(&self, offset: u64, count: u32) -> &[u8] {
        let from = (offset as usize).min(self.data.len());
        let mut to = self.data.len().min(from.saturating_add(count as usize));
        if let Some(piece) = self.piece {
            to = to.min((from / piece + 1) * piece);
        }
        &self.data[from..to]
    }
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|j| ((31 * j + 17 * (j >> 8)) & 0xff) as u8).collect()
}

/// A file of `len` bytes which says so, in messages of 256 bytes.
fn odd(len: usize) -> Odd {
    Odd { data: pattern(len), said: len as u64, msize: 256, ..Odd::default() }
}

fn connect(served: &Served) -> Client {
    Client::connect(&served.addr, "", 8216).expect("the server is there")
}

fn read(client: &mut Client, offset: u64, count: u64) -> Result<Vec<u8>, Error> {
    let file = client.open("f", OREAD)?;
    let mut data = Vec::new();
    let read = client.read(&file, offset, count, &mut data);
    client.close(file)?;
    assert_eq!(read?, data.len() as u64);
    Ok(data)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_read_is_the_bytes_whatever_the_order_of_the_replies(
        len in 0usize..6000,
        said in prop_oneof![Just(None), (0u64..8000).prop_map(Some)],
        piece in prop_oneof![Just(None), (1usize..700).prop_map(Some)],
        offset in 0u64..6500,
        count in prop_oneof![Just(u64::MAX), 0u64..4000],
        seed: u64,
    ) {
        // At one byte a piece the waits would add up to minutes.
        let piece = piece.map(|piece| piece.max(len / 40));
        let served = Odd { said: said.unwrap_or(len as u64), piece, seed, ..odd(len) }.serve();
        let mut client = connect(&served);
        let got = read(&mut client, offset, count).expect("nothing fails");
        // The connection is still good: all that was asked has been answered.
        prop_assert!(client.stat("f").is_ok());
        drop(client);
        let data = served.server.join().expect("the server is well").data;
        let from = data.len().min(offset as usize);
        let to = data.len().min(from.saturating_add(count as usize));
        prop_assert!(got == data[from..to], "{} bytes, not {}", got.len(), to - from);
    }

    #[test]
    fn a_write_is_the_bytes_whatever_the_order_of_the_replies(
        len in 0usize..6000, offset in 0u64..3000, count in 0usize..3000, seed: u64,
    ) {
        let served = Odd { seed, ..odd(len) }.serve();
        let mut client = connect(&served);
        let file = client.open("f", OWRITE).expect("it opens");
        let new = vec![0xee; count];
        let wrote = client.write(&file, offset, &mut new.as_slice());
        prop_assert!(client.stat("f").is_ok());
        drop(client);
        let mut want = pattern(len);
        let room = want.get_mut(offset as usize..).unwrap_or_default();
        let fits = room.len().min(count);
        room[..fits].fill(0xee);
        match wrote {
            Ok(wrote) => prop_assert!(wrote == count as u64 && fits == count),
            Err(Error::Full { offset: at, .. }) => {
                prop_assert!(at == offset + fits as u64 && fits < count);
            }
            Err(error) => prop_assert!(false, "{error}"),
        }
        prop_assert!(served.server.join().expect("the server is well").data == want);
    }
}

#[test]
fn requests_overlap_inside_the_length_and_nowhere_else() {
    let depth = |server: Odd| {
        let served = server.serve();
        let mut client = connect(&served);
        assert_eq!(read(&mut client, 0, u64::MAX).expect("nothing fails"), pattern(6000));
        drop(client);
        served.server.join().expect("the server is well").depth
    };
    assert_eq!(depth(odd(6000)), 6000usize.div_ceil(256 - 24));
    assert_eq!(depth(Odd { said: 0, ..odd(6000) }), 1);
}

#[test]
fn an_error_in_the_middle_comes_after_the_bytes_before_it() {
    let served = Odd { bad: Some(1000), seed: 3, ..odd(6000) }.serve();
    let mut client = connect(&served);
    let file = client.open("f", OREAD).expect("it opens");
    let mut data = Vec::new();
    let error = client.read(&file, 0, u64::MAX, &mut data).expect_err("byte 1000 is bad");
    assert_eq!(data, pattern(928), "four messages of 232 bytes");
    assert!(matches!(&error, Error::RefusedAt { offset: 928, ename, .. } if ename == "bad luck"));
    assert!(error.to_string().starts_with("f: bad luck at byte 928"), "{error}");

    let error = client.write(&file, 0, &mut pattern(2000).as_slice()).expect_err("it is still bad");
    assert!(matches!(error, Error::RefusedAt { offset: 928, .. }), "{error}");
    assert!(client.stat("f").is_ok(), "the connection is still good");
}

#[test]
fn a_walk_that_ends_early_is_told_by_the_servers_own_error() {
    let served = odd(10).serve();
    let mut client = connect(&served);
    let long = "name/".repeat(40);
    for path in ["missing", "a/b/missing", "a/missing/b", &format!("{long}missing/c")] {
        match client.stat(path) {
            Err(Error::Refused { path: told, ename }) => {
                assert_eq!((told.as_str(), ename.as_str()), (path, "no such luck"));
            }
            other => panic!("{path}: {other:?}"),
        }
    }
    assert_eq!(client.stat(&long).expect("40 names").length, 10);
}

#[test]
fn a_file_that_comes_while_it_is_looked_for_is_found() {
    let served = Odd { late: true, ..odd(10) }.serve();
    let mut client = connect(&served);
    assert_eq!(client.stat("a/missing/b/missing/c").expect("it is found").length, 10);
}

/// A name of which no Twalk can be made must not be sent, nor make the program panic.
#[test]
fn a_name_that_fits_no_message_is_refused_here() {
    let served = odd(10).serve();
    let mut client = connect(&served);
    for name in ["x".repeat(238), "x".repeat(70_000)] {
        let error = client.stat(&format!("a/{name}")).expect_err("no message holds it");
        assert!(error.to_string().ends_with("name too long"), "{error}");
    }
    assert!(client.stat(&"x".repeat(237)).is_ok());
}

/// The same for the names in an attach.
#[test]
fn a_tree_that_fits_no_message_is_refused_here() {
    let served = odd(10).serve();
    let tree = "x".repeat(70_000);
    let error = Client::connect(&served.addr, &tree, 1 << 20).expect_err("no message holds it");
    assert!(error.to_string().contains("too long"), "{error}");
}

#[test]
fn a_directory_is_read_as_one_and_a_file_is_not() {
    let served = odd(10).serve();
    let error = connect(&served).read_dir("f").expect_err("a file");
    assert_eq!(error.to_string(), "f: not a directory");
    let served = Odd { directory: true, ..odd(0) }.serve();
    let error = read(&mut connect(&served), 0, 1).expect_err("a directory");
    assert_eq!(error.to_string(), "f: is a directory; 'dsfs ls' lists it");
}

/// Junk where entries should be: here a pattern, which says that an entry is longer than it can be.
#[test]
fn entries_that_are_none_are_refused() {
    let served = Odd { directory: true, ..odd(100) }.serve();
    let error = connect(&served).read_dir("f").expect_err("no entries");
    assert!(error.to_string().contains("breaks the protocol"), "{error}");
}

#[test]
fn a_message_for_a_ctl_is_one_write_or_none() {
    let served = Odd { said: 0, ..odd(1000) }.serve();
    let mut client = connect(&served);
    let file = client.open("f", OWRITE).expect("it opens");
    client.write_message(&file, &[7; 232]).expect("it fits");
    let error = client.write_message(&file, &[8; 233]).expect_err("it does not fit");
    assert_eq!(error.to_string(), "f: a message of 233 bytes, and 232 is the most");
    drop(client);
    let server = served.server.join().expect("the server is well");
    assert!(server.data[..232] == [7; 232] && server.data[232..] == pattern(1000)[232..]);
}

#[test]
fn a_server_that_hangs_up_is_told_by_its_address() {
    let served = Odd { directory: true, ..odd(0) }.serve();
    let mut client = connect(&served);
    // The server has nothing for this, and panics.
    let error = client.remove("f").expect_err("the server is gone");
    assert!(matches!(error, Error::Lost { .. }), "{error}");
    assert!(error.to_string().contains(&served.addr.to_string()), "{error}");
    assert!(served.server.join().is_err());
}
