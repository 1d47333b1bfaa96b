//! What one connection carries at the same time: overlapping reads, many files, large transfers in
//! parts, requests that are late while others are not.

use dsfs::limits::{bytes_of_a_client, session};
use styx::Tmsg;

use crate::node::{Front, LARGEST};
use crate::support::client::{Client, Failure, MSIZE};
use crate::support::fault_server::{FaultServer, Manner};
use crate::support::fault_tree::{Action, Effect};
use crate::support::kinds;
use crate::support::program::{Place, eventually};
use crate::support::text::pattern;

const BLOCK: usize = 8192;

/// A server with these files, and a front that mounts it at `/n/a`.
fn one(files: &[(&str, Vec<u8>)], options: &[(&str, &str)]) -> (FaultServer, Front) {
    let server = server(files);
    let front = Front::start_with(&[("/n/a", &server.dial())], options);
    (server, front)
}

fn server(files: &[(&str, Vec<u8>)]) -> FaultServer {
    let server = FaultServer::start();
    for (name, data) in files {
        server.tree().create(name, data.clone(), 0o644);
    }
    server
}

fn error(text: &str) -> Failure {
    Failure::Error(text.to_owned())
}

/// Waits until so many reads and writes are held back at a server.
fn await_held(server: &FaultServer, count: usize) {
    eventually("requests come in", || (server.held().len() == count).then_some(()));
}

#[test]
fn an_inter_reads_from_both_servers_at_the_same_time() {
    let (data_a, data_b) = (pattern(1, 2 * BLOCK), pattern(2, 2 * BLOCK));
    let (a, b) = (server(&[("f", data_a.clone())]), server(&[("f", data_b.clone())]));
    let front = Front::start(&[("/n/a", &a.dial()), ("/n/b", &b.dial())]);
    front.ctl(&["inter i /n/a/f /n/b/f", "cat c /n/a/f /n/b/f"]);
    let mut client = front.client();
    let inter = [&data_a[..BLOCK], &data_b[..BLOCK], &data_a[BLOCK..], &data_b[BLOCK..]].concat();
    let cat = [data_a.clone(), data_b.clone()].concat();
    // An inter's next blocks are asked for with the first.
    for (name, wanted, requests) in [("i", inter, 2), ("c", cat, 1)] {
        let fid = client.open_both(&[name]).expect("it is there");
        let count = wanted.len() as u32;
        a.hold();
        b.hold();
        let tag = client.post(&Tmsg::Read { fid, offset: 0, count }).expect("it is sent");
        // If the one were waited for before the other is asked, this would never be.
        await_held(&a, requests);
        await_held(&b, requests);
        a.release();
        b.release();
        let reply = client.receive().expect("an answer");
        assert_eq!((reply.tag(), reply.data()), (tag, &wanted[..]), "{name}");
    }
}

#[test]
fn requests_of_many_clients_are_under_way_on_one_connection() {
    let (server, front) = one(&[("f", pattern(1, 100)), ("g", pattern(2, 100))], &[]);
    front.ctl(&["cat f /n/a/f", "cat g /n/a/g"]);
    let mut clients: Vec<Client> = (0..4).map(|_| front.client()).collect();
    server.hold();
    for client in &mut clients {
        for name in ["f", "g", "f"] {
            let fid = client.open_both(&[name]).expect("it is there");
            client.post(&Tmsg::Read { fid, offset: 10, count: 20 }).expect("it is sent");
        }
    }
    await_held(&server, 12);
    server.release();
    for client in &mut clients {
        for _ in 0..3 {
            let reply = client.receive().expect("an answer");
            let right = [pattern(1, 30), pattern(2, 30)];
            assert!(right.iter().any(|file| reply.data() == &file[10..]), "{reply:?}");
        }
    }
    assert_eq!(server.connections(), 1);
}

