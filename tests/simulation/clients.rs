//! Clients: they read, write, sync, flush, ask for what is refused, and vanish. Each knows what it has
//! asked for and which answers are right for that; what the bytes may be it asks the model.

use std::collections::BTreeMap;

use dsfs::event_loop::connection::Stream;
use styx::buffer::Buffer;
use styx::frame::split_frame;
use styx::server::Limits;
use styx::{IOHDRSZ, NOFID, NOTAG, Rmsg, Stat, Tmsg, UpTo16, VERSION, omode};

use crate::digest::Digest;
use crate::model::{Model, Ranges, part, pattern};
use crate::net::End;
use crate::plan::Thing;
use crate::random::Random;

/// Requests that a client has under way at the most, and the largest of its reads and writes.
const REQUESTS: usize = 12;
const LARGEST: usize = 20_000;

/// Tags are taken from so many, so that they are used again soon.
const TAGS: usize = 40;

const ROOT: u32 = 0;

/// What clients see of the world, and what they change of it.
pub struct Scene<'a> {
    pub dice: &'a mut Random,
    pub model: &'a mut Model,
    pub things: &'a mut Vec<Thing>,
    pub digest: &'a mut Digest,
    pub limits: Limits,
    /// The directory of devices in `#k`.
    pub dir: &'static str,
    /// Since this time of the model nothing fails that should not.
    pub strict: u64,
}

/// What only the world can do for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Connect it to its server.
    Connect,
    /// Nothing.
    Nothing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Away,
    Greeting,
    Attaching,
    Here,
}

/// What a fid stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Thing(usize),
    /// A file of the tree that holds text: its name.
    Text(&'static str),
}

#[derive(Clone, Copy, Debug)]
struct Fid {
    what: What,
    open: bool,
    /// A request that changes it is under way.
    busy: bool,
}

#[derive(Debug)]
enum Ask {
    Version,
    Attach,
    Walk {
        fid: u32,
    },
    Open {
        fid: u32,
    },
    Read {
        ranges: Ranges,
        most: usize,
    },
    Write {
        id: u64,
        ranges: Ranges,
        count: u32,
    },
    Sync {
        ranges: Ranges,
    },
    Flush {
        old: u16,
    },
    /// A control message that makes this device.
    Make(Thing),
    /// Any answer of its own type will do.
    Plain(u8),
    /// It must be refused.
    Wrong,
}

#[derive(Debug)]
struct Asked {
    ask: Ask,
    began: u64,
}

impl Asked {
    /// Whether it may wait for something to happen.
    fn is_text(&self) -> bool {
        matches!(self.ask, Ask::Plain(styx::mtype::RREAD))
    }
}

/// One client.
pub struct Client {
    number: usize,
    pub server: usize,
    tree: &'static str,
    /// Another one for each connection.
    conn: u64,
    end: Option<End>,
    phase: Phase,
    msize: u32,
    fids: BTreeMap<u32, Fid>,
    asked: BTreeMap<u16, Asked>,
    input: Buffer,
    output: Vec<u8>,
    /// It reads nothing before this time.
    pub stalled: u64,
    /// It has said that it will send no more.
    last: bool,
    made: usize,
}

impl Client {
    pub fn new(number: usize, server: usize, dice: &mut Random) -> Client {
        Client {
            number,
            server,
            tree: *dice.pick(&["", "", "", "#U", "#k", "admin"]),
            conn: 0,
            end: None,
            phase: Phase::Away,
            msize: 0,
            fids: BTreeMap::new(),
            asked: BTreeMap::new(),
            input: Buffer::new(),
            output: Vec::new(),
            stalled: 0,
            last: false,
            made: 0,
        }
    }

    /// Whether it waits for an answer that must come by itself.
    pub fn waits(&self) -> bool {
        self.asked.values().any(|asked| !asked.is_text())
    }

    /// What it waits for.
    pub fn waits_for(&self) -> String {
        format!("client {} of server {}: {:?}", self.number, self.server, self.asked)
    }

    /// It is connected.
    pub fn connected(&mut self, end: End, conn: u64, scene: &mut Scene<'_>) {
        self.end = Some(end);
        self.conn = conn;
        self.greet(scene);
    }

