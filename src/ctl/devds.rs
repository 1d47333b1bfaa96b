//! One message of ds(3), in the order of checks of docs/compatibility.md: the numbers in the
//! comments are its. It never opens a file; check 8 is not here.

use styx::enames;

use super::dialect::{Dialect, Rules, Verb};
use super::{Command, Config, Devices, Kind, check, words_of};

const RULES: &Rules = Dialect::Devds.rules();

/// The words of `part`: itself, a name, a file and two numbers.
const PART_WORDS: usize = 5;

pub(super) fn parse(message: &[u8], devices: &impl Devices) -> Result<Command, String> {
    // 0 and 1
    let words = &words_of(message)?.0;
    let all: Vec<&[u8]> = words.iter().collect();
    // 2
    let unknown = || check::with_message(enames::EUNKNOWNCTL, words);
    let verb = RULES.verb(all[0]).ok_or_else(unknown)?;
    // 3
    let (kind, name, inner) = match (verb, &all[1..]) {
        (Verb::Part, &[name, ref inner @ .., start, length]) if all.len() == PART_WORDS => {
            let (start, length) = (check::number(start)?, check::number(length)?);
            (Kind::Part { start, length }, name, inner)
        }
        (Verb::Mirror, &[name, ref inner @ ..]) => (Kind::Mirror, name, inner),
        (Verb::Cat, &[name, ref inner @ ..]) => (Kind::Cat, name, inner),
        (Verb::Inter, &[name, ref inner @ ..]) => (Kind::Inter, name, inner),
        _ => return Err(check::with_message(enames::ECMDARGS, words)),
    };
    // 4
    if is_taken(name, devices) {
        return Err(enames::EEXIST.into());
    }
    // 5
    if inner.len() > RULES.max_inner {
        return Err(RULES.many_inner.into());
    }
    // 6
    let name = check::characters(name, false)?;
    let inner = inner.iter().map(|inner| check::characters(inner, true).map(str::to_owned));
    let inner = inner.collect::<Result<Vec<_>, _>>()?;
    check::reachable(name)?;
    // 7
    if devices.is_full(RULES.dir) {
        return Err(enames::ENODEV.into());
    }
    Ok(Command::Configure(Config {
        dir: RULES.dir.to_owned(),
        name: name.to_owned(),
        kind,
        inner,
        words: all.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect(),
    }))
}

/// Whether the name is a device's or ctl's; one that is not UTF-8 can't be.
fn is_taken(name: &[u8], devices: &impl Devices) -> bool {
    std::str::from_utf8(name)
        .is_ok_and(|name| RULES.is_ctl(RULES.dir, name) || devices.is_taken(RULES.dir, name))
}
