//! The admin tree of a dsfs server, as values: what its texts `devices`, `connections` and `stats` say.
//!
//! Each line of a text is words with Plan 9's quoting: what it is about, then what it is called, then
//! names, each with its value. Names that are not known here are passed over.

use std::collections::HashMap;
use std::io::{self, Write};

use serde::Serialize;
use styx::omode::OREAD;
use styx::words::{self, lossy};

use super::{Client, Error};
use crate::dial::Addr;
use crate::limits;

/// The attach name of the tree.
pub const TREE: &str = "admin";

/// The longest text that is taken, in bytes: what a server with all the clients and devices that it can
/// have says is less.
const MAX_TEXT: usize = 32 << 20;

/// Words of a line that are looked at: twice as many as any has.
const MAX_WORDS: usize = 64;

/// A connection to the admin tree of a server.
#[derive(Debug)]
pub struct Admin {
    client: Client,
}

/// A device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Device {
    /// `ds/m0`.
    pub name: String,
    /// `mirror`, `cat`, `inter`, `part` or `crypt`.
    pub kind: String,
    /// In bytes.
    pub length: u64,
    /// `equal`, `resyncing` or `degraded` of a mirror, `ok` of others; `unreachable`, `no-key`, `deleted`.
    pub state: String,
    /// Fids that are open on it.
    pub opens: u64,
    /// part: where in the inner file it starts, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<u64>,
    /// mirror: bytes that may differ after a crash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub marked: Option<u64>,
    /// mirror: how far a comparison of its legs is, in bytes, while one is under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verified: Option<u64>,
    /// What it is made of.
    pub inner: Vec<Inner>,
}

/// What a device is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Inner {
    /// As the control message has it.
    pub name: String,
    /// `file`, `remote`, `device` or `ctl`.
    pub kind: String,
    /// When the device was configured, in bytes.
    pub length: u64,
    /// `ok`, `unreachable`, or the state of the device that it is.
    pub state: String,
    /// Two files with the same one are one file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// remote: where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// device: its number among the devices, less than that of the device that it is part of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<usize>,
    /// Of a mirror: what is known of it as a leg.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leg: Option<Leg>,
}

/// A leg of a mirror.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Leg {
    /// `in-service`, `catching-up`, `out` or `held`.
    pub state: String,
    /// Bytes that are to be made equal again.
    pub stale: u64,
    /// Bytes compared and made equal since the server was started.
    pub resynced: u64,
    /// Why it is not in service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// A client of the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Connection {
    /// Counted from 1, since the server was started.
    pub number: u64,
    /// Where it comes from.
    pub peer: String,
    /// Who it says it is.
    pub user: String,
    /// The tree that it attached to last.
    pub tree: String,
    /// Fids that it has.
    pub fids: u64,
    /// Requests under way.
    pub pending: u64,
    /// Requests that were answered.
    pub answered: u64,
    /// Of these, with an error.
    pub failed: u64,
    /// Bytes of its requests.
    pub received: u64,
    /// Bytes of the replies to it.
    pub sent: u64,
    /// How long its requests took together, in microseconds.
    pub us: u64,
}

/// What a server has done since it was started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Of all clients.
    pub server: Totals,
    /// Of each type of message, as `Tread`.
    pub requests: Vec<Requests>,
    /// Of the devices, in their order, but for those that were deleted.
    pub devices: Vec<Work>,
    /// The servers that its name space mounts.
    pub mounts: Vec<Mount>,
}

/// What a server has done in all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Of the program.
    pub version: String,
    /// For how long it has run, in milliseconds.
    pub ms: u64,
    /// Clients.
    pub connections: u64,
    /// Fids of all of them.
    pub fids: u64,
    /// Requests under way.
    pub pending: u64,
    /// Jobs that its worker threads have not done.
    pub jobs: u64,
    /// Bytes of requests.
    pub received: u64,
    /// Bytes of replies.
    pub sent: u64,
    /// Bytes that the log has ever had.
    pub log: u64,
    /// Bytes in a second at which legs are made equal.
    pub rate: u64,
    /// Whether that waits for a person.
    pub paused: bool,
}