    /// It is gone, without a word; what it had asked for may be done or not.
    pub fn vanish(&mut self, model: &mut Model) {
        if let Some(end) = self.end.take() {
            end.cut();
        }
        for asked in std::mem::take(&mut self.asked).into_values() {
            forget(&asked.ask, model);
        }
        self.fids.clear();
        self.input.clear();
        self.output.clear();
        (self.phase, self.last) = (Phase::Away, false);
    }

    /// It flushes what may never end by itself.
    pub fn flush_texts(&mut self, scene: &mut Scene<'_>) {
        let texts = self.asked.iter().filter(|(_, asked)| asked.is_text());
        let tags: Vec<u16> = texts.map(|(&tag, _)| tag).collect();
        for old in tags {
            self.send(&Tmsg::Flush { oldtag: old }, Ask::Flush { old }, scene);
        }
    }

    fn greet(&mut self, scene: &mut Scene<'_>) {
        self.msize = *scene.dice.pick(&[600, 4096, 8192 + IOHDRSZ, 20_000, 1 << 20]);
        self.phase = Phase::Greeting;
        let message = Tmsg::Version { msize: self.msize, version: VERSION };
        message.encode(NOTAG, &mut self.output);
        self.asked.insert(NOTAG, Asked { ask: Ask::Version, began: scene.model.clock });
    }

    /// Does something, or nothing.
    pub fn act(&mut self, scene: &mut Scene<'_>) -> Deed {
        match self.phase {
            Phase::Away => return Deed::Connect,
            _ if self.last => {}
            Phase::Greeting | Phase::Attaching => {
                if scene.dice.one_in(200) {
                    self.vanish(scene.model);
                }
            }
            Phase::Here => {
                for _ in 0..1 + scene.dice.below(5) {
                    if self.phase == Phase::Here && !self.last {
                        self.ask_something(scene);
                    }
                }
            }
        }
        self.pump();
        Deed::Nothing
    }

    fn ask_something(&mut self, scene: &mut Scene<'_>) {
        let open: Vec<(u32, What)> = self
            .fids
            .iter()
            .filter(|(_, f)| f.open && !f.busy)
            .map(|(&n, f)| (n, f.what))
            .collect();
        let pick = scene.dice.below(100);
        if self.asked.len() >= REQUESTS && (pick < 90 || self.asked.len() >= TAGS / 2) {
            return;
        }
        match pick {
            0 if scene.dice.one_in(10) => self.vanish(scene.model),
            1 if scene.dice.one_in(20) => {
                // It has no more to say, but reads to the end.
                while self.pump() {}
                if let Some(end) = self.end.as_ref().filter(|_| self.output.is_empty()) {
                    end.end();
                    self.last = true;
                }
            }
            2 if scene.dice.one_in(20) => self.greet(scene),
            3 | 4 => self.ask_wrong(scene),
            5..=7 => self.clunk(scene),
            8..=17 => self.flush(scene),
            _ if open.is_empty() || pick < 23 => self.walk_or_open(scene),
            _ => {
                let (fid, what) = *scene.dice.pick(&open);
                match what {
                    What::Thing(thing) => self.transfer(fid, thing, scene),
                    What::Text(name) => self.text(fid, name, scene),
                }
            }
        }
    }

    fn tag(&self, dice: &mut Random) -> u16 {
        loop {
            let tag = dice.below(TAGS) as u16;
            let flushed = |asked: &Asked| matches!(asked.ask, Ask::Flush { old } if old == tag);
            if !self.asked.contains_key(&tag) && !self.asked.values().any(flushed) {
                return tag;
            }
        }
    }

    fn send(&mut self, message: &Tmsg<'_>, ask: Ask, scene: &mut Scene<'_>) {
        let tag = self.tag(scene.dice);
        let began = scene.model.clock;
        scene.digest.tell(|| format!("{began}: client {} asks {tag}: {ask:?}", self.number));
        self.asked.insert(tag, Asked { ask, began });
        message.encode(tag, &mut self.output);
    }

