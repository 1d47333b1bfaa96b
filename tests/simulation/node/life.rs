//! A server at work: what the event loop does in a turn, and what can be seen of it.

use std::task::Poll;
use std::time::Duration;

use dsfs::ctl::Entry;
use dsfs::event_loop::connection::{Share, Turn};
use dsfs::inner::{Carrier, File, Inner};
use dsfs::integrity::Service;
use dsfs::integrity::pace::RATE;
use dsfs::limits;
use dsfs::tree::{Answered, ClientId, Owner};
use styx::server::Ename;

use super::Life;
use crate::link::Link;

/// Turns in a row with something to do, after which a server is taken to run in a circle.
const MAX_TURNS: usize = 10_000;

/// What a client has of a turn: as much as one that is alone.
const WHOLE: Share =
    Share { listens: true, bytes: limits::TURN_BYTES, is_last: true, has_waited: true };

impl Life {
    /// Whether something is under way that ends when the world says so.
    pub fn has_jobs(&self) -> bool {
        !self.host.jobs.is_empty() || self.world.transfers.has_slices()
    }

    /// Whether nothing is under way but reads of what may happen, and nothing waits to be taken or sent.
    pub fn is_quiet(&self) -> bool {
        let conns = self.conns.iter().all(|(_, conn)| conn.connection.held() == 0);
        conns && !self.has_jobs() && self.world.transfers.is_empty()
    }

    /// What there is, for people.
    pub fn describe(&self) -> String {
        let conns = self.conns.iter().map(|(_, conn)| {
            let session = conn.connection.session();
            (conn.client, conn.connection.held(), session.outstanding(), session.fids())
        });
        let links = self.host.links.iter().map(|link| {
            (link.peer, link.mount.is_up(), link.mount.is_wanted(), link.mount.is_busy())
        });
        format!(
            "{} lines, conns {:?} (held, outstanding, fids), links {:?} (up, wanted, busy), \
             {} transfers, {} jobs\n{}{}",
            self.lines.len(),
            conns.collect::<Vec<_>>(),
            links.collect::<Vec<_>>(),
            self.world.transfers.len(),
            self.host.jobs.len(),
            self.world.status(),
            self.world.happened(),
        )
    }

    /// How many fids a connection has.
    pub fn fids_of(&self, number: usize) -> Option<usize> {
        Some(self.conns[self.find(number)?].connection.session().fids())
    }

    /// Fids and connections.
    pub fn held(&self) -> (usize, usize) {
        let fids = self.conns.iter().map(|(_, conn)| conn.connection.session().fids()).sum();
        (fids, self.conns.len())
    }

    /// The files of other servers that it has open: of which mount each is.
    pub fn remote_files(&self) -> Vec<usize> {
        let mut mounts = Vec::new();
        for (_, _, entry) in self.world.control.table().iter() {
            mounts.extend(entry.device.inner().iter().filter_map(|inner| match inner {
                Inner::File(File::Remote(file)) => Some(file.mount()),
                _ => None,
            }));
        }
        mounts
    }

    /// Whether a mirror has gone without a leg since the start, which another start may find.
    pub fn lacks_legs(&self) -> bool {
        self.world.control.table().iter().any(|(_, _, entry)| {
            let mirror = entry.device.mirror();
            mirror.is_some_and(|mirror| mirror.legs().iter().any(|leg| leg.absent))
        })
    }

    /// Whether all mirrors are equal, and every server that is wanted is there.
    pub fn is_well(&self) -> bool {
        let is_sound = |entry: &Entry| entry.device.mirror().is_none_or(|m| m.is_sound());
        let sound = self.world.control.table().iter().all(|(_, _, entry)| is_sound(entry));
        let links = self.host.links.iter().all(Link::is_well);
        self.lines.is_empty() && sound && !self.world.is_verifying() && links
    }

    /// Whether the last comparison of a mirror's legs has found that they differ, as it was told.
    pub fn differs(&self, dir: &str, mirror: &str) -> bool {
        let told = format!(" {dir}/{mirror}: verify: ");
        let mut lines = self.world.happened().lines().rev().filter_map(|line| {
            let (_, what) = line.split_once(&told)?;
            (!what.starts_with("leg ")).then_some(what)
        });
        lines.next().expect("it was compared") != "legs in service are equal"
    }

    /// Has all legs of a mirror made equal to one of them.
    pub fn repair(&mut self, mirror: &str, from: usize) {
        let time = self.host.time();
        self.entry(mirror).device.mirror().expect("a mirror").repair_from(from, time);
    }

    /// Has the legs brought back that were taken out of service by clients, at the usual rate.
    pub fn release_legs(&mut self) {
        let pace = self.world.pace();
        if pace.is_paused() || pace.rate() != RATE {
            pace.pause(false);
            pace.set_rate(RATE);
            self.world.control.stirred().set(true);
        }
        for (_, _, entry) in self.world.control.table().iter() {
            if let Some(mut mirror) = entry.device.mirror()
                && mirror.legs().iter().any(|leg| leg.service == Service::Held)
            {
                mirror.resync();
            }
        }
    }

