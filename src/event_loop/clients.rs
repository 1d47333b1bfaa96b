//! Clients: they come in, have their turns, and go.

use std::io;
use std::time::Instant;

use mio::Token;
use slab::Slab;

use super::connection::{Connection, Readiness};
use super::refusals::Refusal;
use super::spare::is_out_of_descriptors;
use super::stream::Stream;
use super::{ACCEPT_PAUSE, CLIENT, GENERATION, INDEX, Server};
use crate::limits;
use crate::tree::ClientId;

pub(super) struct Client {
    pub connection: Connection<Stream>,
    pub generation: u32,
    pub is_ready: bool,
    pub stdio: bool,
}

/// All of them, each in memory of its own: what a crowd took is given back when it goes.
pub(super) type Clients = Slab<Box<Client>>;

pub(super) fn client_token(index: usize, generation: u32) -> Token {
    Token(CLIENT | ((generation & GENERATION) as usize) << 32 | index)
}

impl Server {
    /// Takes in those who wait at a listener, as many as one turn may; the others have to wait for
    /// the next one.
    pub(super) fn accept(&mut self, listener: usize) {
        if self.resting.is_some() {
            return;
        }
        for _ in 0..limits::ACCEPTS {
            let Some(listening) = self.listeners.get(listener) else { return };
            match listening.accept(&mut self.admission) {
                Ok(Err(why)) => self.refusals.tell(Refusal::Stranger, why),
                Ok(Ok(_)) if self.clients.len() >= self.most_clients => {
                    let connected = self.clients.len();
                    let why = format_args!("{connected} clients are connected");
                    self.refusals.tell(Refusal::OverBound, why);
                }
                Ok(Ok(stream)) => {
                    if let Err(error) = self.admit(stream, false) {
                        self.refusals.tell(Refusal::NotAccepted, error);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) if is_out_of_descriptors(&error) && self.refuse(listener) => {
                    let why = format_args!("{error}; ulimit -n says how many there may be");
                    self.refusals.tell(Refusal::NotAccepted, why);
                }
                Err(error) => {
                    let why = format_args!("no more clients can be accepted for now: {error}");
                    self.refusals.tell(Refusal::NotAccepted, why);
                    self.resting = Some(Instant::now() + ACCEPT_PAUSE);
                    return;
                }
            }
        }
        self.resting = Some(Instant::now());
    }

    /// Hangs up on the next one who waits at a listener, though no descriptor is left for that.
    /// False if it can't be done now.
    fn refuse(&mut self, listener: usize) -> bool {
        let Server { spare, listeners, admission, .. } = self;
        spare.is_there() && spare.lend(|| listeners[listener].accept(admission).is_ok())
    }

    pub(super) fn admit(&mut self, mut stream: Stream, stdio: bool) -> io::Result<()> {
        let entry = self.clients.vacant_entry();
        let index = entry.key();
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation & GENERATION;
        let token = client_token(index, generation);
        let peer = stream.peer();
        stream.register(self.poll.registry(), token)?;
        let seen = self.world.observed.came(token.0, peer.into(), self.world.time());
        tracing::info!(number = seen.number, peer = seen.peer, "a client connects");
        let connection = Connection::new(stream, ClientId(token.0), self.limits, seen);
        entry.insert(Box::new(Client { connection, generation, is_ready: true, stdio }));
        if !stdio {
            self.await_handshake(token.0);
        }
        self.turns.wanted(index);
        Ok(())
    }

    /// A client has to say its Tversion in time. If too many have not done so, the one that has had
    /// the longest time for it has to go.
    fn await_handshake(&mut self, token: usize) {
        let Server { clients, handshakes, .. } = self;
        let most = self.most_clients.div_ceil(limits::HANDSHAKES);
        if handshakes.len() >= most {
            handshakes.retain(|&(_, token)| awaited(clients, token).is_some());
        }
        if handshakes.len() >= most
            && let Some(index) =
                handshakes.pop_front().and_then(|(_, token)| awaited(clients, token))
        {
            let why = format_args!("a silent client: {most} others say nothing either");
            self.refusals.tell(Refusal::Silent, why);
            self.dismiss(index);
        }
        self.handshakes.push_back((Instant::now() + limits::HANDSHAKE, token));
    }

    /// Hangs up on those that have not said what they speak in time.
    pub(super) fn end_handshakes(&mut self) {
        while let Some(&(until, token)) = self.handshakes.front() {
            match awaited(&mut self.clients, token) {
                Some(_) if until > self.host.now => return,
                Some(index) => self.dismiss(index),
                None => {}
            }
            self.handshakes.pop_front();
        }
    }

    pub(super) fn happened(&mut self, event: &mio::event::Event) {
        let Token(token) = event.token();
        let Some((index, client)) = find_client(&mut self.clients, token) else { return };
        client.connection.happened(Readiness {
            readable: event.is_readable(),
            writable: event.is_writable() || event.is_error(),
            closed: event.is_read_closed() || event.is_error(),
        });
        self.make_ready(index);
    }

    pub(super) fn dismiss(&mut self, index: usize) {
        let mut client = self.clients.remove(index);
        client.connection.close(&mut self.world, &mut self.host);
        if client.stdio && self.listeners.is_empty() {
            self.end();
        }
    }
}

/// The client that a token means, if it has not said its Tversion.
fn awaited(clients: &mut Clients, token: usize) -> Option<usize> {
    let (index, client) = find_client(clients, token)?;
    (!client.connection.has_begun()).then_some(index)
}

/// The client that a token means, unless it is gone.
pub(super) fn find_client(clients: &mut Clients, token: usize) -> Option<(usize, &mut Client)> {
    let index = token & INDEX;
    let client = clients.get_mut(index)?;
    (client_token(index, client.generation).0 == token).then_some((index, client))
}
