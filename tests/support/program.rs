//! The program `dsfs`, started for one test and killed when the test is done with it.
//! It never waits for ever, and it never leaves a process behind.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long the program may take until it listens. Far more than it needs: a loaded machine must
/// not fail a test.
const START_LIMIT: Duration = Duration::from_secs(60);

/// How long a test waits for what must happen, but not at once.
const WAIT_LIMIT: Duration = Duration::from_secs(60);

/// Waits until `look` finds something.
///
/// # Panics
/// If it does not within [`WAIT_LIMIT`]; `what` says what did not happen.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < WAIT_LIMIT, "not in {WAIT_LIMIT:?}: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// The user `nobody`, who owns no file of a test.
pub const NOBODY: u32 = 65534;

/// What `dsfs serve` is started with.
pub struct Serve {
    command: Command,
    listeners: usize,
}

impl Serve {
    /// `dsfs serve` that listens on this dial string: `tcp!127.0.0.1!0`, or `unix!` and a path.
    pub fn on(listen: &str) -> Serve {
        Serve::program(Path::new(env!("CARGO_BIN_EXE_dsfs")), listen)
    }

    /// As [`Serve::on`], but run by [`NOBODY`]; only root can do so. The program is put in `dir`,
    /// which that user must be able to search, since the build directory may be closed to him.
    pub fn as_nobody(listen: &str, dir: &Path) -> Serve {
        let program = dir.join("dsfs");
        let built = env!("CARGO_BIN_EXE_dsfs");
        fs::hard_link(built, &program)
            .or_else(|_| fs::copy(built, &program).map(drop))
            .expect("the program can be put into the test's directory");
        let mut serve = Serve::program(&program, listen);
        serve.command.uid(NOBODY).gid(NOBODY).current_dir(dir);
        serve
    }

    /// As [`Serve::on`], with no more than this many descriptors.
    pub fn with_descriptors(listen: &str, count: usize) -> Serve {
        Serve::with_limit(listen, &format!("-n {count}"))
    }

    /// As [`Serve::on`], with files of no more than this many bytes, a multiple of 512.
    pub fn with_file_size(listen: &str, bytes: u64) -> Serve {
        // What a build for coverage writes of itself is longer, and would end it.
        let serve = Serve::with_limit(listen, &format!("-f {}", bytes / 512));
        serve.env("LLVM_PROFILE_FILE", "/dev/null")
    }

    fn with_limit(listen: &str, limit: &str) -> Serve {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit {limit} && exec \"$@\""), "sh"]);
        command.args([env!("CARGO_BIN_EXE_dsfs"), "serve", "--listen", listen]);
        Serve { command, listeners: 1 }
    }

    fn program(program: &Path, listen: &str) -> Serve {
        let mut command = Command::new(program);
        command.args(["serve", "--listen", listen]);
        Serve { command, listeners: 1 }
    }

    /// Adds an option and its value.
    pub fn option(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Serve {
        self.command.arg(name).arg(value);
        self
    }

    /// Adds an option without a value.
    pub fn flag(mut self, name: &str) -> Serve {
        self.command.arg(name);
        self
    }

    /// Sets a variable of its environment.
    pub fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Serve {
        self.command.env(name, value);
        self
    }

    /// Adds another listener.
    pub fn and_on(mut self, listen: &str) -> Serve {
        self.listeners += 1;
        self.option("--listen", listen)
    }

    /// Adds a listener that serves the metrics.
    pub fn with_metrics_on(mut self, listen: &str) -> Serve {
        self.listeners += 1;
        self.option("--metrics", listen)
    }

    /// Starts it, and waits until it has ended, which it has to do by itself.
    ///
    /// # Panics
    /// If it goes on.
    pub fn end(self) -> Ended {
        let mut running = self.spawn();
        let mut said = running.stdout();
        let start = Instant::now();
        let code = loop {
            match running.ended() {
                Some(code) => break code,
                None if start.elapsed() > START_LIMIT => panic!("it goes on: {}", running.errors()),
                None => thread::sleep(Duration::from_millis(5)),
            }
        };
        let mut stdout = String::new();
        said.read_to_string(&mut stdout).expect("it prints text");
        Ended { code, stdout, stderr: running.errors() }
    }

    /// Starts it, and waits for nothing.
    pub fn spawn(mut self) -> Program {
        let stderr = tempfile::tempfile().expect("a temporary file");
        let child = self
            .command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr.try_clone().expect("a second handle"))
            .spawn()
            .unwrap_or_else(|error| panic!("{:?} does not start: {error}", self.command));
        Program { child, dials: Vec::new(), stderr }
    }

    /// Starts it, and waits until it has said where it listens.
    ///
    /// # Panics
    /// If it ends, or says nothing in time; with what it wrote to its standard error.
    pub fn start(self) -> Program {
        let (listeners, command) = (self.listeners, format!("{:?}", self.command));
        let mut program = self.spawn();
        let said = program.lines();
        while program.dials.len() < listeners {
            match said.recv_timeout(START_LIMIT) {
                Ok(line) => program.dials.extend(dial_string(&line)),
                Err(why) => panic!(
                    "{command} said where it listens for {} of {listeners} listeners ({why}); its errors:\n{}",
                    program.dials.len(),
                    program.errors()
                ),
            }
        }
        program
    }
}

