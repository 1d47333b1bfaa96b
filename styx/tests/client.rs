//! The client half against a server that is not to be trusted: a reply reaches its request if it
//! fits it, and anything else ends the connection.

mod common;

use common::parts::{Parts, RKINDS, TKINDS, rframe, tframe};
use styx::client::{Client, Event, MAX_OUTSTANDING, ProtocolError, walk_parts, whole_blocks};
use styx::decode::DecodeError;
use styx::{MAXWELEM, NOTAG, Qid, Rmsg, Tmsg, UpTo16, VERSION, mtype};

type Peer = Client<&'static str>;

/// A client that offered 8216 and was told 1000.
fn agreed() -> Peer {
    let mut client = Client::new(8216);
    client.version("version", &mut Vec::new());
    let reply = rframe(NOTAG, &Rmsg::Version { msize: 1000, version: VERSION });
    let event = client.receive(&reply).expect("a fitting reply");
    let rversion = Rmsg::Version { msize: 1000, version: VERSION };
    assert_eq!(event, Some(Event::Reply("version", Ok(rversion))));
    assert_eq!(client.msize(), 1000);
    client
}

fn send(client: &mut Peer, message: &Tmsg<'_>) -> u16 {
    let mut out = Vec::new();
    let tag = client.send(message, "request", &mut out).expect("there is a tag");
    assert_eq!(out, tframe(tag, message));
    tag
}

fn flush(client: &mut Peer, oldtag: u16) -> u16 {
    let mut out = Vec::new();
    assert!(client.flush(oldtag, &mut out));
    let (tag, message) = Tmsg::decode(&out).expect("one Tflush");
    assert_eq!(message, Tmsg::Flush { oldtag });
    tag
}

/// What comes of a reply, in words: which context it reached, or why the connection ends.
fn hear(client: &mut Peer, tag: u16, reply: &Rmsg<'_>) -> Result<String, ProtocolError> {
    Ok(match client.receive(&rframe(tag, reply))? {
        Some(Event::Reply(context, Ok(got))) => {
            assert_eq!(got, *reply);
            format!("{context} answered")
        }
        Some(Event::Reply(context, Err(ename))) => format!("{context} failed: {ename}"),
        Some(Event::Flushed(context)) => format!("{context} flushed"),
        None => "nothing".into(),
    })
}

/// Parts of messages that fit each other: a read of what an Rread holds, and so on.
fn parts() -> Parts {
    Parts {
        numbers: [3, 3, 3],
        long: 0,
        short: 0,
        byte: 0,
        names: vec!["9P2000".into(), "b".into()],
        qids: vec![Qid::default(); 2],
        data: vec![0; 3],
    }
}

#[test]
fn a_request_has_one_type_of_reply_and_rerror() {
    let parts = parts();
    let is_flush = |kind: usize| parts.tmsg(kind).mtype() == mtype::TFLUSH;
    for t in (1..TKINDS).filter(|kind| !is_flush(*kind)) {
        for r in 0..RKINDS {
            let (message, reply) = (parts.tmsg(t), parts.rmsg(r));
            let mut client = agreed();
            let tag = send(&mut client, &message);
            let heard = hear(&mut client, tag, &reply);
            let (asked, got) = (message.mtype(), reply.mtype());
            if got == mtype::RERROR {
                assert_eq!(heard.as_deref(), Ok("request failed: 9P2000"));
            } else if got == asked + 1 {
                assert_eq!(heard.as_deref(), Ok("request answered"));
            } else {
                assert_eq!(heard, Err(ProtocolError::Type { asked, got }));
                assert_eq!(client.drain().collect::<Vec<_>>(), ["request"]);
            }
            assert_eq!(client.outstanding(), 0);
        }
    }
}

