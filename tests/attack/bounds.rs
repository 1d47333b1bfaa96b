//! What one client can make the server hold, measured: clients that try each way to make it more, and
//! the memory of the program at its peak, against what `dsfs serve --limits` says.

use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::Duration;

use styx::{NOFID, Rmsg, Stat, Tmsg, UpTo16, VERSION, omode};

use crate::crowd::{dial, reply};
use crate::support::client::{Client, MSIZE};
use crate::support::fault_server::FaultServer;
use crate::support::program::{Place, Program, Serve, eventually};

/// The largest msize that dsfs agrees to, in bytes.
const LARGEST: u32 = (1 << 20) + 24;

/// Clients that do the same, so that what one of them costs shows.
const HOSTILE: usize = 2;

/// When nothing has changed for this long, nothing more comes. If it does, less is measured than there
/// is.
const SETTLED: Duration = Duration::from_millis(300);

/// What the allocator keeps for a while of what was given back, or rounds up, in hundredths.
const ALLOCATOR: u64 = 25;

/// What `dsfs serve --limits` says of the memory of one client, in bytes.
fn documented() -> u64 {
    let output = Command::new(env!("CARGO_BIN_EXE_dsfs")).args(["serve", "--limits"]).output();
    let text = String::from_utf8(output.expect("it runs").stdout).expect("text");
    let line = text.lines().find(|line| line.starts_with("memory")).expect("it says so");
    line.split_whitespace().nth(1).and_then(|word| word.parse().ok()).expect("a number")
}

struct Server {
    program: Program,
    place: Place,
    remote: FaultServer,
    /// Who takes connections, and never says a word.
    _silent: TcpListener,
}

impl Server {
    /// With device `big`, of 64 MiB here, and `far`, of as much on a server that can be held back.
    fn start() -> Server {
        let place = Place::new();
        let big = fs::File::create(place.root().join("big")).expect("a new file");
        big.set_len(64 << 20).expect("room");
        let remote = FaultServer::start();
        remote.tree().create("f", vec![7; 32 << 20], 0o644);
        let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
        let names = format!(
            "bind #U /\nbind #k/ds /ds\nmount -A {} /n/far\nmount -A tcp!127.0.0.1!{} /n/dead\n",
            remote.dial(),
            silent.local_addr().expect("it is bound").port()
        );
        let program = Serve::on("tcp!127.0.0.1!0")
            .flag("--export")
            .option("--root", place.root())
            .option("--namespace", place.file("namespace", &names))
            .start();
        let mut client = Client::mount(program.dial(), MSIZE, "").expect("it serves");
        client.ctl("cat big /big").expect("a device");
        client.ctl("cat far /n/far/f").expect("a device");
        Server { program, place, remote, _silent: silent }
    }

    fn client(&self, aname: &str) -> Client {
        Client::mount(self.program.dial(), LARGEST, aname).expect("it serves")
    }

    /// The most memory that it ever had, in bytes.
    fn peak(&self) -> u64 {
        let path = format!("/proc/{}/status", self.program.id());
        let status = fs::read_to_string(path).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux");
        let kib = line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number");
        kib * 1024
    }
}

/// What the memory of a server grows by for each of the clients that `attack` makes.
fn measure<T>(name: &str, mut attack: impl FnMut(&Server, usize) -> T) {
    let server = Server::start();
    let before = server.peak();
    let clients: Vec<T> = (0..HOSTILE).map(|number| attack(&server, number)).collect();
    let mut well = server.client("");
    well.stat(&["ctl"]).expect("it lives, and serves others");
    let mut peak = server.peak();
    eventually("it has taken all that it takes", || {
        thread::sleep(SETTLED);
        let last = std::mem::replace(&mut peak, server.peak());
        (last == peak).then_some(())
    });
    let each = (peak - before) / HOSTILE as u64;
    let most = documented();
    println!("{name}: {} KiB of {} KiB", each / 1024, most / 1024);
    assert!(each <= most + most * ALLOCATOR / 100, "{name}: {each} bytes, and {most} is said");
    server.remote.release();
    drop(clients);
}

