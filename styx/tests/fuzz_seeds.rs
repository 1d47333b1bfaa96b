//! The fuzz targets, on the stable compiler and for a bounded time: each is given thousands of
//! inputs, the same in every run, of random bytes and of messages that random bytes changed.

#[path = "common/parts.rs"]
mod parts;
#[path = "../fuzz/src/lib.rs"]
mod targets;

use parts::{RKINDS, TKINDS, parts, resize, rframe, tframe};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, RngSeed, TestRunner};

/// Inputs for each target: enough to meet what it looks for, and done in a few seconds.
const CASES: u32 = 2000;

/// A target fails by panicking; what it was given is shown, and made as small as possible.
fn run(target: fn(&[u8]), inputs: impl Strategy<Value = Vec<u8>>) {
    let seed = RngSeed::Fixed(0x9_2000);
    let config =
        Config { cases: CASES, rng_seed: seed, failure_persistence: None, ..Config::default() };
    let tested = TestRunner::new(config).run(&inputs, |input| {
        target(&input);
        Ok(())
    });
    if let Err(error) = tested {
        panic!("{error}");
    }
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..600)
}

/// A few bytes of something valid replaced, taken out and put in.
fn changed(valid: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<Index>(), 0..4u8, any::<u8>());
    (valid, vec(change, 0..4)).prop_map(|(mut bytes, changes)| {
        for (place, what, byte) in changes {
            let at = place.index(bytes.len() + 1);
            match what {
                0 => bytes.insert(at, byte),
                1 => bytes.truncate(at),
                _ if at == bytes.len() => bytes.push(byte),
                2 => drop(bytes.remove(at)),
                _ => bytes[at] = byte,
            }
        }
        bytes
    })
}

/// The same with the size of the frame put right, or else hardly any would get past it.
fn resized(frames: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    frames.prop_map(|mut frame| {
        if frame.len() >= 4 {
            resize(&mut frame);
        }
        frame
    })
}

#[test]
fn t_message() {
    let frames = (parts(), 0..TKINDS).prop_map(|(parts, kind)| tframe(1, &parts.tmsg(kind)));
    run(targets::t_message, prop_oneof![bytes(), resized(changed(frames))]);
}

#[test]
fn r_message() {
    let frames = (parts(), 0..RKINDS).prop_map(|(parts, kind)| rframe(1, &parts.rmsg(kind)));
    run(targets::r_message, prop_oneof![bytes(), resized(changed(frames))]);
}

#[test]
fn entries() {
    let valid = vec(parts(), 0..4).prop_map(|all| {
        let mut bytes = Vec::new();
        all.iter().for_each(|parts| parts.stat().encode(&mut bytes));
        bytes
    });
    run(targets::entries, prop_oneof![bytes(), changed(valid)]);
}

#[test]
fn frames() {
    let valid = vec((parts(), 0..TKINDS), 0..4).prop_map(|all| {
        let frames = all.iter().map(|(parts, kind)| tframe(1, &parts.tmsg(*kind)));
        std::iter::once(vec![0, 1]).chain(frames).collect::<Vec<_>>().concat()
    });
    run(targets::frames, prop_oneof![bytes(), changed(valid)]);
}

#[test]
fn words() {
    let lines = "[ab' \\n\\té]{0,60}".prop_map(String::into_bytes);
    run(targets::words, prop_oneof![bytes(), changed(lines)]);
}

#[test]
fn session() {
    run(targets::session, bytes());
}

#[test]
fn client() {
    run(targets::client, bytes());
}
