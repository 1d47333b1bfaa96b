//! A server: the trees, devices, transfers and sessions of the program, and around them what its event
//! loop does. It starts from what its disks hold, and can be killed at any moment.

mod life;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Instant;

use dsfs::ctl::{Dialect, Keys, saved};
use dsfs::event_loop::connection::{Buffers, Connection, Readiness};
use dsfs::limits;
use dsfs::namespace::{Table, table};
use dsfs::tree::{ClientId, Settings, World};
use slab::Slab;
use styx::server::{Ename, Limits};

use crate::disk::Disk;
use crate::host::{BEGINNING, Host};
use crate::link::Link;
use crate::net::End;
use crate::random::Random;

/// Bytes that a server takes from a connection at one time, beside a message.
const READ: usize = 64 * 1024;

/// What a server is, whether it runs or not.
pub struct Node {
    number: usize,
    dir: PathBuf,
    dialect: Dialect,
    keys: Rc<Keys>,
    limits: Limits,
    /// Its name space, and the server and tree of each mount in it.
    names: Rc<Table>,
    mounts: Vec<(usize, &'static str)>,
    /// Its disks, while it does not run.
    disk: Option<Disk>,
    life: Option<Life>,
    has_run: bool,
}

/// A server that runs.
pub struct Life {
    pub world: World,
    pub host: Host,
    conns: Slab<Conn>,
    generation: usize,
    ready: VecDeque<usize>,
    buffers: Buffers,
    /// Lines of the saved ctl that are to be carried out before anyone is served, and whether the
    /// first of them is under way.
    lines: VecDeque<Vec<u8>>,
    keys: Rc<Keys>,
    under_way: bool,
    upkeep: Option<Instant>,
    /// It could not start.
    failed: Option<Ename>,
}

struct Conn {
    connection: Connection<End>,
    client: ClientId,
    is_ready: bool,
}

impl Node {
    /// A server that does not run yet. `mounts` are the servers that it may use, each of which it
    /// sees twice: its devices, and its exported files.
    pub fn new(
        number: usize,
        dir: PathBuf,
        (dialect, keys): (Dialect, String),
        limits: Limits,
        servers: &[usize],
        disk: Disk,
    ) -> Node {
        let mut text = match dialect {
            Dialect::Devds => table::DEVDS_FILE.to_owned(),
            Dialect::Plan9 => table::PLAN9_FILE.to_owned(),
        };
        let mut mounts = Vec::new();
        for &server in servers {
            text += &format!("mount -A tcp!d{server}!1 /n/d{server}\n");
            text += &format!("mount -A tcp!u{server}!1 /n/u{server} '#U'\n");
            mounts.extend([(server, ""), (server, "#U")]);
        }
        let mut nothing = |_: &str| Err("no files are included".to_owned());
        let names = Table::build("sim", text.as_bytes(), &|_| None, &mut nothing);
        let names = Rc::new(names.expect("a name space that is right"));
        let keys = Rc::new(Keys::parse(keys.as_bytes()).expect("a file of keys"));
        let (disk, life, has_run) = (Some(disk), None, false);
        Node { number, dir, dialect, keys, limits, names, mounts, disk, life, has_run }
    }

    /// It, if it runs.
    pub fn life(&self) -> Option<&Life> {
        self.life.as_ref()
    }

    pub fn life_mut(&mut self) -> Option<&mut Life> {
        self.life.as_mut()
    }

    /// Its disks, whether it runs or not.
    pub fn disk(&mut self) -> &mut Disk {
        match (&mut self.disk, &mut self.life) {
            (Some(disk), _) => disk,
            (None, Some(life)) => &mut life.host.disk,
            (None, None) => unreachable!("a server has disks"),
        }
    }

    /// Whether it takes connections.
    pub fn serves(&self) -> bool {
        self.life.as_ref().is_some_and(|life| life.lines.is_empty())
    }

    /// Whether it waits for another server.
    pub fn asks_others(&self) -> bool {
        let links = self.life.as_ref().map_or(&[][..], |life| &life.host.links);
        links.iter().any(|link| link.mount.is_busy())
    }

    /// The legs of a mirror that are in service and have everything; none while it does not serve.
    pub fn whole_legs(&self, mirror: &str, time: u64) -> Vec<usize> {
        let Some(life) = self.life.as_ref().filter(|life| life.lines.is_empty()) else {
            return Vec::new();
        };
        let device = &life.entry(mirror).device;
        device.notice_upsets(BEGINNING + time);
        let mirror = device.mirror().expect("a mirror");
        let whole = |&leg: &usize| mirror.is_read(leg) && mirror.legs()[leg].stale.is_empty();
        (0..mirror.legs().len()).filter(whole).collect()
    }

    /// Somebody on its host takes a file away.
    pub fn take_away(&self, name: usize) {
        let (here, there) = self.places(name);
        let _ = std::fs::rename(here, there);
    }

    /// Whoever took a file away, if somebody did, puts it back.
    pub fn put_back(&self, name: usize) {
        let (here, there) = self.places(name);
        let _ = std::fs::rename(there, here);
    }

