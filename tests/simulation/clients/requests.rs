//! What a client asks for.

use dsfs::limits;
use styx::{IOHDRSZ, NOFID, NOTAG, Stat, Tmsg, UpTo16, omode};

use super::{Ask, Asked, Client, Fid, ROOT, Scene, What};
use crate::device_model::Node as Shape;
use crate::disk::Spare;
use crate::model::{Ranges, part, pattern};
use crate::plan::{Mirror, Thing, counterparts, ranges};
use crate::random::Random;

/// Requests that a client has under way at the most, and the largest of its reads and writes; and of some
/// of its reads, which a server may do in slices.
const REQUESTS: usize = 12;
const LARGEST: usize = 20_000;
const LARGEST_READ: usize = 100_000;

/// As many small reads as one that does not read asks for at the most.
const GREEDY_REQUESTS: usize = 500;

/// Tags are taken from so many, so that they are used again soon.
const TAGS: usize = 40;

impl Client {
    pub(super) fn ask_something(&mut self, scene: &mut Scene<'_>) {
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
            let tag = dice.below(TAGS + self.asked.len()) as u16;
            let flushed = |asked: &Asked| matches!(asked.ask, Ask::Flush { old } if old == tag);
            if !self.asked.contains_key(&tag) && !self.asked.values().any(flushed) {
                return tag;
            }
        }
    }

    pub(super) fn send(&mut self, message: &Tmsg<'_>, ask: Ask, scene: &mut Scene<'_>) {
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
            let text = matches!(self.fids[&fid].what, What::Text(name) if name != "ctl");
            let mode = if text { omode::OREAD } else { omode::ORDWR };
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
            "admin" => {
                What::Text(scene.dice.pick::<&str>(&["status", "event", "log", "ctl", "ctl"]))
            }
            "" if scene.dice.one_in(5) => What::Text("ctl"),
            _ if things.is_empty() => return self.vanish(scene.model),
            _ if self.greedy => {
                let length = |&&thing: &&usize| scene.things[thing].length;
                What::Thing(*things.iter().max_by_key(length).expect("there is one"))
            }
            _ => What::Thing(*scene.dice.pick(&things)),
        };
        let fid = (1..).find(|fid| !self.fids.contains_key(fid)).expect("there are more fids");
        self.serial += 1;
        let (serial, unsynced) = (self.serial, Vec::new());
        self.fids.insert(fid, Fid { what, serial, unsynced, open: false, busy: true });
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

    /// Asks for half as much again as a server keeps for anyone, if it can, and reads nothing from then on.
    pub(super) fn gorge(&mut self, scene: &mut Scene<'_>) -> bool {
        let open = self.fids.iter().find_map(|(&fid, Fid { what, open, busy, .. })| match what {
            What::Thing(thing) if *open && !busy => Some((fid, *thing)),
            _ => None,
        });
        let Some((fid, thing)) = open else { return false };
        let Thing { length, grain, ref ranges, .. } = scene.things[thing];
        let count = length.min(u64::from(self.msize - IOHDRSZ) / grain * grain);
        let ranges = part(ranges, 0, count);
        while (self.asked.len() as u64 * count) < limits::OUTPUT as u64 * 3 / 2
            && self.asked.len() < GREEDY_REQUESTS
        {
            let ask = Ask::Read { ranges: ranges.clone(), most: count as usize };
            self.send(&Tmsg::Read { fid, offset: 0, count: count as u32 }, ask, scene);
        }
        (self.greedy, self.stalled) = (false, u64::MAX);
        true
    }

    pub(super) fn sync(&mut self, fid: u32, scene: &mut Scene<'_>) {
        let Fid { what: What::Thing(thing), serial, .. } = self.fids[&fid] else { return };
        let ranges = scene.things[thing].ranges.clone();
        let mut stat = Vec::new();
        Stat::DONT_TOUCH.encode(&mut stat);
        let ask = Ask::Sync { fid: (fid, serial), ranges };
        self.send(&Tmsg::Wstat { fid, stat: &stat }, ask, scene);
    }

    fn transfer(&mut self, fid: u32, thing: usize, scene: &mut Scene<'_>) {
        let Thing { length, grain, ref ranges, tree, .. } = scene.things[thing];
        let kind = scene.dice.below(10);
        let same = (fid, self.fids[&fid].serial);
        if kind == 0 {
            return self.sync(fid, scene);
        }
        if kind == 1 {
            return self.send(&Tmsg::Stat { fid }, Ask::Plain(styx::mtype::RSTAT), scene);
        }
        let largest = if kind < 6 && scene.dice.one_in(4) { LARGEST_READ } else { LARGEST };
        let most = largest.min((self.msize - IOHDRSZ) as usize);
        let most = if scene.dice.one_in(2) { most.min(600) } else { most };
        let count = 1 + scene.dice.below(most) as u64;
        let mut count = (count / grain).max(1) * grain;
        // Some places are asked for more than others, so that requests meet.
        let offset = match scene.dice.below(3) {
            0 => scene.dice.below(length as usize) as u64,
            1 => length - (1 + scene.dice.below(2000) as u64).min(length),
            _ => (scene.dice.below(4) as u64 * 6000).min(length - 1),
        };
        let offset = offset / grain * grain;
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
        let ask = Ask::Write { fid: same, id, ranges, count: inside as u32 };
        self.send(&Tmsg::Write { fid, offset, data: &data }, ask, scene);
    }

    /// A file of text: read, or if it is ctl a new device is made of a file that is in use elsewhere.
    fn text(&mut self, fid: u32, name: &str, scene: &mut Scene<'_>) {
        if name == "ctl" && self.tree == "admin" && scene.dice.one_in(3) {
            return self.order(fid, scene);
        }
        let file = |thing: &&Thing| thing.tree == "#U" && thing.server == self.server;
        let file = scene.things.iter().find(file);
        if name == "ctl"
            && self.tree != "admin"
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
                grain: 1,
                ranges: file.ranges.clone(),
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

    /// Something is to be done with a mirror.
    fn order(&mut self, fid: u32, scene: &mut Scene<'_>) {
        let mirrors: Vec<&Mirror> =
            scene.mirrors.iter().filter(|mirror| mirror.server == self.server).collect();
        if mirrors.is_empty() {
            return;
        }
        let mirror = *scene.dice.pick(&mirrors);
        let Mirror { name, node, .. } = mirror;
        let leg = scene.dice.below(node.inner.len());
        let order = match scene.dice.below(14) {
            // What is being written then may fail, if that leg was out.
            0 if scene.may_fail && !self.repaired && scene.strict == u64::MAX => {
                // That leg may hold anything that was ever written.
                self.repaired = true;
                scene.model.repaired(&all_of(scene.mirrors, node));
                format!("repair {name} from {leg}")
            }
            0..=2 if scene.may_fail => format!("fail {name} {leg}"),
            3 => format!("dry-run fail {name} {leg}"),
            4 => format!("dry-run repair {name} from {leg}"),
            5 => format!("verify {name}"),
            6 => "what is this".to_owned(),
            7..=9 if scene.may_fail => {
                let spares = mirror.replaceable();
                if spares.is_empty() {
                    return;
                }
                let Spare { leg, files, .. } = scene.dice.pick(&spares);
                format!("replace {name} {leg} /f{}", scene.dice.pick(files))
            }
            10 => (*scene.dice.pick(&["pause", "resume"])).to_owned(),
            11 => format!("rate {}", 1024 << scene.dice.below(20)),
            _ => format!("resync {name}"),
        };
        scene.digest.tell(|| format!("client {} orders {order}", self.number));
        let data = order.as_bytes();
        self.send(&Tmsg::Write { fid, offset: 0, data }, Ask::Order, scene);
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
}

/// What all bytes of a mirror are known by.
fn all_of(mirrors: &[Mirror], mirror: &Shape) -> Ranges {
    let ranges = ranges(mirror, 0, mirror.length).into_iter();
    ranges.flat_map(|range| counterparts(mirrors, range)).collect()
}