#[test]
fn a_reply_holds_no_more_than_was_asked_for() {
    let walk = |n: usize| {
        let names = UpTo16::from_slice(&["n"; MAXWELEM][..n]).unwrap();
        Tmsg::Walk { fid: 0, newfid: 1, names }
    };
    let qids = |n: usize| {
        let qids = UpTo16::from_slice(&[Qid::default(); MAXWELEM][..n]).unwrap();
        Rmsg::Walk { qids }
    };
    let read = |count| Tmsg::Read { fid: 0, offset: 0, count };
    let write = Tmsg::Write { fid: 0, offset: 0, data: b"abc" };
    let data = [0; 6];
    let rows = [
        (read(5), Rmsg::Read { data: &data[..0] }, true),
        (read(5), Rmsg::Read { data: &data[..5] }, true),
        (read(5), Rmsg::Read { data: &data[..6] }, false),
        (read(0), Rmsg::Read { data: &data[..0] }, true),
        (read(0), Rmsg::Read { data: &data[..1] }, false),
        (write, Rmsg::Write { count: 0 }, true),
        (write, Rmsg::Write { count: 3 }, true),
        (write, Rmsg::Write { count: 4 }, false),
        (write, Rmsg::Write { count: u32::MAX }, false),
        (walk(0), qids(0), true),
        (walk(0), qids(1), false),
        (walk(2), qids(0), false),
        (walk(2), qids(1), true),
        (walk(2), qids(2), true),
        (walk(2), qids(3), false),
        (walk(16), qids(16), true),
    ];
    for (message, reply, fits) in rows {
        let mut client = agreed();
        let tag = send(&mut client, &message);
        let heard = hear(&mut client, tag, &reply);
        let want = if fits { Ok("request answered".into()) } else { Err(excess(&reply)) };
        assert_eq!(heard, want, "{reply:?} to {message:?}");
    }
}

fn excess(reply: &Rmsg<'_>) -> ProtocolError {
    ProtocolError::Excess(reply.mtype())
}

#[test]
fn a_version_is_ours_and_no_larger_than_offered() {
    let excess = Err(ProtocolError::Excess(mtype::RVERSION));
    let rows = [
        (8216, "9P2000", Ok(8216)),
        (64, "9P2000", Ok(64)),
        (63, "9P2000", excess.clone()),
        (0, "9P2000", excess.clone()),
        (8217, "9P2000", excess.clone()),
        (u32::MAX, "9P2000", excess),
        (8216, "unknown", Err(ProtocolError::Version)),
        (8216, "9P2000.u", Err(ProtocolError::Version)),
        (8216, "", Err(ProtocolError::Version)),
    ];
    for (msize, version, want) in rows {
        let mut client: Peer = Client::new(8216);
        client.version("version", &mut Vec::new());
        let heard = hear(&mut client, NOTAG, &Rmsg::Version { msize, version });
        assert_eq!(heard.map(|_| client.msize()), want, "{version} {msize}");
        let left: Vec<_> = client.drain().collect();
        assert_eq!(left, if want.is_ok() { &[][..] } else { &["version"] });
    }
}

/// The parts of a long transfer are as long as a message allows, but for what is left of a block or a sector.
#[test]
fn parts_are_whole_sectors_where_one_fits() {
    let peer = |msize| Peer::new(msize);
    for (msize, iounit, unit, part) in [
        (8216, 0, 8192, 8192),
        (8192, 0, 8168, 7680),
        (8192, 4000, 4000, 3584),
        (8192, u32::MAX, 8168, 7680),
        (65536, 0, 65512, 61440),
        (32768 + 23, 0, 32767, 32256),
        (32768 + 24, 0, 32768, 32768),
        (535, 0, 511, 511),
        (536, 0, 512, 512),
        (256, 0, 232, 232),
        (256, 1, 1, 1),
    ] {
        let said = peer(msize).unit(iounit);
        assert_eq!((said, whole_blocks(said)), (unit, part), "msize {msize}, iounit {iounit}");
    }
}

#[test]
fn a_version_is_answered_by_its_type_and_with_its_tag() {
    let version = Rmsg::Version { msize: 8216, version: VERSION };
    let mut client: Peer = Client::new(8216);
    assert_eq!(hear(&mut client, NOTAG, &version), Err(ProtocolError::Tag(NOTAG)), "not asked");
    client.version("version", &mut Vec::new());
    assert_eq!(hear(&mut client, 0, &version), Err(ProtocolError::Tag(0)));
    let wrong = ProtocolError::Type { asked: mtype::TVERSION, got: mtype::RFLUSH };
    assert_eq!(hear(&mut client, NOTAG, &Rmsg::Flush), Err(wrong));
    let error = Rmsg::Error { ename: "no" };
    assert_eq!(hear(&mut client, NOTAG, &error).as_deref(), Ok("version failed: no"));
    assert_eq!(hear(&mut client, NOTAG, &error), Err(ProtocolError::Tag(NOTAG)), "twice");
}

