//! A client and a session joined in memory. Whatever the client asks, in whatever pieces the bytes
//! travel, whenever the service answers: every request comes back once, with a reply that is its
//! own, and neither half finds fault with the other.

mod common;

use std::collections::HashMap;

use common::tree::{File, NAMES, Tree, byte_at};
use common::wire::{attach, open, read, walk};
use proptest::collection::vec;
use proptest::prelude::*;
use styx::client::{Client, Event};
use styx::frame::split_frame;
use styx::server::{Limits, Session};
use styx::{Rmsg, Stat, Tmsg};

/// So small that a session of a few steps meets it, in reads, walks and entries.
const MSIZE: u32 = 128;

/// Requests that the session lets be under way at one time.
const REQUESTS: usize = 4;

/// One thing that happens.
#[derive(Clone, Debug)]
enum Step {
    Ask(Request),
    /// Flush the nth request under way.
    Flush(usize),
    /// This many bytes travel to the server, or to the client.
    ToServer(usize),
    ToClient(usize),
    /// The service leaves requests pending from now on, or does not; drops what is flushed, or not.
    Hold(bool),
    Drops(bool),
    /// The service completes the nth request that it left pending.
    Complete(usize),
}

#[derive(Clone, Copy, Debug)]
enum Request {
    Attach(u32),
    Walk(u32, u32, usize),
    Open(u32, u8),
    Create(u32),
    Read(u32, u64, u32),
    Write(u32),
    Clunk(u32),
    Remove(u32),
    Stat(u32),
}

/// Fid 0 stays at the root, or most would be of fids that do not exist.
fn request() -> impl Strategy<Value = Request> {
    let fid = || 1..5u32;
    let from = prop_oneof![3 => Just(0), 1 => fid()];
    let at = prop_oneof![3 => Just(0), 1 => 0..200u64];
    prop_oneof![
        1 => fid().prop_map(Request::Attach),
        6 => (from, fid(), 0..=NAMES.len()).prop_map(|(fid, to, n)| Request::Walk(fid, to, n)),
        3 => (fid(), prop_oneof![2 => Just(2), 1 => 0..4u8])
            .prop_map(|(fid, mode)| Request::Open(fid, mode)),
        1 => fid().prop_map(Request::Create),
        6 => (fid(), at, 0..=MSIZE - 20).prop_map(|(fid, at, n)| Request::Read(fid, at, n)),
        2 => fid().prop_map(Request::Write),
        2 => fid().prop_map(Request::Clunk),
        1 => fid().prop_map(Request::Remove),
        2 => (0..5u32).prop_map(Request::Stat),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => request().prop_map(Step::Ask),
        1 => (0..8usize).prop_map(Step::Flush),
        3 => (1..200usize).prop_map(Step::ToServer),
        3 => (1..200usize).prop_map(Step::ToClient),
        1 => any::<bool>().prop_map(Step::Hold),
        1 => any::<bool>().prop_map(Step::Drops),
        2 => (0..8usize).prop_map(Step::Complete),
    ]
}

impl Request {
    fn message(self) -> Tmsg<'static> {
        match self {
            Request::Attach(fid) => attach(fid),
            Request::Walk(fid, newfid, n) => {
                let mut names = [".", ".", ".", ".", "."];
                if let Some(last) = n.checked_sub(1) {
                    names[last] = NAMES[last];
                }
                walk(fid, newfid, &names[..n])
            }
            Request::Open(fid, mode) => open(fid, mode),
            Request::Create(fid) => Tmsg::Create { fid, name: "new", perm: 0, mode: 2 },
            Request::Read(fid, offset, count) => read(fid, offset, count),
            Request::Write(fid) => Tmsg::Write { fid, offset: 0, data: b"abc" },
            Request::Clunk(fid) => Tmsg::Clunk { fid },
            Request::Remove(fid) => Tmsg::Remove { fid },
            Request::Stat(fid) => Tmsg::Stat { fid },
        }
    }

    /// Whether a reply, whose type and size the client has checked, says what it should.
    fn fits(self, reply: &Rmsg<'_>) -> bool {
        match (self, reply) {
            (Request::Read(_, offset, _), Rmsg::Read { data }) => {
                let right = |(n, byte): (u64, &u8)| *byte == byte_at(offset + n);
                (0..).zip(data.iter()).all(right) || entries(data)
            }
            (Request::Walk(_, _, n), Rmsg::Walk { qids }) => {
                let last = |n: usize| File::Plain(n - 1).qid();
                qids.len() < n || n == 0 || qids.last() == Some(&last(n))
            }
            (Request::Stat(_), Rmsg::Stat { stat }) => Stat::decode(stat).is_ok(),
            (Request::Write(_), Rmsg::Write { count }) => *count == 3,
            _ => true,
        }
    }
}

/// Whether the data of an Rread are whole entries.
fn entries(mut data: &[u8]) -> bool {
    while !data.is_empty() {
        let Ok((_, rest)) = Stat::decode_first(data) else { return false };
        data = rest;
    }
    true
}

