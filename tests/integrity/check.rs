//! `dsfs check`, with no server.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::process::Command;

use crate::place::{Lab, admin, ds, first_bytes};

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
