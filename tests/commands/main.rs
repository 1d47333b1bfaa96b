//! The client's commands and `lab15`, as processes, at the real server.

#[path = "../support/mod.rs"]
mod support;

mod copies;
mod progress;
mod zeros;

use std::fs;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use support::program::{Place, Program, Serve};

struct Server {
    program: Program,
    place: Place,
}

/// What a command did: its exit status, its output and its errors.
#[derive(Debug, PartialEq, Eq)]
struct Did {
    status: i32,
    out: Vec<u8>,
    err: String,
}

/// How long a command may take. Far more than any of them needs: a loaded machine must not fail a
/// test.
const LIMIT: Duration = Duration::from_secs(60);

/// Reads a stream to its end, so that its other end never waits.
fn drain(mut stream: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("a pipe can be read");
        bytes
    })
}

fn spawn(args: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_dsfs"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs")
}

/// Waits for a command, and kills it when it takes too long.
fn end(mut child: Child) -> Did {
    let out = child.stdout.take().map(drain);
    let err = drain(child.stderr.take().expect("it is a pipe"));
    let start = Instant::now();
    let status = loop {
        match child.try_wait().expect("the process is ours") {
            Some(status) => break status,
            None if start.elapsed() > LIMIT => child.kill().expect("the process is ours"),
            None => thread::sleep(Duration::from_millis(2)),
        }
    };
    let bytes = |drained: JoinHandle<Vec<u8>>| drained.join().expect("the thread is well");
    Did {
        status: status.code().expect("it ends by itself, and in time"),
        out: out.map(bytes).unwrap_or_default(),
        err: String::from_utf8(bytes(err)).expect("errors are text"),
    }
}

fn run(args: &[&str], input: &[u8]) -> Did {
    let mut child = spawn(args);
    let mut stdin = child.stdin.take().expect("it is a pipe");
    let input = input.to_vec();
    // A command that needs no input may have ended.
    let writer = thread::spawn(move || drop(stdin.write_all(&input)));
    let did = end(child);
    writer.join().expect("the thread is well");
    did
}

impl Server {
    /// With two files of 8192 bytes, full of 0 and of 1, and the owner `ds`.
    fn start() -> Server {
        let place = Place::new();
        for i in [0u8, 1] {
            fs::write(place.root().join(format!("chunk{i}")), [i; 8192]).expect("a file");
        }
        let program = Serve::on("tcp!127.0.0.1!0")
            .and_on(&format!("unix!{}", place.path().join("socket").display()))
            .option("--root", place.root())
            .option("--owner", "ds")
            .start();
        Server { program, place }
    }

    fn run_with(&self, args: &[&str], input: &[u8]) -> Did {
        run(&[args, &["-a", self.program.dial()]].concat(), input)
    }

    /// Runs a command that is to succeed; what it prints.
    #[track_caller]
    fn ok(&self, args: &[&str]) -> String {
        let did = self.run_with(args, b"");
        assert_eq!((did.status, did.err.as_str()), (0, ""), "{args:?}");
        String::from_utf8(did.out).expect("it prints text")
    }

    /// Runs a command that is to fail with this error; what it prints all the same.
    #[track_caller]
    fn fails(&self, args: &[&str], error: &str) -> String {
        let did = self.run_with(args, b"");
        assert_eq!((did.status, did.err), (1, format!("dsfs: {error}\n")), "{args:?}");
        String::from_utf8(did.out).expect("it prints text")
    }
}

#[test]
fn devices_are_made_listed_read_and_written() {
    let server = Server::start();
    assert_eq!(server.ok(&["ctl"]), "");
    server.ok(&["ctl", "cat", "c0", "/chunk0", "/chunk1"]);
    server.ok(&["ctl", "part p0 ds/c0 8190 4"]);
    assert_eq!(server.ok(&["ctl"]), "cat c0 /chunk0 /chunk1\npart p0 ds/c0 8190 4\n");
    assert_eq!(server.ok(&["ls"]), "c0\nctl\np0\n");
    assert_eq!(server.ok(&["ls", "/"]), "/c0\n/ctl\n/p0\n");
    assert_eq!(server.ok(&["ls", "p0", "./c0", "ctl"]), "./c0\nctl\np0\n");
    assert_eq!(server.ok(&["ls", "-d"]), "/\n");

    assert_eq!(server.run_with(&["read", "p0"], b"").out, [0, 0, 1, 1]);
    server.ok(&["write", "p0", "--text", "abc"]);
    assert_eq!(server.ok(&["read", "p0", "--count", "3"]), "abc");
    server.ok(&["write", "c0", "--text", "X", "--offset", "8191"]);
    assert_eq!(server.ok(&["read", "p0", "--offset", "1", "--count", "2"]), "Xc");
    assert_eq!(server.ok(&["read", "p0", "--offset", "4"]), "");
    assert_eq!(fs::read(server.place.root().join("chunk1")).expect("it is there")[..2], *b"c\x01");
}

