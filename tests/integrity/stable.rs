//! What has to be on stable storage before an answer, and what is told when it can't be put there.

use std::fs;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use crate::place::{LENGTH, Lab, admin, ctl, ds, first_bytes, status, wait_for};
use crate::support::client::Failure;
use crate::support::fault_server::FaultServer;
use crate::support::fault_tree::{Action, Effect};
use crate::support::program::Program;

/// From now on the server can make no file longer than this, nor write there; with `None` it can again.
fn limit_files(program: &Program, bytes: Option<u64>) {
    let maximum = getrlimit(Resource::Fsize).maximum;
    let pid = Pid::from_raw(program.id() as i32);
    let limit = Rlimit { current: bytes.or(maximum), maximum };
    prlimit(pid, Resource::Fsize, limit).expect("the process is ours");
}

fn error<T: std::fmt::Debug>(result: Result<T, Failure>) -> String {
    match result {
        Err(Failure::Error(text)) => text,
        other => panic!("no error: {other:?}"),
    }
}

#[test]
fn where_the_log_cant_be_written_no_leg_is() {
    let lab = Lab::new();
    let program = lab.start();
    let mut client = ds(&program);
    // The second half of the log, which is written next, begins here.
    limit_files(&program, Some(4096));
    let told = error(client.write(&["m0"], 100, b"newer"));
    assert!(told.starts_with("write-intent log: File too large"), "{told}");
    assert!(lab.bytes(0) == first_bytes() && lab.bytes(1) == first_bytes());
    assert!(client.read_all(&["m0"]).expect("read") == first_bytes());
    limit_files(&program, None);
    assert_eq!(client.write(&["m0"], 100, b"newer"), Ok(5));
    wait_for(&program, "m0 equal");
    assert!(lab.bytes(0) == lab.bytes(1) && &lab.bytes(1)[100..105] == b"newer");
}

/// fs(3) writes all legs: one has it, one has not, and which one that is can't be put down.
#[test]
fn a_write_that_one_leg_missed_has_failed_if_the_log_cant_say_so() {
    let far = FaultServer::start();
    far.tree().create("c0", first_bytes(), 0o666);
    let lab = Lab::with_remote(&far.dial());
    let program = lab.serve().option("--dialect", "plan9").start();
    ctl(&program, "mirror m0 /n/far/c0 c1");
    let mut client = ds(&program);
    client.write(&["m0"], 100, b"older").expect("written");
    limit_files(&program, Some(0));
    let told = error(client.write(&["m0"], 100, b"newer"));
    assert!(told.starts_with("write-intent log: File too large"), "{told}");
    limit_files(&program, None);
    assert_eq!(client.write(&["m0"], 200, b"newest"), Ok(6));
    wait_for(&program, "m0 equal");
    let tree = far.tree();
    assert!(tree.data(tree.find("c0").expect("there")) == lab.bytes(1));
}

#[test]
fn what_cant_be_saved_is_refused_and_nothing_changes() {
    let lab = Lab::new();
    fs::write(lab.chunk(2), vec![9; LENGTH]).expect("a chunk");
    let program = lab.start();
    let kept = || ds(&program).read_all(&["ctl"]).expect("read");
    let before = kept();
    let in_the_way = lab.state().join("ctl.new");
    fs::create_dir(&in_the_way).expect("a directory");
    for message in ["cat c c0", "mirror m1 c0 c2"] {
        let told = error(ds(&program).ctl(message));
        assert!(told.contains("ctl.new: Is a directory"), "{told}");
    }
    let told = error(admin(&program, "replace m0 0 c2"));
    assert!(told.contains("ctl.new: Is a directory"), "{told}");
    assert_eq!(kept(), before);
    // The leg that was to be replaced is filled again, and written as before.
    ds(&program).write(&["m0"], 100, b"newer").expect("written");
    wait_for(&program, "m0 equal");
    assert!(&lab.bytes(0)[100..105] == b"newer" && lab.bytes(0) == lab.bytes(1));
    assert!(lab.bytes(2) == vec![9; LENGTH]);
    fs::remove_dir(&in_the_way).expect("ours");
    ctl(&program, "mirror m1 c0 c2");
    admin(&program, "replace m0 0 c2").expect("understood");
    wait_for(&program, "m0 equal");
    assert!(status(&program).contains("m0 0 in-service"));
    drop(program);
    let program = lab.serve().start();
    assert_eq!(
        ds(&program).read_all(&["ctl"]).expect("read"),
        b"mirror m0 c2 c1\nmirror m1 c0 c2\n"
    );
}

#[test]
fn with_sync_a_write_that_cant_be_synced_has_failed() {
    let far = FaultServer::start();
    far.tree().create("c0", first_bytes(), 0o666);
    let lab = Lab::with_remote(&far.dial());
    let bad = || Effect::Error("the disk is gone".into());
    far.tree().fault("c0", Action::Sync, bad(), Some(1));
    for syncs in [false, true] {
        let serve = lab.serve();
        let program = if syncs { serve.flag("--sync") } else { serve }.start();
        if !syncs {
            ctl(&program, "cat far /n/far/c0");
            ctl(&program, "cat near c1");
        }
        let mut client = ds(&program);
        if syncs {
            assert_eq!(error(client.write(&["far"], 0, b"12345")), "the disk is gone");
        }
        assert_eq!(client.write(&["far"], 10, b"12345"), Ok(5));
        assert_eq!(client.write(&["near"], 10, b"12345"), Ok(5));
        assert_eq!(client.read(&["far"], 10, 5).expect("read"), b"12345");
    }
}
