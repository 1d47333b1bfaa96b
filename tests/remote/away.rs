//! Servers that go away and come back, as they were or otherwise; and the end of dsfs while one is
//! away.

use std::net::TcpListener;
use std::time::Duration;

use styx::{Stat, Tmsg};

use crate::node::{Front, Node};
use crate::support::client::{Client, Failure, MSIZE};
use crate::support::fault_server::FaultServer;
use crate::support::fault_tree::{Action, Effect};
use crate::support::program::{Place, Serve, eventually};
use crate::support::text::pattern;

/// A client waits this long for nothing: longer than any test.
const FOR_EVER: (&str, &str) = ("--timeout", "3600");

fn server_and_front(options: &[(&str, &str)]) -> (FaultServer, Front) {
    let server = FaultServer::start();
    server.tree().create("f", pattern(1, 1000), 0o644);
    server.tree().create("g", pattern(2, 1000), 0o644);
    let front = Front::start_with(&[("/n/a", &server.dial())], options);
    (server, front)
}

/// Waits until a read of a device is not what it was while its server was away.
fn await_back(client: &mut Client, name: &str) -> Result<Vec<u8>, Failure> {
    eventually("the server is in use again", || match client.read(&[name], 0, 10) {
        Err(Failure::Error(text)) if is_away(&text) => None,
        other => Some(other),
    })
}

fn is_away(text: &str) -> bool {
    text == "i/o on hungup channel" || text.contains("refused")
}

#[test]
fn what_is_under_way_fails_and_says_why_and_files_are_opened_anew() {
    let (server, front) = server_and_front(&[]);
    front.ctl(&["cat f /n/a/f"]);
    let mut client = front.client();
    let fid = client.open_both(&["f"]).expect("it is there");
    server.hold();
    client.post(&Tmsg::Read { fid, offset: 0, count: 10 }).expect("it is sent");
    client.post(&Tmsg::Write { fid, offset: 500, data: b"x" }).expect("it is sent");
    eventually("both are asked for", || (server.held().len() == 2).then_some(()));
    server.cut();
    for _ in 0..2 {
        let reply = client.receive().expect("an answer");
        assert_eq!(format!("{:?}", reply.msg()), "Error { ename: \"i/o on hungup channel\" }");
    }
    server.release();
    assert_eq!(await_back(&mut client, "f"), Ok(pattern(1, 10)));
    // The fid that was open all the time is of use again, too.
    assert_eq!(client.read_at(fid, 0, 10), Ok(pattern(1, 10)));
    assert_eq!(client.write_at(fid, 2, b"yz"), Ok(2));
    assert_eq!(server.connections(), 2);
}

#[test]
fn a_file_that_has_changed_meanwhile_stays_failed_and_says_so() {
    let (mut server, front) = server_and_front(&[]);
    front.ctl(&["cat f /n/a/f", "cat g /n/a/g"]);
    let mut client = front.client();
    let changed =
        Err(Failure::Error("file has changed: its qid or its length is another".to_owned()));
    let missing = Err(Failure::Error("file does not exist".to_owned()));

    server.stop();
    server.tree().change("f", |data| data.truncate(999));
    server.come_back();
    assert_eq!(await_back(&mut client, "f"), changed);
    assert_eq!(client.read(&["f"], 500, 10), changed);
    assert_eq!(client.write(&["f"], 500, b"no"), changed.clone().map(|_| 0));
    assert_eq!(await_back(&mut client, "g"), Ok(pattern(2, 10)));

    // Another file of the same name and length.
    server.stop();
    server.tree().change("f", |data| data.push(0));
    server.tree().create("g", pattern(2, 1000), 0o644);
    server.come_back();
    assert_eq!(await_back(&mut client, "g"), changed);
    assert_eq!(await_back(&mut client, "f"), Ok(pattern(1, 10)));

    server.stop();
    server.tree().unlink("f");
    server.come_back();
    assert_eq!(await_back(&mut client, "f"), missing);
    assert_eq!(await_back(&mut client, "g"), changed);
}

