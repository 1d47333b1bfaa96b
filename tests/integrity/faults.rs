//! Legs that fail, fill up and shrink.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::process::Command;

use styx::{Rmsg, Tmsg};

use crate::place::{LENGTH, Lab, admin, ctl, ds, first_bytes, status, wait_for};
use crate::support::client::{Client, Failure};
use crate::support::program::Program;

/// All of the mirror, as a client reads it.
fn all(program: &Program) -> Vec<u8> {
    ds(program).read_all(&["m0"]).expect("a mirror can be read")
}

#[test]
fn a_leg_that_is_truncated_never_shows_a_hole_and_is_healed() {
    let lab = Lab::new();
    let program = lab.start();
    let mut bytes = first_bytes();
    OpenOptions::new().write(true).open(lab.chunk(0)).expect("ours").set_len(5000).expect("cut");
    assert!(all(&program) == bytes);
    let mut client = ds(&program);
    // Each write leaves a hole in the cut leg, which would be read first.
    for offset in [900_000, 400_000, 20_000] {
        client.write(&["m0"], offset as u64, &[255; 100]).expect("written");
        bytes[offset..offset + 100].fill(255);
        assert!(all(&program) == bytes, "after a write at {offset}");
    }
    let said = status(&program);
    assert!(!said.contains("m0 0 in-service"), "{said}");
    wait_for(&program, "m0 equal");
    assert!(all(&program) == bytes);
    assert!(lab.bytes(0) == bytes && lab.bytes(1) == bytes);
}

/// Before any read has seen it: what was never written must not be read. Where the range is marked already,
/// the write has nothing else to wait for.
#[test]
fn a_write_that_leaves_a_hole_in_a_leg_takes_it_out_of_service() {
    for is_marked in [false, true] {
        let lab = Lab::new();
        let program = lab.start();
        let write = |byte| ds(&program).write(&["m0"], 900_000, &[byte; 100]).expect("written");
        if is_marked {
            write(1);
        }
        let leg = OpenOptions::new().write(true).open(lab.chunk(0)).expect("ours");
        leg.set_len(5000).expect("cut");
        admin(&program, "pause").expect("understood");
        write(255);
        let said = status(&program);
        let is_noticed = said.contains("m0 0 catching-up") && said.contains("shorter than it was");
        assert!(is_noticed, "marked {is_marked}: {said}");
        let mut bytes = first_bytes();
        bytes[900_000..900_100].fill(255);
        assert!(all(&program) == bytes);
        admin(&program, "resume").expect("understood");
        wait_for(&program, "m0 equal");
        assert!(lab.bytes(0) == bytes && lab.bytes(1) == bytes);
    }
}

/// All that comes at one time is dealt with in one turn, in which nothing else looks at the legs.
#[test]
fn reads_that_come_with_a_write_get_nothing_of_the_hole_that_it_leaves() {
    let lab = Lab::new();
    let program = lab.start();
    let mut client = ds(&program);
    let fid = client.open_both(&["m0"]).expect("it opens");
    client.write_at(fid, 900_000, &[1; 100]).expect("its region is marked now");
    OpenOptions::new().write(true).open(lab.chunk(0)).expect("ours").set_len(5000).expect("cut");
    let mut frames = Vec::new();
    Tmsg::Write { fid, offset: 900_000, data: &[255; 100] }.encode(1, &mut frames);
    let reads: Vec<u64> = (1..20).map(|n| n * 20_000).collect();
    for (tag, &offset) in (2..).zip(&reads) {
        Tmsg::Read { fid, offset, count: 100 }.encode(tag, &mut frames);
    }
    client.send(&frames).expect("sent");
    assert!(matches!(client.receive().expect("a reply").msg(), Rmsg::Write { count: 100 }));
    let bytes = first_bytes();
    for (tag, offset) in (2..).zip(reads) {
        let reply = client.receive().expect("a reply");
        assert_eq!(reply.tag(), tag, "replies to what is in memory come in order");
        let offset = offset as usize;
        assert!(reply.data() == &bytes[offset..offset + 100], "at {offset}");
    }
}

#[test]
fn a_leg_that_is_cut_while_it_is_out_is_filled_from_its_start() {
    let lab = Lab::new();
    let program = lab.start();
    admin(&program, "pause").expect("understood");
    admin(&program, "fail m0 0").expect("one leg can go");
    ds(&program).write(&["m0"], 900_000, &[255; 100]).expect("written");
    // Only one region is known to be stale; filling that one leaves a hole before it.
    OpenOptions::new().write(true).open(lab.chunk(0)).expect("ours").set_len(5000).expect("cut");
    admin(&program, "resync m0").expect("it may come back");
    admin(&program, "resume").expect("understood");
    wait_for(&program, "m0 equal");
    assert!(lab.bytes(0) == lab.bytes(1) && lab.bytes(0)[900_000] == 255);
}

#[test]
fn a_leg_that_a_short_read_finds_cut_is_healed() {
    let lab = Lab::new();
    let program = lab.start();
    let bytes = first_bytes();
    OpenOptions::new().write(true).open(lab.chunk(0)).expect("ours").set_len(700_001).expect("cut");
    assert_eq!(
        ds(&program).read(&["m0"], 700_000, 100).expect("read"),
        bytes[700_000..700_100].to_vec()
    );
    wait_for(&program, "m0 resyncing");
    wait_for(&program, "m0 equal");
    assert!(lab.bytes(0) == bytes);
}

