//! Every bound that a client can meet, each with its reason, in one place. `dsfs serve --limits`
//! prints them. At a bound a client gets a clear error or is slowed; nobody else notices.

use std::fmt::Write;
use std::time::Duration;

use styx::server::{INITIAL_MSIZE, Limits, MIN_MSIZE};

/// Clients connected at one time; further ones are hung up on. An idle one costs less than a
/// kilobyte, so this bounds descriptors rather than memory.
pub const CLIENTS: usize = 16 * 1024;

/// Those of the clients, one in so many, that may be without a Tversion; with one more, the one that
/// has been silent for the longest time is hung up on. So who says nothing keeps nobody out.
pub const HANDSHAKES: usize = 2;

/// Connections that a listener takes in one turn of the loop, so that a flood of them can't starve
/// those who are in: about as much work as a turn of one client.
pub const ACCEPTS: usize = 64;

/// How long a client may take to say its Tversion. A real one says it at once.
pub const HANDSHAKE: Duration = Duration::from_secs(10);

/// Lines of the log about those of one kind who are hung up on as they come, in so much time; of more,
/// only the number is written. Else who floods the server also fills the disk with its log. These are
/// the numbers that Linux has for its own messages.
pub const REFUSALS: usize = 10;
/// See [`REFUSALS`].
pub const REFUSAL_TIME: Duration = Duration::from_secs(5);

/// Messages of one client that are taken in one turn of the loop, so that a greedy client can't
/// starve the others.
pub const TURN: usize = 64;

/// A turn also ends with the message that takes requests and replies over this many bytes: some
/// hundred microseconds. With less, a client's large reads cost more than they need.
pub const TURN_BYTES: usize = 1024 * 1024;

/// The same while others have their turns, too: a large read, or as many small ones as clients have in
/// flight. So who asks for little waits for one large read of another, and not for eight.
pub const SHARED_TURN_BYTES: usize = 128 * 1024;

/// A read over this many bytes is read in slices of so many, and its reply sent so, while somebody else asks
/// for little: 100 microseconds where the memory is new to a virtual machine. In smaller slices it would
/// take longer than it need, and nobody would wait less.
pub const SLICE: usize = 32 * 1024;

/// A client whose replies pile up over this many bytes is not listened to until it has read some
/// of them. One reply may go beyond it.
pub const OUTPUT: usize = 2 * 1024 * 1024;

/// The bytes of a control message. A device keeps the names in its message for as long as it lives,
/// so this bounds what a client can make the server hold. It is what fits into the largest msize of
/// the originals (65560), so no message they took is refused.
pub const MESSAGE: usize = 65536;

/// The bytes of a device's or directory's name (D6 of the golden recordings).
pub const NAME: usize = 255;

/// Control messages that may wait for the one under way. A client waits for its answer before it
/// writes the next, so this is as many clients configuring at the same time.
pub const MESSAGES: usize = 64;

/// The files that one transfer of a device may reach, each counted as often as it is reached: as
/// many as 64 devices of 8 files, with room for nesting. Without a bound, eight mirrors of eight
/// legs of each other would turn one write into sixteen million.
pub const LEAVES: usize = 4096;

/// How many devices deep a device may be: as deep as devds's 64 devices can be nested.
pub const DEPTH: usize = 64;

/// Texts of the admin tree that are kept for those who read them in parts: as many as people and programs
/// look at the same time. Who comes back to one that is gone goes on in a new one.
pub const TEXTS: usize = 16;

/// Connections that ask for metrics at one time; further ones are hung up on. One asks every few
/// seconds, so more are a mistake.
pub const SCRAPES: usize = 8;

/// The bytes of a request for metrics: several times what a scraper sends.
pub const SCRAPE_BYTES: usize = 8192;

/// The headers of a request for metrics, several times as many as a scraper sends.
pub const SCRAPE_HEADERS: usize = 64;

/// How long a request for metrics and its answer may take: as long as Prometheus waits.
pub const SCRAPE: Duration = Duration::from_secs(10);

/// The places under `#U` that the fids of one client stand for: a way of many names is as many
/// places, unless another fid came the same way. Two links that lead back up would otherwise make
/// each fid cost thousands of them.
pub const PLACES: usize = 32 * 1024;