/// A client that caches by it must see what is written through another device.
#[test]
fn devices_with_a_file_in_common_change_their_versions_together() {
    let (_server, front) = one(&[("f", pattern(1, 100))], &[]);
    front.ctl(&["cat whole /n/a/f", "part start /n/a/f 0 10"]);
    let mut client = front.client();
    let version = |client: &mut Client| client.stat(&["start"]).expect("it is there").qid.vers;
    let before = version(&mut client);
    client.write(&["whole"], 0, b"other").expect("it is written");
    assert_ne!(version(&mut client), before);
}

/// What a cat answers is decided by its first piece that fails, not by the first failure to come.
#[test]
fn the_first_piece_that_fails_is_told_whichever_server_answers_first() {
    let (a, b) = (server(&[("f", vec![1; 10])]), server(&[("f", vec![2; 10])]));
    let front = Front::start(&[("/n/a", &a.dial()), ("/n/b", &b.dial())]);
    front.ctl(&["cat c /n/a/f /n/b/f"]);
    let mut client = front.client();
    let fid = client.open_both(&["c"]).expect("it is there");
    a.tree().fault("f", Action::Read, Effect::Error("disk a is on fire".to_owned()), None);
    b.tree().fault("f", Action::Read, Effect::Error("disk b is on fire".to_owned()), None);
    for (first, second) in [(&a, &b), (&b, &a)] {
        a.hold();
        b.hold();
        client.post(&Tmsg::Read { fid, offset: 0, count: 20 }).expect("it is sent");
        await_held(&a, 1);
        await_held(&b, 1);
        first.release();
        await_held(first, 0);
        second.release();
        let reply = client.receive().expect("an answer");
        assert_eq!(format!("{:?}", reply.msg()), "Error { ename: \"disk a is on fire\" }");
    }
}

#[test]
fn five_hundred_and_twelve_files_on_one_server_cost_one_connection() {
    let server = FaultServer::start();
    for file in 0..512 {
        server.tree().create(&format!("f{file}"), pattern(file, 100), 0o644);
    }
    let front = Front::start(&[("/n/a", &server.dial())]);
    let mut client = front.client();
    for device in 0..64 {
        let files: Vec<String> = (0..8).map(|n| format!("/n/a/f{}", device * 8 + n)).collect();
        client.ctl(&format!("cat d{device} {}", files.join(" "))).expect("it is made");
    }
    let check = |client: &mut Client| {
        for device in 0..64 {
            let wanted: Vec<u8> = (0..8).flat_map(|n| pattern(device * 8 + n, 100)).collect();
            let name = format!("d{device}");
            eventually("the device is back", || client.read(&[&name], 0, 1).ok());
            assert_eq!(client.read(&[&name], 0, 1000), Ok(wanted), "{name}");
        }
    };
    check(&mut client);
    assert_eq!(server.connections(), 1);
    server.cut();
    check(&mut client);
    assert_eq!(server.connections(), 2);
}

#[test]
fn large_transfers_are_split_and_put_together_again() {
    let data = pattern(3, 300_001);
    for manner in [
        Manner { iounit: 100, ..Manner::default() },
        Manner { msize: 256, iounit: 0 },
        Manner { msize: 8216, iounit: 8192 },
    ] {
        let server = FaultServer::start_as(manner);
        server.tree().create("f", data.clone(), 0o644);
        let front = Front::start(&[("/n/a", &server.dial())]);
        front.ctl(&["part f /n/a/f 1 300000"]);
        let mut client = front.client();
        let fid = client.open_both(&["f"]).expect("it is there");
        let unit = if manner.iounit == 0 { manner.msize - 24 } else { manner.iounit } as usize;
        server.tree().take_log();
        assert!(client.read_at(fid, 0, 1 << 20) == Ok(data[1..].to_vec()), "{manner:?}");
        let log = server.tree().take_log();
        assert_eq!(log.len(), 300_000usize.div_ceil(unit), "{manner:?}");
        assert!(log.iter().all(|asked| asked.count <= unit), "{manner:?}");

        let new = pattern(77, 299_000);
        assert_eq!(client.write_at(fid, 500, &new), Ok(299_000), "{manner:?}");
        let id = server.tree().find("f").expect("it is there");
        let wanted = [&data[..501], &new, &data[299_501..]].concat();
        assert!(server.tree().data(id) == wanted, "{manner:?}");

        // Two at the same time, each of more parts than may be under way.
        for _ in 0..2 {
            client.post(&Tmsg::Read { fid, offset: 0, count: 300_000 }).expect("it is sent");
        }
        for _ in 0..2 {
            assert!(client.receive().expect("an answer").data() == &wanted[1..], "{manner:?}");
        }
    }
}

