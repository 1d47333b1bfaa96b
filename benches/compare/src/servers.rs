//! The servers: each is started once, serves the same directory, and is ended with the comparison.

use std::env;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::Error;
use crate::options::Options;
use crate::rows::{Kind, Load, Op};
use crate::setup::{Files, Tools, output, run};

/// The first argument that makes this program serve one other program on each connection.
pub const INETD: &str = "inetd";

/// The core that servers run on; clients have the other one.
pub const SERVER_CORE: &str = "0";

/// How long a server may take until it accepts connections.
const START_LIMIT: Duration = Duration::from_secs(10);

/// The device that is compared with a plain file: parts of it, put together again, three deep.
const DEVICES: &[&str] = &[
    "cat f /f",
    "part p0 /f 0 67108864",
    "part p1 /f 67108864 67108864",
    "part p2 /f 134217728 67108864",
    "part p3 /f 201326592 67108864",
    "inter i0 ds/p0 ds/p1",
    "inter i1 ds/p2 ds/p3",
    "cat deep ds/i0 ds/i1",
    "mirror m /f /g",
    "cat f8 /f8",
    "mirror m8 /f8 /g8",
    "inter i /f /g",
];

/// How a server is spoken to.
pub enum Protocol {
    /// 9P: the version, the attach name, and the msize asked for.
    Styx(&'static str, String, u32),
    /// The block protocol of nbdkit.
    Nbd,
}

/// A server that runs.
pub struct Server {
    pub name: String,
    pub port: u16,
    pub protocol: Protocol,
    pub is_ours: bool,
    /// Its program, if it is ours.
    program: String,
    /// A process for each connection: gone, and its CPU time with it, when the load has ended.
    pub forks: bool,
    child: Child,
}

impl Server {
    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A message to dsfs, or to its admin tree: the command that sends it.
    pub fn ctl(&self, tree: &str, message: &[&str]) -> Command {
        let mut ctl = Command::new(&self.program);
        ctl.args(["ctl", "-A", tree, "-a", &dial(self.port)]).args(message);
        ctl
    }