#[test]
fn a_file_of_the_exported_root_is_removed() {
    let place = Place::new();
    fs::write(place.root().join("f"), "x").expect("a new file");
    let serve = Serve::on("tcp!127.0.0.1!0").flag("--export").option("--root", place.root());
    let server = Server { program: serve.start(), place };
    assert_eq!(server.ok(&["rm", "-A", "#U", "f"]), "");
    assert!(!server.place.root().join("f").exists());
}

#[test]
fn a_long_listing_has_inferno_s_columns() {
    let server = Server::start();
    server.ok(&["ctl", "cat", "c0", "/chunk0", "/chunk1"]);
    server.ok(&["ctl", "part", "p0", "ds/c0", "0", "4"]);
    let listed = server.ok(&["ls", "-l", "c0", "p0"]);
    let old = "\
--rw-rw-rw- M 2 ds ds 16384 Jan 01  1970 c0
--rw-rw-rw- M 2 ds ds     4 Jan 01  1970 p0
";
    assert_eq!(listed, old);
    let two_levels = server.ok(&["ls", "-l", "-A", "#k", "ds/p0"]);
    assert_eq!(two_levels, "--rw-rw-r-- M 2 ds ds 4 Jan 01  1970 ds/p0\n");
    let root = server.ok(&["ls", "-ld", "/"]);
    assert!(root.starts_with("d-rwxrwxr-x M 2 ds ds 0 ") && root.ends_with(" /\n"), "{root}");
}

#[test]
fn stat_prints_every_field() {
    let server = Server::start();
    server.ok(&["ctl", "cat", "c0", "/chunk0"]);
    let printed = server.ok(&["stat", "c0"]);
    let fields: Vec<&str> = printed.lines().filter(|line| !line.starts_with("qid")).collect();
    let want = [
        "name   c0",
        "mode   666 --rw-rw-rw-",
        "atime  0",
        "mtime  0",
        "length 8192",
        "owner  ds",
        "group  ds",
        "muid   ds",
    ];
    assert_eq!(fields, want);
    assert!(printed.contains("qid    (0000000000000003 "), "{printed}");
}

#[test]
fn errors_name_the_file_and_say_what_the_server_says() {
    let server = Server::start();
    server.ok(&["ctl", "cat", "c0", "/chunk0"]);
    server.fails(&["read", "c1"], "c1: file does not exist; 'dsfs ls' lists what there is");
    server.fails(&["stat", "c0/x"], "c0/x: not a directory");
    server.fails(&["rm", "c0"], "c0: permission denied");
    server.fails(&["read", "/"], "/: is a directory; 'dsfs ls' lists it");
    let none = "ctl: '/none' file does not exist; the server looks names up in its name space, \
                which begins at its --root";
    server.fails(&["ctl", "cat", "c1", "/none"], none);
    let taken = "ctl: file already exists; 'dsfs ctl' shows what is configured";
    server.fails(&["ctl", "cat c0 /chunk1"], taken);
    let unknown = "ctl: unknown control message \"'a b' c\"; dsfs-ctl(3) has those there are";
    server.fails(&["ctl", "a b", "c"], unknown);
    server.fails(
        &["write", "c0", "--text", "abc", "--offset", "8190"],
        "c0: took no byte past 8192; it is full, or ends there",
    );
    let listed = server.fails(
        &["ls", "-d", "c0", "none", "ctl"],
        "none: file does not exist; 'dsfs ls' lists what there is",
    );
    assert_eq!(listed, "c0\nctl\n", "the others are listed");
    server.fails(&["ls", "-A", "nowhere"], "nowhere: unknown attach name");
}