/// The requests of one type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Requests {
    /// `Tread`.
    pub name: String,
    /// Answered with what they asked for.
    pub done: u64,
    /// Answered with an error.
    pub failed: u64,
    /// How long all of them took together, in microseconds.
    pub us: u64,
}

/// What clients have done with a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Work {
    /// Of the device.
    pub name: String,
    /// Reads.
    pub reads: u64,
    /// Bytes that they gave.
    pub read_bytes: u64,
    /// Writes.
    pub writes: u64,
    /// Bytes that they took.
    pub write_bytes: u64,
    /// Reads and writes that failed.
    pub failed: u64,
    /// Those under way.
    pub pending: u64,
    /// How long all of them took together, in microseconds.
    pub us: u64,
}

/// A server that the name space of this one mounts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mount {
    /// Where it is.
    pub server: String,
    /// `up` or `down`.
    pub state: String,
    /// Requests that it has not answered.
    pub pending: u64,
}

/// A line: what comes before the names, and the values by name.
struct Line {
    words: Vec<String>,
    values: HashMap<String, String>,
}

type Understood<T> = Result<T, String>;

impl Line {
    /// The words of a line that has this many before its names.
    fn new(line: &str, before: usize) -> Line {
        let split = words::split(line.as_bytes(), MAX_WORDS);
        let mut all = split.iter().map(|word| lossy(word).into_owned());
        let words: Vec<String> = all.by_ref().take(before).collect();
        let mut values = HashMap::new();
        while let (Some(name), Some(value)) = (all.next(), all.next()) {
            values.insert(name, value);
        }
        Line { words, values }
    }

    fn word(&self, place: usize) -> Understood<String> {
        self.words.get(place).cloned().ok_or_else(|| format!("it has no word {}", place + 1))
    }

    fn place(&self, place: usize) -> Understood<usize> {
        let word = self.word(place)?;
        word.parse().map_err(|_| format!("{word:?} is no number"))
    }

    fn text(&self, name: &str) -> Understood<String> {
        self.maybe(name).ok_or_else(|| format!("it says no {name}"))
    }

    fn maybe(&self, name: &str) -> Option<String> {
        self.values.get(name).cloned()
    }

    fn count(&self, name: &str) -> Understood<u64> {
        let value = self.text(name)?;
        value.parse().map_err(|_| format!("its {name} {value:?} is no number"))
    }

    fn maybe_count(&self, name: &str) -> Understood<Option<u64>> {
        self.maybe(name).map(|_| self.count(name)).transpose()
    }
}