/// Sends as much of this as the server takes; true if it took all.
fn push(stream: &mut TcpStream, bytes: &[u8]) -> bool {
    stream.set_write_timeout(Some(Duration::from_secs(1))).expect("a timeout");
    stream.write_all(bytes).is_ok()
}

fn encoded(messages: &[(u16, Tmsg<'_>)]) -> Vec<u8> {
    let mut out = Vec::new();
    messages.iter().for_each(|(tag, message)| message.encode(*tag, &mut out));
    out
}

/// A connection with fid 0 attached, and fid 1 walked to `name` and opened.
fn opened(server: &Server, aname: &str, name: &str) -> TcpStream {
    let mut stream = dial(&server.program);
    let names = UpTo16::from_slice(&[name]).expect("one name");
    let session = encoded(&[
        (styx::NOTAG, Tmsg::Version { msize: LARGEST, version: VERSION }),
        (1, Tmsg::Attach { fid: 0, afid: NOFID, uname: "eve", aname }),
        (2, Tmsg::Walk { fid: 0, newfid: 1, names }),
        (3, Tmsg::Open { fid: 1, mode: omode::ORDWR }),
    ]);
    assert!(push(&mut stream, &session));
    stream
}

#[test]
fn replies_that_nobody_reads_and_messages_that_never_end() {
    measure("reads of 1 MiB, none of them read", |server, _| {
        let mut stream = opened(server, "", "big");
        for tag in 10..1000 {
            let read = Tmsg::Read { fid: 1, offset: 0, count: 1 << 20 };
            if !push(&mut stream, &encoded(&[(tag, read)])) {
                break;
            }
        }
        stream
    });
    measure("a write of 1 MiB but for its last byte", |server, _| {
        let mut stream = opened(server, "", "big");
        let write = Tmsg::Write { fid: 1, offset: 0, data: &[1; 1 << 20] };
        let frame = encoded(&[(10, write)]);
        assert!(push(&mut stream, &frame[..frame.len() - 1]));
        stream
    });
}

#[test]
fn requests_that_wait_for_a_server_that_says_nothing() {
    measure("1024 reads", |server, _| {
        server.remote.hold();
        let mut stream = opened(server, "", "far");
        for tag in 10..1034 {
            let offset = u64::from(tag) * 16384;
            assert!(push(
                &mut stream,
                &encoded(&[(tag, Tmsg::Read { fid: 1, offset, count: 16384 })])
            ));
        }
        stream
    });
    measure("writes of 1 MiB, as many as it takes", |server, number| {
        server.remote.hold();
        let mut stream = opened(server, "", "far");
        for tag in 10..60 {
            // Of bytes of its own: otherwise it would wait for the other client's.
            let offset = (number as u64) << 24 | u64::from(tag % 16) << 20;
            let write = Tmsg::Write { fid: 1, offset, data: &[1; 1 << 20] };
            if !push(&mut stream, &encoded(&[(tag, write)])) {
                break;
            }
        }
        stream
    });
    measure("a write that is flushed 60000 times, and those flushes", |server, _| {
        server.remote.hold();
        let mut stream = opened(server, "", "far");
        let mut all = encoded(&[(4, Tmsg::Write { fid: 1, offset: 0, data: b"x" })]);
        for tag in 10..60_000 {
            Tmsg::Flush { oldtag: if tag % 2 == 0 { 4 } else { tag - 1 } }.encode(tag, &mut all);
        }
        push(&mut stream, &all);
        stream
    });
    let blanks = " ".repeat(63 * 1024);
    measure("1024 control messages of 63 KB", |server, number| {
        let mut stream = opened(server, "", "ctl");
        for tag in 10..1034 {
            let message = format!("cat c{number}-{tag} /n/dead/f{blanks}");
            let write = Tmsg::Write { fid: 1, offset: 0, data: message.as_bytes() };
            if !push(&mut stream, &encoded(&[(tag, write)])) {
                break;
            }
        }
        stream
    });
}

/// Sends all of this at once: how many of so many answers are refusals, for want of a fid.
fn refusals(stream: &mut TcpStream, bytes: &[u8], answers: usize) -> usize {
    let mut sender = stream.try_clone().expect("a second handle");
    thread::scope(|scope| {
        scope.spawn(move || sender.write_all(bytes).expect("it reads"));
        let is_refused = |_: &usize| match Rmsg::decode(&reply(stream)).expect("an answer").1 {
            Rmsg::Error { ename } => ename == "no free fids",
            _ => false,
        };
        (0..answers).filter(is_refused).count()
    })
}

/// A connection that walks to one fid too many, each of them at `name`.
fn walks(server: &Server, aname: &str, name: &str) -> TcpStream {
    const FIDS: u32 = 16 * 1024;
    let names = UpTo16::from_slice(&[name]).expect("one name");
    let mut stream = dial(&server.program);
    let begin = encoded(&[
        (styx::NOTAG, Tmsg::Version { msize: MSIZE, version: VERSION }),
        (1, Tmsg::Attach { fid: 0, afid: NOFID, uname: "eve", aname }),
    ]);
    assert_eq!(refusals(&mut stream, &begin, 2), 0);
    let mut all = Vec::new();
    for fid in 1..=FIDS {
        Tmsg::Walk { fid: 0, newfid: fid, names }.encode(fid as u16, &mut all);
    }
    let refused = refusals(&mut stream, &all, FIDS as usize);
    assert_eq!(refused, 1, "the root has one of them");
    stream
}

#[test]
fn as_many_fids_as_there_may_be() {
    let long = "n".repeat(255);
    measure("16384 fids of a device", |server, _| walks(server, "", "big"));
    measure("16384 fids of a file with a long name", |server, _| {
        fs::write(server.place.root().join(&long), "").expect("a new file");
        walks(server, "#U", &long)
    });
}

#[test]
fn entries_and_names_as_long_as_a_message_takes() {
    let text = "u".repeat(60_000);
    let mut entry = Vec::new();
    Stat { uid: &text, name: "big", ..Stat::DONT_TOUCH }.encode(&mut entry);
    measure("1024 wstats with entries of 60 KB", |server, _| {
        let mut stream = opened(server, "#U", "big");
        for tag in 10..1034 {
            if !push(&mut stream, &encoded(&[(tag, Tmsg::Wstat { fid: 1, stat: &entry })])) {
                break;
            }
        }
        stream
    });
    measure("1024 walks to names of 60 KB", |server, _| {
        let mut stream = opened(server, "#U", "big");
        let names = UpTo16::from_slice(&[&text[..]; 16]).expect("16 names");
        for tag in 10..1034 {
            if !push(&mut stream, &encoded(&[(tag, Tmsg::Walk { fid: 0, newfid: 7, names })])) {
                break;
            }
        }
        stream
    });
}

#[test]
fn what_the_requests_of_a_client_that_goes_had_is_given_back() {
    let server = Server::start();
    let memory = |program: &Program| program.memory();
    let before = memory(&server.program);
    server.remote.hold();
    let mut stream = opened(&server, "", "far");
    for tag in 10..26 {
        let read = Tmsg::Read { fid: 1, offset: 0, count: 1 << 20 };
        assert!(push(&mut stream, &encoded(&[(tag, read)])));
    }
    eventually("it asks the other server", || (server.remote.held().len() > 16).then_some(()));
    drop(stream);
    server.remote.release();
    eventually("the memory is given back", || {
        (memory(&server.program) < before + (4 << 20)).then_some(())
    });
}
