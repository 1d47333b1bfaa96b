//! Another file in the place of a leg.

use std::fs;
use std::thread;
use std::time::Duration;

use crate::place::{LENGTH, Lab, admin, ctl, ds, first_bytes, log, status, text, wait_for};
use crate::support::client::{Client, Failure};
use crate::support::fault_server::FaultServer;
use crate::support::program::{Program, eventually};

fn refusal(program: &Program, message: &str) -> String {
    match admin(program, message) {
        Err(Failure::Error(text)) => text,
        other => panic!("{message}: {other:?}"),
    }
}

fn ctl_text(program: &Program) -> String {
    text(&mut ds(program), "ctl").expect("read")
}

#[test]
fn a_leg_becomes_another_file_and_a_restart_knows() {
    let lab = Lab::new();
    fs::write(lab.chunk(2), vec![9; LENGTH + 5]).expect("a chunk");
    let program = lab.start();
    ctl(&program, "cat all ds/m0");
    let said = admin(&program, "dry-run replace m0 0 c2").expect("understood");
    assert!(said.starts_with("would: replace m0 0 c2: "), "{said}");
    assert!(ctl_text(&program).starts_with("mirror m0 c0 c1\n") && lab.bytes(2)[0] == 9);
    assert!(status(&program).contains("m0 0 in-service"));
    let mut open = ds(&program);
    let fid = open.open_both(&["m0"]).expect("open");
    admin(&program, "replace m0 0 c2").expect("understood");
    assert_eq!(ctl_text(&program), "mirror m0 c2 c1\ncat all ds/m0\n");
    // A fid that was open before, and a device above it, mean the mirror as it is now.
    open.write_at(fid, 70_000, b"newer").expect("written");
    ds(&program).write(&["all"], 900_000, b"above").expect("written");
    let mut bytes = first_bytes();
    bytes[70_000..70_005].copy_from_slice(b"newer");
    bytes[900_000..900_005].copy_from_slice(b"above");
    assert!(ds(&program).read_all(&["m0"]).expect("read") == bytes);
    wait_for(&program, "m0 equal");
    assert!(lab.bytes(2)[..LENGTH] == bytes && lab.bytes(1) == bytes);
    assert!(lab.bytes(0) == first_bytes(), "the old file is left alone");
    assert!(log(&program).contains("replace m0 0 c2: "));
    drop(program);
    let program = lab.serve().start();
    assert_eq!(ctl_text(&program), "mirror m0 c2 c1\ncat all ds/m0\n");
    wait_for(&program, "m0 equal");
    let logs = fs::read_dir(lab.state().join("mirrors")).expect("there").count();
    assert_eq!(logs, 1, "the old log is gone");
    // And back again: what the first log said is no more.
    admin(&program, "replace m0 0 c0").expect("understood");
    wait_for(&program, "m0 equal");
    assert!(lab.bytes(0) == bytes);
}

#[test]
fn what_can_be_no_leg_is_refused_and_nothing_changes() {
    let lab = Lab::new();
    fs::write(lab.chunk(2), vec![9; LENGTH - 1]).expect("a chunk");
    let program = lab.start();
    ctl(&program, "cat all ds/m0");
    for (message, expected) in [
        ("replace m0 0 c9", "'c9' file does not exist"),
        ("replace m0 0 c2", "c2: its 1048575 bytes are fewer than the mirror's 1048576"),
        ("replace m0 0 c1", "c1: it is leg 1 already"),
        ("replace m0 0 ds/all", "ds/all: it is made of m0"),
        ("replace m0 0 ds/m0", "ds/m0: it is made of m0"),
        ("replace m0 0 ds/ctl", "permission denied"),
        ("replace m0 2 c2", "\"2\" is no leg of m0: they are 0 to 1"),
        ("replace all 0 c2", "\"all\" is no mirror, so it has no legs that could differ"),
        ("replace m0 0", "its words are wrong"),
        ("replace m0 0 'c\u{1}2'", "bad character in file name"),
    ] {
        for message in [message.to_string(), format!("dry-run {message}")] {
            let said = refusal(&program, &message);
            assert!(said.contains(expected), "{message}: {said}");
        }
    }
    admin(&program, "fail m0 1").expect("one leg can go");
    let said = refusal(&program, "replace m0 0 c2");
    assert!(said.contains("fewer") || said.contains("no other leg"), "{said}");
    fs::write(lab.chunk(2), vec![9; LENGTH]).expect("long enough now");
    let said = refusal(&program, "replace m0 0 c2");
    assert!(said.contains("no other leg is in service"), "{said}");
    assert_eq!(ctl_text(&program), "mirror m0 c0 c1\ncat all ds/m0\n");
    assert!(status(&program).contains("m0 0 in-service"));
    // The leg that is held can be replaced, and by the same name, which stands for another file.
    fs::remove_file(lab.chunk(1)).expect("ours");
    fs::write(lab.chunk(1), vec![0; LENGTH]).expect("a new disk");
    admin(&program, "replace m0 1 c1").expect("understood");
    wait_for(&program, "m0 equal");
    assert!(lab.bytes(1) == first_bytes());
}

