//! Every lie to the real program: what its client is told of it, and that all is well afterwards.

use std::thread;

use styx::{NOTAG, Qid, Rmsg, Stat, Tmsg, UpTo16, mtype};

use crate::liar::{Act, Liar, Lie};
use crate::support::client::{Client, Failure, MSIZE, frame};
use crate::support::program::{Place, Program, Serve, eventually};
use crate::support::random::Random;
use crate::support::text::pattern;

const LENGTH: usize = 10_000;

/// A dsfs that mounts a liar.
struct Scene {
    liar: Liar,
    // Before the place, so that it is killed first.
    program: Program,
    _place: Place,
}

impl Scene {
    fn new() -> Scene {
        let liar = Liar::start(pattern(3, LENGTH));
        let place = Place::new();
        let text = format!("bind #U /\nbind #k/ds /ds\nmount -A {} /n/x tree\n", liar.dial());
        let namespace = place.file("namespace", &text);
        std::fs::write(place.root().join("here"), pattern(8, 500)).expect("a new file");
        let program = Serve::on("tcp!127.0.0.1!0")
            .option("--root", place.root())
            .option("--namespace", namespace)
            .option("--timeout", "1")
            .start();
        Scene { liar, program, _place: place }
    }

    fn client(&self) -> Client {
        Client::mount(self.program.dial(), MSIZE, "").expect("it serves")
    }

    /// What is here is served as ever, and in bounds; the program has said nothing of a panic.
    fn check_unharmed(&mut self) {
        let read = self.client().read(&["here"], 0, 500);
        assert_eq!(read, Ok(pattern(8, 500)), "{}", self.program.errors());
        assert!(self.program.memory() < 16 << 20, "{} bytes", self.program.memory());
        assert!(!self.program.errors().contains("panicked"), "{}", self.program.errors());
    }
}

/// What is asked when the lie is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    /// A control message that opens the file.
    Open,
    Read,
    Write,
}

/// In place of a part of an error: the answer is right, and the connection is ended all the same.
const RIGHT: &str = "(right)";

/// Tells one lie, and checks what the client is told and that the connection is ended.
fn tell(what: &str, ask: Ask, lie: Lie, wanted: &str) {
    let mut scene = Scene::new();
    let mut client = scene.client();
    client.ctl("part here /here 0 500").expect("it is made");
    if ask != Ask::Open {
        client.ctl("cat f /n/x/f").expect("it is made");
    }
    let mut lie = lie;
    scene.liar.lie(move |request, tag, answer| lie(request, tag, answer));
    let told = match ask {
        Ask::Open => client.ctl("cat f /n/x/f"),
        Ask::Read => client.read(&["f"], 0, 5000).map(drop),
        Ask::Write => client.write(&["f"], 0, b"some bytes").map(drop),
    };
    match told {
        Ok(()) if wanted == RIGHT => {}
        Err(Failure::Error(text)) => assert!(text.contains(wanted), "{what}: {text:?}"),
        other => panic!("{what}: {other:?}"),
    }
    eventually(what, || (scene.liar.left() == 1).then_some(()));
    scene.check_unharmed();
    scene.liar.be_honest();
    if ask == Ask::Open {
        client.ctl("cat f /n/x/f").unwrap_or_else(|error| panic!("{what}: afterwards: {error}"));
    }
    let again = eventually("it is back", || client.read(&["f"], 100, 50).ok());
    // A write that was lied about may have been done, but not here.
    assert_eq!(again, pattern(3, 150)[100..], "{what}");
}

/// Lies once to requests of this type.
fn to(kind: u8, mut lie: impl FnMut(u16, Vec<u8>) -> Act + Send + 'static) -> Lie {
    Box::new(move |request, tag, answer| match request.mtype() == kind {
        true => lie(tag, answer),
        false => Act::Send(answer),
    })
}

/// An R-message in place of the answer.
fn says(kind: u8, make: impl Fn(u16, &mut Vec<u8>) + Send + 'static) -> Lie {
    to(kind, move |tag, _| {
        let mut out = Vec::new();
        make(tag, &mut out);
        Act::Send(out)
    })
}

