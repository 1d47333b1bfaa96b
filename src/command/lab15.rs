//! `dsfs lab15`: lab 15 of the Inferno Programmer's Notebook, live.
//!
//! The lab's lines are done for real: by the client of this crate, over TCP, at a server of this
//! crate, on fresh files. What is printed is what came of it, never the lab's own text.

use std::fs::{self, DirBuilder};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;

use clap::Args;
use styx::omode::{OREAD, OTRUNC, OWRITE};

use super::listing::Line as Listed;
use super::{Error, listing, ls, serve};
use crate::client::{self, Client, DEFAULT_MSIZE};
use crate::dial::{Addr, Host};
use crate::event_loop::Stopper;

/// Play lab 15's transcript: fresh chunks, a server, a client.
///
/// Prints each of the lab's commands and what came of it, and compares that with what the lab
/// shows; owner, date and device number may be others. Exits with 0 if nothing else differs.
#[derive(Debug, Args)]
pub struct Options {}

/// How many chunks the lab makes; chunk `i` is full of bytes `i`.
const CHUNKS: u8 = 10;

/// The bytes of a chunk: `zeros -v $i 1024 8`.
const CHUNK: usize = 8192;

/// Where the lab mounted the server.
const MOUNT: &str = "ds";

/// A command of the lab, and what it printed there.
struct Step {
    command: &'static str,
    printed: &'static [&'static str],
}

const LAB: [Step; 9] = [
    Step { command: "echo cat c1 /tmp/chunk2 /tmp/chunk3 >ds/ctl", printed: &[] },
    Step { command: "echo cat c0 /tmp/chunk0 /tmp/chunk1 >ds/ctl", printed: &[] },
    Step { command: "echo mirror m0 ds/c0 ds/c1 > ds/ctl", printed: &[] },
    Step {
        command: "cat ds/ctl",
        printed: &[
            "cat c1 /tmp/chunk2 /tmp/chunk3",
            "cat c0 /tmp/chunk0 /tmp/chunk1",
            "mirror m0 ds/c0 ds/c1",
        ],
    },
    Step {
        command: "ls -l ds",
        printed: &[
            "--rw-rw-rw- M 2 caerwyn caerwyn 16384 Jan 01  1970 ds/c0",
            "--rw-rw-rw- M 2 caerwyn caerwyn 16384 Jan 01  1970 ds/c1",
            "--rw-rw-rw- M 2 caerwyn caerwyn     0 Jan 01  1970 ds/ctl",
            "--rw-rw-rw- M 2 caerwyn caerwyn 16384 Jan 01  1970 ds/m0",
        ],
    },
    Step { command: "cat ds/c0 > /tmp/t1", printed: &[] },
    Step { command: "cat /tmp/t1 > ds/m0", printed: &[] },
    Step { command: "cmp ds/c0 ds/c1", printed: &[] },
    Step { command: "unmount ds", printed: &[] },
];

impl Options {
    /// Plays.
    ///
    /// # Errors
    /// If the server can't be started or reached, or if anything is not as the lab has it.
    pub fn run(self, out: &mut dyn Write) -> Result<(), Error> {
        play(start, out)
    }
}

/// The real server, in a thread of its own, on a free port of loopback.
fn start(root: &Path) -> Result<(Addr, Running), Error> {
    let any_port = Addr::Tcp { host: Host::Name("127.0.0.1".into()), port: 0 };
    let options = serve::Options::on(any_port, root);
    let (ready, started) = mpsc::channel();
    // The server is made where it runs: what its clients share stays in one thread.
    let thread = thread::spawn(move || -> io::Result<()> {
        let bound = options.bind();
        match bound {
            Err(error) => {
                let _ = ready.send(Err(error));
                Ok(())
            }
            Ok(server) => {
                let _ = ready.send(Ok((server.addresses(), server.stopper())));
                server.run()
            }
        }
    });
    let (addresses, stopper) = started.recv().map_err(|_| Error::Told)??;
    let addr = addresses.into_iter().next().ok_or(Error::Told)?;
    Ok((addr, Running { stopper, thread: Some(thread) }))
}

/// A server that is stopped when this is dropped.
struct Running {
    stopper: Stopper,
    thread: Option<thread::JoinHandle<io::Result<()>>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let (Ok(()), Some(thread)) = (self.stopper.stop(), self.thread.take()) {
            let _ = thread.join();
        }
    }
}

