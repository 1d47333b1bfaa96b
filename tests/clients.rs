//! Many clients of one server, and odd ones: who do not wait, do not read, send a byte at a time,
//! change their mind, hang up anywhere; over TCP, Unix sockets and standard input and output; and the
//! end of the server in the middle of it all.

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};
use std::thread;

use styx::frame::split_frame;
use styx::{NOFID, NOTAG, Rmsg, Tmsg, VERSION, omode};
use support::client::{Client, Failure, MSIZE, Reply};
use support::fault_server::FaultServer;
use support::program::{Place, Program, Serve, eventually};
use support::text::pattern;

/// The largest msize that dsfs agrees to, in bytes.
const LARGEST: u32 = (1 << 20) + 24;

/// A server of some files.
struct Server {
    // Before the place, so that it is killed first.
    program: Program,
    place: Place,
}

impl Server {
    /// With these files, and devices by these control messages.
    fn start(files: &[(&str, Vec<u8>)], ctl: &[&str]) -> Server {
        Server::start_with(files, ctl, "")
    }

    /// As [`Server::start`], with more lines in its name space.
    fn start_with(files: &[(&str, Vec<u8>)], ctl: &[&str], namespace: &str) -> Server {
        let place = Place::new();
        for (name, data) in files {
            fs::write(place.root().join(name), data).expect("a new file");
        }
        let text = format!("bind #U /\nbind #k/ds /ds\n{namespace}");
        let namespace = place.file("namespace", &text);
        let program = Serve::on("tcp!127.0.0.1!0")
            .option("--root", place.root())
            .option("--namespace", namespace)
            .start();
        let server = Server { program, place };
        let mut client = server.client(MSIZE);
        for message in ctl {
            client.ctl(message).unwrap_or_else(|error| panic!("{message}: {error}"));
        }
        server
    }

    fn client(&self, msize: u32) -> Client {
        Client::mount(self.program.dial(), msize, "").expect("it serves")
    }

    fn file(&self, name: &str) -> Vec<u8> {
        fs::read(self.place.root().join(name)).expect("it is there")
    }

    fn dial(&self) -> TcpStream {
        let port = self.program.dial().rsplit('!').next().expect("tcp!host!port");
        let stream = TcpStream::connect(("127.0.0.1", port.parse::<u16>().expect("a port")));
        stream.expect("it listens")
    }

    /// All that clients had is given back but what `open` says.
    fn await_open_files(&self, open: usize) {
        eventually("the server closes what is gone", || {
            (self.program.open_files() == open).then_some(())
        });
    }
}

/// A whole session so far: version, attach, and a walk of fid 1 to a file that is opened.
fn opening(name: &str, msize: u32) -> Vec<u8> {
    let mut out = Vec::new();
    Tmsg::Version { msize, version: VERSION }.encode(NOTAG, &mut out);
    Tmsg::Attach { fid: 0, afid: NOFID, uname: "root", aname: "" }.encode(1, &mut out);
    let names = styx::UpTo16::from_slice(&[name]).expect("one name");
    Tmsg::Walk { fid: 0, newfid: 1, names }.encode(2, &mut out);
    Tmsg::Open { fid: 1, mode: omode::ORDWR }.encode(3, &mut out);
    out
}

fn encoded(tag: u16, request: &Tmsg<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    request.encode(tag, &mut out);
    out
}

/// A hundred requests of every kind that a client may send without waiting; each tag's answer.
fn a_hundred(client: &mut Client, whole: &[u8], mine: usize) -> Vec<(u16, String)> {
    let fid = client.open_both(&["d"]).expect("it is there");
    let other = client.walk_to(&["d"]).expect("it is there");
    (0..100)
        .map(|number: usize| {
            let offset = number * 2_500;
            let count = 1 + number * 73;
            let (request, wanted) = match number % 4 {
                0 | 1 => {
                    let data = &whole[offset..offset + count];
                    let wanted = format!("{:?}", Rmsg::Read { data });
                    (Tmsg::Read { fid, offset: offset as u64, count: count as u32 }, wanted)
                }
                2 => (Tmsg::Stat { fid: other }, "Stat".to_owned()),
                _ => {
                    let at = (mine + number) as u64;
                    let wanted = format!("{:?}", Rmsg::Write { count: 1 });
                    (Tmsg::Write { fid, offset: at, data: b"!" }, wanted)
                }
            };
            (client.post(&request).expect("it is sent"), wanted)
        })
        .collect()
}

