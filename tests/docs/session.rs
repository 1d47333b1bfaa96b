//! A shell in a fresh directory, with the program in its PATH: somebody who types what a document
//! says.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};
use std::{env, thread};

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

/// How long a command may take. Far more than any of them needs: a loaded machine must not fail a
/// test.
pub const LIMIT: Duration = Duration::from_secs(120);

/// Between two looks at what may come.
pub const PAUSE: Duration = Duration::from_millis(50);

/// Where a session's servers listen.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// On a loopback of the session's own: a network namespace.
    Own,
    /// On the machine's, where the port of the documents is free now.
    Shared,
}

impl Network {
    /// The best there is here; `None` if there is neither.
    pub fn here() -> Option<Network> {
        let own = shell(Network::Own).arg("-c").arg("true").output();
        if own.is_ok_and(|ran| ran.status.success()) {
            return Some(Network::Own);
        }
        is_free().then_some(Network::Shared)
    }
}

/// Whether nobody listens where servers are that were not told where: on styx's port.
fn is_free() -> bool {
    TcpListener::bind(("127.0.0.1", 6666)).is_ok()
}

fn shell(network: Network) -> Command {
    if network == Network::Shared {
        return Command::new("sh");
    }
    let mut command = Command::new("unshare");
    command.args(["-rn", "sh", "-c", "ip link set lo up && exec sh \"$@\"", "sh"]);
    command
}

pub struct Session {
    shell: Child,
    stdin: ChildStdin,
    /// The exit status of each command.
    done: Receiver<String>,
    /// What each command has printed: files `0`, `1` ...
    printed: TempDir,
    count: usize,
    // Removed when nobody uses it any more.
    _home: TempDir,
}

/// A command that was run.
pub struct Ran {
    pub status: String,
    printed: PathBuf,
}

impl Ran {
    /// What it has printed so far: one in the background may go on.
    pub fn printed(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.printed).expect("it is there")).into_owned()
    }
}

impl Session {
    pub fn start(network: Network) -> Session {
        // The server of the session before may still be ending.
        let start = Instant::now();
        while network == Network::Shared && !is_free() && start.elapsed() < LIMIT {
            thread::sleep(PAUSE);
        }
        let (home, printed) = (fresh(), fresh());
        let bin = printed.path().join("bin");
        fs::create_dir(&bin).expect("a new directory");
        symlink(env!("CARGO_BIN_EXE_dsfs"), bin.join("dsfs")).expect("a new name");
        let path = env::var("PATH").unwrap_or_default();
        let mut shell = shell(network)
            .current_dir(home.path())
            .env("HOME", home.path())
            .env("PATH", format!("{}:{path}", bin.display()))
            .env_remove("XDG_DATA_HOME")
            .env_remove("RUST_LOG")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .process_group(0)
            .spawn()
            .expect("a shell");
        let stdin = shell.stdin.take().expect("a pipe");
        let stdout = BufReader::new(shell.stdout.take().expect("a pipe"));
        let (tell, done) = mpsc::channel();
        thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|s| tell.send(s)));
        Session { shell, stdin, done, printed, count: 0, _home: home }
    }

    /// Runs a command, in the shell itself: what it sets stays set.
    ///
    /// # Errors
    /// If it does not end, or ends the shell.
    pub fn run(&mut self, command: &str) -> Result<Ran, String> {
        let printed = self.printed.path().join(self.count.to_string());
        self.count += 1;
        let to = printed.display();
        let line = format!("{{\n{command}\n}} >'{to}' 2>&1 </dev/null\necho $?\n");
        self.stdin.write_all(line.as_bytes()).map_err(|error| error.to_string())?;
        let status = self.done.recv_timeout(LIMIT).map_err(|_| "it ends not, or the shell")?;
        Ok(Ran { status, printed })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // The shell, and what it has started in the background.
        let group = Pid::from_child(&self.shell);
        let _ = kill_process_group(group, Signal::KILL);
        let _ = self.shell.wait();
    }
}

fn fresh() -> TempDir {
    tempfile::tempdir().expect("a new directory")
}

/// Whether there is such a program in PATH.
pub fn is_installed(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|dir| Path::new(&dir).join(program).is_file())
}
