//! Legs on other servers: they fail, go away, shrink, and some can't be synced.

use std::fs;
use std::os::unix::fs::FileExt;

use styx::Tmsg;

use crate::place::{LENGTH, Lab, admin, ctl, ds, first_bytes, log, status, wait_for};
use crate::support::client::Failure;
use crate::support::fault_server::FaultServer;
use crate::support::fault_tree::{Action, Effect};
use crate::support::program::{Program, eventually};

/// The first leg is on another server.
pub fn remote_lab() -> (FaultServer, Lab, Program) {
    let far = FaultServer::start();
    far.tree().create("c0", first_bytes(), 0o666);
    let lab = Lab::with_remote(&far.dial());
    let program = lab.serve().start();
    ctl(&program, "mirror m0 /n/far/c0 c1");
    (far, lab, program)
}

pub fn far_bytes(far: &FaultServer) -> Vec<u8> {
    let tree = far.tree();
    let id = tree.find("c0").expect("there");
    tree.data(id).to_vec()
}

#[test]
fn a_leg_that_fails_each_third_read_costs_nothing_but_time() {
    let (far, _lab, program) = remote_lab();
    let bytes = first_bytes();
    let mut client = ds(&program);
    for round in 0..60usize {
        if round % 3 == 0 {
            let bad = Effect::Error("bad sector".into());
            far.tree().fault("c0", Action::Read, bad, Some(1));
        }
        let at = round * 10_000;
        let read = client.read(&["m0"], at as u64, 1000).expect("the other leg has it");
        assert!(read == bytes[at..at + 1000], "round {round}");
    }
    let said = status(&program);
    assert!(said.contains("m0 degraded") || said.contains("m0 resyncing"), "{said}");
    wait_for(&program, "m0 equal");
    assert!(far_bytes(&far) == bytes);
}

#[test]
fn a_leg_that_fails_for_good_is_out_and_held_writes_reach_it_later() {
    let (far, lab, program) = remote_lab();
    far.tree().fault("c0", Action::Read, Effect::Error("bad sector".into()), None);
    let mut client = ds(&program);
    for _ in 0..20 {
        client.read(&["m0"], 0, 10).expect("the other leg has it");
    }
    let said = wait_for(&program, "m0 degraded");
    assert!(said.contains("fails reads again and again"), "{said}");
    far.tree().take_log();
    client.read(&["m0"], 0, 10).expect("read");
    client.write(&["m0"], 500_000, b"while it was away").expect("written");
    let mut bytes = first_bytes();
    bytes[500_000..500_017].copy_from_slice(b"while it was away");
    far.tree().fault("c0", Action::Read, Effect::Error(String::new()), Some(0));
    wait_for(&program, "m0 equal");
    assert!(far_bytes(&far) == bytes && lab.bytes(1) == bytes);
}

/// It has all that the others have, so a read that began without it may still turn to it.
#[test]
fn a_leg_that_came_back_is_read_when_the_others_fail() {
    let (far, _lab, program) = remote_lab();
    for name in ["d0", "d1"] {
        far.tree().create(name, first_bytes(), 0o666);
    }
    ctl(&program, "mirror m1 /n/far/d0 /n/far/d1");
    let mut client = ds(&program);
    let fid = client.open_both(&["m1"]).expect("it is there");
    admin(&program, "fail m1 0").expect("one leg can go");
    far.hold_file("d1");
    client.post(&Tmsg::Read { fid, offset: 1000, count: 100 }).expect("it is sent");
    eventually("the other leg is asked", || (far.held().len() == 1).then_some(()));
    admin(&program, "resync m1").expect("it is brought back");
    let is_back = || status(&program).contains("leg ds/m1 0 in-service").then_some(());
    eventually("the leg is in service", is_back);
    far.tree().fault("d1", Action::Read, Effect::Error("bad sector".into()), Some(1));
    far.release();
    let reply = client.receive().expect("an answer");
    assert_eq!(reply.data(), &first_bytes()[1000..1100]);
}

#[test]
fn a_write_that_stopped_half_way_is_undone_from_the_leg_that_is_read_first() {
    let far = FaultServer::start();
    far.tree().create("c0", first_bytes(), 0o666);
    let lab = Lab::with_remote(&far.dial());
    fs::copy(lab.chunk(1), lab.place.root().join("c2")).expect("copied");
    let program = lab.serve().start();
    // The middle one fails once: the right one has the write then, the left one has not.
    ctl(&program, "mirror m0 c1 /n/far/c0 c2");
    far.tree().fault("c0", Action::Write, Effect::Error("no".into()), Some(1));
    let mut client = ds(&program);
    let failed = client.write(&["m0"], 100, b"half");
    assert_eq!(failed, Err(Failure::Error("no".into())));
    let right = || fs::read(lab.place.root().join("c2")).expect("there");
    assert_eq!(&right()[100..104], b"half");
    assert!(client.read(&["m0"], 100, 4).expect("read") == first_bytes()[100..104]);
    wait_for(&program, "m0 equal");
    assert!(right() == first_bytes() && far_bytes(&far) == first_bytes());
}

