//! Random configurations there and back: what ctl prints, written line by line to an empty server, or
//! read from a file, gives the same devices and the same text. Names have blanks, quotes and more in
//! them; devices are made of devices, and in fs(3) places are deleted and used again.

use std::cell::Cell;
use std::os::unix::fs::PermissionsExt;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;

/// Each starts three servers.
const CASES: u32 = 24;

/// The inner files, with lengths that every rule about lengths meets.
const FILES: [(&str, usize); 5] =
    [("a", 20_000), ("b c", 70_000), ("it's", 0), ("\u{e9}#", 81_920), ("'", 100)];

const KEY: &str = "0123456789abcdeffedcba98765432100123456789abcdeffedcba9876543210";

/// What a message is made from; the numbers choose among what there is.
#[derive(Clone, Debug)]
struct Pick {
    verb: usize,
    dir: usize,
    name: String,
    inner: Vec<usize>,
    numbers: (u32, u32),
    quoted: bool,
}

fn picks() -> impl Strategy<Value = Vec<Pick>> {
    let name = "[ '#*a-c\u{e9}\u{3000}\"]{1,4}|fsdev:|mirror|[a-z]{200}";
    let pick = (
        0usize..16,
        0usize..4,
        name,
        prop::collection::vec(0usize..12, 1..4),
        (0u32..90_000, 0u32..90_000),
        any::<bool>(),
    );
    let pick = pick.prop_map(|(verb, dir, name, inner, numbers, quoted)| Pick {
        verb,
        dir,
        name,
        inner,
        numbers,
        quoted,
    });
    prop::collection::vec(pick, 0..16)
}

/// The test's own quoting: always, or where it must be.
fn word(text: &str, always: bool) -> String {
    let plain = !text.is_empty() && !text.contains([' ', '\'', '\t']);
    if plain && !always { text.to_owned() } else { format!("'{}'", text.replace('\'', "''")) }
}

/// A random history of ctl messages, and what the test knows of it.
#[derive(Default)]
struct History {
    messages: Vec<String>,
    /// The devices that were asked for, as directory and name.
    names: Vec<(String, String)>,
    deletes: bool,
}

impl History {
    fn inner(&self, dialect: &str, pick: usize) -> String {
        match self.names.len() {
            0 => format!("/{}", FILES[pick % FILES.len()].0),
            _ if pick < FILES.len() => format!("/{}", FILES[pick].0),
            count => {
                let (dir, name) = &self.names[pick % count];
                let root = if dialect == "plan9" { "/dev" } else { "/n" };
                format!("{root}/{dir}/{name}")
            }
        }
    }

    fn add(&mut self, dialect: &str, pick: &Pick) {
        let (start, length) = pick.numbers;
        let fs = dialect == "plan9";
        let dir = if fs { ["fs", "d", "d e", "'"][pick.dir] } else { "ds" };
        let new =
            if dir == dir_of(dialect) { pick.name.clone() } else { format!("{dir}/{}", pick.name) };
        let inner: Vec<String> = pick.inner.iter().map(|&i| self.inner(dialect, i)).collect();
        let one = inner[0].clone();
        let list = |verb: &str, rest: &[String]| -> Vec<String> {
            [&[verb.to_owned(), new.clone()], rest].concat()
        };
        let words: Vec<String> = match pick.verb {
            0..=3 => list("cat", &inner),
            4..=6 => list("mirror", &inner),
            7..=9 => list("inter", &inner),
            10..=11 => list("part", &[one, format!("+0{start}"), length.to_string()]),
            12 if fs => list("crypt", &[one, KEY.to_owned()]),
            13 if fs => ["disk", dir, "512", &one].map(str::to_owned).to_vec(),
            14 if fs => list("part", &[(start / 512).to_string(), (start / 256).to_string()]),
            15 if fs && !self.names.is_empty() => {
                self.deletes = true;
                let (dir, name) = &self.names[pick.dir % self.names.len()];
                vec!["del".to_owned(), format!("{dir}/{name}")]
            }
            _ => list("cat", &[]),
        };
        if words[0] != "del" && words[0] != "disk" {
            self.names.push((dir.to_owned(), pick.name.clone()));
        }
        let words: Vec<String> = words.iter().map(|text| word(text, pick.quoted)).collect();
        self.messages.push(words.join(" "));
    }
}

/// The lines of a text as messages; a `crypt` is given the key that its line must not have.
fn lines(text: &str) -> Vec<String> {
    let message = |line: &str| match line.starts_with("crypt ") {
        true => format!("{} {KEY}\n", line.trim_end_matches('\n')),
        false => line.to_owned(),
    };
    text.split_inclusive('\n').map(message).collect()
}

/// The devices without their places, which deleting changes.
fn unplaced(found: &Found) -> Vec<(&str, &str, u64)> {
    let mut all: Vec<(&str, &str, u64)> =
        found.devices.iter().map(|one| (&one.dir[..], &one.name[..], one.length)).collect();
    all.sort_unstable();
    all
}

