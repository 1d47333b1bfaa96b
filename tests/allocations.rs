//! A Tread and a Twrite on local files take no memory once a connection is warm: not on the way
//! through session, tree, devices and transfers, and not in the event loop either.

#[path = "support/in_process.rs"]
mod in_process;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;

use allocation_counter::measure;
use dsfs::command::serve::Options;
use dsfs::dial::{Addr, Host};
use in_process::{InProcess, reads, writes};
use styx::{NOFID, NOTAG, Rmsg, Tmsg, UpTo16, VERSION, omode};

/// A plain file; a mirror; parts of it put together again, three deep.
const DEVICES: &[&str] = &[
    "cat plain /f",
    "mirror mirror /f /g",
    "part p0 /f 0 32768",
    "part p1 /f 32768 32768",
    "inter i0 ds/p0 ds/p1",
    "cat deep ds/i0 /g",
];

const NAMES: [&str; 3] = ["plain", "mirror", "deep"];

/// Room for some whole blocks of an inter in each file.
const FILE_BYTES: usize = 65536;

/// One block of an inter, and several, so that a transfer has one piece, and more.
const COUNTS: [usize; 2] = [4096, 20_000];

const FID: u32 = 2;

fn root() -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a temporary directory");
    for name in ["f", "g"] {
        fs::write(root.path().join(name), vec![7; FILE_BYTES]).expect("a file can be written");
    }
    root
}

fn offsets() -> impl Iterator<Item = u64> {
    (0..10).map(|n| n * 4096)
}

#[test]
fn no_read_or_write_on_the_way_to_the_file_allocates() {
    let root = root();
    for name in NAMES {
        let mut client = InProcess::new(root.path(), DEVICES);
        client.open(name, FID, omode::ORDWR);
        for count in COUNTS {
            let data = vec![9; count];
            let writes = writes(FID, &data, offsets());
            let reads = reads(FID, count as u32, offsets());
            let mut all = || {
                for frame in writes.iter().chain(&reads) {
                    client.send(frame);
                }
                assert!(client.replies.len() > reads.len() * count, "every read had its bytes");
                client.replies.clear();
            };
            // The first time takes the memory that the others use.
            all();
            let taken = measure(all);
            assert_eq!(taken.count_total, 0, "{count} bytes of {name}: {taken:?}");
        }
    }
}

/// Its text may be megabytes, and whoever reads it a byte at a time must not have all of it put together
/// each time.
#[test]
fn no_read_of_ctl_puts_its_text_together_again() {
    let root = root();
    let mut client = InProcess::new(root.path(), DEVICES);
    client.open("ctl", FID, omode::OREAD);
    let reads = reads(FID, 1, 0..20);
    let mut all = || {
        reads.iter().for_each(|frame| client.send(frame));
        client.replies.clear();
    };
    all();
    assert_eq!(measure(all).count_total, 0);
}

/// A client of a server that runs on a thread of its own.
struct Wire(TcpStream);

impl Wire {
    fn ask(&mut self, message: &Tmsg<'_>) {
        let tag = if matches!(message, Tmsg::Version { .. }) { NOTAG } else { 1 };
        let mut frame = Vec::new();
        message.encode(tag, &mut frame);
        self.0.write_all(&frame).expect("the server reads");
        let mut reply = vec![0; 4];
        self.0.read_exact(&mut reply).expect("the server answers");
        let len = u32::from_le_bytes([reply[0], reply[1], reply[2], reply[3]]) as usize;
        reply.resize(len, 0);
        self.0.read_exact(&mut reply[4..]).expect("the server answers");
        match Rmsg::decode(&reply) {
            Ok((_, Rmsg::Error { ename })) => panic!("{message:?}: {ename}"),
            Ok(_) => {}
            Err(error) => panic!("{error}"),
        }
    }

    fn open(&mut self, name: &str, fid: u32, mode: u8) {
        let names = UpTo16::from_slice(&[name]).expect("one name");
        self.ask(&Tmsg::Walk { fid: 0, newfid: fid, names });
        self.ask(&Tmsg::Open { fid, mode });
    }
}

/// How often the server's thread allocates while it serves this many reads and writes, and all that
/// comes before and after them.
fn allocations_of_a_server(root: &Path, name: &str, count: usize, requests: u64) -> u64 {
    let root = PathBuf::from(root);
    let (tell, told) = mpsc::channel();
    let server = thread::spawn(move || {
        let addr = Addr::Tcp { host: Host::Name("127.0.0.1".into()), port: 0 };
        let server = Options::on(addr, &root).bind().expect("the server starts");
        tell.send((server.addresses(), server.stopper())).expect("the test waits");
        measure(|| server.run().expect("the server runs")).count_total
    });
    let (addresses, stopper) = told.recv().expect("the server starts");
    let Some(Addr::Tcp { port, .. }) = addresses.first() else { panic!("it listens on TCP") };
    let mut wire = Wire(TcpStream::connect(("127.0.0.1", *port)).expect("it listens"));
    wire.ask(&Tmsg::Version { msize: 65536, version: VERSION });
    wire.ask(&Tmsg::Attach { fid: 0, afid: NOFID, uname: "inferno", aname: "" });
    wire.open("ctl", 1, omode::OWRITE);
    for message in DEVICES {
        wire.ask(&Tmsg::Write { fid: 1, offset: 0, data: message.as_bytes() });
    }
    wire.open(name, FID, omode::ORDWR);
    let data = vec![5; count];
    for request in 0..requests {
        let offset = request % 10 * 4096;
        wire.ask(&Tmsg::Write { fid: FID, offset, data: &data });
        wire.ask(&Tmsg::Read { fid: FID, offset, count: count as u32 });
    }
    drop(wire);
    stopper.stop().expect("the server is there");
    server.join().expect("the server's thread ends")
}

#[test]
fn a_server_allocates_as_often_for_many_requests_as_for_few() {
    let root = root();
    for name in NAMES {
        for count in COUNTS {
            let few = allocations_of_a_server(root.path(), name, count, 100);
            let many = allocations_of_a_server(root.path(), name, count, 1000);
            // Whether the end of the connection or the order to end is seen first is chance.
            let more = many.saturating_sub(few);
            assert!(more < 5, "{count} bytes of {name}: {few} and {many} allocations");
        }
    }
}