/// The lies of a list, two at a time: most of their time is waiting.
fn tell_all(lies: Vec<(&'static str, Ask, Lie, &'static str)>) {
    let lies = std::sync::Mutex::new(lies.into_iter());
    let next = || lies.lock().expect("no other thread has failed").next();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some((what, ask, lie, wanted)) = next() {
                    tell(what, ask, lie, wanted);
                }
            });
        }
    });
}

fn qid(path: u64) -> Qid {
    Qid { kind: 0, vers: 0, path }
}

#[test]
fn replies_that_do_not_fit_their_requests() {
    let (read, write, walk) = (mtype::TREAD, mtype::TWRITE, mtype::TWALK);
    let fit = "that does not fit its request";
    tell_all(vec![
        (
            "more data than were asked for",
            Ask::Read,
            says(read, |tag, out| {
                Rmsg::Read { data: &[0; 5001] }.encode(tag, out);
            }),
            fit,
        ),
        (
            "more bytes taken than were written",
            Ask::Write,
            says(write, |tag, out| {
                Rmsg::Write { count: 11 }.encode(tag, out);
            }),
            fit,
        ),
        (
            "more qids than names",
            Ask::Open,
            says(walk, |tag, out| {
                let qids = UpTo16::from_slice(&[qid(7), qid(8)]).expect("two");
                Rmsg::Walk { qids }.encode(tag, out);
            }),
            fit,
        ),
        (
            "no qid for a name",
            Ask::Open,
            says(walk, |tag, out| {
                Rmsg::Walk { qids: UpTo16::new() }.encode(tag, out);
            }),
            fit,
        ),
        (
            "seventeen qids",
            Ask::Open,
            to(walk, |tag, _| {
                let mut body = vec![17, 0];
                body.extend([0; 17 * 13]);
                Act::Send(frame(mtype::RWALK, tag, &body))
            }),
            "",
        ),
        (
            "a reply of another type",
            Ask::Read,
            says(read, |tag, out| {
                Rmsg::Write { count: 5 }.encode(tag, out);
            }),
            "reply of type 119 to a request of type 116",
        ),
        (
            "a request for a reply",
            Ask::Read,
            to(read, |tag, _| Act::Send(frame(mtype::TCLUNK, tag, &[0; 4]))),
            "",
        ),
        (
            "a type that there is not",
            Ask::Read,
            to(read, |tag, _| Act::Send(frame(200, tag, &[]))),
            "",
        ),
        (
            "a tag of nobody",
            Ask::Read,
            says(read, |tag, out| {
                Rmsg::Read { data: b"x" }.encode(tag + 1, out);
            }),
            "which nothing waits for",
        ),
        (
            "an answer to a Tversion that was not sent",
            Ask::Read,
            says(read, |_, out| {
                Rmsg::Version { msize: 8192, version: "9P2000" }.encode(NOTAG, out);
            }),
            "which nothing waits for",
        ),
        (
            "an Rflush for nothing",
            Ask::Read,
            says(read, |tag, out| {
                Rmsg::Flush.encode(tag, out);
            }),
            "reply of type 109",
        ),
        (
            "two answers to one request",
            Ask::Write,
            to(write, |_, answer| Act::Send([&answer[..], &answer].concat())),
            RIGHT,
        ),
        (
            "an entry that is none",
            Ask::Open,
            says(mtype::TSTAT, |tag, out| {
                Rmsg::Stat { stat: b"not an entry" }.encode(tag, out);
            }),
            fit,
        ),
    ]);
}

