//! What a world is made of: servers, devices nested at random over them, the control messages that
//! make those, and what the files hold at first. Inner files may be on other servers, as files that
//! those export or as devices of theirs.

use dsfs::ctl::Dialect;

use crate::device_model::{BLOCK, Files, HEADER, Kind, Node, SECTOR, Shape, key_hex};
use crate::disk::Spare;
use crate::model::{Ranges, part, pattern};
use crate::random::Random;

/// Lengths of files: a region of a mirror is 64 KiB.
const LENGTHS: [u64; 6] = [BLOCK, 2 * BLOCK, 3 * BLOCK, 5 * BLOCK, 9 * BLOCK, 17 * BLOCK];

/// Bytes of all files together, about: what a debug build can play with in little time.
const BYTES: u64 = 40 * BLOCK;

/// What spare files hold.
pub const NOBODYS: u8 = 0xdb;

/// A file or device that clients may open: nothing inside a mirror, which would differ then.
#[derive(Debug)]
pub struct Thing {
    /// Which server has it, in which tree, and by what name.
    pub server: usize,
    pub tree: &'static str,
    pub name: String,
    pub length: u64,
    /// Every transfer starts and ends at a multiple of this.
    pub grain: u64,
    /// Its bytes as ranges of files, in order: the file, the place in it, and how long. Of a mirror,
    /// those of its first leg.
    pub ranges: Vec<(usize, u64, u64)>,
}

/// A mirror: the server that has it, and its name there.
#[derive(Clone, Debug)]
pub struct Mirror {
    pub server: usize,
    pub name: String,
    pub node: Node,
    /// The server that all of a leg is on, if it is one.
    pub homes: Vec<Option<usize>>,
    /// For legs that may be replaced, which are files of the mirror's server: the file that they may become.
    pub spares: Vec<Option<usize>>,
    /// There is no mirror inside it, nor is it inside one.
    pub is_plain: bool,
}

impl Mirror {
    /// The legs that may be replaced.
    pub fn replaceable(&self) -> Vec<Spare> {
        let legs = self.node.inner.iter().zip(&self.spares).enumerate();
        let spare =
            |(leg, (node, spare)): (usize, (&Node, &Option<usize>))| match (node.kind, *spare) {
                (Kind::File(file), Some(spare)) => {
                    Some(Spare { mirror: self.name.clone(), leg, files: [file, spare] })
                }
                _ => None,
            };
        legs.filter_map(spare).collect()
    }
}

/// Something that was put on a server: the name by which that finds it, and all servers that have
/// something of it.
struct Placed {
    path: String,
    servers: Vec<usize>,
}

/// A world before it begins.
pub struct Plan {
    pub dialect: Dialect,
    pub servers: usize,
    pub things: Vec<Thing>,
    /// The devices that encrypt what is in the files below them.
    pub crypts: Vec<Node>,
    /// The mirrors, each after those inside it.
    pub mirrors: Vec<Mirror>,
    pub files: Files,
    /// The server of each file, and all servers that have bytes of the mirror that it is in.
    pub homes: Vec<usize>,
    pub shared: Vec<Vec<usize>>,
    /// The saved ctl of each server, and its keys.
    pub messages: Vec<String>,
    pub keys: Vec<String>,
    names: usize,
}

impl Plan {
    pub fn new(dice: &mut Random) -> Plan {
        let servers = *dice.pick(&[1, 2, 2, 3]);
        let dialect = if dice.one_in(2) { Dialect::Devds } else { Dialect::Plan9 };
        let mut plan = Plan {
            dialect,
            servers,
            things: Vec::new(),
            crypts: Vec::new(),
            mirrors: Vec::new(),
            files: Files::new(),
            homes: Vec::new(),
            shared: Vec::new(),
            messages: vec![String::new(); servers],
            keys: vec![String::new(); servers],
            names: 0,
        };
        for server in 0..servers {
            plan.add_device(server, dice);
        }
        while plan.files.iter().map(|file| file.len() as u64).sum::<u64>() < BYTES {
            plan.add_device(0, dice);
        }
        plan
    }

    fn add_device(&mut self, server: usize, dice: &mut Random) {
        let length = *dice.pick(&LENGTHS);
        let shape = shape(dice, length, self.dialect);
        let node = Node::build(&shape, self.dialect, &mut self.files);
        self.homes.resize(self.files.len(), server);
        let crypts = node.all().into_iter().filter(|node| node.kind == Kind::Crypt);
        self.crypts.extend(crypts.cloned());
        self.place(&node, server, false, dice);
        let all = self.homes.clone();
        self.shared.resize(self.files.len(), Vec::new());
        self.fill(&node, &all);
    }

