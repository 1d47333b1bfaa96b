//! What a hostile client sends: valid messages in any order, messages with some bytes changed, and
//! bytes of no meaning. One seed is one connection.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use styx::frame::split_frame;
use styx::{NOFID, NOTAG, Rmsg, Stat, Tmsg, UpTo16, VERSION};

use crate::support::client::PATIENCE;
use crate::support::random::Random;

/// Frames of one connection after its Tversion and Tattach. Some end it before the last one.
pub const FRAMES: usize = 50;

/// The largest msize that dsfs agrees to, in bytes.
const LARGEST: u32 = (1 << 20) + 24;

const MSIZES: [u32; 6] = [64, 256, 8216, 65560, LARGEST, !0];
const TREES: [&str; 8] = ["", "", "ds", "#k", "#U", "#U", "admin", "nowhere"];
const NAMES: [&str; 16] = [
    "ctl",
    "d",
    "f",
    "sub",
    "link",
    "out",
    "x",
    "status",
    "event",
    "log",
    ".",
    "..",
    "",
    "a/b",
    "ds",
    "name with blanks",
];
const MESSAGES: [&str; 12] = [
    "cat x /f",
    "mirror m /f /f",
    "part p /f 0 100",
    "part p /f 18446744073709551615 18446744073709551615",
    "inter i /f ds/d",
    "cat '",
    "mirror d d",
    "cat y /fifo",
    "cat z /out",
    "verify ds/d",
    "frob",
    "\n\n\n",
];

/// A number where something ends, or a small one.
fn number(random: &mut Random) -> u64 {
    let edge = 1u64 << random.below(64);
    match random.below(4) {
        0 => edge.wrapping_sub(random.next() % 2),
        1 => edge,
        2 => random.next(),
        _ => random.next() % 300,
    }
}

/// A valid T-message.
fn message(random: &mut Random) -> Vec<u8> {
    let tag = if random.one_in(20) { NOTAG } else { random.below(12) as u16 };
    let fid = |random: &mut Random| if random.one_in(20) { NOFID } else { random.below(8) as u32 };
    let (name, other) = (*random.pick(&NAMES), *random.pick(&NAMES));
    let tree = *random.pick(&TREES);
    let (this, that) = (fid(random), fid(random));
    let count = (number(random) % 8000) as usize;
    let data = random.bytes(count);
    let mut stat = Vec::new();
    let message = match random.below(28) {
        0 => Tmsg::Version { msize: *random.pick(&MSIZES), version: VERSION },
        1 => Tmsg::Auth { afid: this, uname: name, aname: other },
        2 => Tmsg::Attach { fid: this, afid: NOFID, uname: name, aname: tree },
        3 | 4 => Tmsg::Flush { oldtag: random.below(12) as u16 },
        5..=9 => {
            let mut names = UpTo16::new();
            let most = if random.one_in(8) { 17 } else { 3 };
            for _ in 0..random.below(most) {
                let _ = names.push(*random.pick(&NAMES));
            }
            Tmsg::Walk { fid: if random.one_in(2) { 0 } else { this }, newfid: that, names }
        }
        10..=14 => Tmsg::Open { fid: this, mode: [0, 1, 2, 2, 16, 18, 64, 255][random.below(8)] },
        15 => {
            let perm = if random.one_in(4) { styx::dm::DIR | 0o755 } else { 0o644 };
            Tmsg::Create { fid: this, name, perm, mode: random.below(3) as u8 }
        }
        16..=18 => Tmsg::Read { fid: this, offset: number(random), count: number(random) as u32 },
        19 => Tmsg::Read { fid: this, offset: 0, count: 4000 },
        20 => Tmsg::Write { fid: this, offset: number(random), data: &data },
        21 | 22 => {
            let data = random.pick(&MESSAGES).as_bytes();
            Tmsg::Write { fid: this, offset: 0, data }
        }
        23 => Tmsg::Clunk { fid: this },
        24 => Tmsg::Remove { fid: this },
        25 => Tmsg::Stat { fid: this },
        26 => {
            let length = if random.one_in(2) { number(random) } else { u64::MAX };
            Stat { name, length, ..Stat::DONT_TOUCH }.encode(&mut stat);
            Tmsg::Wstat { fid: this, stat: &stat }
        }
        _ => Tmsg::Wstat { fid: this, stat: &data },
    };
    let mut frame = Vec::new();
    message.encode(tag, &mut frame);
    frame
}

