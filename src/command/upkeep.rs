//! Messages to the admin tree: what they did, and, where that is long work, how far it is. It goes on
//! at the server whatever becomes of who watches it.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use styx::omode::OREAD;
use styx::words;

use super::Error;
use super::progress::Progress;
use super::remote::Remote;
use crate::client::Client;

/// How often is looked how far it is. Each look is a request, to which the work gives way.
const LOOK: Duration = Duration::from_millis(500);

/// The messages that begin long work; the word after is a mirror's name.
const LONG: [&str; 4] = ["resync", "verify", "repair", "replace"];

/// Words of a message, or of a line of the status, that are looked at.
const MAX_WORDS: usize = 64;

/// The name of the mirror that a message begins long work on, and whether that is to compare it.
fn begins(message: &str) -> Option<(String, bool)> {
    let split = words::split(message.trim_end().as_bytes(), MAX_WORDS);
    let words: Vec<String> = split.iter().map(|word| words::lossy(word).into_owned()).collect();
    let [verb, name, ..] = &words[..] else { return None };
    LONG.contains(&verb.as_str()).then(|| (name.clone(), verb == "verify"))
}

/// Sends a message by `send`, prints what it did, and waits until what it began is done.
///
/// # Errors
/// If the message is refused, the connection is lost, or the legs are not equal in the end.
pub(super) fn carry_out(
    client: &mut Client,
    remote: &Remote,
    message: &str,
    out: &mut dyn Write,
    send: impl FnOnce(&mut Client) -> Result<(), Error>,
) -> Result<(), Error> {
    let Some((name, verify)) = begins(message) else {
        send(client)?;
        return print(out, &text(client, "ctl")?);
    };
    // Open before the message, so that nothing is missed that comes of it.
    let lines = events(remote)?;
    send(client)?;
    let said = text(client, "ctl")?;
    print(out, &said)?;
    Work { name, verify, said, ..Work::default() }.watch(client, &lines, out)
}

fn print(out: &mut dyn Write, text: &str) -> Result<(), Error> {
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Error::Output)
}

/// All of a file of the admin tree.
fn text(client: &mut Client, name: &str) -> Result<String, Error> {
    let file = client.open(name, OREAD)?;
    let mut bytes = Vec::new();
    client.read(&file, 0, u64::MAX, &mut bytes)?;
    client.close(file)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The lines of `event` from now on. Each read of it blocks, so they come over a connection and a
/// thread of their own.
fn events(remote: &Remote) -> Result<Receiver<String>, Error> {
    let mut client = remote.connect()?;
    let file = client.open("event", OREAD)?;
    let (say, lines) = channel();
    thread::spawn(move || {
        // At the end nobody is there who could be told of an error.
        let _ = client.read(&file, 0, u64::MAX, &mut Lines { say, rest: Vec::new() });
    });
    Ok(lines)
}

struct Lines {
    say: Sender<String>,
    rest: Vec<u8>,
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.rest.extend(bytes);
        while let Some(end) = self.rest.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line).trim_end().to_string();
            self.say.send(line).map_err(io::Error::other)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Work under way at the server.
#[derive(Default)]
struct Work {
    /// The mirror, as it was named in the message.
    name: String,
    verify: bool,
    /// What the message did: among the events, what stands before it has other causes.
    said: String,
    begun: bool,
    /// Legs that were seen catching up since.
    tried: Vec<String>,
    /// What a comparison found, which is to be printed.
    told: Vec<String>,
    /// How it ended, if it has: whether nothing failed and nothing differs.
    ended: Option<bool>,
}

impl Work {
    fn watch(
        &mut self,
        client: &mut Client,
        lines: &Receiver<String>,
        out: &mut dyn Write,
    ) -> Result<(), Error> {
        let mut total = 0;
        let mut progress = None;
        loop {
            let mirror = self.look(client)?;
            lines.try_iter().for_each(|line| self.hear(&line, &mirror.name));
            for line in self.told.drain(..) {
                print(out, &format!("{line}\n"))?;
            }
            if self.ended.is_some() || !self.verify && mirror.is_settled {
                drop(progress);
                // What was heard may be newer than what was seen.
                let mirror = self.look(client)?;
                let equal = mirror.is_equal && self.ended != Some(false);
                return if equal { Ok(()) } else { Err(Error::NotEqual(mirror.text)) };
            }
            let left = if self.verify { mirror.unverified } else { mirror.stale };
            total = total.max(left);
            progress.get_or_insert_with(|| Progress::of(Some(total))).set(total - left);
            match lines.recv_timeout(LOOK) {
                Ok(line) => self.hear(&line, &mirror.name),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    let why = "event: the connection is lost; the work goes on if the server does";
                    return Err(Error::NotEqual(why.into()));
                }
            }
        }
    }

    fn look(&self, client: &mut Client) -> Result<Mirror, Error> {
        let gone = || Error::NotEqual(format!("{}: it is gone", self.name));
        Mirror::of(&text(client, "status")?, &self.name).ok_or_else(gone)
    }

    /// A line of `event`, which may say how the work ended.
    fn hear(&mut self, line: &str, mirror: &str) {
        let Some((_, line)) = line.split_once(' ') else { return };
        self.begun |= line == self.said.trim_end();
        let news = line.strip_prefix(mirror).and_then(|line| line.strip_prefix(": "));
        let Some(news) = news else { return };
        if self.verify {
            let Some(found) = news.strip_prefix("verify: ") else { return };
            self.told.push(news.to_string());
            if found == "legs in service are equal" {
                self.ended = Some(true);
            } else if found.ends_with(" bytes differ") {
                self.ended = Some(false);
            }
            return;
        }
        let leg = news.strip_prefix("leg ").and_then(|leg| leg.split_once(' '));
        let Some((leg, news)) = leg.filter(|_| self.begun) else { return };
        if news == "catching-up" {
            self.tried.push(leg.to_string());
        } else if news.starts_with("out: ") && self.tried.iter().any(|tried| tried == leg) {
            self.ended = Some(false);
        }
    }
}

