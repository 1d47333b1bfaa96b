//! Files: create, open, read, write, truncate, append, exclusive use, removal.

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::thread;
use std::time::Duration;

use styx::{Tmsg, dm, enames, omode, qt};

use crate::ops::{Node, Ops, only, refused};
use crate::support::client::Client;
use crate::support::program::Place;

const APPEND: u32 = dm::APPEND | 0o644;
const EXCL: u32 = dm::EXCL | 0o644;

#[test]
fn what_is_written_is_on_the_host_and_the_other_way_round() {
    let mut node = Node::start();
    let (fid, qid) = node.client.create("f", 0o644, omode::ORDWR).unwrap();
    assert_eq!(qid.kind, qt::FILE);
    assert_eq!(node.client.put(fid, 0, b"one two").unwrap(), 7);
    assert_eq!(fs::read(node.host("f")).unwrap(), b"one two");
    node.client.put(fid, 10_000, b"far").unwrap();
    let host = fs::read(node.host("f")).unwrap();
    assert_eq!((host.len(), &host[9_990..]), (10_003, &b"\0\0\0\0\0\0\0\0\0\0far"[..]));
    fs::OpenOptions::new().write(true).open(node.host("f")).unwrap().write_at(b"ONE", 0).unwrap();
    assert_eq!(node.client.get(fid, 0, 7).unwrap(), b"ONE two");
    assert_eq!(node.client.get(fid, 10_000, 100).unwrap(), b"far", "short at the end");
    assert_eq!(node.client.get(fid, 10_003, 100).unwrap(), b"");
    assert_eq!(node.client.get(fid, 3, 0).unwrap(), b"");
    assert_eq!(node.client.put(fid, 3, b"").unwrap(), 0);
    let entry = node.client.entry_of(fid).unwrap();
    let meta = node.host("f").metadata().unwrap();
    assert_eq!((entry.length, entry.mode), (10_003, 0o644));
    assert_eq!(u64::from(entry.mtime), meta.mtime() as u64);
    assert_eq!(entry.name, "f");
}

#[test]
fn offsets_reach_to_2_to_the_63() {
    let mut node = Node::start();
    let (fid, _) = node.client.create("f", 0o644, omode::ORDWR).unwrap();
    for power in [31, 32, 40, 43] {
        let offset = 1u64 << power;
        for at in [offset - 1, offset] {
            assert_eq!(node.client.put(fid, at, b"x").unwrap(), 1, "{at}");
            assert_eq!(node.client.get(fid, at, 9).unwrap(), b"x", "{at}");
            assert_eq!(node.client.entry_of(fid).unwrap().length, at + 1);
        }
    }
    let length = node.client.entry_of(fid).unwrap().length;
    let last = i64::MAX as u64;
    for at in [last - 1, last] {
        assert_eq!(node.client.get(fid, at, 100).unwrap(), b"", "{at}");
        assert_eq!(refused(node.client.put(fid, at, b"xyz")), "File too large", "{at}");
    }
    for at in [last + 1, u64::MAX - 1, u64::MAX] {
        assert_eq!(refused(node.client.get(fid, at, 1)), enames::ENEGOFF);
        assert_eq!(refused(node.client.put(fid, at, b"x")), enames::ENEGOFF);
    }
    for at in [last, last + 1, u64::MAX - 1] {
        let refused = refused(node.client.wstat_fid(fid, only(|stat| stat.length = at)));
        assert_eq!(refused, "File too large", "{at}");
    }
    assert_eq!(node.host("f").metadata().unwrap().len(), length);
}

#[test]
fn a_file_has_the_permissions_that_its_directory_allows_whatever_the_umask() {
    let mut node = Node::start();
    for dir in [0o777, 0o755, 0o700, 0o750, 0o2775] {
        let at = format!("d{dir:o}");
        fs::create_dir(node.host(&at)).unwrap();
        fs::set_permissions(node.host(&at), fs::Permissions::from_mode(dir)).unwrap();
        for perm in [0o666, 0o777, 0o644, 0o600, 0o444, 0o111, 0o000] {
            let (file, sub) = (format!("{at}/f{perm:o}"), format!("{at}/s{perm:o}"));
            node.client.make(&file, perm, b"x").unwrap();
            let (fid, _) = node.client.create(&sub, dm::DIR | perm, omode::OREAD).unwrap();
            node.client.clunk(fid).unwrap();
            let mode = |path: &str| node.host(path).metadata().unwrap().mode();
            assert_eq!(mode(&file) & 0o7777, perm & (!0o666 | dir & 0o666), "{file}");
            assert_eq!(mode(&sub) & 0o777, perm & (!0o777 | dir & 0o777), "{sub}");
            assert_eq!(mode(&sub) & 0o7000, dir & 0o7000, "{sub}: what the host gives it");
            let shown = node.client.entry(&file).unwrap().mode;
            assert_eq!(shown, node.host(&file).metadata().unwrap().mode() & 0o777);
        }
    }
}

