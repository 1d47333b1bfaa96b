//! The documents: what they say to type works, and prints what they show; where they link to is there.
//!
//! The first word after a block's fence says what it is:
//!
//! - `console`: commands after `$ ` (`> ` for their further lines), and below each what it prints. With
//!   `console until` each is typed again until it prints that. A command may only fail if it
//!   shows why.
//! - `sh`: commands, one a line, which succeed; what they print is not shown. With `sh ci` each line is
//!   one of `.ci/run`, which runs it. `sh by-hand` takes too long for that, or needs a person; the tests,
//!   variables and programs that it names are there.
//! - `inferno`, `plan9`, `plan9port`, `linux`: for those clients; run by their scripts, `inferno/run` and
//!   `tests/clients/*/run`.
//! - `text`: nothing to type.
//!
//! `needs=PROGRAM` as another word: the block is skipped where there is no such program.
//!
//! The blocks of a document are typed into one shell, in a fresh directory, one after the other. What
//! a command shows may have `[..]` for any text in a line and `...` for any lines; times, and the owners in
//! listings, are examples.

mod document;
mod session;

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::time::Instant;
use std::{panic, thread};

use document::{Block, Document, Step, TOP};
use regex::Regex;
use session::{LIMIT, Network, PAUSE, Session, is_installed};
use snapbox::{Assert, IntoData, Redactions};

/// Kinds of blocks that the clients' scripts run.
const CLIENTS: [&str; 4] = ["inferno", "plan9", "plan9port", "linux"];

/// The documents that those scripts look into.
const TYPED: [&str; 2] = ["docs/clients.md", "docs/tutorial.md"];

/// Says something even where the test succeeds.
fn say(what: &str) {
    let _ = writeln!(io::stderr(), "{what}");
}

