//! One client: its bytes in, its session, its bytes out. What the stream is does not matter here: the
//! loop gives a socket, a simulator something of its own.

use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use styx::buffer::{Buffer, Output};
use styx::frame::{header, split_frame};
use styx::mtype;
use styx::server::{Answer, Ename, Fatal, Limits, MAX_MSIZE, RequestId, Session};
use tracing::Span;

use super::watch::Watch;
use crate::ctl::Finder;
use crate::inner::Carrier;
use crate::inner::host_fs::Keeper;
use crate::limits;
use crate::observe;
use crate::tree::{CarriedOut, ClientId, File, Payload, Visit, World};

/// How many bytes are read from a client at one time: twice what came the last time, between these.
/// So a client has no more memory than it has filled before, and one that streams is read in few
/// pieces, each with several of its messages or one of the longest.
const LEAST_READ: usize = 64 * 1024;
const MOST_READ: usize = MAX_MSIZE as usize + LEAST_READ;

/// After so many bytes of requests and replies the replies that are there are sent, and not only at the end of
/// the turn: then a client that writes sends more while the rest of what it sent is dealt with. Of eight
/// large writes that is half; sent after each two, they cost a tenth of the rate.
const ANSWER_AFTER: usize = 400 * 1024;

/// And after so many bytes of replies: then a client that reads has something to do meanwhile, and what
/// is sent is still in a small cache. Of large reads that is each two; sent at the end of a turn of eight
/// they had half the rate, after each four hardly more.
const SEND_AFTER: usize = 192 * 1024;

/// A client also gets its replies after each so many requests that with their replies are so many bytes, if nobody
/// else waits for a turn and client and server would wait for each other in turn: the loop had to wait, or
/// so much time has passed. Of small reads with 32 in flight that is each quarter. Where both have something to
/// do anyway it would only be more to send.
const OVERLAP_MESSAGES: usize = 8;
const OVERLAP_BYTES: usize = 32 * 1024;
const OVERLAP_TIME: Duration = Duration::from_micros(60);

/// Who asked for no more than this in a turn, in bytes of requests and replies, asked for little: a few small
/// reads.
const MODEST: usize = 16 * 1024;

/// Empty buffers that are kept for whoever needs one next, and the largest of them in bytes: as
/// many as there are clients at work at the same time on a small machine. An idle client has none.
const SPARE_BUFFERS: usize = 32;
const SPARE_BYTES: usize = 4 * 1024 * 1024;

/// How Inferno's authentication starts: a `mount` without `-A`, which waits for its like before it
/// sends any Styx. As the length of a frame it would be beyond every msize.
const INFERNO_AUTH: &[u8] = b"0001";

/// What `mount` then shows after `mount: authentication failed: `.
const USE_MOUNT_A: &str = "this server wants no authentication: use mount -A";

/// The error message of Inferno's authentication: `!`, the length in three digits, and the text.
fn inferno_auth_error() -> Vec<u8> {
    format!("!{:03}\n{USE_MOUNT_A}", USE_MOUNT_A.len()).into_bytes()
}

/// A stream of bytes in both directions, which never waits: what would is
/// [`WouldBlock`](io::ErrorKind::WouldBlock).
pub trait Stream {
    /// Appends what is there to `buffer`, at most `room` bytes: how many bytes, 0 at the end.
    ///
    /// # Errors
    /// If there is nothing now, or will never be again.
    fn read(&self, buffer: &mut Buffer, room: usize) -> io::Result<usize>;

    /// Sends as many of the bytes as it takes now: how many.
    ///
    /// # Errors
    /// If it takes none now, or never will again.
    fn write(&self, bytes: &[u8]) -> io::Result<usize>;
}

/// What a connection needs around it, besides what the world needs.
pub trait Surroundings: Carrier + Finder + Keeper {
    /// When this turn began.
    fn now(&self) -> Instant;

    /// Whether somebody wants to see every message.
    fn wants_messages(&self) -> bool {
        false
    }