    /// Puts a device on a server and what it is made of there or elsewhere.
    fn place(&mut self, node: &Node, server: usize, inside: bool, dice: &mut Random) -> Placed {
        let (tree, name, placed) = match node.kind {
            Kind::File(number) => {
                self.homes[number] = server;
                let placed = Placed { path: format!("/f{number}"), servers: vec![server] };
                ("#U", format!("f{number}"), placed)
            }
            _ => {
                let within = inside || matches!(node.kind, Kind::Mirror | Kind::Crypt);
                let inner = node.inner.iter();
                let inner: Vec<Placed> =
                    inner.map(|inner| self.place_inner(inner, server, within, dice)).collect();
                let paths: Vec<&str> = inner.iter().map(|placed| &placed.path[..]).collect();
                let name = self.configure(server, node.kind, &paths.join(" "));
                if node.kind == Kind::Mirror {
                    let home = |placed: &Placed| {
                        let home = placed.servers[0];
                        placed.servers.iter().all(|&server| server == home).then_some(home)
                    };
                    let homes: Vec<Option<usize>> = inner.iter().map(home).collect();
                    // What a spare file holds at first would be nobody's, but decrypted.
                    let encrypted = self.encrypted();
                    let is_plain =
                        |leg: &Node| matches!(leg.kind, Kind::File(n) if !encrypted.contains(&n));
                    let spare = |(leg, home): (&Node, &Option<usize>)| {
                        let is_one = is_plain(leg) && *home == Some(server);
                        (is_one && dice.one_in(2)).then(|| self.add_spare(server, leg.length))
                    };
                    let spares = node.inner.iter().zip(&homes).map(spare).collect();
                    let mirrors = node.all().iter().filter(|n| n.kind == Kind::Mirror).count();
                    let (name, node) = (name.clone(), node.clone());
                    let is_plain = !inside && mirrors == 1;
                    self.mirrors.push(Mirror { server, name, node, homes, spares, is_plain });
                }
                let mut servers = vec![server];
                inner.iter().for_each(|placed| servers.extend(&placed.servers));
                let path = self.path(&name);
                ("", name, Placed { path, servers })
            }
        };
        if !inside {
            let (length, ranges) = (node.length, ranges(node, 0, node.length));
            let is_crypt = node.all().iter().any(|node| node.kind == Kind::Crypt);
            let grain = if is_crypt { SECTOR } else { 1 };
            self.things.push(Thing { server, tree, name, length, grain, ranges });
        }
        placed
    }

    /// Adds a file that nothing is made of: its number.
    fn add_spare(&mut self, server: usize, length: u64) -> usize {
        self.files.push(vec![NOBODYS; length as usize]);
        self.homes.push(server);
        self.files.len() - 1
    }

    /// As [`Plan::place`], of something that another device is made of.
    fn place_inner(
        &mut self,
        node: &Node,
        server: usize,
        inside: bool,
        dice: &mut Random,
    ) -> Placed {
        let others = self.servers - server - 1;
        if others == 0 || dice.one_in(2) {
            return self.place(node, server, inside, dice);
        }
        let other = server + 1 + dice.below(others);
        let Placed { path, servers } = self.place(node, other, inside, dice);
        let path = match node.kind {
            Kind::File(_) if dice.one_in(2) => format!("/n/u{other}{path}"),
            Kind::File(_) => {
                let name = self.configure(other, Kind::Cat, &path);
                format!("/n/d{other}/{name}")
            }
            _ => format!("/n/d{other}/{}", path.rsplit('/').next().unwrap_or_default()),
        };
        Placed { path, servers }
    }

    fn path(&self, name: &str) -> String {
        match self.dialect {
            Dialect::Devds => format!("/ds/{name}"),
            Dialect::Plan9 => format!("/dev/fs/{name}"),
        }
    }

    fn configure(&mut self, server: usize, kind: Kind, inner: &str) -> String {
        self.names += 1;
        let name = format!("d{}", self.names);
        self.messages[server] += &match kind {
            Kind::Mirror => format!("mirror {name} {inner}\n"),
            Kind::Cat => format!("cat {name} {inner}\n"),
            Kind::Inter => format!("inter {name} {inner}\n"),
            Kind::Part(start, length) => format!("part {name} {inner} {start} {length}\n"),
            Kind::Crypt => {
                self.keys[server] += &format!("{name} {}\n", key_hex());
                format!("crypt {name} {inner}\n")
            }
            Kind::File(_) => unreachable!("a file is there"),
        };
        name
    }

    /// The files in which anything is encrypted.
    pub fn encrypted(&self) -> Vec<usize> {
        let below = self.crypts.iter().flat_map(Node::all);
        let files = below.filter_map(|node| match node.kind {
            Kind::File(number) => Some(number),
            _ => None,
        });
        files.collect()
    }