/// Plays the lab on a server that `start` starts, with a directory as its root, and that stops when
/// the second of what `start` returns is dropped.
fn play<S>(
    start: impl FnOnce(&Path) -> Result<(Addr, S), Error>,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let root = Scratch::new()?;
    root.make_chunks()?;
    let (addr, server) = start(&root.0)?;
    let client = Client::connect(&addr, "", DEFAULT_MSIZE)?;
    let mut shell = Shell { root: &root.0, client: Some(client) };
    let mut differences = Vec::new();
    for step in &LAB {
        let printed = shell.run(step.command)?;
        let text = String::from_utf8_lossy(&printed);
        write!(out, "% {}\n{text}", step.command).map_err(Error::Output)?;
        if !text.lines().map(masked).eq(step.printed.iter().map(|line| masked(line))) {
            differences.push((step, text.into_owned()));
        }
    }
    drop(server);
    for (step, text) in &differences {
        let lab: String = step.printed.iter().map(|line| format!("{line}\n")).collect();
        write!(out, "\n% {}\nin the lab:\n{lab}here:\n{text}", step.command)
            .map_err(Error::Output)?;
    }
    match differences.len() {
        0 => Ok(()),
        differing => Err(Error::Differs(differing)),
    }
}

/// A line without what may differ from machine to machine: of one that `ls -l` printed, the device
/// number, the owner, the group and the date.
fn masked(line: &str) -> String {
    let mask = || {
        let mut columns = line.splitn(6, ' ');
        let mut column = || columns.next();
        let (mode, kind, _, _, _, rest) =
            (column()?, column()?, column()?, column()?, column()?, column()?);
        let (dated, name) = rest.rsplit_once(' ')?;
        let (length, date) = dated.split_at_checked(dated.len().checked_sub(DATE)?)?;
        let listed = mode.len() == 11 && kind.len() == 1 && date.starts_with(' ');
        listed.then(|| format!("{mode} {kind} N OWNER OWNER {length} DATE {name}"))
    };
    mask().unwrap_or_else(|| line.into())
}

/// The characters of a date in `ls -l`, and the space before it.
const DATE: usize = 13;

/// As much of a shell as the lab needs. Names that start with `ds/` are the server's; the others are
/// in the directory that is its root.
struct Shell<'a> {
    root: &'a Path,
    client: Option<Client>,
}

impl Shell<'_> {
    /// Runs a command line; what it prints. What fails prints why, as in any shell; only a server
    /// that is gone is an error.
    fn run(&mut self, line: &str) -> Result<Vec<u8>, Error> {
        let (command, target) = match line.split_once('>') {
            Some((command, target)) => (command, Some(target.trim())),
            None => (line, None),
        };
        let words: Vec<&str> = command.split_whitespace().collect();
        let done = self.command(&words).and_then(|printed| match target {
            Some(target) => self.write(target, &printed).map(|()| Vec::new()),
            None => Ok(printed),
        });
        match done {
            Err(Error::Client(
                error @ (client::Error::Refused { .. }
                | client::Error::RefusedAt { .. }
                | client::Error::Full { .. }),
            )) => Ok(format!("{}: {error}\n", words.first().unwrap_or(&"")).into()),
            done => done,
        }
    }

    fn command(&mut self, words: &[&str]) -> Result<Vec<u8>, Error> {
        match *words {
            ["echo", ..] => Ok(format!("{}\n", words[1..].join(" ")).into()),
            ["cat", name] => self.read(name),
            ["cmp", one, other] => {
                let (a, b) = (self.read(one)?, self.read(other)?);
                Ok(compare(one, &a, other, &b).into())
            }
            ["ls", "-l", MOUNT] => {
                let mut lines: Vec<Listed> = ls::directory(self.client()?, "/", MOUNT)?;
                let mut out = Vec::new();
                listing::long(&mut lines, ls::now(), &mut out).map_err(Error::Output)?;
                Ok(out)
            }
            ["unmount", MOUNT] => {
                self.client = None;
                Ok(Vec::new())
            }
            _ => Ok(format!("{}: not a command of the lab\n", words.join(" ")).into()),
        }
    }

    fn client(&mut self) -> Result<&mut Client, Error> {
        let unmounted = || Error::File {
            path: MOUNT.into(),
            source: io::Error::new(io::ErrorKind::NotConnected, "it is unmounted"),
        };
        self.client.as_mut().ok_or_else(unmounted)
    }

    fn local(&self, name: &str) -> PathBuf {
        self.root.join(name.trim_start_matches('/'))
    }

    fn read(&mut self, name: &str) -> Result<Vec<u8>, Error> {
        let Some(name) = remote(name) else {
            let path = self.local(name);
            return fs::read(&path).map_err(|source| Error::File { path, source });
        };
        let client = self.client()?;
        let file = client.open(name, OREAD)?;
        let mut data = Vec::new();
        client.read(&file, 0, u64::MAX, &mut data)?;
        client.close(file)?;
        Ok(data)
    }

    fn write(&mut self, name: &str, mut data: &[u8]) -> Result<(), Error> {
        let Some(name) = remote(name) else {
            let path = self.local(name);
            return fs::write(&path, data).map_err(|source| Error::File { path, source });
        };
        let client = self.client()?;
        let file = client.open(name, OWRITE | OTRUNC)?;
        client.write(&file, 0, &mut data)?;
        client.close(file)?;
        Ok(())
    }
}

/// The name at the server of a file below [`MOUNT`].
fn remote(name: &str) -> Option<&str> {
    name.strip_prefix(MOUNT)?.strip_prefix('/')
}