#[test]
fn frames_that_are_none() {
    let read = mtype::TREAD;
    let long = "is longer than the msize";
    tell_all(vec![
        (
            "a size of 6",
            Ask::Read,
            to(read, |_, _| Act::Send(vec![6, 0, 0, 0, 1, 1, 1])),
            "is shorter than its header",
        ),
        (
            "a size of 0 and zeros without end",
            Ask::Read,
            to(read, |_, _| Act::Flood(vec![0; 1 << 16])),
            "is shorter than its header",
        ),
        ("a size of 4 GiB", Ask::Read, to(read, |_, _| Act::Flood(vec![0xff; 1 << 16])), long),
        (
            "a size of one byte more than the msize",
            Ask::Read,
            to(read, |tag, _| Act::Send(frame(mtype::RREAD, tag, &vec![0; 8216 - 6]))),
            long,
        ),
        (
            "a count that its frame does not have",
            Ask::Read,
            to(read, |tag, _| Act::Send(frame(mtype::RREAD, tag, &[5, 0, 0, 0, 1, 2, 3, 4]))),
            "",
        ),
        (
            "bytes after the data",
            Ask::Read,
            to(read, |tag, _| Act::Send(frame(mtype::RREAD, tag, &[2, 0, 0, 0, 1, 2, 3]))),
            "",
        ),
        (
            "an error that is no text",
            Ask::Read,
            to(read, |tag, _| Act::Send(frame(mtype::RERROR, tag, &[2, 0, 0xff, 0xfe]))),
            "",
        ),
        (
            "a flood of answers to one request",
            Ask::Read,
            to(read, |_, answer| Act::Flood(answer)),
            RIGHT,
        ),
    ]);
}

#[test]
fn sessions_that_do_not_begin() {
    let (version, attach) = (mtype::TVERSION, mtype::TATTACH);
    let with = |msize: u32, name: &'static str| -> Lie {
        says(version, move |tag, out| Rmsg::Version { msize, version: name }.encode(tag, out))
    };
    let refused = |tag: u16, out: &mut Vec<u8>| {
        Rmsg::Error { ename: "we are closed" }.encode(tag, out);
    };
    tell_all(vec![
        ("a larger msize than was offered", Ask::Open, with(1 << 31, "9P2000"), "does not fit"),
        ("an msize that carries nothing", Ask::Open, with(63, "9P2000"), "does not fit"),
        ("no names fit the msize", Ask::Open, with(64, "9P2000"), ""),
        ("another protocol", Ask::Open, with(8192, "9P2000.L"), "does not speak 9P2000"),
        ("no protocol at all", Ask::Open, with(8192, "unknown"), "does not speak 9P2000"),
        ("an error for a version", Ask::Open, says(version, refused), "we are closed"),
        ("an error for an attach", Ask::Open, says(attach, refused), "we are closed"),
        (
            "a version for an attach",
            Ask::Open,
            says(attach, |tag, out| {
                Rmsg::Version { msize: 100, version: "9P2000" }.encode(tag, out);
            }),
            "reply of type 101",
        ),
        (
            "an attach for a version",
            Ask::Open,
            says(version, |_, out| {
                Rmsg::Attach { qid: qid(0) }.encode(NOTAG, out);
            }),
            "reply of type 105",
        ),
        (
            "another server, which speaks first",
            Ask::Open,
            to(version, |_, _| Act::Send(b"SSH-2.0-OpenSSH_9.9\r\n".to_vec())),
            "is longer than the msize",
        ),
    ]);
}

#[test]
fn silence() {
    let timed_out = "timed out";
    let silent = |kind: u8| to(kind, |_, _| Act::Send(Vec::new()));
    // Not even a Tflush is answered.
    let dead = |kind: u8| -> Lie {
        let mut dead = false;
        Box::new(move |request, _, answer| {
            dead |= request.mtype() == kind;
            Act::Send(if dead { Vec::new() } else { answer })
        })
    };
    let trickle = to(mtype::TREAD, |tag, _| Act::Trickle(frame(mtype::RREAD, tag, &vec![0; 8000])));
    tell_all(vec![
        ("no version", Ask::Open, silent(mtype::TVERSION), timed_out),
        ("no attach", Ask::Open, silent(mtype::TATTACH), timed_out),
        ("no walk", Ask::Open, dead(mtype::TWALK), timed_out),
        ("no stat", Ask::Open, dead(mtype::TSTAT), timed_out),
        ("no open", Ask::Open, dead(mtype::TOPEN), timed_out),
        ("no data", Ask::Read, dead(mtype::TREAD), timed_out),
        ("no answer to a write", Ask::Write, dead(mtype::TWRITE), timed_out),
        ("a byte now and then", Ask::Read, trickle, timed_out),
    ]);
}