fn check_all(client: &mut Client, mut wanted: Vec<(u16, String)>) {
    while !wanted.is_empty() {
        let reply = client.receive().expect("an answer");
        let at = wanted.iter().position(|(tag, _)| *tag == reply.tag());
        let (_, wanted) = wanted.swap_remove(at.expect("it was asked for, and not answered"));
        assert!(format!("{:?}", reply.msg()).starts_with(&wanted), "{reply:?}, not {wanted}");
    }
}

#[test]
fn requests_sent_without_waiting_are_answered_while_another_client_reads_nothing() {
    const ASKED: usize = 64;
    let whole = pattern(1, 300_000);
    let files = [("big", vec![7; 1 << 20]), ("f", whole.clone())];
    // Two small files at the end take the writes.
    let messages = ["part big /big 0 1048576", "part d /f 0 300000"];
    let server = Server::start(&files, &messages);
    let mut greedy = server.client(LARGEST);
    let fid = greedy.open_both(&["big"]).expect("it is there");
    let before = server.program.memory();
    for _ in 0..ASKED {
        greedy.post(&Tmsg::Read { fid, offset: 0, count: 1 << 20 }).expect("it is sent");
    }
    let mut clients = [server.client(MSIZE), server.client(65536)];
    let wanted: Vec<_> = clients
        .iter_mut()
        .zip([290_000, 295_000])
        .map(|(client, mine)| a_hundred(client, &whole, mine))
        .collect();
    for (client, wanted) in clients.iter_mut().zip(wanted) {
        check_all(client, wanted);
    }
    let now = server.program.memory();
    assert!(now < before + (16 << 20), "{now} bytes, and {before} before");
    // And all that it asked for is still to be had.
    for _ in 0..ASKED {
        assert!(greedy.receive().expect("an answer").data() == [7; 1 << 20], "wrong bytes");
    }
}

/// A client that reads while it sends keeps the output draining: nothing is left lying.
#[test]
fn a_client_that_reads_and_sends_at_the_same_time_gets_every_answer() {
    const ASKED: u16 = 300;
    let server = Server::start(&[("big", pattern(3, 1 << 20))], &["part big /big 0 1048576"]);
    let mut stream = server.dial();
    stream.write_all(&opening("big", LARGEST)).expect("it is sent");
    let mut sender = stream.try_clone().expect("a second handle");
    thread::scope(|scope| {
        scope.spawn(move || {
            for tag in 10..10 + ASKED {
                let request = Tmsg::Read { fid: 1, offset: 0, count: 1 << 20 };
                sender.write_all(&encoded(tag, &request)).expect("it is sent");
            }
        });
        stream.set_read_timeout(Some(support::client::PATIENCE)).expect("a timeout");
        let (mut input, mut piece, mut answered) = (Vec::new(), vec![0; 1 << 20], 0);
        while answered < usize::from(ASKED) + 4 {
            let got = stream.read(&mut piece).expect("an answer");
            assert!(got > 0, "the server hung up after {answered} answers");
            input.extend_from_slice(&piece[..got]);
            let mut used = 0;
            while let Some((frame, _)) = split_frame(&input[used..], LARGEST).expect("a frame") {
                used += frame.len();
                answered += 1;
            }
            input.drain(..used);
        }
    });
}