/// The dial string that a line begins with, if it is the line of a listener: `ADDR: ...`.
fn dial_string(line: &str) -> Option<String> {
    let (dial, _) = line.split_once(": ")?;
    dial.contains('!').then(|| dial.to_owned())
}

/// What came of a `dsfs serve` that ended by itself.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; a signal's death is -1.
    pub code: i32,
    /// What it printed.
    pub stdout: String,
    /// What it wrote to its standard error.
    pub stderr: String,
}

/// A running `dsfs serve`. Dropping it kills the process.
pub struct Program {
    child: Child,
    dials: Vec<String>,
    stderr: File,
}

impl Program {
    /// Where its first listener really is: a port of 0 in the request is a port number here.
    pub fn dial(&self) -> &str {
        &self.dials[0]
    }

    /// Where each of its listeners really is, in the order of the command line.
    pub fn dials(&self) -> &[String] {
        &self.dials
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to its standard error so far.
    pub fn errors(&self) -> String {
        // Its own end of the file is where it writes next, so this reads without moving it.
        let len = self.stderr.metadata().map_or(0, |meta| meta.len());
        let mut bytes = vec![0; usize::try_from(len).expect("a test's errors fit in memory")];
        let got = self.stderr.read_at(&mut bytes, 0).unwrap_or(0);
        String::from_utf8_lossy(&bytes[..got]).into_owned()
    }

    /// Kills it with SIGKILL, and waits until it is gone.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        self.child.wait().expect("the process is ours");
    }

    /// The exit code, or `None` while it runs; a signal's death is -1.
    pub fn ended(&mut self) -> Option<i32> {
        let status = self.child.try_wait().expect("the process is ours");
        status.map(|status| status.code().unwrap_or(-1))
    }

    /// Tells it to end (SIGTERM).
    pub fn terminate(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("the process is ours");
    }

    /// Tells it to reload (SIGHUP).
    pub fn hang_up(&self) {
        kill_process(Pid::from_child(&self.child), Signal::HUP).expect("the process is ours");
    }

    /// Has it do nothing (SIGSTOP) while `meanwhile` does something.
    pub fn while_stopped<R>(&self, meanwhile: impl FnOnce() -> R) -> R {
        let signal = |signal| kill_process(Pid::from_child(&self.child), signal);
        signal(Signal::STOP).expect("the process is ours");
        let result = meanwhile();
        signal(Signal::CONT).expect("the process is ours");
        result
    }

    /// Waits until it has ended: the exit code; a signal's death is -1.
    ///
    /// # Panics
    /// If it does not end in time.
    pub fn wait(&mut self) -> i32 {
        eventually("the program ends", || self.ended())
    }

    /// The memory that is its own and resident, in bytes.
    pub fn memory(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = fs::read_to_string(path).expect("it runs");
        let mut lines = status.lines().filter_map(|line| line.strip_prefix("RssAnon:"));
        let kib = lines.next().and_then(|rest| rest.trim().strip_suffix(" kB"));
        1024 * kib.and_then(|kib| kib.parse::<u64>().ok()).expect("Linux says how much it has")
    }

    /// The exit code if it ends in this time, which may be too short on a loaded machine.
    pub fn ended_within(&mut self, time: Duration) -> Option<i32> {
        let start = Instant::now();
        loop {
            let code = self.ended();
            if code.is_some() || start.elapsed() >= time {
                return code;
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// How many files and sockets it has open.
    pub fn open_files(&self) -> usize {
        let path = format!("/proc/{}/fd", self.child.id());
        fs::read_dir(path).expect("it runs").count()
    }

    fn stdout(&mut self) -> ChildStdout {
        self.child.stdout.take().expect("standard output is a pipe, and taken once")
    }

    /// The lines of its standard output, read to the end by a thread so that it never blocks.
    fn lines(&mut self) -> mpsc::Receiver<String> {
        let stdout = self.stdout();
        let (say, said) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                // Nobody listens after the start; the pipe must be drained all the same.
                let _ = say.send(line);
            }
        });
        said
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself; both errors then say so, and there is nothing left to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A directory of this test's own, with `root` in it for `--root`. Removed when dropped.
pub struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    /// An empty one, which every user may search.
    pub fn new() -> Place {
        let dir = tempfile::Builder::new().prefix("dsfs-").tempdir().expect("a directory");
        let place = Place { dir };
        fs::create_dir(place.root()).expect("a new directory takes a file");
        for path in [place.path(), &place.root()] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("it is ours");
        }
        place
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The directory for `--root`.
    pub fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// Writes a file beside `root` and returns its path: a name space file, a saved `ctl`.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, text).expect("the directory takes a file");
        path
    }
}