/// It hangs up in the middle of everything: of what is under way nothing is left behind.
#[test]
fn a_server_that_hangs_up_at_any_moment() {
    let gone = "i/o on hungup channel";
    for kind in [
        mtype::TVERSION,
        mtype::TATTACH,
        mtype::TWALK,
        mtype::TSTAT,
        mtype::TOPEN,
        mtype::TREAD,
        mtype::TWRITE,
    ] {
        for part in [0, 5, 9] {
            let mut scene = Scene::new();
            let mut client = scene.client();
            client.ctl("part here /here 0 500").expect("it is made");
            let mut cut_short = None;
            scene.liar.lie(move |request, _, mut answer| {
                if cut_short.take().is_some() {
                    return Act::HangUp;
                }
                if request.mtype() != kind {
                    return Act::Send(answer);
                }
                answer.truncate(part);
                if part == 0 {
                    return Act::HangUp;
                }
                cut_short = Some(());
                Act::Send(answer)
            });
            let liar = &scene.liar;
            thread::scope(|scope| {
                // After a part of an answer nothing more comes, until this.
                let cutting = (part > 0).then(|| {
                    scope.spawn(|| {
                        thread::sleep(std::time::Duration::from_millis(100));
                        liar.cut();
                    })
                });
                let made = client.ctl("cat f /n/x/f");
                let told = match kind {
                    mtype::TREAD => made.and_then(|()| client.read(&["f"], 0, 10).map(drop)),
                    mtype::TWRITE => made.and_then(|()| client.write(&["f"], 0, b"x").map(drop)),
                    _ => made,
                };
                match told {
                    Err(Failure::Error(text)) => {
                        assert!(text.contains(gone), "type {kind}, {part} bytes: {text:?}");
                    }
                    other => panic!("type {kind}, {part} bytes: {other:?}"),
                }
                drop(cutting);
            });
            scene.check_unharmed();
        }
    }
}

/// What is within the protocol, and strange.
#[test]
fn strange_files() {
    let stat = |change: fn(&mut Stat<'_>)| -> Lie {
        says(mtype::TSTAT, move |tag, out| {
            let mut entry = Stat { kind: 0, dev: 0, mode: 0o644, name: "f", ..Stat::DONT_TOUCH };
            (entry.qid, entry.length) = (qid(7), LENGTH as u64);
            change(&mut entry);
            let mut stat = Vec::new();
            entry.encode(&mut stat);
            Rmsg::Stat { stat: &stat }.encode(tag, out);
        })
    };
    let open = |lie: Lie| {
        let scene = Scene::new();
        let mut client = scene.client();
        client.ctl("part here /here 0 500").expect("it is made");
        let mut lie = lie;
        scene.liar.lie(move |request, tag, answer| lie(request, tag, answer));
        let made = client.ctl("cat f /n/x/f");
        (scene, client, made)
    };
    let refused = |lie: Lie, wanted: &str| {
        let (mut scene, _, made) = open(lie);
        match made {
            Err(Failure::Error(text)) => assert!(text.contains(wanted), "{text:?}"),
            other => panic!("{wanted}: {other:?}"),
        }
        scene.check_unharmed();
    };
    refused(stat(|entry| entry.qid.kind = styx::qt::DIR), "permission denied");
    refused(stat(|entry| entry.qid.kind = styx::qt::APPEND), "permission denied");
    refused(
        stat(|entry| (entry.kind, entry.dev) = (b'k'.into(), u32::MAX)),
        "too many files or devices inside it",
    );
    // A file of nearly 2^64 bytes: what there is can be read, the rest is short.
    let (mut scene, mut client, made) = open(stat(|entry| entry.length = u64::MAX));
    assert_eq!(made, Ok(()));
    assert_eq!(client.read(&["f"], 0, 5000), Ok(pattern(3, 5000)));
    for offset in [LENGTH as u64 - 1, 1 << 40, i64::MAX as u64] {
        let short = Err(Failure::Error("#k: write failed".to_owned()));
        assert_eq!(client.read(&["f"], offset, 5000), short);
        assert_eq!(client.write(&["f"], offset, b"xyz"), short.map(|_: Vec<u8>| 0));
    }
    assert_eq!(client.ctl("cat g /n/x/f /n/x/f /here"), Ok(()));
    assert_eq!(client.ctl("inter h /n/x/f /n/x/f /here"), Ok(()));
    assert_eq!(client.ctl("part i /n/x/f 9223372036854775807 9223372036854775807"), Ok(()));
    assert_eq!(client.read(&["i"], i64::MAX as u64 - 1, 5000), Ok(vec![]));
    scene.check_unharmed();
    // The smallest and the largest iounit.
    for unit in [1, u32::MAX] {
        let (mut scene, mut client, made) = open(says(mtype::TOPEN, move |tag, out| {
            Rmsg::Open { qid: qid(7), iounit: unit }.encode(tag, out);
        }));
        assert_eq!(made, Ok(()));
        assert_eq!(client.read(&["f"], 100, 5000), Ok(pattern(3, 5100)[100..].to_vec()));
        assert_eq!(client.write(&["f"], 0, &pattern(3, 5000)), Ok(5000));
        scene.check_unharmed();
    }
}