    /// A request came on the connection of this number.
    fn saw_request(&mut self, _connection: u64, _frame: &[u8]) {}

    /// These replies go out on it.
    fn saw_replies(&mut self, _connection: u64, _bytes: &[u8]) {}
}

/// What has changed on a stream since it was told last. It is told once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// There is something to read.
    pub readable: bool,
    /// It takes bytes again.
    pub writable: bool,
    /// The end, or an error, is there to be read.
    pub closed: bool,
}

/// How long a buffer is kept that nobody needs.
const KEPT: Duration = Duration::from_secs(1);

/// Buffers that nobody uses, so that their memory is not fetched from the system and given back
/// again for each message.
#[derive(Debug, Default)]
pub struct Buffers {
    /// The last one that was given back is the first to be lent.
    spare: Vec<Buffer>,
    /// How many of them, the first ones, nobody has needed since the last look.
    unused: usize,
    next_look: Option<Instant>,
}

impl Buffers {
    fn lend(&mut self, buffer: &mut Buffer) {
        if buffer.memory() == 0
            && let Some(spare) = self.spare.pop()
        {
            *buffer = spare;
            self.unused = self.unused.min(self.spare.len());
        }
    }

    fn give_back(&mut self, buffer: &mut Buffer) {
        let memory = buffer.memory();
        if !buffer.is_empty() || memory == 0 {
            return;
        }
        if self.spare.len() < SPARE_BUFFERS && memory <= SPARE_BYTES {
            self.spare.push(std::mem::take(buffer));
        } else {
            *buffer = Buffer::new();
        }
    }

    /// Gives the memory of those that nobody needs back to the system.
    pub fn look(&mut self, now: Instant) {
        if self.next_look.is_none_or(|at| at <= now) {
            self.spare.drain(..self.unused);
            self.unused = self.spare.len();
            self.next_look = (self.unused > 0).then_some(now + KEPT);
        }
    }

    /// When to look again.
    pub fn next_look(&self) -> Option<Instant> {
        self.next_look
    }
}

/// What a client may have of one turn.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// Whether anything is read from it.
    pub listens: bool,
    /// The turn ends with the message that takes requests and replies over so many bytes.
    pub bytes: usize,
    /// Nobody else waits for a turn.
    pub is_last: bool,
    /// The loop had nothing to do before.
    pub has_waited: bool,
}

/// How a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// There is nothing to do until something happens.
    Idle,
    /// There is more to do at once.
    More,
    /// This client will send nothing more, but still has something to read.
    Last(ClientId),
    /// The client is gone, or has to go.
    Over,
}

/// What is to be sent.
#[derive(Debug)]
struct Outgoing {
    bytes: Buffer,
    /// How many of them have been.
    sent: usize,
    writable: bool,
    /// How many more may be sent in this turn.
    burst: usize,
}