#[test]
fn a_full_leg_is_out_and_catches_up_when_there_is_room() {
    let lab = Lab::new();
    let disk = lab.place.root().join("disk");
    fs::create_dir(&disk).expect("a directory");
    let mount = |arguments: &[&str]| {
        let done = Command::new("mount").args(arguments).arg(&disk).output();
        done.is_ok_and(|done| done.status.success())
    };
    if !mount(&["-t", "tmpfs", "-o", "size=256k", "none"]) {
        println!("not run: only root can mount a tmpfs");
        return;
    }
    // The leg is a sparse file that is longer than its disk.
    let leg = fs::File::create(disk.join("c0")).expect("a file");
    leg.set_len(LENGTH as u64).expect("sparse");
    fs::write(lab.chunk(1), vec![0; LENGTH]).expect("as the other");
    let program = lab.serve().start();
    ctl(&program, "mirror m0 /disk/c0 c1");
    let mut bytes = vec![0; LENGTH];
    let mut client = ds(&program);
    let mut refused = 0;
    for block in 0..LENGTH / 8192 {
        let written = client.write(&["m0"], (block * 8192) as u64, &[block as u8 | 1; 8192]);
        match written {
            Ok(8192) => bytes[block * 8192..][..8192].fill(block as u8 | 1),
            Err(Failure::Error(text)) => {
                assert_eq!(text, "No space left on device");
                refused += 1;
                // ds(3) promises nothing of it.
                let read = client.read(&["m0"], (block * 8192) as u64, 8192).expect("read");
                bytes[block * 8192..][..8192].copy_from_slice(&read);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(refused, 1, "only the first write that fails is told");
    assert!(all(&program) == bytes);
    let said = status(&program);
    assert!(said.contains("m0 degraded") || said.contains("m0 resyncing"), "{said}");
    assert!(said.contains("No space left on device"), "{said}");
    assert!(mount(&["-o", "remount,size=4m"]));
    wait_for(&program, "m0 equal");
    assert!(all(&program) == bytes && lab.bytes(1) == bytes);
    assert!(fs::read(disk.join("c0")).expect("there") == bytes);
    drop((leg, program));
    let _ = Command::new("umount").arg(&disk).status();
}

#[test]
fn a_leg_out_of_service_is_still_out_after_a_restart() {
    let lab = Lab::new();
    let program = lab.start();
    admin(&program, "fail m0 0").expect("one leg can go");
    ds(&program).write(&["m0"], 70_000, b"newer").expect("written");
    assert_ne!(&lab.bytes(0)[70_000..70_005], b"newer");
    drop(program);
    let program = lab.serve().start();
    let said = status(&program);
    assert!(said.contains("m0 0 held stale 65536"), "{said}");
    assert_eq!(ds(&program).read(&["m0"], 70_000, 5).expect("read"), b"newer");
    let last = admin(&program, "fail m0 1").expect_err("the last one stays");
    assert!(matches!(&last, Failure::Error(text) if text.contains("last one")), "{last}");
    admin(&program, "resync m0").expect("it may come back");
    wait_for(&program, "m0 equal");
    assert!(lab.bytes(0) == lab.bytes(1) && &lab.bytes(0)[70_000..70_005] == b"newer");
}

#[test]
fn verify_finds_what_differs_and_repair_mends_it() {
    let lab = Lab::new();
    let program = lab.start();
    let leg = OpenOptions::new().write(true).open(lab.chunk(1)).expect("ours");
    leg.write_all_at(b"rot", 300_000).expect("written");
    let mut client = Client::mount(program.dial(), 8216, "admin").expect("a client");
    let log = |client: &mut Client| crate::place::text(client, "log").expect("a log");
    let said = admin(&program, "dry-run verify m0").expect("understood");
    assert!(said.starts_with("would: verify m0"), "{said}");
    admin(&program, "verify m0").expect("understood");
    let said = loop {
        let said = log(&mut client);
        if said.contains("bytes differ") {
            break said;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    };
    assert!(said.contains("leg 1 differs from leg 0 in 300000..300003"), "{said}");
    assert_eq!(&lab.bytes(1)[300_000..300_003], b"rot", "verify changes nothing");
    admin(&program, "repair m0 from 0").expect("understood");
    wait_for(&program, "m0 equal");
    assert!(lab.bytes(1) == first_bytes());
}

#[test]
fn a_server_that_is_read_only_mends_nothing() {
    let lab = Lab::new();
    let program = lab.start();
    admin(&program, "fail m0 0").expect("one leg can go");
    admin(&program, "pause").expect("understood");
    admin(&program, "resync m0").expect("understood");
    ds(&program).write(&["m0"], 70_000, b"newer").expect("written");
    drop(program);
    let program = lab.serve().flag("--read-only").start();
    std::thread::sleep(std::time::Duration::from_millis(2500));
    let said = status(&program);
    assert!(said.contains("m0 0 out stale 65536") && said.contains("m0 1 in-service"), "{said}");
    assert!(lab.bytes(0) == first_bytes());
    assert!(admin(&program, "resync m0").is_err());
}
