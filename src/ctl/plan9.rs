//! One message of fs(3), in the order of checks of docs/compatibility.md: the numbers in the comments
//! are its. It never opens a file; check 9 and what comes after are not here.

use styx::enames;

use super::dialect::{Dialect, Rules, Verb};
use super::{Command, Config, Devices, DiskDefaults, Key, Keys, Kind, Pattern, check, words_of};

const RULES: &Rules = Dialect::Plan9.rules();

/// The signature of old configurations: a message that starts with it is ignored.
const SIGNATURE: &[u8] = b"fsdev:";

/// With `keys`, those of a saved configuration, a `crypt` need not give its own.
pub(super) fn parse(
    message: &[u8],
    devices: &impl Devices,
    disk: &DiskDefaults,
    keys: Option<&Keys>,
) -> Result<Command, String> {
    // 1
    let ignored = matches!(message.first(), None | Some(0 | b'#' | b'\n'));
    if ignored || message.starts_with(SIGNATURE) {
        return Ok(Command::Nothing);
    }
    // 2
    let words = &words_of(message)?.0;
    let all: Vec<&[u8]> = words.iter().collect();
    // 3
    let unknown = || check::with_message(enames::EUNKNOWNCTL, words);
    let verb = RULES.verb(all[0]).ok_or_else(unknown)?;
    // 4
    let args = &all[1..];
    let wrong_args = || Err(check::with_message(enames::ECMDARGS, words));
    let (mut kind, name, inner) = match verb {
        Verb::Clear if args.is_empty() => return Ok(Command::Clear),
        Verb::Del if args.len() == 1 => return delete(args[0], devices, disk),
        Verb::Clear | Verb::Del => return wrong_args(),
        // 5 and 6
        Verb::Disk => return defaults(args),
        Verb::Mirror => of_many(Kind::Mirror, args)?,
        Verb::Cat => of_many(Kind::Cat, args)?,
        Verb::Inter => of_many(Kind::Inter, args)?,
        Verb::Part => part(args, disk)?,
        Verb::Crypt => crypt(args, keys.is_some())?,
    };
    // 7
    let (dir, name) = split_name(name, disk);
    let dir = device_name(dir)?;
    let name = device_name(name)?;
    let inner = inner.iter().map(|inner| check::characters(inner, true).map(str::to_owned));
    let inner = inner.collect::<Result<_, _>>()?;
    if let (Kind::Crypt { key: key @ None }, Some(keys)) = (&mut kind, keys) {
        *key = keys.get(&dir, &name).cloned();
    }
    Ok(Command::Configure(Config { dir, name, kind, inner, words: Vec::new() }))
}

/// A kind, a name, and inner names.
type Shape<'a> = (Kind, &'a [u8], Vec<&'a [u8]>);

/// `mirror`, `cat`, `inter`: a name and files.
fn of_many<'a>(kind: Kind, args: &[&'a [u8]]) -> Result<Shape<'a>, String> {
    match args {
        [] | [_] => Err(enames::EFEWARGS.into()),
        [_, inner @ ..] if inner.len() > RULES.max_inner => Err(RULES.many_inner.into()),
        [name, inner @ ..] => Ok((kind, name, inner.to_vec())),
    }
}

/// `part NAME FILE START LENGTH`; `part NAME START END` when `disk` gave the file.
fn part<'a>(args: &[&'a [u8]], disk: &'a DiskDefaults) -> Result<Shape<'a>, String> {
    let (name, file, start, length) = match (args, &disk.source) {
        (&[name, file, start, length], _) => {
            (name, file, check::number(start)?, check::number(length)?)
        }
        (&[name, start, end], Some(source)) => {
            let (start, end) = (check::number(start)?, check::number(end)?);
            let length = end.checked_sub(start).ok_or(enames::EBADARG)?;
            (name, source.as_slice(), start, length)
        }
        _ => return Err(enames::EPARTUSAGE.into()),
    };
    let bytes = |units: u64| units.saturating_mul(disk.unit).min(check::MAX_NUMBER);
    Ok((Kind::Part { start: bytes(start), length: bytes(length) }, name, vec![file]))
}

/// `crypt NAME FILE KEY`.
fn crypt<'a>(args: &[&'a [u8]], key_elsewhere: bool) -> Result<Shape<'a>, String> {
    let (name, file, key) = match *args {
        [name, file, key] => (name, file, Some(Key::from_hex(key).ok_or(enames::EBADKEY)?)),
        [name, file] if key_elsewhere => (name, file, None),
        _ => return Err(enames::ECRYPTUSAGE.into()),
    };
    Ok((Kind::Crypt { key }, name, vec![file]))
}

/// `disk DIR [UNIT [FILE]]`: what is left out returns to its default.
fn defaults(args: &[&[u8]]) -> Result<Command, String> {
    let (dir, unit, source) = match *args {
        [dir] => (dir, None, None),
        [dir, unit] => (dir, Some(unit), None),
        [dir, unit, source] => (dir, Some(unit), Some(source)),
        _ => return Err(enames::EDISKUSAGE.into()),
    };
    let unit = unit.map_or(Ok(DiskDefaults::default().unit), check::unit)?;
    Ok(Command::Disk(DiskDefaults { dir: dir.to_vec(), unit, source: source.map(<[u8]>::to_vec) }))
}

/// `del DIR/NAME`: checks 7 and 8. Names that no device can have are not refused, only not found.
fn delete(name: &[u8], devices: &impl Devices, disk: &DiskDefaults) -> Result<Command, String> {
    let (dir, name) = split_name(name, disk);
    let (dir, name) = (check::characters(dir, false)?, check::characters(name, false)?);
    let any_or = |text: &str| (text != "*").then(|| text.to_owned());
    let pattern = Pattern { dir: any_or(dir), name: any_or(name) };
    if pattern.dir.is_some() && !devices.any(&pattern) {
        return Err(enames::ENONEXIST.into());
    }
    Ok(Command::Delete(pattern))
}

/// A name at its first `/`; one without any is in the default directory.
pub(super) fn split_name<'a>(name: &'a [u8], disk: &'a DiskDefaults) -> (&'a [u8], &'a [u8]) {
    match name.iter().position(|&byte| byte == b'/') {
        Some(slash) => (&name[..slash], &name[slash + 1..]),
        None => (&disk.dir, name),
    }
}

/// The name of a new device, or of its directory.
pub(super) fn device_name(name: &[u8]) -> Result<String, String> {
    let name = check::characters(name, false)?;
    check::reachable(name)?;
    Ok(name.to_owned())
}
