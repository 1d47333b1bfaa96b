//! `dsfs serve`: the server.

use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fs};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgGroup, Args};

use tracing_subscriber::EnvFilter;
use zeroize::Zeroizing;

use super::Error;
use super::remote::msize;
use crate::allow::Net;
use crate::ctl::{Dialect, Keys, saved};
use crate::dial::{Addr, BadDial, Host};
use crate::event_loop::{self, Server};
use crate::integrity::state::StateDir;
use crate::limits;
use crate::namespace::file::MAX_FILE_BYTES;
use crate::namespace::{self, Table};
use crate::tree::Settings;

/// Serve ds devices over Styx (9P2000).
///
/// With no options: on loopback, to this user alone, with a private directory as the root of the
/// files that devices are made of.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("saved").args(["config", "state"]).multiple(true)))]
pub struct Options {
    /// Where to listen: tcp!HOST!SERVICE, unix!/PATH, stdio or systemd (may be repeated)
    /// [default: tcp!127.0.0.1!styx]
    ///
    /// HOST may be * (all addresses); SERVICE is styx (6666), 9fs (564) or a port, 0 being any free
    /// one. stdio serves standard input and output as one connection. An address that others can
    /// reach needs --allow.
    #[arg(short, long = "listen", value_name = "ADDR")]
    pub listen: Vec<Addr>,
    /// The directory that #U is, and nothing outside it [default: $XDG_DATA_HOME/dsfs]
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// A name space file (namespace(6)), in which the names in ctl messages are looked up. A SIGHUP
    /// reads it again, for the messages that come later
    #[arg(long, value_name = "FILE")]
    pub namespace: Option<PathBuf>,
    /// Configure these devices first: a saved ctl, after a first line "fsdev:"
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The keys of the crypt devices in --config or --state, which a saved ctl does not have: lines
    /// "DIR/NAME KEY", in a file that only its owner can read (mode 0600)
    #[arg(long, value_name = "FILE", requires = "saved")]
    pub keys: Option<PathBuf>,
    /// Keep the configuration, and what mirrors know of their legs, in this directory across
    /// restarts and crashes
    ///
    /// A configuration that is there is restored; --config then only serves to fill an empty one.
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Answer a write only when it is on stable storage
    #[arg(long)]
    pub sync: bool,
    /// Whose ctl messages, rules and error texts: Inferno's ds(3), or Plan 9's fs(3)
    #[arg(long, value_name = "DIALECT", default_value = "devds", value_parser = dialect())]
    pub dialect: Dialect,
    /// Serve the root directory itself, too, to who attaches to #U
    #[arg(long)]
    pub export: bool,
    /// Refuse every write
    #[arg(long)]
    pub read_only: bool,
    /// Let these connect: ADDRESS or ADDRESS/BITS (may be repeated)
    #[arg(long, value_name = "NET")]
    pub allow: Vec<Net>,
    /// The owner and group of every file served [default: who runs this]
    #[arg(long, value_name = "NAME", value_parser = owner)]
    pub owner: Option<String>,
    /// The longest message to agree to, in bytes
    #[arg(long, value_name = "N", default_value_t = styx::server::MAX_MSIZE, value_parser = msize())]
    pub msize: u32,
    /// How many threads do what would make the loop wait: reads from the disk, writes, syncs
    #[arg(long, value_name = "N", default_value_t = WORKERS, value_parser = clap::value_parser!(u16).range(1..=MAX_WORKERS))]
    pub workers: u16,
    /// How long another 9P server in the name space may take to answer
    #[arg(long, value_name = "SECONDS", default_value_t = TIMEOUT, value_parser = clap::value_parser!(u32).range(1..=MAX_TIMEOUT))]
    pub timeout: u32,
    /// Serve what can be counted at http://.../metrics, for Prometheus: tcp!HOST!PORT or unix!/PATH (may be
    /// repeated)
    ///
    /// Who gets in is as for --listen. The same text is the file metrics of the tree admin.
    #[arg(long, value_name = "ADDR", value_parser = socket)]
    pub metrics: Vec<Addr>,
    /// Add a line for each message to this file: what 'dsfs trace' reads. It grows as long as the server
    /// runs; data are shown as counts
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Print every bound that a client can meet, and serve nothing
    #[arg(long)]
    pub limits: bool,
    /// Say more of what is going on; twice: every message
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// As many as a disk can serve well at the same time, and a small machine can spare.
const WORKERS: u16 = 4;

/// How many seconds a server on the same network may need at the worst.
const TIMEOUT: u32 = 10;

/// More threads than this wait for the same disks.
const MAX_WORKERS: i64 = 256;

/// A day, in seconds: who waits longer waits for ever.
const MAX_TIMEOUT: i64 = 24 * 60 * 60;

/// The permissions of everyone but the owner of a file.
const OTHERS: u32 = 0o077;

/// The longest name of an owner, in bytes: an entry with it, twice, fits the smallest msize.
const MAX_OWNER: usize = 28;

/// The names of the dialects: Inferno's ds(3), Plan 9's fs(3).
pub(super) fn dialect() -> impl TypedValueParser<Value = Dialect> {
    PossibleValuesParser::new(["devds", "plan9"])
        .map(|name| if name == "plan9" { Dialect::Plan9 } else { Dialect::Devds })
}

/// An address with sockets of its own.
fn socket(text: &str) -> Result<Addr, String> {
    match text.parse().map_err(|error: BadDial| error.to_string())? {
        Addr::Stdio | Addr::Systemd => Err("write tcp!HOST!PORT or unix!/PATH".into()),
        addr => Ok(addr),
    }
}

fn owner(name: &str) -> Result<String, String> {
    let bad = |c: char| c.is_whitespace() || c.is_control() || c == '/';
    if name.is_empty() || name.len() > MAX_OWNER || name.contains(bad) {
        return Err(format!("a name has 1 to {MAX_OWNER} bytes, with no blanks and no '/'"));
    }
    Ok(name.into())
}

impl Options {
    /// Where to listen: what was given, or [`Addr::local`].
    pub fn listeners(&self) -> Vec<Addr> {
        if self.listen.is_empty() { vec![Addr::local()] } else { self.listen.clone() }
    }

