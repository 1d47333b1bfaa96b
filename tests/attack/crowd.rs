//! Clients that cost a server something by being there: who connect and go, sit there, send a byte at
//! a time, or never read; and the well-behaved one that they must not disturb.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use styx::frame::frame_len;
use styx::{NOFID, NOTAG, Rmsg, Tmsg, UpTo16, VERSION, omode};

use crate::support::client::{Client, MSIZE, PATIENCE};
use crate::support::program::Program;
use crate::support::text::pattern;

/// The device that the well-behaved client reads, and how long it is; nobody else knows its name.
pub const CALM: &str = "calm";
pub const CALM_BYTES: usize = 64 * 1024;
/// What is in it.
pub fn calm() -> Vec<u8> {
    pattern(11, CALM_BYTES)
}

/// The device that those who never read ask for: of 1 MiB.
pub const BIG: &str = "big";

pub fn dial(program: &Program) -> TcpStream {
    let port = program.dial().rsplit('!').next().expect("tcp!host!port");
    let stream = TcpStream::connect(("127.0.0.1", port.parse::<u16>().expect("a port")));
    let stream = stream.expect("it listens");
    stream.set_read_timeout(Some(3 * PATIENCE)).expect("a timeout");
    stream.set_nodelay(true).expect("a socket");
    stream
}

fn put(out: &mut Vec<u8>, tag: u16, message: &Tmsg<'_>) {
    message.encode(tag, out);
}

/// A whole session so far: version, attach, and fid 1 walked to a device and opened.
fn opening(name: &str, msize: u32) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out, NOTAG, &Tmsg::Version { msize, version: VERSION });
    put(&mut out, 1, &Tmsg::Attach { fid: 0, afid: NOFID, uname: "eve", aname: "" });
    let names = UpTo16::from_slice(&[name]).expect("one name");
    put(&mut out, 2, &Tmsg::Walk { fid: 0, newfid: 1, names });
    put(&mut out, 3, &Tmsg::Open { fid: 1, mode: omode::OREAD });
    out
}

/// Who connect, say nothing or a little, and go.
pub fn quick(program: &Program, count: usize) {
    for number in 0..count {
        let mut stream = dial(program);
        match number % 4 {
            0 => {}
            1 => drop(stream.write_all(&opening("d", MSIZE))),
            2 => drop(stream.write_all(&opening("d", MSIZE)[..10])),
            _ => {
                stream.write_all(&opening("d", MSIZE)).expect("it reads");
                drop(stream.read(&mut [0; 100]));
            }
        }
    }
}

/// Who sit there: half of them have said what they speak.
pub fn idle(program: &Program, count: usize) -> Vec<TcpStream> {
    (0..count)
        .map(|number| {
            let mut stream = dial(program);
            if number % 2 == 0 {
                stream.write_all(&opening("d", MSIZE)).expect("it reads");
            }
            stream
        })
        .collect()
}

/// Who ask for 64 MiB and read nothing.
pub fn deaf(program: &Program, count: usize) -> Vec<TcpStream> {
    let mut session = opening(BIG, (1 << 20) + 24);
    for tag in 10..74 {
        put(&mut session, tag, &Tmsg::Read { fid: 1, offset: 0, count: 1 << 20 });
    }
    let deaf = |_| {
        let mut stream = dial(program);
        stream.write_all(&session).expect("it reads");
        stream
    };
    (0..count).map(deaf).collect()
}

/// Who send a byte at a time, until `over`: every answer must come.
pub fn slow(program: &Program, count: usize, over: &AtomicBool) {
    let mut streams: Vec<TcpStream> = (0..count).map(|_| dial(program)).collect();
    let mut asked = 0;
    let mut next = opening(CALM, MSIZE);
    while !over.load(Ordering::Relaxed) {
        put(&mut next, 9, &Tmsg::Read { fid: 1, offset: 7, count: 100 });
        for byte in next.drain(..) {
            streams.iter_mut().for_each(|s| s.write_all(&[byte]).expect("it reads"));
        }
        asked += 1;
        for stream in &mut streams {
            for _ in 0..if asked == 1 { 5 } else { 1 } {
                check(&reply(stream));
            }
        }
    }
}

/// The next frame.
pub fn reply(stream: &mut TcpStream) -> Vec<u8> {
    let mut frame = vec![0; 7];
    stream.read_exact(&mut frame).expect("an answer");
    let length = frame_len(&frame, MSIZE).expect("a frame").expect("its size");
    frame.resize(length, 0);
    stream.read_exact(&mut frame[7..]).expect("all of it");
    frame
}

fn check(frame: &[u8]) {
    match Rmsg::decode(frame).expect("an answer").1 {
        Rmsg::Error { ename } => panic!("{ename}"),
        Rmsg::Read { data } => assert!(data == &calm()[7..107], "wrong bytes"),
        _ => {}
    }
}

/// How long small reads took that were made one after the other.
pub struct Waits(Vec<Duration>);

impl Waits {
    /// The time that so many of a thousand waited at the most.
    pub fn of_a_thousand(&self, most: usize) -> Duration {
        self.0[(self.0.len() - 1) * most / 1000]
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }
}

/// A well-behaved client that reads 4 KiB about every millisecond, until `over`; its bytes are right.
pub fn calm_reads(program: &Program, over: &AtomicBool) -> Waits {
    let whole = calm();
    let mut client = Client::mount(program.dial(), MSIZE, "").expect("it serves");
    let fid = client.open_both(&[CALM]).expect("it is there");
    let mut waits = Vec::new();
    for number in 0.. {
        if over.load(Ordering::Relaxed) {
            break;
        }
        let offset = number * 4096 % CALM_BYTES;
        let start = Instant::now();
        let data = client.read_at(fid, offset as u64, 4096).expect("an answer");
        waits.push(start.elapsed());
        assert!(data == whole[offset..offset + 4096], "wrong bytes at {offset}");
        thread::sleep(Duration::from_millis(1));
    }
    waits.sort_unstable();
    Waits(waits)
}
