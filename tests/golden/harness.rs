//! The harness checked against itself: a replay that can't fail proves nothing.

use std::env;

use serde_json::{Value, json};

use crate::compare::{clock, compare};
use crate::row::{self, Case, FILES, PARTS};
use crate::support::client::{Client, Failure, MSIZE};
use crate::support::fault_server::FaultServer;
use crate::support::fault_tree::{Action, DENIED, Effect, MISSING};
use crate::support::text::{escape, pattern, sha1_hex, unescape};
use crate::world::Stage;
use crate::{LOCAL, ONE_CASE, REMOTE, family, play_case};

fn all_cases() -> impl Iterator<Item = Case> {
    FILES.into_iter().flat_map(|(file, _)| row::cases(file))
}

#[test]
fn every_case_has_a_test_and_every_test_a_case() {
    let modules = [
        ("devds", crate::devds::NAMES, LOCAL),
        ("devds", crate::devds_with_remote_chunks::NAMES, REMOTE),
        ("deviations", crate::deviations::NAMES, LOCAL),
        ("lab15", crate::lab15::NAMES, LOCAL),
        ("lab15", crate::lab15_over_a_unix_socket::NAMES, LOCAL),
        ("plan9fs", crate::plan9::NAMES, LOCAL),
        ("plan9fs", crate::plan9_with_remote_chunks::NAMES, REMOTE),
    ];
    let cases: Vec<Case> = all_cases().collect();
    let plays = |(file, name, stage): (&str, &str, Stage), case: &Case| {
        case.file == file && family(case).as_deref() == Some(name) && stage.takes(case)
    };
    let tests: Vec<_> = modules
        .iter()
        .flat_map(|(file, names, stage)| names.iter().map(|name| (*file, *name, *stage)))
        .collect();
    for test in &tests {
        assert!(cases.iter().any(|case| plays(*test, case)), "{test:?} plays nothing");
    }
    for case in &cases {
        let played = tests.iter().any(|test| plays(*test, case));
        assert!(played, "{}: {}: no test plays it", case.file, case.name);
    }
}

#[test]
fn the_case_that_is_asked_for_exists() {
    let Ok(name) = env::var(ONE_CASE) else { return };
    assert!(all_cases().any(|case| case.name == name), "{ONE_CASE}: no case is called {name}");
}

/// Sums that the recordings give of reads and of files that are nothing but a pattern.
#[test]
fn patterns_are_those_of_the_recordings() {
    assert_eq!(sha1_hex(&pattern(1, 276)), "ed8b37d5518847dc9ac31134d985234a037ddc13");
    assert_eq!(sha1_hex(&pattern(1, 100)), "80565ef9f64ffac50222914fc058fd92bbb1d8e4");
    let mut written = pattern(1, 8192);
    written[10..30].copy_from_slice(&pattern(9, 20));
    assert_eq!(sha1_hex(&written), "1dff43447f5ae281f24d369cc79498539dd076df");
}

#[test]
fn bytes_survive_their_text_form() {
    let all: Vec<u8> = (0..=255).collect();
    assert_eq!(unescape(&escape(&all)).as_ref(), Some(&all));
    for bad in ["\\", "\\x", "\\x1", "\\xgg", "\\q", "\u{e9}"] {
        assert_eq!(unescape(bad), None, "{bad}");
    }
}

/// What comes is compared as text, so what is wanted must be spelled as [`escape`] spells it.
#[test]
fn what_is_wanted_is_spelled_as_what_comes() {
    for case in all_cases() {
        for step in &case.steps {
            for wanted in step.wanted.values() {
                leaves(wanted, &mut |leaf| {
                    let Some(text) = leaf.as_str() else { return };
                    let bytes = unescape(text).unwrap_or_else(|| panic!("{}: {text}", case.name));
                    assert_eq!(escape(&bytes), text, "{}", case.name);
                });
            }
        }
    }
}

/// Every single value that any step wants makes a difference if it comes out otherwise.
#[test]
fn every_value_that_is_wanted_counts() {
    for case in all_cases() {
        for step in &case.steps {
            for (part, wanted) in &step.wanted {
                let came = plausible(wanted);
                assert_eq!(compare(part, wanted, &came), [], "{}", case.name);
                for index in 0..count_leaves(wanted) {
                    let other = with_leaf_spoilt(&came, index);
                    let found = compare(part, wanted, &other);
                    assert!(!found.is_empty(), "{}: {part}: {other}", case.name);
                }
            }
        }
    }
}