/// What is different each time, in what is shown and in what is printed.
fn variable() -> Redactions {
    let mut redactions = Redactions::new();
    let patterns = [
        ("[TIME]", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"),
        ("[DATE]", r"[A-Z][a-z]{2} [ \d]\d \d\d:\d\d"),
        ("[OWNER]", r" M \d+ (?<redacted>\S+ \S+) "),
    ];
    for (placeholder, pattern) in patterns {
        let regex = Regex::new(pattern).expect("a regular expression");
        redactions.insert(placeholder, regex).expect("a placeholder");
    }
    redactions
}

/// Whether that was printed which is shown; what the difference is.
fn compare(printed: &str, step: &Step) -> Result<(), String> {
    let variable = variable();
    let shown = variable.redact(&step.shown);
    let assert = Assert::new().redact_with(variable);
    let compared = assert.try_eq(Some(&"printed"), printed.into_data(), shown.into_data());
    compared.map_err(|difference| difference.to_string())
}

/// Types one command.
fn type_in(session: &mut Session, step: &Step, again: bool) -> Result<(), String> {
    let start = Instant::now();
    let mut ran = session.run(&step.command)?;
    loop {
        let difference = match compare(&ran.printed(), step) {
            Ok(()) if ran.status == "0" || !step.shown.is_empty() => return Ok(()),
            Ok(()) => format!("it fails ({}), and shows nothing", ran.status),
            Err(difference) => difference,
        };
        // What is in the background prints when it comes to it.
        let waits = again || step.is_in_background();
        if !waits || start.elapsed() > LIMIT {
            return Err(difference);
        }
        thread::sleep(PAUSE);
        if again {
            ran = session.run(&step.command)?;
        }
    }
}

fn run_block(session: &mut Session, block: &Block, words: &[&str]) -> Result<(), String> {
    if words[0] == "sh" {
        for step in block.commands() {
            let ran = session.run(&step.command)?;
            if ran.status != "0" {
                return Err(format!("line {}: $ {}\n{}", step.line, step.command, ran.printed()));
            }
        }
        return Ok(());
    }
    let again = words.contains(&"until");
    for step in block.steps()? {
        type_in(session, &step, again)
            .map_err(|why| format!("line {}: $ {}\n{why}", step.line, step.command))?;
    }
    Ok(())
}

/// Types all that is to be typed on this machine, up to the first thing that goes wrong.
fn run_document(document: &Document, network: Network) -> Result<(), String> {
    let mut session = None;
    for block in &document.blocks {
        let words = words(block);
        let elsewhere = matches!(words[..], ["sh", "ci" | "by-hand"]);
        if elsewhere || !matches!(words[..], ["console" | "sh", ..]) {
            continue;
        }
        let needed = words.iter().find_map(|word| word.strip_prefix("needs="));
        if let Some(needed) = needed.filter(|program| !is_installed(program)) {
            say(&format!("skipped: {}:{}: no {needed} here", document.name, block.line));
            continue;
        }
        let session = session.get_or_insert_with(|| Session::start(network));
        run_block(session, block, &words).map_err(|why| format!("{}: {why}", document.name))?;
    }
    Ok(())
}

fn words(block: &Block) -> Vec<&str> {
    block.info.as_deref().unwrap_or("").split_whitespace().collect()
}

#[test]
fn what_the_documents_say_to_type_prints_what_they_show() {
    let Some(network) = Network::here() else {
        say(
            "skipped: no network namespace can be made here, and somebody else listens on port 6666",
        );
        return;
    };
    let documents = Document::all();
    let run = |document| run_document(document, network).err();
    let wrong: Vec<String> = if network == Network::Own {
        thread::scope(|scope| {
            let threads: Vec<_> =
                documents.iter().map(|document| scope.spawn(move || run(document))).collect();
            let join = |thread: thread::ScopedJoinHandle<'_, _>| thread.join();
            let ended = threads.into_iter().map(join);
            ended
                .filter_map(|ended| ended.unwrap_or_else(|why| panic::resume_unwind(why)))
                .collect()
        })
    } else {
        documents.iter().filter_map(run).collect()
    };
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The sources of a test program; `None` if there is no such program.
fn sources(test: &str) -> Option<String> {
    let file = Path::new(TOP).join("tests").join(test);
    if let Ok(source) = fs::read_to_string(file.with_extension("rs")) {
        return Some(source);
    }
    let files = fs::read_dir(file).ok()?.filter_map(Result::ok);
    Some(files.filter_map(|file| fs::read_to_string(file.path()).ok()).collect())
}

/// What a line that nobody runs here names, and is not there.
fn missing(line: &str) -> Option<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let after = |option| {
        let at = words.iter().position(|word| *word == option)?;
        words.get(at + 1).map(ToString::to_string)
    };
    let test = after("--test");
    let source = test.as_deref().map(|test| sources(test).unwrap_or_default());
    let unread = words.iter().filter_map(|word| word.split_once('=')).find(|(name, _)| {
        name.starts_with("DSFS_") && !source.as_ref().is_some_and(|text| text.contains(name))
    });
    let program = words.iter().find(|word| !word.contains('='));
    let program = program.filter(|word| word.contains('/')).map(ToString::to_string);
    let files = [after("--manifest-path"), program].into_iter().flatten();
    let gone = files.into_iter().find(|file| !Path::new(TOP).join(file).is_file());
    let untested = test.filter(|_| source.as_deref() == Some(""));
    gone.or(untested).or(unread.map(|(name, _)| name.into()))
}

/// A block that no test would run is in no document.
#[test]
fn every_block_is_of_a_kind_that_is_run() {
    let ci = fs::read_to_string(Path::new(TOP).join(".ci/run")).expect("it is there");
    for document in Document::all() {
        for block in &document.blocks {
            let place = format!("{}:{}", document.name, block.line);
            match words(block)[..] {
                ["sh", "ci"] => {
                    let line = block.text.lines().find(|line| !ci.contains(line));
                    assert_eq!(line, None, "{place}: not in .ci/run");
                }
                ["sh", "by-hand"] => {
                    let missing = block.text.lines().find_map(missing);
                    assert_eq!(missing, None, "{place}: it is not there");
                }
                ["text"] | ["console" | "sh", ..] => {}
                [client] if CLIENTS.contains(&client) => {
                    let typed = TYPED.contains(&document.name.as_str());
                    assert!(typed, "{place}: the clients' scripts do not type it");
                }
                ref words => panic!("{place}: a block of no kind: {words:?}"),
            }
        }
    }
}

/// Somebody who has to play a failure again finds how.
#[test]
fn every_variable_of_the_tests_is_told() {
    let told = fs::read_to_string(Path::new(TOP).join("CONTRIBUTING.md")).expect("it is there");
    let variable = Regex::new("DSFS_[A-Z]+(_[A-Z]+)*").expect("a regular expression");
    let tests = fs::read_dir(Path::new(TOP).join("tests")).expect("it is there");
    for test in tests.filter_map(Result::ok) {
        let name = test.file_name().to_string_lossy().trim_end_matches(".rs").to_owned();
        let source = sources(&name).unwrap_or_default();
        for found in variable.find_iter(&source) {
            assert!(told.contains(found.as_str()), "{name}: {} is not told", found.as_str());
        }
    }
}

#[test]
fn every_link_leads_somewhere() {
    let documents = Document::all();
    for document in &documents {
        let beside = Path::new(&document.name).parent().expect("a directory");
        for link in &document.links {
            if link.contains("://") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() {
                Path::new(TOP).join(&document.name)
            } else {
                Path::new(TOP).join(beside).join(path)
            };
            let target = target.canonicalize();
            let target = target.unwrap_or_else(|_| panic!("{}: no {link}", document.name));
            let is_it = |other: &&Document| Path::new(TOP).join(&other.name) == target;
            let anchors = documents.iter().find(is_it).map(|document| &document.anchors);
            let found = anchors.is_some_and(|anchors| anchors.iter().any(|other| other == anchor));
            assert!(anchor.is_empty() || found, "{}: no {link}", document.name);
        }
    }
}
