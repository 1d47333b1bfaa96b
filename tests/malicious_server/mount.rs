//! The session with another server alone, without sockets and in virtual time: thousands of random
//! histories with a server that answers late, in any order, wrongly or not at all, hangs up and comes
//! back. Whatever happens, everything that was asked is answered once, and what is read is right.

use std::collections::{HashMap, HashSet};
use std::task::Poll;
use std::time::{Duration, Instant};

use dsfs::inner::remote::{Done as Told, JobId, Mount};
use dsfs::inner::{Carrier, Device, File, Inner, Op, RemoteFile};
use dsfs::transfer::{Ask, Direction, Done, Transfers};
use proptest::prelude::*;
use styx::Tmsg;
use styx::frame::split_frame;
use styx::server::Outcome;

use crate::honest::{self, Honest};
use crate::support::random::Random;
use crate::support::text::pattern;

/// How long a request may be without an answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The length of each file, in bytes: some parts of the msize.
const LENGTH: usize = 3 * honest::MSIZE as usize;

const FILES: [&str; 3] = ["f", "g", "h"];

/// The mount, as the event loop serves it.
struct Link {
    mount: Mount,
    now: Instant,
}

impl Carrier for Link {
    fn read(&mut self, file: &File, offset: u64, data: &mut [u8], op: Op) -> Outcome<usize> {
        self.mount.read(remote(file), offset, data.len(), op, self.now)?;
        Poll::Pending
    }

    fn write(&mut self, file: &File, offset: u64, data: &[u8], op: Op) -> Outcome<usize> {
        self.mount.write(remote(file), offset, data, op, self.now)?;
        Poll::Pending
    }

    fn sync(&mut self, file: &File, op: Op) -> Outcome<()> {
        self.mount.sync(remote(file), op, self.now)?;
        Poll::Pending
    }

    fn ends_before(&mut self, _: &File, _: u64) -> bool {
        false
    }

    fn record(&mut self, _: &std::rc::Rc<Device>, _: Option<Op>) -> Outcome<()> {
        unreachable!("no mirror is here")
    }

    fn time(&self) -> u64 {
        0
    }
}

fn remote(file: &File) -> &RemoteFile {
    match file {
        File::Remote(file) => file,
        File::Local(_) => unreachable!("all files are on the other server"),
    }
}

/// What was asked of a transfer.
#[derive(Debug)]
struct Transfer {
    name: &'static str,
    direction: Direction,
    offset: usize,
    count: usize,
}

struct World {
    link: Link,
    transfers: Transfers<u64>,
    server: Honest,
    random: Random,
    /// Bytes that the server has, and frames of requests that it has not answered.
    inbox: Vec<u8>,
    requests: Vec<Vec<u8>>,
    connected: bool,
    files: HashMap<&'static str, Vec<RemoteFile>>,
    serial: u64,
    jobs: HashMap<u64, &'static str>,
    asked: HashMap<u64, Transfer>,
    answered: HashSet<u64>,
    /// Whether answers are spoilt.
    lies: bool,
}

impl World {
    fn new(seed: u64, lies: bool) -> World {
        let mut server = Honest::with_file(pattern(0, LENGTH));
        for (number, name) in FILES.iter().enumerate() {
            let data = pattern(number as u64, LENGTH);
            let file = honest::File { path: 7 + number as u64, data };
            server.files.insert((*name).to_owned(), file);
        }
        let mount = Mount::new(0, "root", "", TIMEOUT);
        World {
            link: Link { mount, now: Instant::now() },
            transfers: Transfers::default(),
            server,
            random: Random::new(seed),
            inbox: Vec::new(),
            requests: Vec::new(),
            connected: false,
            files: HashMap::new(),
            serial: 0,
            jobs: HashMap::new(),
            asked: HashMap::new(),
            answered: HashSet::new(),
            lies,
        }
    }

    /// The connection is lost.
    fn hang_up(&mut self) {
        self.link.mount.disconnected("it is gone");
        self.connected = false;
        self.inbox.clear();
        self.requests.clear();
        self.take();
    }

    /// One thing happens.
    fn step(&mut self) {
        match self.random.below(24) {
            0..=2 => self.open(),
            3..=7 => self.transfer(),
            8 => self.drop_file(),
            9 => {
                let walk = JobId(self.next_serial());
                self.jobs.insert(walk.0, "");
                let name = (*self.random.pick(&["f", "none", "f/x"])).split('/').map(str::to_owned);
                self.link.mount.walk(walk, &[], &name.collect::<Vec<_>>(), self.link.now);
            }
            10 if self.random.one_in(4) => self.hang_up(),
            10..=12 if !self.connected => {
                self.link.mount.connected(self.link.now);
                self.server.hung_up();
                self.connected = true;
            }
            13 => {
                let seconds = self.random.below(6) as u64;
                self.link.now += Duration::from_secs(seconds);
                if self.connected && self.link.mount.expire(self.link.now).is_err() {
                    self.hang_up();
                }
            }
            _ => self.answer(),
        }
        self.link.mount.collect_dropped(self.link.now);
        self.take();
        self.inbox.append(self.link.mount.output());
        while let Some((frame, rest)) = split_frame(&self.inbox, 1 << 21).expect("whole frames") {
            let (frame, rest) = (frame.to_vec(), rest.to_vec());
            self.requests.push(frame);
            self.inbox = rest;
        }
    }

    fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    fn open(&mut self) {
        let job = JobId(self.next_serial());
        let name = *self.random.pick(&FILES);
        self.jobs.insert(job.0, name);
        self.link.mount.open(job, &[name.to_owned()], self.link.now);
    }