/// A part that fails or stops short ends the transfer there.
#[test]
fn a_part_that_fails_fails_the_whole() {
    let server = FaultServer::start_as(Manner { iounit: 10, ..Manner::default() });
    server.tree().create("f", pattern(1, 100), 0o644);
    let front = Front::start(&[("/n/a", &server.dial())]);
    front.ctl(&["part f /n/a/f 0 100"]);
    let mut client = front.client();
    let fid = client.open_both(&["f"]).expect("it is there");
    server.tree().fault("f", Action::Read, Effect::Error("disk on fire".to_owned()), Some(1));
    assert_eq!(client.read_at(fid, 0, 100), Err(error("disk on fire")));
    server.tree().fault("f", Action::Read, Effect::Short(7), Some(1));
    assert_eq!(client.read_at(fid, 0, 100), Ok(pattern(1, 7)));
    server.tree().fault("f", Action::Write, Effect::Short(3), Some(1));
    assert_eq!(client.write_at(fid, 0, &[9; 50]), Ok(3));
    assert_eq!(client.read_at(fid, 0, 100).map(|data| data.len()), Ok(100));
}

#[test]
fn a_late_request_is_flushed_and_fails_while_others_go_on() {
    let files = [("slow", pattern(1, 100)), ("quick", pattern(2, 100))];
    let (server, front) = one(&files, &[("--timeout", "1")]);
    front.ctl(&["cat slow /n/a/slow", "cat quick /n/a/quick"]);
    let mut client = front.client();
    let slow = client.open_both(&["slow"]).expect("it is there");
    let mut other = front.client();
    server.hold_file("slow");
    client.post(&Tmsg::Read { fid: slow, offset: 0, count: 100 }).expect("it is sent");
    await_held(&server, 1);
    assert_eq!(other.read(&["quick"], 0, 100), Ok(pattern(2, 100)));
    let reply = client.receive().expect("an answer");
    assert_eq!(format!("{:?}", reply.msg()), "Error { ename: \"request timed out\" }");
    eventually("the read is flushed", || (server.flushed() == 1).then_some(()));

    // A write that fails was not done, and is not done later, over what comes after it.
    assert_eq!(client.write_at(slow, 0, b"late"), Err(error("request timed out")));
    assert_eq!(server.flushed(), 2);
    server.release();
    assert_eq!(client.write_at(slow, 2, b"next"), Ok(4));
    let wanted = [&pattern(1, 100)[..2], b"next", &pattern(1, 100)[6..]].concat();
    assert_eq!(client.read_at(slow, 0, 100), Ok(wanted));
    assert_eq!(server.connections(), 1);
}

/// What comes after the first part that fails is not asked for, as far as it has not been.
#[test]
fn a_transfer_of_many_parts_ends_with_the_first_that_fails() {
    let server = FaultServer::start_as(Manner { iounit: 10, ..Manner::default() });
    server.tree().create("f", pattern(1, 100_000), 0o644);
    let front = Front::start(&[("/n/a", &server.dial())]);
    front.ctl(&["part f /n/a/f 0 100000"]);
    let mut client = front.client();
    let fid = client.open_both(&["f"]).expect("it is there");
    server.tree().fault("f", Action::Write, Effect::Error("disk on fire".to_owned()), Some(1));
    assert_eq!(client.write_at(fid, 0, &[7; 100_000]), Err(error("disk on fire")));
    let id = server.tree().find("f").expect("it is there");
    assert!(server.tree().data(id)[50_000..] == pattern(1, 100_000)[50_000..], "it went on");
}

