//! The fuzz targets, on the stable compiler and for a bounded time: each is given thousands of
//! inputs, the same in every run, of random bytes and of messages that random bytes changed.
//!
//! `DSFS_CORPUS=DIR cargo test -p styx --test fuzz_seeds` writes some inputs of each target to
//! `DIR/TARGET`, for `cargo +nightly fuzz run TARGET DIR/TARGET` to begin with.

#[path = "common/corpus.rs"]
mod corpus;
#[path = "common/parts.rs"]
mod parts;
#[path = "../fuzz/src/lib.rs"]
mod targets;

use corpus::{bytes, changed, run};
use parts::{RKINDS, TKINDS, parts, resize, rframe, tframe};
use proptest::collection::vec;
use proptest::prelude::*;

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
    run("t_message", targets::t_message, prop_oneof![bytes(), resized(changed(frames))]);
}

#[test]
fn r_message() {
    let frames = (parts(), 0..RKINDS).prop_map(|(parts, kind)| rframe(1, &parts.rmsg(kind)));
    run("r_message", targets::r_message, prop_oneof![bytes(), resized(changed(frames))]);
}

#[test]
fn entries() {
    let valid = vec(parts(), 0..4).prop_map(|all| {
        let mut bytes = Vec::new();
        all.iter().for_each(|parts| parts.stat().encode(&mut bytes));
        bytes
    });
    run("entries", targets::entries, prop_oneof![bytes(), changed(valid)]);
}

#[test]
fn frames() {
    let valid = vec((parts(), 0..TKINDS), 0..4).prop_map(|all| {
        let frames = all.iter().map(|(parts, kind)| tframe(1, &parts.tmsg(*kind)));
        std::iter::once(vec![0, 1]).chain(frames).collect::<Vec<_>>().concat()
    });
    run("frames", targets::frames, prop_oneof![bytes(), changed(valid)]);
}

#[test]
fn words() {
    let lines = "[ab' \\n\\té]{0,60}".prop_map(String::into_bytes);
    run("words", targets::words, prop_oneof![bytes(), changed(lines)]);
}

#[test]
fn session() {
    run("session", targets::session, bytes());
}

#[test]
fn client() {
    run("client", targets::client, bytes());
}
