//! A start without all legs.

use std::fs::{self, OpenOptions};

use crate::place::{LENGTH, Lab, admin, ctl, ds, first_bytes, status, wait_for};
use crate::support::fault_server::FaultServer;

#[test]
fn a_mirror_starts_without_a_leg_and_has_it_back_after_a_restart() {
    let lab = Lab::new();
    drop(lab.start());
    let away = lab.place.root().join("away");
    fs::rename(lab.chunk(0), &away).expect("moved");
    let program = lab.serve().start();
    let said = status(&program);
    assert!(said.contains("mirror ds/m0 degraded length 1048576"), "{said}");
    assert!(
        said.contains("m0 0 absent") && said.contains("why '''c0'' file does not exist'"),
        "{said}"
    );
    assert!(ds(&program).read_all(&["m0"]).expect("read") == first_bytes());
    ds(&program).write(&["m0"], 70_000, b"newer").expect("written");
    // Nothing can be made of it here, whatever a person says.
    admin(&program, "resync m0").expect("understood");
    admin(&program, "repair m0 from 0").expect_err("it is not there");
    admin(&program, "fail m0 1").expect_err("the last one stays");
    assert!(status(&program).contains("m0 0 absent"));
    drop(program);
    fs::rename(&away, lab.chunk(0)).expect("moved back");
    let program = lab.serve().start();
    wait_for(&program, "m0 equal");
    let mut bytes = first_bytes();
    bytes[70_000..70_005].copy_from_slice(b"newer");
    assert!(lab.bytes(0) == bytes && lab.bytes(1) == bytes);
}

#[test]
fn a_leg_that_is_too_short_is_out_and_can_be_replaced() {
    let lab = Lab::new();
    drop(lab.start());
    OpenOptions::new().write(true).open(lab.chunk(1)).expect("ours").set_len(5000).expect("cut");
    let program = lab.serve().start();
    let said = status(&program);
    assert!(said.contains("mirror ds/m0 degraded length 1048576"), "{said}");
    assert!(said.contains("why 'file is shorter than it was: 5000 of 1048576 bytes'"), "{said}");
    assert!(ds(&program).read_all(&["m0"]).expect("read") == first_bytes());
    fs::write(lab.chunk(2), vec![0; LENGTH]).expect("a chunk");
    admin(&program, "replace m0 1 c2").expect("understood");
    wait_for(&program, "m0 equal");
    assert!(lab.bytes(2) == first_bytes() && lab.bytes(1).len() == 5000);
}

#[test]
fn where_all_legs_are_shorter_the_mirror_is() {
    let lab = Lab::new();
    drop(lab.start());
    for leg in 0..2 {
        let chunk = OpenOptions::new().write(true).open(lab.chunk(leg)).expect("ours");
        chunk.set_len(700_000).expect("cut");
    }
    let program = lab.serve().start();
    let said = wait_for(&program, "m0 equal");
    assert!(said.contains("mirror ds/m0 equal length 700000"), "{said}");
    assert!(ds(&program).read_all(&["m0"]).expect("read") == first_bytes()[..700_000]);
}

#[test]
fn a_server_that_is_away_at_the_start_is_a_leg_that_is_out() {
    let mut far = FaultServer::start();
    far.tree().create("c0", first_bytes(), 0o666);
    let lab = Lab::with_remote(&far.dial());
    let program = lab.serve().start();
    ctl(&program, "mirror m0 /n/far/c0 c1");
    drop(program);
    far.stop();
    let program = lab.serve().start();
    let said = status(&program);
    assert!(said.contains("m0 0 absent") && said.contains("m0 1 in-service"), "{said}");
    ds(&program).write(&["m0"], 70_000, b"newer").expect("written");
    far.come_back();
    // The same name brings it back without a restart.
    admin(&program, "replace m0 0 /n/far/c0").expect("understood");
    wait_for(&program, "m0 equal");
    let tree = far.tree();
    assert_eq!(&tree.data(tree.find("c0").expect("there"))[70_000..70_005], b"newer");
}

/// What a start says that fails.
fn refusal(lab: &Lab) -> String {
    let ended = lab.serve().end();
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    ended.stderr
}

#[test]
fn without_a_leg_that_was_in_service_or_without_what_else_is_there_no_start() {
    let lab = Lab::new();
    let program = lab.start();
    admin(&program, "fail m0 1").expect("one leg can go");
    // No write is answered before the log says so.
    ds(&program).write(&["m0"], 0, &first_bytes()[..1]).expect("written");
    drop(program);
    let away = lab.place.root().join("away");
    fs::rename(lab.chunk(0), &away).expect("moved");
    let said = refusal(&lab);
    assert!(said.contains("'c0' file does not exist; no leg of m0 is there that was in"), "{said}");
    fs::rename(&away, lab.chunk(0)).expect("moved back");
    let program = lab.serve().start();
    assert!(ds(&program).read_all(&["m0"]).expect("read") == first_bytes());
    fs::write(lab.chunk(2), b"more").expect("a chunk");
    ctl(&program, "cat all ds/m0 c2");
    drop(program);
    fs::remove_file(lab.chunk(2)).expect("ours");
    let said = refusal(&lab);
    assert!(said.contains("'c2' file does not exist") && said.contains("put it back"), "{said}");
    fs::write(lab.chunk(2), b"more").expect("a chunk");
    drop(lab.serve().start());
}
