//! What real clients do that a test client would not think of, over real sockets: each is named after
//! the client that does it. The clients themselves are in `tests/clients` and `inferno`.

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use styx::server::MAX_MSIZE;
use styx::{IOHDRSZ, NOFID, Rmsg, Stat, Tmsg, VERSION, omode};
use support::client::{Client, Failure, MSIZE, Outcome};
use support::program::{Place, Program, Serve};
use support::text::pattern;

/// Two files of this many bytes each.
const CHUNK: usize = 8192;

struct Server {
    program: Program,
    _place: Place,
}

fn start(options: &[&str]) -> Server {
    let place = Place::new();
    for name in ["a", "b"] {
        std::fs::write(place.root().join(name), pattern(1, CHUNK)).expect("a new file");
    }
    let serve = Serve::on("tcp!127.0.0.1!0").option("--root", place.root());
    let program = options.iter().fold(serve, |serve, option| serve.flag(option)).start();
    Server { program, _place: place }
}

impl Server {
    fn mount(&self, aname: &str) -> Client {
        Client::mount(self.program.dial(), MSIZE, aname).expect("the server is there")
    }

    /// What it sends to a client that sends this and then waits.
    fn greets(&self, pieces: &[&[u8]]) -> String {
        let address = self.program.dial().trim_start_matches("tcp!").replace('!', ":");
        let mut stream = TcpStream::connect(address).expect("the server is there");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
        for piece in pieces {
            stream.write_all(piece).expect("the server reads");
            std::thread::sleep(Duration::from_millis(20));
        }
        let mut said = String::new();
        stream.read_to_string(&mut said).expect("the server answers and hangs up");
        let _ = stream.shutdown(Shutdown::Both);
        said
    }
}

fn wstat(client: &mut Client, path: &[&str], stat: &Stat<'_>) -> Outcome<()> {
    let mut entry = Vec::new();
    stat.encode(&mut entry);
    client.on(path, |client, fid| client.rpc(&Tmsg::Wstat { fid, stat: &entry }).map(drop))
}

