//! A world: servers, clients, wires between them, and a clock that goes on when the world says so. A
//! step is one event, picked by seeded random numbers: a client does something, bytes come over a
//! wire, a job ends, time passes, or something breaks. After each step what must hold is checked, and
//! at the end, when all is whole again, that nothing is lost and nothing is left.

mod end;
mod faults;

use std::ops::Range;
use std::time::{Duration, Instant};

use dsfs::ctl::Dialect;
use dsfs::event_loop::connection::Readiness;
use styx::IOHDRSZ;
use styx::server::Limits;

use crate::clients::{Client, Deed, Scene};
use crate::device_model::Node as Shape;
use crate::digest::Digest;
use crate::disk::Disk;
use crate::model::Model;
use crate::net::{Side, Wire};
use crate::node::Node;
use crate::plan::{Mirror, Plan, Thing};
use crate::random::Random;

/// Longer than any world lasts, in milliseconds.
const NEVER: u64 = u64::MAX;

pub struct World {
    dice: Random,
    /// Milliseconds since the beginning, which was then.
    time: u64,
    base: Instant,
    nodes: Vec<Node>,
    /// When each server that does not run is started.
    starts: Vec<u64>,
    clients: Vec<Client>,
    wires: Vec<Wire>,
    model: Model,
    things: Vec<Thing>,
    /// The devices that encrypt.
    crypts: Vec<Shape>,
    mirrors: Vec<Mirror>,
    /// How long each file is.
    lengths: Vec<usize>,
    limits: Limits,
    dir: &'static str,
    digest: Digest,
    /// Things break, until it is over.
    faulty: bool,
    /// Of a hundred chances that something breaks, so many are taken.
    trouble: usize,
    /// The servers that die: none, all, or again and again the last, which the others mount.
    mortal: Range<usize>,
    /// Files were taken away.
    missed: bool,
    /// Nothing is wrong with disks, but somebody on the hosts cuts files.
    meddling: bool,
    /// Some of the disks are of a kind that says that all is on stable storage when nothing is.
    lying: bool,
    strict: u64,
    conns: u64,
    _place: tempfile::TempDir,
}

/// Plays the world of a seed to its end; panics if something does not hold.
pub fn play(seed: u64) -> Digest {
    let mut world = World::new(seed);
    if world.lying {
        world.lie();
    }
    let steps = 200 + world.dice.below(800);
    (0..steps).for_each(|_| world.step());
    world.calm();
    (0..100).for_each(|_| world.step());
    world.end();
    world.digest
}

impl World {
    fn new(seed: u64) -> World {
        let mut dice = Random::new(seed);
        let plan = Plan::new(&mut dice);
        let model = Model::new(&plan);
        let mut limits = Limits {
            msize: *dice.pick(&[4096, 8192 + IOHDRSZ, 65536 + IOHDRSZ]),
            fids: *dice.pick(&[24, 200]),
            requests: *dice.pick(&[2, 8, 1024]),
            bytes: *dice.pick(&[10_000, 100_000, 16 << 20]),
        };
        let greedy = dice.one_in(40);
        if greedy {
            (limits.msize, limits.bytes) = (65536 + IOHDRSZ, 100_000);
        }
        let place = tempfile::tempdir().expect("a directory");
        let encrypted = plan.encrypted();
        let Plan {
            dialect, servers, things, crypts, mirrors, files, homes, messages, keys, ..
        } = plan;
        let lengths = files.iter().map(Vec::len).collect();
        let digest = Digest::new();
        digest.tell(|| format!("{messages:?} {things:?}"));
        let mut files: Vec<(usize, Vec<u8>)> = files.into_iter().enumerate().collect();
        let mut nodes = Vec::new();
        for (server, (config, keys)) in messages.into_iter().zip(keys).enumerate() {
            let dir = place.path().join(format!("{server}"));
            std::fs::create_dir(&dir).expect("a new directory");
            let own = files.extract_if(.., |(number, _)| homes[*number] == server);
            let its = mirrors.iter().filter(|mirror| mirror.server == server);
            let spares = its.flat_map(Mirror::replaceable).collect();
            let disk = Disk::new(&dir, own, &encrypted, config, spares);
            let others: Vec<usize> = (server + 1..servers).collect();
            nodes.push(Node::new(server, dir, (dialect, keys), limits, &others, disk));
        }
        let faulty = !dice.one_in(4);
        let meddling = faulty && dice.one_in(6);
        let mortal = match dice.below(6) {
            _ if meddling => 0..0,
            0 | 1 => 0..0,
            2 | 3 => servers - 1..servers,
            _ => 0..servers,
        };
        let clients = 1 + dice.below(4);
        let clients = (0..clients).map(|number| {
            let server = if dice.one_in(2) { 0 } else { dice.below(servers) };
            Client::new(number, server, &mut dice)
        });
        let mut clients: Vec<Client> = clients.collect();
        (clients[0].greedy, clients[0].server) = (greedy, 0);
        World {
            time: 0,
            base: Instant::now(),
            starts: vec![0; nodes.len()],
            nodes,
            clients,
            wires: Vec::new(),
            model,
            things,
            crypts,
            mirrors,
            lengths,
            limits,
            dir: if dialect == Dialect::Devds { "ds" } else { "fs" },
            digest,
            faulty,
            trouble: if meddling { 90 } else { *dice.pick(&[10, 30, 60]) },
            mortal,
            missed: false,
            meddling,
            lying: faulty && !meddling && dice.one_in(5),
            strict: if faulty { NEVER } else { 0 },
            conns: 0,
            _place: place,
            dice,
        }
    }