#[test]
fn a_tag_that_nothing_waits_for_ends_the_connection() {
    let mut client = agreed();
    assert_eq!(hear(&mut client, 0, &Rmsg::Clunk), Err(ProtocolError::Tag(0)));
    let tag = send(&mut client, &Tmsg::Clunk { fid: 0 });
    assert_eq!(hear(&mut client, tag + 1, &Rmsg::Clunk), Err(ProtocolError::Tag(tag + 1)));
    assert_eq!(hear(&mut client, NOTAG, &Rmsg::Clunk), Err(ProtocolError::Tag(NOTAG)));
    assert_eq!(hear(&mut client, tag, &Rmsg::Clunk).as_deref(), Ok("request answered"));
    assert_eq!(hear(&mut client, tag, &Rmsg::Clunk), Err(ProtocolError::Tag(tag)), "twice");
}

#[test]
fn what_is_no_reply_ends_the_connection() {
    let mut client = agreed();
    let tag = send(&mut client, &Tmsg::Clunk { fid: 0 });
    let message = tframe(tag, &Tmsg::Clunk { fid: 0 });
    let type_120 = ProtocolError::Message(DecodeError::Type(120));
    assert_eq!(client.receive(&message), Err(type_120));
    assert_eq!(client.receive(&[0; 3]), Err(ProtocolError::Message(DecodeError::Size)));
    assert_eq!(client.drain().collect::<Vec<_>>(), ["request"]);
}

#[test]
fn a_flushed_request_ends_with_its_rflush() {
    let mut client = agreed();
    let tag = send(&mut client, &Tmsg::Clunk { fid: 0 });
    let flush = flush(&mut client, tag);
    assert_eq!(client.outstanding(), 2);
    assert_eq!(hear(&mut client, flush, &Rmsg::Flush).as_deref(), Ok("request flushed"));
    assert_eq!(client.outstanding(), 0);
    assert_eq!(hear(&mut client, tag, &Rmsg::Clunk), Err(ProtocolError::Tag(tag)), "too late");
    assert_eq!(hear(&mut client, flush, &Rmsg::Flush), Err(ProtocolError::Tag(flush)), "twice");
}

#[test]
fn a_reply_before_the_rflush_counts() {
    let mut client = agreed();
    let tag = send(&mut client, &Tmsg::Clunk { fid: 0 });
    let flush = flush(&mut client, tag);
    assert_eq!(hear(&mut client, tag, &Rmsg::Clunk).as_deref(), Ok("request answered"));
    assert_eq!(hear(&mut client, tag, &Rmsg::Clunk), Err(ProtocolError::Tag(tag)), "twice");
    // flush(5): the old tag is not used again before the Rflush.
    for _ in 0..100 {
        assert_ne!(send(&mut client, &Tmsg::Clunk { fid: 0 }), tag);
    }
    assert_eq!(hear(&mut client, flush, &Rmsg::Flush).as_deref(), Ok("nothing"));
    assert_eq!(client.outstanding(), 100);
    let free =
        [send(&mut client, &Tmsg::Clunk { fid: 0 }), send(&mut client, &Tmsg::Clunk { fid: 0 })];
    assert!(free.contains(&tag), "and then it is");
}

#[test]
fn an_error_before_the_rflush_counts() {
    let mut client = agreed();
    let tag = send(&mut client, &Tmsg::Clunk { fid: 0 });
    let flush = flush(&mut client, tag);
    let error = Rmsg::Error { ename: "interrupted" };
    let heard = hear(&mut client, tag, &error);
    assert_eq!(heard.as_deref(), Ok("request failed: interrupted"));
    assert_eq!(hear(&mut client, flush, &Rmsg::Flush).as_deref(), Ok("nothing"));
}

#[test]
fn a_tflush_is_answered_by_rflush_alone() {
    for reply in (0..RKINDS).map(|kind| (kind, parts())) {
        let reply = reply.1.rmsg(reply.0);
        let mut client = agreed();
        let tag = send(&mut client, &Tmsg::Clunk { fid: 0 });
        let flush = flush(&mut client, tag);
        let heard = hear(&mut client, flush, &reply);
        if reply == Rmsg::Flush {
            assert_eq!(heard.as_deref(), Ok("request flushed"));
        } else {
            let (asked, got) = (mtype::TFLUSH, reply.mtype());
            assert_eq!(heard, Err(ProtocolError::Type { asked, got }));
        }
    }
}

