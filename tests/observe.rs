//! What a person and a program can see of a server: the texts of the admin tree, the commands that show
//! them, the metrics over HTTP, the trace and the log. The real program throughout.

mod support;

use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use styx::{Rmsg, Tmsg, omode};
use support::client::Client;
use support::fault_server::FaultServer;
use support::program::{Place, Program, Serve, eventually};
use support::terminal::Screen;

/// How long a test waits for bytes that must come.
const LIMIT: Duration = Duration::from_secs(60);

const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// Four files of a MiB.
fn place() -> Place {
    let place = Place::new();
    for name in ["a", "b", "c", "d"] {
        let file = fs::File::create(place.root().join(name)).expect("a new file");
        file.set_len(1 << 20).expect("it has room");
    }
    place
}

fn serve(place: &Place) -> Serve {
    Serve::on("tcp!127.0.0.1!0").option("--root", place.root())
}

/// Runs a command; its exit status, its output and its errors.
fn dsfs(args: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dsfs"));
    let output = command.args(args).stdin(Stdio::null()).output().expect("the program runs");
    let text = |bytes| String::from_utf8(bytes).expect("it prints text");
    let status = output.status.code().expect("it ends by itself");
    (status, text(output.stdout), text(output.stderr))
}

/// What a command prints that must succeed.
#[track_caller]
fn ok(program: &Program, args: &[&str]) -> String {
    let all = [args, &["-a", program.dial()]].concat();
    let (status, out, err) = dsfs(&all);
    assert_eq!((status, &err[..]), (0, ""), "{args:?}");
    out
}

/// What a command says that must fail.
#[track_caller]
fn fails(dial: &str, args: &[&str]) -> String {
    let (status, out, err) = dsfs(&[args, &["-a", dial]].concat());
    assert_eq!((status, &out[..]), (1, ""), "{args:?}: {err}");
    err
}

fn configure(program: &Program, messages: &[&str]) {
    let mut client = Client::mount(program.dial(), 8216, "").expect("the server is there");
    for message in messages {
        client.write(&["ctl"], 0, message.as_bytes()).expect("the message is understood");
    }
}

const DEVICES: [&str; 5] = [
    "cat c0 /a /b",
    "inter i0 /c /d",
    "mirror m0 ds/c0 ds/i0",
    "part p0 ds/m0 1000000 200000",
    "part p1 /a 0 100",
];

fn admin(program: &Program) -> Client {
    Client::mount(program.dial(), 8216, "admin").expect("the server is there")
}

fn text(program: &Program, name: &str) -> String {
    let text = admin(program).read_all(&[name]).expect("the text can be read");
    String::from_utf8(text).expect("it is text")
}

/// The number that follows a name in the line that starts so.
#[track_caller]
fn value(text: &str, line: &str, name: &str) -> u64 {
    let found = text.lines().find(|one| one.starts_with(line)).expect(line);
    let mut words = found.split(' ').skip_while(|word| *word != name);
    words.nth(1).and_then(|value| value.parse().ok()).expect(name)
}

#[test]
fn the_tree_goes_down_to_the_files_and_says_what_is_used_twice() {
    let place = place();
    let program = serve(&place).start();
    assert_eq!(ok(&program, &["tree"]), "");
    configure(&program, &DEVICES);
    let tree = "\
ds/p0  part  195.3K  ok  from byte 1000000
└─ ds/m0  mirror  2M
   ├─ ds/c0  cat  2M
   │  ├─ /a  file  1M  also in ds/p1
   │  └─ /b  file  1M
   └─ ds/i0  inter  2M
      ├─ /c  file  1M
      └─ /d  file  1M
ds/p1  part  100  ok  from byte 0
└─ /a  file  1M  also in ds/c0
";
    assert_eq!(ok(&program, &["tree"]), tree);
    configure(&program, &["mirror m1 ds/c0 ds/c0"]);
    let twice = ok(&program, &["tree", "m1", "ds/c0"]);
    assert!(
        twice.starts_with("ds/m1  mirror  2M  equal\n├─ ds/c0  cat  2M  also in ds/m0, ds/m1\n")
    );
    assert!(
        twice.contains("└─ ds/c0  cat  2M  also in ds/m0, ds/m1  (above)\nds/c0  cat"),
        "{twice}"
    );
    let json: Value = serde_json::from_str(&ok(&program, &["tree", "--json"])).expect("JSON");
    assert_eq!(json.as_array().map(Vec::len), Some(6));
    assert_eq!(json[2]["inner"][1]["leg"]["state"], "in-service");
    let error = fails(program.dial(), &["tree", "nosuch"]);
    assert_eq!(error, "dsfs: nosuch: no such device; 'dsfs tree' shows what there is\n");
}