    fn now(&self) -> Instant {
        self.base + Duration::from_millis(self.time)
    }

    /// One event, and what follows from it at once.
    fn step(&mut self) {
        self.model.clock += 1;
        let kind = self.dice.below(100);
        self.digest.add(kind as u64);
        match kind {
            0..=24 => self.client_acts(),
            25..=63 => self.something_comes(),
            64..=87 => self.job_ends(),
            88..=92 => {
                // A mount that has to wait for its answer would time out, and that would be right.
                let asks = self.strict != NEVER && self.nodes.iter().any(Node::asks_others);
                let most = *self.dice.pick(if asks { &[5] } else { &[5, 5, 50, 50, 500, 2500] });
                let passed = self.dice.below(most) as u64;
                self.pass(passed);
            }
            93 | 94 => self.dial(),
            _ if self.faulty && self.dice.below(100) < self.trouble => self.something_breaks(),
            _ => self.something_comes(),
        }
        self.start_servers();
        self.sweep();
        self.nodes.iter().for_each(Node::check_bounds);
        if self.is_quiet() {
            self.model.all_quiet();
        }
    }

    fn is_quiet(&self) -> bool {
        self.nodes.iter().all(|node| node.life().is_none_or(|life| life.is_quiet()))
    }

    /// Lets a client do something with what it can see of the world.
    fn with_client<T>(
        &mut self,
        number: usize,
        with: impl FnOnce(&mut Client, &mut Scene<'_>) -> T,
    ) -> T {
        let mut scene = Scene {
            dice: &mut self.dice,
            model: &mut self.model,
            things: &mut self.things,
            mirrors: &self.mirrors,
            may_fail: !self.meddling,
            digest: &mut self.digest,
            limits: self.limits,
            dir: self.dir,
            strict: self.strict,
        };
        with(&mut self.clients[number], &mut scene)
    }

    fn client_acts(&mut self) {
        let number = self.dice.below(self.clients.len());
        if self.clients[number].stalled > self.time {
            return;
        }
        let deed = self.with_client(number, |client, scene| {
            client.ready(scene);
            client.act(scene)
        });
        let server = self.clients[number].server;
        if deed == Deed::Connect && self.nodes[server].serves() {
            self.conns += 1;
            let conn = self.conns;
            let (wire, [end, other]) = Wire::new([Side::Client(number), Side::Server(server, 0)]);
            self.connect(wire, other);
            self.with_client(number, |client, scene| client.connected(end, conn, scene));
        }
    }

    /// The server at the other end of a wire takes it.
    fn connect(&mut self, mut wire: Wire, end: crate::net::End) {
        let Side::Server(server, _) = wire.sides[1] else { unreachable!("a server takes it") };
        let number = self.nodes[server].accept(end).expect("it serves");
        wire.sides[1] = Side::Server(server, number);
        self.wires.push(wire);
        self.turn(server);
    }

    fn turn(&mut self, server: usize) {
        let (time, now) = (self.time, self.now());
        if let Some(why) = self.nodes[server].turn(time, now) {
            // It could not start, since another one is not there.
            self.digest.add_bytes(why.as_bytes());
            self.kill(server);
        }
    }

    /// Starts the servers whose time it is.
    fn start_servers(&mut self) {
        for server in (0..self.nodes.len()).rev() {
            if self.nodes[server].life().is_none() && self.starts[server] <= self.time {
                let dice = Random::new(self.dice.next());
                let now = self.now();
                self.digest.tell(|| format!("{}: server {server} starts", self.time));
                self.nodes[server].start(dice, now);
                self.turn(server);
            }
        }
    }

    /// Bytes come over one of the wires.
    fn something_comes(&mut self) {
        let due: Vec<(usize, usize)> = (0..self.wires.len())
            .filter(|&wire| self.wires[wire].stalled <= self.time)
            .flat_map(|wire| [(wire, 0), (wire, 1)])
            .filter(|&(wire, direction)| self.wires[wire].is_due(direction))
            .collect();
        if !due.is_empty() {
            let (wire, direction) = *self.dice.pick(&due);
            let most = *self.dice.pick(&[7, 300, 100_000, 100_000]);
            self.carry(wire, direction, most);
        }
    }

    fn carry(&mut self, wire: usize, direction: usize, most: usize) {
        let (receiver, sender) = self.wires[wire].carry(direction, most);
        let sides = self.wires[wire].sides;
        self.tell(sides[1 - direction], receiver);
        if sender.writable {
            self.tell(sides[direction], sender);
        }
    }

    /// Something happened on the wire that a side is at.
    fn tell(&mut self, side: Side, what: Readiness) {
        match side {
            Side::Server(server, number) => {
                self.nodes[server].happened(number, what);
                self.turn(server);
            }
            Side::Mount(server, number) => {
                let now = self.now();
                if let Some(life) = self.nodes[server].life_mut() {
                    life.host.now = now;
                    life.host.links[number].ready(now);
                    self.turn(server);
                }
            }
            Side::Client(number) => {
                if self.clients[number].stalled <= self.time {
                    self.with_client(number, |client, scene| client.ready(scene));
                }
            }
        }
    }

    /// Takes away the wires that are no more; both sides learn of it.
    fn sweep(&mut self) {
        while let Some(at) = self.wires.iter().position(|wire| wire.end.is_cut()) {
            let wire = self.wires.swap_remove(at);
            // As of a socket: what is written from now on fails at once.
            let closed = Readiness { closed: true, writable: true, ..Readiness::default() };
            wire.sides.into_iter().for_each(|side| self.tell(side, closed));
        }
    }

    fn job_ends(&mut self) {
        let busy = |&server: &usize| self.nodes[server].life().is_some_and(|life| life.has_jobs());
        let busy: Vec<usize> = (0..self.nodes.len()).filter(busy).collect();
        if !busy.is_empty() {
            let server = *self.dice.pick(&busy);
            self.do_job(server);
        }
    }

    fn do_job(&mut self, server: usize) {
        let (time, now) = (self.time, self.now());
        if let Some(life) = self.nodes[server].life_mut() {
            (life.host.time, life.host.now) = (time, now);
            life.host.do_job(&mut life.world);
            self.turn(server);
        }
    }

    fn pass(&mut self, milliseconds: u64) {
        self.time += milliseconds;
        (0..self.nodes.len()).for_each(|server| self.turn(server));
    }

    /// A server that wants to be connected to one of its mounts is, or is not.
    fn dial(&mut self) {
        let mut dialling = Vec::new();
        for (server, node) in self.nodes.iter().enumerate() {
            let links = node.life().map_or(&[][..], |life| &life.host.links);
            let links = links.iter().enumerate().filter(|(_, link)| link.is_dialling());
            dialling.extend(links.map(|(link, _)| (server, link)));
        }
        if dialling.is_empty() {
            return;
        }
        let (server, number) = *self.dice.pick(&dialling);
        let now = self.now();
        let life = self.nodes[server].life().expect("it dials");
        let peer = life.host.links[number].peer;
        let refused = !self.nodes[peer].serves() || self.faulty && self.dice.one_in(10);
        self.digest.tell(|| {
            format!("{}: mount {number} of {server} dials {peer}: {}", self.time, !refused)
        });
        let end = (!refused).then(|| {
            let (wire, [end, other]) =
                Wire::new([Side::Mount(server, number), Side::Server(peer, 0)]);
            self.connect(wire, other);
            end
        });
        if let Some(life) = self.nodes[server].life_mut() {
            life.host.links[number].dialled(end, now);
        }
        self.turn(server);
    }
}
