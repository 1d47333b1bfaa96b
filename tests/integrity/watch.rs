//! `dsfs ctl -A admin`: what a message did, and long work until its end.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::far::{far_bytes, remote_lab};
use crate::place::{Lab, admin, ds, first_bytes, status, wait_for};
use crate::support::fault_tree::{Action, Effect};
use crate::support::program::{Program, eventually};
use crate::support::terminal::Screen;

fn command(program: &Program, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dsfs"));
    command.args(["ctl", "-A", "admin", "-a", program.dial()]).args(words);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What the command does: its exit code, and what it prints, and tells.
fn run(program: &Program, words: &[&str]) -> (Option<i32>, String, String) {
    let output = command(program, words).output().expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn it_waits_until_legs_are_equal_and_says_whether_they_are() {
    let lab = Lab::new();
    let program = lab.start();
    let (code, said, _) = run(&program, &["dry-run", "fail", "m0", "1"]);
    assert_eq!((code, &*said), (Some(0), "would: fail m0 1: the leg is out until resync m0\n"));
    admin(&program, "fail m0 1").expect("one leg can go");
    ds(&program).write(&["m0"], 70_000, b"newer").expect("written");
    let (code, said, told) = run(&program, &["resync", "m0"]);
    assert_eq!((code, &*told), (Some(0), ""), "{said}");
    assert_eq!(said, "resync m0: 65536 bytes to be compared and made equal\n");
    assert!(status(&program).contains("m0 equal") && lab.bytes(0) == lab.bytes(1));
    let (code, said, told) = run(&program, &["verify", "ds/m0"]);
    assert_eq!((code, &*told), (Some(0), ""), "{said}");
    assert!(said.ends_with("\nverify: legs in service are equal\n"), "{said}");
    let rot = OpenOptions::new().write(true).open(lab.chunk(1)).expect("ours");
    rot.write_all_at(b"rot", 300_000).expect("written");
    let (code, said, told) = run(&program, &["verify m0"]);
    assert_eq!(code, Some(1), "{said}{told}");
    let found = "\nverify: leg 1 differs from leg 0 in 300000..300003\nverify: 3 bytes differ\n";
    assert!(said.ends_with(found), "{said}");
    assert!(told.starts_with("dsfs: the legs are not equal:\nmirror ds/m0 equal"), "{told}");
    let (code, said, told) = run(&program, &["repair", "m0", "from", "0"]);
    assert_eq!((code, &*told), (Some(0), ""), "{said}");
    assert!(lab.bytes(0) == lab.bytes(1));
    let (code, _, told) = run(&program, &["resync", "m1"]);
    assert!(code == Some(1) && told.contains("no such device"), "{told}");
}

#[test]
fn a_leg_that_fails_again_ends_it() {
    let (far, _lab, program) = remote_lab();
    far.tree().change("c0", |bytes| bytes[300_000..300_003].fill(0));
    far.tree().fault("c0", Action::Write, Effect::Error("bad sector".into()), None);
    let (code, said, told) = run(&program, &["repair", "m0", "from", "1"]);
    assert_eq!(code, Some(1), "{said}{told}");
    assert!(told.contains("mirror ds/m0 ") && told.contains("bad sector"), "{told}");
    far.tree().fault("c0", Action::Write, Effect::Error(String::new()), Some(0));
    let (code, said, told) = run(&program, &["resync", "m0"]);
    assert_eq!((code, &*told), (Some(0), ""), "{said}");
    assert!(far_bytes(&far) == first_bytes());
}

/// A repair that takes minutes, unless the rate is raised.
fn slow_repair(program: &Program, command: &mut Command) -> Child {
    admin(program, "rate 4096").expect("understood");
    let mut child = command.args(["repair", "m0", "from", "0"]).spawn().expect("it runs");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("it is a pipe");
    BufReader::new(stdout).read_line(&mut line).expect("it prints what the message did");
    assert!(line.starts_with("repair m0 from 0: "), "{line}");
    child
}

#[test]
fn a_terminal_shows_how_far_it_is() {
    let lab = Lab::new();
    let program = lab.start();
    let (screen, theirs) = Screen::new();
    let mut child =
        slow_repair(&program, command(&program, &[]).env("TERM", "xterm").stderr(theirs));
    eventually("the terminal shows how much there is", || screen.has("B of ").then_some(()));
    admin(&program, "rate 67108864").expect("understood");
    assert!(child.wait().expect("it is ours").success());
}

#[test]
fn it_goes_on_at_the_server_when_nobody_watches() {
    let lab = Lab::new();
    let program = lab.start();
    let mut child = slow_repair(&program, &mut command(&program, &[]));
    kill_process(Pid::from_child(&child), Signal::TERM).expect("it runs");
    assert!(!child.wait().expect("it is ours").success());
    assert!(!status(&program).contains("m0 equal"), "it is not done yet");
    admin(&program, "rate 67108864").expect("understood");
    wait_for(&program, "m0 equal");
}
