//! The fuzz targets of `fuzz/`, on the stable compiler and for a bounded time: each is given thousands
//! of inputs, the same in every run, of random bytes and of sound ones that random bytes changed.
//!
//! `DSFS_CORPUS=DIR cargo test --test fuzz_seeds` writes some inputs of each target to `DIR/TARGET`,
//! for `cargo +nightly fuzz run TARGET DIR/TARGET` to begin with.

#[path = "../styx/tests/common/corpus.rs"]
mod corpus;
#[path = "../fuzz/src/lib.rs"]
mod targets;

use dsfs::integrity::log::Record;
use dsfs::integrity::{self, Regions};
use proptest::collection::vec;
use proptest::prelude::*;

use corpus::{bytes, changed, run};

/// Words that mean something in a control message, a configuration or a name space file.
fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        "mirror|cat|inter|part|crypt|del|clear|disk|fsdev:|bind|mount|new|unmount|cd|include|import",
        "-a|-b|-c|-A|-i|-ac|#U|#k|#k/ds|/|/a|/n/x|ds/m0|c0|d/new|\\$x|'a b'|''|'|tcp!h!styx",
        "0|512|18446744073709551615|-1|0x10|010|1e3",
        "[0-9a-f]{64}",
        "[a-z']{1,8}",
    ]
}

fn line() -> impl Strategy<Value = String> {
    vec(word(), 0..7).prop_map(|words| words.join(" "))
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    vec(line(), 0..8).prop_map(|lines| lines.join("\n").into_bytes())
}

#[test]
fn ctl() {
    let messages = line().prop_map(String::into_bytes);
    run("ctl", targets::ctl, prop_oneof![bytes(), changed(messages)]);
}

#[test]
fn saved() {
    run("saved", targets::saved, prop_oneof![bytes(), changed(text())]);
}

#[test]
fn keys() {
    let lines = vec("crypt [a-z/]{1,9} /[a-z]{1,4} [0-9a-f]{60,68}", 0..4);
    let texts = lines.prop_map(|lines| lines.join("\n").into_bytes());
    run("keys", targets::keys, prop_oneof![bytes(), changed(texts)]);
}

#[test]
fn namespace() {
    run("namespace", targets::namespace, prop_oneof![bytes(), changed(text())]);
}

#[test]
fn config() {
    let encode = |(dialect, text): (String, Vec<u8>)| integrity::config::encode(&dialect, &text);
    let files = || ("devds|plan9", text()).prop_map(encode);
    run("config", targets::config, prop_oneof![bytes(), files(), changed(files())]);
}

#[test]
fn log() {
    let logs = (1..1u64 << 34, 1..4usize, any::<[u8; 32]>(), vec(0..64usize, 0..4));
    let files = logs.prop_map(|(length, legs, identity, marks)| {
        let mut record = Record::new(length, legs);
        let count = record.scale.count();
        let marks = marks.into_iter().map(|mark| mark % count);
        marks.for_each(|mark| mark_one(&mut record.marked, mark));
        record.file(&identity)
    });
    let records = files.clone().prop_map(record_of);
    let records = prop_oneof![records.clone(), changed(records)];
    run("log", targets::log, prop_oneof![bytes(), files.clone(), changed(files), records]);
}

/// The record in a new log, without its blocks.
fn record_of(file: Vec<u8>) -> Vec<u8> {
    let half = &file[..file.len() / 2];
    half.chunks(integrity::log::BLOCK).map(|block| &block[20..]).collect::<Vec<_>>().concat()
}

fn mark_one(regions: &mut Regions, mark: usize) {
    regions.add(mark..mark + 1);
}

#[test]
fn address() {
    let addresses = "(tcp|unix|net|stdio|systemd|)!?(\\*|127\\.0\\.0\\.1|::1|host|/path)?!?(styx|9fs|[0-9]{1,6})?(/[0-9]{1,3})?";
    let texts = addresses.prop_map(String::into_bytes);
    run("address", targets::address, prop_oneof![bytes(), texts.clone(), changed(texts)]);
}