    /// Serves until a SIGTERM or SIGINT, or the end of standard input if it serves that.
    ///
    /// # Errors
    /// If it can't start, or can't make sure at the end that what was written is on stable storage.
    pub fn run(self) -> Result<(), Error> {
        if self.limits {
            print!("{}", limits::table(&limits::session(self.msize)));
            return Ok(());
        }
        log_to_stderr(self.verbose);
        let server = self.bind()?;
        let stdio = self.listeners().contains(&Addr::Stdio);
        let listeners = server.addresses();
        let scrapes = server.scrape_addresses();
        let lines = listeners.iter().map(how_to_mount);
        for line in lines.chain(
            scrapes
                .iter()
                .map(|addr| format!("{addr}: metrics for Prometheus: {}", scrape_url(addr))),
        ) {
            // Where standard output is a connection, a line of text would be no message. That nobody
            // takes the line keeps nobody from being served.
            let _ = match stdio {
                true => writeln!(io::stderr(), "{line}"),
                false => writeln!(io::stdout(), "{line}"),
            };
        }
        server.run().map_err(Error::Server)
    }

    /// A server that listens, with the devices of its saved ctl.
    ///
    /// # Errors
    /// If it can't start.
    pub fn bind(&self) -> Result<Server, Error> {
        let mut server = self.restored()?;
        server.listen(&self.listeners()).map_err(Error::Server)?;
        if let Some(path) = self.namespace.clone() {
            let reread =
                move |old: &Table| read_names(&path, old).map_err(|error| error.to_string());
            server.rereads(Box::new(reread));
        }
        server.listen_for_scrapes(&self.metrics).map_err(Error::Server)?;
        Ok(server)
    }

