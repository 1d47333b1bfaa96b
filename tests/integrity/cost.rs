//! What the write-intent log costs: run by hand, with `--release -- --ignored --nocapture cost`.

use std::time::{Duration, Instant};

use styx::{Rmsg, Tmsg, omode};

use crate::place::{LENGTH, Lab, ctl};
use crate::support::client::Client;
use crate::support::program::{Program, Serve};

/// Writes that are under way at the same time, as Linux's own client has them.
const DEPTH: u16 = 16;

const BLOCK: usize = 4096;

/// Random writes of 4 KiB in a second.
fn rate(program: &Program, time: Duration) -> f64 {
    let mut client = Client::mount(program.dial(), 65536, "").expect("a client");
    let fid = client.walk_to(&["m0"]).expect("the mirror");
    client.rpc(&Tmsg::Open { fid, mode: omode::OWRITE }).expect("open");
    let mut place = 1u64;
    let mut send = |client: &mut Client, tag: u16| {
        place = place.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let offset = (place >> 33) % (LENGTH / BLOCK) as u64 * BLOCK as u64;
        let mut frame = Vec::new();
        Tmsg::Write { fid, offset, data: &[7; BLOCK] }.encode(tag, &mut frame);
        client.send(&frame).expect("sent");
    };
    (0..DEPTH).for_each(|tag| send(&mut client, tag));
    let (began, mut done) = (Instant::now(), 0u64);
    while began.elapsed() < time {
        let reply = client.receive().expect("an answer");
        assert!(matches!(reply.msg(), Rmsg::Write { .. }), "{reply:?}");
        done += 1;
        send(&mut client, reply.tag());
    }
    done as f64 / began.elapsed().as_secs_f64()
}

#[test]
#[ignore = "a measurement"]
fn cost_of_marks_that_are_there_already() {
    let lab = Lab::new();
    let with = lab.start();
    let without = Serve::on("tcp!127.0.0.1!0").option("--root", lab.place.root()).start();
    ctl(&without, "mirror m0 c0 c1");
    let second = Duration::from_secs(1);
    // Everything is marked, and both are warm.
    rate(&with, second);
    rate(&without, second);
    let mut rates = (Vec::new(), Vec::new());
    for _ in 0..7 {
        rates.0.push(rate(&with, second));
        rates.1.push(rate(&without, second));
    }
    // What else the machine does only slows them down, so the best of each is compared.
    let best = |rates: &[f64]| rates.iter().copied().fold(0.0, f64::max);
    let (with, without) = (best(&rates.0), best(&rates.1));
    println!("{with:.0} writes/s with a log, {without:.0} without: {:.3}", with / without);
    println!("{rates:.0?}");
    assert!(with > 0.85 * without);
}