    fn places(&self, name: usize) -> (PathBuf, PathBuf) {
        (self.dir.join(format!("f{name}")), self.dir.join(format!("away{name}")))
    }

    /// Starts it, if it does not run.
    pub fn start(&mut self, dice: Random, now: Instant) {
        let Some(disk) = self.disk.take() else { return };
        let settings =
            Settings { dialect: self.dialect, owner: "sim".into(), read_only: false, export: true };
        let lines = saved::messages(self.dialect, disk.config().as_bytes()).expect("a saved ctl");
        let lines = lines.iter().map(|line| line.message.to_vec()).collect();
        let links = self.mounts.iter().enumerate();
        let links = links.map(|(number, &(peer, aname))| Link::new(number, peer, aname)).collect();
        let mut host = Host::new(&self.dir, disk, links, dice, now);
        host.restoring = self.has_run;
        self.life = Some(Life {
            world: World::new(settings, self.names.clone(), 0),
            host,
            conns: Slab::new(),
            generation: 0,
            ready: VecDeque::new(),
            buffers: Buffers::default(),
            lines,
            keys: self.keys.clone(),
            under_way: false,
            upkeep: None,
            failed: None,
        });
    }

    /// It is killed, and the power goes: all its wires are cut.
    pub fn kill(&mut self) {
        if let Some(mut life) = self.life.take() {
            for (_, mut conn) in std::mem::take(&mut life.conns) {
                conn.connection.stream().cut();
            }
            life.host.links.iter_mut().for_each(|link| link.hang_up());
            self.disk = Some(life.host.crash());
        }
    }

    /// Does all that there is to do, as the event loop does when something has happened. Why it ends,
    /// if it does: it could not start.
    pub fn turn(&mut self, time: u64, now: Instant) -> Option<Ename> {
        let life = self.life.as_mut()?;
        life.host.time = time;
        life.host.now = now;
        life.world.set_time((life.host.time / 1000) as u32);
        let starting = !life.lines.is_empty();
        life.turn();
        if starting && life.lines.is_empty() {
            self.has_run = true;
            life.host.restoring = false;
            life.world.mend(true);
            life.upkeep = Some(now);
            life.turn();
        }
        life.failed.take()
    }

    /// A connection is made: its number, or `None` if there is nobody to take it.
    pub fn accept(&mut self, end: End) -> Option<usize> {
        let limits = self.limits;
        let life = self.life.as_mut().filter(|life| life.lines.is_empty())?;
        life.generation += 1;
        let entry = life.conns.vacant_entry();
        let number = life.generation << 32 | entry.key();
        let client = ClientId(number);
        let seen = life.world.observed.came(number, "sim".into(), life.world.time());
        let connection = Connection::new(end, client, limits, seen);
        life.ready.push_back(entry.key());
        entry.insert(Conn { connection, client, is_ready: true });
        Some(number)
    }

    /// Something happened on a connection.
    pub fn happened(&mut self, number: usize, what: Readiness) {
        if let Some(life) = &mut self.life
            && let Some(index) = life.find(number)
        {
            life.conns[index].connection.happened(what);
            life.make_ready(index);
        }
    }

    /// Checks that every connection keeps to its bounds.
    pub fn check_bounds(&self) {
        let Some(life) = &self.life else { return };
        for (_, conn) in &life.conns {
            let session = conn.connection.session();
            assert!(session.fids() <= self.limits.fids, "too many fids: {}", session.fids());
            let held = conn.connection.held();
            // Its replies, what was asked for before there were too many, and what it sends.
            let message = self.limits.msize as usize;
            let most = limits::OUTPUT + self.limits.bytes + 4 * message + READ;
            assert!(held <= most, "server {}: a connection holds {held} bytes", self.number);
        }
    }

    /// Nothing is under way and no client is there: says what is left all the same. `mounted` is how
    /// many other servers are connected, and how many files those have open here.
    pub fn check_nothing_left(&self, mounted: (usize, usize)) {
        let number = self.number;
        let life = self.life.as_ref().expect("it runs");
        assert!(!life.has_jobs(), "server {number}: jobs are left");
        assert!(life.world.transfers.is_empty(), "server {number}: transfers are left");
        assert!(!life.world.transfers.has_finished(), "server {number}: answers are left");
        assert!(life.world.host_is_idle(), "server {number}: the export is not idle");
        let (fids, conns) = life.held();
        assert_eq!(conns, mounted.0, "server {number}: connections");
        // What could not be opened anew is not open, as long as nobody asks for it.
        assert!(fids <= mounted.0 + mounted.1, "server {number}: {fids} fids and {mounted:?}");
        let opens = life.world.control.table().iter().map(|(_, _, entry)| entry.opens.get());
        assert!(opens.sum::<usize>() <= mounted.1, "server {number}: devices are left open");
        for link in &life.host.links {
            assert!(!link.mount.is_busy(), "server {number}: requests to a mount are left");
        }
    }
}