/// What is not known to be undone is not told to have failed: its bytes could come at any time.
#[test]
fn a_write_that_is_late_but_done_has_succeeded() {
    let (server, front) = one(&[("f", vec![0; 100])], &[("--timeout", "1")]);
    front.ctl(&["cat f /n/a/f"]);
    let mut client = front.client();
    let fid = client.open_both(&["f"]).expect("it is there");
    server.hold();
    server.be_deaf();
    client.post(&Tmsg::Write { fid, offset: 0, data: b"late" }).expect("it is sent");
    eventually("the write is flushed", || (server.flushed() == 1).then_some(()));
    server.release();
    let reply = client.receive().expect("an answer");
    assert_eq!(format!("{:?}", reply.msg()), "Write { count: 4 }");
    assert_eq!(client.read_at(fid, 0, 5), Ok(b"late\0".to_vec()));
}

/// One that answers neither is hung up on, and tried again.
#[test]
fn a_server_that_does_not_even_answer_a_flush_is_hung_up_on() {
    let (server, front) = one(&[("f", pattern(1, 100))], &[("--timeout", "1")]);
    front.ctl(&["cat f /n/a/f"]);
    let mut client = front.client();
    let fid = client.open_both(&["f"]).expect("it is there");
    server.hold();
    server.be_deaf();
    assert_eq!(client.write_at(fid, 0, b"lost"), Err(error("request timed out")));
    server.release();
    eventually("it is connected again", || client.read_at(fid, 10, 10).ok());
    assert_eq!(server.connections(), 2);
}

#[test]
fn fids_are_given_back() {
    let (server, front) = one(&[("f", pattern(1, 100))], &[("--dialect", "plan9")]);
    server.tree().create("closed", vec![], 0o200);
    let mut client = Client::mount(front.program.dial(), MSIZE, "fs").expect("it serves");
    client.ctl("cat f /n/a/f").expect("it is made");
    // The root, and the file.
    assert_eq!(server.fids(), 2);
    for round in 0..20 {
        for message in ["cat x /n/a/f /n/a/closed", "cat x /n/a/f /n/a", "cat x /n/a/f /n/a/none/y"]
        {
            client.ctl(message).expect_err(message);
        }
        client.ctl("cat g /n/a/f /n/a/f").expect("it is made");
        let fid = client.open_both(&["g"]).expect("it is there");
        client.ctl("del g").expect("it is there");
        client.rpc(&Tmsg::Clunk { fid }).expect("a clunk can't fail");
        let left = || (server.fids() == 2).then_some(());
        eventually(&format!("round {round}: the fids are given back"), left);
    }
}

/// What does not fit in one message goes out in parts, and some devices take only whole sectors.
#[test]
fn a_crypt_device_on_another_server_takes_long_transfers() {
    let place = Place::new();
    let far = kinds::serve(&place, 400_000);
    let front = Front::start(&[("/n/far", far.dial())]);
    front.ctl(&["cat c /n/far/crypt"]);
    let mut client = front.client();
    let fid = client.open_both(&["c"]).expect("it is there");
    let data = pattern(7, 300 * 512);
    assert_eq!(client.write_at(fid, 512, &data), Ok(data.len() as u32));
    assert!(client.read_at(fid, 512, data.len() as u32).expect("it is read") == data);
    let mut there = Client::mount(far.dial(), LARGEST, "").expect("it serves");
    assert!(there.read(&["crypt"], 512, data.len() as u32).expect("it is read") == data);
}