#[test]
fn a_map_says_which_bytes_of_which_files() {
    let place = place();
    let program = serve(&place).start();
    configure(&program, &DEVICES);
    let map = ok(&program, &["map", "p0"]);
    let runs: Vec<&str> =
        map.lines().skip(2).filter_map(|line| line.rsplit_once("│ ")).map(|(_, end)| end).collect();
    assert_eq!(
        runs,
        [
            "bytes 1000000 to 1048576  ds/p0[0] ds/m0[0] ds/c0[0]",
            "bytes 0 to 151424  ds/p0[0] ds/m0[0] ds/c0[1]",
            "bytes 500288 to 601984  ds/p0[0] ds/m0[1] ds/i0[0]",
            "bytes 499712 to 598016  ds/p0[0] ds/m0[1] ds/i0[1]",
        ],
        "{map}"
    );
    // To scale: the first half of the mirror is all of the one file, and none of the other.
    let whole = ok(&program, &["map", "m0"]);
    let (half, none) = ("█".repeat(16), " ".repeat(16));
    assert!(whole.contains(&format!("/a                   │{half}{none}│")), "{whole}");
    assert!(whole.contains(&format!("/b                   │{none}{half}│")), "{whole}");
    assert!(whole.contains(&format!("/c                   │{}│", "▒".repeat(32))), "{whole}");

    let one = ["map", "m0", "--offset", "8192", "--count", "1", "--json"];
    let json: Value = serde_json::from_str(&ok(&program, &one)).expect("JSON");
    let place =
        |at: usize| (json["files"][at]["file"].clone(), json["files"][at]["offset"].clone());
    assert_eq!(place(0), ("/a".into(), 8192.into()));
    assert_eq!(place(1), ("/d".into(), 0.into()));
    let error = fails(program.dial(), &["map", "p1", "--offset", "100"]);
    assert_eq!(error, "dsfs: ds/p1: it ends at byte 100, before byte 100\n");
}

#[test]
fn what_clients_do_is_counted_where_they_do_it() {
    let place = place();
    let program = serve(&place).start();
    configure(&program, &DEVICES);
    let mut client = Client::mount(program.dial(), 8216, "").expect("the server is there");
    let before = text(&program, "stats");
    let fid = client.walk_to(&["m0"]).expect("a fid");
    client.rpc(&Tmsg::Open { fid, mode: omode::ORDWR }).expect("open");
    for offset in 0..10 {
        client.write_at(fid, offset * 100, b"hello").expect("written");
        client.read_at(fid, offset * 100, 50).expect("read");
    }
    client.rpc(&Tmsg::Read { fid: 77, offset: 0, count: 1 }).expect_err("no such fid");
    // Its own session is counted, too, so only what it does not do is looked at.
    let after = text(&program, "stats");
    let grown = |line: &str, name: &str| value(&after, line, name) - value(&before, line, name);
    assert_eq!((grown("request Twrite", "done"), grown("request Tread", "failed")), (10, 1));
    for (name, count) in [("reads", 10), ("read-bytes", 500), ("writes", 10), ("write-bytes", 50)] {
        assert_eq!(grown("device 2 ds/m0", name), count, "{name}");
        assert_eq!(grown("device 3 ds/p0", name), 0, "{name}");
    }
    assert!(value(&after, "server", "ms") >= value(&before, "server", "ms"));

    let own = ok(&program, &["read", "-A", "admin", "connections"]);
    let line = own.lines().find(|line| line.contains(" failed 1 ")).expect("the client");
    assert!(line.contains("tcp!127.0.0.1!") && line.contains(" fids 2 "), "{own}");
    assert_eq!(value(&own, &line[..line.find(" user").expect("a user")], "answered"), 25);
    drop(client);
    eventually("the client is gone", || {
        let there = text(&program, "connections").contains(" failed 1 ");
        (!there).then_some(())
    });
}