#[test]
fn whole_devices_by_the_smallest_and_the_largest_messages() {
    let file = |seed| pattern(seed, 5 * 8192);
    let files = [("a", file(1)), ("b", file(2)), ("c", file(3)), ("d", file(4)), ("e", file(5))];
    let messages =
        ["inter i /a /b /c", "cat k ds/i /d", "part p ds/k 1 160001", "mirror m ds/p /e"];
    let server = Server::start(&files, &messages);
    for (device, length) in [("i", 3 * 40960), ("k", 4 * 40960), ("p", 160_001), ("m", 40960)] {
        for (seed, writer, reader) in [(11, 256, LARGEST), (12, LARGEST, 256), (13, 256, 256)] {
            let data = pattern(seed, length);
            let mut client = server.client(writer);
            assert_eq!(client.msize(), writer);
            let fid = client.open_both(&[device]).expect("it is there");
            for (number, piece) in data.chunks(writer as usize - 24).enumerate() {
                let offset = (number * (writer as usize - 24)) as u64;
                let taken = client.write_at(fid, offset, piece);
                assert_eq!(taken, Ok(piece.len() as u32), "{device} at {offset}");
            }
            let held = server.client(reader).read_all(&[device]);
            assert!(held == Ok(data), "{device}: {writer} to {reader}");
        }
    }
}

#[test]
fn clients_that_hang_up_in_the_middle_leave_nothing_behind() {
    let server = Server::start(&[("big", vec![5; 1 << 20])], &["part big /big 0 1048576"]);
    let open = eventually("the client of the setup is gone", || {
        let open = server.program.open_files();
        thread::sleep(std::time::Duration::from_millis(20));
        (server.program.open_files() == open).then_some(open)
    });
    let opening = opening("big", LARGEST);
    let write = encoded(9, &Tmsg::Write { fid: 1, offset: 0, data: &[6; 5000] });
    let read = encoded(10, &Tmsg::Read { fid: 1, offset: 0, count: 1 << 20 });
    // In the middle of a message, at every place of the first ones.
    for end in 0..opening.len() + 20 {
        let session = [&opening[..], &write].concat();
        server.dial().write_all(&session[..end]).expect("it is sent");
    }
    // In the middle of a long one, and of its answer, with more to come.
    for take in [0, 1, 100, 100_000] {
        let mut stream = server.dial();
        let session = [&opening[..], &read, &read, &read, &read, &write[..1000]].concat();
        stream.write_all(&session).expect("it is sent");
        stream.read_exact(&mut vec![0; take]).expect("an answer");
        drop(stream);
        // And who only says that there is no more, and then reads nothing.
        let mut stream = server.dial();
        stream.write_all(&session).expect("it is sent");
        stream.shutdown(Shutdown::Write).expect("it is open");
        stream.read_exact(&mut vec![0; take]).expect("an answer");
    }
    server.await_open_files(open);
    assert_eq!(server.client(MSIZE).read(&["big"], 0, 3), Ok(vec![5; 3]));
}

#[test]
fn a_client_may_send_a_byte_at_a_time() {
    let server = Server::start(&[("f", pattern(2, 1000))], &["cat d /f"]);
    let mut client = Client::dial(server.program.dial()).expect("it listens");
    let read = encoded(4, &Tmsg::Read { fid: 1, offset: 10, count: 500 });
    let write = encoded(5, &Tmsg::Write { fid: 1, offset: 20, data: b"slowly" });
    for byte in [opening("d", MSIZE), read, write].concat() {
        client.send(&[byte]).expect("it is sent");
    }
    let replies: Vec<Reply> = (0..6).map(|_| client.receive().expect("an answer")).collect();
    assert_eq!(replies[4].data(), &pattern(2, 1000)[10..510]);
    assert_eq!(format!("{:?}", replies[5]), "tag 5 Write { count: 6 }");
    assert_eq!(&server.file("f")[20..26], b"slowly");
}

#[test]
fn many_quick_connections() {
    let server = Server::start(&[("f", pattern(2, 1000))], &["cat d /f"]);
    drop(server.client(MSIZE));
    let open = eventually("clients are gone", || {
        let open = server.program.open_files();
        thread::sleep(std::time::Duration::from_millis(20));
        (server.program.open_files() == open).then_some(open)
    });
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for number in 0..150 {
                    match number % 3 {
                        0 => drop(server.dial()),
                        1 => server.dial().write_all(&opening("d", MSIZE)).expect("it is sent"),
                        _ => {
                            let read = server.client(MSIZE).read(&["d"], 990, 20);
                            assert_eq!(read, Ok(pattern(2, 1000)[990..].to_vec()));
                        }
                    }
                }
            });
        }
    });
    server.await_open_files(open);
}

