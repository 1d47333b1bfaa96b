//! Which family of tests a case belongs to, so that the name of a test that fails says where to
//! look. Only names: what a case is, the rows say.

use crate::row::Case;

/// The families of devds.jsonl and the names in them: whole, or the start of a name before a `*`.
/// The first that fits is the one.
const DEVDS: &[(&str, &[&str])] = &[
    ("chars", &["chars/*"]),
    ("unknown", &["unknown-*", "comment", "star", "del", "disk-*", "clear-*"]),
    (
        "syntax",
        &[
            "mirror-valid",
            "cat-valid",
            "inter-valid",
            "part-valid",
            "no-trailing-newline",
            "leading-newline",
            "crlf",
            "tabs",
            "empty-write",
            "newline-only-*",
            "blank-*",
            "two-newlines",
            "quotes-*",
            "nul-*",
            "cmd-*",
            "offset-*",
            "misc",
        ],
    ),
    (
        "args",
        &[
            "mirror-alone*",
            "mirror-noname*",
            "cat-alone*",
            "cat-one-*",
            "inter-alone*",
            "inter-noname*",
            "inter-one-*",
            "part-alone*",
            "part-1*",
            "part-2*",
            "part-3*",
            "dup-*",
            "9-inner-*",
        ],
    ),
    ("names", &["name-*", "longname", "shadow"]),
    ("inner_names", &["inner-*"]),
    ("refused", &["two-commands-*", "fail-*", "ok-after-*"]),
    ("size", &["size-*", "big"]),
    ("behind_its_back", &["shrunk-*", "grown-*", "unlinked-*", "part-shrunk"]),
    ("part", &["part*"]),
    ("mirror", &["mirror*"]),
    ("no_inner_files", &["noinner*"]),
    ("limits", &["cap", "conf*"]),
    ("nested", &["nest", "x", "zl"]),
    ("inter", &["inter*"]),
    ("cat", &["cat*"]),
    ("another_user", &["nonroot"]),
    ("file_server", &["fs*", "two", "flush", "order", "ctlread"]),
];

/// The family of a case, as the tests of its file name it; `None` if nobody thought of it.
pub fn family(case: &Case) -> Option<String> {
    match case.file {
        "plan9fs" => case.family.clone(),
        "lab15" => Some("lab15".to_owned()),
        "deviations" => deviation(&case.name),
        _ => DEVDS
            .iter()
            .find(|(_, names)| names.iter().any(|name| fits(name, &case.name)))
            .map(|(family, _)| (*family).to_owned()),
    }
}

/// `extra/D9-grown` is of family `d9`, `more/walks-0` of family `walks`.
fn deviation(name: &str) -> Option<String> {
    let (kind, rest) = name.split_once('/')?;
    match kind {
        "extra" => Some(rest.split_once('-')?.0.to_lowercase()),
        "more" => Some(rest.rsplit_once('-')?.0.replace('-', "_")),
        _ => None,
    }
}

fn fits(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern || name.split_once('#').is_some_and(|(base, _)| base == pattern),
    }
}