#[test]
fn a_flushed_request_is_neither_done_nor_failed() {
    let place = place();
    let program = serve(&place).start();
    let mut client = admin(&program);
    let fid = client.walk_to(&["event"]).expect("a fid");
    client.rpc(&Tmsg::Open { fid, mode: omode::OREAD }).expect("open");
    let mut frames = Vec::new();
    Tmsg::Read { fid, offset: 0, count: 100 }.encode(7, &mut frames);
    client.send(&frames).expect("sent");
    eventually("the read waits", || {
        (value(&text(&program, "stats"), "server", "pending") == 1).then_some(())
    });
    frames.clear();
    Tmsg::Flush { oldtag: 7 }.encode(8, &mut frames);
    client.send(&frames).expect("sent");
    assert!(matches!(client.receive().expect("a reply").msg(), Rmsg::Flush));
    let stats = text(&program, "stats");
    assert_eq!(value(&stats, "request Tread", "flushed"), 1);
    assert_eq!(value(&stats, "request Tflush", "done"), 1);
    assert_eq!(value(&stats, "server", "pending"), 0);
}

#[test]
fn a_text_that_is_read_in_parts_is_one_text() {
    let place = place();
    let program = serve(&place).start();
    configure(&program, &["cat c0 /a"]);
    let mut client = admin(&program);
    let fid = client.walk_to(&["devices"]).expect("a fid");
    client.rpc(&Tmsg::Open { fid, mode: omode::OREAD }).expect("open");
    let first = client.read_at(fid, 0, 20).expect("a part");
    configure(&program, &["mirror m0 /b /c"]);
    let rest = client.read_at(fid, 20, 8000).expect("the rest");
    let whole = String::from_utf8([first, rest].concat()).expect("text");
    assert!(whole.starts_with("device 0 ds/c0 cat length 1048576 state ok"), "{whole}");
    assert_eq!(whole.lines().count(), 2, "{whole}");
    let again = client.read_at(fid, 0, 8000).expect("a new text");
    assert_eq!(again.iter().filter(|&&byte| byte == b'\n').count(), 5);
    // Many readers at once cost the server no more than a few texts, and each gets on.
    let fids: Vec<u32> = (0..40).map(|_| client.walk_to(&["devices"]).expect("a fid")).collect();
    for &fid in &fids {
        client.rpc(&Tmsg::Open { fid, mode: omode::OREAD }).expect("open");
        assert_eq!(client.read_at(fid, 0, 20).expect("a part"), again[..20]);
    }
    for &fid in &fids {
        assert_eq!(client.read_at(fid, 20, 8000).expect("the rest"), again[20..]);
    }
}

#[test]
fn a_server_without_an_admin_tree_is_told_from_one() {
    let place = place();
    let program = serve(&place).start();
    configure(&program, &DEVICES);
    let other = FaultServer::start();
    let commands: [&[&str]; 4] = [&["tree"], &["map", "m0"], &["status"], &["top", "--once"]];
    for command in commands {
        let error = fails(&other.dial(), command);
        assert!(error.contains("admin tree there (") && error.contains("dsfs ls -a '"), "{error}");
        assert!(error.contains(&other.dial()), "{error}");
    }
    let error = fails(program.dial(), &["top"]);
    assert!(error.contains("no terminal; --once prints one screen"), "{error}");
}

