//! The program from outside: exit statuses, and what it says when it is used wrongly or finds no
//! server. What it does at a server is in the other files.

use std::io::Write;
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};

fn dsfs(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dsfs"));
    command.args(args).stdin(Stdio::null()).output().expect("the program runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("the program prints text")
}

/// Runs it; it is to exit with `status`, to print nothing, and to say all of `said`.
#[track_caller]
fn fails(args: &[&str], status: i32, said: &[&str]) {
    let output = dsfs(args);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{args:?}: {error}");
    assert_eq!(text(&output.stdout), "", "{args:?}");
    for part in said {
        assert!(error.contains(part), "{args:?} says nothing of {part:?}: {error}");
    }
}

/// An address where nobody listens.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    format!("tcp!127.0.0.1!{}", listener.local_addr().expect("it is bound").port())
}

#[test]
fn wrong_usage_is_2() {
    fails(&[], 2, &["Usage: dsfs"]);
    fails(&["mount"], 2, &["mount", "Usage: dsfs"]);
    fails(&["ls", "--frob"], 2, &["--frob"]);
    fails(&["read"], 2, &["<PATH>"]);
    fails(&["read", "m0", "file", "c0"], 2, &["c0"]);
    fails(&["read", "m0", "--resume"], 2, &["<FILE>"]);
    fails(&["write", "m0", "file", "--text", "a"], 2, &["--text"]);
    fails(&["zeros", "8Q", "file"], 2, &["8Q", "64M"]);
    fails(&["read", "m0", "--offset", "-1"], 2, &["-1"]);
    fails(&["read", "m0", "--count", "lots"], 2, &["lots"]);
    fails(&["rm"], 2, &["<PATH>"]);
    fails(&["lab15", "extra"], 2, &["extra"]);
}

#[test]
fn a_bad_address_is_wrong_usage_and_the_error_shows_a_good_one() {
    let form = "tcp!HOST!SERVICE, unix!/PATH";
    fails(&["ls", "-a", "localhost:6666"], 2, &["localhost:6666", "a '!', not a ':'", form]);
    fails(&["ls", "-a", "tcp!*!styx"], 2, &["only a listener", form]);
    fails(&["serve", "--listen", "6666"], 2, &["'6666'", form, "stdio or systemd"]);
    fails(&["serve", "--allow", "10.0.0.1/8"], 2, &["10.0.0.1/8", "ADDRESS/BITS"]);
}

#[test]
fn limits_are_checked_and_told() {
    fails(&["ls", "--msize", "255"], 2, &["255", "256..=1048600"]);
    fails(&["ls", "--msize", "1048601"], 2, &["1048601", "256..=1048600"]);
    fails(&["serve", "--msize", "0"], 2, &["256..=1048600"]);
    fails(&["serve", "--workers", "0"], 2, &["1..=256"]);
    fails(&["serve", "--dialect", "p9"], 2, &["devds, plan9"]);
    fails(&["serve", "--owner", "a b"], 2, &["'--owner <NAME>'"]);
}

#[test]
fn help_and_version_are_0() {
    for args in [&["--help"][..], &["-V"], &["help", "serve"], &["ctl", "-h"]] {
        let output = dsfs(args);
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert!(text(&output.stdout).contains("dsfs"), "{args:?}");
        assert_eq!(text(&output.stderr), "", "{args:?}");
    }
}

#[test]
fn no_server_is_1_and_the_error_says_how_to_start_one() {
    let addr = nobody();
    let start = format!("dsfs serve --listen '{addr}'");
    let commands: [&[&str]; 11] = [
        &["ls"],
        &["read", "m0"],
        &["write", "m0", "--text", "text"],
        &["stat", "m0"],
        &["rm", "m0"],
        &["ctl"],
        &["ctl", "cat", "c0"],
        &["tree"],
        &["map", "m0"],
        &["status"],
        &["top"],
    ];
    for command in commands {
        let args = [command, &["-a", &addr]].concat();
        fails(&args, 1, &[&addr, "Connection refused", &start]);
    }
    fails(&["ls", "-a", "unix!/nonexistent/socket"], 1, &["unix!/nonexistent/socket", "serve"]);
}

/// The thing, the place and the next step.
#[test]
fn a_server_that_does_not_start_says_what_to_do() {
    let root = tempfile::tempdir().expect("a directory");
    let root = root.path().to_str().expect("it is text");
    let serve = |args: &[&str], said: &[&str]| {
        let listen = if args.contains(&"--listen") { "--sync" } else { "--listen=tcp!127.0.0.1!0" };
        fails(&[&["serve", "--root", root, listen], args].concat(), 1, said);
    };
    let there = "names a file or directory that is there";
    for option in ["--namespace", "--config"] {
        serve(&[option, "/nonexistent/file"], &["/nonexistent/file: No such file", option, there]);
    }
    serve(&["--trace", "/nonexistent/file"], &["/nonexistent/file: ", "--trace names a file"]);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let used = format!("tcp!127.0.0.1!{}", listener.local_addr().expect("it is bound").port());
    serve(&["--listen", &used], &[&used, "in use", "port 0 is any free one"]);
    drop(listener);
    serve(&["--listen", "unix!/nonexistent/s"], &["unix!/nonexistent/s", "its directory must be"]);
    serve(&["--listen", "systemd"], &["LISTEN_FDS", "systemd-socket-activate"]);
    let gone = ["serve", "--root", "/nonexistent/root"];
    fails(&gone, 1, &["/nonexistent/root: No such file", "--root names a directory that is there"]);
    fails(&["check", "/nonexistent"], 1, &["/nonexistent/ctl: ", "--state of a server"]);
}

#[test]
fn what_is_no_9p_server_is_told_from_one() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = format!("tcp!127.0.0.1!{}", listener.local_addr().expect("it is bound").port());
    // The last two are: one refuses to speak, and one would take messages of 100 bytes.
    let greetings: [&[u8]; 5] = [
        b"",
        b"SSH-2.0-OpenSSH_9.7\r\n",
        b"\x07\0\0\0\xff\xff\xff",
        b"\x0b\0\0\0\x6b\xff\xff\x02\0no",
        b"\x13\0\0\0\x65\xff\xff\x64\0\0\0\x06\x009P2000",
    ];
    let server = std::thread::spawn(move || {
        for greeting in greetings {
            let (mut stream, _) = listener.accept().expect("a client");
            stream.write_all(greeting).expect("the client is there");
        }
    });
    for said in ["9P2000 server", "9P2000 server", "9P2000 server", "no", "messages of 100 bytes"] {
        fails(&["ls", "-a", &addr], 1, &[&addr, said]);
    }
    server.join().expect("the server thread is well");
}
