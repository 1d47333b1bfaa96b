//! What the host does to a server: users who are strangers, and limits on the size of files.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output};

use crate::support::client::{Client, Failure, MSIZE};
use crate::support::program::{NOBODY, Place, Serve};

/// What another user, who is not root, gets at this server.
fn as_stranger(place: &Place, dial: &str) -> Output {
    let dsfs = place.path().join("dsfs");
    if !dsfs.exists() {
        fs::copy(env!("CARGO_BIN_EXE_dsfs"), &dsfs).expect("room for the program");
    }
    let mut command = Command::new(dsfs);
    command.args(["ls", "-a", dial]).uid(NOBODY).gid(NOBODY).current_dir("/");
    command.output().expect("it runs")
}

#[test]
fn another_user_of_this_machine_is_hung_up_on_and_the_log_says_what_would_let_him_in() {
    if !rustix::process::geteuid().is_root() {
        println!("only root can be two users: nothing tested");
        return;
    }
    let place = Place::new();
    let serve = || Serve::on("tcp!127.0.0.1!0").option("--root", place.root());
    let program = serve().with_metrics_on("tcp!127.0.0.1!0").start();
    for dial in program.dials() {
        let refused = as_stranger(&place, dial);
        assert!(!refused.status.success() && refused.stdout.is_empty(), "{refused:?}");
    }
    let log = program.errors();
    assert!(log.contains("refused: ") && log.contains("--allow 127.0.0.1"), "{log}");
    assert!(log.contains("refused: at the metrics: "), "{log}");
    assert!(Client::mount(program.dial(), MSIZE, "").is_ok(), "the others are served");
    let open = serve().option("--allow", "127.0.0.1").start();
    let allowed = as_stranger(&place, open.dial());
    assert!(allowed.status.success(), "{allowed:?}");
}

/// The system would kill a program that ignores the limit (SIGXFSZ).
#[test]
fn a_write_beyond_the_limit_of_a_files_size_is_an_error_to_it_alone() {
    const LIMIT: u64 = 64 * 1024;
    let place = Place::new();
    fs::write(place.root().join("f"), vec![1; LIMIT as usize]).expect("a new file");
    let program = Serve::with_file_size("tcp!127.0.0.1!0", LIMIT)
        .flag("--export")
        .option("--root", place.root())
        .start();
    let mut client = Client::mount(program.dial(), MSIZE, "#U").expect("it serves");
    for offset in [LIMIT, LIMIT - 2, LIMIT + 1_000_000] {
        let refused = client.write(&["f"], offset, b"more");
        assert_eq!(refused, Err(Failure::Error("File too large".into())));
    }
    assert_eq!(client.write(&["f"], 10, b"less"), Ok(4));
    assert_eq!(client.read(&["f"], 10, 4).expect("it lives"), b"less");
    assert_eq!(fs::metadata(place.root().join("f")).expect("it is there").len(), LIMIT);
}

#[test]
fn a_log_that_cant_be_written_ends_nothing() {
    const LIMIT: u64 = 512;
    let place = Place::new();
    let serve = Serve::with_file_size("tcp!127.0.0.1!0", LIMIT).flag("-v");
    let program = serve.option("--root", place.root()).start();
    // Each is told of in the log, which is full after a few of them.
    for _ in 0..20 {
        let mut client = Client::mount(program.dial(), MSIZE, "").expect("it serves");
        client.stat(&["ctl"]).expect("it lives");
    }
    assert_eq!(program.errors().len() as u64, LIMIT, "{}", program.errors());
}