/// What text there is, up to [`MAX_TEXT`].
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_TEXT {
            return Err(io::Error::other(format!("the text has more than {MAX_TEXT} bytes")));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Takes a text apart; `take` is given each line's first word and the line.
fn each_line(text: &str, mut take: impl FnMut(&str, &str) -> Understood<()>) -> Understood<()> {
    for (number, line) in text.lines().enumerate() {
        let about = line.split(' ').next().unwrap_or_default();
        take(about, line).map_err(|why| format!("line {}: {why}", number + 1))?;
    }
    Ok(())
}

/// The devices that a text `devices` names.
pub(crate) fn devices(text: &str) -> Understood<Vec<Device>> {
    let mut devices: Vec<Device> = Vec::new();
    // How deep each is, and how long: what walks the tree later relies on both.
    let mut depths: Vec<(usize, u64)> = Vec::new();
    each_line(text, |about, line| {
        match about {
            "device" => {
                let line = Line::new(line, 4);
                if line.place(1)? != devices.len() {
                    return Err("a device out of order".into());
                }
                let length = line.count("length")?;
                depths.push((1, length));
                devices.push(Device {
                    name: line.word(2)?,
                    kind: line.word(3)?,
                    length,
                    state: line.text("state")?,
                    opens: line.count("opens")?,
                    start: line.maybe_count("start")?,
                    marked: line.maybe_count("marked")?,
                    verified: line.maybe_count("verified")?,
                    inner: Vec::new(),
                });
            }
            "inner" => {
                let line = Line::new(line, 5);
                let (number, place) = (line.place(1)?, line.place(2)?);
                let last = devices.len();
                let device = devices
                    .last_mut()
                    .filter(|device| number + 1 == last && place == device.inner.len());
                let device = device.ok_or("an inner file out of order")?;
                let inner = inner(&line)?;
                if let Some(below) = inner.device {
                    let Some(&(depth, length)) = depths.get(below).filter(|_| below < number)
                    else {
                        return Err("a device that is inside itself".into());
                    };
                    if depth >= limits::DEPTH || length != inner.length {
                        return Err("a device that can't be inside another".into());
                    }
                    depths[number].0 = depths[number].0.max(depth + 1);
                }
                device.inner.push(inner);
            }
            _ => {}
        }
        Ok(())
    })?;
    Ok(devices)
}

fn inner(line: &Line) -> Understood<Inner> {
    let leg = line.maybe("leg").map(|state| {
        Ok::<_, String>(Leg {
            state,
            stale: line.count("stale")?,
            resynced: line.count("resynced")?,
            why: line.maybe("why"),
        })
    });
    let device = line.maybe_count("device")?.map(|number| number as usize);
    let kind = line.word(4)?;
    if (kind == "device") != device.is_some() {
        return Err("a device without its number".into());
    }
    Ok(Inner {
        name: line.word(3)?,
        kind,
        length: line.count("length")?,
        state: line.text("state")?,
        id: line.maybe("id"),
        server: line.maybe("server"),
        device,
        leg: leg.transpose()?,
    })
}

/// The clients that a text `connections` names.
fn connections(text: &str) -> Understood<Vec<Connection>> {
    let mut connections = Vec::new();
    each_line(text, |about, line| {
        if about == "connection" {
            let line = Line::new(line, 3);
            connections.push(Connection {
                number: line.place(1)? as u64,
                peer: line.word(2)?,
                user: line.text("user")?,
                tree: line.text("tree")?,
                fids: line.count("fids")?,
                pending: line.count("pending")?,
                answered: line.count("answered")?,
                failed: line.count("failed")?,
                received: line.count("received")?,
                sent: line.count("sent")?,
                us: line.count("us")?,
            });
        }
        Ok(())
    })?;
    Ok(connections)
}

/// What a text `stats` says.
fn stats(text: &str) -> Understood<Stats> {
    let mut stats = Stats::default();
    each_line(text, |about, line| {
        match about {
            "server" => {
                let line = Line::new(line, 1);
                let before = std::mem::take(&mut stats.server);
                stats.server = Totals {
                    version: line.text("version")?,
                    ms: line.count("ms")?,
                    connections: line.count("connections")?,
                    fids: line.count("fids")?,
                    pending: line.count("pending")?,
                    jobs: line.count("jobs")?,
                    received: line.count("received")?,
                    sent: line.count("sent")?,
                    log: line.count("log")?,
                    ..before
                };
            }
            "upkeep" => {
                let line = Line::new(line, 2);
                stats.server.paused = line.word(1)? == "paused";
                stats.server.rate = line.count("rate")?;
            }
            "request" => {
                let line = Line::new(line, 2);
                stats.requests.push(Requests {
                    name: line.word(1)?,
                    done: line.count("done")?,
                    failed: line.count("failed")?,
                    us: line.count("us")?,
                });
            }
            "device" => stats.devices.push(work(&Line::new(line, 3))?),
            "mount" => {
                let line = Line::new(line, 3);
                stats.mounts.push(Mount {
                    server: line.word(2)?,
                    state: line.text("state")?,
                    pending: line.count("pending")?,
                });
            }
            _ => {}
        }
        Ok(())
    })?;
    Ok(stats)
}

fn work(line: &Line) -> Understood<Work> {
    Ok(Work {
        name: line.word(2)?,
        reads: line.count("reads")?,
        read_bytes: line.count("read-bytes")?,
        writes: line.count("writes")?,
        write_bytes: line.count("write-bytes")?,
        failed: line.count("failed")?,
        pending: line.count("pending")?,
        us: line.count("us")?,
    })
}

impl Admin {
    /// Dials `addr`, offers messages of `msize` bytes, and attaches to the admin tree.
    ///
    /// # Errors
    /// As [`Client::connect`]; and if the server has no such tree.
    pub fn connect(addr: &Addr, msize: u32) -> Result<Self, Error> {
        match Client::connect(addr, TREE, msize) {
            Ok(client) => Ok(Admin { client }),
            Err(Error::Refused { ename, .. }) => {
                Err(Error::NoAdmin { addr: addr.clone(), what: "admin tree".into(), ename })
            }
            Err(error) => Err(error),
        }
    }

    /// The server's address, as it was dialled.
    pub fn addr(&self) -> &Addr {
        self.client.addr()
    }

    fn text(&mut self, name: &'static str) -> Result<String, Error> {
        let no_file = |client: &Client, ename| {
            let (addr, what) = (client.addr().clone(), format!("file '{name}' in an admin tree"));
            Error::NoAdmin { addr, what, ename }
        };
        let file = match self.client.open(name, OREAD) {
            Err(Error::Refused { ename, .. }) => return Err(no_file(&self.client, ename)),
            file => file?,
        };
        let mut text = Bounded(Vec::new());
        let read = self.client.read(&file, 0, u64::MAX, &mut text);
        let closed = self.client.close(file);
        match read {
            Err(Error::Output(error)) => return Err(self.unclear(name, error.to_string())),
            read => read.and(closed)?,
        };
        Ok(lossy(&text.0).into_owned())
    }

    fn unclear(&self, file: &'static str, why: String) -> Error {
        Error::Text { addr: self.addr().clone(), file, why }
    }

    /// The devices, each after those that it is made of.
    ///
    /// # Errors
    /// If the server has no such text, or it can't be understood, or the connection is lost.
    pub fn devices(&mut self) -> Result<Vec<Device>, Error> {
        let text = self.text("devices")?;
        devices(&text).map_err(|why| self.unclear("devices", why))
    }

    /// The clients.
    ///
    /// # Errors
    /// As [`Admin::devices`].
    pub fn connections(&mut self) -> Result<Vec<Connection>, Error> {
        let text = self.text("connections")?;
        connections(&text).map_err(|why| self.unclear("connections", why))
    }

    /// What was done since the server was started.
    ///
    /// # Errors
    /// As [`Admin::devices`].
    pub fn stats(&mut self) -> Result<Stats, Error> {
        let text = self.text("stats")?;
        stats(&text).map_err(|why| self.unclear("stats", why))
    }

    /// What has happened to the mirrors: a line each, the latest at the end.
    ///
    /// # Errors
    /// As [`Admin::devices`].
    pub fn log(&mut self) -> Result<String, Error> {
        self.text("log")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_not_known_are_passed_over_and_quoted_words_are_whole() {
        let text = "device 0 'ds/a b' part length 10 state ok new thing opens 1 start 5\n\
                    inner 0 0 '/it''s' file length 20 state ok id host!1!2\n\
                    weather sunny\n";
        let devices = devices(text).expect("understood");
        assert_eq!((devices[0].name.as_str(), devices[0].start), ("ds/a b", Some(5)));
        assert_eq!(devices[0].inner[0].name, "/it's");
    }

    #[test]
    fn a_text_that_makes_no_sense_is_refused_with_its_line() {
        for (text, why) in [
            ("device 1 ds/m0 mirror length 0 state ok opens 0", "line 1: a device out of order"),
            ("device 0 ds/m0 mirror length x state ok opens 0", "line 1: its length \"x\""),
            ("device 0 ds/m0 mirror length 5 state ok", "line 1: it says no opens"),
            ("inner 0 0 /a file length 1 state ok", "line 1: an inner file out of order"),
            ("device", "line 1: it has no word 2"),
        ] {
            let said = devices(text).expect_err(text);
            assert!(said.starts_with(why), "{text}: {said}");
        }
        let inside = "device 0 ds/m0 mirror length 0 state ok opens 0\n\
                      inner 0 0 ds/m0 device length 0 state ok device 0\n";
        assert_eq!(devices(inside).unwrap_err(), "line 2: a device that is inside itself");
        assert!(stats("server version 1").is_err() && connections("connection x y").is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_too_much(text: String) {
            let _ = (devices(&text), connections(&text), stats(&text));
            for about in ["device", "inner", "server", "upkeep", "request", "mount", "connection"] {
                let text = format!("{about} {text}");
                let _ = (devices(&text), connections(&text), stats(&text));
            }
        }
    }
}