#[test]
fn status_and_top_show_a_degraded_mirror_and_why() {
    let place = place();
    let program = serve(&place).start();
    configure(&program, &["mirror m0 /a /b", "cat c0 /c /d"]);
    let mut steer = admin(&program);
    steer.write(&["ctl"], 0, b"fail m0 1").expect("understood");
    let status = ok(&program, &["status", "--seconds", "0"]);
    assert!(status.starts_with("dsfs 0.1.0 at tcp!127.0.0.1!"), "{status}");
    assert!(status.contains("/b held (a person said so): "), "{status}");
    assert!(status.contains("fail m0 1: the leg is out until resync m0"), "{status}");
    assert!(status.lines().all(|line| line.chars().count() <= 80), "{status}");
    let json = ok(&program, &["status", "--seconds", "0", "--json"]);
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["devices"][0]["state"], "degraded");
    assert_eq!(json["devices"][0]["inner"][1]["leg"]["why"], "a person said so");
    assert_eq!(json["server"]["connections"], 2);
    assert_eq!(json["devices"][1]["rates"]["requests"], 0.0);

    let screen = ok(&program, &["top", "--once"]);
    let lines: Vec<&str> = screen.lines().collect();
    assert_eq!(lines.len(), 24, "{screen}");
    assert!(lines.iter().all(|line| line.chars().count() <= 80), "{screen}");
    assert!(lines[4].starts_with("ds/m0 mirror") && lines[4].contains("degraded"), "{screen}");
    assert!(lines[5].contains("/b") && lines[5].contains("held"), "{screen}");
    assert!(screen.contains("the leg is out until resync m0"), "{screen}");
}

#[test]
fn a_server_that_is_gone_makes_unreachable_what_is_made_of_it() {
    let place = place();
    let other = FaultServer::start();
    other.tree().create("far", vec![7; 1 << 20], 0o666);
    let mount = format!("bind #U /\nbind #k/ds /ds\nmount -A {} /n/far\n", other.dial());
    let names = place.file("namespace", &mount);
    let program = serve(&place).option("--namespace", &names).start();
    configure(&program, &["cat c0 /n/far/far", "mirror m0 ds/c0 /a"]);
    let tree = ok(&program, &["tree"]);
    let file = format!("/n/far/far  remote  1M  at {}\n", other.dial());
    assert!(tree.contains(&file), "{tree}");
    let stats = text(&program, "stats");
    assert!(
        stats.contains(&format!("mount 0 {} tree '' state up pending 0", other.dial())),
        "{stats}"
    );
    other.stop();
    let tree = eventually("the server is seen to be gone", || {
        let tree = ok(&program, &["tree"]);
        tree.contains("unreachable").then_some(tree)
    });
    assert!(tree.contains("ds/c0  cat  1M  unreachable\n"), "{tree}");
    assert!(tree.starts_with("ds/m0  mirror  1M  equal\n"), "the other leg is here: {tree}");
    let metrics = text(&program, "metrics");
    assert!(
        metrics.contains(&format!("dsfs_mount_up{{mount=\"0\",server=\"{}\"}} 0", other.dial()))
    );
    assert!(metrics.contains("dsfs_device_state{device=\"ds/c0\",state=\"unreachable\"} 1"));

    // Every name in the table of docs/observe.md is one of these.
    let document = include_str!("../docs/observe.md");
    let named = document.split('`').filter(|word| word.starts_with("dsfs_")).collect::<Vec<_>>();
    assert!(named.len() > 20, "{named:?}");
    for name in named {
        let sample = |line: &str| line.starts_with(name) && !line[name.len()..].starts_with('_');
        let bucket = format!("{name}_bucket{{");
        assert!(metrics.lines().any(|l| sample(l) || l.starts_with(&bucket)), "{name}: {metrics}");
    }
}

