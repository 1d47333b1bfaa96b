//! The end of a world: nothing breaks any more, and all must be well again after some time. Then
//! everybody goes, and nothing may be left of them, and no byte be one that it can't be.

use super::World;
use crate::clients::Client;
use crate::device_model::{Files, HEADER, Kind, Node as Shape};
use crate::model::part;
use crate::net::Side;
use crate::node::Node;
use crate::plan::{Mirror, ranges};

/// How long it may take until all is well again, in steps of half a second.
const PATIENCE: usize = 2000;

impl World {
    /// Nothing breaks any more, and what is broken is mended: all must be well after some time, and
    /// nothing fails from then on.
    pub(super) fn calm(&mut self) {
        self.faulty = false;
        self.starts.fill(0);
        self.nodes.iter_mut().for_each(|node| node.disk().heal());
        self.wires.iter_mut().for_each(|wire| wire.stalled = 0);
        self.clients.iter_mut().for_each(|client| client.stalled = 0);
        for node in &mut self.nodes {
            (0..self.lengths.len()).for_each(|name| node.put_back(name));
        }
        // A file that was not there when its server was back is opened anew after somebody has asked for
        // it in vain, or with the next connection.
        let mounts = self.wires.iter().filter(|wire| matches!(wire.sides[0], Side::Mount(..)));
        mounts.filter(|_| self.missed).for_each(|wire| wire.end.cut());
        if self.lying {
            self.lose_power();
        }
        self.settle();
        self.digest.tell(|| format!("{}: calm", self.time));
        self.model.clock += 1;
        self.strict = self.model.clock;
        self.model.clock += 1;
    }

    /// All is quiet, so that no log marks anything, and then the power goes: what disks have lied about
    /// may be lost, and nobody knows.
    fn lose_power(&mut self) {
        self.lie();
        self.settle();
        (0..self.nodes.len()).for_each(|server| self.kill(server));
        self.starts.fill(0);
        self.nodes.iter_mut().for_each(|node| node.disk().heal());
    }

    /// Lets everything go on until nothing is left to do.
    fn settle(&mut self) {
        for _ in 0..PATIENCE {
            self.drain();
            let well = self.nodes.iter().all(|node| node.life().is_some_and(|life| life.is_well()));
            if well && self.is_quiet() && !self.clients.iter().any(Client::waits) {
                return self.model.all_quiet();
            }
            self.pass(500);
            self.start_servers();
            self.find_legs();
            self.nodes.iter_mut().filter_map(Node::life_mut).for_each(|life| life.release_legs());
        }
        let waits = self.clients.iter().filter(|client| client.waits()).map(Client::waits_for);
        let waits: Vec<String> = waits.collect();
        let lives = self.nodes.iter().map(|node| node.life().map(|life| life.describe()));
        let lives: Vec<String> = lives.map(Option::unwrap_or_default).collect();
        panic!("all is never well again: {waits:?}\n{}", lives.join("\n"));
    }

    /// Starts a server anew whose mirrors go without legs, when the others are all there; and those that
    /// may use it, which refuse a device that is made of more than it was when they looked at it.
    fn find_legs(&mut self) {
        let lacks = |node: &Node| node.life().is_some_and(|life| life.lacks_legs());
        if self.nodes.iter().all(Node::serves)
            && let Some(server) = self.nodes.iter().rposition(lacks)
        {
            (0..=server).for_each(|server| self.kill(server));
        }
    }

    /// Carries out all that can be without time passing.
    pub(super) fn drain(&mut self) {
        loop {
            let mut any = false;
            for server in 0..self.nodes.len() {
                while self.nodes[server].life().is_some_and(|life| life.has_jobs()) {
                    any = true;
                    self.do_job(server);
                }
            }
            for number in 0..self.clients.len() {
                self.with_client(number, |client, scene| client.ready(scene));
            }
            self.sweep();
            for direction in [0, 1] {
                for wire in 0..self.wires.len() {
                    if self.wires.get(wire).is_some_and(|wire| wire.is_due(direction)) {
                        any = true;
                        self.model.clock += 1;
                        self.carry(wire, direction, 100_000);
                    }
                }
            }
            self.sweep();
            let dialling = |node: &Node| {
                node.life()
                    .is_some_and(|life| life.host.links.iter().any(|link| link.is_dialling()))
            };
            if self.nodes.iter().any(dialling) {
                any |= self.nodes.iter().all(Node::serves);
                self.dial();
            }
            if !any {
                return;
            }
        }
    }