    /// What the files of a device hold at first: the legs of each mirror the same.
    fn fill(&mut self, node: &Node, homes: &[usize]) {
        if let Kind::File(number) = node.kind {
            let bytes = self.files[number].iter_mut().enumerate();
            bytes.for_each(|(at, byte)| *byte = pattern(0, number, at as u64));
            self.shared[number].push(homes[number]);
        }
        node.inner.iter().for_each(|inner| self.fill(inner, homes));
        if node.kind == Kind::Crypt {
            let plain = node.inner[0].read(&self.files, HEADER, node.length).expect("it is there");
            node.write(&mut self.files, 0, &plain).expect("it is that long");
        }
        if node.kind == Kind::Mirror {
            let first = node.inner[0].read(&self.files, 0, node.length).expect("a first leg");
            for leg in &node.inner[1..] {
                leg.write(&mut self.files, 0, &first).expect("a leg that long");
            }
            let leaves = || {
                node.all().into_iter().filter_map(|node| match node.kind {
                    Kind::File(number) => Some(number),
                    _ => None,
                })
            };
            let servers: Vec<usize> = leaves().map(|number| homes[number]).collect();
            leaves().for_each(|number| self.shared[number].clone_from(&servers));
        }
    }
}

/// The bytes of a device as ranges of files.
pub fn ranges(node: &Node, offset: u64, count: u64) -> Vec<(usize, u64, u64)> {
    match node.kind {
        Kind::File(number) => vec![(number, offset, count)],
        Kind::Mirror => ranges(&node.inner[0], offset, count),
        _ => {
            let runs = node.runs(offset, count).into_iter();
            runs.flat_map(|(inner, place, count)| ranges(&node.inner[inner], place, count))
                .collect()
        }
    }
}

/// A range of a file, and those that stand for the same bytes of the mirrors that it is in: ranges of
/// their first legs.
pub fn counterparts(mirrors: &[Mirror], range: (usize, u64, u64)) -> Ranges {
    let mut found = vec![range];
    for Mirror { node, .. } in mirrors {
        let first = ranges(&node.inner[0], 0, node.length);
        for leg in &node.inner[1..] {
            let mut at = 0;
            for (file, start, count) in ranges(leg, 0, node.length) {
                for (other, from, length) in found.clone() {
                    let (low, high) = (from.max(start), (from + length).min(start + count));
                    if other == file && low < high {
                        found.extend(part(&first, at + low - start, high - low));
                    }
                }
                at += count;
            }
        }
    }
    found
}

/// A device of files of this length, up to three deep.
fn shape(dice: &mut Random, length: u64, dialect: Dialect) -> Shape {
    let file = || Shape::File(length);
    let files = |count: usize| (0..count).map(|_| file()).collect::<Vec<_>>();
    let simple = |dice: &mut Random| match dice.below(5) {
        0 => Shape::Cat(files(1 + dice.below(2))),
        1 => Shape::Inter(files(2)),
        2 => Shape::Mirror(files(2)),
        _ => file(),
    };
    let mirror = |dice: &mut Random| {
        let mirror = Shape::Mirror(files(2 + dice.below(2)));
        if dice.one_in(4) { Shape::Cat(vec![mirror]) } else { mirror }
    };
    let crypt = |inner: Shape| Shape::Crypt(inner.into());
    match dice.below(if dialect == Dialect::Plan9 { 17 } else { 14 }) {
        0 | 1 | 7..=9 => Shape::Mirror(files(2 + dice.below(2))),
        2 => Shape::Mirror(vec![simple(dice), simple(dice)]),
        3 => Shape::Cat(vec![simple(dice), simple(dice)]),
        4 => Shape::Inter(files(2 + dice.below(2))),
        5 => {
            let start = (dice.below(1 << 14) as u16, dice.below(256) as u8);
            let count = ((1 << 15) + dice.below(1 << 14) as u16, dice.below(256) as u8);
            Shape::Part(Box::new(simple(dice)), start, count)
        }
        6 => Shape::Cat(files(1 + dice.below(3))),
        10 => Shape::Mirror(vec![mirror(dice), mirror(dice)]),
        11 => Shape::Mirror(vec![mirror(dice), file()]),
        14 => crypt(mirror(dice)),
        15 => Shape::Mirror(vec![crypt(file()), file()]),
        16 => Shape::Cat(vec![crypt(file()), Shape::Mirror(vec![simple(dice), crypt(file())])]),
        _ => Shape::Mirror(vec![file(), Shape::Part(file().into(), (0, 0), (u16::MAX, 255))]),
    }
}