#[test]
fn top_draws_in_a_terminal_until_q() {
    let place = place();
    let program = serve(&place).start();
    configure(&program, &["mirror m0 /a /b"]);
    let (mut screen, mut top) = top(&program);
    eventually("the device is drawn", || screen.has("ds/m0").then_some(()));
    let mut steer = admin(&program);
    steer.write(&["ctl"], 0, b"fail m0 1").expect("understood");
    eventually("what happens is drawn", || screen.has("degraded").then_some(()));
    screen.press("q");
    let status = eventually("it ends", || top.0.try_wait().expect("it is ours"));
    assert_eq!(status.code(), Some(0));
}

#[test]
fn top_ends_with_its_terminal() {
    let place = place();
    let program = serve(&place).start();
    configure(&program, &["mirror m0 /a /b"]);
    let (screen, mut top) = top(&program);
    eventually("the device is drawn", || screen.has("ds/m0").then_some(()));
    // It is not in this terminal's session, so no signal tells it.
    screen.hang_up();
    let status = eventually("it ends", || top.0.try_wait().expect("it is ours"));
    assert_eq!(status.code(), Some(1));
}

/// `dsfs top`, and the terminal that it draws in.
fn top(program: &Program) -> (Screen, Killed) {
    let (screen, theirs) = Screen::new();
    let copy = || theirs.try_clone().expect("a second handle");
    let mut command = Command::new(env!("CARGO_BIN_EXE_dsfs"));
    command.args(["top", "-a", program.dial()]).stdin(copy()).stdout(copy()).stderr(copy());
    (screen, Killed(command.spawn().expect("the program runs")))
}

/// A process that does not outlive its test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended by itself; both errors then say so.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One HTTP exchange with the metrics: all that comes until the server hangs up.
fn http(address: &str, request: &[u8]) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.write_all(request)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// The names and labels of all samples, and that the text is as OpenMetrics has it.
#[track_caller]
fn samples(text: &str) -> Vec<(String, f64)> {
    assert!(text.ends_with("# EOF\n"), "{text}");
    let mut family = String::new();
    let mut samples = Vec::new();
    for line in text.lines().filter(|line| *line != "# EOF") {
        if let Some(comment) = line.strip_prefix("# ") {
            family = comment.split(' ').nth(1).expect("a name").to_owned();
            continue;
        }
        let (name, value) = line.rsplit_once(' ').expect("a value");
        assert!(name.starts_with(&family), "{line} is not of {family}");
        samples.push((name.to_owned(), value.parse().expect("a number")));
    }
    samples
}

