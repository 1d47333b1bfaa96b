//! Directories: what is in them, how they are read, how deep they go.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use styx::{Rmsg, Tmsg, dm, enames, omode, qt};

use crate::ops::{Node, Ops, refused};
use crate::support::client::{Entry, Reply};

#[test]
fn a_listing_is_what_the_host_lists() {
    let mut node = Node::start();
    fs::create_dir(node.host("sub")).unwrap();
    fs::create_dir(node.host("dir")).unwrap();
    for number in 0..300 {
        fs::write(node.host(&format!("dir/file number {number}")), vec![b'x'; number]).unwrap();
    }
    fs::set_permissions(node.host("dir/file number 7"), fs::Permissions::from_mode(0o640)).unwrap();
    for path in ["", "dir", "sub"] {
        let entries = node.client.ls(&crate::ops::names_of(path)).unwrap();
        assert_eq!(entries.len(), fs::read_dir(node.host(path)).unwrap().count(), "{path}");
        for entry in entries {
            let at =
                if path.is_empty() { entry.name.clone() } else { format!("{path}/{}", entry.name) };
            let meta = node.host(&at).metadata().unwrap();
            let dir = if meta.is_dir() { dm::DIR } else { 0 };
            assert_eq!(entry.mode, dir | meta.mode() & 0o777, "{at}");
            assert_eq!(entry.length, if meta.is_dir() { 0 } else { meta.len() }, "{at}");
            assert_eq!(i64::from(entry.mtime), meta.mtime(), "{at}");
            assert_eq!(i64::from(entry.atime), meta.atime(), "{at}");
            assert_eq!((entry.uid.as_str(), entry.gid.as_str()), ("root", "root"), "{at}");
            assert_eq!(entry.qid.kind, if meta.is_dir() { qt::DIR } else { qt::FILE });
            assert_eq!(entry, node.client.entry(&at).unwrap(), "a stat says the same");
        }
    }
}

#[test]
fn a_directory_is_read_in_order_or_from_the_start() {
    let mut node = Node::start();
    (0..100).for_each(|number| fs::write(node.host(&format!("f{number}")), "").unwrap());
    let (fid, _) = node.client.open("", omode::OREAD).unwrap();
    let first = node.client.get(fid, 0, 1000).unwrap();
    let second = node.client.get(fid, first.len() as u64, 1000).unwrap();
    assert_ne!(first, second);
    for offset in [1, first.len() as u64, u64::from(u32::MAX)] {
        assert_eq!(refused(node.client.get(fid, offset, 1000)), enames::EDIRSEEK);
    }
    assert_eq!(node.client.get(fid, 0, 1000).unwrap(), first, "rewound");
    assert_eq!(node.client.get(fid, first.len() as u64, 1000).unwrap(), second);
    assert_eq!(
        refused(node.client.get(fid, (first.len() + second.len()) as u64, 10)),
        enames::EDIRCOUNT
    );
    assert_eq!(node.client.get(fid, (first.len() + second.len()) as u64, 0).unwrap(), b"");
    let third = node.client.get(fid, (first.len() + second.len()) as u64, 1000).unwrap();
    assert!(!third.is_empty(), "a count too small has lost nothing");
    assert_eq!(refused(node.client.put(fid, 0, b"x")), enames::EBADUSE);
}

#[test]
fn a_listing_has_what_is_there_throughout_once_whatever_comes_and_goes() {
    let mut node = Node::start();
    let steady: Vec<String> = (0..500).map(|number| format!("steady{number}")).collect();
    steady.iter().for_each(|name| fs::write(node.host(name), "").unwrap());
    (0..500).for_each(|number| fs::write(node.host(&format!("goes{number}")), "").unwrap());
    let (fid, _) = node.client.open("", omode::OREAD).unwrap();
    let (mut seen, mut offset) = (Vec::new(), 0);
    for turn in 0.. {
        let data = node.client.get(fid, offset, 2000).unwrap();
        offset += data.len() as u64;
        if data.is_empty() {
            break;
        }
        seen.extend(Entry::all(&data).unwrap().into_iter().map(|entry| entry.name));
        for number in 10 * turn..10 * turn + 10 {
            let _ = fs::remove_file(node.host(&format!("goes{number}")));
            fs::write(node.host(&format!("comes{number}")), "").unwrap();
        }
    }
    let mut told: Vec<_> = seen.iter().filter(|name| name.starts_with("steady")).collect();
    told.sort();
    let mut all: Vec<_> = steady.iter().collect();
    all.sort();
    assert_eq!(told, all);
}

/// A flushed read of a directory is as if it had never been asked: the same offset is read again.
#[test]
fn a_flushed_read_of_a_directory_loses_nothing() {
    let mut node = Node::start();
    (0..500).for_each(|number| fs::write(node.host(&format!("f{number}")), "").unwrap());
    let all = node.client.names("").unwrap();
    let (fid, _) = node.client.open("", omode::OREAD).unwrap();
    let (mut names, mut offset) = (Vec::new(), 0u64);
    loop {
        let mut frame = Vec::new();
        Tmsg::Read { fid, offset, count: 1500 }.encode(1, &mut frame);
        Tmsg::Flush { oldtag: 1 }.encode(2, &mut frame);
        node.client.send(&frame).unwrap();
        let mut answered = None;
        let reply = node.client.receive().unwrap();
        if reply.tag() == 1 {
            answered = Some(reply.data().to_vec());
            assert!(matches!(node.client.receive().unwrap().msg(), Rmsg::Flush));
        }
        let data = match answered {
            Some(data) => data,
            None => node.client.get(fid, offset, 1500).unwrap(),
        };
        if data.is_empty() {
            break;
        }
        offset += data.len() as u64;
        names.extend(Entry::all(&data).unwrap().into_iter().map(|entry| entry.name));
    }
    names.sort();
    assert_eq!(names, all);
}