/// What cmp(1) prints.
fn compare(one: &str, a: &[u8], other: &str, b: &[u8]) -> String {
    if let Some(at) = a.iter().zip(b).position(|(a, b)| a != b) {
        return format!("{one} {other} differ: char {}\n", at + 1);
    }
    match a.len().cmp(&b.len()) {
        std::cmp::Ordering::Less => format!("EOF on {one} after {} bytes\n", a.len()),
        std::cmp::Ordering::Equal => String::new(),
        std::cmp::Ordering::Greater => format!("EOF on {other} after {} bytes\n", b.len()),
    }
}

/// A directory of our own, gone when this is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self, Error> {
        let parent = std::env::temp_dir();
        for number in 0..=u16::MAX {
            let path = parent.join(format!("dsfs-lab15-{}-{number}", std::process::id()));
            // Fails if it is there already, whoever made it.
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Scratch(path)),
                Err(source) if source.kind() == io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(Error::File { path, source }),
            }
        }
        let source = io::Error::new(io::ErrorKind::AlreadyExists, "no name for a new directory");
        Err(Error::File { path: parent, source })
    }

    fn make_chunks(&self) -> Result<(), Error> {
        let tmp = self.0.join("tmp");
        fs::create_dir(&tmp).map_err(|source| Error::File { path: tmp.clone(), source })?;
        for i in 0..CHUNKS {
            let path = tmp.join(format!("chunk{i}"));
            fs::write(&path, [i; CHUNK]).map_err(|source| Error::File { path, source })?;
        }
        Ok(())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left in the directory for temporary files harms nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays on the real server, after something was done to its files.
    fn played(meddle: impl FnOnce(&Path)) -> (Result<(), Error>, String) {
        let mut out = Vec::new();
        let with = |root: &Path| {
            meddle(root);
            start(root)
        };
        let result = play(with, &mut out);
        (result, String::from_utf8(out).expect("a transcript is text"))
    }

    #[test]
    fn the_lab_is_played_as_it_was() {
        let (result, out) = played(|_| ());
        assert!(result.is_ok(), "{out}");
        assert!(!out.contains("in the lab:"), "{out}");
    }

    /// A chunk that is short by a byte: the listing's lengths differ, and no more.
    #[test]
    fn a_length_that_differs_is_told() {
        let cut = |root: &Path| fs::write(root.join("tmp/chunk3"), [3; CHUNK - 1]).expect("ours");
        let (result, out) = played(cut);
        assert!(matches!(result, Err(Error::Differs(n)) if n > 0), "{out}");
        let told = out.split("% ls -l ds\nin the lab:\n").nth(1).expect("the listing differs");
        assert!(told.contains("caerwyn 16384 Jan 01  1970 ds/c1\n"), "{out}");
        assert!(told.contains(" 16383 Jan 01  1970 ds/c1\n"), "{out}");
    }

    #[test]
    fn a_command_that_fails_is_told_with_its_error() {
        let (result, out) = played(|root| fs::remove_file(root.join("tmp/chunk3")).expect("ours"));
        assert!(matches!(result, Err(Error::Differs(n)) if n > 0), "{out}");
        assert!(out.contains("here:\necho: ctl: '/tmp/chunk3' "), "{out}");
    }

    #[test]
    fn of_a_listing_only_device_owner_and_date_may_differ() {
        let lab = masked(LAB[4].printed[2]);
        let same = [
            "--rw-rw-rw- M 7 root root     0 Jan 01  1970 ds/ctl",
            "--rw-rw-rw- M 12 a b     0 Nov 22 15:34 ds/ctl",
        ];
        for line in same {
            assert_eq!(masked(line), lab, "{line}");
        }
        let others = [
            "--rw-rw-r-- M 2 caerwyn caerwyn     0 Jan 01  1970 ds/ctl",
            "--rw-rw-rw- k 2 caerwyn caerwyn     0 Jan 01  1970 ds/ctl",
            "--rw-rw-rw- M 2 caerwyn caerwyn 0 Jan 01  1970 ds/ctl",
            "--rw-rw-rw- M 2 caerwyn caerwyn     1 Jan 01  1970 ds/ctl",
            "--rw-rw-rw- M 2 caerwyn caerwyn     0 Jan 01  1970 ds/ct",
            "--rw-rw-rw- M 2 caerwyn caerwyn     0  Jan 01  1970 ds/ctl",
            "--rw-rw-rw- M 2 caerwyn caerwyn     0 ds/ctl",
        ];
        for line in others {
            assert_ne!(masked(line), lab, "{line}");
        }
    }

    #[test]
    fn files_are_compared_as_cmp_does() {
        assert_eq!(compare("a", b"xy", "b", b"xy"), "");
        assert_eq!(compare("a", b"xy", "b", b"xz"), "a b differ: char 2\n");
        assert_eq!(compare("a", b"x", "b", b"xz"), "EOF on a after 1 bytes\n");
        assert_eq!(compare("a", b"xy", "b", b""), "EOF on b after 0 bytes\n");
    }
}