    /// Whether it can take part in a load: another protocol's client is compared by its throughput
    /// only.
    pub fn can(&self, load: &Load) -> bool {
        match self.protocol {
            Protocol::Styx(..) => true,
            Protocol::Nbd => matches!(load.op, Op::Read | Op::Write) && load.depth > 1,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// All servers: rawload first, then dsfs, then the others.
pub struct Servers {
    pub all: Vec<Server>,
    /// A dsfs that keeps its state, and where it does; if a row needs it.
    pub kept: Option<(Server, tempfile::TempDir)>,
}

const STYX: &str = "9P2000";
const LINUX: &str = "9P2000.L";

/// A transfer of 1 MiB and its header.
pub const MSIZE: u32 = (1 << 20) + 24;

/// The largest that diod agrees to.
const DIOD_MSIZE: u32 = 65536;

impl Servers {
    /// Starts every server that is wanted and found.
    pub fn start(options: &Options, tools: &Tools, files: &Files) -> Result<Self, Error> {
        let mut servers = Servers { all: Vec::new(), kept: None };
        let styx = || Protocol::Styx(STYX, String::new(), MSIZE);
        servers.add("rawload", styx(), |port| {
            command(&tools.rawload, &[&local(port), &path(&files.dir.join("f"))])
        })?;
        let built = vec![("dsfs".to_string(), path(&tools.dsfs))];
        let ours = if options.dsfs.is_empty() { &built } else { &options.dsfs };
        for (name, program) in ours {
            let dir = path(&files.dir);
            let serve =
                |port| command(program, &["serve", "--root", &dir, "--listen", &dial(port)]);
            servers.add(name, styx(), serve)?;
            let server = servers.all.last_mut().expect("one was added");
            (server.is_ours, server.program) = (true, program.clone());
            configure(server, files)?;
        }
        if options.rows().any(|row| matches!(row.kind, Kind::State)) {
            servers.start_kept(&ours[0].1, files)?;
        }
        servers.start_peers(options, files)?;
        Ok(servers)
    }

    /// The dsfs that goals are checked for.
    pub fn dsfs(&self) -> &Server {
        self.all.iter().find(|server| server.is_ours).expect("dsfs is always started")
    }

    fn start_kept(&mut self, program: &str, files: &Files) -> Result<(), Error> {
        let place = tempfile::tempdir().map_err(Error::io("a temporary directory"))?;
        let (dir, state) = (path(&files.dir), path(place.path()));
        self.add("dsfs --state", Protocol::Styx(STYX, String::new(), MSIZE), |port| {
            let serve = ["serve", "--root", &dir, "--state", &state, "--listen", &dial(port)];
            command(program, &serve)
        })?;
        // It takes part in no other row.
        if let Some(mut server) = self.all.pop() {
            server.program = program.to_string();
            configure(&server, files)?;
            self.kept = Some((server, place));
        }
        Ok(())
    }

    fn start_peers(&mut self, options: &Options, files: &Files) -> Result<(), Error> {
        let dir = path(&files.dir);
        if options.wants("diod") && found("diod") {
            let protocol = Protocol::Styx(LINUX, dir.clone(), DIOD_MSIZE);
            self.add("diod", protocol, |port| {
                let listen = local(port);
                command("diod", &["-f", "-n", "-L", "stderr", "-l", &listen, "-e", &dir])
            })?;
        }
        if options.wants("unpfs") && found("unpfs") {
            let protocol = Protocol::Styx(LINUX, String::new(), MSIZE);
            self.add("unpfs", protocol, |port| command("unpfs", &[&dial(port), &dir]))?;
        }
        if options.wants("nbdkit") && found("nbdkit") && found("fio") {
            self.add("nbdkit", Protocol::Nbd, |port| {
                let (port, file) = (port.to_string(), path(&files.dir.join("f")));
                command("nbdkit", &["-f", "-i", "127.0.0.1", "-p", &port, "file", &file])
            })?;
        }
        if let (true, Ok(u9fs)) = (options.wants("u9fs"), env::var("U9FS")) {
            let this = env::current_exe().map_err(Error::io("this program"))?;
            let user = output(Command::new("id").arg("-un"))?;
            let protocol = Protocol::Styx(STYX, String::new(), MSIZE);
            self.add("u9fs", protocol, |port| {
                let port = port.to_string();
                let serve = ["-n", "-a", "none", "-u", user.trim(), "-l", "/dev/null", &dir];
                command(&this, &[&[INETD, &port, &u9fs], &serve[..]].concat())
            })?;
            self.all.last_mut().expect("one was added").forks = true;
        }
        for peer in options.peers.iter().filter(|peer| options.wants(&peer.name)) {
            self.add(&peer.name, Protocol::Styx(STYX, String::new(), peer.msize), |port| {
                let mut command = command("sh", &["-c", &peer.shell]);
                command.env("PORT", port.to_string()).env("DIR", &dir);
                command
            })?;
        }
        Ok(())
    }

    fn add(
        &mut self,
        name: &str,
        protocol: Protocol,
        command: impl FnOnce(u16) -> Command,
    ) -> Result<(), Error> {
        let port = free_port()?;
        let child = command(port)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(Error::io(name))?;
        let server = Server {
            name: name.into(),
            port,
            protocol,
            is_ours: false,
            program: String::new(),
            forks: false,
            child,
        };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if begun.elapsed() > START_LIMIT {
                return Err(Error::failed(name, "it does not listen"));
            }
            thread::sleep(Duration::from_millis(20));
        }
        self.all.push(server);
        Ok(())
    }
}

/// Makes the devices that the rows name.
fn configure(server: &Server, files: &Files) -> Result<(), Error> {
    let cold = files.cold.is_some().then_some("cat cold /cold");
    let mut messages = DEVICES.iter().copied().chain(cold);
    messages
        .try_for_each(|message| run(&mut server.ctl("", &message.split(' ').collect::<Vec<_>>())))
}

fn local(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

fn dial(port: u16) -> String {
    format!("tcp!127.0.0.1!{port}")
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

/// A command that is kept to the servers' core.
fn command(program: impl AsRef<Path>, args: &[&str]) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", SERVER_CORE]).arg(program.as_ref()).args(args);
    command
}

fn found(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|dir| fs::metadata(dir.join(program)).is_ok_and(|it| it.is_file()))
}

fn free_port() -> Result<u16, Error> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(Error::io("a port"))?;
    Ok(listener.local_addr().map_err(Error::io("a port"))?.port())
}

/// Serves, on a port, a program that speaks on its standard input and output: a process for each
/// connection. It goes on until it is killed.
pub fn inetd(args: &[String]) -> Result<bool, Error> {
    let [port, program, args @ ..] = args else {
        return Err(Error::Usage(format!("{INETD} needs a port and a program")));
    };
    let listener =
        TcpListener::bind(local(port.parse().unwrap_or(0))).map_err(Error::io("port"))?;
    let mut children: Vec<Child> = Vec::new();
    for stream in listener.incoming() {
        let stream = stream.map_err(Error::io("accept"))?;
        stream.set_nodelay(true).map_err(Error::io("TCP_NODELAY"))?;
        let input: OwnedFd = stream.try_clone().map_err(Error::io("a second handle"))?.into();
        let mut command = Command::new(program);
        command.args(args).stdin(input).stdout(OwnedFd::from(stream));
        children.push(command.spawn().map_err(Error::io(program))?);
        children.retain_mut(|child| !matches!(child.try_wait(), Ok(Some(_))));
    }
    Ok(true)
}