#[test]
fn a_leg_that_is_not_filled_yet_is_nothing_to_repair_from() {
    let lab = Lab::new();
    fs::write(lab.chunk(2), vec![9; LENGTH]).expect("a chunk");
    let program = lab.start();
    admin(&program, "pause").expect("understood");
    admin(&program, "replace m0 1 c2").expect("understood");
    for message in ["repair m0 from 1", "dry-run repair m0 from 1"] {
        let said = refusal(&program, message);
        assert!(said.ends_with("that leg was replaced, and has not been filled"), "{said}");
    }
    assert!(ds(&program).read_all(&["m0"]).expect("read") == first_bytes());
    admin(&program, "resume").expect("understood");
    wait_for(&program, "m0 equal");
    admin(&program, "repair m0 from 1").expect("it is a leg as any other now");
    wait_for(&program, "m0 equal");
    assert!(lab.bytes(2) == first_bytes() && lab.bytes(0) == first_bytes());
}

#[test]
fn a_leg_stays_while_another_that_was_cut_is_not_whole() {
    let lab = Lab::new();
    fs::write(lab.chunk(2), vec![9; LENGTH]).expect("a chunk");
    let program = lab.start();
    let cut = |bytes: usize| {
        let leg = fs::File::options().write(true).open(lab.chunk(0)).expect("ours");
        leg.set_len((LENGTH - bytes) as u64).expect("cut");
    };
    let stays = |why: &str| {
        for message in ["replace m0 1 c2", "fail m0 1"] {
            for message in [message.to_string(), format!("dry-run {message}")] {
                let said = refusal(&program, &message);
                assert!(said.contains(why), "{message}: {said}");
            }
        }
    };
    cut(1);
    stays(": leg 0 has become shorter than the mirror; repair it from another first");
    admin(&program, "repair m0 from 1").expect("understood");
    eventually("it is whole again", || (lab.bytes(0) == first_bytes()).then_some(()));
    wait_for(&program, "m0 equal");
    admin(&program, "pause").expect("understood");
    cut(70_000);
    assert!(ds(&program).read_all(&["m0"]).expect("leg 1 has it") == first_bytes());
    // A read that finds nothing tells of no length, so all may be gone.
    stays(&format!(": leg 1 alone has {LENGTH} bytes right; "));
    assert_eq!(ctl_text(&program), "mirror m0 c0 c1\n");
    admin(&program, "resume").expect("understood");
    wait_for(&program, "m0 equal");
    admin(&program, "replace m0 1 c2").expect("understood");
    wait_for(&program, "m0 equal");
    assert!(lab.bytes(0) == first_bytes() && lab.bytes(2) == first_bytes());
}

#[test]
fn a_leg_may_become_a_device_or_a_file_on_another_server() {
    let far = FaultServer::start();
    far.tree().create("c0", vec![0; LENGTH], 0o666);
    let lab = Lab::with_remote(&far.dial());
    for half in ["a", "b"] {
        fs::write(lab.place.root().join(half), vec![0; LENGTH / 2]).expect("a half");
    }
    let program = lab.start();
    ctl(&program, "cat halves a b");
    admin(&program, "replace m0 1 ds/halves").expect("understood");
    let said = refusal(&program, "replace m0 0 ds/halves");
    assert!(said.contains("ds/halves: it is leg 1 already"), "{said}");
    drop(program);
    let program = lab.serve().start();
    wait_for(&program, "m0 equal");
    let halves = ["a", "b"].map(|half| fs::read(lab.place.root().join(half)).expect("there"));
    assert!(halves.concat() == first_bytes());
    admin(&program, "replace m0 0 /n/far/c0").expect("understood");
    let said = wait_for(&program, "m0 equal");
    assert!(said.contains("file /n/far/c0"), "{said}");
    // What the mirror is made of stands before it, also after the restart.
    let kept = ctl_text(&program);
    assert_eq!(kept, "cat halves a b\nmirror m0 /n/far/c0 ds/halves\n");
    drop(program);
    let program = lab.serve().start();
    assert_eq!(ctl_text(&program), kept);
    assert!(ds(&program).read_all(&["m0"]).expect("read") == first_bytes());
}