#[test]
fn a_leg_that_a_short_read_finds_cut_is_healed_over_there_too() {
    let (far, lab, program) = remote_lab();
    let bytes = first_bytes();
    admin(&program, "pause").expect("understood");
    far.tree().change("c0", |bytes| bytes.truncate(700_001));
    let read = ds(&program).read(&["m0"], 700_000, 100).expect("read");
    assert!(read == bytes[700_000..700_100]);
    let said = status(&program);
    assert!(
        said.contains("ds/m0 resyncing") && !said.contains("m0 0 in-service stale 0"),
        "{said}"
    );
    admin(&program, "resume").expect("understood");
    wait_for(&program, "m0 equal");
    assert!(far_bytes(&far) == bytes && lab.bytes(1) == bytes);
}

/// What a real devds says to the wstat that asks for a sync.
pub fn refuse_syncs(far: &FaultServer, name: &str) {
    far.tree().fault(name, Action::Sync, Effect::Error("permission denied".into()), None);
}

#[test]
fn a_server_that_does_not_sync_is_no_disk_that_failed() {
    let (far, lab, mut program) = remote_lab();
    refuse_syncs(&far, "c0");
    let mut client = ds(&program);
    client.write(&["m0"], 500_000, b"newer").expect("written");
    client.sync(&["m0"]).expect("the leg that is here is synced");
    let said = status(&program);
    assert!(said.contains("ds/m0 equal") && said.contains("sync refused"), "{said}");
    assert!(!said.contains("marked 0"), "{said}");
    program.kill();
    // The power goes over there as well, and what was not synced with it.
    far.tree().change("c0", |bytes| *bytes = first_bytes());
    let program = lab.serve().start();
    assert_eq!(ds(&program).read(&["m0"], 500_000, 5).expect("read"), b"newer");
    wait_for(&program, "m0 equal");
    let mut bytes = first_bytes();
    bytes[500_000..500_005].copy_from_slice(b"newer");
    assert!(far_bytes(&far) == bytes && lab.bytes(1) == bytes);
    // Told that it does after all, it believes that.
    far.tree().fault("c0", Action::Sync, Effect::Error(String::new()), Some(0));
    ds(&program).sync(&["m0"]).expect("both are synced");
    assert!(!status(&program).contains("sync refused"));
    wait_for(&program, "marked 0");
}

/// As often as a server that does nothing else can ask, it would be thousands of syncs here, and as many writes
/// of the log.
#[test]
fn a_sync_that_fails_again_and_again_is_tried_now_and_then() {
    const MANY: u32 = 30;
    let (far, _lab, program) = remote_lab();
    for name in ["d0", "e0", "e1"] {
        far.tree().create(name, first_bytes(), 0o666);
    }
    ctl(&program, "mirror m1 /n/far/c0 /n/far/d0");
    ctl(&program, "mirror m2 /n/far/e0 /n/far/e1");
    let bad = |text: &str| Effect::Error(text.into());
    far.tree().fault("c0", Action::Sync, bad("the disk is gone"), Some(MANY));
    // The right legs catch up; then only a sync is wanting, and that of the first mirror fails.
    for (mirror, leg) in [("m1", "d0"), ("m2", "e1")] {
        far.tree().fault(leg, Action::Write, bad("no"), Some(1));
        ds(&program).write(&[mirror], 500_000, b"newer").expect_err("one leg has failed it");
    }
    wait_for(&program, "m2 equal");
    std::thread::sleep(std::time::Duration::from_secs(3));
    let said = status(&program);
    assert!(!said.contains("m1 equal"), "{said}");
    far.tree().fault("c0", Action::Sync, bad(""), Some(0));
    wait_for(&program, "m1 equal");
}

#[test]
fn where_no_leg_can_be_synced_that_is_told_and_legs_still_catch_up() {
    let (far, _lab, program) = remote_lab();
    for name in ["d0", "d1"] {
        far.tree().create(name, first_bytes(), 0o666);
        refuse_syncs(&far, name);
    }
    ctl(&program, "mirror m1 /n/far/d0 /n/far/d1");
    let mut client = ds(&program);
    admin(&program, "fail m1 1").expect("one leg can go");
    client.write(&["m1"], 70_000, b"newer").expect("written");
    assert_eq!(client.sync(&["m1"]), Err(Failure::Error("permission denied".into())));
    assert!(status(&program).contains("m1 0 in-service"), "nothing has failed there");
    admin(&program, "resync m1").expect("it may come back");
    wait_for(&program, "m1 equal");
    let tree = far.tree();
    let bytes = |name: &str| tree.data(tree.find(name).expect("there")).to_vec();
    assert!(bytes("d0") == bytes("d1") && &bytes("d1")[70_000..70_005] == b"newer");
}

#[test]
fn a_server_that_was_away_since_a_write_gets_it_again() {
    let (far, lab, program) = remote_lab();
    ds(&program).write(&["m0"], 500_000, b"newer").expect("written");
    // It comes back without what it had not synced, and before anything else is asked of it.
    let mut tree = far.tree();
    far.cut();
    tree.change("c0", |bytes| *bytes = first_bytes());
    drop(tree);
    eventually("the mirror hears of it", || {
        log(&program).contains("server was away: what was not synced may be lost").then_some(())
    });
    wait_for(&program, "m0 equal");
    assert_eq!(&far_bytes(&far)[500_000..500_005], b"newer");
    assert!(far_bytes(&far) == lab.bytes(1));
}