    fn drop_file(&mut self) {
        let name = *self.random.pick(&FILES);
        self.files.entry(name).or_default().pop();
    }

    fn transfer(&mut self) {
        let name = *self.random.pick(&FILES);
        let Some(file) = self.files.get(name).and_then(|files| files.last()) else { return };
        let inner = Inner::File(File::Remote(file.clone()));
        let (offset, id) = (self.random.below(LENGTH), self.next_serial());
        let count = self.random.below(LENGTH - offset) + 1;
        let mut data = vec![0; count];
        let direction = *self.random.pick(&[Direction::Read, Direction::Write, Direction::Sync]);
        let ask = match direction {
            Direction::Read => Ask::Read(&mut data),
            // What is there anyway, so that no write can make a read wrong.
            Direction::Write => {
                let number = FILES.iter().position(|other| *other == name);
                data = pattern(number.unwrap_or(0) as u64, LENGTH)[offset..offset + count].to_vec();
                Ask::Write(&data)
            }
            Direction::Sync => Ask::Sync,
        };
        let Self { link, transfers, .. } = self;
        let begun = transfers.begin(link, &inner, offset as u64, ask, id);
        match begun {
            Poll::Pending => {
                self.asked.insert(id, Transfer { name, direction, offset, count });
                if self.random.one_in(8) && self.transfers.cancel(&mut self.link, id) {
                    self.asked.remove(&id);
                }
            }
            Poll::Ready(result) => assert!(result.is_err(), "nothing is done at once: {result:?}"),
        }
    }

    /// The server answers a request, any of them; now and then wrongly, or never.
    fn answer(&mut self) {
        if self.requests.is_empty() || !self.connected {
            return;
        }
        let index = self.random.below(self.requests.len());
        let request = self.requests.remove(index);
        let (tag, message) = Tmsg::decode(&request).expect("a request");
        if let Tmsg::Flush { oldtag } = message {
            // What is flushed is never answered after that.
            self.requests.retain(|other| other[5..7] != oldtag.to_le_bytes());
        }
        if self.random.one_in(30) {
            return;
        }
        let mut reply = self.server.reply(tag, &message);
        if self.random.one_in(10) && !matches!(message, Tmsg::Version { .. } | Tmsg::Attach { .. })
        {
            reply.clear();
            styx::Rmsg::Error { ename: "no luck" }.encode(tag, &mut reply);
        }
        if self.lies && self.random.one_in(12) {
            // The data of a read can't be told from others, nor its tag from another read's.
            let data = matches!(message, Tmsg::Read { .. });
            let at = self.random.below(if data { 5 } else { reply.len() });
            reply[at] ^= 1 << self.random.below(8);
        }
        let mut rest = &reply[..];
        loop {
            match split_frame(rest, self.link.mount.msize()) {
                Ok(Some((frame, after))) => {
                    if self.link.mount.receive(frame, self.link.now).is_err() {
                        return self.hang_up();
                    }
                    rest = after;
                }
                // What is left of it would become a part of the next frame.
                Ok(None) if rest.is_empty() => return,
                Ok(None) | Err(_) => return self.hang_up(),
            }
        }
    }

    /// Takes what the mount has to say, and checks it.
    fn take(&mut self) {
        while let Some(told) = self.link.mount.next_done() {
            let Self { link, transfers, .. } = self;
            match told {
                Told::Read(op, result) => {
                    let result = result.as_deref().map(Done::Read).map_err(Clone::clone);
                    transfers.complete(link, op, result);
                }
                Told::Wrote(op, result) => transfers.complete(link, op, result.map(Done::Wrote)),
                Told::Synced(op, result) => {
                    transfers.complete(link, op, result.map(|()| Done::Synced));
                }
                Told::Walked(JobId(job), _) => {
                    assert_eq!(self.jobs.remove(&job), Some(""), "walk {job} is told twice");
                }
                Told::Opened(JobId(job), opened) => {
                    let name = self.jobs.remove(&job).expect("it is told once");
                    if let Ok(file) = opened {
                        assert!(self.lies || file.length() == LENGTH as u64, "{name}");
                        self.files.entry(name).or_default().push(file);
                    }
                }
            }
        }
        while let Some(finished) = self.transfers.next_finished() {
            let owner = finished.owner;
            assert!(self.answered.insert(owner), "transfer {owner} is told twice");
            let asked = self.asked.remove(&owner).expect("it was asked for");
            let Ok(count) = finished.result else { continue };
            let number = FILES.iter().position(|name| *name == asked.name).expect("one of them");
            let whole = pattern(number as u64, LENGTH);
            let right = &whole[asked.offset..asked.offset + asked.count];
            if asked.direction == Direction::Read {
                assert!(finished.data == right[..count.min(right.len())], "{asked:?}");
                assert!(self.lies || count == asked.count, "{asked:?}: {count}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn everything_is_answered_once_and_rightly(seed in any::<u64>(), lies in any::<bool>()) {
        let mut world = World::new(seed, lies);
        for _ in 0..300 {
            world.step();
        }
        world.hang_up();
        prop_assert!(world.jobs.is_empty(), "never answered: {:?}", world.jobs);
        prop_assert!(world.asked.is_empty(), "never answered: {:?}", world.asked);
        prop_assert!(world.transfers.is_empty());
        world.files.clear();
        world.link.mount.collect_dropped(world.link.now);
        prop_assert!(!world.link.mount.is_wanted(), "files are kept for nobody");
    }
}