#[test]
fn a_message_to_ctl_waits_for_a_server_that_comes_back_and_fails_if_there_is_none() {
    let (mut server, front) = server_and_front(&[("--timeout", "1")]);
    let mut client = front.client();
    server.stop();
    let refused = client.ctl("cat f /n/a/f").expect_err("there is no server").to_string();
    assert!(refused.contains(&server.dial()) && refused.contains("refused"), "{refused}");
    server.come_back();
    // Now the pause before the server is tried again has begun; the message waits for its end.
    assert_eq!(client.ctl("cat f /n/a/f"), Ok(()));
    assert_eq!(client.read(&["f"], 0, 10), Ok(pattern(1, 10)));
    assert_eq!(
        client.ctl("cat x /n/a/x").map_err(|error| error.to_string().contains("exist")),
        Err(true)
    );

    // One that takes connections and says nothing.
    server.stop();
    let silent = TcpListener::bind(server.dial().replace("tcp!", "").replace('!', ":"));
    let silent = silent.expect("its port is free");
    let messages = ["cat a /n/a/f", "cat b /n/a/g"];
    let mut clients: Vec<Client> = messages.iter().map(|_| front.client()).collect();
    let mut tags = Vec::new();
    for (client, message) in clients.iter_mut().zip(messages) {
        let fid = client.open_both(&["ctl"]).expect("it is there");
        let data = message.as_bytes();
        tags.push(client.post(&Tmsg::Write { fid, offset: 0, data }).expect("it is sent"));
    }
    for (client, tag) in clients.iter_mut().zip(tags) {
        let reply = eventually("an answer", || client.receive().ok());
        assert_eq!(reply.tag(), tag);
        assert!(format!("{reply:?}").contains("timed out"), "{reply:?}");
    }
    drop(silent);
    server.come_back();
    assert_eq!(clients[0].ctl("cat a /n/a/g"), Ok(()));
    assert_eq!(clients[1].read(&["a"], 0, 10), Ok(pattern(2, 10)));
}

/// The failure of one message is all that the next one waits for.
#[test]
fn a_message_that_had_to_wait_is_carried_out_when_the_one_before_has_failed() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = silent.local_addr().expect("a bound socket has an address");
    let silent_dial = format!("tcp!{}!{}", address.ip(), address.port());
    let server = FaultServer::start();
    server.tree().create("f", pattern(1, 1000), 0o644);
    for (first, second) in [("/n/a", "/n/b"), ("/n/b", "/n/a")] {
        let mounts = [(first, &silent_dial[..]), (second, &server.dial()[..])];
        let front = Front::start_with(&mounts, &[("--timeout", "1")]);
        let mut clients = [front.client(), front.client(), front.client()];
        let late = format!("cat x {first}/f");
        let messages = [late, "frobnicate".to_owned(), format!("cat f {second}/f")];
        for (client, message) in clients.iter_mut().zip(&messages) {
            let fid = client.open_both(&["ctl"]).expect("it is there");
            let data = message.as_bytes();
            client.post(&Tmsg::Write { fid, offset: 0, data }).expect("it is sent");
        }
        let replies = clients.each_mut().map(|client| client.receive().expect("an answer"));
        assert!(format!("{:?}", replies[0]).contains("timed out"), "{:?}", replies[0]);
        assert!(format!("{:?}", replies[1]).contains("unknown control"), "{:?}", replies[1]);
        assert!(format!("{:?}", replies[2]).contains("Write"), "{:?}", replies[2]);
    }
}

/// The reads and writes under way belong to nobody who could wait for ever.
#[test]
fn the_end_does_not_wait_for_a_server_that_is_stuck_or_away() {
    for away in [false, true] {
        let (server, mut front) = server_and_front(&[FOR_EVER]);
        front.ctl(&["cat f /n/a/f"]);
        let mut client = front.client();
        let fid = client.open_both(&["f"]).expect("it is there");
        server.hold();
        client.post(&Tmsg::Read { fid, offset: 0, count: 10 }).expect("it is sent");
        client.post(&Tmsg::Write { fid, offset: 500, data: b"x" }).expect("it is sent");
        eventually("both are asked for", || (server.held().len() == 2).then_some(()));
        if away {
            server.stop();
            let mut other = front.client();
            let fid = other.open_both(&["ctl"]).expect("it is there");
            let data = b"cat g /n/a/g";
            other.post(&Tmsg::Write { fid, offset: 0, data }).expect("it is sent");
        }
        front.program.terminate();
        assert_eq!(front.program.wait(), 0, "{}", front.program.errors());
    }
}

/// A write that a client did not wait for is finished before the end, on all legs.
#[test]
fn a_write_that_was_begun_is_finished_though_its_client_is_gone() {
    let (server, mut front) = server_and_front(&[]);
    front.create("here", &[0; 1000]);
    front.ctl(&["mirror m /here /n/a/f"]);
    let mut client = front.client();
    let fid = client.open_both(&["m"]).expect("it is there");
    server.hold();
    client.post(&Tmsg::Write { fid, offset: 0, data: b"both" }).expect("it is sent");
    eventually("it is asked for", || (server.held().len() == 1).then_some(()));
    // It is hung up on for this; nobody else is there when the end comes.
    client.send(&[1, 0, 0, 0]).expect("it is sent");
    assert_eq!(client.receive(), Err(Failure::Closed));
    front.program.terminate();
    // Time enough to end at once.
    assert_eq!(front.program.ended_within(Duration::from_millis(300)), None);
    server.release();
    assert_eq!(front.program.wait(), 0, "{}", front.program.errors());
    assert_eq!(&front.file("here")[..5], b"both\0");
    let id = server.tree().find("f").expect("it is there");
    assert_eq!(&server.tree().data(id)[..4], b"both");
}

