//! The examples at work: cat, and a few requests more, against ramfs over TCP.

#[allow(dead_code, reason = "its main is the program's")]
#[path = "../examples/cat.rs"]
mod cat;
#[allow(dead_code, reason = "its main is the program's")]
#[path = "../examples/ramfs.rs"]
mod ramfs;

use std::net::{SocketAddr, TcpListener};
use std::thread;

use cat::Server;
use styx::{NOFID, Rmsg, Stat, Tmsg, dm, enames, omode};

/// A server on a port of its own, for as long as the test runs.
fn ramfs() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || ramfs::serve(&listener));
    address
}

fn printed(address: SocketAddr, path: &str) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    cat::cat(address, path, &mut out).map_err(|error| error.to_string())?;
    Ok(out)
}

/// What a request comes to, in words; a fid that it was about is clunked.
fn ask(server: &mut Server, message: &Tmsg<'_>) -> String {
    match server.ask(message) {
        Ok(reply) => format!("{reply:?}").split([' ', '{']).next().unwrap().to_owned(),
        Err(error) => error.to_string(),
    }
}

/// Makes a file or a directory, as fid 2, with something in it.
fn create(server: &mut Server, dir: &str, name: &str, perm: u32, data: &[u8]) -> String {
    server.walk(2, dir).expect("the directory is there");
    let mode = if perm & dm::DIR == 0 { omode::ORDWR } else { omode::OREAD };
    let mut made = ask(server, &Tmsg::Create { fid: 2, name, perm, mode });
    for (part, nth) in data.chunks(8000).zip(0..) {
        let offset = nth * 8000;
        let write = Tmsg::Write { fid: 2, offset, data: part };
        assert_eq!(server.ask(&write).unwrap(), Rmsg::Write { count: part.len() as u32 });
        made = "Create".into();
    }
    server.ask(&Tmsg::Clunk { fid: 2 }).expect("it was walked to");
    made
}

/// Walks to a file as fid 2, and asks something that ends with it.
fn at(server: &mut Server, path: &str, message: &Tmsg<'_>) -> String {
    if let Err(error) = server.walk(2, path) {
        return error.to_string();
    }
    let heard = ask(server, message);
    // After a Tremove there is none any more.
    let _ = server.ask(&Tmsg::Clunk { fid: 2 });
    heard
}

fn wstat(server: &mut Server, path: &str, stat: &Stat<'_>) -> String {
    let mut entry = Vec::new();
    stat.encode(&mut entry);
    at(server, path, &Tmsg::Wstat { fid: 2, stat: &entry })
}

/// The names in a directory, and their lengths.
fn ls(server: &mut Server, path: &str) -> Vec<(String, u64)> {
    server.walk(2, path).expect("it is there");
    server.ask(&Tmsg::Open { fid: 2, mode: omode::OREAD }).expect("it can be read");
    let (mut entries, mut offset) = (Vec::new(), 0);
    // A count with room for one entry at a time.
    while let Rmsg::Read { data } =
        server.ask(&Tmsg::Read { fid: 2, offset, count: 100 }).expect("entries")
    {
        if data.is_empty() {
            break;
        }
        offset += data.len() as u64;
        let (stat, _) = Stat::decode_first(data).expect("an entry");
        entries.push((stat.name.to_owned(), stat.length));
    }
    server.ask(&Tmsg::Clunk { fid: 2 }).expect("it was walked to");
    entries
}

#[test]
fn cat_prints_what_ramfs_holds() {
    let address = ramfs();
    let server = &mut Server::attach(address).expect("a server");
    let long: Vec<u8> = (0..50_000u32).map(|n| (n ^ (n >> 8)) as u8).collect();
    assert_eq!(create(server, "/", "long", 0o644, &long), "Create");
    assert_eq!(create(server, "/", "empty", 0o644, b""), "Create");
    assert_eq!(create(server, "/", "d", dm::DIR | 0o755, b""), "Create");
    assert_eq!(create(server, "/d", "f", 0o644, b"deep\n"), "Create");

    assert_eq!(printed(address, "long"), Ok(long));
    assert_eq!(printed(address, "/empty"), Ok(vec![]));
    assert_eq!(printed(address, "d/f"), Ok(b"deep\n".to_vec()));
    assert_eq!(printed(address, "/d/../d//f"), Ok(b"deep\n".to_vec()));
    assert_eq!(printed(address, "nope"), Err(enames::ENONEXIST.into()));
    assert_eq!(printed(address, "d/nope"), Err(enames::ENONEXIST.into()));
    assert_eq!(printed(address, "d/f/.."), Err(enames::ENONEXIST.into()));
}

#[test]
fn a_path_of_many_names_takes_many_walks() {
    let address = ramfs();
    let server = &mut Server::attach(address).expect("a server");
    let mut path = String::new();
    for _ in 0..40 {
        assert_eq!(create(server, &path, "d", dm::DIR | 0o777, b""), "Create");
        path.push_str("/d");
    }
    assert_eq!(create(server, &path, "f", 0o666, b"deep"), "Create");
    assert_eq!(printed(address, &format!("{path}/f")), Ok(b"deep".to_vec()));
    assert_eq!(printed(address, &format!("{path}/d/f")), Err(enames::ENONEXIST.into()));
}