    /// A server with the devices of its saved ctl, which listens nowhere yet.
    ///
    /// # Errors
    /// If it can't start.
    pub fn restored(&self) -> Result<Server, Error> {
        let mut server = Server::new(self.server_options()?).map_err(Error::Server)?;
        let keys = self.keys.as_deref().map(read_keys).transpose()?.unwrap_or_default();
        let kept = match server.state() {
            Some(state) => (state.config_path(), state.config().map_err(Error::State)?),
            None => Default::default(),
        };
        match (&self.config, kept) {
            (_, (path, text)) if !text.is_empty() => {
                restore(&mut server, self.dialect, (&path, &text), keys, true)?;
            }
            (Some(path), _) => {
                // One that was written by hand may have keys in it.
                let text = Zeroizing::new(read_file("--config", path, saved::MAX_SAVED)?);
                restore(&mut server, self.dialect, (path, &text), keys, false)?;
                server.save().map_err(Error::State)?;
            }
            (None, _) => {}
        }
        Ok(server)
    }

    /// A server as `dsfs serve --listen ADDR --root DIR` starts it.
    pub fn on(addr: Addr, root: &Path) -> Self {
        Options {
            listen: vec![addr],
            root: Some(root.to_path_buf()),
            namespace: None,
            config: None,
            state: None,
            sync: false,
            keys: None,
            dialect: Dialect::Devds,
            export: false,
            read_only: false,
            allow: Vec::new(),
            owner: None,
            msize: styx::server::MAX_MSIZE,
            workers: WORKERS,
            timeout: TIMEOUT,
            metrics: Vec::new(),
            trace: None,
            limits: false,
            verbose: 0,
        }
    }

    fn server_options(&self) -> Result<event_loop::Options, Error> {
        let root = match &self.root {
            Some(root) => root.clone(),
            None => private_root()?,
        };
        let owner = self.owner.clone().unwrap_or_else(whoever_runs_this);
        Ok(event_loop::Options {
            root,
            names: self.names()?,
            allow: self.allow.clone(),
            settings: Settings {
                dialect: self.dialect,
                owner,
                read_only: self.read_only,
                export: self.export,
            },
            limits: limits::session(self.msize),
            workers: usize::from(self.workers),
            timeout: Duration::from_secs(u64::from(self.timeout)),
            state: self.state()?,
            sync_writes: self.sync,
            trace: self.trace.clone(),
        })
    }

    fn state(&self) -> Result<Option<StateDir>, Error> {
        let open = |dir: &PathBuf| StateDir::open(dir, self.dialect.rules().name);
        self.state.as_ref().map(open).transpose().map_err(Error::State)
    }

