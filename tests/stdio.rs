//! A server that somebody else connects: on its standard input and output (Inferno's
//! `mount {command}`, Plan 9's `srv -e`, inetd), and on sockets that it inherits (systemd).

mod support;

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use styx::frame::split_frame;
use styx::{NOFID, NOTAG, Rmsg, Tmsg, UpTo16, VERSION, omode};
use support::client::{Client, MSIZE};
use support::program::Place;

/// How long a process may take to end by itself.
const PATIENCE: Duration = Duration::from_secs(60);

fn dsfs(root: &Path, listen: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dsfs"));
    command.args(["serve", "--listen", listen, "--root"]).arg(root).stderr(Stdio::null());
    command
}

/// Kills the process if the test fails before it ends.
struct Process(Child);

impl Process {
    fn exit_code(mut self) -> Option<i32> {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if let Some(status) = self.0.try_wait().expect("the process is ours") {
                return status.code();
            }
            thread::sleep(Duration::from_millis(5));
        }
        panic!("the server goes on when its client is gone");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A client on two streams, one for each way.
struct Pair<R, W> {
    input: R,
    output: W,
}

impl<R: Read, W: Write> Pair<R, W> {
    fn rpc<T>(&mut self, request: &Tmsg<'_>, with: impl FnOnce(&Rmsg<'_>) -> T) -> T {
        let tag = if matches!(request, Tmsg::Version { .. }) { NOTAG } else { 1 };
        let mut frame = Vec::new();
        request.encode(tag, &mut frame);
        self.output.write_all(&frame).expect("the server reads");
        let mut bytes = Vec::new();
        loop {
            if let Some((frame, rest)) = split_frame(&bytes, MSIZE).expect("a frame, and no text") {
                assert!(rest.is_empty(), "one reply and nothing else");
                let (replied, reply) = Rmsg::decode(frame).expect("an R-message");
                assert_eq!(replied, tag);
                return with(&reply);
            }
            let mut piece = [0; 4096];
            let count = self.input.read(&mut piece).expect("the server answers");
            assert_ne!(count, 0, "the server hung up");
            bytes.extend(&piece[..count]);
        }
    }

    /// Mounts it, makes a device, and reads that.
    fn use_it(&mut self) {
        let ok = |reply: &Rmsg<'_>| {
            assert!(!matches!(reply, Rmsg::Error { .. }), "{reply:?}");
        };
        self.rpc(&Tmsg::Version { msize: MSIZE, version: VERSION }, ok);
        self.rpc(&Tmsg::Attach { fid: 0, afid: NOFID, uname: "me", aname: "" }, ok);
        self.rpc(
            &Tmsg::Walk { fid: 0, newfid: 1, names: UpTo16::from_slice(&["ctl"]).expect("one") },
            ok,
        );
        self.rpc(&Tmsg::Open { fid: 1, mode: omode::OWRITE }, ok);
        self.rpc(&Tmsg::Write { fid: 1, offset: 0, data: b"part p0 a 2 3" }, ok);
        self.rpc(
            &Tmsg::Walk { fid: 0, newfid: 2, names: UpTo16::from_slice(&["p0"]).expect("one") },
            ok,
        );
        self.rpc(&Tmsg::Open { fid: 2, mode: omode::OREAD }, ok);
        let read = Tmsg::Read { fid: 2, offset: 0, count: 100 };
        let data = self.rpc(&read, |reply| match reply {
            Rmsg::Read { data } => data.to_vec(),
            other => panic!("{other:?}"),
        });
        assert_eq!(data, b"cde");
    }
}

fn place() -> Place {
    let place = Place::new();
    std::fs::write(place.root().join("a"), "abcdefgh").expect("a new file");
    place
}

#[test]
fn two_pipes_as_inferno_has_them() {
    let place = place();
    let pipe = || -> (PipeReader, PipeWriter) { io::pipe().expect("a pipe") };
    let ((to_server, output), (input, from_server)) = (pipe(), pipe());
    let mut command = dsfs(&place.root(), "stdio");
    let child = command.stdin(to_server).stdout(from_server).spawn().expect("the program starts");
    // It holds the server's ends, whose closing is what ends both sides.
    drop(command);
    let mut pair = Pair { input, output };
    pair.use_it();
    drop(pair);
    assert_eq!(Process(child).exit_code(), Some(0));
}

#[test]
fn one_socket_as_inetd_and_srv_have_it() {
    let place = place();
    let (ours, its) = UnixStream::pair().expect("a socket pair");
    let its: OwnedFd = its.into();
    let mut command = dsfs(&place.root(), "stdio");
    command.stdin(its.try_clone().expect("another handle")).stdout(its);
    let child = command.spawn().expect("the program starts");
    drop(command);
    let mut pair = Pair { input: ours.try_clone().expect("another handle"), output: ours };
    pair.use_it();
    drop(pair);
    assert_eq!(Process(child).exit_code(), Some(0));
}

/// Starts it as systemd would, with a listening socket as file descriptor 3: a shell puts it there.
fn activated(socket: OwnedFd, root: &Path) -> Process {
    let mut shell = Command::new("sh");
    let script = "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" \"$@\"";
    shell.args([
        "-c",
        script,
        env!("CARGO_BIN_EXE_dsfs"),
        "serve",
        "--listen",
        "systemd",
        "--root",
    ]);
    shell.arg(root).stdin(socket).stdout(Stdio::null()).stderr(Stdio::null());
    Process(shell.spawn().expect("a shell"))
}

#[test]
fn sockets_of_systemd() {
    let place = place();
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let dial = format!("tcp!127.0.0.1!{}", tcp.local_addr().expect("it is bound").port());
    let path = place.root().join("socket");
    let unix = UnixListener::bind(&path).expect("a socket");
    let dial_unix = format!("unix!{}", path.display());
    for (socket, dial) in [(tcp.into(), dial), (unix.into(), dial_unix)] {
        let _process = activated(socket, &place.root());
        // It listens already: a client only has to wait until it is served.
        for _ in 0..2 {
            let mut client = Client::mount(&dial, MSIZE, "").expect("the server is there");
            assert_eq!(client.ls(&[""; 0]).expect("a directory")[0].name, "ctl");
        }
    }
    assert!(path.exists(), "the socket is systemd's, and stays");
}

#[test]
fn no_sockets_of_systemd_is_told() {
    let place = place();
    let mut said = File::from(OwnedFd::from(tempfile::tempfile().expect("a temporary file")));
    let mut command = dsfs(&place.root(), "systemd");
    command.stderr(said.try_clone().expect("another handle")).stdout(Stdio::null());
    let child = command.env_remove("LISTEN_FDS").spawn().expect("the program starts");
    assert_eq!(Process(child).exit_code(), Some(1));
    let mut text = String::new();
    io::Seek::rewind(&mut said).expect("a file");
    said.read_to_string(&mut text).expect("text");
    assert!(text.contains("LISTEN_FDS"), "{text}");
}