/// `dsfs serve --listen stdio`, with a device `d` of a file of its root.
fn serve_stdio(place: &Place, stdin: Stdio, stdout: Stdio) -> Child {
    fs::write(place.root().join("f"), pattern(4, 5000)).expect("a new file");
    let config = place.file("saved", "fsdev:\ncat d /f\n");
    Command::new(env!("CARGO_BIN_EXE_dsfs"))
        .args(["serve", "--listen", "stdio", "--root"])
        .arg(place.root())
        .arg("--config")
        .arg(config)
        .stdin(stdin)
        .stdout(stdout)
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts")
}

/// A session of forty reads, and the answers that are to come.
fn forty() -> (Vec<u8>, usize) {
    let mut session = opening("d", MSIZE);
    for tag in 10..50 {
        session.extend(encoded(tag, &Tmsg::Read { fid: 1, offset: u64::from(tag), count: 4000 }));
    }
    (session, 44)
}

fn check_forty(answers: &[u8], count: usize) {
    let (mut rest, mut came) = (answers, 0);
    while let Some((frame, after)) = split_frame(rest, MSIZE).expect("a frame") {
        let (tag, reply) = Rmsg::decode(frame).expect("a reply");
        if let Rmsg::Read { data } = reply {
            let at = usize::from(tag);
            assert!(data == &pattern(4, 5000)[at..at + 4000], "{tag}");
        }
        assert!(!matches!(reply, Rmsg::Error { .. }), "{reply:?}");
        (rest, came) = (after, came + 1);
    }
    assert_eq!((came, rest.len()), (count, 0));
}

#[test]
fn standard_input_and_output_as_two_pipes() {
    let place = Place::new();
    let mut child = serve_stdio(&place, Stdio::piped(), Stdio::piped());
    let (session, count) = forty();
    // All of it, and its end, before anything is read.
    child.stdin.take().expect("a pipe").write_all(&session).expect("it is sent");
    let mut answers = Vec::new();
    child.stdout.take().expect("a pipe").read_to_end(&mut answers).expect("it ends");
    check_forty(&answers, count);
    assert!(child.wait().expect("it is ours").success());
}

#[test]
fn standard_input_and_output_as_one_socket() {
    let place = Place::new();
    let (mut ours, theirs) = UnixStream::pair().expect("a pair");
    let (input, output) = (theirs.try_clone().expect("a second handle"), theirs);
    let mut child = serve_stdio(&place, OwnedFd::from(input).into(), OwnedFd::from(output).into());
    let (session, count) = forty();
    ours.write_all(&session).expect("it is sent");
    ours.shutdown(Shutdown::Write).expect("it is open");
    let mut answers = Vec::new();
    ours.read_to_end(&mut answers).expect("it ends");
    check_forty(&answers, count);
    assert!(child.wait().expect("it is ours").success());
}

#[test]
fn a_client_on_standard_output_that_is_gone_ends_the_server() {
    let place = Place::new();
    let mut child = serve_stdio(&place, Stdio::piped(), Stdio::piped());
    drop(child.stdout.take());
    let mut input = child.stdin.take().expect("a pipe");
    // The server may be gone before all of it is sent.
    let _ = input.write_all(&forty().0);
    assert!(child.wait().expect("it is ours").success());
}

/// Writes numbers, one after the other at places of its own, many of them under way, until the
/// server is gone; those that it has taken.
fn write_numbers((mut client, fid): (Client, u32), base: u64) -> Vec<u64> {
    let mut under_way = std::collections::HashMap::new();
    let mut taken = Vec::new();
    for number in 0..5000u64 {
        let data = (base + number).to_le_bytes();
        let offset = 8 * (base + number);
        match client.post(&Tmsg::Write { fid, offset, data: &data }) {
            Ok(tag) => drop(under_way.insert(tag, base + number)),
            Err(_) => break,
        }
        if under_way.len() < 32 {
            continue;
        }
        let Ok(reply) = client.receive() else { break };
        let number = under_way.remove(&reply.tag()).expect("it is under way");
        assert_eq!(format!("{:?}", reply.msg()), "Write { count: 8 }");
        taken.push(number);
    }
    // What was answered before the end is still in the socket.
    while let Ok(reply) = client.receive() {
        taken.push(under_way.remove(&reply.tag()).expect("it is under way"));
    }
    taken
}