#[test]
fn a_file_belongs_to_the_group_of_its_directory() {
    let mut node = Node::start();
    fs::create_dir(node.host("d")).unwrap();
    std::os::unix::fs::chown(node.host("d"), None, Some(4321)).expect("tests are run by root");
    node.client.make("d/f", 0o644, b"").unwrap();
    node.client.make_dir("d/s").unwrap();
    for path in ["d/f", "d/s"] {
        assert_eq!(node.host(path).metadata().unwrap().gid(), 4321);
        assert_eq!(node.client.entry(path).unwrap().gid, "4321", "it has no name");
    }
}

#[test]
fn what_exists_is_not_created() {
    let mut node = Node::start();
    fs::write(node.host("f"), "content").unwrap();
    fs::create_dir(node.host("d")).unwrap();
    std::os::unix::fs::symlink("nowhere", node.host("dangling")).unwrap();
    std::os::unix::fs::symlink("f", node.host("link")).unwrap();
    for name in ["f", "d", "link", "dangling"] {
        let file = node.client.create(name, 0o666, omode::OWRITE);
        assert_eq!(refused(file), enames::EEXIST, "{name}");
        assert_eq!(refused(node.client.make_dir(name)), enames::EEXIST, "{name}");
    }
    assert_eq!(fs::read(node.host("f")).unwrap(), b"content");
    assert!(!node.host("nowhere").exists());
    assert_eq!(refused(node.client.create("f/x", 0o666, omode::OWRITE)), enames::ENOTDIR);
}

#[test]
fn names_that_no_file_can_have_are_refused() {
    let mut node = Node::start();
    fs::write(node.host("f"), "").unwrap();
    let long = "x".repeat(256);
    let bad = |name: &str| format!("{}: {name}", enames::EBADCHAR);
    for (name, text) in [
        (".", enames::EFILENAME.to_string()),
        ("..", enames::EFILENAME.to_string()),
        ("a/b", bad("a/b")),
        ("../b", bad("../b")),
        ("a\nb", bad("'a\nb'")),
        (&long, enames::ENAMETOOLONG.to_string()),
    ] {
        let fid = node.client.go("").unwrap();
        let created = node.client.rpc(&Tmsg::Create { fid, name, perm: 0o666, mode: 0 });
        assert_eq!(refused(created), text, "{name:?}");
        assert_eq!(refused(node.client.rename("f", name)), text, "{name:?}");
        node.client.clunk(fid).unwrap();
    }
    let fid = node.client.go("").unwrap();
    let empty = node.client.rpc(&Tmsg::Create { fid, name: "", perm: 0o666, mode: 0 });
    assert_eq!(refused(empty), enames::EFILENAME);
    assert_eq!(refused(node.client.walk(0, 77, &["a/b"])), enames::ENONEXIST);
    assert_eq!(refused(node.client.walk(0, 77, &["../root/f"])), enames::ENONEXIST);
    assert_eq!(refused(node.client.walk(0, 77, &[&long])), enames::ENAMETOOLONG);
    let most = "y".repeat(255);
    node.client.make(&most, 0o644, b"long").unwrap();
    assert_eq!(fs::read(node.host(&most)).unwrap(), b"long");
    assert_eq!(node.client.names("").unwrap(), ["f", &most]);
}

#[test]
fn open_truncates_where_it_says_so_and_nowhere_else() {
    let mut node = Node::start();
    let ways = [omode::OREAD, omode::OWRITE, omode::ORDWR];
    for mode in ways.into_iter().flat_map(|way| [way, way | omode::OTRUNC]) {
        fs::write(node.host("f"), "content").unwrap();
        let (fid, _) = node.client.open("f", mode).unwrap();
        let left = if mode & omode::OTRUNC == 0 { "content" } else { "" };
        assert_eq!(fs::read_to_string(node.host("f")).unwrap(), left, "{mode:#x}");
        let can_read = mode & omode::ACCESS != omode::OWRITE;
        let can_write = mode & omode::ACCESS != omode::OREAD;
        assert_eq!(node.client.get(fid, 0, 9).is_ok(), can_read, "{mode:#x}");
        assert_eq!(node.client.put(fid, 0, b"c").is_ok(), can_write, "{mode:#x}");
        node.client.clunk(fid).unwrap();
    }
    for mode in [4, 8, 0x80, 0x0c | omode::OTRUNC] {
        assert_eq!(refused(node.client.open("f", mode)), enames::EBADARG, "{mode:#x}");
    }
}