    fn walk_or_open(&mut self, scene: &mut Scene<'_>) {
        let closed: Vec<u32> =
            self.fids.iter().filter(|(_, f)| !f.open && !f.busy).map(|(&n, _)| n).collect();
        if let Some(&fid) = closed.first() {
            self.fids.get_mut(&fid).expect("it is there").busy = true;
            let mode = if self.tree == "admin" { omode::OREAD } else { omode::ORDWR };
            return self.send(&Tmsg::Open { fid, mode }, Ask::Open { fid }, scene);
        }
        // One less than there may be, for the root.
        if self.fids.len() + 1 >= scene.limits.fids {
            return;
        }
        let tree = if self.tree == "#U" { "#U" } else { "" };
        let things: Vec<usize> = (0..scene.things.len())
            .filter(|&n| scene.things[n].server == self.server && scene.things[n].tree == tree)
            .collect();
        let what = match self.tree {
            "admin" => What::Text(*scene.dice.pick::<&str>(&["status", "event", "log"])),
            "" if scene.dice.one_in(5) => What::Text("ctl"),
            _ if things.is_empty() => return self.vanish(scene.model),
            _ => What::Thing(*scene.dice.pick(&things)),
        };
        let fid = (1..).find(|fid| !self.fids.contains_key(fid)).expect("there are more fids");
        self.fids.insert(fid, Fid { what, open: false, busy: true });
        let name = match what {
            What::Thing(thing) => scene.things[thing].name.clone(),
            What::Text(name) => name.to_owned(),
        };
        let dir = scene.dir;
        let names = match self.tree {
            "#k" => UpTo16::from_slice(&[dir, &name]),
            _ => UpTo16::from_slice(&[&name[..]]),
        };
        let names = names.expect("two names at the most");
        self.send(&Tmsg::Walk { fid: ROOT, newfid: fid, names }, Ask::Walk { fid }, scene);
    }

    fn transfer(&mut self, fid: u32, thing: usize, scene: &mut Scene<'_>) {
        let Thing { length, ref ranges, tree, .. } = scene.things[thing];
        let kind = scene.dice.below(10);
        if kind == 0 {
            let ranges = ranges.clone();
            let mut stat = Vec::new();
            Stat::DONT_TOUCH.encode(&mut stat);
            return self.send(&Tmsg::Wstat { fid, stat: &stat }, Ask::Sync { ranges }, scene);
        }
        if kind == 1 {
            return self.send(&Tmsg::Stat { fid }, Ask::Plain(styx::mtype::RSTAT), scene);
        }
        let most = LARGEST.min((self.msize - IOHDRSZ) as usize);
        let most = if scene.dice.one_in(2) { most.min(600) } else { most };
        let mut count = 1 + scene.dice.below(most) as u64;
        // Some places are asked for more than others, so that requests meet.
        let offset = match scene.dice.below(3) {
            0 => scene.dice.below(length as usize) as u64,
            1 => length - (1 + scene.dice.below(2000) as u64).min(length),
            _ => (scene.dice.below(4) as u64 * 6000).min(length - 1),
        };
        if tree == "#U" {
            count = count.min(length - offset);
        }
        let inside = count.min(length - offset);
        let ranges = part(ranges, offset, inside);
        if kind < 6 {
            let ask = Ask::Read { ranges, most: inside as usize };
            return self.send(&Tmsg::Read { fid, offset, count: count as u32 }, ask, scene);
        }
        let id = scene.model.begin_write(self.conn, &ranges);
        let bytes = ranges.iter().flat_map(|&(file, start, count)| {
            (start..start + count).map(move |at| pattern(id, file, at))
        });
        let mut data: Vec<u8> = bytes.collect();
        data.resize(count as usize, 0);
        let ask = Ask::Write { id, ranges, count: inside as u32 };
        self.send(&Tmsg::Write { fid, offset, data: &data }, ask, scene);
    }

    /// A file of text: read, or if it is ctl a new device is made of a file that is in use elsewhere.
    fn text(&mut self, fid: u32, name: &str, scene: &mut Scene<'_>) {
        let file = |thing: &&Thing| thing.tree == "#U" && thing.server == self.server;
        let file = scene.things.iter().find(file);
        if name == "ctl"
            && self.made < 2
            && scene.dice.one_in(4)
            && let Some(file) = file
        {
            self.made += 1;
            let new = format!("t{}x{}", self.number, self.made);
            let message = format!("cat {new} /{}", file.name);
            let made = Thing {
                server: self.server,
                tree: "",
                name: new,
                length: file.length,
                ranges: file.ranges.clone(),
                mirrored: false,
            };
            let data = message.as_bytes();
            return self.send(&Tmsg::Write { fid, offset: 0, data }, Ask::Make(made), scene);
        }
        // A read of event may wait for ever, and is one of the few requests that there may be.
        if self.asked.values().any(Asked::is_text) {
            return;
        }
        let count = 500.min(self.msize - IOHDRSZ);
        let ask = Ask::Plain(styx::mtype::RREAD);
        self.send(&Tmsg::Read { fid, offset: 0, count }, ask, scene);
    }