/// What the status says of one mirror.
struct Mirror {
    /// Its directory and name.
    name: String,
    /// Its lines.
    text: String,
    is_equal: bool,
    /// Whether nothing is left that could be made equal.
    is_settled: bool,
    /// Bytes of legs that are to be made equal.
    stale: u64,
    /// Bytes that a comparison has not come to.
    unverified: u64,
}

impl Mirror {
    fn of(status: &str, name: &str) -> Option<Mirror> {
        let lines: Vec<(&str, Vec<String>)> = status
            .lines()
            .map(|line| {
                let split = words::split(line.as_bytes(), MAX_WORDS);
                (line, split.iter().map(|word| words::lossy(word).into_owned()).collect())
            })
            .collect();
        // A name without a directory is in that of the dialect.
        let is_it = |known: &str| {
            known == name || ["ds", "fs"].iter().any(|dir| known == format!("{dir}/{name}"))
        };
        let of = |kind: &'static str| {
            let known = move |words: &[String]| words.len() > 2 && words[0] == kind;
            lines.iter().filter(move |(_, words)| known(words) && is_it(&words[1]))
        };
        let number = |words: &[String], key: &str| -> Option<u64> {
            let at = words.iter().position(|word| word == key)?;
            words.get(at + 1)?.parse().ok()
        };
        let (line, words) = of("mirror").next()?;
        let mut text = line.to_string();
        let (mut stale, mut is_settled) = (0, true);
        for (line, leg) in of("leg") {
            text = format!("{text}\n{line}");
            let left = number(leg, "stale").unwrap_or(0);
            let returns = !matches!(leg.get(3).map(String::as_str), Some("held" | "absent"));
            if returns {
                stale += left;
                let in_service = leg.get(3).is_some_and(|word| word == "in-service");
                is_settled &= in_service && left == 0;
            }
        }
        let length = number(words, "length").unwrap_or(0);
        let unverified = length.saturating_sub(number(words, "verified").unwrap_or(length));
        let (name, is_equal) = (words[1].clone(), words[2] == "equal");
        Some(Mirror { name, text, is_equal, is_settled, stale, unverified })
    }
}
