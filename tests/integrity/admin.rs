//! The admin tree, from outside.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use styx::{NOFID, Rmsg, Tmsg, VERSION, omode};

use crate::place::{Lab, admin, ctl, ds, log, status, text, wait_for};
use crate::support::client::{Client, Failure};
use crate::support::program::{Program, eventually};

#[test]
fn the_tree_lists_its_files_and_refuses_what_it_must() {
    let lab = Lab::new();
    let program = lab.start();
    let mut client = Client::mount(program.dial(), 8216, "admin").expect("a client");
    let names: Vec<String> =
        client.ls(&[] as &[&str]).expect("a list").into_iter().map(|entry| entry.name).collect();
    assert_eq!(
        names,
        ["ctl", "status", "event", "log", "devices", "connections", "stats", "metrics"]
    );
    assert!(text(&mut client, "status").expect("read").starts_with("upkeep running rate "));
    assert!(client.write(&["status"], 0, b"x").is_err());
    for (message, expected) in [
        ("resync m9", "no such device"),
        ("fail m0 7", "is no leg of m0: they are 0 to 1"),
        ("rate fast", "a number of bytes"),
        ("explode m0", "the verbs"),
        ("", "the verbs"),
        (&"resync ".repeat(600), "count"),
    ] {
        let Err(Failure::Error(said)) = admin(&program, message) else { panic!("{message}") };
        assert!(said.contains(expected) || said.contains("resync, verify"), "{message}: {said}");
    }
    let said = admin(&program, "dry-run fail m0 0").expect("understood");
    assert!(said.starts_with("would: fail m0 0"), "{said}");
    assert!(status(&program).contains("m0 equal"));
}

#[test]
fn pause_holds_a_resync_until_resume() {
    let lab = Lab::new();
    let program = lab.start();
    admin(&program, "pause").expect("understood");
    admin(&program, "repair m0 from 1").expect("understood");
    std::thread::sleep(Duration::from_millis(300));
    let said = status(&program);
    assert!(said.contains("upkeep paused") && said.contains("m0 0 out stale 1048576"), "{said}");
    admin(&program, "resume").expect("understood");
    wait_for(&program, "m0 equal");
}

/// Sends an open event's read and returns before it is answered.
fn wait_for_event(client: &mut Client) -> u16 {
    let fid = client.walk_to(&["event"]).expect("a fid");
    client.rpc(&Tmsg::Open { fid, mode: omode::OREAD }).expect("open");
    let mut frame = Vec::new();
    Tmsg::Read { fid, offset: 0, count: 1000 }.encode(77, &mut frame);
    client.send(&frame).expect("sent");
    77
}

#[test]
fn event_blocks_until_something_changes_and_flush_ends_it() {
    let lab = Lab::new();
    let program = lab.start();
    let mut client = Client::mount(program.dial(), 8216, "admin").expect("a client");
    let tag = wait_for_event(&mut client);
    let mut frame = Vec::new();
    Tmsg::Flush { oldtag: tag }.encode(78, &mut frame);
    client.send(&frame).expect("sent");
    let reply = client.receive().expect("an answer");
    assert!(matches!(reply.msg(), Rmsg::Flush), "{reply:?}");
    let tag = wait_for_event(&mut client);
    admin(&program, "fail m0 0").expect("understood");
    let reply = client.receive().expect("an answer");
    assert_eq!(reply.tag(), tag);
    let said = String::from_utf8_lossy(reply.data()).into_owned();
    assert!(said.contains("fail m0 0") || said.contains("leg 0 held"), "{said}");
}

#[test]
fn a_half_closed_client_is_not_kept_waiting_and_a_server_that_ends_lets_go() {
    let lab = Lab::new();
    let program = lab.start();
    let address = program.dial().replacen("tcp!", "", 1).replace('!', ":");
    let mut stream = TcpStream::connect(address).expect("connected");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("set");
    let mut frames = Vec::new();
    Tmsg::Version { msize: 8216, version: VERSION }.encode(styx::NOTAG, &mut frames);
    Tmsg::Attach { fid: 0, afid: NOFID, uname: "root", aname: "admin" }.encode(1, &mut frames);
    let names = styx::UpTo16::from_slice(&["event"]).expect("one name");
    Tmsg::Walk { fid: 0, newfid: 1, names }.encode(2, &mut frames);
    Tmsg::Open { fid: 1, mode: omode::OREAD }.encode(3, &mut frames);
    Tmsg::Read { fid: 1, offset: 0, count: 100 }.encode(4, &mut frames);
    stream.write_all(&frames).expect("sent");
    stream.shutdown(Shutdown::Write).expect("half closed");
    let mut answers = Vec::new();
    stream.read_to_end(&mut answers).expect("the server hangs up");
    assert!(answers.ends_with(&[11, 0, 0, 0, 117, 4, 0, 0, 0, 0, 0]), "{answers:?}");
}

