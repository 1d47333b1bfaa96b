//! `--metrics`: the text of admin's `metrics` over HTTP, for Prometheus. One request a connection, and
//! nothing but `GET /metrics`; how many there are, how long they may be and how long they may take is
//! bounded.

use std::io;
use std::time::Instant;

use httparse::{EMPTY_HEADER, Request, Status};
use mio::{Registry, Token};
use slab::Slab;
use styx::buffer::Buffer;

use super::admission::Admission;
use super::connection::Stream as _;
use super::listen::Listener;
use super::refusals::{Refusal, Refusals};
use super::stream::Stream;
use super::{SCRAPE, SCRAPES};
use crate::dial::Addr;
use crate::limits;
use crate::tree::World;

/// What OpenMetrics text is called.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Who asks for the metrics.
struct Scrape {
    stream: Stream,
    input: Buffer,
    /// The answer, once it is known, and how much of it has been sent.
    output: Option<Vec<u8>>,
    sent: usize,
    until: Instant,
}

/// Where metrics are asked for, and by whom.
#[derive(Default)]
pub(super) struct Scrapes {
    listeners: Vec<Listener>,
    clients: Slab<Scrape>,
}

fn response(status: &str, kind: &str, text: &str) -> Vec<u8> {
    let length = text.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n"
    );
    let allow = if status.starts_with("405") { "Allow: GET\r\n" } else { "" };
    format!("{head}{allow}\r\n{text}").into_bytes()
}

fn refusal(status: &str, why: &str) -> Vec<u8> {
    response(status, "text/plain; charset=utf-8", &format!("{why}\n"))
}

/// The answer to what has come of a request; `None` while it is not all there.
fn answer(input: &[u8], metrics: impl FnOnce() -> String) -> Option<Vec<u8>> {
    const LONG: &str = "431 Request Header Fields Too Large";
    let mut headers = [EMPTY_HEADER; limits::SCRAPE_HEADERS];
    let mut request = Request::new(&mut headers);
    let path = match request.parse(input) {
        Ok(Status::Partial) if input.len() >= limits::SCRAPE_BYTES => {
            return Some(refusal(LONG, "the request is too long"));
        }
        Ok(Status::Partial) => return None,
        Err(httparse::Error::TooManyHeaders) => {
            return Some(refusal(LONG, "the request has too many headers"));
        }
        Err(_) => return Some(refusal("400 Bad Request", "this is no HTTP request")),
        Ok(Status::Complete(_)) => request.path.unwrap_or_default(),
    };
    let path = path.split('?').next().unwrap_or_default();
    Some(match (request.method, path) {
        (Some("GET"), "/metrics") => response("200 OK", OPENMETRICS, &metrics()),
        (_, "/metrics") => refusal("405 Method Not Allowed", "only GET is served"),
        _ => refusal("404 Not Found", "only /metrics is served"),
    })
}

impl Scrape {
    /// Goes on. True when it is over.
    fn go_on(&mut self, world: &World) -> io::Result<bool> {
        while self.output.is_none() {
            let room = limits::SCRAPE_BYTES - self.input.len();
            if self.stream.read(&mut self.input, room)? == 0 {
                return Ok(true);
            }
            self.output = answer(&self.input, || world.metrics());
        }
        let output = self.output.as_deref().unwrap_or_default();
        while self.sent < output.len() {
            self.sent += self.stream.write(&output[self.sent..])?;
        }
        Ok(true)
    }
}

impl Scrapes {
    /// Listens there, too.
    pub fn listen(
        &mut self,
        addr: &Addr,
        admission: &Admission,
        registry: &Registry,
    ) -> io::Result<()> {
        for mut listener in Listener::open(addr, admission)? {
            listener.register(registry, Token(SCRAPES | self.listeners.len()))?;
            self.listeners.push(listener);
        }
        Ok(())
    }

    /// Where it listens in fact.
    pub fn addresses(&self) -> Vec<Addr> {
        self.listeners.iter().filter_map(|listener| listener.addr().ok()).collect()
    }

    /// Somebody came: as many are taken in as one turn may.
    pub fn accept(
        &mut self,
        number: usize,
        (admission, refusals): (&mut Admission, &mut Refusals),
        registry: &Registry,
        now: Instant,
    ) {
        let Some(listener) = self.listeners.get_mut(number) else { return };
        for _ in 0..limits::ACCEPTS {
            match listener.accept(admission) {
                Ok(Err(why)) => {
                    refusals.tell(Refusal::Stranger, format_args!("at the metrics: {why}"));
                }
                Ok(Ok(_)) if self.clients.len() >= limits::SCRAPES => {
                    let why = format_args!("{} others ask for metrics", limits::SCRAPES);
                    refusals.tell(Refusal::OverBound, why);
                }
                Ok(Ok(mut stream)) => {
                    let entry = self.clients.vacant_entry();
                    if stream.register(registry, Token(SCRAPE | entry.key())).is_ok() {
                        let (input, until) = (Buffer::new(), now + limits::SCRAPE);
                        entry.insert(Scrape { stream, input, output: None, sent: 0, until });
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                // Also where no more can be accepted: whoever comes next brings them along.
                Err(_) => return,
            }
        }
        // If this fails, too, they come in with the next one.
        let _ = listener.tell_again(registry, Token(SCRAPES | number));
    }

    /// Something can be read from one of them, or written.
    pub fn happened(&mut self, number: usize, world: &World) {
        let Some(scrape) = self.clients.get_mut(number) else { return };
        let over = loop {
            match scrape.go_on(world) {
                Ok(over) => break over,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break error.kind() != io::ErrorKind::WouldBlock,
            }
        };
        if over {
            self.clients.remove(number);
        }
    }

    /// When the first of them has had its time.
    pub fn deadline(&self) -> Option<Instant> {
        self.clients.iter().map(|(_, scrape)| scrape.until).min()
    }

    /// Hangs up on those that have had their time.
    pub fn end_overdue(&mut self, now: Instant) {
        self.clients.retain(|_, scrape| scrape.until > now);
    }

    /// Nobody is listened to any more.
    pub fn end(&mut self) {
        *self = Scrapes::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(request: &[u8]) -> Option<String> {
        let answer = answer(request, || "x 1\n# EOF\n".into())?;
        let text = String::from_utf8(answer).expect("text");
        text.lines().next().map(str::to_owned)
    }

    #[test]
    fn only_metrics_are_served() {
        for (request, line) in [
            ("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK"),
            ("GET /metrics?x=1 HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK"),
            ("GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 404 Not Found"),
            ("POST /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 405 Method Not Allowed"),
            ("\x13\0\0\0d\u{ff}", "HTTP/1.1 400 Bad Request"),
        ] {
            assert_eq!(status(request.as_bytes()).as_deref(), Some(line), "{request:?}");
        }
    }

    #[test]
    fn a_request_that_never_ends_is_refused_at_the_bound() {
        let start = b"GET /metrics HTTP/1.1\r\nX: ".to_vec();
        assert_eq!(status(&start), None);
        let long = [start, vec![b'a'; limits::SCRAPE_BYTES]].concat();
        let long = &long[..limits::SCRAPE_BYTES];
        let too_long = "HTTP/1.1 431 Request Header Fields Too Large";
        assert_eq!(status(long).as_deref(), Some(too_long));
        let many = "GET /metrics HTTP/1.1\r\n".to_string()
            + &"A: b\r\n".repeat(limits::SCRAPE_HEADERS + 1)
            + "\r\n";
        assert_eq!(status(many.as_bytes()).as_deref(), Some(too_long));
    }
}