#[test]
fn the_metrics_are_one_text_in_the_tree_and_over_http() {
    let place = place();
    let program = serve(&place).with_metrics_on("tcp!127.0.0.1!0").start();
    let address = program.dials()[1].replacen("tcp!", "", 1).replace('!', ":");
    configure(&program, &DEVICES);
    ok(&program, &["read", "m0"]);
    let request = b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n";
    let answer = http(&address, request).expect("it answers and hangs up");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("Content-Type: application/openmetrics-text; version=1.0.0"), "{head}");
    assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
    let found = samples(body);
    let sample =
        |name: &str| found.iter().find(|(other, _)| other == name).map(|&(_, value)| value);
    assert_eq!(sample("dsfs_device_bytes_total{device=\"ds/m0\",op=\"read\"}"), Some(2097152.0));
    assert_eq!(sample("dsfs_requests_total{type=\"Twrite\",outcome=\"done\"}"), Some(5.0));
    let state = "dsfs_leg_state{device=\"ds/m0\",leg=\"1\",file=\"ds/i0\",state=\"in-service\"}";
    assert_eq!(sample(state), Some(1.0));
    let count = sample("dsfs_request_duration_seconds_count{type=\"Tread\"}");
    let all = sample("dsfs_request_duration_seconds_bucket{le=\"+Inf\",type=\"Tread\"}");
    assert!(count.is_some() && count == all, "{body}");
    // The same names in the tree, where another client has been since.
    let names = |text: &str| samples(text).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    assert_eq!(names(&text(&program, "metrics")), names(body));

    // Who says nothing has a place, but only so many do.
    eventually("a ninth is hung up on", || {
        let connect = |_| TcpStream::connect(&address).expect("it listens");
        let idle: Vec<TcpStream> = (0..8).map(connect).collect();
        assert_eq!(http(&address, b"").unwrap_or_default(), "");
        drop(idle);
        program.errors().contains("refused: 8 others ask for metrics").then_some(())
    });
    eventually("there is room again", || {
        let answer = http(&address, b"GET / HTTP/1.1\r\n\r\n").unwrap_or_default();
        answer.starts_with("HTTP/1.1 404 Not Found\r\n").then_some(())
    });
    assert!(Client::mount(program.dial(), 8216, "").is_ok(), "the server serves on");
}

/// More than are taken in in one turn, and nobody after them.
#[test]
fn a_crowd_at_the_metrics_is_answered_or_hung_up_on_to_the_last() {
    let place = place();
    let program = serve(&place).with_metrics_on("tcp!127.0.0.1!0").start();
    let address = program.dials()[1].replacen("tcp!", "", 1).replace('!', ":");
    let crowd: Vec<TcpStream> = program.while_stopped(|| {
        let connect = |_| TcpStream::connect(&address).expect("the system takes so many");
        (0..100).map(connect).collect()
    });
    let answered = crowd.into_iter().filter(|mut stream| {
        stream.set_read_timeout(Some(LIMIT)).expect("not zero");
        let mut answer = String::new();
        // Who was hung up on may hear of it at either.
        let heard = stream
            .write_all(b"GET /metrics HTTP/1.1\r\n\r\n")
            .and_then(|()| stream.read_to_string(&mut answer));
        let waits = [io::ErrorKind::WouldBlock, io::ErrorKind::TimedOut];
        assert!(!heard.is_err_and(|error| waits.contains(&error.kind())), "it hears nothing");
        answer.ends_with("# EOF\n")
    });
    assert!((1..100).contains(&answered.count()));
}

#[test]
fn who_may_not_connect_may_not_see_the_metrics_either() {
    let place = place();
    for address in ["tcp!*!0", "tcp!0.0.0.0!0"] {
        let ended = serve(&place).option("--metrics", address).end();
        assert_eq!(ended.code, 1, "{address}");
        assert!(ended.stderr.contains("say who may connect, as in --allow"), "{}", ended.stderr);
    }
    let (status, _, error) = dsfs(&["serve", "--metrics", "stdio"]);
    assert_eq!(status, 2);
    assert!(error.contains("tcp!HOST!PORT or unix!/PATH"), "{error}");
}

