//! The state directory, from outside.

use std::fs;

use crate::place::{Lab, ctl, ds};
use crate::support::client::Client;

#[test]
fn the_configuration_is_there_after_kill() {
    let lab = Lab::new();
    let program = lab.start();
    ctl(&program, "cat all m0 c1\n".trim_end().replace("m0", "ds/m0").as_str());
    let before = ds(&program).read_all(&["ctl"]).expect("read");
    drop(program);
    let program = lab.serve().start();
    assert_eq!(ds(&program).read_all(&["ctl"]).expect("read"), before);
    assert!(String::from_utf8_lossy(&before).contains("mirror m0"));
}

/// Runs `dsfs` with these arguments to its end, in a while: its exit code and standard error.
fn refusal(lab: &Lab) -> String {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_dsfs"))
        .args(["serve", "--listen", "tcp!127.0.0.1!0", "--root"])
        .arg(lab.place.root())
        .arg("--state")
        .arg(lab.state())
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn damage_is_refused_and_left_alone() {
    let lab = Lab::new();
    drop(lab.start());
    let mirrors = lab.state().join("mirrors");
    let log = fs::read_dir(&mirrors).expect("a directory").next().expect("a log").expect("it");
    for path in [log.path(), lab.state().join("ctl")] {
        let good = fs::read(&path).expect("there");
        let mut bad = good.clone();
        bad[good.len() / 2] ^= 4;
        fs::write(&path, &bad).expect("written");
        let said = refusal(&lab);
        assert!(said.contains("damaged") && said.contains(path.to_str().expect("text")), "{said}");
        assert!(fs::read(&path).expect("there") == bad);
        fs::remove_file(&path).expect("removed");
        let said = refusal(&lab);
        assert!(said.contains("missing") || said.contains("no dsfs configuration"), "{said}");
        fs::write(&path, &good).expect("written");
    }
    drop(lab.serve().start());
}

#[test]
fn a_second_server_is_refused() {
    let lab = Lab::new();
    let program = lab.start();
    assert!(refusal(&lab).contains("another dsfs uses this state directory"));
    Client::mount(program.dial(), 8216, "").expect("the first one goes on");
}

#[test]
fn a_device_that_was_deleted_while_it_is_open_is_not_there_after_a_restart() {
    let lab = Lab::new();
    let serve = || lab.serve().option("--dialect", "plan9");
    let program = serve().start();
    ctl(&program, "mirror m0 c0 c1");
    ctl(&program, "part p0 c0 0 100");
    ctl(&program, "cat all /dev/fs/p0 c1");
    let mut client = ds(&program);
    for name in ["m0", "p0"] {
        client.open_both(&[name]).expect("open");
    }
    ctl(&program, "del m0");
    ctl(&program, "del p0");
    let text = |client: &mut Client| client.read_all(&["ctl"]).expect("read");
    let listed = String::from_utf8(text(&mut client)).expect("text");
    assert!(listed.contains("mirror m0"), "it is listed as long as it is open: {listed}");
    drop(program);
    let program = serve().start();
    // What another device is made of stays.
    assert_eq!(text(&mut ds(&program)), b"part p0 c0 0 100\ncat all /dev/fs/p0 c1\n");
}