    fn clunk(&mut self, scene: &mut Scene<'_>) {
        let fids: Vec<u32> = self.fids.iter().filter(|(_, f)| !f.busy).map(|(&n, _)| n).collect();
        if !fids.is_empty() && scene.dice.one_in(2) {
            let fid = *scene.dice.pick(&fids);
            self.fids.remove(&fid);
            self.send(&Tmsg::Clunk { fid }, Ask::Plain(styx::mtype::RCLUNK), scene);
        }
    }

    fn flush(&mut self, scene: &mut Scene<'_>) {
        let tags: Vec<u16> = self.asked.keys().copied().filter(|&tag| tag != NOTAG).collect();
        if let Some(&old) = (!tags.is_empty()).then(|| scene.dice.pick(&tags)) {
            self.send(&Tmsg::Flush { oldtag: old }, Ask::Flush { old }, scene);
        }
    }

    fn ask_wrong(&mut self, scene: &mut Scene<'_>) {
        let fid = 1_000_000;
        match scene.dice.below(5) {
            0 => self.send(&Tmsg::Read { fid, offset: 0, count: 10 }, Ask::Wrong, scene),
            1 => self.send(&Tmsg::Clunk { fid }, Ask::Wrong, scene),
            2 => self.send(&Tmsg::Open { fid, mode: 0 }, Ask::Wrong, scene),
            3 => {
                let attach = Tmsg::Attach { fid, afid: NOFID, uname: "sim", aname: "no tree" };
                self.send(&attach, Ask::Wrong, scene);
            }
            _ => {
                let names = UpTo16::from_slice(&["nobody's"]).expect("one name");
                self.send(&Tmsg::Walk { fid: ROOT, newfid: fid, names }, Ask::Wrong, scene);
            }
        }
    }

    /// Sends what the wire takes; whether it took anything.
    fn pump(&mut self) -> bool {
        let Some(end) = &self.end else { return false };
        match end.write(&self.output) {
            _ if self.output.is_empty() => false,
            Ok(count) => {
                self.output.drain(..count);
                true
            }
            Err(_) => false,
        }
    }

    /// Takes what has come.
    pub fn ready(&mut self, scene: &mut Scene<'_>) {
        self.pump();
        while let Some(end) = &self.end {
            match end.read(&mut self.input, 1 << 20) {
                Ok(0) => return self.hung_up(scene),
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(_) => return self.hung_up(scene),
            }
            loop {
                let split = split_frame(&self.input, 1 << 20).expect("frames");
                let Some((frame, _)) = split else { break };
                let frame = frame.to_vec();
                self.input.take_off(frame.len());
                assert!(
                    frame.len() as u32 <= self.msize || self.phase == Phase::Greeting,
                    "a reply is longer than the msize"
                );
                self.reply(&frame, scene);
            }
        }
    }

    /// The server has hung up, or is no more.
    fn hung_up(&mut self, scene: &mut Scene<'_>) {
        let told = self.end.as_ref().is_some_and(|end| !end.is_cut());
        assert!(
            !told || self.last,
            "client {}: the server hung up, for no reason: {:?}",
            self.number,
            self.asked
        );
        if self.last && told {
            let left: Vec<&Asked> = self.asked.values().collect();
            assert!(left.is_empty(), "the last answers did not come: {left:?}");
        }
        self.vanish(scene.model);
    }