/// Two servers hold devices of each other, and one is started anew with others: what would contain
/// itself is an error, and nothing hangs.
#[test]
fn a_device_does_not_come_to_contain_itself_over_two_servers() {
    // Only the address of the second is known when the first is started, and the other way round.
    let b_dial = {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        format!("tcp!127.0.0.1!{}", port.expect("a free port").port())
    };
    let chunk = pattern(1, 1000);
    let mut a = Node::start_with(&[("chunk", &chunk)], &["cat x /chunk"], &[("/n/b", &b_dial)]);
    let b = Node::start_at(&b_dial, &["cat y /n/a/x"], &[("/n/a", a.dial())]);
    let mut at_b = Client::mount(b.dial(), 8216, "").expect("it serves");
    assert_eq!(at_b.read(&["y"], 0, 10), Ok(pattern(1, 10)));

    a.kill();
    a.start_again_with(&["cat x /n/b/y"]);
    let mut at_a = Client::mount(a.dial(), 8216, "").expect("it serves");
    let changed =
        Err(Failure::Error("file has changed: its qid or its length is another".to_owned()));
    assert_eq!(await_back(&mut at_b, "y"), changed);
    assert_eq!(at_a.read(&["x"], 0, 10), changed);
    assert_eq!(at_a.write(&["x"], 0, b"round"), changed.clone().map(|_| 0));

    a.kill();
    a.start_again_with(&["cat x /chunk"]);
    assert_eq!(await_back(&mut at_b, "y"), Ok(pattern(1, 10)));
}

/// A tower of devices over two servers, each made of one on the other, ends at a bound.
#[test]
fn devices_of_devices_of_devices_come_to_an_end() {
    let b_dial = {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        format!("tcp!127.0.0.1!{}", port.expect("a free port").port())
    };
    let a = Node::start_with(&[("chunk", b"deep")], &["cat d0 /chunk"], &[("/n/b", &b_dial)]);
    let b = Node::start_at(&b_dial, &["cat d0 /n/a/d0"], &[("/n/a", a.dial())]);
    let mut clients = [&a, &b].map(|node| Client::mount(node.dial(), 8216, "").expect("it serves"));
    let mut refused = None;
    for level in 1..64 {
        for (at, other) in [(0, "b"), (1, "a")] {
            let inner = if at == 0 { level - 1 } else { level };
            let made = clients[at].ctl(&format!("cat d{level} /n/{other}/d{inner}"));
            if let Err(error) = made {
                refused.get_or_insert((level, error.to_string()));
            }
        }
    }
    let (level, why) = refused.expect("a tower without end was built");
    assert!(why.contains("too many files or devices inside it"), "level {level}: {why}");
    assert_eq!(clients[0].read(&[&format!("d{}", level - 1)], 0, 9), Ok(b"deep".to_vec()));
}

/// What went wrong when a file was opened anew need not last.
#[test]
fn a_file_that_could_not_be_opened_anew_is_tried_again() {
    let (server, front) = server_and_front(&[]);
    front.ctl(&["cat f /n/a/f", "cat g /n/a/g"]);
    let mut client = front.client();
    let full = || Effect::Error("no room for now".to_owned());
    server.tree().fault("f", Action::Open, full(), Some(1));
    server.cut();
    assert_eq!(await_back(&mut client, "g"), Ok(pattern(2, 10)));
    eventually("the file is open again", || {
        let read = client.read(&["f"], 0, 10);
        assert!(read == Ok(pattern(1, 10)) || read.is_err(), "{read:?}");
        read.ok()
    });
    assert_eq!(server.connections(), 2);
}

#[test]
fn a_sync_after_the_server_was_away_since_a_write_says_so_once() {
    let (server, front) = server_and_front(&[]);
    front.ctl(&["cat f /n/a/f"]);
    let mut client = front.client();
    assert_eq!(client.write(&["f"], 0, b"abc"), Ok(3));
    assert_eq!(client.sync(&["f"]), Ok(()));
    server.cut();
    await_back(&mut client, "f").expect("it is the same file");
    assert_eq!(client.sync(&["f"]), Ok(()), "nothing can have been lost");
    assert_eq!(client.write(&["f"], 0, b"def"), Ok(3));
    server.cut();
    await_back(&mut client, "f").expect("it is the same file");
    let lost = "server was away: what was not synced may be lost";
    assert_eq!(client.sync(&["f"]), Err(Failure::Error(lost.into())));
    assert_eq!(client.sync(&["f"]), Ok(()));
}