impl Outgoing {
    /// How many bytes have not been sent.
    fn waiting(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// Sends as much as the stream takes and the turn allows.
    fn send(&mut self, stream: &impl Stream) -> io::Result<()> {
        while self.writable && self.waiting() > 0 && self.burst > 0 {
            let end = self.bytes.len().min(self.sent.saturating_add(self.burst));
            match stream.write(&self.bytes[self.sent..end]) {
                Ok(n) => {
                    self.sent += n;
                    self.burst -= n;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        // A client that reads, but never all, must not make this grow.
        if self.waiting() == 0 || self.sent > limits::OUTPUT {
            self.bytes.take_off(self.sent);
            self.sent = 0;
        }
        Ok(())
    }
}

/// One client's connection.
#[derive(Debug)]
pub struct Connection<S> {
    stream: S,
    session: Session<File>,
    client: ClientId,
    watch: Watch,
    input: Buffer,
    outgoing: Outgoing,
    /// How many bytes to read the next time.
    room: usize,
    readable: bool,
    /// The end of the stream has been told of, so it has to be read up to there.
    closing: bool,
    /// It will send nothing more, but may still read.
    ended: bool,
    /// The bytes of the requests that were taken in its last turn, and of their replies.
    moved: usize,
}

impl<S: Stream> Connection<S> {
    /// A connection on which nothing has been said. `client` names it in the world, which saw it
    /// come (`seen`).
    pub fn new(stream: S, client: ClientId, limits: Limits, seen: Rc<observe::Connection>) -> Self {
        Connection {
            stream,
            session: Session::new(limits),
            client,
            watch: Watch::new(seen),
            input: Buffer::new(),
            outgoing: Outgoing { bytes: Buffer::new(), sent: 0, writable: true, burst: usize::MAX },
            room: LEAST_READ,
            readable: true,
            closing: false,
            ended: false,
            moved: 0,
        }
    }

    /// The stream itself.
    pub fn stream(&mut self) -> &mut S {
        &mut self.stream
    }

    /// Something happened on the stream.
    pub fn happened(&mut self, what: Readiness) {
        self.closing |= what.closed;
        self.readable |= self.closing || what.readable;
        self.outgoing.writable |= what.writable;
    }

    /// The session.
    pub fn session(&self) -> &Session<File> {
        &self.session
    }

    /// How many bytes of messages and replies it holds: what was not taken yet, and what was not
    /// sent.
    pub fn held(&self) -> usize {
        self.input.len() + self.outgoing.waiting()
    }

    /// Whether it has said its Tversion.
    pub fn has_begun(&self) -> bool {
        self.session.has_version()
    }

    /// Whether it got all that it asked for in its last turn, and that was little.
    pub fn is_modest(&self) -> bool {
        (1..=MODEST).contains(&self.moved) && self.session.outstanding() == 0
    }

    /// Whether something is under way or to be sent.
    pub fn is_busy(&self) -> bool {
        self.session.outstanding() > 0 || self.outgoing.waiting() > 0
    }

    /// Takes what messages there are, within a turn's bounds, and answers what can be answered.
    pub fn take_turn(
        &mut self,
        world: &mut World,
        host: &mut impl Surroundings,
        buffers: &mut Buffers,
        share: Share,
    ) -> Turn {
        let _span = self.span().entered();
        // What is there before the turn are answers that had to wait, among them those to large reads.
        let in_slices = host.has_modest_company() && self.outgoing.waiting() > limits::SLICE;
        self.outgoing.burst = if in_slices { limits::SLICE } else { usize::MAX };
        let received = self.receive(world, host, buffers, share);
        let sent = self.send(buffers);
        match received {
            Ok(more) => match sent {
                Ok(()) if self.ended && !self.is_busy() => Turn::Over,
                Ok(()) if self.outgoing.burst == 0 => Turn::More,
                Ok(()) if more && !self.is_full() => Turn::More,
                Ok(()) if self.ended => Turn::Last(self.client),
                Ok(()) => Turn::Idle,
                Err(error) => {
                    tracing::debug!(%error, "a client can't be written to");
                    Turn::Over
                }
            },
            Err(error) => {
                if !self.session.has_version() && self.input.starts_with(INFERNO_AUTH) {
                    self.outgoing.bytes.append(&inferno_auth_error());
                }
                tracing::info!(%error, "a client is hung up on");
                let _ = self.send(buffers);
                Turn::Over
            }
        }
    }

    /// What happens now is this client's.
    fn span(&self) -> Span {
        let seen = &self.watch.connection;
        tracing::debug_span!("connection", number = seen.number, peer = &*seen.peer)
    }

    /// Counts what was answered in the turn that it took, which was this long, and what is left.
    pub fn end_turn(&self, world: &mut World, took: Duration) {
        let seen = &self.watch.connection;
        world.observed.end_turn(seen, took.as_nanos() as u64);
        seen.msize.set(if self.session.has_version() { self.session.msize() } else { 0 });
        seen.fids.set(self.session.fids() as u32);
        seen.pending.set(self.session.outstanding() as u32);
        seen.unread.set(self.outgoing.waiting());
    }

    fn is_full(&self) -> bool {
        self.outgoing.waiting() > limits::OUTPUT
    }

    /// True if it stopped at one of a turn's bounds, and not for want of messages.
    fn receive(
        &mut self,
        world: &mut World,
        host: &mut impl Surroundings,
        buffers: &mut Buffers,
        share: Share,
    ) -> Result<bool, Hangup> {
        let mut visit = Visit { world, host, client: self.client };
        // In the opposite order of their giving back, so that each is used for what it was used for
        // before, and the long one stays in the caches.
        buffers.lend(&mut self.outgoing.bytes);
        buffers.lend(&mut self.input);
        let received = self.take_messages(&mut visit, buffers, share);
        visit.world.transfers.look_at_legs(visit.host);
        if !visit.world.batch.is_empty() {
            carry_out(&mut self.session, &mut self.watch, &mut visit, &mut self.outgoing.bytes)?;
        }
        received
    }

    /// As [`receive`](Self::receive), but reads may have been planned that are not carried out.
    fn take_messages(
        &mut self,
        visit: &mut Visit<'_, impl Surroundings>,
        buffers: &mut Buffers,
        share: Share,
    ) -> Result<bool, Hangup> {
        let mut taken = 0;
        self.moved = 0;
        // How many messages and bytes that was when replies were sent last, and when.
        let mut sent = (0, 0);
        let mut sent_at = visit.host.now();
        loop {
            let mut done = 0;
            while let Some((frame, rest)) =
                split_frame(&self.input[done..], self.session.msize()).map_err(Fatal::from)?
            {
                let over = taken == limits::TURN || self.moved > share.bytes || self.is_full();
                // What was left for later comes to the output soon, and should find room there.
                let has_slices = visit.world.transfers.has_slices();
                let room = match has_slices {
                    true => limits::OUTPUT.saturating_sub(self.outgoing.waiting()),
                    false => usize::MAX,
                };
                if over || self.session.must_wait(frame, room) {
                    self.input.take_off(done);
                    // Also where the output is full: it may all go out now, and then no event
                    // would bring back what is waiting here. Nor would one when there is room again.
                    return Ok(over || has_slices);
                }
                let (session, watch, out) =
                    (&mut self.session, &mut self.watch, &mut self.outgoing.bytes);
                let is_read = matches!(header(frame), Some((mtype::TREAD, _)));
                let batch = &visit.world.batch;
                if batch.is_full() || !is_read && !batch.is_empty() {
                    carry_out(session, watch, visit, out)?;
                }
                // A read by itself gains nothing. Who waits for a disk may have to wait for it again.
                let is_one_of_many = !rest.is_empty() || !visit.world.batch.is_empty();
                let may_be_planned = is_one_of_many && session.outstanding() == 0;
                let before = out.len();
                if is_read && may_be_planned && !visit.host.wants_messages() {
                    visit.world.batch.open(frame, before);
                }
                take(session, watch, frame, visit, out)?;
                done += frame.len();
                taken += 1;
                self.moved += frame.len() + self.outgoing.bytes.len() - before;
                self.moved += visit.world.transfers.take_left();
                let (messages, bytes) = (taken - sent.0, self.moved - sent.1);
                let overlaps = share.is_last
                    && messages.is_multiple_of(OVERLAP_MESSAGES)
                    && bytes >= OVERLAP_BYTES
                    && (share.has_waited || sent_at.elapsed() >= OVERLAP_TIME);
                if overlaps || bytes > ANSWER_AFTER || self.outgoing.waiting() > SEND_AFTER {
                    carry_out(&mut self.session, &mut self.watch, visit, &mut self.outgoing.bytes)?;
                    self.outgoing.send(&self.stream)?;
                    (sent, sent_at) = ((taken, self.moved), Instant::now());
                }
            }
            self.input.take_off(done);
            if !self.readable || self.ended || !share.listens {
                buffers.give_back(&mut self.input);
                return Ok(false);
            }
            match self.stream.read(&mut self.input, self.room) {
                Ok(0) => self.ended = true,
                Ok(n) => {
                    // What does not fill the room is all there was; an event tells of more.
                    self.readable = n == self.room || self.closing;
                    self.room = (2 * n).clamp(LEAST_READ, MOST_READ);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Sends what there is to be sent, in one write if the stream takes it.
    fn send(&mut self, buffers: &mut Buffers) -> io::Result<()> {
        self.outgoing.send(&self.stream)?;
        buffers.give_back(&mut self.outgoing.bytes);
        Ok(())
    }

    /// An answer to one of its requests that had been left pending.
    pub fn answer(
        &mut self,
        request: RequestId,
        answer: Result<Payload, Ename>,
        world: &mut World,
        host: &mut impl Surroundings,
    ) {
        let bytes;
        let answer = match answer {
            Ok(Payload::Data(data)) => {
                bytes = data;
                Ok(Answer::Data(&bytes))
            }
            Ok(Payload::Stat(stat)) => {
                bytes = stat;
                Ok(Answer::Stat(&bytes))
            }
            Ok(Payload::Count(count)) => Ok(Answer::Count(count)),
            Ok(Payload::File(file)) => Ok(Answer::File(file)),
            Ok(Payload::Opened(opened)) => Ok(Answer::Opened(opened)),
            Ok(Payload::Entries(entries)) => Ok(Answer::Entries(entries)),
            Ok(Payload::Done) => Ok(Answer::Done),
            Err(ename) => Err(ename),
        };
        let _span = self.span().entered();
        let before = self.outgoing.bytes.len();
        let mut visit = Visit { world, host, client: self.client };
        self.session.complete(request, answer, &mut visit, &mut self.outgoing.bytes);
        let replies = &self.outgoing.bytes[before..];
        self.watch.answered(replies, &mut visit.world.observed, visit.host.now());
        if visit.host.wants_messages() {
            visit.host.saw_replies(self.watch.connection.number, replies);
        }
    }

    /// The client is gone: what it had is given back.
    pub fn close(&mut self, world: &mut World, host: &mut impl Surroundings) {
        let seen = &self.watch.connection;
        let (number, answered, failed) = (seen.number, seen.answered.get(), seen.failed.get());
        tracing::info!(number, answered, failed, "a client is gone");
        self.session.close(&mut Visit { world, host, client: self.client });
        world.observed.connections.remove(&self.client.0);
    }
}

/// The reads that were planned are carried out; those that would have to wait are taken once more.
fn carry_out(
    session: &mut Session<File>,
    watch: &mut Watch,
    visit: &mut Visit<'_, impl Surroundings>,
    out: &mut Buffer,
) -> Result<(), Fatal> {
    let CarriedOut { reads, bytes, missed } = visit.world.carry_out(visit.host, out);
    watch.read(reads, bytes, &mut visit.world.observed);
    missed.iter().try_for_each(|request| take(session, watch, request, visit, out))
}

/// One message: it is taken, counted, and shown to whoever wants to see it.
fn take(
    session: &mut Session<File>,
    watch: &mut Watch,
    frame: &[u8],
    visit: &mut Visit<'_, impl Surroundings>,
    out: &mut Buffer,
) -> Result<(), Fatal> {
    let (before, number) = (out.len(), watch.connection.number);
    let wanted = visit.host.wants_messages();
    let _span = wanted.then(|| {
        let tag = header(frame).map(|(_, tag)| tag);
        let span = tracing::debug_span!("request", tag).entered();
        visit.host.saw_request(number, frame);
        span
    });
    let planned = visit.world.batch.len();
    session.receive(frame, visit, out)?;
    visit.world.batch.close();
    if visit.world.batch.len() > planned {
        // It is counted when it is read.
        return Ok(());
    }
    let replies = &out[before..];
    watch.took(frame, replies, &mut visit.world.observed, visit.host.now());
    if wanted {
        visit.host.saw_replies(number, replies);
    }
    Ok(())
}

#[derive(Debug, thiserror::Error)]
enum Hangup {
    #[error(transparent)]
    Protocol(#[from] Fatal),
    #[error(transparent)]
    Stream(#[from] io::Error),
}