    /// A device.
    pub fn entry(&self, name: &str) -> &Entry {
        let mut entries = self.world.control.table().iter();
        entries.find(|(_, other, _)| *other == name).expect("it is configured").2
    }

    pub(super) fn find(&self, number: usize) -> Option<usize> {
        let index = number & 0xffff_ffff;
        let conn = self.conns.get(index)?;
        (conn.client == ClientId(number)).then_some(index)
    }

    pub(super) fn make_ready(&mut self, index: usize) {
        if let Some(conn) = self.conns.get_mut(index)
            && !std::mem::replace(&mut conn.is_ready, true)
        {
            self.ready.push_back(index);
        }
    }

    pub(super) fn turn(&mut self) {
        let now = self.host.now;
        for _ in 0..MAX_TURNS {
            self.attend_links();
            self.go_on_starting();
            if !self.ready.is_empty() {
                self.world.client_came(now);
            }
            self.take_turns();
            if !self.ready.is_empty() {
                // Between two turns, as the loop does.
                self.world.transfers.read_slice(&mut self.host);
            }
            self.finish();
            if self.upkeep.is_some() {
                self.upkeep = self.world.upkeep(&mut self.host, now).or(Some(now + NEVER));
            }
            let due = self.upkeep.is_some_and(|at| at <= now);
            if self.ready.is_empty() && !due {
                return self.attend_links();
            }
        }
        panic!("a server runs in a circle");
    }

    fn attend_links(&mut self) {
        loop {
            let now = self.host.now;
            self.host.links.iter_mut().for_each(|link| link.attend(now));
            if !self.finish() {
                return;
            }
        }
    }

    /// Goes on with what other servers have done, and gives the answers that have come. True if there
    /// was anything.
    fn finish(&mut self) -> bool {
        let mut any = false;
        for number in 0..self.host.links.len() {
            while let Some(done) = self.host.links[number].mount.next_done() {
                any = true;
                self.world.mount_did(&mut self.host, done);
            }
        }
        let (mut started, mut told) = (None, Vec::new());
        while let Some(answered) = self.world.next_answer(&mut |_, result| started = Some(result)) {
            self.answer(answered, &mut told);
        }
        any |= started.is_some();
        if let Some(result) = started {
            self.under_way = false;
            self.line_ended(result);
            self.go_on_starting();
        }
        told.into_iter().for_each(|index| self.make_ready(index));
        any
    }

    fn answer(&mut self, answered: Answered, told: &mut Vec<usize>) {
        let Answered { client: ClientId(number), request, answer } = answered;
        match self.find(number) {
            Some(index) => {
                let connection = &mut self.conns[index].connection;
                connection.answer(request, answer, &mut self.world, &mut self.host);
                told.push(index);
            }
            None => {
                if let Ok(answer) = answer {
                    self.world.discard(&mut self.host, answer);
                }
            }
        }
    }

    fn take_turns(&mut self) {
        for _ in 0..self.ready.len() {
            let Some(index) = self.ready.pop_front() else { return };
            let Some(conn) = self.conns.get_mut(index) else { continue };
            conn.is_ready = false;
            let (world, host) = (&mut self.world, &mut self.host);
            host.turn_begins();
            let turn = conn.connection.take_turn(world, host, &mut self.buffers, WHOLE);
            conn.connection.end_turn(world, Duration::ZERO);
            match turn {
                Turn::Idle => {}
                Turn::More => self.make_ready(index),
                Turn::Last(client) => {
                    let mut told = Vec::new();
                    while let Some(answered) = self.world.next_released(Some(client)) {
                        self.answer(answered, &mut told);
                    }
                    told.into_iter().for_each(|index| self.make_ready(index));
                }
                Turn::Over => {
                    let mut conn = self.conns.remove(index);
                    conn.connection.close(&mut self.world, &mut self.host);
                    conn.connection.stream().end();
                }
            }
        }
    }

    /// Carries out the lines of the saved ctl, one after the other.
    fn go_on_starting(&mut self) {
        while !self.under_way
            && self.failed.is_none()
            && let Some(line) = self.lines.front()
        {
            let owner = (Owner::Saved(0), 0);
            let kept = (&self.keys, self.host.restoring);
            match self.world.control.restore(&mut self.host, line, kept, owner) {
                Poll::Pending => self.under_way = true,
                Poll::Ready(result) => self.line_ended(result),
            }
        }
    }

    fn line_ended(&mut self, result: Result<(), Ename>) {
        match result {
            Ok(()) => drop(self.lines.pop_front()),
            Err(ename) => self.failed = Some(ename),
        }
    }
}

/// Longer than any world lasts.
const NEVER: Duration = Duration::from_secs(1_000_000);