#[test]
fn status_says_how_far_a_verify_is_and_how_long_is_left() {
    let lab = Lab::new();
    let program = lab.start();
    admin(&program, "rate 4096").expect("understood");
    admin(&program, "verify m0").expect("understood");
    // It takes minutes, unless the rate is raised.
    let said = status(&program);
    let line = said.lines().find(|line| line.starts_with("mirror ds/m0")).expect("the mirror");
    let words: Vec<&str> = line.split(' ').collect();
    let ["verified", verified, "left", left] = words[words.len() - 4..] else { panic!("{line}") };
    let verified: u64 = verified.parse().expect("bytes");
    assert!(verified < 1 << 20 && left == format!("{}s", 256 - verified / 4096), "{line}");
    let mut client = Client::mount(program.dial(), 8216, "admin").expect("a client");
    let devices = text(&mut client, "devices").expect("read");
    assert!(devices.contains(" verified "), "{devices}");
    let again = admin(&program, "verify m0").expect_err("it is under way");
    assert!(again.to_string().contains("under way already"), "{again}");
    admin(&program, "rate 67108864").expect("understood");
    eventually("the log says what was found", || {
        log(&program).contains("ds/m0: verify: legs in service are equal").then_some(())
    });
}

#[test]
fn devices_says_what_is_deleted_what_is_missing_and_what_is_a_ctl() {
    let lab = Lab::new();
    let serve = || lab.serve().option("--dialect", "plan9");
    let program = serve().start();
    ctl(&program, "mirror m0 c0 c1");
    ctl(&program, "cat both /dev/fs/ctl c1");
    ctl(&program, "part p0 c1 0 100");
    let mut open = ds(&program);
    open.open_both(&["p0"]).expect("open");
    ctl(&program, "del p0");
    let devices = |program: &Program| {
        let mut client = Client::mount(program.dial(), 8216, "admin").expect("a client");
        text(&mut client, "devices").expect("read")
    };
    let said = devices(&program);
    assert!(said.contains("fs/p0 part length 100 state deleted"), "{said}");
    assert!(said.contains("/dev/fs/ctl ctl length 0 state ok"), "{said}");
    drop(program);
    std::fs::remove_file(lab.chunk(0)).expect("ours");
    let said = devices(&serve().start());
    assert!(said.contains("c0 file length 1048576 state missing"), "{said}");
}

/// Sends so many reads of event, of which nothing comes while nothing happens.
fn wait_for_events(client: &mut Client, count: usize) {
    let fid = client.walk_to(&["event"]).expect("a fid");
    client.rpc(&Tmsg::Open { fid, mode: omode::OREAD }).expect("open");
    for _ in 0..count {
        client.post(&Tmsg::Read { fid, offset: 0, count: 1000 }).expect("sent");
    }
}

#[test]
fn reads_of_event_that_wait_have_a_bound() {
    const EACH: usize = 1000;
    let program = Lab::new().serve().start();
    let mount = || Client::mount(program.dial(), 8216, "admin").expect("a client");
    let mut waiting = [(); 4].map(|()| mount());
    for client in &mut waiting {
        wait_for_events(client, EACH);
        // It is answered after what came before it has been taken.
        client.stat(&["event"]).expect("an answer");
    }
    let mut last = mount();
    wait_for_events(&mut last, 4096 - 4 * EACH + 1);
    let refused = last.receive().expect("an answer");
    assert!(format!("{refused:?}").contains("too many reads of event"), "{refused:?}");
    drop(waiting);
    eventually("there is room again", || {
        let mut client = mount();
        wait_for_events(&mut client, 1);
        client.stat(&["event"]).is_ok().then_some(())
    });
}
