//! The command line.

use std::path::PathBuf;

use crate::Error;
use crate::rows::{ROWS, Row};
use crate::servers::MSIZE;

pub const USAGE: &str = "\
compare [options]: dsfs beside a bare baseline and other file servers, one table
  --rows A,B,...    only these rows (--list prints them)
  --rounds N        how often each row is run on each server (5)
  --secs S          how long each run is, in seconds, after half a second to warm up (2)
  --dir DIR         where the test files are made (a temporary directory, which is removed)
  --dsfs NAME=PATH  a dsfs program to measure in place of the one built here; more than one may be
                    given, to compare builds: goals are those of the first
  --peer NAME[@MSIZE]=SH
                    another 9P2000 server: the shell command SH is to serve, on 127.0.0.1:$PORT, the
                    directory $DIR, in which the file f is; MSIZE is the largest it can be asked for
  --only NAME,...   only these servers, and rawload
  --no-build        take the programs as they are
  --list            print the rows, and end
Servers that are found run too: diod, nbdkit (with fio), unpfs; u9fs, if $U9FS is its path.
Exit status: 0, or 1 when a goal is missed, 2 when something failed.
";

/// A server that the command line names.
pub struct Peer {
    pub name: String,
    pub msize: u32,
    pub shell: String,
}

/// What the command line says.
pub struct Options {
    rows: Vec<String>,
    pub rounds: usize,
    pub secs: f64,
    pub dir: Option<PathBuf>,
    pub dsfs: Vec<(String, String)>,
    pub peers: Vec<Peer>,
    pub only: Vec<String>,
    pub build: bool,
}

impl Options {
    /// `None`: what was asked for has been printed, or is the usage.
    pub fn parse(args: &[String]) -> Result<Option<Self>, Error> {
        let mut options = Options {
            rows: Vec::new(),
            rounds: 5,
            secs: 2.0,
            dir: None,
            dsfs: Vec::new(),
            peers: Vec::new(),
            only: Vec::new(),
            build: true,
        };
        let mut args = args.iter();
        while let Some(option) = args.next() {
            match option.as_str() {
                "--no-build" => options.build = false,
                "--help" | "-h" => return Ok(None),
                "--list" => {
                    ROWS.iter().for_each(|row| println!("{:12} {}", row.key, row.title));
                    std::process::exit(0);
                }
                _ => {
                    let value =
                        args.next().ok_or(Error::Usage(format!("{option} needs a value")))?;
                    options.set(option, value)?;
                }
            }
        }
        Ok(Some(options))
    }

    fn set(&mut self, option: &str, value: &str) -> Result<(), Error> {
        let wrong = || Error::Usage(format!("bad value {value:?} for {option}"));
        let names = || value.split(',').map(str::to_string).collect::<Vec<_>>();
        let pair = || {
            let (name, rest) = value.split_once('=').ok_or_else(wrong)?;
            Ok::<_, Error>((name.to_string(), rest.to_string()))
        };
        match option {
            "--rows" => self.rows = names(),
            "--rounds" => self.rounds = value.parse().ok().filter(|&n| n > 0).ok_or_else(wrong)?,
            "--secs" => self.secs = value.parse().ok().filter(|&s| s > 0.0).ok_or_else(wrong)?,
            "--dir" => self.dir = Some(value.into()),
            "--dsfs" => self.dsfs.push(pair()?),
            "--peer" => {
                let (name, shell) = pair()?;
                let (name, msize) = match name.split_once('@') {
                    Some((name, msize)) => (name.into(), msize.parse().map_err(|_| wrong())?),
                    None => (name, MSIZE),
                };
                self.peers.push(Peer { name, msize, shell });
            }
            "--only" => self.only = names(),
            _ => return Err(Error::Usage(format!("unknown option {option}"))),
        }
        match self.rows.iter().find(|name| !ROWS.iter().any(|row| row.key == **name)) {
            Some(name) => Err(Error::Usage(format!("no row is called {name}"))),
            None => Ok(()),
        }
    }

    /// The rows to run, in the order of the table.
    pub fn rows(&self) -> impl Iterator<Item = &'static Row> {
        let all = self.rows.is_empty();
        ROWS.iter().filter(move |row| all || self.rows.iter().any(|name| name == row.key))
    }

    /// Whether a server takes part.
    pub fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }
}