/// One history; how many devices there were in the end.
fn there_and_back(dialect: &str, picks: &[Pick]) -> usize {
    let place = place_with(&FILES);
    let mut history = History::default();
    picks.iter().for_each(|pick| history.add(dialect, pick));

    let program = serve(&place, dialect).start();
    let mut client = mount(&program);
    let results = write_all(&mut client, dialect, &history.messages);
    let first = find(&mut client, dialect);
    drop(program);
    let story = || format!("{:#?}\n{results:#?}\n{}", history.messages, first.text);
    let same = |second: &Found, how: &str| {
        assert_eq!(second.text, first.text, "{how}: {}", story());
        assert_eq!(unplaced(second), unplaced(&first), "{how}: {}", story());
        if !history.deletes && dialect == "devds" {
            assert_eq!(second.devices, first.devices, "{how}: {}", story());
        }
    };

    let program = serve(&place, dialect).start();
    let mut client = mount(&program);
    for result in write_all(&mut client, dialect, &lines(&first.text)) {
        assert_eq!(result, Ok(()), "{}", story());
    }
    same(&find(&mut client, dialect), "written back");
    drop(program);

    let signature = if picks.len().is_multiple_of(2) { "fsdev:\n" } else { "" };
    let config = place.file("config", &format!("{signature}{}", first.text));
    let keys = first
        .devices
        .iter()
        .map(|one| format!("{} {KEY}\n", word(&format!("{}/{}", one.dir, one.name), false)));
    let keys = place.file("keys", &keys.collect::<String>());
    fs::set_permissions(&keys, fs::Permissions::from_mode(0o600)).expect("it is ours");
    let serve = serve(&place, dialect).option("--config", config).option("--keys", keys);
    let program = serve.start();
    same(&find(&mut mount(&program), dialect), "restored");
    first.devices.len()
}

fn check(dialect: &str) {
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let devices = Cell::new(0);
    let run = TestRunner::new(config).run(&picks(), |picks| {
        devices.set(devices.get() + there_and_back(dialect, &picks));
        Ok(())
    });
    run.unwrap_or_else(|failure| panic!("{failure}"));
    let devices = devices.get();
    assert!(devices > CASES as usize, "{devices} devices only: nearly every message was refused");
}

#[test]
fn devds_there_and_back() {
    check("devds");
}

#[test]
fn plan9_there_and_back() {
    check("plan9");
}

/// What the random histories come to only now and then.
#[test]
fn a_place_used_again_and_devices_of_later_ones() {
    let place = place_with(&FILES);
    // Messages, the device that they put into the place of a deleted one, and the text of ctl.
    for (messages, newest, text) in [
        (
            "cat 'old one' /a\ncat e/y /a\ncat 'c d' '/b c'\ndel 'old one'\n\
             mirror 'new ''one' '/dev/fs/c d' /dev/e/y\n",
            "new 'one",
            "cat 'c d' '/b c'\ncat e/y /a\nmirror 'new ''one' '/dev/fs/c d' /dev/e/y\n",
        ),
        // A later directory has the first line, and still is not the first one that is made anew.
        (
            "cat old /a\npart p /a 1 2\ncat e/y /a\ndel old\ncat new /dev/e/y\ncat e/z /dev/fs/p\n",
            "new",
            "cat e/y /a\ncat new /dev/e/y\npart p /a 1 2\ncat e/z /dev/fs/p\n",
        ),
    ] {
        let program = serve(&place, "plan9").start();
        let mut client = mount(&program);
        let results = write_all(&mut client, "plan9", &lines(messages));
        assert!(results.iter().all(Result::is_ok), "{results:?}");
        let found = find(&mut client, "plan9");
        assert_eq!(found.devices[0].name, newest);
        assert_eq!(found.text, text);
        let again = serve(&place, "plan9").start();
        let mut client = mount(&again);
        let results = write_all(&mut client, "plan9", &lines(&found.text));
        assert!(results.iter().all(Result::is_ok), "{results:?}");
        assert_eq!(find(&mut client, "plan9").text, text);
    }
}

/// A deleted device that another is made of stays listed, so that the text still has it; the other goes on.
#[test]
fn a_deleted_device_inside_another() {
    let place = place_with(&FILES);
    let program = serve(&place, "plan9").start();
    let mut client = mount(&program);
    let make = ["cat c /a", "part p /dev/fs/c 10 20", "del c"].map(str::to_owned);
    assert!(write_all(&mut client, "plan9", &make).iter().all(Result::is_ok));
    assert_eq!(find(&mut client, "plan9").text, "cat c /a\npart p /dev/fs/c 10 20\n");
    assert_eq!(client.read(&["fs", "p"], 0, 4), Ok(b"xxxx".to_vec()));
    let gone = client.read(&["fs", "c"], 0, 4).expect_err("it was deleted");
    assert_eq!(gone.to_string(), "Rerror \"device is gone\"");
    assert!(write_all(&mut client, "plan9", &["del p".to_owned()])[0].is_ok());
    let found = find(&mut client, "plan9");
    assert_eq!((found.text, found.devices), (String::new(), vec![]));
}