#[test]
fn a_mirror_that_is_deleted_or_could_not_be_saved_takes_no_other_file() {
    let lab = Lab::new();
    fs::write(lab.chunk(2), vec![9; LENGTH]).expect("a chunk");
    let program = lab.serve().option("--dialect", "plan9").start();
    let long = |bytes: usize, name: &str| "./".repeat(bytes / 2) + name;
    let mut client = Client::mount(program.dial(), 1 << 17, "").expect("a client");
    let legs = vec![long(4_060, "c0"); 16].join(" ");
    client.ctl(&format!("mirror m0 {legs} c1")).expect("65536 bytes at the most");
    let said = refusal(&program, &format!("replace m0 16 {}", long(1_000, "c2")));
    assert!(said.contains("count"), "{said}");
    let fid = client.open_both(&["m0"]).expect("open");
    client.ctl("del m0").expect("it goes when it is closed");
    let said = refusal(&program, "replace m0 16 c2");
    assert!(said.contains("device is gone"), "{said}");
    // Nor can anything be made of it.
    let said = client.ctl("cat c /dev/fs/m0");
    assert!(
        matches!(&said, Err(Failure::Error(text)) if text.contains("device is gone")),
        "{said:?}"
    );
    assert_eq!(client.read_at(fid, 0, 10), Err(Failure::Error("device is gone".into())));
    assert!(lab.bytes(1) == first_bytes());
}

/// Writes one value after the other to a block of its own, until the server is gone: the last that
/// was acknowledged, and the one after it.
fn write_on(dial: &str, block: usize) -> (u8, u8) {
    let mut acknowledged = 1;
    let Ok(mut client) = Client::mount(dial, 8216, "") else { return (1, 1) };
    loop {
        let next = acknowledged % 255 + 1;
        match client.write(&["m0"], (block * 4096) as u64, &[next; 4096]) {
            Ok(count) => assert_eq!(count, 4096),
            Err(Failure::Error(text)) => panic!("a write was refused: {text}"),
            Err(_) => return (acknowledged, next),
        }
        acknowledged = next;
    }
}

#[test]
fn kill_in_the_middle_leaves_the_old_leg_or_the_new_one() {
    const WRITERS: usize = 2;
    let lab = Lab::new();
    fs::write(lab.chunk(2), vec![7; LENGTH]).expect("a chunk");
    let mut known = [1u8; WRITERS];
    let mut program = lab.start();
    for (block, value) in known.iter().enumerate() {
        ds(&program).write(&["m0"], block as u64 * 4096, &[*value; 4096]).expect("written");
    }
    let mut seen = [0; 2];
    for round in 0..16u64 {
        let text = ctl_text(&program);
        let (old, new) = if text.contains("c0") { ("c0", "c2") } else { ("c2", "c0") };
        let dial = program.dial().to_string();
        let writers: Vec<_> = (0..WRITERS)
            .map(|block| {
                let dial = dial.clone();
                thread::spawn(move || write_on(&dial, block))
            })
            .collect();
        let asks = thread::spawn(move || {
            let message = format!("replace m0 0 {new}");
            let mut client = Client::mount(&dial, 8216, "admin")?;
            client.write(&["ctl"], 0, message.as_bytes()).map(drop)
        });
        thread::sleep(Duration::from_micros(500 + round * 700));
        program.kill();
        let answered = asks.join().expect("no panic").is_ok();
        program = lab.serve().start();
        let text = ctl_text(&program);
        let names = |leg: &str| text == format!("mirror m0 {leg} c1\n");
        assert!(names(new) || names(old) && !answered, "round {round}: {text}, {answered}");
        seen[usize::from(names(new))] += 1;
        for (block, writer) in writers.into_iter().enumerate() {
            let (acknowledged, next) = writer.join().expect("a writer");
            let block_of = |client: &mut Client| client.read(&["m0"], block as u64 * 4096, 4096);
            let read = block_of(&mut ds(&program)).expect("read");
            let value = [acknowledged, next].into_iter().find(|&v| read == [v; 4096]);
            // The first value of a writer that wrote nothing is what was there.
            let value = value.or((acknowledged == 1).then_some(known[block]));
            assert_eq!(value.map(|v| vec![v; 4096]), Some(read), "round {round}: block {block}");
            known[block] = value.expect("one of them");
        }
        wait_for(&program, "m0 equal");
    }
    println!("the old leg {} times, the new one {}", seen[0], seen[1]);
    let mut bytes = first_bytes();
    for (block, value) in known.iter().enumerate() {
        bytes[block * 4096..][..4096].fill(*value);
    }
    let leg = if ctl_text(&program).contains("c0") { 0 } else { 2 };
    eventually("nothing is marked", || status(&program).contains("marked 0\n").then_some(()));
    assert!(lab.bytes(leg) == bytes && lab.bytes(1) == bytes);
}
