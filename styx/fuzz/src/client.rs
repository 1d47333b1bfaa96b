//! What a server does: any replies, to requests and flushes of a client that trusts none of them.

use std::collections::HashMap;

use styx::client::{Client, Event};
use styx::{NOTAG, Qid, Rmsg, Tmsg, UpTo16, VERSION, mtype};

use super::Choices;

/// A client gives each request back once, with a reply that fits it, whatever the server sends.
pub fn client(data: &[u8]) {
    let mut choices = Choices(data);
    let mut client = Client::new(8216);
    let mut out = Vec::new();
    let mut asked: HashMap<usize, (u8, usize)> = HashMap::new();
    client.version(usize::MAX, &mut out);
    asked.insert(usize::MAX, (mtype::TVERSION, 0));
    let mut serial = 0;
    while !choices.is_over() {
        match choices.one_of(4) {
            0 => {
                let message = choices.request();
                if client.send(&message, serial, &mut out).is_ok() {
                    asked.insert(serial, (message.mtype(), most(&message)));
                    serial += 1;
                }
            }
            1 => drop(client.flush(choices.one_of(4).into(), &mut out)),
            _ => {
                let frame = reply(&mut choices);
                match client.receive(&frame) {
                    Ok(Some(Event::Reply(context, reply))) => {
                        let (kind, most) = asked.remove(&context).expect("each comes back once");
                        if let Ok(reply) = reply {
                            assert_eq!(reply.mtype(), kind + 1);
                            assert!(holds(&reply) <= most);
                        }
                    }
                    Ok(Some(Event::Flushed(context))) => {
                        asked.remove(&context).expect("each comes back once");
                    }
                    Ok(None) => {}
                    Err(_) => break,
                }
            }
        }
        assert!((64..=8216).contains(&client.msize()));
    }
    let mut left: Vec<usize> = client.drain().collect();
    left.sort_unstable();
    let mut want: Vec<usize> = asked.into_keys().collect();
    want.sort_unstable();
    assert_eq!(left, want, "what was under way comes back when the connection is gone");
    assert_eq!(client.outstanding(), 0);
}

/// How many bytes, or qids, a reply to this may hold.
fn most(message: &Tmsg<'_>) -> usize {
    match message {
        Tmsg::Read { count, .. } => *count as usize,
        Tmsg::Write { data, .. } => data.len(),
        Tmsg::Walk { names, .. } => names.len(),
        _ => 0,
    }
}

fn holds(reply: &Rmsg<'_>) -> usize {
    match reply {
        Rmsg::Read { data } => data.len(),
        Rmsg::Write { count } => *count as usize,
        Rmsg::Walk { qids } => qids.len(),
        _ => 0,
    }
}

/// A reply with a tag that may be under way, or any bytes.
fn reply(choices: &mut Choices<'_>) -> Vec<u8> {
    let tag = match choices.one_of(8) {
        7 => NOTAG,
        small => u16::from(small) % 4,
    };
    let qid = Qid::default();
    let reply = match choices.one_of(16) {
        0 => Rmsg::Version { msize: choices.number() as u32, version: VERSION },
        1 => Rmsg::Auth { aqid: qid },
        2 => Rmsg::Attach { qid },
        3 => Rmsg::Error { ename: choices.name() },
        4 | 5 => Rmsg::Flush,
        6 => {
            let mut qids = UpTo16::new();
            for _ in 0..choices.one_of(17) {
                let _ = qids.push(qid);
            }
            Rmsg::Walk { qids }
        }
        7 => Rmsg::Open { qid, iounit: choices.number() as u32 },
        8 => Rmsg::Create { qid, iounit: 0 },
        9 => Rmsg::Read { data: choices.bytes() },
        10 => Rmsg::Write { count: choices.number() as u32 },
        11 => Rmsg::Clunk,
        12 => Rmsg::Remove,
        13 => Rmsg::Stat { stat: choices.bytes() },
        14 => Rmsg::Wstat,
        _ => return choices.bytes().to_vec(),
    };
    let mut frame = Vec::new();
    reply.encode(tag, &mut frame);
    frame
}
