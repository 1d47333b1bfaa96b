//! Requests that are under way together: flushes, clients that vanish, the end of the server.

use std::collections::HashSet;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use styx::{Rmsg, Tmsg, dm, enames, omode};

use crate::ops::{Node, Ops};
use crate::support::client::{Client, Failure, MSIZE};
use crate::support::program::eventually;

/// Many creations, each with a flush behind it, in one packet. What was answered was done, and
/// what was flushed without an answer never was (flush(5)).
#[test]
fn a_flushed_creation_was_done_and_answered_or_neither() {
    const COUNT: u16 = 200;
    let mut node = Node::start();
    for fid in 1..=u32::from(COUNT) {
        node.client.walk(0, fid, &[""; 0]).unwrap();
    }
    let mut frames = Vec::new();
    for number in 1..=COUNT {
        let (fid, name) = (u32::from(number), format!("f{number}"));
        let perm = if number % 2 == 0 { dm::DIR | 0o755 } else { 0o644 };
        Tmsg::Create { fid, name: &name, perm, mode: omode::OREAD }.encode(number, &mut frames);
        Tmsg::Flush { oldtag: number }.encode(1000 + number, &mut frames);
    }
    node.client.send(&frames).unwrap();
    let (mut created, mut flushed) = (HashSet::new(), HashSet::new());
    while flushed.len() < usize::from(COUNT) {
        let reply = node.client.receive().unwrap();
        match reply.msg() {
            Rmsg::Create { .. } => {
                assert!(!flushed.contains(&reply.tag()), "an answer after its Rflush");
                created.insert(reply.tag());
            }
            Rmsg::Flush => assert!(flushed.insert(reply.tag() - 1000)),
            other => panic!("{other:?}"),
        }
    }
    for number in 1..=COUNT {
        let (made, fid) = (created.contains(&number), u32::from(number));
        assert_eq!(node.host(&format!("f{number}")).exists(), made, "{number}");
        // The fid of one that was never made is the directory still, and not open.
        let name = node.client.entry_of(fid).unwrap().name;
        assert_eq!(name, if made { format!("f{number}") } else { "/".into() });
        assert_eq!(node.client.open_fid(fid, omode::OREAD).is_ok(), !made);
    }
    assert!(created.len() < usize::from(COUNT), "some were dropped: {}", created.len());
}

/// Two reads of one directory at the same time are both of the same place.
#[test]
fn reads_of_a_directory_at_the_same_time() {
    let mut node = Node::start();
    (0..300).for_each(|number| fs::write(node.host(&format!("f{number}")), "").unwrap());
    let (fid, _) = node.client.open("", omode::OREAD).unwrap();
    let mut frames = Vec::new();
    for tag in 1..=20 {
        Tmsg::Read { fid, offset: 0, count: 4000 }.encode(tag, &mut frames);
    }
    node.client.send(&frames).unwrap();
    let all: HashSet<_> = (0..20).map(|_| node.client.receive().unwrap().data().to_vec()).collect();
    assert_eq!(all.len(), 1);
}

/// A client that vanishes leaves nothing open behind, and no file that was to go with its fid:
/// not even of what it had asked for and never heard of.
#[test]
fn who_vanishes_leaves_nothing_behind() {
    let mut node = Node::start();
    for _ in 0..20 {
        let mut client = node.another();
        let mut frames = Vec::new();
        for fid in 1..=30 {
            client.walk(0, fid, &[""; 0]).unwrap();
            let (name, mode) = (format!("f{fid}"), omode::ORDWR | omode::ORCLOSE);
            let create = Tmsg::Create { fid, name: &name, perm: dm::EXCL | 0o644, mode };
            create.encode(fid as u16, &mut frames);
        }
        client.send(&frames).unwrap();
        drop(client);
        let left = || node.host("").read_dir().unwrap().count();
        eventually("all is gone", || (left() == 0).then_some(()));
    }
    // The last of them may not even have begun.
    for number in 1..=30 {
        let path = format!("f{number}");
        eventually("the name is free", || node.client.make(&path, dm::EXCL | 0o644, b"").ok());
    }
}

#[test]
fn the_end_of_the_server_removes_what_was_to_be_removed() {
    let mut node = Node::start();
    let (fid, _) = node.client.create("goes", 0o644, omode::ORDWR | omode::ORCLOSE).unwrap();
    node.client.put(fid, 0, b"x").unwrap();
    let (fid, _) = node.client.create("stays", 0o644, omode::ORDWR).unwrap();
    node.client.put(fid, 0, b"x").unwrap();
    node.program.terminate();
    assert_eq!(node.program.wait(), 0, "{}", node.program.errors());
    assert!(!node.host("goes").exists());
    assert_eq!(fs::read(node.host("stays")).unwrap(), b"x");
}

