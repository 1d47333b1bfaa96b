//! `dsfs check`, with no server.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::process::Command;

use crate::far::refuse_syncs;
use crate::place::{Lab, admin, ctl, ds, first_bytes};
use crate::support::fault_server::FaultServer;

/// The exit code and standard output of `dsfs check`.
fn check(lab: &Lab, more: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_dsfs"))
        .arg("check")
        .arg(lab.state())
        .arg("--root")
        .arg(lab.place.root())
        .args(more)
        .output()
        .expect("it runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

/// Every file of the state directory.
fn state(lab: &Lab) -> Vec<Vec<u8>> {
    let mirrors = fs::read_dir(lab.state().join("mirrors")).expect("there");
    let mut paths: Vec<_> = mirrors.map(|entry| entry.expect("a log").path()).collect();
    paths.push(lab.state().join("ctl"));
    paths.iter().map(|path| fs::read(path).expect("a file")).collect()
}

#[test]
fn sound_mirrors_are_said_to_be() {
    let lab = Lab::new();
    drop(lab.start());
    let (code, said) = check(&lab, &[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("mirror ds/m0 equal") && said.contains("are equal"), "{said}");
}

#[test]
fn what_is_marked_or_stale_is_told_and_only_mended_when_asked() {
    let lab = Lab::new();
    let program = lab.start();
    admin(&program, "fail m0 1").expect("one leg can go");
    admin(&program, "resync m0").expect("it will be tried again");
    ds(&program).write(&["m0"], 70_000, b"newer").expect("written");
    drop(program);
    let rot = OpenOptions::new().write(true).open(lab.chunk(1)).expect("ours");
    rot.write_all_at(b"stale", 70_000).expect("written");
    let before = (state(&lab), lab.bytes(0), lab.bytes(1));
    let (code, said) = check(&lab, &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("m0 resyncing") || said.contains("m0 degraded"), "{said}");
    assert!(before == (state(&lab), lab.bytes(0), lab.bytes(1)), "a check changes nothing");
    let (code, said) = check(&lab, &["--repair"]);
    assert_eq!(code, Some(0), "{said}");
    let mut bytes = first_bytes();
    bytes[70_000..70_005].copy_from_slice(b"newer");
    assert!(lab.bytes(0) == bytes && lab.bytes(1) == bytes);
}

#[test]
fn a_difference_where_nothing_is_marked_is_told_and_left() {
    let lab = Lab::new();
    drop(lab.start());
    let rot = OpenOptions::new().write(true).open(lab.chunk(1)).expect("ours");
    rot.write_all_at(b"rot", 300_000).expect("written");
    for more in [&[][..], &["--repair"]] {
        let (code, said) = check(&lab, more);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("leg 1 differs from leg 0 in 300000..300003"), "{said}");
        assert_eq!(&lab.bytes(1)[300_000..300_003], b"rot");
    }
}

#[test]
fn a_directory_that_is_none_is_not_made() {
    let lab = Lab::new();
    let (code, said) = check(&lab, &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("No such file") && !lab.state().exists(), "{said}");
}

#[test]
fn a_leg_that_is_not_there_is_told_and_no_repair_waits_for_it() {
    let lab = Lab::new();
    drop(lab.start());
    fs::rename(lab.chunk(0), lab.place.root().join("away")).expect("moved");
    for more in [&[][..], &["--repair"]] {
        let (code, said) = check(&lab, more);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("ds/m0 degraded") && said.contains("m0 0 absent"), "{said}");
    }
    assert!(lab.bytes(1) == first_bytes());
}

#[test]
fn marks_that_stay_for_a_leg_that_cant_be_synced_are_no_fault() {
    let far = FaultServer::start();
    far.tree().create("c0", first_bytes(), 0o666);
    refuse_syncs(&far, "c0");
    let lab = Lab::with_remote(&far.dial());
    let program = lab.serve().start();
    ctl(&program, "mirror m0 /n/far/c0 c1");
    let mut client = ds(&program);
    client.write(&["m0"], 70_000, b"newer").expect("written");
    client.sync(&["m0"]).expect("the leg that is here is synced");
    drop(program);
    let namespace = lab.place.path().join("namespace");
    let more = ["--namespace", namespace.to_str().expect("text")];
    let (code, said) = check(&lab, &more);
    assert!(code == Some(1) && said.contains("it could not be synced before"), "{said}");
    let (code, said) = check(&lab, &[&more[..], &["--repair"]].concat());
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("ds/m0 equal") && said.contains("sync refused"), "{said}");
}