#[test]
fn a_leg_that_goes_out_while_it_is_read_is_not_blamed_twice() {
    let (far, _lab, program) = remote_lab();
    let mut client = ds(&program);
    let fid = client.open_both(&["m0"]).expect("open");
    far.hold_file("c0");
    client.post(&Tmsg::Read { fid, offset: 0, count: 100 }).expect("sent");
    eventually("the read is on its way", || (!far.held().is_empty()).then_some(()));
    admin(&program, "fail m0 0").expect("one leg can go");
    let before = log(&program);
    far.tree().fault("c0", Action::Read, Effect::Error("bad sector".into()), None);
    far.release();
    let reply = client.receive().expect("the other leg has it");
    assert!(reply.data() == &first_bytes()[..100]);
    assert_eq!(log(&program), before, "what a person did stands");
}

#[test]
fn a_cat_of_files_that_cant_all_be_synced_says_so_when_the_others_are() {
    let (far, _lab, program) = remote_lab();
    refuse_syncs(&far, "c0");
    ctl(&program, "cat all /n/far/c0 c1");
    let mut client = ds(&program);
    client.write(&["all"], LENGTH as u64 - 2, b"both").expect("written");
    assert_eq!(client.sync(&["all"]), Err(Failure::Error("permission denied".into())));
    assert_eq!(client.read(&["all"], LENGTH as u64 - 2, 4).expect("read"), b"both");
}

/// Half of the leg is here, and has been cut; the other half answers later.
#[test]
fn a_hole_in_a_leg_is_noticed_while_the_rest_of_the_write_is_on_its_way() {
    let far = FaultServer::start();
    far.tree().create("half", first_bytes()[LENGTH / 2..].to_vec(), 0o666);
    let lab = Lab::with_remote(&far.dial());
    let program = lab.serve().start();
    fs::write(lab.chunk(0), &first_bytes()[..LENGTH / 2]).expect("ours");
    ctl(&program, "cat halves c0 /n/far/half");
    ctl(&program, "mirror m0 ds/halves c1");
    let chunk = fs::OpenOptions::new().write(true).open(lab.chunk(0)).expect("ours");
    chunk.set_len(5000).expect("cut");
    let at = LENGTH / 2 - 50;
    ds(&program).write(&["m0"], at as u64, &[255; 100]).expect("written");
    let mut bytes = first_bytes();
    bytes[at..at + 100].fill(255);
    let read = |offset| ds(&program).read(&["m0"], offset, 100).expect("read");
    assert!(read(400_000) == bytes[400_000..400_100]);
    wait_for(&program, "m0 equal");
    assert!(lab.bytes(0) == bytes[..LENGTH / 2] && lab.bytes(1) == bytes);
}

#[test]
fn a_comparison_says_what_it_can_and_nothing_of_a_leg_that_went_out() {
    let (far, lab, program) = remote_lab();
    far.tree().fault("c0", Action::Read, Effect::Error("bad sector".into()), Some(1));
    admin(&program, "verify m0").expect("understood");
    let told = |what: &str| {
        eventually(what, || log(&program).contains(what).then_some(()));
    };
    told("verify: leg 1: leg 0 can't be read at 0: bad sector");
    told("verify: 65536 bytes differ");
    wait_for(&program, "m0 equal");
    // The leg that is compared goes out while the one that it is compared with is read.
    let leg = fs::OpenOptions::new().write(true).open(lab.chunk(1)).expect("ours");
    leg.write_all_at(b"rot", 10).expect("written");
    far.hold_file("c0");
    admin(&program, "verify m0").expect("understood");
    eventually("the read is on its way", || (!far.held().is_empty()).then_some(()));
    admin(&program, "fail m0 1").expect("one leg can go");
    let ends = || log(&program).matches("verify: legs in service are equal").count();
    let before = ends();
    far.release();
    eventually("the comparison ends", || (ends() > before).then_some(()));
    assert!(!log(&program).contains("differs"), "{}", log(&program));
}

#[test]
fn what_a_server_lost_while_it_was_away_is_read_from_another_leg() {
    let (far, lab, program) = remote_lab();
    let mut client = ds(&program);
    for round in 0..3u8 {
        let newer = [round + 1; 5];
        client.write(&["m0"], 500_000, &newer).expect("written");
        // It is back, without what it had not synced, before anything else is asked of it.
        let mut tree = far.tree();
        far.cut();
        tree.change("c0", |bytes| *bytes = first_bytes());
        drop(tree);
        for _ in 0..50 {
            assert_eq!(client.read(&["m0"], 500_000, 5).expect("one leg is there"), newer);
        }
        wait_for(&program, "m0 equal");
        assert_eq!(client.sync(&["m0"]), Ok(()), "the other leg has it");
    }
    assert!(far_bytes(&far) == lab.bytes(1));
}
