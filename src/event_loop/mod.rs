//! The loop: one thread that waits for sockets and does what they bring. It never blocks: what
//! would, is done by `workers` or asked of another server over `links`.

mod admission;
mod ahead;
mod answers;
mod check;
mod clients;
pub mod connection;
mod ending;
mod host;
mod links;
mod listen;
pub mod logs;
mod manager;
mod refusals;
mod reload;
mod scrapes;
mod spare;
mod stream;
mod timers;
mod trace;
mod turns;
mod watch;
mod workers;

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token, Waker};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};
use sd_notify::NotifyState;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook_mio::v1_0::Signals;
use slab::Slab;
use styx::server::{Ename, Limits};

use crate::allow::Net;
use crate::ctl::Keys;
use crate::dial::Addr;
use crate::inner::host_fs::HostFs;
use crate::inner::local::Root;
use crate::integrity::state::{StateDir, StateError};
use crate::limits;
use crate::namespace;
use crate::tree::{Owner, Settings, World};
use admission::Admission;
use ahead::Ahead;
use clients::Clients;
use connection::Buffers;
use host::Host;
use listen::Listener;
use logs::Logs;
use refusals::Refusals;
use reload::Reload;
pub use reload::Reread;
use scrapes::Scrapes;
use spare::Spare;
use stream::Stream;
use timers::Alarm;
use trace::Trace;
use turns::Turns;
use workers::Workers;

/// Events taken from the kernel at one time: more come with the next turn.
const EVENTS: usize = 1024;

/// How long a server that was told to end waits for what is under way, and for its clients to
/// read their last replies.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// How long a listener rests when a connection can't even be accepted to be refused.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The part of this process's descriptors that clients may take, and the part that open files of the
/// exported root may take. What the one has too much of is left for the other, for devices and for
/// what is open for a moment.
const SHARE: (usize, usize) = (3, 4);

/// What to say where openat2(2) is not there, by which names are kept in the root.
const NO_OPENAT2: &str = "the server needs openat2(2), which a filter of system calls refuses here (of systemd, \
                          RestrictSUIDSGID= and DynamicUser= do), or which this kernel does not have";

/// What a server is to be.
#[derive(Debug)]
pub struct Options {
    /// The directory that `#U` is.
    pub root: PathBuf,
    /// The name space that inner files are looked up in.
    pub names: namespace::Table,
    /// Networks that may connect; without any, only this user and root, from this machine.
    pub allow: Vec<Net>,
    /// What the trees are like.
    pub settings: Settings,
    /// What clients are allowed.
    pub limits: Limits,
    /// Worker threads.
    pub workers: usize,
    /// How long another server may take to answer.
    pub timeout: Duration,
    /// Where the configuration and the mirrors' logs are kept across restarts.
    pub state: Option<StateDir>,
    /// Each write is on stable storage before it is answered.
    pub sync_writes: bool,
    /// The file in which every message is shown, if it is.
    pub trace: Option<PathBuf>,
}

/// A server.
pub struct Server {
    poll: Poll,
    /// Room for what a turn brings, kept for the next one.
    events: Option<Events>,
    signals: Signals,
    alarm: Alarm,
    stopper: Stopper,
    listeners: Vec<Listener>,
    admission: Admission,
    refusals: Refusals,
    scrapes: Scrapes,
    spare: Spare,
    /// Listeners that rest until this time.
    resting: Option<Instant>,
    clients: Clients,
    most_clients: usize,
    /// Clients by when they must have said their Tversion, by token.
    handshakes: VecDeque<(Instant, usize)>,
    generation: u32,
    turns: Turns,
    buffers: Buffers,
    world: World,
    host: Host,
    limits: Limits,
    reload: Reload,
    /// When the mirrors are to be looked after next.
    upkeep: Option<Instant>,
    /// It was told to end, and does so by this time at the latest.
    ending: Option<Instant>,
    /// It serves standard input and output, and ends with them.
    stdio: bool,
}

/// Tells a server to end, from another thread.
#[derive(Clone, Debug)]
pub struct Stopper {
    waker: Arc<Waker>,
    told: Arc<AtomicBool>,
}

impl Stopper {
    /// The server ends as it does when it gets a SIGTERM.
    ///
    /// # Errors
    /// If it can't be woken.
    pub fn stop(&self) -> io::Result<()> {
        self.told.store(true, Ordering::Release);
        self.waker.wake()
    }
}

