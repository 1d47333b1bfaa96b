//! The table in docs/compatibility.md against what it is about: the deviations that the recordings and
//! the sources name, the error texts, the dialects' rules and the limits. A change on one side only
//! fails here, and says in which row.

#[path = "support/sources.rs"]
mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use dsfs::ctl::Dialect;
use dsfs::device::{crypt, inter};
use dsfs::limits;
use serde_json::Value;
use styx::server::{Limits, MIN_MSIZE};

const DOCUMENT: &str = include_str!("../docs/compatibility.md");

const HEADER: [&str; 8] = [
    "Message or behaviour",
    "ds(3)",
    "devds",
    "lab 15",
    "fs(3)",
    "dsfs devds",
    "dsfs plan9",
    "Reason",
];

/// The columns of a dialect: what was recorded, and what dsfs does.
const DEVDS: (usize, usize) = (2, 5);
const PLAN9: (usize, usize) = (4, 6);
const REASON: usize = 7;

/// The deviations that no recording can show, as the rows about them say.
const NOT_RECORDED: [&str; 2] = ["D18", "D19"];

struct Row {
    cells: Vec<String>,
}

impl Row {
    fn name(&self) -> &str {
        &self.cells[0]
    }

    fn ids(&self) -> BTreeSet<String> {
        ids(&self.cells[REASON])
    }

    /// Whether dsfs does something else than what was recorded, or something where nothing was.
    fn differs(&self, (recorded, ours): (usize, usize)) -> bool {
        match &self.cells[ours][..] {
            "same" => false,
            "none" => self.cells[recorded] != "none",
            _ => true,
        }
    }
}

/// The cells of a line of a table; `\|` is no end of one.
fn cells(line: &str) -> Vec<String> {
    let inside = line.trim().trim_start_matches('|').replace("\\|", "\u{0}");
    let inside = inside.strip_suffix('|').unwrap_or(&inside);
    inside.split('|').map(|cell| cell.trim().replace('\u{0}', "|")).collect()
}

/// The rows of the table, without its header and the names of its parts.
fn rows() -> Vec<Row> {
    let lines = DOCUMENT.lines().filter(|line| line.starts_with('|')).map(cells);
    let rows: Vec<Row> = lines
        .skip(2)
        .filter(|cells| !cells[0].starts_with("**"))
        .map(|cells| Row { cells })
        .collect();
    assert!(rows.len() > 80, "{} rows: the table was not found", rows.len());
    rows
}

/// The row whose first cell begins so.
#[track_caller]
fn row(start: &str) -> Row {
    let mut found: Vec<Row> =
        rows().into_iter().filter(|row| row.name().starts_with(start)).collect();
    assert_eq!(found.len(), 1, "rows that start with {start:?}");
    found.remove(0)
}

/// The deviations named in a text: `D` or `B` and a number, as a word of its own.
fn ids(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let is_id = |word: &&str| {
        word.strip_prefix(['D', 'B']).is_some_and(|number| {
            (1..=2).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit())
        })
    };
    words.filter(is_id).map(str::to_owned).collect()
}

/// The deviations that a file of recordings names, wherever it does.
fn recorded(file: &str) -> BTreeSet<String> {
    fn look(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    match &name[..] {
                        "deviation" | "bug" | "decide" => found.extend(ids(&value.to_string())),
                        _ => look(value, found),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| look(item, found)),
            _ => {}
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file);
    let text = fs::read_to_string(path).expect("a file of recordings");
    let mut found = BTreeSet::new();
    for line in text.lines() {
        look(&serde_json::from_str(line).expect("a row"), &mut found);
    }
    found
}

/// The deviations that the sources name.
fn known_to_the_sources() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    sources::for_each(&["src", "styx/src"], |text| found.extend(ids(text)));
    found
}

#[test]
fn the_table_is_one() {
    let lines: Vec<_> = DOCUMENT.lines().filter(|line| line.starts_with('|')).map(cells).collect();
    assert_eq!(lines[0], HEADER);
    for cells in &lines {
        assert_eq!(cells.len(), HEADER.len(), "{cells:?}");
    }
    let mut names = BTreeSet::new();
    for row in rows() {
        assert!(row.cells[..REASON].iter().all(|cell| !cell.is_empty()), "{:?}", row.cells);
        assert!(names.insert(row.name().to_owned()), "two rows: {}", row.name());
    }
}