/// Of clients that make, rename and remove the same names at the same time, one has its way each
/// time.
#[test]
fn one_wins() {
    const ROUNDS: usize = 100;
    let mut node = Node::start();
    let barrier = Arc::new(Barrier::new(4));
    let racers: Vec<_> = (0..4)
        .map(|number| {
            let (dial, barrier) = (node.program.dial().to_owned(), barrier.clone());
            thread::spawn(move || race(&dial, number, &barrier, ROUNDS))
        })
        .collect();
    let won: Vec<[usize; 3]> = racers.into_iter().map(|racer| racer.join().unwrap()).collect();
    for step in 0..3 {
        assert_eq!(won.iter().map(|won| won[step]).sum::<usize>(), ROUNDS, "{step} {won:?}");
    }
    assert_eq!(node.client.names("").unwrap(), [""; 0]);
}

/// How often this client was the one who made a file, who renamed it, who removed it.
fn race(dial: &str, number: usize, barrier: &Barrier, rounds: usize) -> [usize; 3] {
    let mut client = Client::mount(dial, MSIZE, "#U").unwrap();
    let (mut won, mut lost) = ([0; 3], Vec::new());
    let mut count = |step: usize, done: Result<(), Failure>, losing: &str| match done {
        Ok(()) => won[step] += 1,
        Err(Failure::Error(text)) if text == losing => {}
        Err(failure) => lost.push((step, failure)),
    };
    // Told at the end: who leaves the others at a barrier makes them wait for ever.
    let mut failures = Vec::new();
    for _ in 0..rounds {
        barrier.wait();
        let made = client.create("name", 0o644, omode::OWRITE);
        count(0, made.and_then(|(fid, _)| client.clunk(fid)), enames::EEXIST);
        barrier.wait();
        let fid = client.go("name").unwrap_or(0);
        barrier.wait();
        let stat = styx::Stat { name: &format!("new{number}"), ..styx::Stat::DONT_TOUCH };
        // All fids are of one file: it is renamed by each in turn, and removed by one.
        let renamed = client.wstat_fid(fid, stat);
        barrier.wait();
        let last = client.entry_of(fid).unwrap().name == format!("new{number}");
        count(1, if last { Ok(()) } else { Err(Failure::Error(String::new())) }, "");
        failures.extend(renamed.err());
        barrier.wait();
        count(2, client.remove_fid(fid), enames::ENONEXIST);
        barrier.wait();
    }
    assert!(failures.is_empty() && lost.is_empty(), "{failures:?} {lost:?}");
    won
}

/// Who is about to open, look at or walk to a file finds it, whatever its directories are being
/// called at that moment.
#[test]
fn renames_are_in_nobodys_way() {
    let mut node = Node::start();
    for dir in ["a0", "a0/b0"] {
        node.client.make_dir(dir).unwrap();
    }
    node.client.make("a0/b0/f", 0o644, b"content").unwrap();
    let fid = node.client.go("a0/b0").unwrap();
    let file = node.client.go("a0/b0/f").unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let renamers: Vec<_> = ["a0", "a0/b0"]
        .into_iter()
        .map(|path| {
            let mut client = node.another();
            let fid = client.go(path).unwrap();
            (path, client, fid)
        })
        .collect::<Vec<_>>()
        .into_iter()
        .map(|(path, mut client, fid)| {
            let over = over.clone();
            thread::spawn(move || {
                let old = &path[path.len() - 2..path.len() - 1];
                let rename = |number: usize| {
                    let stat =
                        styx::Stat { name: &format!("{old}{number}"), ..styx::Stat::DONT_TOUCH };
                    client.wstat_fid(fid, stat).unwrap();
                };
                (1..).take_while(|_| !over.load(Ordering::Relaxed)).for_each(rename);
            })
        })
        .collect();
    for _ in 0..1000 {
        let clone = node.client.fid();
        let reply = node.client.walk(fid, clone, &["f"]).expect("it is there");
        assert!(matches!(reply.msg(), Rmsg::Walk { qids } if qids.len() == 1));
        assert_eq!(node.client.entry_of(clone).expect("it is there").name, "f");
        node.client.open_fid(clone, omode::OREAD).expect("it is there");
        node.client.clunk(clone).unwrap();
        let reply = node.client.walk(fid, clone, &["..", ".."]).expect("they are there");
        assert!(matches!(reply.msg(), Rmsg::Walk { qids } if qids.len() == 2));
        node.client.clunk(clone).unwrap();
        node.client.wstat_fid(file, styx::Stat::DONT_TOUCH).expect("it is there");
    }
    over.store(true, Ordering::Relaxed);
    renamers.into_iter().for_each(|renamer| renamer.join().unwrap());
}
