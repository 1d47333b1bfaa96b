//! Many small requests that come together: each gives what it gives alone, is counted once, and those of the
//! same bytes are done in the order in which they came.

mod support;

use std::fs::File;

use rustix::fs::{Advice, fadvise};
use styx::{Rmsg, Tmsg, omode};
use support::client::{Client, Failure, Outcome, Reply};
use support::kinds::{self, FILES, NAMES};
use support::program::{Place, Program};

const MSIZE: u32 = 65560;
const FILE_BYTES: usize = 300_001;

/// Takes all files out of memory, where the file system lets go of them.
fn make_cold(place: &Place) {
    for name in FILES {
        let file = File::open(place.root().join(name)).expect("it is there");
        file.sync_all().expect("a file can be synced");
        fadvise(&file, 0, None, Advice::DontNeed).expect("advice is taken");
    }
}

/// Reads of a few bytes up to more than a small read has, within a device and beyond its end.
fn ranges() -> impl Iterator<Item = (u64, u32)> {
    (0..60u32).map(|n| {
        let dice = n.wrapping_mul(2_654_435_761);
        let count = if n % 3 == 0 { 4096 } else { 1 + dice % 20_000 };
        (u64::from(dice >> 8) % 700_000, count)
    })
}

/// Sends these requests in one piece: their replies, in the order of the requests.
fn together(client: &mut Client, requests: &[Tmsg<'_>]) -> Vec<Outcome<Vec<u8>>> {
    let mut frames = Vec::new();
    (0..).zip(requests).for_each(|(tag, request)| request.encode(tag, &mut frames));
    client.send(&frames).expect("they can be sent");
    let mut replies: Vec<_> =
        requests.iter().map(|_| client.receive().expect("it is answered")).collect();
    replies.sort_by_key(|reply| reply.tag());
    let result = |reply: &Reply| match reply.msg() {
        Rmsg::Read { data } => Ok(data.to_vec()),
        Rmsg::Error { ename } => Err(Failure::Error(ename.to_string())),
        _ => Ok(Vec::new()),
    };
    replies.iter().map(result).collect()
}

fn text(program: &Program, name: &str) -> String {
    let mut client = Client::mount(program.dial(), MSIZE, "admin").expect("it is served");
    String::from_utf8(client.read_all(&[name]).expect("it can be read")).expect("it is text")
}

/// What has been counted of the first connection that is there, and of a device.
fn counted(program: &Program, device: &str) -> Vec<u64> {
    let (connections, stats) = (text(program, "connections"), text(program, "stats"));
    let own = connections.lines().next().expect("it is connected");
    let of_device = stats.lines().find(|line| line.contains(&format!(" fs/{device} ")));
    let value = |line: &str, name| {
        let mut words = line.split(' ').skip_while(|&word| word != name);
        words.nth(1).and_then(|value| value.parse().ok()).expect(name)
    };
    let of_own = ["answered", "failed", "received", "sent"].map(|name| value(own, name));
    let names = ["reads", "read-bytes", "failed"];
    of_own
        .into_iter()
        .chain(of_device.iter().flat_map(|line| names.map(|n| value(line, n))))
        .collect()
}

#[test]
fn each_read_gives_what_it_gives_alone_and_is_counted_once() {
    let place = Place::new();
    let program = kinds::serve(&place, FILE_BYTES);
    let devices = NAMES.map(|name| ("", name));
    for (tree, name) in devices.into_iter().chain([("#U", "a")]) {
        let mut client = Client::mount(program.dial(), MSIZE, tree).expect("the server is there");
        let fid = client.walk_to(&[name]).expect("it is there");
        client.rpc(&Tmsg::Open { fid, mode: omode::OREAD }).expect("it can be read");
        let requests: Vec<_> =
            ranges().map(|(offset, count)| Tmsg::Read { fid, offset, count }).collect();
        let begin = counted(&program, name);
        let alone: Vec<_> =
            ranges().map(|(offset, count)| client.read_at(fid, offset, count)).collect();
        let middle = counted(&program, name);
        for warmth in ["cold", "warm"] {
            if warmth == "cold" {
                make_cold(&place);
            }
            let before = counted(&program, name);
            assert_eq!(together(&mut client, &requests), alone, "{name}, {warmth}");
            let grown = |from: &[u64], to: &[u64]| -> Vec<u64> {
                from.iter().zip(to).map(|(from, to)| to - from).collect()
            };
            let after = counted(&program, name);
            assert_eq!(grown(&before, &after), grown(&begin, &middle), "{name}, {warmth}");
        }
    }
}

#[test]
fn reads_and_writes_of_the_same_bytes_are_done_in_their_order() {
    let place = Place::new();
    let program = kinds::serve(&place, FILE_BYTES);
    let mut client = Client::mount(program.dial(), MSIZE, "").expect("the server is there");
    let fid = client.open_both(&["mirror"]).expect("it can be opened");
    let (data, read) = ([[1; 100], [2; 100]], Tmsg::Read { fid, offset: 500, count: 100 });
    let mut requests = Vec::new();
    for data in &data {
        requests.extend((0..10).map(|_| read));
        requests.push(Tmsg::Write { fid, offset: 500, data });
    }
    requests.push(read);
    requests.push(read);
    let results = together(&mut client, &requests);
    let old = kinds::content("a", FILE_BYTES)[500..600].to_vec();
    for (at, result) in results.iter().enumerate().filter(|(at, _)| at % 11 != 10 || *at == 22) {
        let expected = [&old[..], &data[0], &data[1]][at / 11];
        assert_eq!(result.as_deref(), Ok(expected), "request {at}");
    }
}

#[test]
fn who_says_nonsense_after_its_reads_gets_what_it_has_read_before_it_is_hung_up_on() {
    let place = Place::new();
    let program = kinds::serve(&place, FILE_BYTES);
    let mut client = Client::mount(program.dial(), MSIZE, "").expect("the server is there");
    let fid = client.open_both(&["mirror"]).expect("it can be opened");
    let mut frames = Vec::new();
    let offset = |tag: u16| u64::from(tag) * 4096;
    for tag in 0..20 {
        Tmsg::Read { fid, offset: offset(tag), count: 4096 }.encode(tag, &mut frames);
    }
    frames.extend([3, 0, 0, 0, 0, 0, 0]);
    client.send(&frames).expect("they can be sent");
    let content = kinds::content("a", FILE_BYTES);
    for _ in 0..20 {
        let reply = client.receive().expect("it is answered");
        assert_eq!(reply.data(), &content[offset(reply.tag()) as usize..][..4096]);
    }
    client.receive().expect_err("it is hung up on");
}