#[test]
fn what_was_acknowledged_before_the_end_is_there_after_it() {
    const EACH: u64 = 5000;
    let length = 4 * EACH as usize * 8;
    let files = [("a", vec![0xff; length]), ("b", vec![0xff; length])];
    let mut server = Server::start(&files, &["mirror d /a /b"]);
    let opened = |mut client: Client| {
        let fid = client.open_both(&["d"]).expect("it is there");
        (client, fid)
    };
    let clients: Vec<_> = (0..4).map(|_| opened(server.client(MSIZE))).collect();
    let taken: Vec<u64> = thread::scope(|scope| {
        let writers: Vec<_> = clients
            .into_iter()
            .zip(0..)
            .map(|(client, number)| scope.spawn(move || write_numbers(client, number * EACH)))
            .collect();
        eventually("some are written", || {
            (server.file("a")[8 * 200..8 * 201] != [0xff; 8]).then_some(())
        });
        server.program.terminate();
        writers.into_iter().flat_map(|writer| writer.join().expect("no answer is wrong")).collect()
    });
    assert_eq!(server.program.wait(), 0, "{}", server.program.errors());
    assert!(taken.len() > 100 && taken.len() < 4 * EACH as usize, "{} were taken", taken.len());
    for name in ["a", "b"] {
        let held = server.file(name);
        for number in &taken {
            let at = 8 * *number as usize;
            assert_eq!(held[at..at + 8], number.to_le_bytes(), "{name} at {at}");
        }
    }
}

#[test]
fn a_unix_socket_is_its_owners_alone_and_outlives_no_server() {
    let place = Place::new();
    let path = place.path().join("socket");
    let dial = format!("unix!{}", path.display());
    let serve = || Serve::on(&dial).option("--root", place.root());
    let mut program = serve().start();
    let mode = fs::metadata(&path).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(Client::mount(&dial, MSIZE, "").is_ok());
    // Another one does not take its place.
    let second = serve().end();
    assert_eq!(second.code, 1, "{}", second.stderr);
    assert!(Client::mount(&dial, MSIZE, "").is_ok());
    // What a server that was killed leaves is in nobody's way.
    program.kill();
    assert!(fs::metadata(&path).expect("it is left").file_type().is_socket());
    let mut program = serve().start();
    assert!(Client::mount(&dial, MSIZE, "").is_ok());
    program.terminate();
    assert_eq!(program.wait(), 0);
    assert!(!path.exists(), "the socket is left");
    // What is no socket is not removed.
    fs::write(&path, "precious").expect("a new file");
    assert_eq!(serve().end().code, 1);
    assert_eq!(fs::read(&path).expect("it is there"), b"precious");
    // Nor is one that somebody else listens on, busy as he may be.
    fs::remove_file(&path).expect("it is ours");
    let _listening = UnixListener::bind(&path).expect("a socket");
    assert_eq!(serve().end().code, 1);
    assert!(UnixStream::connect(&path).is_ok(), "it was taken away");
}

/// A server whose device `d` is on another one, which holds requests back.
fn held() -> (FaultServer, Server) {
    let remote = FaultServer::start();
    remote.tree().create("f", pattern(6, 1000), 0o644);
    let mount = format!("mount -A {} /n/a\n", remote.dial());
    let server = Server::start_with(&[], &["cat d /n/a/f"], &mount);
    (remote, server)
}

fn await_held(remote: &FaultServer, count: usize) {
    eventually("requests come in", || (remote.held().len() == count).then_some(()));
}

fn shown(reply: &Reply) -> String {
    format!("{reply:?}")
}