/// What a token is for: the kind, and its number. A client's has a generation, so that an event
/// for one that is gone can't reach the next one in its place.
const SIGNALS: Token = Token(0);
const WAKER: Token = Token(1);
const ALARM: Token = Token(2);
const KIND: u32 = 56;
const LISTENER: usize = 1 << KIND;
const LINK: usize = 2 << KIND;
const CLIENT: usize = 3 << KIND;
/// Listeners for metrics, and who asks for them.
const SCRAPES: usize = 4 << KIND;
const SCRAPE: usize = 5 << KIND;
const INDEX: usize = (1 << 32) - 1;
const GENERATION: u32 = (1 << 24) - 1;

/// The error of `what`, and what someone can do.
fn named(what: &dyn std::fmt::Display, error: io::Error, advice: &str) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}; {advice}"))
}

/// Why nothing listens at an address.
fn unheard(addr: &Addr, error: io::Error) -> io::Error {
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "something listens there: end it, or listen elsewhere (port 0 is any free one)"
        }
        io::ErrorKind::AddrNotAvailable => "listen at an address that this machine has",
        io::ErrorKind::NotFound if matches!(addr, Addr::Unix(_)) => "its directory must be there",
        io::ErrorKind::PermissionDenied if matches!(addr, Addr::Tcp { .. }) => {
            "ports below 1024 are root's: listen at another"
        }
        // The error says all.
        _ => return io::Error::new(error.kind(), format!("{addr}: {error}")),
    };
    named(addr, error, advice)
}

fn link_token(number: usize) -> Token {
    Token(LINK | number)
}