#[test]
fn files_are_made_listed_changed_and_removed() {
    let address = ramfs();
    let server = &mut Server::attach(address).expect("a server");
    assert_eq!(create(server, "/", "a", 0o666, b"0123456789"), "Create");
    assert_eq!(create(server, "/", "d", dm::DIR | 0o777, b""), "Create");
    assert_eq!(create(server, "/d", "b", 0o666, b"x"), "Create");
    assert_eq!(create(server, "/", "a", 0o666, b""), enames::EEXIST);
    assert_eq!(create(server, "/a", "b", 0o666, b""), enames::ENOTDIR);
    for name in ["", ".", "..", "x/y"] {
        assert_eq!(create(server, "/", name, 0o666, b""), enames::EFILENAME);
    }
    assert_eq!(ls(server, "/"), [("a".into(), 10), ("d".into(), 0)]);

    let stat = Stat::DONT_TOUCH;
    assert_eq!(wstat(server, "a", &stat), "Wstat");
    assert_eq!(wstat(server, "a", &Stat { length: 4, ..stat }), "Wstat");
    assert_eq!(printed(address, "a"), Ok(b"0123".to_vec()));
    assert_eq!(wstat(server, "a", &Stat { length: 6, name: "c", ..stat }), "Wstat");
    assert_eq!(printed(address, "c"), Ok(b"0123\0\0".to_vec()));
    assert_eq!(printed(address, "a"), Err(enames::ENONEXIST.into()));
    assert_eq!(wstat(server, "c", &Stat { name: "d", length: 0, ..stat }), enames::EEXIST);
    assert_eq!(wstat(server, "c", &Stat { uid: "me", length: 0, ..stat }), enames::EPERM);
    assert_eq!(wstat(server, "d", &Stat { length: 0, ..stat }), enames::EPERM);
    assert_eq!(wstat(server, "/", &Stat { name: "r", ..stat }), enames::EPERM);
    assert_eq!(printed(address, "c"), Ok(b"0123\0\0".to_vec()), "all of it or nothing");

    let remove = Tmsg::Remove { fid: 2 };
    assert_eq!(at(server, "d", &remove), "directory not empty");
    assert_eq!(at(server, "/", &remove), enames::EPERM);
    assert_eq!(at(server, "d/b", &remove), "Remove");
    assert_eq!(at(server, "d", &remove), "Remove");
    assert_eq!(ls(server, "/"), [("c".into(), 6)]);

    assert_eq!(
        at(server, "c", &Tmsg::Open { fid: 2, mode: omode::OREAD | omode::ORCLOSE }),
        "Open"
    );
    assert_eq!(ls(server, "/"), []);
}

#[test]
fn clients_see_each_other_and_no_message_ends_the_server() {
    let address = ramfs();
    let (mut one, mut two) = (Server::attach(address).unwrap(), Server::attach(address).unwrap());
    assert_eq!(create(&mut one, "/", "f", 0o666, b"1"), "Create");
    two.walk(1, "f").expect("the other made it");
    assert_eq!(ask(&mut two, &Tmsg::Open { fid: 1, mode: omode::ORDWR | omode::OTRUNC }), "Open");
    assert_eq!(printed(address, "f"), Ok(vec![]));
    let write = Tmsg::Write { fid: 1, offset: i64::MAX as u64, data: b"x" };
    assert_eq!(ask(&mut two, &write), "file too big");
    let write = Tmsg::Write { fid: 1, offset: 2, data: b"x" };
    assert_eq!(ask(&mut two, &write), "Write");
    assert_eq!(printed(address, "f"), Ok(b"\0\0x".to_vec()));
    assert_eq!(ask(&mut two, &Tmsg::Read { fid: 1, offset: i64::MAX as u64, count: 9 }), "Read");

    // A file that is removed while another client has it open is gone for both.
    assert_eq!(at(&mut one, "f", &Tmsg::Remove { fid: 2 }), "Remove");
    assert_eq!(ask(&mut two, &Tmsg::Read { fid: 1, offset: 0, count: 9 }), enames::ENONEXIST);
    assert_eq!(ask(&mut two, &Tmsg::Stat { fid: 1 }), enames::ENONEXIST);
    assert_eq!(ask(&mut two, &Tmsg::Clunk { fid: 1 }), "Clunk");
    let afid = Tmsg::Attach { fid: 9, afid: 8, uname: "me", aname: "" };
    assert_eq!(ask(&mut two, &afid), enames::ENOAUTH);
    let attach = Tmsg::Attach { fid: 9, afid: NOFID, uname: "me", aname: "" };
    assert_eq!(ask(&mut two, &attach), "Attach");
}