/// One answer in a few is spoilt at random, anywhere but in the data: what is read is right, or an
/// error.
#[test]
fn answers_spoilt_at_random() {
    const SEEDS: u64 = 16;
    let seeds = std::sync::Mutex::new(0..SEEDS);
    let next = || seeds.lock().expect("no other thread has failed").next();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while let Some(seed) = next() {
                    spoil(seed);
                }
            });
        }
    });
}

fn spoil(seed: u64) {
    let mut scene = Scene::new();
    let mut client = scene.client();
    client.ctl("part here /here 0 500").expect("it is made");
    let mut random = Random::new(seed);
    let often = 2 + random.below(6);
    scene.liar.lie(move |request, _, answer| match random.one_in(often) {
        true => spoilt(request, answer, &mut random),
        false => Act::Send(answer),
    });
    let mut choose = Random::new(!seed);
    let mut length = 0;
    for step in 0..5 {
        if length == 0 {
            if client.ctl("cat f /n/x/f") == Ok(()) {
                length = client.stat(&["f"]).expect("it is there").length;
            }
            continue;
        }
        let offset = choose.below(LENGTH);
        let count = choose.below(6000);
        let Ok(read) = client.read(&["f"], offset as u64, count as u32) else { continue };
        // The length may have been a lie.
        let inside = (length.saturating_sub(offset as u64) as usize).min(count);
        let right = &pattern(3, LENGTH)[offset..(offset + inside).min(LENGTH)];
        assert_eq!(read, right, "seed {seed}, step {step}, {offset}+{count} of {length}");
    }
    scene.check_unharmed();
}

fn spoilt(request: &Tmsg<'_>, mut answer: Vec<u8>, random: &mut Random) -> Act {
    // The data of a read are not told from others.
    let known = if matches!(request, Tmsg::Read { .. }) { 11 } else { answer.len() };
    let known = known.min(answer.len());
    let some = 1 + random.below(40);
    match random.below(8) {
        0 | 1 => answer[random.below(known)] ^= 1 << random.below(8),
        2 => answer[random.below(known)] = random.next() as u8,
        3 => answer.truncate(random.below(answer.len())),
        4 => answer = [&answer[..], &answer].concat(),
        5 => answer.extend(random.bytes(some)),
        6 => answer = random.bytes(some),
        _ => return Act::HangUp,
    }
    Act::Send(answer)
}