#[test]
fn names_that_are_no_text_are_not_listed_and_the_log_says_so() {
    let node = Node::start();
    fs::write(node.host("").join(OsStr::from_bytes(b"bad\xff")), "").unwrap();
    fs::write(node.host("line\nbreak"), "odd").unwrap();
    fs::write(node.host("gr\u{fc}n"), "").unwrap();
    let place = node.place;
    let mut node = Node::with(place, &["-v"]);
    assert_eq!(node.client.names("").unwrap(), ["gr\u{fc}n", "line\nbreak"]);
    assert_eq!(node.client.content("line\nbreak").unwrap(), b"odd", "what is there can be used");
    node.client.remove("line\nbreak").unwrap();
    assert!(node.program.errors().contains("not UTF-8"), "{}", node.program.errors());
}

/// How deep that is with names of 200 bytes: more than two paths of the host's longest.
const DEPTH: usize = 45;

#[test]
fn paths_longer_than_the_host_takes_are_walked_all_the_same() {
    let mut node = Node::start();
    let name = "n".repeat(200);
    let fid = node.client.go("").unwrap();
    for _ in 0..DEPTH {
        let perm = dm::DIR | 0o755;
        let dir = node.client.fid();
        node.client.walk(fid, dir, &[""; 0]).unwrap();
        node.client.rpc(&Tmsg::Create { fid: dir, name: &name, perm, mode: 0 }).unwrap();
        node.client.clunk(dir).unwrap();
        node.client.walk(fid, fid, &[&name]).unwrap();
    }
    node.client.rpc(&Tmsg::Create { fid, name: "deep", perm: 0o644, mode: 2 }).unwrap();
    node.client.put(fid, 0, b"down here").unwrap();
    let path = format!("{}/deep", vec![name.as_str(); DEPTH].join("/"));
    assert!(path.len() > 2 * 4096);
    assert_eq!(node.client.entry_of(fid).unwrap().name, "deep");
    let file = node.client.go(&path).unwrap();
    node.client.wstat_fid(file, crate::ops::only(|stat| stat.name = "found")).unwrap();
    node.client.open_fid(file, omode::OREAD).unwrap();
    assert_eq!(node.client.get(file, 0, 99).unwrap(), b"down here");
    node.client.remove_fid(file).unwrap();
    for depth in (1..=DEPTH).rev() {
        node.client.remove(&vec![name.as_str(); depth].join("/")).unwrap();
    }
    assert_eq!(node.client.names("").unwrap(), [""; 0]);
}

#[test]
fn a_walk_in_a_circle_ends() {
    let mut node = Node::start();
    // The host has a bound on links, and the server one on ways.
    for name in ["self", &"self".repeat(60)] {
        std::os::unix::fs::symlink(".", node.host(name)).unwrap();
        let fid = node.client.go("").unwrap();
        let whole = |reply: Reply| matches!(reply.msg(), Rmsg::Walk { qids } if qids.len() == 16);
        let mut step = || whole(node.client.walk(fid, fid, &[name; 16]).unwrap());
        assert!((1..20).contains(&(0..1000).take_while(|_| step()).count()));
        node.client.clunk(fid).unwrap();
    }
    assert_eq!(node.client.entry("self/self/self").unwrap().qid.kind, qt::DIR);
}

#[test]
fn removal_of_a_directory_that_someone_reads() {
    let mut node = Node::start();
    node.client.make_dir("d").unwrap();
    let (fid, _) = node.client.open("d", omode::OREAD).unwrap();
    let walked = node.client.go("d").unwrap();
    node.client.remove("d").unwrap();
    assert_eq!(node.client.get(fid, 0, 1000).unwrap(), b"");
    assert_eq!(node.client.entry_of(fid).unwrap().qid.kind, qt::DIR);
    let made = node.client.rpc(&Tmsg::Create { fid: walked, name: "x", perm: 0o644, mode: 0 });
    assert_eq!(refused(made), enames::ENONEXIST);
    assert_eq!(refused(node.client.walk(walked, 5, &["x"])), enames::ENONEXIST);
}

/// Many more fids than the process may have descriptors, and then as many open files as it lets one
/// client have.
#[test]
fn walked_fids_cost_no_descriptors_and_open_ones_have_a_bound() {
    let mut node = Node::with_descriptors(100);
    fs::write(node.host("f"), "content").unwrap();
    let before = descriptors(&node);
    let mut greedy = node.another();
    for fid in 1000..3000 {
        greedy.walk(0, fid, &["f"]).unwrap();
    }
    assert!(descriptors(&node) <= before + 8);
    let opened = (1000..3000).take_while(|fid| greedy.open_fid(*fid, omode::OREAD).is_ok()).count();
    assert!((40..75).contains(&opened), "{opened}");
    assert_eq!(refused(greedy.open_fid(2999, omode::OREAD)), enames::ENOFD);
    assert_eq!(refused(greedy.open("", omode::OREAD)), enames::ENOFD);
    assert_eq!(refused(greedy.create("g", 0o644, omode::OREAD)), enames::ENOFD);
    assert!(!node.host("g").exists());
    assert_eq!(node.client.content("f").unwrap(), b"content", "there are some for others");
    greedy.clunk(1000).unwrap();
    greedy.open_fid(2999, omode::OREAD).expect("and one that is closed is free again");
    drop(greedy);
    let back = (0..200).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        descriptors(&node) <= before
    });
    assert!(back, "{before} {}", descriptors(&node));
}

fn descriptors(node: &Node) -> usize {
    fs::read_dir(format!("/proc/{}/fd", node.program.id())).unwrap().count()
}
