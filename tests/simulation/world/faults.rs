//! What breaks in a world: servers die, wires are cut and stall, disks fail and lie, and somebody on the
//! hosts cuts files or takes them away.

use super::World;
use crate::device_model::{Kind, Node as Shape};
use crate::disk::{Fault, Lost};
use crate::node::Node;
use crate::plan::{Mirror, counterparts, ranges};

impl World {
    /// Half of the disks begin to lie.
    pub(super) fn lie(&mut self) {
        for node in &mut self.nodes {
            for file in 0..node.disk().len() {
                let lies = self.dice.one_in(2).then_some(Fault::Lies);
                node.disk().set_fault(file, lies);
            }
        }
    }

    pub(super) fn kill(&mut self, server: usize) {
        self.digest.tell(|| format!("{}: server {server} dies", self.time));
        let files = self.exposed(server);
        self.nodes[server].kill();
        self.model.crashed(server, &files);
        for Lost { file, offset, data, lied } in std::mem::take(&mut self.nodes[server].disk().lost)
        {
            match lied {
                true => {
                    let range = (file, offset, data.len() as u64);
                    self.digest
                        .tell(|| format!("what was said to be synced may be lost: {range:?}"));
                    self.model.lost(&counterparts(&self.mirrors, range));
                }
                false => self.model.took(file, offset, &data),
            }
        }
        self.starts[server] = self.time + self.dice.below(3000) as u64;
    }

    /// A server that has died is there again before anyone asks for anything.
    fn bring_back(&mut self, server: usize) {
        self.starts[server] = self.time;
        self.start_servers();
        self.sweep();
        self.pass(200);
        self.drain();
    }

    /// The files that may lose what was not synced when a server dies: those that are on it, unless
    /// a leg of their mirror elsewhere has it all, and is not about to go out since it can't be synced; and
    /// those of mirrors that it has, if it alone knows which leg is right.
    fn exposed(&mut self, server: usize) -> Vec<usize> {
        let disks = self.nodes.iter_mut().map(Node::disk);
        let unsyncable: Vec<Kind> =
            disks.flat_map(|disk| disk.unsyncable()).map(Kind::File).collect();
        let stays = |leg: &Shape| leg.all().iter().all(|node| !unsyncable.contains(&node.kind));
        let mut exposed: Vec<usize> =
            (0..self.lengths.len()).filter(|&file| self.model.is_on(file, server)).collect();
        for mirror in self.mirrors.iter().filter(|mirror| mirror.is_plain) {
            let files = ranges(&mirror.node, 0, mirror.node.length);
            let is_its = |file: &usize| files.iter().any(|(other, _, _)| other == file);
            let legs = self.nodes[mirror.server].whole_legs(&mirror.name, self.time);
            let elsewhere = mirror.homes.iter().all(Option::is_some)
                && legs.iter().any(|&leg| {
                    mirror.homes[leg] != Some(server) && stays(&mirror.node.inner[leg])
                });
            if mirror.server == server {
                if legs.len() < mirror.homes.len() {
                    exposed.extend(files.iter().map(|&(file, _, _)| file));
                }
            } else if elsewhere {
                exposed.retain(|file| !is_its(file));
            }
        }
        exposed
    }

    pub(super) fn something_breaks(&mut self) {
        let time = self.time + 1 + self.dice.below(5000) as u64;
        let records = |&server: &usize| {
            self.nodes[server].life().is_some_and(|life| life.host.is_recording())
        };
        if let Some(server) = self.mortal.clone().find(records)
            && self.dice.one_in(2)
        {
            // What must not come before its mark is there already, if it does.
            return self.kill(server);
        }
        let deaths = if self.mortal.len() == 1 { 2 } else { 6 };
        if !self.mortal.is_empty() && self.dice.one_in(deaths) {
            let server = self.mortal.start + self.dice.below(self.mortal.len());
            if self.nodes[server].life().is_some() {
                self.kill(server);
                if self.dice.one_in(2) {
                    self.bring_back(server);
                }
            }
            return;
        }
        let server = self.dice.below(self.nodes.len());
        let kind = 1 + self.dice.below(15);
        self.digest.add(kind as u64);
        match kind {
            1 | 2 if !self.wires.is_empty() => {
                let wire = self.dice.below(self.wires.len());
                let sides = self.wires[wire].sides;
                self.digest.tell(|| format!("{}: a cut between {sides:?}", self.time));
                self.wires[wire].end.cut();
            }
            3 | 4 if !self.wires.is_empty() => {
                let wire = self.dice.below(self.wires.len());
                let sides = self.wires[wire].sides;
                self.digest.tell(|| format!("{}: {sides:?} stalled until {time}", self.time));
                self.wires[wire].stalled = time;
            }
            5 => {
                let client = self.dice.below(self.clients.len());
                self.clients[client].stalled = time;
            }
            6..=13 if self.meddling => self.cut_a_file(),
            6..=10 => {
                let fault = *self.dice.pick(&[
                    Fault::Reads,
                    Fault::Writes,
                    Fault::Syncs,
                    Fault::Lies,
                    Fault::Short,
                ]);
                self.set_fault(server, Some(fault));
            }
            11..=13 => self.set_fault(server, None),
            14 | 15 => self.take_away(server),
            _ => {}
        }
    }

    /// A leg of a mirror is made shorter by somebody on the host. Another one must have it all: where
    /// all are here, and long enough.
    fn cut_a_file(&mut self) {
        if self.mirrors.is_empty() {
            return;
        }
        let Mirror { server, name, node, homes, .. } = self.dice.pick(&self.mirrors).clone();
        let files = node.inner.iter().map(|leg| match leg.kind {
            Kind::File(number) => Some(number),
            _ => None,
        });
        let Some(files) = files.collect::<Option<Vec<usize>>>() else { return };
        let here = homes.iter().all(|&home| home == Some(server));
        let whole = self.nodes[server].whole_legs(&name, self.time).len() == files.len();
        // What is on its way was looked at before, and may leave a hole.
        let quiet = |node: &Node| node.life().is_some_and(|life| !life.host.is_writing());
        if !here || !whole || !quiet(&self.nodes[server]) {
            return;
        }
        let disk = self.nodes[server].disk();
        let long = |&number: &usize| {
            let at = (0..disk.len()).find(|&file| disk.number(file) == number);
            disk.length(at.expect("it is here")) >= node.length
        };
        if files.iter().all(long) {
            let file = *self.dice.pick(&files);
            let length = self.dice.below(node.length as usize) as u64;
            self.digest.tell(|| format!("{}: file {file} is cut to {length}", self.time));
            disk.cut(file, length);
        }
    }

    /// A file is taken away by somebody on the host, or put back.
    fn take_away(&mut self, server: usize) {
        let files = self.nodes[server].disk().len();
        if files > 0 {
            let file = self.dice.below(files);
            let name = self.nodes[server].disk().name(file);
            let away = self.dice.one_in(2);
            self.missed |= away;
            self.digest.tell(|| format!("{}: file {name} is away: {away}", self.time));
            match away {
                true => self.nodes[server].take_away(name),
                false => self.nodes[server].put_back(name),
            }
        }
    }

    fn set_fault(&mut self, server: usize, fault: Option<Fault>) {
        let files = self.nodes[server].disk().len();
        if files > 0 {
            let file = self.dice.below(files);
            self.digest.tell(|| format!("{}: server {server} file {file}: {fault:?}", self.time));
            self.nodes[server].disk().set_fault(file, fault);
        }
    }
}