#[test]
fn each_fid_hears_of_a_loss_at_its_next_sync() {
    let (server, front) = server_and_front(&[]);
    front.ctl(&["cat f /n/a/f"]);
    let mut client = front.client();
    let fids = [0, 1].map(|_| client.open_both(&["f"]).expect("it is there"));
    assert_eq!(client.write_at(fids[0], 0, b"abc"), Ok(3));
    server.cut();
    await_back(&mut client, "f").expect("it is the same file");
    let later = client.open_both(&["f"]).expect("it is there");
    let mut stat = Vec::new();
    Stat::DONT_TOUCH.encode(&mut stat);
    let mut sync = |fid| client.rpc(&Tmsg::Wstat { fid, stat: &stat }).map(drop);
    let lost = || Err(Failure::Error("server was away: what was not synced may be lost".into()));
    // Who opened it before anybody had heard of it may have written, and closed, before that.
    for fid in [fids[1], fids[0], later] {
        assert_eq!(sync(fid), lost());
        assert_eq!(sync(fid), Ok(()));
    }
    let last = client.open_both(&["f"]).expect("it is there");
    assert_eq!(client.rpc(&Tmsg::Wstat { fid: last, stat: &stat }).map(drop), Ok(()));
}

#[test]
fn a_server_that_can_not_sync_is_told_of_to_all_once() {
    let (server, front) = server_and_front(&[]);
    front.ctl(&["cat f /n/a/f"]);
    let mut client = front.client();
    let fids = [0, 1].map(|_| client.open_both(&["f"]).expect("it is there"));
    assert_eq!(client.write_at(fids[0], 0, b"abc"), Ok(3));
    let failed = Failure::Error("the disk is gone".into());
    server.tree().fault("f", Action::Sync, Effect::Error("the disk is gone".into()), Some(1));
    let mut stat = Vec::new();
    Stat::DONT_TOUCH.encode(&mut stat);
    let mut sync = |fid| client.rpc(&Tmsg::Wstat { fid, stat: &stat }).map(drop);
    assert_eq!(sync(fids[1]), Err(failed));
    assert_eq!(sync(fids[1]), Ok(()), "it has heard of it");
    assert!(sync(fids[0]).is_err(), "what it wrote may be lost");
    assert_eq!(sync(fids[0]), Ok(()));
}

#[test]
fn a_server_is_found_by_its_hosts_name_or_its_socket_and_an_unknown_name_is_told() {
    let place = Place::new();
    // Deeper than one Twalk goes.
    let deep = "d/".repeat(20);
    std::fs::create_dir_all(place.root().join(&deep)).expect("directories");
    for file in ["f", &format!("{deep}f")] {
        std::fs::write(place.root().join(file), pattern(1, 1000)).expect("a new file");
    }
    let socket = format!("unix!{}", place.path().join("socket").display());
    let serve = Serve::on("tcp!127.0.0.1!0").and_on(&socket).flag("--export");
    let program = serve.option("--root", place.root()).start();
    let by_name = program.dial().replace("127.0.0.1", "localhost");
    // Longer than any name can be, so that nobody is asked for it.
    let unknown = format!("tcp!{}!styx", "x".repeat(300));
    let mounts = [("/n/a", &*by_name), ("/n/b", &*socket), ("/n/c", &*unknown)];
    let text = mounts.map(|(at, dial)| format!("mount -A {dial} {at} '#U'\n")).concat();
    let namespace = place.file("namespace", &text);
    let front = Serve::on("tcp!127.0.0.1!0").option("--namespace", namespace).start();
    let mut client = Client::mount(front.dial(), MSIZE, "").expect("it serves");
    for (name, file) in [("a", "f"), ("b", "f"), ("a", &format!("{deep}f"))] {
        let device = format!("{name}{}", file.len());
        client.ctl(&format!("cat {device} /n/{name}/{file}")).expect("it is found");
        assert_eq!(client.read(&[&device], 0, 1000), Ok(pattern(1, 1000)));
    }
    for missing in ["d/".repeat(16) + "e/e", "d/".repeat(17) + "e/e", "d/".repeat(12) + "e/e"] {
        let told = client.ctl(&format!("cat x /n/a/{missing}")).expect_err("no such file");
        assert!(told.to_string().contains("does not exist"), "{told}");
    }
    let told = client.ctl("cat c /n/c/f").expect_err("there is no such host").to_string();
    assert!(told.contains(&unknown[..20]), "{told}");
}