/// More parts than there are tags.
#[test]
fn transfers_of_very_many_parts_do_not_use_up_the_tags() {
    let server = FaultServer::start_as(Manner { iounit: 10, ..Manner::default() });
    server.tree().create("f", pattern(3, 250_000), 0o644);
    let front = Front::start(&[("/n/a", &server.dial())]);
    front.ctl(&["part f /n/a/f 0 250000"]);
    let mut client = front.client();
    let fid = client.open_both(&["f"]).expect("it is there");
    server.hold();
    for _ in 0..3 {
        client.post(&Tmsg::Read { fid, offset: 0, count: 250_000 }).expect("it is sent");
    }
    eventually("some are asked for", || (server.held().len() > 100).then_some(()));
    server.release();
    for _ in 0..3 {
        let reply = client.receive().expect("an answer");
        assert!(reply.data() == pattern(3, 250_000), "wrong bytes");
    }
}

/// The leg that is left is asked when the first one's time is over, wherever it is.
#[test]
fn a_mirror_goes_on_to_the_other_server_when_one_is_late() {
    let data = pattern(5, 1000);
    let (a, b) = (server(&[("f", data.clone())]), server(&[("f", data.clone())]));
    let mounts = [("/n/a", &a.dial()[..]), ("/n/b", &b.dial()[..])];
    let front = Front::start_with(&mounts, &[("--timeout", "1")]);
    front.ctl(&["mirror ab /n/a/f /n/b/f", "mirror ba /n/b/f /n/a/f"]);
    let mut client = front.client();
    a.hold();
    assert_eq!(client.read(&["ab"], 0, 1000), Ok(data.clone()));
    a.release();
    b.hold();
    assert_eq!(client.read(&["ba"], 0, 1000), Ok(data));
}

/// A client that asks for all it can of a server that answers nothing.
#[test]
fn requests_to_a_server_that_is_stuck_cost_bounded_memory() {
    const GREEDY: usize = 1000;
    let (server, front) = one(&[("f", vec![7; 1 << 20])], &[]);
    front.create("here", &[3; 5000]);
    front.ctl(&["part f /n/a/f 0 1048576", "part here /here 0 5000"]);
    let mut greedy = front.client();
    let fid = greedy.open_both(&["f"]).expect("it is there");
    let mut other = Client::mount(front.program.dial(), MSIZE, "").expect("it serves");
    server.hold();
    let before = front.program.memory();
    for _ in 0..GREEDY {
        greedy.post(&Tmsg::Read { fid, offset: 0, count: LARGEST - 24 }).expect("it is sent");
    }
    eventually("some are asked for", || (!server.held().is_empty()).then_some(()));
    assert_eq!(other.read(&["here"], 4990, 20), Ok(vec![3; 10]));
    server.release();
    // All answers come in the end; what is not asked for yet waits where it is.
    let most = bytes_of_a_client(&session(LARGEST)) as u64;
    for _ in 0..GREEDY / 10 {
        let reply = greedy.receive().expect("an answer");
        assert!(reply.data() == [7; 1 << 20], "wrong bytes");
        let now = front.program.memory();
        assert!(now < before + most, "{now} bytes, and {before} before");
    }
    assert_eq!(other.read(&["here"], 0, 10), Ok(vec![3; 10]));
}

#[test]
fn as_many_small_requests_as_a_client_likes_are_answered() {
    const MANY: u64 = 3000;
    let (server, front) = one(&[("f", pattern(9, 4000))], &[]);
    front.ctl(&["cat f /n/a/f"]);
    let mut client = front.client();
    let fid = client.open_both(&["f"]).expect("it is there");
    server.hold();
    let tags: Vec<u16> = (0..MANY)
        .map(|offset| client.post(&Tmsg::Read { fid, offset, count: 1 }).expect("it is sent"))
        .collect();
    eventually("some are asked for", || (server.held().len() >= 100).then_some(()));
    server.release();
    let wanted = pattern(9, 4000);
    for _ in 0..MANY {
        let reply = client.receive().expect("an answer");
        let at = tags.iter().position(|&tag| tag == reply.tag()).expect("it was asked for");
        assert_eq!(reply.data(), [wanted[at]]);
    }
}