#[test]
fn a_saved_ctl_is_sent_a_line_a_message_until_one_fails() {
    let server = Server::start();
    let saved = b"fsdev:\ncat c0 /chunk0\n\npart p0 ds/c0 0 9\ncat c1 /none\ncat c2 /chunk1\n";
    let did = server.run_with(&["ctl", "-"], saved);
    let error = "dsfs: line 5: ctl: '/none' file does not exist; the server looks names up in its \
                 name space, which begins at its --root\n";
    assert_eq!(did, Did { status: 1, out: vec![], err: error.into() });
    let text = server.ok(&["ctl"]);
    assert_eq!(text, "cat c0 /chunk0\npart p0 ds/c0 0 9\n");

    let other = Server::start();
    assert_eq!(other.run_with(&["ctl", "-"], text.as_bytes()).status, 0);
    assert_eq!(other.ok(&["ctl"]), text);
}

/// Through files of several messages, and with the smallest and the largest.
#[test]
fn long_reads_and_writes_are_whole() {
    let server = Server::start();
    let data: Vec<u8> =
        (0..3_000_001u32).map(|j| (j.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    fs::write(server.place.root().join("big"), vec![0; data.len()]).expect("a file");
    server.ok(&["ctl", "cat", "big", "/chunk0", "/big", "/chunk1"]);
    let dials = server.program.dials();
    for (dial, msize, offset) in
        [(&dials[0], "1048600", 8192), (&dials[1], "8216", 8193), (&dials[1], "256", 8190)]
    {
        let offset = offset.to_string();
        let common = ["big", "-a", dial, "--msize", msize, "--offset", &offset];
        let few = if msize == "256" { &data[..50_000] } else { &data[..] };
        let wrote = run(&[&["write"], &common[..]].concat(), few);
        assert_eq!((wrote.status, wrote.err.as_str()), (0, ""), "msize {msize}");
        let count = few.len().to_string();
        let read = run(&[&["read"], &common[..], &["--count", &count]].concat(), b"");
        assert_eq!((read.status, read.err.as_str()), (0, ""), "msize {msize}");
        assert!(read.out == few, "msize {msize}: {} bytes of {count}", read.out.len());
    }
}

/// Three reads in one packet, of which two fill the server's output: that went out whole, no event
/// came any more, and the third read was never answered.
#[test]
fn a_full_output_that_drains_at_once_leaves_no_request_behind() {
    let server = Server::start();
    fs::write(server.place.root().join("big"), vec![7; 3 << 20]).expect("a file");
    server.ok(&["ctl", "cat", "big", "/big"]);
    for _ in 0..20 {
        let did = server.run_with(&["read", "big", "--msize", "1048600"], b"");
        assert_eq!((did.status, did.out.len()), (0, 3 << 20));
    }
}

/// Who closes the output has seen enough: nothing is told.
#[test]
fn a_reader_that_goes_away_is_no_news() {
    let server = Server::start();
    fs::write(server.place.root().join("big"), vec![0; 1 << 20]).expect("a file");
    server.ok(&["ctl", "cat", "big", "/big"]);
    let mut child = spawn(&["read", "big", "-a", server.program.dial()]);
    drop(child.stdout.take());
    let did = end(child);
    assert_eq!((did.status, did.err.as_str()), (1, ""));
}

/// The transcript, against the recording of the lab and not against what the command compares with.
#[test]
fn lab15_is_the_lab() {
    let recorded = include_str!("../golden/lab15.jsonl");
    let case: serde_json::Value = serde_json::from_str(recorded).expect("one case");
    let mut want = Vec::new();
    for step in case["steps"].as_array().expect("steps") {
        want.extend(step["shell"].as_str().map(|shell| format!("% {shell}")));
        let console = step["console"].as_array().into_iter().flatten();
        want.extend(console.map(|line| line.as_str().expect("a line").to_owned()));
    }
    let did = run(&["lab15"], b"");
    let out = String::from_utf8(did.out).expect("a transcript is text");
    assert_eq!((did.status, did.err.as_str()), (0, ""), "{out}");
    let here: Vec<&str> = out.lines().collect();
    assert_eq!(here.len(), want.len(), "{out}");
    for (line, want) in here.iter().zip(&want) {
        // In the recording the owner is OWNER, and the date of ctl, which is not to be compared, DATE.
        let owner = line.split(' ').nth(3).unwrap_or_default();
        let mut masked = line.replace(&format!(" {owner} {owner} "), " OWNER OWNER ");
        if let Some((head, _)) = want.split_once(" DATE ") {
            let head = masked.get(..head.len()).unwrap_or_default();
            masked = format!("{head} DATE ds/ctl");
        }
        assert_eq!(masked, *want, "{out}");
    }
}