/// What a session allows its client.
pub fn session(msize: u32) -> Limits {
    Limits { msize, ..Limits::default() }
}

/// What a fid, a Tflush that waits (one for each tag), and a place under `#U` cost at the most, in
/// bytes: as measured, and rounded up.
const FID_BYTES: usize = 256;
const FLUSH_BYTES: usize = 256;
const PLACE_BYTES: usize = 512;
const TAGS: usize = 1 << 16;

/// What one client can make the server hold at most, in bytes: its replies and one more, as many
/// again that were sent but are still in the way; its requests under way and one more, in up to three
/// places (where the transfer waits, what another server has sent of it, and the reply); the message
/// that it is sending with what came of the next, in memory that may have grown to twice that; and
/// what it has many of.
///
/// `tests/attack` has clients try to make it more, and measures.
pub fn bytes_of_a_client(session: &Limits) -> usize {
    let message = session.msize as usize;
    let bytes = 2 * (OUTPUT + message) + 3 * (session.bytes + message) + 4 * message;
    bytes + session.fids * FID_BYTES + TAGS * FLUSH_BYTES + PLACES * PLACE_BYTES
}

/// The bounds as a table, for people.
pub fn table(session: &Limits) -> String {
    let rows: [(&str, u64, &str); 27] = [
        (
            "clients",
            CLIENTS as u64,
            "connected, or 3/4 of `ulimit -n`; further ones are hung up on",
        ),
        (
            "silent clients",
            (CLIENTS / HANDSHAKES) as u64,
            "without a Tversion; then the oldest goes",
        ),
        ("connections", ACCEPTS as u64, "taken in before those who are in have their turn"),
        ("handshake", HANDSHAKE.as_secs(), "seconds until a Tversion must have come"),
        (
            "refusals",
            REFUSALS as u64,
            "of a kind with a line in the log, in 5 seconds; others are counted",
        ),
        ("first message", INITIAL_MSIZE.into(), "bytes of a message before a Tversion"),
        ("smallest msize", MIN_MSIZE.into(), "bytes; a smaller one is refused"),
        ("largest msize", session.msize.into(), "bytes; a larger one is answered with this"),
        ("fids", session.fids as u64, "of one client"),
        ("places", PLACES as u64, "under #U that the fids of one client stand for"),
        ("requests", session.requests as u64, "of one client under way; further ones wait"),
        ("request bytes", session.bytes as u64, "of one client under way; further ones wait"),
        ("reply bytes", OUTPUT as u64, "of one client not read; then it is not listened to"),
        ("turn", TURN as u64, "messages of one client before the others have theirs"),
        ("turn bytes", TURN_BYTES as u64, "of one client before the others have their turn"),
        ("shared turn bytes", SHARED_TURN_BYTES as u64, "the same while others have their turns"),
        ("slice", SLICE as u64, "bytes of a large read at one time, while others ask for little"),
        ("walk", styx::MAXWELEM as u64, "names in one Twalk; more end the connection"),
        ("ctl message", MESSAGE as u64, "bytes"),
        ("name", NAME as u64, "bytes of a device's name"),
        ("ctl queue", MESSAGES as u64, "control messages waiting for the one under way"),
        ("files of a device", LEAVES as u64, "as often as one transfer reaches them"),
        (
            "texts of admin",
            TEXTS as u64,
            "read in parts at one time; of the oldest a new one is made",
        ),
        ("metrics clients", SCRAPES as u64, "at one time; further ones are hung up on"),
        ("metrics request", SCRAPE_BYTES as u64, "bytes"),
        ("metrics time", SCRAPE.as_secs(), "seconds for a request and its answer"),
        ("depth of a device", DEPTH as u64, "devices one inside the other"),
    ];
    let mut text = String::new();
    for (name, value, what) in rows {
        let _ = writeln!(text, "{name:<18} {value:>9}  {what}");
    }
    let most = bytes_of_a_client(session);
    let _ = writeln!(
        text,
        "{:<18} {most:>9}  bytes that one client can make the server hold",
        "memory"
    );
    text
}