#[test]
fn a_trace_has_every_message_in_a_line_and_can_be_searched() {
    let place = place();
    let file = place.path().join("trace");
    let program = serve(&place).option("--trace", &file).start();
    configure(&program, &["mirror m0 /a /b"]);
    let mut client = Client::mount(program.dial(), 8216, "").expect("the server is there");
    client.write(&["m0"], 512, b"hello").expect("written");
    client.read(&["nosuch"], 0, 1).expect_err("there is none");
    // What a client has its answer of is in the file when the turn is over.
    let trace = eventually("the trace is whole", || {
        let trace = fs::read_to_string(&file).expect("a trace");
        trace.contains("-> Rerror").then_some(trace)
    });
    for message in [
        " 1 <- Tversion tag 65535 msize 8216 version 9P2000\n",
        " 1 -> Rversion tag 65535 msize 8216 version 9P2000\n",
        " offset 0 count 15\n",
        " offset 512 count 5\n",
        " nwname 1 0:nosuch\n",
        " ename 'file does not exist'\n",
    ] {
        assert!(trace.contains(message), "{message}: {trace}");
    }
    let file = file.to_str().expect("a path that is text");
    let shown = |args: &[&str]| {
        let (status, out, err) = dsfs(&[&["trace", file], args].concat());
        assert_eq!((status, &err[..]), (0, ""), "{args:?}");
        out
    };
    let all = shown(&[]);
    assert!(all.lines().count() >= trace.lines().count(), "{all}");
    let errors = shown(&["--errors"]);
    assert_eq!(errors.lines().count(), 2, "{errors}");
    assert!(errors.contains("0:nosuch\n") && errors.ends_with("s)\n"), "{errors}");
    let writes = shown(&["--connection", "2", "--type", "twrite"]);
    assert_eq!(writes.lines().count(), 2, "{writes}");
    assert!(writes.contains(" offset 512 count 5\n") && writes.contains("Rwrite tag"), "{writes}");
    let slowest = shown(&["--slowest", "3"]);
    assert_eq!(slowest.lines().filter(|line| line.contains(" <- ")).count(), 3, "{slowest}");
    assert_eq!(shown(&["--fid", "4000000"]), "");
    let (status, _, error) = dsfs(&["trace", env!("CARGO_MANIFEST_PATH")]);
    assert_eq!(status, 1);
    assert!(error.contains("line 1 is no message: it is not a file of 'dsfs serve --trace'"));
}

#[test]
fn a_trace_that_cant_be_written_is_told_of_once_and_ends_nothing() {
    let program = serve(&place()).option("--trace", "/dev/full").start();
    for _ in 0..3 {
        let mut client = Client::mount(program.dial(), 8216, "").expect("it serves");
        client.stat(&["ctl"]).expect("it lives");
    }
    let log = program.errors();
    assert_eq!(log.matches("the trace can't be written").count(), 1, "{log}");
}

#[test]
fn no_log_and_no_trace_has_a_key_or_what_is_in_a_file() {
    let place = place();
    let trace = place.path().join("trace");
    let program = serve(&place)
        .option("--dialect", "plan9")
        .option("--trace", &trace)
        .flag("-vv")
        .env("RUST_LOG", "trace")
        .start();
    let mut client = Client::mount(program.dial(), 8216, "").expect("the server is there");
    let mut ctl = |message: String| client.write(&["ctl"], 0, message.as_bytes());
    ctl(format!("crypt k0 /a {KEY}")).expect("a device");
    ctl(format!("cypt k0 /a {KEY}")).expect_err("no such command");
    ctl(format!("crypt k1 {KEY} /a")).expect_err("words in the wrong order");
    ctl(format!("cat k1 /{KEY}")).expect_err("no such file");
    let contents = b"what is in a file ".repeat(512 / 18 + 1)[..512].to_vec();
    client.write(&["k0"], 0, &contents).expect("written");
    assert_eq!(client.read(&["k0"], 0, 512).expect("read"), contents);
    client.read(&["nosuch"], 0, 1).expect_err("there is none");
    let trace = eventually("the trace is whole", || {
        let text = fs::read_to_string(&trace).expect("a trace");
        text.contains("nosuch").then_some(text)
    });
    let log = program.errors();
    for (name, text) in [("trace", &trace), ("log", &log)] {
        assert!(text.contains("Twrite tag"), "the {name} has the messages: {text}");
        for secret in [&KEY[..16], &KEY[32..48], "what is in a file"] {
            assert!(!text.to_lowercase().contains(secret), "{secret:?} is in the {name}: {text}");
        }
    }
    assert!(log.contains("connection{number=1 peer=\"tcp!127.0.0.1!"), "{log}");
    assert!(log.contains("request{tag="), "{log}");
}