#[test]
fn what_is_over_or_being_flushed_is_not_flushed() {
    let mut client = agreed();
    let mut out = Vec::new();
    assert!(!client.flush(0, &mut out), "never sent");
    assert!(!client.flush(NOTAG, &mut out));
    let tag = send(&mut client, &Tmsg::Clunk { fid: 0 });
    let tflush = flush(&mut client, tag);
    assert!(!client.flush(tag, &mut out), "twice");
    assert!(!client.flush(tflush, &mut out), "a flush");
    hear(&mut client, tag, &Rmsg::Clunk).unwrap();
    assert!(!client.flush(tag, &mut out), "answered");
    hear(&mut client, tflush, &Rmsg::Flush).unwrap();
    assert!(!client.flush(tag, &mut out), "over");
    assert_eq!(out, []);
}

#[test]
fn every_tag_but_notag_can_be_under_way() {
    let mut client = agreed();
    let mut out = Vec::new();
    let message = Tmsg::Clunk { fid: 0 };
    let mut tags: Vec<u16> = (0..MAX_OUTSTANDING)
        .map(|_| client.send(&message, "request", &mut out).expect("a tag is left"))
        .collect();
    tags.sort_unstable();
    assert!(tags.windows(2).all(|pair| pair[0] < pair[1]), "each once");
    assert_eq!(tags.last(), Some(&(NOTAG - 1)));
    out.clear();
    assert_eq!(client.send(&message, "one more", &mut out), Err("one more"));
    assert!(!client.flush(7, &mut out), "nor is there a tag for a flush");
    assert_eq!(out, []);
    hear(&mut client, 9, &Rmsg::Clunk).unwrap();
    assert_eq!(flush(&mut client, 7), 9);
    assert_eq!(client.drain().count(), MAX_OUTSTANDING - 1);
    assert_eq!(client.outstanding(), 0);
}

#[test]
fn what_is_longer_than_agreed_is_not_sent() {
    let mut client = agreed();
    let data = [0; 1000];
    let longest = Tmsg::Write { fid: 0, offset: 0, data: &data[..1000 - 23] };
    let mut out = Vec::new();
    assert!(client.send(&longest, "request", &mut out).is_ok());
    assert_eq!(out.len(), 1000);
    let longer = Tmsg::Write { fid: 0, offset: 0, data: &data[..1000 - 22] };
    let name = "n".repeat(65_536);
    let names = UpTo16::from_slice(&[&*name]).unwrap();
    for message in [longer, Tmsg::Walk { fid: 0, newfid: 1, names }] {
        assert_eq!(client.send(&message, "too long", &mut out), Err("too long"));
    }
    assert_eq!((out.len(), client.outstanding()), (1000, 1));
}

#[test]
fn contexts_can_be_changed_while_their_requests_are_under_way() {
    let mut client: Peer = Client::new(8216);
    client.version("version", &mut Vec::new());
    *client.context_mut(NOTAG).unwrap() = "another";
    let reply = Rmsg::Version { msize: 8216, version: VERSION };
    assert_eq!(hear(&mut client, NOTAG, &reply).as_deref(), Ok("another answered"));
    assert_eq!(client.context_mut(NOTAG), None);
    let tag = send(&mut client, &Tmsg::Clunk { fid: 0 });
    *client.context_mut(tag).unwrap() = "another";
    assert_eq!(client.context_mut(tag + 1), None);
    let tflush = flush(&mut client, tag);
    assert_eq!(client.context_mut(tflush), None);
    assert_eq!(hear(&mut client, tag, &Rmsg::Clunk).as_deref(), Ok("another answered"));
    assert_eq!(client.context_mut(tag), None, "answered");
}

#[test]
fn a_path_is_walked_16_names_at_a_time() {
    let names = ["n"; 40];
    let lengths = |n: usize| walk_parts(&names[..n]).map(<[_]>::len).collect::<Vec<_>>();
    assert_eq!(lengths(0), [0], "a walk of no names makes a new fid");
    assert_eq!(lengths(1), [1]);
    assert_eq!(lengths(16), [16]);
    assert_eq!(lengths(17), [16, 1]);
    assert_eq!(lengths(40), [16, 16, 8]);
}