fn refused<T: std::fmt::Debug>(outcome: Outcome<T>) -> String {
    match outcome {
        Err(Failure::Error(ename)) => ename,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn inferno_mount_without_a_is_told_what_to_do() {
    let server = start(&[]);
    let text = "this server wants no authentication: use mount -A";
    let want = format!("!{:03}\n{text}", text.len());
    assert_eq!(server.greets(&[b"0001\n1"]), want);
    assert_eq!(server.greets(&[b"0001"]), want);
    assert_eq!(server.greets(&[b"00", b"01\n1"]), want);
    // Nobody else is.
    assert_eq!(server.greets(&[b"GET / HTTP/1.0\r\n\r\n"]), "");
    let mut client = server.mount("");
    client.send(b"0001\n1").expect("the server reads");
    assert!(matches!(client.receive(), Err(Failure::Closed)));
}

#[test]
fn plan9_attaches_with_the_fid_of_its_refused_tauth() {
    let server = start(&[]);
    let mut client = Client::dial(server.program.dial()).expect("the server is there");
    client.version(8216, VERSION).expect("a version");
    let auth = Tmsg::Auth { afid: 188, uname: "glenda", aname: "" };
    assert_eq!(refused(client.rpc(&auth)), "authentication not required");
    let attach = Tmsg::Attach { fid: 188, afid: NOFID, uname: "glenda", aname: "" };
    client.rpc(&attach).expect("it is vacant");
}

#[test]
fn every_version_and_msize_that_clients_ask_for_is_agreed_to() {
    let server = start(&[]);
    for version in ["9P2000", "9P2000.u", "9P2000.L"] {
        for (wanted, agreed) in
            [(256, 256), (8216, 8216), (65560, 65560), (MAX_MSIZE, MAX_MSIZE), (!0, MAX_MSIZE)]
        {
            let mut client = Client::dial(server.program.dial()).expect("the server is there");
            let answer = client.version(wanted, version).expect("a version");
            assert_eq!(answer, (agreed, VERSION.to_string()), "{version} {wanted}");
            let attach = Tmsg::Attach { fid: 0, afid: NOFID, uname: "nobody", aname: "" };
            client.rpc(&attach).expect("an attach");
            let fid = client.walk_to(&["ctl"]).expect("ctl is there");
            let opened = client.rpc(&Tmsg::Open { fid, mode: omode::ORDWR }).expect("it opens");
            let Rmsg::Open { iounit, .. } = opened.msg() else { unreachable!() };
            assert_eq!(iounit, agreed - IOHDRSZ);
        }
    }
}

#[test]
fn linux_truncates_by_a_wstat_beside_its_open() {
    let server = start(&[]);
    let mut client = server.mount("");
    client.write(&["ctl"], 0, b"cat c0 a b").expect("a device");
    let truncation = Stat { length: 0, mtime: 1_700_000_000, ..Stat::DONT_TOUCH };
    for file in ["ctl", "c0"] {
        wstat(&mut client, &[file], &truncation).expect(file);
        wstat(&mut client, &[file], &Stat { mtime: !0, ..truncation }).expect(file);
        let other = Stat { length: 5, ..truncation };
        assert_eq!(refused(wstat(&mut client, &[file], &other)), "permission denied");
        let touch = Stat { mtime: 5, ..Stat::DONT_TOUCH };
        assert_eq!(refused(wstat(&mut client, &[file], &touch)), "permission denied");
    }
    assert_eq!(client.stat(&["c0"]).expect("it is there").length, 2 * CHUNK as u64);
    assert_eq!(client.read(&["c0"], 0, 100), Ok(pattern(1, 100)));
    assert_eq!(refused(wstat(&mut client, &[], &truncation)), "permission denied");
    let mut admin = server.mount("admin");
    wstat(&mut admin, &["ctl"], &truncation).expect("the other ctl");
    assert_eq!(refused(wstat(&mut admin, &["log"], &truncation)), "permission denied");

    let server = start(&["--read-only"]);
    let mut client = server.mount("");
    assert_eq!(refused(wstat(&mut client, &["ctl"], &truncation)), "read-only file server");
}

#[test]
fn linux_repeats_a_write_that_takes_nothing_until_it_is_told_why() {
    let server = start(&[]);
    let mut client = server.mount("");
    client.write(&["ctl"], 0, b"cat c0 a b").expect("a device");
    let end = 2 * CHUNK as u64;
    client
        .on_open(&["c0"], Some(omode::ORDWR), |client, fid| {
            let mut write =
                |offset, data: &[u8]| match client.rpc(&Tmsg::Write { fid, offset, data })?.msg() {
                    Rmsg::Write { count } => Ok(count),
                    _ => unreachable!(),
                };
            for _ in 0..2 {
                assert_eq!(write(end - 10, b"more than ten bytes"), Ok(10));
                for times in 0..16 {
                    assert_eq!(write(end, b"rest"), Ok(0), "time {times}");
                }
                let full = || Failure::Error("No space left on device".into());
                assert_eq!(write(end, b"rest"), Err(full()));
                assert_eq!(write(end, b"rest"), Err(full()));
            }
            // Who goes on elsewhere, or writes nothing, is not told so.
            for offset in end + 1..end + 40 {
                assert_eq!(write(offset, b"rest"), Ok(0));
                assert_eq!(write(offset, b""), Ok(0));
            }
            Ok(())
        })
        .expect("c0 opens");
}

#[test]
fn the_version_of_a_qid_moves_with_every_change() {
    let server = start(&[]);
    let mut client = server.mount("");
    client.write(&["ctl"], 0, b"cat c0 a b").expect("a device");
    client.write(&["ctl"], 0, b"part p0 /ds/c0 0 10").expect("a device on it");
    let mut version = |path: &[&str]| client.stat(path).expect("it is there").qid.vers;
    let before = [version(&[]), version(&["ctl"]), version(&["c0"])];
    let mut other = server.mount("#k");
    other.write(&["ds", "ctl"], 0, b"part p1 a 0 10").expect("another device");
    other.write(&["ds", "c0"], 0, b"x").expect("it is written");
    let after = [version(&[]), version(&["ctl"]), version(&["c0"])];
    for (name, (before, after)) in
        ["the directory", "ctl", "c0"].iter().zip(before.iter().zip(after))
    {
        assert_ne!(*before, after, "{name}");
    }
    let before = [version(&["p1"]), version(&["p0"])];
    other.write(&["ds", "c0"], 0, b"y").expect("it is written");
    let after = [version(&["p1"]), version(&["p0"])];
    assert_ne!(before[0], after[0], "a device with a file in common");
    assert_ne!(before[1], after[1], "a device on it");
    let before = version(&["c0"]);
    other.read(&["ds", "c0"], 0, 10).expect("it is read");
    assert_eq!(version(&["c0"]), before, "a read is no change");
}

#[test]
fn a_walk_of_more_than_16_names_goes_in_steps() {
    let server = start(&[]);
    let mut client = server.mount("#k");
    let steps = ["ds", ".."].repeat(8);
    let reply = client.walk(0, 7, &steps).expect("16 names");
    let Rmsg::Walk { qids } = reply.msg() else { unreachable!() };
    assert_eq!(qids.len(), 16);
    client.walk(7, 7, &steps).expect("and 16 more, to the same fid");
    client.walk(7, 8, &["ds", "ctl"]).expect("and two");
    client.rpc(&Tmsg::Open { fid: 8, mode: omode::OREAD }).expect("ctl opens");
    assert_eq!(client.walk(7, 9, &["ds"; 17]).err(), Some(Failure::Closed));
}

#[test]
fn linux_names_its_user_when_it_renames() {
    let server = start(&["--export"]);
    let mut client = server.mount("#U");
    wstat(&mut client, &["a"], &Stat { name: "c", muid: "nobody", ..Stat::DONT_TOUCH })
        .expect("it is renamed");
    client.stat(&["c"]).expect("it has the new name");
    let muid = Stat { muid: "nobody", ..Stat::DONT_TOUCH };
    assert_eq!(refused(wstat(&mut client, &["c"], &muid)), "permission denied");
}