/// The same through the whole harness: for each part that steps compare, the first case that has
/// it is played with a wrong expectation, and that part, at that step, must be what fails.
#[test]
fn a_wrong_expectation_fails() {
    for part in PARTS {
        let has = |case: &&Case| case.steps.iter().any(|step| step.wanted.contains_key(part));
        let mut case = all_cases().find(|case| has(&case)).expect("each part is somewhere");
        let stage = if part == "inner_ops" { REMOTE } else { LOCAL };
        let step = case.steps.iter_mut().find(|step| step.wanted.contains_key(part)).expect("has");
        let name = format!("step {}:", step.name);
        let wanted = step.wanted.get_mut(part).expect("has");
        *wanted = match wanted {
            Value::Object(empty) if empty.is_empty() => json!({"/chunks/a0": {"size": 1}}),
            Value::Array(empty) if empty.is_empty() => json!([["read", "/chunks/a0", 0, 1]]),
            _ => with_leaf_spoilt(wanted, 0),
        };
        let failed = play_case(&case, stage)
            .unwrap_or_else(|| panic!("{}: {part} was wrong, and nothing failed", case.name));
        let here = |(step, mismatch): &(String, crate::Mismatch)| {
            step.starts_with(&name) && mismatch.path.starts_with(part)
        };
        assert!(failed.mismatches.iter().any(here), "{}: {part}", case.name);
    }
}

/// The server that fails, asked by the client: it serves, it logs, it fails as long as it is told.
#[test]
fn the_server_that_fails_fails_as_it_is_told() {
    let server = FaultServer::start();
    server.tree().create("a0", pattern(1, 100), 0o644);
    server.tree().create("closed", Vec::new(), 0o222);
    let mut client = Client::mount(&server.dial(), MSIZE, "").expect("it serves");
    assert_eq!(client.read(&["a0"], 90, 20), Ok(pattern(1, 100)[90..].to_vec()));
    assert_eq!(client.read(&["nope"], 0, 1), Err(Failure::Error(MISSING.to_owned())));
    assert_eq!(client.read(&["closed"], 0, 1), Err(Failure::Error(DENIED.to_owned())));
    let names: Vec<String> =
        client.ls(&[] as &[&str]).expect("it lists").into_iter().map(|entry| entry.name).collect();
    assert_eq!(names, ["a0", "closed"]);

    let broken = Err(Failure::Error("disk on fire".to_owned()));
    server.tree().fault("a0", Action::Read, Effect::Error("disk on fire".to_owned()), Some(1));
    server.tree().fault("a0", Action::Write, Effect::Short(3), None);
    assert_eq!(client.read(&["a0"], 0, 4), broken);
    assert_eq!(client.read(&["a0"], 0, 4), Ok(pattern(1, 4)));
    assert_eq!(client.write(&["a0"], 98, b"abcde"), Ok(3));
    assert_eq!(client.write(&["a0"], 0, b"abcde"), Ok(3));
    assert_eq!(client.stat(&["a0"]).map(|entry| entry.length), Ok(101));
    server.tree().fault("a0", Action::Open, Effect::Error("disk on fire".to_owned()), None);
    assert_eq!(client.read(&["a0"], 0, 4), broken);

    let log = server.tree().take_log();
    let asked: Vec<_> = log.iter().map(|asked| (asked.action, asked.offset, asked.count)).collect();
    let (read, write) = (Action::Read, Action::Write);
    assert_eq!(asked, [(read, 90, 20), (read, 0, 4), (read, 0, 4), (write, 98, 5), (write, 0, 5)]);
    assert!(log.iter().all(|asked| asked.name == "a0"));
    let id = server.tree().find("a0").expect("it is there");
    let held = server.tree().data(id).to_vec();
    let mut wanted = pattern(1, 98);
    wanted[..3].copy_from_slice(b"abc");
    wanted.extend(b"abc");
    assert_eq!(held, wanted);
}

fn leaves(value: &Value, each: &mut impl FnMut(&Value)) {
    match value {
        Value::Object(fields) => fields.values().for_each(|value| leaves(value, each)),
        Value::Array(items) => items.iter().for_each(|value| leaves(value, each)),
        leaf => each(leaf),
    }
}

fn count_leaves(value: &Value) -> usize {
    let mut count = 0;
    leaves(value, &mut |_| count += 1);
    count
}

fn change_leaves(value: &mut Value, each: &mut impl FnMut(&mut Value)) {
    match value {
        Value::Object(fields) => fields.values_mut().for_each(|value| change_leaves(value, each)),
        Value::Array(items) => items.iter_mut().for_each(|value| change_leaves(value, each)),
        leaf => each(leaf),
    }
}

/// What a right server sends: what is wanted, and the time where it is `"now"`.
fn plausible(wanted: &Value) -> Value {
    let mut came = wanted.clone();
    change_leaves(&mut came, &mut |leaf| match leaf.as_str() {
        Some("now") => *leaf = json!(clock()),
        Some("gone") => *leaf = json!("no such fid"),
        _ => {}
    });
    came
}

/// The value with its leaf `index` changed into another of its kind.
fn with_leaf_spoilt(value: &Value, index: usize) -> Value {
    let mut spoilt = value.clone();
    let mut at = 0;
    change_leaves(&mut spoilt, &mut |leaf| {
        if at == index {
            *leaf = match leaf {
                Value::String(text) => json!(format!("{text}x")),
                Value::Bool(yes) => json!(!*yes),
                // Times may be some minutes out.
                Value::Number(number) => json!(number.as_u64().map_or(0, |n| n ^ (1 << 20))),
                _ => json!("spoilt"),
            };
        }
        at += 1;
    });
    spoilt
}