/// The two halves, and the bytes that are between them.
struct Pair {
    client: Client<usize>,
    session: Session<File>,
    tree: Tree,
    /// What each half has written, and what has arrived at the other.
    from_client: Vec<u8>,
    at_server: Vec<u8>,
    from_server: Vec<u8>,
    at_client: Vec<u8>,
    asked: Vec<Request>,
    /// The tags of requests under way, by number.
    under_way: HashMap<usize, u16>,
    ended: Vec<usize>,
}

impl Pair {
    fn new() -> Pair {
        let limits = Limits { requests: REQUESTS, ..Limits::default() };
        let mut pair = Pair {
            client: Client::new(MSIZE),
            session: Session::new(limits),
            tree: Tree::default(),
            from_client: Vec::new(),
            at_server: Vec::new(),
            from_server: Vec::new(),
            at_client: Vec::new(),
            asked: Vec::new(),
            under_way: HashMap::new(),
            ended: Vec::new(),
        };
        pair.client.version(usize::MAX, &mut pair.from_client);
        pair.settle();
        pair.step(Step::Ask(Request::Attach(0)));
        pair.settle();
        pair
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Ask(request) => {
                let number = self.asked.len();
                self.asked.push(request);
                let tag = self.client.send(&request.message(), number, &mut self.from_client);
                self.under_way.insert(number, tag.expect("a tag is left, and room for this"));
            }
            Step::Flush(nth) => {
                let mut numbers: Vec<_> = self.under_way.keys().copied().collect();
                numbers.sort_unstable();
                if let Some(number) = numbers.get(nth) {
                    self.client.flush(self.under_way[number], &mut self.from_client);
                }
            }
            Step::ToServer(n) => self.feed_server(n),
            Step::ToClient(n) => self.feed_client(n),
            Step::Hold(hold) => self.tree.hold = hold,
            Step::Drops(drops) => self.tree.drops = drops,
            Step::Complete(nth) => {
                if nth < self.tree.held.len() {
                    self.tree.complete(nth, &mut self.session, &mut self.from_server);
                }
            }
        }
        assert!(self.tree.held.len() <= REQUESTS, "further ones wait");
    }

    fn feed_server(&mut self, n: usize) {
        let n = n.min(self.from_client.len());
        self.at_server.extend(self.from_client.drain(..n));
        while let Some((frame, rest)) = split_frame(&self.at_server, self.session.msize()).unwrap()
        {
            if self.session.must_wait(frame, usize::MAX) {
                break;
            }
            let len = frame.len();
            assert_eq!(len + rest.len(), self.at_server.len());
            self.session
                .receive(frame, &mut self.tree, &mut self.from_server)
                .expect("the client sends T-messages");
            self.at_server.drain(..len);
        }
    }

    fn feed_client(&mut self, n: usize) {
        let n = n.min(self.from_server.len());
        self.at_client.extend(self.from_server.drain(..n));
        while let Some((frame, _)) = split_frame(&self.at_client, self.client.msize()).unwrap() {
            let len = frame.len();
            match self.client.receive(frame).expect("the session keeps to the protocol") {
                Some(Event::Reply(usize::MAX, reply)) => assert!(reply.is_ok()),
                Some(Event::Reply(number, reply)) => {
                    let request = self.asked[number];
                    assert!(
                        reply.is_err() || request.fits(&reply.unwrap()),
                        "{request:?}: {reply:?}"
                    );
                    self.end(number);
                }
                Some(Event::Flushed(number)) => self.end(number),
                None => {}
            }
            self.at_client.drain(..len);
        }
    }

    fn end(&mut self, number: usize) {
        assert!(self.under_way.remove(&number).is_some(), "request {number} comes back once");
        self.ended.push(number);
    }

    /// Lets everything that is under way come to its end.
    fn settle(&mut self) {
        self.tree.hold = false;
        while !self.from_client.is_empty()
            || !self.at_server.is_empty()
            || !self.tree.held.is_empty()
        {
            self.feed_server(usize::MAX);
            if !self.tree.held.is_empty() {
                self.tree.complete(0, &mut self.session, &mut self.from_server);
            }
        }
        self.feed_client(usize::MAX);
    }
}

proptest! {
    #[test]
    fn every_request_comes_back_once(steps in vec(step(), 0..200)) {
        let mut pair = Pair::new();
        for step in steps {
            pair.step(step);
        }
        pair.settle();
        prop_assert!(pair.at_client.is_empty() && pair.from_server.is_empty());
        pair.ended.sort_unstable();
        prop_assert_eq!(pair.ended, (0..pair.asked.len()).collect::<Vec<_>>());
        prop_assert_eq!(pair.client.outstanding(), 0);
        prop_assert_eq!(pair.session.outstanding(), 0);

        // And no fid is lost: each that exists, or was clunked, was made once.
        let fids = pair.session.fids();
        pair.tree.clunked.clear();
        pair.session.close(&mut pair.tree);
        prop_assert_eq!(pair.tree.clunked.len(), fids);
    }
}