/// Some bytes of a frame changed, put in or taken out, and mostly its size put right.
fn mutated(random: &mut Random) -> Vec<u8> {
    let mut frame = message(random);
    for _ in 0..=random.below(4) {
        // The first bytes say what all others are.
        let end = if random.one_in(2) { frame.len().min(24) } else { frame.len() };
        let at = random.below(end.max(1)).min(frame.len());
        match random.below(5) {
            0 => frame.insert(at, random.next() as u8),
            1 if at < frame.len() => drop(frame.remove(at)),
            2 if at < frame.len() => frame[at] ^= 1 << random.below(8),
            3 => frame.truncate(at.max(7)),
            _ if at < frame.len() => frame[at] = random.next() as u8,
            _ => frame.push(0),
        }
    }
    if !random.one_in(100) {
        resize(&mut frame);
    }
    frame
}

fn resize(frame: &mut Vec<u8>) {
    frame.resize(frame.len().max(7), 0);
    let size = (frame.len() as u32).to_le_bytes();
    frame[..4].copy_from_slice(&size);
}

fn noise(random: &mut Random) -> Vec<u8> {
    let count = 7 + random.below(200);
    let mut frame = random.bytes(count);
    resize(&mut frame);
    frame[4] = 100 + random.below(30) as u8;
    frame
}

/// All that one client sends.
fn batch(seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    let mut bytes = Vec::new();
    if !random.one_in(20) {
        let msize = *random.pick(&MSIZES);
        Tmsg::Version { msize, version: VERSION }.encode(NOTAG, &mut bytes);
        let aname = *random.pick(&TREES);
        Tmsg::Attach { fid: 0, afid: NOFID, uname: "mallory", aname }.encode(0, &mut bytes);
    }
    for _ in 0..FRAMES {
        bytes.extend(match random.below(40) {
            0 => noise(&mut random),
            1..=8 => mutated(&mut random),
            _ => message(&mut random),
        });
    }
    bytes
}

/// Sends a batch over a Unix socket, and reads all that comes back.
///
/// # Panics
/// If that is anything but whole R-messages, and an end: with the command that sends it again.
pub fn send(socket: &std::path::Path, seed: u64) {
    let replay = format!("DSFS_SEED={seed} cargo test --test attack frames");
    let stream = UnixStream::connect(socket).unwrap_or_else(|error| panic!("{error}: {replay}"));
    stream.set_read_timeout(Some(3 * PATIENCE)).expect("a timeout");
    stream.set_write_timeout(Some(3 * PATIENCE)).expect("a timeout");
    let (mut sender, mut receiver) = (&stream, &stream);
    let mut answers = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // A server that has hung up is right to do so.
            let _ = sender.write_all(&batch(seed));
            let _ = sender.shutdown(Shutdown::Write);
        });
        let end = receiver.read_to_end(&mut answers);
        if let Err(error) = end
            && error.kind() != std::io::ErrorKind::ConnectionReset
        {
            panic!("no end of the answers, {error}: {replay}");
        }
    });
    let mut rest = &answers[..];
    while let Some((frame, after)) =
        split_frame(rest, LARGEST).unwrap_or_else(|error| panic!("{error}: {replay}"))
    {
        Rmsg::decode(frame).unwrap_or_else(|error| panic!("{error}: {replay}"));
        rest = after;
    }
    assert!(rest.is_empty(), "half an answer: {replay}");
}
