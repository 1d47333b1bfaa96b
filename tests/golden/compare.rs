//! What came against what was wanted. Both are JSON in the form of the recordings: every field
//! that is wanted must have come and be the same; fields that nobody wants are not looked at.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

/// How far a time that should be `"now"` may be from the clock, in seconds.
const NOW: u64 = 300;

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// Where: `reply.Rread.count`.
    pub path: String,
    /// What is wrong.
    pub what: String,
}

impl Mismatch {
    /// `path` should be `wanted`, and is `came`.
    pub fn new(path: &str, wanted: &Value, came: Option<&Value>) -> Mismatch {
        let what = match (wanted, came) {
            (Value::String(wanted), Some(Value::String(came))) => differ(came, wanted),
            (_, Some(came)) => {
                format!("came   {}\nwanted {}", cut(&came.to_string()), cut(&wanted.to_string()))
            }
            (_, None) => format!("came   nothing\nwanted {}", cut(&wanted.to_string())),
        };
        Mismatch { path: path.to_owned(), what }
    }
}

/// All differences between `wanted` and `came`, which are called `path`.
pub fn compare(path: &str, wanted: &Value, came: &Value) -> Vec<Mismatch> {
    let mut found = Vec::new();
    look(path, wanted, Some(came), &mut found);
    found
}

fn look(path: &str, wanted: &Value, came: Option<&Value>, found: &mut Vec<Mismatch>) {
    let Some(came) = came else {
        return found.push(Mismatch::new(path, wanted, None));
    };
    match (wanted, came) {
        // An object lists what has to be there, but for the files that changed: it has them all.
        (Value::Object(fields), Value::Object(others)) => {
            if path.ends_with("inner_changed") && fields.len() != others.len() {
                return found.push(Mismatch::new(path, wanted, Some(came)));
            }
            // A reply of another kind is one difference, shown whole.
            if path == "reply" && !fields.keys().all(|name| others.contains_key(name)) {
                return found.push(Mismatch::new(path, wanted, Some(came)));
            }
            for (name, value) in fields {
                look(&format!("{path}.{name}"), value, others.get(name), found);
            }
        }
        (Value::Array(items), Value::Array(others)) => {
            if items.len() != others.len() {
                return found.push(Mismatch::new(path, wanted, Some(came)));
            }
            for (index, value) in items.iter().enumerate() {
                look(&format!("{path}[{index}]"), value, others.get(index), found);
            }
        }
        _ if leaf_matches(path, wanted, came) => {}
        _ => found.push(Mismatch::new(path, wanted, Some(came))),
    }
}

fn leaf_matches(path: &str, wanted: &Value, came: &Value) -> bool {
    match (wanted.as_str(), came.as_u64()) {
        (Some("now"), Some(time)) if path.ends_with("time") => time.abs_diff(clock()) <= NOW,
        // dsfs has no fid after a Tremove (remove(5)); this is how it shows.
        (Some("gone"), None) if path.ends_with("fid_after") => came == "no such fid",
        _ => wanted == came,
    }
}

/// Seconds since 1970.
pub fn clock() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

/// Two texts one above the other; of long ones, only where they begin to differ.
fn differ(came: &str, wanted: &str) -> String {
    const SHORT: usize = 160;
    const BEFORE: usize = 40;
    if came.len().max(wanted.len()) <= SHORT {
        return format!("came   {came:?}\nwanted {wanted:?}");
    }
    let same = came.bytes().zip(wanted.bytes()).take_while(|(a, b)| a == b).count();
    let start = same.saturating_sub(BEFORE);
    let part = |text: &str| {
        let start = text.floor_char_boundary(start);
        let end = text.floor_char_boundary(start + SHORT);
        format!("{:?} ({} in all)", &text[start..end], text.len())
    };
    format!("from {start}, came   {}\nfrom {start}, wanted {}", part(came), part(wanted))
}

fn cut(text: &str) -> String {
    const LONGEST: usize = 1000;
    match text.len() {
        len if len > LONGEST => format!("{} ...", &text[..text.floor_char_boundary(LONGEST)]),
        _ => text.to_owned(),
    }
}
