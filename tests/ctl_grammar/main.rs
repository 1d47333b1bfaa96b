//! The grammar of control messages against a second statement of its rules.
//!
//! The statement (`statement.rs`) is written from the golden README and PLAN9.md alone, as lists of checks to
//! be tried in order, and shares no code with `dsfs::ctl`. Random messages (sound ones, sound ones
//! with a flaw, and noise) with random devices in the table go to both, and the answers must be the
//! same to the byte. What was accepted is printed and read back, and must come out the same.
//!
//! `DSFS_SEED=n` plays another sequence; a failure says which seed and message it was.

mod messages;
mod statement;

use std::collections::BTreeSet;

use dsfs::ctl::{Command, Config, Devices, Dialect, DiskDefaults, Kind, Pattern};
use dsfs::ctl::{Keys, line, parse, parse_saved, saved};

use messages::Random;
use statement::Message;

/// Messages for each dialect.
const MESSAGES: usize = 100_000;

/// The sequence that is played unless DSFS_SEED says otherwise.
const SEED: u64 = 15;

// What there is.

#[derive(Default)]
struct Table {
    devices: BTreeSet<(String, String)>,
    slots: usize,
}

impl Devices for Table {
    fn is_taken(&self, dir: &str, name: &str) -> bool {
        self.devices.contains(&(dir.to_owned(), name.to_owned()))
    }
    fn is_full(&self, dir: &str) -> bool {
        self.devices.iter().filter(|device| device.0 == dir).count() >= self.slots
    }
    fn any(&self, pattern: &Pattern) -> bool {
        self.devices.iter().any(|(dir, name)| pattern.matches(dir, name))
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("checked names are UTF-8")
}

/// The answer that the statement demands.
fn demanded(dialect: Dialect, message: &Message) -> String {
    if dialect == Dialect::Plan9 && statement::ignored(message.raw) {
        return "nothing".to_owned();
    }
    let refused = match dialect {
        Dialect::Devds => statement::devds(message),
        Dialect::Plan9 => statement::plan9(message),
    };
    if let Some(error) = refused {
        return format!("error {error}");
    }
    let verb = text(&message.words[0]);
    let list = |names: &[Vec<u8>]| names.iter().map(|name| text(name)).collect::<Vec<_>>();
    if dialect == Dialect::Devds {
        let range = (verb == "part").then(|| {
            let number = |at: usize| statement::number(&message.words[at]).expect("checked");
            (number(3), number(4))
        });
        let inner = if range.is_some() { &message.words[2..3] } else { &message.words[2..] };
        let typed = list(&message.words);
        return format!("{verb} ds {:?} {range:?} None {:?} {typed:?}", typed[1], list(inner));
    }
    match verb.as_str() {
        "clear" => verb,
        "disk" => {
            let unit = message.words.get(2).map_or(Some(1), |word| statement::unit(word));
            format!("disk {:?} {unit:?} {:?}", message.words[1], message.words.get(3))
        }
        "del" => {
            let (dir, name) = statement::name(message);
            format!("del {:?} {:?}", text(&dir), text(&name))
        }
        _ => {
            let (dir, name) = statement::name(message);
            let range = (verb == "part").then(|| statement::range(message).expect("checked"));
            let key = (verb == "crypt").then(|| statement::key(&message.words[3])).flatten();
            let inner = list(&statement::inner_fs(message));
            format!("{verb} {} {:?} {range:?} {key:?} {inner:?} []", text(&dir), text(&name))
        }
    }
}

/// The answer of `dsfs::ctl`, in the same form.
fn given(answer: &Result<Command, String>) -> String {
    let star = |pattern: &Option<String>| pattern.clone().unwrap_or("*".to_owned());
    match answer {
        Err(error) => format!("error {error}"),
        Ok(Command::Nothing) => "nothing".to_owned(),
        Ok(Command::Clear) => "clear".to_owned(),
        Ok(Command::Delete(p)) => format!("del {:?} {:?}", star(&p.dir), star(&p.name)),
        Ok(Command::Disk(d)) => format!("disk {:?} {:?} {:?}", d.dir, Some(d.unit), d.source),
        Ok(Command::Configure(c)) => {
            let (verb, range, key) = match &c.kind {
                Kind::Mirror => ("mirror", None, None),
                Kind::Cat => ("cat", None, None),
                Kind::Inter => ("inter", None, None),
                Kind::Part { start, length } => ("part", Some((*start, *length)), None),
                Kind::Crypt { key } => ("crypt", None, key.as_ref()),
            };
            let key = key.map(|key| {
                let bytes = key.tweak().iter().chain(key.data());
                bytes.map(|byte| format!("{byte:02x}")).collect::<String>()
            });
            format!("{verb} {} {:?} {range:?} {key:?} {:?} {:?}", c.dir, c.name, c.inner, c.words)
        }
    }
}

fn seed() -> u64 {
    std::env::var("DSFS_SEED")
        .ok()
        .map_or(SEED, |seed| seed.parse().expect("DSFS_SEED is a number"))
}

/// The device, printed and read back, is the same, but for what its text leaves out.
fn reads_back(dialect: Dialect, config: &Config) {
    let printed = line(dialect, config);
    let lines =
        saved::messages(dialect, printed.as_bytes()).expect("a ctl text is a configuration");
    assert_eq!(lines.len(), 1, "{printed:?}");
    let nothing = Table { slots: 1, ..Table::default() };
    let (disk, keys) = (DiskDefaults::default(), Keys::default());
    let back = parse_saved(dialect, lines[0].message, &nothing, &disk, &keys);
    let mut expected = config.clone();
    if let Kind::Crypt { key } = &mut expected.kind {
        *key = None;
    } else {
        let again = parse(dialect, printed.as_bytes(), &nothing, &DiskDefaults::default());
        assert_eq!(again, back, "{printed:?}");
    }
    assert_eq!(back, Ok(Command::Configure(expected)), "{printed:?}");
}

fn play(dialect: Dialect) {
    let seed = seed();
    let mut random = Random(seed);
    let mut tally = [0usize; 4];
    let mut errors = BTreeSet::new();
    for number in 0..MESSAGES {
        let (raw, table) = (messages::message(&mut random), messages::table(dialect, &mut random));
        let disk = messages::disk(&mut random);
        let whole = Message {
            raw: &raw,
            words: statement::words(&raw),
            table: &table,
            disk: (&disk.dir, disk.unit, disk.source.as_deref()),
        };
        let answer = parse(dialect, &raw, &table, &disk);
        let demanded = demanded(dialect, &whole);
        let shown = raw.escape_ascii();
        assert_eq!(
            given(&answer),
            demanded,
            "{dialect}, seed {seed}, message {number}: {shown}\n{disk:?}"
        );
        match answer {
            Ok(Command::Configure(config)) => {
                reads_back(dialect, &config);
                tally[0] += 1;
            }
            Ok(_) => tally[1] += 1,
            Err(error) => {
                assert!(error.len() <= 128, "{error:?}");
                let text = error.split("name: ").next().and_then(|text| text.split('"').next());
                errors.extend(text.map(str::to_owned));
                tally[2] += 1;
                tally[3] += usize::from(error.len() >= 117);
            }
        }
    }
    // The messages must reach everything there is to reach, or the comparison says little.
    assert!(
        tally.iter().all(|&count| count > 400 || dialect == Dialect::Devds && count == tally[1]),
        "{tally:?}"
    );
    let texts = match dialect {
        Dialect::Devds => 11,
        Dialect::Plan9 => 15,
    };
    assert_eq!(errors.len(), texts, "{errors:#?}");
}

#[test]
fn devds_is_as_stated() {
    play(Dialect::Devds);
}

#[test]
fn plan9_is_as_stated() {
    play(Dialect::Plan9);
}
