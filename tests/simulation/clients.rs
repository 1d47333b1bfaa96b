//! Clients: they read, write, sync, flush, ask for what is refused, and vanish. Each knows what it has
//! asked for and which answers are right for that; what the bytes may be it asks the model.

mod replies;
mod requests;

use std::collections::BTreeMap;

use dsfs::event_loop::connection::Stream;
use styx::buffer::Buffer;
use styx::server::Limits;
use styx::{IOHDRSZ, NOTAG, Tmsg, VERSION};

use crate::digest::Digest;
use crate::model::{Model, Ranges};
use crate::net::End;
use crate::plan::{Mirror, Thing};
use crate::random::Random;

const ROOT: u32 = 0;

/// What clients see of the world, and what they change of it.
pub struct Scene<'a> {
    pub dice: &'a mut Random,
    pub model: &'a mut Model,
    pub things: &'a mut Vec<Thing>,
    pub mirrors: &'a [Mirror],
    /// Legs may be taken out of service: none needs another one to be right.
    pub may_fail: bool,
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

#[derive(Clone, Debug)]
struct Fid {
    what: What,
    /// Which it is of those that have had this number.
    serial: u64,
    /// Writes by it since the last sync.
    unsynced: Vec<u64>,
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
        fid: (u32, u64),
        id: u64,
        ranges: Ranges,
        count: u32,
    },
    Sync {
        fid: (u32, u64),
        ranges: Ranges,
    },
    Flush {
        old: u16,
    },
    /// A control message that makes this device.
    Make(Thing),
    /// A message to the admin tree, which may be refused for many reasons.
    Order,
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
    /// It will ask for more at one time than a server keeps for anyone, and not read.
    pub greedy: bool,
    /// It has said that it will send no more.
    last: bool,
    made: usize,
    /// It has called a leg right once.
    repaired: bool,
    /// Fids so far.
    serial: u64,
}

impl Client {
    pub fn new(number: usize, server: usize, dice: &mut Random) -> Client {
        Client {
            number,
            server,
            tree: dice.pick::<&str>(&["", "", "", "#U", "#k", "admin"]),
            conn: 0,
            end: None,
            phase: Phase::Away,
            msize: 0,
            fids: BTreeMap::new(),
            asked: BTreeMap::new(),
            input: Buffer::new(),
            output: Vec::new(),
            stalled: 0,
            greedy: false,
            last: false,
            made: 0,
            repaired: false,
            serial: 0,
        }
    }

    /// Whether it waits for an answer that must come by itself.
    pub fn waits(&self) -> bool {
        self.asked.values().any(|asked| !asked.is_text())
    }

    /// A fid, if it is the same one still.
    fn same_fid(&mut self, (number, serial): (u32, u64)) -> Option<&mut Fid> {
        self.fids.get_mut(&number).filter(|fid| fid.serial == serial)
    }

    /// How many fids it has, if it is sure of that.
    pub fn fids(&self) -> Option<usize> {
        (self.phase == Phase::Here && self.asked.is_empty()).then_some(self.fids.len() + 1)
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

    /// It syncs all that it has written to.
    pub fn sync_all(&mut self, scene: &mut Scene<'_>) {
        let written = self.fids.iter().filter(|(_, fid)| !fid.unsynced.is_empty());
        let written: Vec<u32> = written.map(|(&number, _)| number).collect();
        written.into_iter().for_each(|fid| self.sync(fid, scene));
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
        let sizes = [600, 4096, 8192 + IOHDRSZ, 20_000, 1 << 20];
        self.msize = if self.greedy { 1 << 20 } else { *scene.dice.pick(&sizes) };
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
                    if self.greedy && self.gorge(scene) {
                        break;
                    }
                    if self.phase == Phase::Here && !self.last {
                        self.ask_something(scene);
                    }
                }
            }
        }
        self.pump();
        Deed::Nothing
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
}

fn forget(ask: &Ask, model: &mut Model) {
    if let Ask::Write { id, .. } = ask {
        model.forget_write(*id);
    }
}