/// Every difference has its reason, and only a difference has one.
#[test]
fn every_difference_has_its_reason() {
    let mut wrong = Vec::new();
    for row in rows() {
        let reason = &row.cells[REASON];
        let reasoned = !row.ids().is_empty() || reason.contains("Choice: ");
        match (row.differs(DEVDS) || row.differs(PLAN9), reasoned) {
            (true, false) => wrong.push(format!("{}: no reason", row.name())),
            (false, true) => wrong.push(format!("{}: a reason for nothing", row.name())),
            (false, false) if !reason.is_empty() => {
                wrong.push(format!("{}: a reason of no kind", row.name()));
            }
            _ => {}
        }
        for (recorded, ours) in [DEVDS, PLAN9] {
            let unknown = ["\u{2014}", "none"].contains(&&row.cells[recorded][..]);
            if unknown && row.cells[ours] == "same" {
                wrong.push(format!("{}: the same as what is not known", row.name()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_deviations_are_those_of_the_recordings_and_of_the_sources() {
    let devds: BTreeSet<String> =
        ["devds.jsonl", "deviations.jsonl", "lab15.jsonl"].into_iter().flat_map(recorded).collect();
    let plan9 = recorded("plan9fs.jsonl");
    let in_recordings: BTreeSet<String> = devds.union(&plan9).cloned().collect();
    let in_table: BTreeSet<String> = rows().iter().flat_map(Row::ids).collect();

    let not_recorded: BTreeSet<_> = in_table.difference(&in_recordings).map(|id| &id[..]).collect();
    assert_eq!(not_recorded, BTreeSet::from(NOT_RECORDED), "in the table and in no recording");
    let missing: Vec<_> = in_recordings.difference(&in_table).collect();
    assert!(missing.is_empty(), "in the recordings and not in the table: {missing:?}");

    let in_sources = known_to_the_sources();
    let unknown: Vec<_> = in_sources.difference(&in_table).collect();
    assert!(unknown.is_empty(), "in the sources and not in the table: {unknown:?}");
    for id in NOT_RECORDED {
        assert!(in_sources.contains(id), "{id} is neither in the recordings nor in the sources");
    }

    for (kind, number) in [("D", 19), ("B", 6)] {
        let wanted: BTreeSet<String> = (1..=number).map(|n| format!("{kind}{n}")).collect();
        let named: BTreeSet<String> =
            in_table.iter().filter(|id| id.starts_with(kind)).cloned().collect();
        assert_eq!(named, wanted);
    }
    // A deviation shows in the column of the dialect that it was recorded in.
    for (recorded, columns, dialect) in [(&devds, DEVDS, "devds"), (&plan9, PLAN9, "plan9")] {
        for id in recorded {
            let shows = rows().iter().any(|row| row.ids().contains(id) && row.differs(columns));
            assert!(shows, "no row says what dsfs does in {dialect} because of {id}");
        }
    }
}

/// The texts in double quotes in a cell, outside of code.
fn quoted(cell: &str) -> Vec<String> {
    let cell = cell.replace("\\`", "\u{0}");
    let (mut rest, mut texts) = (&cell[..], Vec::new());
    while let Some(at) = rest.find(['"', '`']) {
        let mark = &rest[at..=at];
        let (inside, after) = rest[at + 1..]
            .split_once(mark)
            .unwrap_or_else(|| panic!("a {mark} without its second in {cell:?}"));
        if mark == "\"" {
            texts.push(inside.replace('\u{0}', "`"));
        }
        rest = after;
    }
    texts
}

/// The error texts by the names of their constants.
fn enames() -> BTreeMap<String, String> {
    let source = include_str!("../styx/src/enames.rs");
    let constant = |item: &str| {
        let (name, rest) = item.split_once(": &str =")?;
        let text = rest.trim_start().strip_prefix('"')?.split_once("\";")?.0;
        Some((name.to_owned(), text.replace("\\'", "'").replace("\\\"", "\"")))
    };
    let found: BTreeMap<_, _> = source.split("pub const ").skip(1).filter_map(constant).collect();
    assert_eq!(found.len(), source.matches("pub const ").count(), "constants of another form");
    found
}

#[test]
fn the_error_texts_are_those_of_the_sources() {
    let texts: BTreeSet<String> = enames().into_values().collect();
    let mut shown = BTreeSet::new();
    for row in rows() {
        for text in row.cells.iter().flat_map(|cell| quoted(cell)) {
            assert!(texts.contains(&text), "{}: {text:?} is no error text", row.name());
            shown.insert(text);
        }
    }
    let missing: Vec<_> = texts.difference(&shown).collect();
    assert!(missing.is_empty(), "error texts that are in no row: {missing:?}");
    // A text is in one constant only.
    assert_eq!(texts.len(), enames().len());
}

#[test]
fn the_commands_are_the_dialects() {
    let all: BTreeSet<&str> = Dialect::ALL
        .iter()
        .flat_map(|dialect| dialect.rules().verbs)
        .map(|(verb, _)| *verb)
        .collect();
    for (dialect, (recorded, ours)) in [(Dialect::Devds, DEVDS), (Dialect::Plan9, PLAN9)] {
        for verb in &all {
            let known = dialect.rules().verbs.iter().any(|(known, _)| known == verb);
            let start = match *verb {
                "clear" => "`clear`".to_owned(),
                "del" => "`del` DIR/NAME".to_owned(),
                "disk" => "`disk` DIR".to_owned(),
                "part" => "`part` NAME FILE".to_owned(),
                verb => format!("`{verb}` NAME FILE"),
            };
            let row = row(&start);
            let refused = quoted(&row.cells[recorded]) == ["unknown control message"];
            assert_eq!(known, !refused, "{dialect} {verb}: {:?}", row.cells[recorded]);
            assert_ne!(row.cells[ours], "none", "{dialect} {verb}");
        }
    }
}

#[test]
fn the_rules_are_the_dialects() {
    for (dialect, (recorded, ours)) in [(Dialect::Devds, DEVDS), (Dialect::Plan9, PLAN9)] {
        let rules = dialect.rules();
        for (start, text) in [
            ("more inner files than", rules.many_inner),
            ("a transfer that a fid is not open for", rules.bad_use),
            ("a wstat whose entry is malformed", rules.bad_stat),
            ("a `cat` whose inner file moves less", rules.transfers.cat_short),
        ] {
            let row = row(start);
            let cell = if row.cells[ours] == "same" { recorded } else { ours };
            assert!(
                quoted(&row.cells[cell]).iter().any(|shown| shown == text),
                "{dialect}: {start}"
            );
        }
        let files = row("more inner files than");
        let most = format!("{}: ", rules.max_inner);
        assert!(files.cells[recorded].starts_with(&most), "{dialect}: {:?}", files.cells);
        let part = row("a `part` that starts past the end");
        let refused = quoted(&part.cells[recorded])
            .iter()
            .any(|text| text == enames()["EPARTSTART"].as_str());
        let rule = rules.past_end == dsfs::ctl::PastEnd::Refused;
        assert_eq!(refused, rule, "{dialect}: {:?}", part.cells);
        let modes = row("the permissions of files");
        let flat = format!("{:04o}", rules.flat_mode);
        let cell = if modes.cells[ours] == "same" { recorded } else { ours };
        assert!(modes.cells[cell].starts_with(&flat), "{dialect}: {:?}", modes.cells);
    }
}

#[test]
fn the_limits_are_those_of_the_sources() {
    let session = Limits::default();
    let (devds, plan9) = (Dialect::Devds.rules(), Dialect::Plan9.rules());
    for (start, cell, number) in [
        ("a message of more than", 0, limits::MESSAGE),
        ("a message while another", DEVDS.1, limits::MESSAGES),
        ("a message while another", PLAN9.1, limits::MESSAGES),
        ("a name of more than", 0, limits::NAME),
        ("64 devices", 0, devds.max_devices),
        ("64 devices", PLAN9.0, plan9.max_devices),
        ("128 directories", 0, plan9.max_dirs),
        ("more than 4096 files", 0, limits::LEAVES),
        ("more than 4096 files", 0, limits::DEPTH),
        ("more than 16384 fids", 0, session.fids),
        ("more than 1024 requests", 0, session.requests),
        ("more than 16384 clients", 0, limits::CLIENTS),
        ("more than 8192 clients", 0, limits::CLIENTS / limits::HANDSHAKES),
        ("more than 10 of those", 0, limits::REFUSALS),
        ("more than 10 of those", 0, limits::REFUSAL_TIME.as_secs() as usize),
        ("more than 32768 places", 0, limits::PLACES),
        ("a client that says no Tversion", 0, limits::HANDSHAKE.as_secs() as usize),
        ("more than 16 texts of `admin`", 0, limits::TEXTS),
        ("more than 8 connections to `--metrics`", 0, limits::SCRAPES),
        ("more than 8 connections to `--metrics`", 0, limits::SCRAPE_BYTES),
        ("more than 8 connections to `--metrics`", 0, limits::SCRAPE.as_secs() as usize),
        ("replies that a client does not read", 0, limits::OUTPUT >> 20),
        ("msize", DEVDS.1, session.msize as usize),
        ("msize", PLAN9.1, session.msize as usize),
        ("msize", DEVDS.1, MIN_MSIZE as usize),
        ("`inter` NAME", 1, inter::BLOCK as usize),
        ("`crypt` on a file of less", 0, crypt::HEADER as usize),
        ("`crypt`: where bytes are", PLAN9.0, crypt::HEADER as usize),
        ("`crypt` NAME", PLAN9.0, crypt::SECTOR as usize),
    ] {
        let row = row(start);
        let numbers: Vec<&str> = row.cells[cell]
            .split(|c: char| !c.is_ascii_digit())
            .filter(|n| !n.is_empty())
            .collect();
        let number = number.to_string();
        assert!(numbers.contains(&&number[..]), "{start}: {number} is not in {numbers:?}");
    }
}
