//! `dsfs trace`: what is in the file of `serve --trace`, request by request.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::PathBuf;

use clap::Args;

use super::Error;
use super::figures::micros;
use crate::client::Printable;

/// Show the requests in the file of 'dsfs serve --trace'.
///
/// Each is shown with its reply, and how long that took. All that is asked for must hold. A line is: time, connection, <- for a request and -> for a reply,
/// and the message as Plan 9 shows it.
#[derive(Debug, Args)]
pub struct Options {
    /// The file; - for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Of this connection alone, by its number in admin's connections
    #[arg(long, value_name = "N")]
    connection: Option<u64>,
    /// Of this type alone, as in Twalk (may be repeated)
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// On this fid alone, new ones too
    #[arg(long, value_name = "N")]
    fid: Option<u32>,
    /// With this tag alone
    #[arg(long, value_name = "N")]
    tag: Option<u16>,
    /// Those alone that were answered with an error
    #[arg(long)]
    errors: bool,
    /// The slowest alone, so many of them, the slowest first
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    slowest: Option<u32>,
}

/// The longest line that is taken, in bytes: a walk with sixteen long names has less.
const MAX_LINE: u64 = 64 * 1024;

/// A line of the file, taken apart.
#[derive(Clone, Debug)]
struct Message {
    text: String,
    /// When, in microseconds of some day.
    at: u64,
    connection: u64,
    is_request: bool,
    kind: String,
    tag: u16,
}

/// A request and what came of it.
struct Exchange {
    request: Message,
    reply: Option<Message>,
}

/// The microseconds of a day in a time as `2026-01-31T23:59:59.123456Z`.
fn micros_of_day(time: &str) -> Option<u64> {
    let (_, clock) = time.strip_suffix('Z')?.split_once('T')?;
    let (whole, fraction) = clock.split_once('.')?;
    let mut seconds = 0u64;
    for part in whole.split(':') {
        seconds = seconds.checked_mul(60)?.checked_add(part.parse().ok()?)?;
    }
    seconds.checked_mul(1_000_000)?.checked_add(fraction.parse().ok()?)
}

impl Message {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let at = micros_of_day(words.next()?)?;
        let connection = words.next()?.parse().ok()?;
        let is_request = match words.next()? {
            "<-" => true,
            "->" => false,
            _ => return None,
        };
        let kind = words.next()?.to_string();
        let tag = (words.next()? == "tag").then(|| words.next())??.parse().ok()?;
        Some(Message { text: line.into(), at, connection, is_request, kind, tag })
    }

    /// The value that follows a name such as `fid`.
    fn value(&self, name: &str) -> Option<u32> {
        let mut words = self.text.split(' ').skip_while(|word| *word != name);
        words.nth(1)?.parse().ok()
    }
}

impl Exchange {
    /// How long it took, in microseconds; it may have been over midnight.
    fn took(&self) -> Option<u64> {
        const DAY: u64 = 86_400_000_000;
        self.reply.as_ref().map(|reply| (reply.at + DAY - self.request.at.min(DAY)) % DAY)
    }

    fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}", Printable(&self.request.text))?;
        match &self.reply {
            Some(reply) => {
                let took = micros(self.took().map(|us| us as f64));
                writeln!(out, "{} ({took})", Printable(&reply.text))
            }
            None => writeln!(out, "    no reply to that"),
        }
    }
}

impl Options {
    fn wants(&self, exchange: &Exchange) -> bool {
        let Exchange { request, reply } = exchange;
        let same_type = |name: &String| {
            let reply = reply.as_ref().is_some_and(|reply| reply.kind.eq_ignore_ascii_case(name));
            request.kind.eq_ignore_ascii_case(name) || reply
        };
        let on = |fid| [request.value("fid"), request.value("newfid")].contains(&Some(fid));
        self.connection.is_none_or(|number| number == request.connection)
            && self.tag.is_none_or(|tag| tag == request.tag)
            && self.fid.is_none_or(on)
            && (self.types.is_empty() || self.types.iter().any(same_type))
            && (!self.errors || reply.as_ref().is_some_and(|reply| reply.kind == "Rerror"))
    }

    /// Reads, and prints what is asked for.
    ///
    /// # Errors
    /// If the file can't be read, or is no trace.
    pub fn run(self, out: &mut dyn Write) -> Result<(), Error> {
        let failed = |source| Error::File { path: self.file.clone(), source };
        let input: Box<dyn BufRead> = match self.file.as_os_str() == "-" {
            true => Box::new(io::stdin().lock()),
            false => Box::new(BufReader::new(File::open(&self.file).map_err(failed)?)),
        };
        let mut slowest: Vec<Exchange> = Vec::new();
        let most = self.slowest.map(|most| most as usize);
        let mut take = |exchange: Exchange| -> io::Result<()> {
            if !self.wants(&exchange) {
                return Ok(());
            }
            let Some(most) = most else { return exchange.print(out) };
            slowest.extend(exchange.reply.is_some().then_some(exchange));
            if slowest.len() >= 2 * most {
                slowest.sort_by_key(|exchange| std::cmp::Reverse(exchange.took()));
                slowest.truncate(most);
            }
            Ok(())
        };
        exchanges(input, &mut take, &failed)?;
        slowest.sort_by_key(|exchange| std::cmp::Reverse(exchange.took()));
        slowest.truncate(most.unwrap_or_default());
        slowest.iter().try_for_each(|exchange| exchange.print(out)).map_err(Error::Output)
    }
}

/// Gives `take` each request with its reply, in the order of the replies, and then those that have none.
fn exchanges(
    mut input: Box<dyn BufRead>,
    take: &mut dyn FnMut(Exchange) -> io::Result<()>,
    failed: &dyn Fn(io::Error) -> Error,
) -> Result<(), Error> {
    let mut pending: HashMap<(u64, u16), Message> = HashMap::new();
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let read = io::Read::take(&mut input, MAX_LINE).read_until(b'\n', &mut line);
        if read.map_err(failed)? == 0 {
            break;
        }
        let text = String::from_utf8_lossy(line.trim_ascii_end());
        let Some(message) = Message::parse(&text) else {
            // A message that could not be decoded has no tag, and the last line may be cut.
            if number == 1 {
                let why = "line 1 is no message: it is not a file of 'dsfs serve --trace'";
                return Err(failed(io::Error::new(io::ErrorKind::InvalidData, why)));
            }
            continue;
        };
        let key = (message.connection, message.tag);
        let done = match message.is_request {
            // One that was flushed has no reply, and its tag is free.
            true => pending.insert(key, message).map(|request| Exchange { request, reply: None }),
            false => pending.remove(&key).map(|request| Exchange { request, reply: Some(message) }),
        };
        done.map_or(Ok(()), &mut *take).map_err(Error::Output)?;
    }
    let mut left: Vec<Message> = pending.into_values().collect();
    left.sort_by_key(|request| request.at);
    left.into_iter()
        .try_for_each(|request| take(Exchange { request, reply: None }))
        .map_err(Error::Output)
}