    fn reply(&mut self, frame: &[u8], scene: &mut Scene<'_>) {
        let (tag, reply) = Rmsg::decode(frame).expect("an R-message");
        scene.digest.add(u64::from(tag) << 8 | u64::from(reply.mtype()));
        let Some(asked) = self.asked.remove(&tag) else {
            panic!("client {}: nothing waits for tag {tag}: {reply:?}", self.number);
        };
        scene.digest.tell(|| {
            let kind = match &reply {
                Rmsg::Error { ename } => (*ename).to_owned(),
                reply => reply.mtype().to_string(),
            };
            format!("{}: client {} is told {kind}: {asked:?}", scene.model.clock, self.number)
        });
        let wrong =
            |what: &str| -> ! { panic!("client {}: {what}: {reply:?} to {asked:?}", self.number) };
        let strict = asked.began >= scene.strict;
        if let Rmsg::Error { ename } = &reply {
            match &asked.ask {
                Ask::Wrong => {}
                Ask::Flush { .. } => wrong("a flush can't fail"),
                _ if strict => wrong("it should not fail"),
                _ => {}
            }
            scene.digest.add_bytes(ename.as_bytes());
            return self.failed(asked, scene);
        }
        match (asked.ask, &reply) {
            (Ask::Version, Rmsg::Version { msize, version }) => {
                assert!(*version == VERSION && *msize <= self.msize);
                self.begun(*msize, scene);
            }
            (Ask::Attach, Rmsg::Attach { .. }) => self.phase = Phase::Here,
            (Ask::Walk { fid }, Rmsg::Walk { .. }) => {
                self.fids.get_mut(&fid).expect("it is new").busy = false;
            }
            (Ask::Open { fid }, Rmsg::Open { .. }) => {
                let fid = self.fids.get_mut(&fid).expect("it is there");
                (fid.open, fid.busy) = (true, false);
            }
            (Ask::Read { ranges, most }, Rmsg::Read { data }) => {
                assert!(
                    data.len() <= most && !(strict && data.len() < most),
                    "{} bytes",
                    data.len()
                );
                scene.digest.add_bytes(data);
                if let Err(error) = scene.model.check(asked.began, &ranges, data) {
                    panic!("client {} reads what can't be: {error}", self.number);
                }
            }
            (Ask::Write { id, ranges, count: most }, Rmsg::Write { count }) => {
                assert!(*count <= most && !(strict && *count < most), "{count} bytes were taken");
                scene.model.end_write(id, &ranges, *count == most);
            }
            (Ask::Sync { ranges }, Rmsg::Wstat) => scene.model.synced(asked.began, &ranges),
            (Ask::Flush { old }, Rmsg::Flush) => self.flushed(old, scene),
            (Ask::Make(thing), Rmsg::Write { .. }) => scene.things.push(thing),
            (Ask::Plain(kind), reply) if reply.mtype() == kind => {}
            (ask, _) => panic!("client {}: {reply:?} to {ask:?}", self.number),
        }
    }

    /// The session begins; the one before it, if there was one, is over.
    fn begun(&mut self, msize: u32, scene: &mut Scene<'_>) {
        self.msize = msize;
        for asked in std::mem::take(&mut self.asked).into_values() {
            forget(&asked.ask, scene.model);
        }
        self.fids.clear();
        self.phase = Phase::Attaching;
        let aname = self.tree;
        let attach = Tmsg::Attach { fid: ROOT, afid: NOFID, uname: "sim", aname };
        self.send(&attach, Ask::Attach, scene);
        self.pump();
    }

    fn failed(&mut self, asked: Asked, scene: &mut Scene<'_>) {
        match asked.ask {
            Ask::Version | Ask::Attach => self.vanish(scene.model),
            Ask::Walk { fid } => drop(self.fids.remove(&fid)),
            Ask::Open { fid } => self.fids.get_mut(&fid).expect("it is there").busy = false,
            Ask::Write { id, ranges, .. } => scene.model.end_write(id, &ranges, false),
            _ => {}
        }
    }

    /// A request was flushed. If no answer to it came before, it was not done.
    fn flushed(&mut self, old: u16, scene: &mut Scene<'_>) {
        let Some(asked) = self.asked.remove(&old) else { return };
        match asked.ask {
            Ask::Write { id, ranges, .. } => scene.model.drop_write(id, &ranges),
            Ask::Walk { fid } => drop(self.fids.remove(&fid)),
            Ask::Open { fid } => self.fids.get_mut(&fid).expect("it is there").busy = false,
            Ask::Flush { .. } => panic!("client {}: a flush was not answered", self.number),
            _ => {}
        }
    }
}

fn forget(ask: &Ask, model: &mut Model) {
    if let Ask::Write { id, .. } = ask {
        model.forget_write(*id);
    }
}
