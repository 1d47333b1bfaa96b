//! docs/security.md against the sources: each test that it names exists.

#[path = "support/sources.rs"]
mod sources;

use std::collections::BTreeSet;

const DOCUMENT: &str = include_str!("../docs/security.md");

/// The names of all tests in the sources.
fn tests() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    sources::for_each(&["src", "tests", "styx/src", "styx/tests"], |text| {
        let after = text.split("#[test]").skip(1);
        found.extend(after.filter_map(|rest| {
            let (_, rest) = rest.split_once("fn ")?;
            Some(rest.split_once('(')?.0.to_owned())
        }));
        // proptest has its own form.
        for block in text.split("proptest! {").skip(1) {
            let names = block.split("fn ").skip(1);
            found.extend(names.filter_map(|rest| Some(rest.split_once('(')?.0.to_owned())));
        }
    });
    found
}

/// The cells of the table's rows, without its header.
fn rows() -> Vec<Vec<&'static str>> {
    let table = DOCUMENT.split("\n\n").find(|part| part.starts_with("| Weakness |"));
    let lines = table.expect("there is a table of weaknesses").lines();
    let cells = |line: &'static str| line.trim_matches('|').split('|').map(str::trim).collect();
    lines.skip(2).map(cells).collect()
}

#[test]
fn every_weakness_is_held_by_tests_that_exist() {
    let tests = tests();
    let rows = rows();
    assert!(rows.len() > 20, "{} rows: the table was not found", rows.len());
    let mut missing = Vec::new();
    for row in &rows {
        let [weakness, _, held, named] = row[..] else { panic!("{row:?}") };
        assert!(!weakness.is_empty() && !held.is_empty(), "{row:?}");
        let names: Vec<&str> = named.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "{weakness}: no test");
        missing.extend(names.into_iter().filter(|name| !tests.contains(*name)));
    }
    assert!(missing.is_empty(), "there are no such tests: {missing:#?}");
}