    /// The name space: what the file says, or the default one.
    fn names(&self) -> Result<Table, Error> {
        if let Some(path) = &self.namespace {
            return read_names(path, &Table::default());
        }
        let default = match self.dialect {
            Dialect::Devds => namespace::table::DEVDS_FILE,
            Dialect::Plan9 => namespace::table::PLAN9_FILE,
        };
        let mut none = |_: &str| Err(String::new());
        Table::build("the default name space", default.as_bytes(), &|_| None, &mut none)
            .map_err(Error::Namespace)
    }
}

/// The name space that the file at `path` says; servers that `old` knows have the same numbers in it.
fn read_names(path: &Path, old: &Table) -> Result<Table, Error> {
    let text = read_file("--namespace", path, MAX_FILE_BYTES)?;
    let beside = path.parent().unwrap_or(Path::new(""));
    let mut include = |name: &str| {
        read_file("the line", &beside.join(name), MAX_FILE_BYTES).map_err(|error| error.to_string())
    };
    let variable = |name: &str| env::var(name).ok();
    old.rebuild(&path.display().to_string(), &text, &variable, &mut include)
        .map_err(Error::Namespace)
}

/// Carries out a saved ctl.
fn restore(
    server: &mut Server,
    dialect: Dialect,
    (path, text): (&Path, &[u8]),
    keys: Keys,
    kept: bool,
) -> Result<(), Error> {
    let refused = |source| match kept {
        true => Error::Kept { path: path.to_path_buf(), source },
        false => Error::Config { path: path.to_path_buf(), source },
    };
    let lines = saved::messages(dialect, text).map_err(refused)?;
    let messages: Vec<&[u8]> = lines.iter().map(|line| line.message).collect();
    server
        .restore(&messages, keys, kept)
        .map_err(|(number, ename)| refused(lines[number].refused(dialect, &ename)))
}

/// The keys in a file that nobody but its owner can read.
fn read_keys(path: &Path) -> Result<Keys, Error> {
    let failed = |source| Error::Option { option: "--keys", path: path.to_path_buf(), source };
    let file = fs::File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
    if mode & OTHERS != 0 {
        return Err(Error::OpenKeys { path: path.to_path_buf(), mode });
    }
    let text = Zeroizing::new(read_all(file, saved::MAX_SAVED).map_err(failed)?);
    Keys::parse(&text).map_err(|source| Error::Config { path: path.to_path_buf(), source })
}

/// The bytes of the file that `option` names, which may be one more than `most`: enough to be refused for it.
fn read_file(option: &'static str, path: &Path, most: usize) -> Result<Vec<u8>, Error> {
    fs::File::open(path).and_then(|file| read_all(file, most)).map_err(|source| Error::Option {
        option,
        path: path.to_path_buf(),
        source,
    })
}

/// As [`read_file`]. What is read lies in one place: growing would leave copies behind, and there may
/// be keys in it.
fn read_all(file: fs::File, most: usize) -> io::Result<Vec<u8>> {
    let most = most as u64 + 1;
    let length = file.metadata()?.len().min(most);
    // A byte more, so that the end of the file is found without growing.
    let mut text = Vec::with_capacity(length as usize + 1);
    file.take(most).read_to_end(&mut text)?;
    Ok(text)
}

/// The directory that is the root when none is given: this user's own, and nobody else's.
fn private_root() -> Result<PathBuf, Error> {
    let data = env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share"));
    let root = data.or_else(home).ok_or(Error::NoRoot)?.join("dsfs");
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&root);
    made.map_err(|source| Error::File { path: root.clone(), source })?;
    Ok(root)
}

fn whoever_runs_this() -> String {
    let name = uzers::get_current_username().and_then(|name| name.into_string().ok());
    name.and_then(|name| owner(&name).ok()).unwrap_or_else(|| "none".to_string())
}

/// One line that says where the server is and how to mount it from each system.
fn how_to_mount(addr: &Addr) -> String {
    match addr {
        Addr::Tcp { host, port } => {
            let host = match host {
                Host::Any => "HOST",
                Host::Name(name) => name,
            };
            format!(
                "{addr}: Inferno: mount -A tcp!{host}!{port} /n/ds; \
                 Plan 9: srv tcp!{host}!{port} ds /n/ds; \
                 Linux: mount -t 9p -o trans=tcp,port={port},version=9p2000 {host} /mnt"
            )
        }
        Addr::Unix(path) => {
            let path = path.display();
            format!(
                "{addr}: plan9port: 9pfuse 'unix!{path}' /mnt; \
                 Linux: mount -t 9p -o trans=unix,version=9p2000 {path} /mnt"
            )
        }
        Addr::Stdio | Addr::Systemd => addr.to_string(),
    }
}

/// Where the metrics are.
fn scrape_url(addr: &Addr) -> String {
    match addr {
        Addr::Tcp { host: Host::Name(host), port } if host.contains(':') => {
            format!("http://[{host}]:{port}/metrics")
        }
        Addr::Tcp { host: Host::Name(host), port } => format!("http://{host}:{port}/metrics"),
        Addr::Tcp { host: Host::Any, port } => format!("http://HOST:{port}/metrics"),
        other => format!("/metrics at {other}"),
    }
}

/// Logs go to standard error: warnings, and what a SIGHUP did, or with `verbose` more.
pub(super) fn log_to_stderr(verbose: u8) {
    let level = match verbose {
        0 => "warn,dsfs::event_loop::reload=info",
        1 => "info",
        _ => "debug",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let format = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        // It would tell standard error of an error in writing to it, and panic over the next one.
        .log_internal_errors(false)
        .with_writer(io::stderr);
    // In tests, another server of this process may have been first.
    let _ = format.try_init();
}