    /// All clients go: nothing is left of them, and every byte is one that may be there.
    pub(super) fn end(&mut self) {
        self.settle();
        for number in 0..self.clients.len() {
            self.with_client(number, |client, scene| client.sync_all(scene));
        }
        self.settle();
        for number in 0..self.clients.len() {
            self.with_client(number, |client, scene| client.flush_texts(scene));
        }
        self.drain();
        self.check_fids();
        self.clients.iter_mut().for_each(|client| client.vanish(&mut self.model));
        self.sweep();
        self.settle();
        self.verify();
        let mut mounted = vec![(0, 0); self.nodes.len()];
        for node in &self.nodes {
            let life = node.life().expect("it runs");
            let files = life.remote_files();
            for (number, link) in life.host.links.iter().enumerate() {
                if link.mount.is_up() {
                    let here = &mut mounted[link.peer];
                    here.0 += 1;
                    here.1 += files.iter().filter(|&&mount| mount == number).count();
                }
            }
        }
        for (node, mounted) in self.nodes.iter().zip(mounted) {
            node.check_nothing_left(mounted);
        }
        self.check_bytes();
    }

    /// Has the legs of all mirrors compared: it must be told which differ, and they may only where a disk
    /// has lied. Those are repaired, and then none does.
    fn verify(&mut self) {
        // The first time legs may be found that can't be read, and are mended then.
        for _ in 0..2 {
            for life in self.nodes.iter_mut().filter_map(Node::life_mut) {
                life.world.verify_all();
            }
            self.settle();
        }
        let files = self.files();
        let cut = self.cut();
        for Mirror { server, name, node, .. } in &self.mirrors {
            let read = |leg: &Shape| leg.read(&files, 0, node.length).expect("it is whole");
            let first = read(&node.inner[0]);
            let places = ranges(&node.inner[0], 0, node.length);
            let mut differs = false;
            for (leg, bytes) in node.inner.iter().map(read).enumerate().skip(1) {
                for at in (0..node.length).filter(|&at| bytes[at as usize] != first[at as usize]) {
                    let (file, place, _) = part(&places, at, 1)[0];
                    // A leg that was cut need not have been noticed.
                    let lost = self.meddling || self.model.is_lost(file, place);
                    assert!(lost, "leg {leg} of {name} differs at {at}, and no disk has lied");
                    differs = true;
                }
            }
            self.digest.tell(|| format!("{name} of server {server} differs: {differs}"));
            let life = self.nodes[*server].life_mut().expect("it runs");
            assert_eq!(life.differs(self.dir, name), differs, "what verify of {name} says");
            if differs {
                let whole = |leg: &Shape| leg.all().iter().all(|node| !cut.contains(&node.kind));
                life.repair(name, node.inner.iter().position(whole).expect("one was not cut"));
            }
        }
        self.settle();
    }

    /// The files that are shorter than they were.
    fn cut(&mut self) -> Vec<Kind> {
        let disks = self.nodes.iter_mut().map(Node::disk);
        let files = disks.flat_map(|disk| disk.contents());
        let cut = files.filter(|&(number, bytes)| bytes.len() < self.lengths[number]);
        cut.map(|(number, _)| Kind::File(number)).collect()
    }

    /// What all files hold, those that were cut with zeros at their end.
    fn files(&mut self) -> Files {
        let mut files: Files = vec![Vec::new(); self.lengths.len()];
        for node in &mut self.nodes {
            for (number, bytes) in node.disk().contents() {
                files[number] = bytes.to_vec();
                files[number].resize(self.lengths[number], 0);
            }
        }
        files
    }

    /// Each client has as many fids as it knows of.
    fn check_fids(&self) {
        for wire in &self.wires {
            let [Side::Client(client), Side::Server(server, number)] = wire.sides else { continue };
            let known = self.clients[client].fids();
            let fids = self.nodes[server].life().and_then(|life| life.fids_of(number));
            assert!(known.is_none() || fids == known, "client {client}: {fids:?} and {known:?}");
        }
    }

    fn check_bytes(&mut self) {
        let files = self.files();
        files.iter().for_each(|file| self.digest.add_bytes(file));
        for Mirror { name, node, .. } in &self.mirrors {
            let read = |leg: &Shape| leg.read(&files, 0, node.length).expect("it is whole");
            let first = read(&node.inner[0]);
            for (number, leg) in node.inner.iter().enumerate().skip(1) {
                let same = read(leg) == first;
                let at = read(leg).iter().zip(&first).position(|(a, b)| a != b);
                assert!(same, "leg {number} of {name} is not equal at {at:?}");
            }
        }
        self.model.clock += 1;
        let mut plain = files.clone();
        for crypt in &self.crypts {
            let data = crypt.read(&files, 0, crypt.length).expect("it is whole");
            crypt.inner[0].write(&mut plain, HEADER, &data).expect("it is whole");
        }
        for thing in &self.things {
            let bytes = thing.ranges.iter().flat_map(|&(file, start, count)| {
                plain[file][start as usize..(start + count) as usize].iter().copied()
            });
            let bytes: Vec<u8> = bytes.collect();
            if let Err(error) = self.model.check(self.model.clock, &thing.ranges, &bytes) {
                panic!("{} at the end: {error}", thing.name);
            }
        }
    }
}
