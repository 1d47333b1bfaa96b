//! Large reads of one client while another asks for little all the time: they are left for later, and
//! nothing else about them is other than it is alone.

mod support;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use styx::{Rmsg, Tmsg, omode};
use support::client::{Client, Outcome};
use support::kinds::{self, NAMES};
use support::program::{Place, Program};

const MSIZE: u32 = 1 << 20;
const FILE_BYTES: usize = 3_000_001;
const LARGE: u32 = 700_000;

/// Does `what` while another client reads `connections` over and over: how often that said that a request
/// was under way.
fn beside(program: &Program, what: impl FnOnce()) -> usize {
    let (is_over, seen) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = Client::mount(program.dial(), MSIZE, "admin").expect("it is served");
            let fid = client.walk_to(&["connections"]).expect("it is there");
            client.rpc(&Tmsg::Open { fid, mode: omode::OREAD }).expect("it can be read");
            while !is_over.load(Ordering::Acquire) {
                let text = client.read_at(fid, 0, 8192).expect("it can be read");
                let text = String::from_utf8(text).expect("it is text");
                assert!(text.starts_with("connection "), "{text}");
                seen.fetch_add(usize::from(text.contains(" pending 1 ")), Ordering::Relaxed);
            }
        });
        // The other one must end, too, if this fails.
        struct End<'a>(&'a AtomicBool);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Release);
            }
        }
        let _end = End(&is_over);
        what();
    });
    seen.into_inner()
}

/// A device from begin to end and beyond, in large reads: what each gives.
fn read_all(client: &mut Client, name: &str) -> Vec<Outcome<Vec<u8>>> {
    let fid = client.walk_to(&[name]).expect("it is there");
    client.rpc(&Tmsg::Open { fid, mode: omode::OREAD }).expect("it can be read");
    let offsets = (0..10_000_000).step_by(LARGE as usize);
    let all = offsets.map(|offset| client.read_at(fid, offset, LARGE)).collect();
    client.rpc(&Tmsg::Clunk { fid }).expect("it is open");
    all
}

#[test]
fn large_reads_are_left_for_later_and_give_what_they_give_alone() {
    let place = Place::new();
    let program = kinds::serve(&place, FILE_BYTES);
    let mut client = Client::mount(program.dial(), MSIZE, "").expect("the server is there");
    for name in NAMES {
        let alone = read_all(&mut client, name);
        let seen = beside(&program, || {
            for _ in 0..8 {
                assert!(read_all(&mut client, name) == alone, "{name} gives something else");
            }
        });
        assert!(seen > 0, "no read of {name} was left for later");
    }
}

#[test]
fn a_large_read_that_is_left_can_be_flushed_and_be_forgotten() {
    let place = Place::new();
    let program = kinds::serve(&place, FILE_BYTES);
    let seen = beside(&program, || {
        for round in 0..100u8 {
            let mut client = Client::mount(program.dial(), MSIZE, "").expect("it is served");
            let fid = client.walk_to(&["cat"]).expect("it is there");
            client.rpc(&Tmsg::Open { fid, mode: omode::ORDWR }).expect("it can be opened");
            let read = |client: &mut Client, offset| {
                client.post(&Tmsg::Read { fid, offset, count: LARGE }).expect("it is sent")
            };
            let first = read(&mut client, 0);
            let second = read(&mut client, 1_000_000);
            if round % 2 == 0 {
                // It hangs up.
                continue;
            }
            let flush = client.post(&Tmsg::Flush { oldtag: first }).expect("it is sent");
            // It waits for the second read, which has its last bytes.
            let data = [round; 10];
            let write = Tmsg::Write { fid, offset: 1_699_990, data: &data };
            let write = client.post(&write).expect("it is sent");
            let mut waits = vec![second, flush, write];
            while !waits.is_empty() {
                let reply = client.receive().expect("it is answered");
                let tag = reply.tag();
                let is_flushed = !waits.contains(&flush);
                assert!(waits.contains(&tag) || (tag == first && !is_flushed), "{reply:?}");
                assert!(tag != write || !waits.contains(&second), "a write overtakes a read");
                if let Rmsg::Read { data } = reply.msg() {
                    assert_eq!(data.len(), LARGE as usize);
                }
                waits.retain(|&other| other != tag);
            }
        }
    });
    assert!(seen > 0, "no read was left for later");
}