impl Server {
    /// A server that listens nowhere yet.
    ///
    /// # Errors
    /// If its root can't be opened, or the kernel refuses what it needs; the error says which.
    pub fn new(options: Options) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        // A write beyond the file size limit should fail, and not kill; so signals are caught.
        let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM, SIGXFSZ])?;
        poll.registry().register(&mut signals, SIGNALS, mio::Interest::READABLE)?;
        let alarm = Alarm::new(poll.registry(), ALARM)?;
        let root = Root::open(&options.root, options.settings.read_only).map_err(|error| {
            let what = match Errno::from_io_error(&error) {
                Some(Errno::NOSYS) => NO_OPENAT2,
                _ => "--root names a directory that is there",
            };
            named(&options.root.display(), error, what)
        })?;
        let export = match options.settings.export {
            true => {
                let export = HostFs::new(&root);
                let what = "without --export the server can do without it";
                Some(export.map_err(|error| named(&options.root.display(), error, what))?)
            }
            false => None,
        };
        let open_limit = descriptors() / SHARE.1 * SHARE.0;
        let workers = Workers::start(options.workers, &waker)?;
        let open_trace = |path: PathBuf| {
            Trace::open(path.clone()).map_err(|error| {
                named(&path.display(), error, "--trace names a file that can be written")
            })
        };
        let trace = options.trace.map(open_trace).transpose()?;
        let mut links = Vec::new();
        let uname = &options.settings.owner;
        links::add(&mut links, &options.names, uname, options.timeout);
        let host = Host {
            root,
            export,
            open_limit,
            workers,
            ahead: Ahead::default(),
            has_modest_company: false,
            links,
            now: Instant::now(),
            state: options.state.map(Arc::new),
            logs: Logs::default(),
            new_mirror: None,
            restoring: false,
            trial: false,
            trace,
        };
        let mut world = World::new(options.settings, Rc::new(options.names), seconds());
        world.observed.started = Some(host.now);
        world.observed.mounts = host.links.iter().map(|_| Rc::default()).collect();
        if options.sync_writes {
            world.transfers.sync_writes();
        }
        Ok(Server {
            poll,
            events: None,
            signals,
            alarm,
            stopper: Stopper { waker, told: Arc::default() },
            listeners: Vec::new(),
            admission: Admission::new(options.allow),
            refusals: Refusals::default(),
            scrapes: Scrapes::default(),
            spare: Spare::new(),
            resting: None,
            clients: Slab::new(),
            most_clients: limits::CLIENTS.min(open_limit),
            handshakes: VecDeque::new(),
            generation: 0,
            turns: Turns::default(),
            buffers: Buffers::default(),
            world,
            host,
            limits: options.limits,
            reload: Reload::new(options.timeout),
            upkeep: None,
            ending: None,
            stdio: false,
        })
    }

    /// Listens at these addresses. Clients are served when it [runs](Server::run); a configuration
    /// is to be restored before this, so that nobody finds a part of it.
    ///
    /// # Errors
    /// If it can't listen at one of them; the error says at which.
    pub fn listen(&mut self, addresses: &[Addr]) -> io::Result<()> {
        for addr in addresses {
            let opened = Listener::open(addr, &self.admission);
            for mut listener in opened.map_err(|error| unheard(addr, error))? {
                let token = Token(LISTENER | self.listeners.len());
                listener.register(self.poll.registry(), token)?;
                self.listeners.push(listener);
            }
        }
        if addresses.contains(&Addr::Stdio) {
            self.stdio = true;
            self.admit(Stream::Stdio, true)?;
        }
        Ok(())
    }

    /// Serves the metrics over HTTP at these addresses, which must be those of sockets.
    ///
    /// # Errors
    /// If it can't listen at one of them; the error says at which.
    pub fn listen_for_scrapes(&mut self, addresses: &[Addr]) -> io::Result<()> {
        for addr in addresses {
            let listening = self.scrapes.listen(addr, &self.admission, self.poll.registry());
            listening.map_err(|error| unheard(addr, error))?;
        }
        Ok(())
    }

    /// Where it serves the metrics in fact.
    pub fn scrape_addresses(&self) -> Vec<Addr> {
        self.scrapes.addresses()
    }

    /// Where it listens in fact: a port that was left open is filled in.
    pub fn addresses(&self) -> Vec<Addr> {
        self.listeners.iter().filter_map(|listener| listener.addr().ok()).collect()
    }

    /// What ends it from another thread.
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Carries out the messages of a saved configuration, whose keys are `keys`. They are tried first
    /// with nothing opened for writing, so that one that is refused leaves nothing half done.
    ///
    /// # Errors
    /// The place of the first message that is refused among those given, and why it is.
    ///
    /// With `kept` it is the configuration of the state directory, and each mirror's log must be
    /// there.
    pub fn restore(
        &mut self,
        messages: &[&[u8]],
        keys: Keys,
        kept: bool,
    ) -> Result<(), (usize, Ename)> {
        let keys = &Rc::new(keys);
        self.host.set_trial(true);
        let tried = self.restore_all(messages, keys, kept);
        self.world.forget_devices();
        self.host.set_trial(false);
        tried?;
        self.host.restoring = kept;
        let restored = self.restore_all(messages, keys, kept);
        self.host.restoring = false;
        restored?;
        self.tell_of_keys(keys);
        Ok(())
    }

    /// The state directory, if there is one.
    pub fn state(&self) -> Option<&StateDir> {
        self.host.state.as_deref()
    }

    /// Keeps the devices that there are in the state directory, if there is one.
    ///
    /// # Errors
    /// If they can't be saved.
    pub fn save(&self) -> Result<(), StateError> {
        self.state().map_or(Ok(()), |state| state.save_config(&self.world.control.kept_text()))
    }

    /// Warns of keys for no device, and of devices without a key.
    fn tell_of_keys(&self, keys: &Keys) {
        let control = &self.world.control;
        for line in keys.unused(|dir, name| control.is_crypt(dir, name)) {
            tracing::warn!(line, "a key for a crypt device that there is not");
        }
        for (dir, name) in control.without_key() {
            tracing::warn!("crypt device {dir}/{name} has no key: reads and writes fail");
        }
    }

    fn restore_all(
        &mut self,
        messages: &[&[u8]],
        keys: &Rc<Keys>,
        kept: bool,
    ) -> Result<(), (usize, Ename)> {
        for (number, message) in messages.iter().enumerate() {
            let owner = (Owner::Saved(number), 0);
            let begun = self.world.control.restore(&mut self.host, message, (keys, kept), owner);
            let mut outcome = match begun {
                std::task::Poll::Ready(result) => Some(result),
                std::task::Poll::Pending => None,
            };
            while outcome.is_none() {
                let turn = self.turn(&mut |_, result| outcome = Some(result));
                turn.map_err(|error| (number, error.to_string().into()))?;
            }
            if let Some(Err(ename)) = outcome {
                return Err((number, ename));
            }
        }
        Ok(())
    }

    /// Serves until it is told to end by SIGTERM or SIGINT, or by the end of standard input if
    /// it serves that. SIGHUP makes it read again what [`rereads`](Server::rereads) says,
    /// and open the trace anew. What is under way is finished, and what was written is on stable storage.
    ///
    /// # Errors
    /// If the kernel refuses to wait for events, or a file can't be synced at the end.
    pub fn run(mut self) -> io::Result<()> {
        self.host.now = Instant::now();
        self.mend(true);
        manager::tell(&[NotifyState::Ready]);
        while !self.is_over() {
            self.turn(&mut |_, _| {})?;
            self.attend_reload();
        }
        self.dismiss_all()?;
        self.sync_all()
    }

    /// Legs are mended from the next turn on, or only compared.
    fn mend(&mut self, mends: bool) {
        self.world.mend(mends);
        self.upkeep = Some(self.host.now);
    }

    /// Waits until something happens, and does all that it brings.
    fn turn(&mut self, saved: &mut dyn FnMut(usize, Result<(), Ename>)) -> io::Result<()> {
        self.attend_links(saved);
        let due = self.due();
        let patience = self.patience(due)?;
        let mut events = self.events.take().unwrap_or_else(|| Events::with_capacity(EVENTS));
        match self.poll.poll(&mut events, patience) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => result?,
        }
        self.host.now = Instant::now();
        self.world.set_time(seconds());
        self.observe();
        if due.is_some_and(|due| due <= self.host.now) {
            self.attend_timers();
        }
        for event in &events {
            let Token(token) = event.token();
            match token & !INDEX & (0xff << KIND) {
                LISTENER => self.accept(token & INDEX),
                LINK => {
                    let number = token & INDEX;
                    let link = &mut self.host.links[number];
                    link.ready(self.poll.registry(), link_token(number), self.host.now);
                }
                CLIENT => self.happened(event),
                SCRAPES => {
                    let (number, now) = (token & INDEX, self.host.now);
                    let entrance = (&mut self.admission, &mut self.refusals);
                    self.scrapes.accept(number, entrance, self.poll.registry(), now);
                }
                SCRAPE => self.scrapes.happened(token & INDEX, &self.world),
                _ if event.token() == SIGNALS => self.signalled(),
                _ if event.token() == ALARM => self.alarm.went_off(),
                _ if self.stopper.told.load(Ordering::Acquire) => self.end(),
                _ => {}
            }
        }
        self.events = Some(events);
        self.take_turns();
        self.world.transfers.read_slice(&mut self.host);
        self.read_ahead();
        self.buffers.look(self.host.now);
        if !self.host.is_alone() {
            self.finish_jobs();
        }
        self.deliver(saved);
        if let Some(trace) = &mut self.host.trace {
            trace.flush();
        }
        let now = self.host.now;
        self.upkeep = self.world.upkeep(&mut self.host, now);
        Ok(())
    }

    /// What only the loop knows, for those who will ask in this turn.
    fn observe(&mut self) {
        let seen = &mut self.world.observed;
        seen.jobs = self.host.workers.under_way();
        for (link, mount) in self.host.links.iter().zip(&seen.mounts) {
            mount.up.set(link.mount.is_up());
            mount.pending.set(link.mount.outstanding());
        }
    }

    fn attend_links(&mut self, saved: &mut dyn FnMut(usize, Result<(), Ename>)) {
        while !self.host.is_alone() {
            let Host { links, workers, .. } = &mut self.host;
            for (number, link) in links.iter_mut().enumerate() {
                link.attend(self.poll.registry(), link_token(number), workers, Instant::now());
            }
            // What failed there may have ended something here, or made it ask another server,
            // which then has to be sent.
            if !self.finish_jobs() {
                break;
            }
            self.deliver(saved);
        }
    }

    fn signalled(&mut self) {
        let mut ends = false;
        for signal in self.signals.pending() {
            match signal {
                SIGHUP => self.reload.wanted = true,
                // Writes fail with EFBIG, and say so.
                SIGXFSZ => {}
                _ => ends = true,
            }
        }
        if ends {
            self.end();
        }
    }

    fn end(&mut self) {
        if self.ending.is_some() {
            return;
        }
        tracing::info!("told to end: finishing what is under way");
        manager::tell(&[NotifyState::Stopping]);
        self.ending = Some(Instant::now() + LAST_WORDS);
        self.listeners.clear();
        self.scrapes.end();
        self.release(None);
        let now = Instant::now();
        self.host.links.iter_mut().for_each(|link| link.end(now));
    }
}

/// How many descriptors this process may have: as many as it may allow itself.
fn descriptors() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let allowed = match setrlimit(Resource::Nofile, most) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    allowed.map_or(usize::MAX, |allowed| usize::try_from(allowed).unwrap_or(usize::MAX))
}

/// Seconds since 1970, by the clock that the host stamps its files with: some milliseconds behind, and
/// read without asking the hardware.
fn seconds() -> u32 {
    clock_gettime(ClockId::RealtimeCoarse).tv_sec.try_into().unwrap_or(0)
}
