//! What a long copy says of itself at a terminal, and nowhere else.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use super::Server;
use super::support::program::eventually;
use super::support::terminal::Screen;

/// Writes a byte at a time for as long as it takes until the terminal shows something.
#[test]
fn a_long_write_says_how_far_it_is_and_a_pipe_hears_nothing() {
    let server = Server::start();
    server.ok(&["ctl", "cat", "c0", "/chunk0"]);
    let (screen, theirs) = Screen::new();
    let mut child = Command::new(env!("CARGO_BIN_EXE_dsfs"))
        .args(["write", "c0", "--msize", "256", "-a", server.program.dial()])
        .env("TERM", "xterm")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(theirs)
        .spawn()
        .expect("the program runs");
    let mut stdin = child.stdin.take().expect("it is a pipe");
    let mut left = 8192 / 8;
    eventually("the terminal shows how much is done", || {
        // As much as a message carries, and never more than the device takes.
        if left > 0 {
            left -= 1;
            stdin.write_all(&[1; 8]).expect("it reads");
        }
        screen.has("B/s").then_some(())
    });
    drop(stdin);
    assert!(child.wait().expect("it is ours").success());
    let shown = screen.all();
    let last = shown.rsplit('\r').find(|line| line.contains("B/s")).expect("it was seen");
    assert!(last.contains(" KiB, ") || last.contains(" B, "), "{shown:?}");

    let mut quiet = Command::new(env!("CARGO_BIN_EXE_dsfs"))
        .args(["write", "c0", "-a", server.program.dial()])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    drop(quiet.stdin.take());
    let mut said = String::new();
    quiet.stderr.take().expect("a pipe").read_to_string(&mut said).expect("it is text");
    assert_eq!((quiet.wait().expect("ours").success(), said.as_str()), (true, ""));
}