#[test]
fn execution_needs_the_permission() {
    let mut node = Node::start();
    fs::write(node.host("f"), "#!").unwrap();
    assert_eq!(refused(node.client.open("f", omode::OEXEC)), enames::EPERM);
    fs::set_permissions(node.host("f"), fs::Permissions::from_mode(0o755)).unwrap();
    let (fid, _) = node.client.open("f", omode::OEXEC).unwrap();
    assert_eq!(node.client.get(fid, 0, 9).unwrap(), b"#!");
    assert_eq!(refused(node.client.put(fid, 0, b"x")), enames::EBADUSE);
    assert_eq!(refused(node.client.open("", omode::OEXEC)), enames::EEXECDIR);
}

#[test]
fn an_append_only_file_only_grows() {
    let mut node = Node::start();
    let (fid, qid) = node.client.create("log", APPEND, omode::ORDWR).unwrap();
    assert_eq!(qid.kind, qt::APPEND);
    let mut other = node.another();
    let (second, _) = other.open("log", omode::OWRITE | omode::OTRUNC).unwrap();
    node.client.put(fid, 0, b"one ").unwrap();
    other.put(second, 0, b"two ").unwrap();
    node.client.put(fid, i64::MAX as u64, b"three").unwrap();
    let (third, _) = other.open("log", omode::OREAD | omode::OTRUNC).unwrap();
    assert_eq!(other.get(third, 0, 99).unwrap(), b"one two three");
    assert_eq!(fs::read(node.host("log")).unwrap(), b"one two three");
    for length in [0, 3, 100] {
        let cut = node.client.wstat("log", only(|stat| stat.length = length));
        assert_eq!(refused(cut), enames::EPERM);
    }
    // The bit is the file's, wherever it goes, and whoever serves it.
    node.client.rename("log", "moved").unwrap();
    assert_eq!(node.client.entry("moved").unwrap().mode, APPEND);
    assert_eq!(node.client.ls(&[""; 0]).unwrap()[0].mode, APPEND);
    let place = node.restart(&[]);
    assert_eq!(place.client.entry("moved").unwrap().qid.kind, qt::APPEND);
    place.client.wstat("moved", only(|stat| stat.mode = 0o600)).unwrap();
    let (fid, qid) = place.client.open("moved", omode::OWRITE | omode::OTRUNC).unwrap();
    assert_eq!(qid.kind, qt::FILE);
    place.client.put(fid, 0, b"new").unwrap();
    assert_eq!(fs::read(place.host("moved")).unwrap(), b"new");
}

impl Node {
    /// Ends this server and starts another of the same directory.
    fn restart(&mut self, flags: &[&str]) -> &mut Node {
        let place = std::mem::replace(&mut self.place, Place::new());
        *self = Node::with(place, flags);
        self
    }
}

#[test]
fn appends_of_many_clients_are_whole() {
    let mut node = Node::start();
    node.client.make("log", APPEND, b"").unwrap();
    let dial = node.program.dial().to_string();
    let writers: Vec<_> = (0..4u8)
        .map(|number| {
            let dial = dial.clone();
            thread::spawn(move || {
                let mut client = Client::mount(&dial, 8216, "#U").unwrap();
                let (fid, _) = client.open("log", omode::OWRITE).unwrap();
                let line = [b'a' + number; 100];
                (0..50).for_each(|_| assert_eq!(client.put(fid, 0, &line).unwrap(), 100));
            })
        })
        .collect();
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    let all = fs::read(node.host("log")).unwrap();
    assert_eq!(all.len(), 4 * 50 * 100);
    assert!(all.chunks(100).all(|line| line.iter().all(|byte| *byte == line[0])));
}

#[test]
fn an_exclusive_use_file_is_open_once() {
    let mut node = Node::start();
    let (fid, qid) = node.client.create("lock", EXCL, omode::ORDWR).unwrap();
    assert_eq!(qid.kind, qt::EXCL);
    let mut other = node.another();
    for mode in [omode::OREAD, omode::OWRITE | omode::OTRUNC] {
        assert_eq!(refused(other.open("lock", mode)), enames::ELOCKED);
        assert_eq!(refused(node.client.open("lock", mode)), enames::ELOCKED, "nor by the same");
    }
    node.client.put(fid, 0, b"kept").unwrap();
    assert_eq!(other.entry("lock").unwrap().mode, EXCL, "it can be looked at");
    node.client.clunk(fid).unwrap();
    let (fid, _) = other.open("lock", omode::OREAD).unwrap();
    assert_eq!(other.get(fid, 0, 9).unwrap(), b"kept");
    assert_eq!(refused(node.client.open("lock", omode::OREAD)), enames::ELOCKED);
    drop(other);
    // The server sees that soon, but not before it is so.
    let opened = (0..100).find_map(|_| {
        thread::sleep(Duration::from_millis(10));
        node.client.open("lock", omode::OREAD).ok()
    });
    let (fid, _) = opened.expect("a client that is gone holds nothing");
    node.client.remove_fid(fid).unwrap();
    let (fid, _) = node.client.create("lock", EXCL, omode::OREAD).expect("a new one is not open");
    // An open that fails holds nothing either.
    node.client.clunk(fid).unwrap();
    assert_eq!(refused(node.client.open("lock", omode::OEXEC)), enames::EPERM);
    node.client.open("lock", omode::OREAD).unwrap();
}

