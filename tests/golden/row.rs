//! The recordings as data: cases, their steps, and of each step what dsfs has to answer. Every
//! field of a row is known here or the row is refused, so that nothing that a recording says is
//! passed over in silence.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::support::text::{unescape, unhex};

/// The files of recordings, by the names that their rows are reported under.
pub const FILES: [(&str, &str); 4] = [
    ("devds", include_str!("devds.jsonl")),
    ("lab15", include_str!("lab15.jsonl")),
    ("deviations", include_str!("deviations.jsonl")),
    ("plan9fs", include_str!("plan9fs.jsonl")),
];

/// The parts of a step that are compared. `want` has those of them that differ in dsfs.
pub const PARTS: [&str; 6] =
    ["reply", "ctl_after", "dir_after", "inner_changed", "inner_hex", "inner_ops"];

/// Fields of a step for people, or about the recorded device only.
const REMARKS: [&str; 7] = ["layer", "deviation", "bug", "console", "note", "shell", "name"];

/// What the recordings never compare in a `reply`: what devds made up, and what depends on when
/// the recording was made. In a `want` they are given on purpose.
const NOT_COMPARED: [&str; 3] = ["vers", "atime", "mtime"];

/// Which device the recording is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Inferno's ds(3).
    Devds,
    /// Plan 9's fs(3).
    Plan9,
}

/// One row.
#[derive(Clone, Debug)]
pub struct Case {
    /// The file it is in.
    pub file: &'static str,
    /// Its name.
    pub name: String,
    /// The family that plan9fs rows name.
    pub family: Option<String>,
    /// Which device it is of.
    pub dialect: Dialect,
    /// What its connection asks for, in bytes.
    pub msize: u32,
    /// What its connection attaches to.
    pub aname: String,
    /// The server runs as a user that owns none of the files.
    pub another_user: bool,
    /// The device's own tree is bound at `/dev`.
    pub tree_at_dev: bool,
    /// What is done before the steps: objects with `file`, `dir` or `ctl`.
    pub setup: Vec<Map<String, Value>>,
    /// What is played.
    pub steps: Vec<Step>,
}

/// One step of a case.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its name, or its place in the case.
    pub name: String,
    /// What is done.
    pub op: String,
    /// With what.
    pub input: Value,
    /// What has to come of it, by the names of [`PARTS`]; empty where nothing is compared.
    pub wanted: BTreeMap<&'static str, Value>,
    /// How many pauses the recorded device made, where dsfs must make none.
    pub pauses: u64,
}

/// All cases of a file.
pub fn cases(file: &str) -> Vec<Case> {
    let (file, text) = FILES.into_iter().find(|(name, _)| *name == file).expect("a known file");
    text.lines().map(|line| case(file, line)).collect()
}

/// A row.
///
/// # Panics
/// If it is not in the form that this program can play in full.
fn case(file: &'static str, line: &str) -> Case {
    let Ok(Value::Object(row)) = serde_json::from_str(line) else { panic!("{file}: no object") };
    let name = row["case"].as_str().expect("a case has a name").to_owned();
    let label = format!("{file}: {name}");
    let fields = Fields::new(&label, &row);
    for remark in ["case", "decide", "note", "fresh", "tmp", "only", "deviation"] {
        fields.optional(remark);
    }
    let dialect = match fields.optional("dialect").and_then(Value::as_str) {
        None => Dialect::Devds,
        Some("plan9") => Dialect::Plan9,
        Some(other) => panic!("{label}: dialect {other}"),
    };
    let (another_user, tree_at_dev) = needs(&label, fields.optional("needs"));
    let root = if dialect == Dialect::Plan9 { "#k" } else { "" };
    let setup = fields.array("setup").iter().map(|item| object(&label, item).clone()).collect();
    let steps = match fields.optional("steps") {
        Some(Value::Array(steps)) => steps
            .iter()
            .enumerate()
            .map(|(index, value)| step(&label, index, object(&label, value), dialect))
            .collect(),
        Some(_) => panic!("{label}: steps are a list"),
        None => vec![inline_step(&label, &row, &fields, dialect)],
    };
    let family = fields.optional("family").and_then(Value::as_str).map(str::to_owned);
    let msize = fields.optional("msize").map_or(8216, |_| fields.number("msize"));
    let aname = fields.optional("aname").and_then(Value::as_str).unwrap_or(root).to_owned();
    fields.finish();
    let msize = u32::try_from(msize).expect("an msize has 32 bits");
    Case { file, name, family, dialect, msize, aname, another_user, tree_at_dev, setup, steps }
}

/// The one step of a case that has its fields in the row itself.
fn inline_step(
    label: &str,
    row: &Map<String, Value>,
    fields: &Fields<'_>,
    dialect: Dialect,
) -> Step {
    let of_steps = ["op", "input", "want", "skip", "pauses"].into_iter().chain(PARTS);
    let mut own = Map::new();
    for name in of_steps.chain(REMARKS) {
        if let Some(value) = fields.optional(name) {
            own.insert(name.to_owned(), value.clone());
        }
    }
    assert!(own.contains_key("op"), "{label}: neither steps nor a step: {row:?}");
    step(label, 0, &own, dialect)
}

fn needs(label: &str, needs: Option<&Value>) -> (bool, bool) {
    let mut found = (false, false);
    let list = match needs {
        None => return found,
        Some(Value::Array(list)) => list.clone(),
        Some(one) => vec![one.clone()],
    };
    for need in &list {
        match need.as_str() {
            Some("another-user") => found.0 = true,
            Some(text) if text.starts_with("self-names") => found.1 = true,
            _ => panic!("{label}: needs {need}"),
        }
    }
    found
}