#[test]
fn a_read_that_is_flushed_is_dropped_and_a_write_is_completed_first() {
    let (remote, server) = held();
    let mut client = server.client(MSIZE);
    let fid = client.open_both(&["d"]).expect("it is there");
    remote.hold();
    let read = client.post(&Tmsg::Read { fid, offset: 0, count: 10 }).expect("it is sent");
    await_held(&remote, 1);
    let flush = client.post(&Tmsg::Flush { oldtag: read }).expect("it is sent");
    // Nobody has to let the read go for this.
    assert_eq!(shown(&client.receive().expect("an answer")), format!("tag {flush} Flush"));

    let write = client.post(&Tmsg::Write { fid, offset: 500, data: b"whole" }).expect("it is sent");
    await_held(&remote, 2);
    let flush = client.post(&Tmsg::Flush { oldtag: write }).expect("it is sent");
    let again = client.post(&Tmsg::Flush { oldtag: write }).expect("it is sent");
    let stat = client.post(&Tmsg::Stat { fid }).expect("it is sent");
    // What comes after the Tflush does not wait for it.
    assert_eq!(client.receive().expect("an answer").tag(), stat);
    remote.release();
    let replies = [(); 3].map(|()| shown(&client.receive().expect("an answer")));
    let wanted = [
        format!("tag {write} Write {{ count: 5 }}"),
        format!("tag {flush} Flush"),
        format!("tag {again} Flush"),
    ];
    assert_eq!(replies, wanted);
    // The tags are free, and nothing comes late.
    let mut frame = Vec::new();
    Tmsg::Read { fid, offset: 500, count: 5 }.encode(read, &mut frame);
    assert_eq!(client.exchange(&frame).map(|reply| reply.data().to_vec()), Ok(b"whole".to_vec()));
}

#[test]
fn a_version_in_mid_session_ends_all_that_was_asked_before() {
    let (remote, server) = held();
    let mut client = server.client(MSIZE);
    let fid = client.open_both(&["d"]).expect("it is there");
    remote.hold();
    for _ in 0..3 {
        client.post(&Tmsg::Read { fid, offset: 0, count: 10 }).expect("it is sent");
    }
    client.post(&Tmsg::Write { fid, offset: 500, data: b"done" }).expect("it is sent");
    await_held(&remote, 4);
    assert_eq!(client.version(4096, VERSION), Ok((4096, VERSION.to_owned())));
    let no_fid = Err(Failure::Error("no such fid".to_owned()));
    assert_eq!(client.read_at(fid, 0, 10), no_fid);
    remote.release();
    let attach = Tmsg::Attach { fid: 0, afid: NOFID, uname: "root", aname: "" };
    client.rpc(&attach).expect("the session begins anew");
    // Had an answer of the old session come, it would be taken for one of these.
    assert_eq!(client.read(&["d"], 0, 10), Ok(pattern(6, 10)));
    let written = || client.read(&["d"], 500, 4).ok().filter(|data| data == b"done");
    eventually("the write that had begun is completed", written);
}

/// Who hangs up waits for nothing, and what he asked for is nobody's.
#[test]
fn a_client_that_hangs_up_on_a_request_under_way() {
    let (remote, server) = held();
    for read_closed in [false, true] {
        let mut stream = server.dial();
        let read = encoded(7, &Tmsg::Read { fid: 1, offset: 0, count: 10 });
        let write = encoded(8, &Tmsg::Write { fid: 1, offset: 500, data: b"mine" });
        remote.hold();
        stream.write_all(&[opening("d", MSIZE), read, write].concat()).expect("it is sent");
        await_held(&remote, 2);
        if read_closed {
            // The answers to what came first are in the way: this resets the connection.
            drop(stream);
        } else {
            stream.shutdown(Shutdown::Write).expect("it is open");
            remote.release();
            let mut answers = Vec::new();
            stream.read_to_end(&mut answers).expect("every answer comes, and then the end");
            let count = std::iter::successors(
                split_frame(&answers, MSIZE).expect("a frame"),
                |(_, rest)| split_frame(rest, MSIZE).expect("a frame"),
            );
            assert_eq!(count.count(), 6);
        }
        remote.release();
        let mut other = server.client(MSIZE);
        assert_eq!(other.read(&["d"], 0, 10), Ok(pattern(6, 10)));
        let written = || other.read(&["d"], 500, 4).ok().filter(|data| data == b"mine");
        eventually("the write is completed", written);
    }
}