#[test]
fn a_file_opened_to_be_removed_goes_with_its_fid() {
    let mut node = Node::start();
    for name in ["clunked", "hung up", "removed"] {
        let mode = omode::ORDWR | omode::ORCLOSE;
        let mut other = node.another();
        let (fid, _) = other.create(name, 0o644, mode).unwrap();
        other.put(fid, 0, b"x").unwrap();
        assert!(node.host(name).exists());
        match name {
            "clunked" => other.clunk(fid).unwrap(),
            "removed" => other.remove_fid(fid).unwrap(),
            _ => {
                drop(other);
                let gone = (0..100).any(|_| {
                    thread::sleep(Duration::from_millis(10));
                    !node.host(name).exists()
                });
                assert!(gone, "{name}");
            }
        }
        assert!(!node.host(name).exists(), "{name}: gone when the reply comes");
        assert_eq!(refused(node.client.entry(name)), enames::ENONEXIST);
    }
    fs::write(node.host("f"), "old").unwrap();
    let (fid, _) = node.client.open("f", omode::OREAD | omode::ORCLOSE).unwrap();
    node.client.rename("f", "g").unwrap();
    fs::write(node.host("f"), "another").unwrap();
    node.client.clunk(fid).unwrap();
    assert_eq!(node.client.names("").unwrap(), ["f"], "the one that was opened is gone");
    // One that is gone already can't go; the fid does.
    let (fid, _) = node.client.open("f", omode::OREAD | omode::ORCLOSE).unwrap();
    fs::remove_file(node.host("f")).unwrap();
    assert_eq!(refused(node.client.clunk(fid)), enames::ENONEXIST);
    assert_eq!(refused(node.client.clunk(fid)), enames::EUNKNOWNFID);
    fs::create_dir(node.host("d")).unwrap();
    assert_eq!(refused(node.client.open("d", omode::ORCLOSE)), enames::EPERM);
}

#[test]
fn a_removed_file_can_still_be_used_by_who_has_it_open() {
    let mut node = Node::start();
    node.client.make("f", 0o644, b"content").unwrap();
    let (fid, _) = node.client.open("f", omode::ORDWR).unwrap();
    let walked = node.client.go("f").unwrap();
    let mut other = node.another();
    other.remove("f").unwrap();
    assert!(!node.host("f").exists());
    other.make("f", 0o644, b"another").unwrap();
    node.client.put(fid, 0, b"CON").unwrap();
    assert_eq!(node.client.get(fid, 0, 9).unwrap(), b"CONtent");
    assert_eq!(node.client.entry_of(fid).unwrap().length, 7);
    node.client.wstat_fid(fid, only(|stat| stat.length = 3)).unwrap();
    assert_eq!(node.client.get(fid, 0, 9).unwrap(), b"CON");
    for outcome in [
        node.client.open_fid(walked, omode::OREAD).map(drop),
        node.client.entry_of(walked).map(drop),
        node.client.wstat_fid(walked, only(|stat| stat.mode = 0o600)),
        node.client.wstat_fid(fid, only(|stat| stat.name = "g")),
        node.client.remove_fid(walked),
        node.client.remove_fid(fid),
    ] {
        assert_eq!(refused(outcome), enames::ENONEXIST);
    }
    assert_eq!(fs::read(node.host("f")).unwrap(), b"another");
}

#[test]
fn what_the_host_can_not_do_is_told_in_its_words() {
    let mut node = Node::start();
    fs::create_dir(node.host("d")).unwrap();
    fs::write(node.host("d/f"), "").unwrap();
    assert_eq!(refused(node.client.remove("d")), "Directory not empty");
    assert_eq!(refused(node.client.entry("nope")), enames::ENONEXIST);
    assert_eq!(refused(node.client.walk(0, 9, &["nope", "x"])), enames::ENONEXIST);
    let reply = node.client.walk(0, 9, &["d", "f", "x"]).unwrap();
    assert!(format!("{:?}", reply.msg()).matches("path").count() == 2, "{reply:?}");
    let fid = node.client.go("d/f").unwrap();
    assert_eq!(refused(node.client.walk(fid, 9, &["x"])), enames::ENOTDIR);
    assert_eq!(refused(node.client.walk(fid, 9, &[".."])), enames::ENOTDIR);
    node.client.remove("d/f").unwrap();
    node.client.remove("d").unwrap();
    assert!(!node.host("d").exists());
}