fn step(label: &str, index: usize, row: &Map<String, Value>, dialect: Dialect) -> Step {
    let name = match row.get("name").and_then(Value::as_str) {
        Some(name) => format!("{index} `{name}`"),
        None => index.to_string(),
    };
    let label = format!("{label}, step {name}");
    let fields = Fields::new(&label, row);
    for remark in REMARKS {
        fields.optional(remark);
    }
    let op = fields.text("op");
    let input = fields.optional("input").cloned().unwrap_or(Value::Null);
    let pauses = fields.optional("pauses").map_or(0, |_| fields.number("pauses"));
    let skipped = fields.optional("skip").is_some();
    let empty = Map::new();
    let want = fields.optional("want").map_or(&empty, |want| object(&label, want));
    let wants = Fields::new(&label, want);
    let mut wanted = BTreeMap::new();
    for part in PARTS {
        let recorded = fields.optional(part).map(|value| recorded(part, value, dialect));
        if let Some(value) = wants.optional(part).cloned().or(recorded) {
            wanted.insert(part, value);
        }
    }
    fields.finish();
    wants.finish();
    if skipped {
        wanted.clear();
    }
    if let Some(Value::Object(reply)) = wanted.get("reply") {
        let dead = reply.contains_key("crash") || reply.contains_key("timeout");
        assert!(!dead, "{label}: the device died, and nothing says what dsfs does");
    }
    Step { name, op, input, wanted, pauses }
}

/// What of a recorded part is to be compared.
fn recorded(part: &str, value: &Value, dialect: Dialect) -> Value {
    let mut value = value.clone();
    if part == "reply" {
        leave_out(&mut value, dialect);
    }
    value
}

fn leave_out(value: &mut Value, dialect: Dialect) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| {
                let here = NOT_COMPARED.contains(&&name[..]);
                let there = dialect == Dialect::Plan9 && name == "iounit";
                !here && !there
            });
            fields.values_mut().for_each(|value| leave_out(value, dialect));
        }
        Value::Array(items) => items.iter_mut().for_each(|value| leave_out(value, dialect)),
        _ => {}
    }
}

fn object<'a>(label: &str, value: &'a Value) -> &'a Map<String, Value> {
    value.as_object().unwrap_or_else(|| panic!("{label}: no object: {value}"))
}

/// The fields of an object, which remembers those that were asked for.
pub struct Fields<'a> {
    label: &'a str,
    map: &'a Map<String, Value>,
    used: RefCell<BTreeSet<&'a str>>,
}

impl<'a> Fields<'a> {
    /// The fields of `map`; `label` says in a panic where that is.
    pub fn new(label: &'a str, map: &'a Map<String, Value>) -> Fields<'a> {
        Fields { label, map, used: RefCell::default() }
    }

    /// As [`Fields::new`], for a value that must be an object.
    pub fn of(label: &'a str, value: &'a Value) -> Fields<'a> {
        Fields::new(label, object(label, value))
    }

    /// The field, if it is there; JSON's null counts as a value.
    pub fn optional(&self, name: &str) -> Option<&'a Value> {
        let (name, value) = self.map.get_key_value(name)?;
        self.used.borrow_mut().insert(name);
        Some(value)
    }

    fn bad(&self, name: &str) -> ! {
        panic!("{}: field {name} is missing or of another kind: {:?}", self.label, self.map)
    }

    /// A number that can't be negative.
    pub fn number(&self, name: &str) -> u64 {
        self.optional(name).and_then(Value::as_u64).unwrap_or_else(|| self.bad(name))
    }

    /// A number of at most 32 bits.
    pub fn u32(&self, name: &str) -> u32 {
        u32::try_from(self.number(name)).unwrap_or_else(|_| self.bad(name))
    }

    /// A string as it is.
    pub fn text(&self, name: &str) -> String {
        self.optional(name).and_then(Value::as_str).unwrap_or_else(|| self.bad(name)).to_owned()
    }

    /// The bytes that a string stands for.
    pub fn bytes(&self, name: &str) -> Vec<u8> {
        unescape(&self.text(name)).unwrap_or_else(|| self.bad(name))
    }

    /// As [`Fields::bytes`], for what must be UTF-8 on the wire.
    pub fn utf8(&self, name: &str) -> String {
        String::from_utf8(self.bytes(name)).unwrap_or_else(|_| self.bad(name))
    }

    /// The bytes that hexadecimal digits stand for.
    pub fn hex(&self, name: &str) -> Vec<u8> {
        unhex(&self.text(name)).unwrap_or_else(|| self.bad(name))
    }

    /// A number written in octal.
    pub fn octal(&self, name: &str) -> u32 {
        u32::from_str_radix(&self.text(name), 8).unwrap_or_else(|_| self.bad(name))
    }

    /// A list.
    pub fn array(&self, name: &str) -> &'a [Value] {
        self.optional(name).and_then(Value::as_array).unwrap_or_else(|| self.bad(name))
    }

    /// A list of names of files, as bytes.
    pub fn names(&self, name: &str) -> Vec<Vec<u8>> {
        let bytes = |value: &Value| value.as_str().and_then(unescape);
        let names: Option<_> = self.array(name).iter().map(bytes).collect();
        names.unwrap_or_else(|| self.bad(name))
    }

    /// # Panics
    /// If there is a field that nobody asked for.
    pub fn finish(&self) {
        let used = self.used.borrow();
        let unknown: Vec<_> = self.map.keys().filter(|name| !used.contains(&name[..])).collect();
        assert!(unknown.is_empty(), "{}: unknown fields {unknown:?}", self.label);
    }
}
