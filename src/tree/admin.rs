//! The admin tree: what is known of the mirrors, and what a person can have done to them. The ds
//! `ctl` knows none of these verbs, so that it stays exactly what ds(3) says.

mod metrics;
mod overview;

use std::collections::VecDeque;
use std::rc::Rc;
use std::task::Poll;

use styx::server::{DirEntries, Ename, Outcome};
use styx::words::{self, lossy};
use styx::{Qid, Stat, dm, enames, qt};

use super::journal::date;
use super::{Owner, World};
use crate::ctl::{Entry, Finder, Replacement};
use crate::integrity::Service;
use crate::limits;

pub(super) use metrics::metrics;

/// A file of this tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Node {
    /// The directory.
    Root,
    /// What is to be done; a read says what the last message did.
    Ctl,
    /// What happens: a read waits for it. Opened at this place of the journal.
    Event(u64),
    /// A text that is made when its start is read. Of an open file, the number of the opening; else 0.
    Text(Text, u64),
}

/// What a text says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Text {
    /// The mirrors and their legs.
    Status,
    /// What has happened.
    Log,
    /// The devices and what they are made of.
    Devices,
    /// The clients.
    Connections,
    /// What has been done.
    Stats,
    /// All that can be counted, as OpenMetrics.
    Metrics,
}

/// The files, in the order of the directory.
const FILES: [(&str, Node); 8] = [
    ("ctl", Node::Ctl),
    ("status", Node::Text(Text::Status, 0)),
    ("event", Node::Event(0)),
    ("log", Node::Text(Text::Log, 0)),
    ("devices", Node::Text(Text::Devices, 0)),
    ("connections", Node::Text(Text::Connections, 0)),
    ("stats", Node::Text(Text::Stats, 0)),
    ("metrics", Node::Text(Text::Metrics, 0)),
];

/// Beyond the qid paths of devices, whose directories are numbered from 0 in the bits above 16.
const FIRST_PATH: u64 = 1 << 62;

const DIR_MODE: u32 = dm::DIR | 0o555;

/// The words of a message at most, one more than any has.
const MAX_WORDS: usize = 8;

/// The longest message, in bytes: verbs, a name and a file's name.
const MAX_MESSAGE: usize = 4096;

const VERBS: &str = "resync, verify, repair, fail, replace, pause, resume or rate";

/// What is kept for the readers of this tree.
#[derive(Debug, Default)]
pub(super) struct Admin {
    /// What the last message to ctl did.
    answer: String,
    /// How often a text has been opened.
    openings: u64,
    /// Texts by the number of the opening, the oldest first.
    texts: VecDeque<(u64, String)>,
}

impl Node {
    /// Its place in [`FILES`]; `None` of the directory.
    fn place(self) -> Option<usize> {
        let same = |other: Node| match (self, other) {
            (Node::Text(text, _), Node::Text(other, _)) => text == other,
            (Node::Event(_), Node::Event(_)) => true,
            (node, other) => node == other,
        };
        FILES.iter().position(|&(_, node)| same(node))
    }
}

pub(super) fn qid(world: &World, node: Node) -> Qid {
    let number = node.place().map_or(0, |place| place as u64 + 1);
    let kind = if node == Node::Root { qt::DIR } else { qt::FILE };
    Qid { kind, vers: world.upkeep.journal.end() as u32, path: FIRST_PATH + number }
}

pub(super) fn walk(node: Node, name: &str) -> Result<Node, Ename> {
    match (node, name) {
        (Node::Root, "" | "." | "..") => Ok(Node::Root),
        (Node::Root, name) => {
            let found = FILES.iter().find(|(other, _)| *other == name);
            found.map(|&(_, node)| node).ok_or_else(|| enames::ENONEXIST.into())
        }
        _ => Err(enames::ENOTDIR.into()),
    }
}

/// The node that a fid opened now stands for.
pub(super) fn opened(world: &mut World, node: Node, writes: bool) -> Result<Node, Ename> {
    match node {
        Node::Root | Node::Event(_) | Node::Text(..) if writes => Err(enames::EPERM.into()),
        Node::Event(_) => Ok(Node::Event(world.upkeep.journal.end())),
        Node::Text(text, _) => {
            world.admin.openings += 1;
            Ok(Node::Text(text, world.admin.openings))
        }
        node => Ok(node),
    }
}

/// A fid is gone: what was kept for it.
pub(super) fn closed(world: &mut World, node: Node) {
    if let Node::Text(_, opening) = node {
        world.admin.texts.retain(|&(other, _)| other != opening);
    }
}

pub(super) fn entry<R>(world: &World, node: Node, with: impl FnOnce(&Stat<'_>) -> R) -> R {
    let (name, mode) = match node.place() {
        None => ("admin", DIR_MODE),
        Some(place) => (FILES[place].0, if node == Node::Ctl { 0o660 } else { 0o444 }),
    };
    let owner = world.settings.owner.as_str();
    with(&Stat {
        kind: u16::from(b'k'),
        dev: 0,
        qid: qid(world, node),
        mode,
        atime: world.now,
        mtime: world.now,
        length: 0,
        name,
        uid: owner,
        gid: owner,
        muid: owner,
    })
}

pub(super) fn list(world: &World, cursor: u64, mut entries: DirEntries) -> DirEntries {
    for (position, &(_, node)) in (0..).zip(&FILES).skip(cursor.min(FILES.len() as u64) as usize) {
        if !entry(world, node, |stat| entries.push(stat, position + 1)) {
            break;
        }
    }
    entries
}

fn give(text: &str, offset: u64, data: &mut [u8]) -> Outcome<usize> {
    let start = usize::try_from(offset).map_or(text.len(), |at| at.min(text.len()));
    let count = (text.len() - start).min(data.len());
    data[..count].copy_from_slice(&text.as_bytes()[start..start + count]);
    Poll::Ready(Ok(count))
}

pub(super) fn read(
    world: &mut World,
    node: Node,
    owner: Owner,
    offset: u64,
    data: &mut [u8],
) -> Outcome<usize> {
    match node {
        Node::Root => Poll::Ready(Err(enames::EPERM.into())),
        Node::Ctl => give(&world.admin.answer, offset, data),
        Node::Text(text, opening) => give(kept(world, text, opening, offset), offset, data),
        Node::Event(start) => {
            let place = start.saturating_add(offset);
            let journal = &mut world.upkeep.journal;
            let text = journal.from(place, data.len());
            if !text.is_empty() {
                data[..text.len()].copy_from_slice(text);
                return Poll::Ready(Ok(text.len()));
            }
            match journal.wait(owner, place, data.len()) {
                true => Poll::Pending,
                false => Poll::Ready(Err("too many reads of event are waiting".into())),
            }
        }
    }
}

/// The text that a reader has begun to read; a new one at its start.
fn kept(world: &mut World, text: Text, opening: u64, offset: u64) -> &str {
    let texts = &world.admin.texts;
    let place = texts.iter().position(|&(other, _)| other == opening);
    if let Some(place) = place.filter(|_| offset > 0) {
        return &world.admin.texts[place].1;
    }
    let made = match text {
        Text::Status => status(world),
        Text::Log => world.upkeep.journal.text().to_string(),
        Text::Devices => overview::devices(world),
        Text::Connections => overview::connections(world),
        Text::Stats => overview::stats(world),
        Text::Metrics => metrics(world),
    };
    let texts = &mut world.admin.texts;
    texts.retain(|&(other, _)| other != opening);
    if texts.len() >= limits::TEXTS {
        texts.pop_front();
    }
    texts.push_back((opening, made));
    texts.back().map_or("", |(_, text)| text)
}

/// Every device, and for each mirror its legs: a line each, of words in a fixed order.
pub(super) fn status(world: &World) -> String {
    let pace = &world.upkeep.pace;
    let word = if pace.is_paused() { "paused" } else { "running" };
    let mut text = format!("upkeep {word} rate {}\n", pace.rate());
    for (_, _, entry) in world.control.table().iter() {
        let config = entry.config();
        let name = overview::word(&format!("{}/{}", config.dir, config.name));
        let length = entry.device.geometry.length();
        let Some(mirror) = entry.device.mirror() else {
            let kind = overview::kind(&entry.device);
            text.push_str(&format!("{kind} {name} length {length}\n"));
            continue;
        };
        let state = overview::mirror_state(&mirror);
        let (region, marked) = (mirror.scale().region(), mirror.bytes(mirror.marked()));
        text.push_str(&format!(
            "mirror {name} {state} length {length} region {region} marked {marked}"
        ));
        if let Some(verified) = world.upkeep.verified(entry) {
            let others =
                mirror.legs().iter().filter(|leg| leg.service == Service::In).count() as u64;
            let left = length.saturating_sub(verified).saturating_mul(others.saturating_sub(1));
            let left = left.div_ceil(pace.rate());
            text.push_str(&format!(" verified {verified} left {left}s"));
        }
        text.push('\n');
        for (number, leg) in mirror.legs().iter().enumerate() {
            let stale = mirror.bytes(&leg.stale);
            let left = stale.div_ceil(pace.rate());
            let word = if leg.absent { "absent" } else { leg.service.word() };
            let resynced = leg.resynced;
            let file = config.inner.get(number).cloned().unwrap_or_default();
            let file = overview::word(&file);
            text.push_str(&format!(
                "leg {name} {number} {word} stale {stale} resynced {resynced} left {left}s file {file}"
            ));
            if leg.unsynced {
                text.push_str(" sync refused");
            }
            if leg.since > 0 {
                text.push_str(&format!(" since {}", date(leg.since)));
            }
            if leg.service != Service::In {
                text.push_str(&format!(" why {}", overview::word(&leg.why)));
            }
            text.push('\n');
        }
    }
    text
}

/// What a message does, which is told when it is done: a read of ctl says it.
#[derive(Debug)]
pub(super) struct Said {
    text: String,
    dry_run: bool,
}

/// What is left of a message when its words are understood.
enum Rest {
    /// Nothing: it is done, and this is said.
    Done(String),
    /// A leg is to be replaced; when that is done, this is said.
    Replace(Replacement, String),
}

/// One message to ctl. What it does, or would do after `dry-run`, is what a read of ctl says.
pub(super) fn write(
    world: &mut World,
    finder: &mut impl Finder,
    message: &[u8],
    (owner, time): (Owner, u64),
) -> Outcome<()> {
    if message.len() > MAX_MESSAGE {
        return Poll::Ready(Err(enames::ECOUNT.into()));
    }
    let split = words::split(message.strip_suffix(b"\n").unwrap_or(message), MAX_WORDS);
    let words: Vec<String> = split.iter().map(|word| lossy(word).into_owned()).collect();
    let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
    let dry_run = words.first() == Some(&"dry-run");
    if dry_run {
        words.remove(0);
    }
    let (replacement, text) = match carry_out(world, &words, dry_run, time)? {
        Rest::Done(text) => (None, text),
        Rest::Replace(replacement, text) => (Some(replacement), text),
    };
    let said = Said { text, dry_run };
    if let Some(replacement) = replacement {
        let replaced = world.control.replace(finder, replacement, (owner, message.len() as u32));
        let Poll::Ready(replaced) = replaced else {
            world.admin_waits.push((owner, said));
            return Poll::Pending;
        };
        replaced?;
    }
    tell(world, said);
    Poll::Ready(Ok(()))
}

/// A message is carried out.
pub(super) fn tell(world: &mut World, Said { text, dry_run }: Said) {
    if !dry_run {
        world.upkeep.journal.add(u64::from(world.now) * 1000, &text);
        world.upkeep.wake();
        world.control.stirred().set(true);
    }
    world.admin.answer = format!("{}{text}\n", if dry_run { "would: " } else { "" });
}

fn carry_out(world: &mut World, words: &[&str], dry: bool, time: u64) -> Result<Rest, Ename> {
    let said = match *words {
        ["resync", name] => {
            let entry = mirror(world, name)?;
            let mut mirror = entry.device.mirror().ok_or(enames::EBADARG)?;
            let stale: u64 = mirror.legs().iter().map(|leg| mirror.bytes(&leg.stale)).sum();
            if !dry {
                mirror.resync();
            }
            format!("resync {name}: {stale} bytes to be compared and made equal")
        }
        ["verify", name] => {
            let entry = mirror(world, name)?;
            let length = entry.device.geometry.length();
            if world.upkeep.verified(&entry).is_some() {
                return Err(format!("verify {name}: under way already; see status").into());
            }
            if !dry {
                world.upkeep.verify(entry);
            }
            format!("verify {name}: {length} bytes of each leg in service to be compared")
        }
        ["repair", name, "from", leg] => {
            let entry = mirror(world, name)?;
            let number = number(&entry, name, leg)?;
            let mut mirror = entry.device.mirror().ok_or(enames::EBADARG)?;
            if let Some(why) = mirror.is_no_source(number) {
                return Err(format!("repair {name} from {number}: {why}").into());
            }
            let others = mirror.legs().len() - 1;
            if !dry {
                mirror.repair_from(number, time);
            }
            let length = entry.device.geometry.length();
            format!(
                "repair {name} from {number}: {others} other legs of {length} bytes are out, and to \
                 be made equal to leg {number}"
            )
        }
        ["fail", name, leg] => {
            let entry = mirror(world, name)?;
            let number = number(&entry, name, leg)?;
            let mirror = entry.device.mirror().ok_or(enames::EBADARG)?;
            let mut others = (0..mirror.legs().len()).filter(|&other| other != number);
            let last = !others.any(|other| mirror.is_read(other));
            drop(mirror);
            let why = match last {
                true => {
                    Some("it is the last one in service; bring another back first (resync)".into())
                }
                false => entry.device.why_needed(number),
            };
            if let Some(why) = why {
                return Err(format!("fail {name} {number}: {why}").into());
            }
            if let (false, Some(mut mirror)) = (dry, entry.device.mirror()) {
                mirror.hold(number, "a person said so", time);
            }
            format!("fail {name} {number}: the leg is out until resync {name}")
        }
        ["replace", name, leg, file] => {
            let entry = mirror(world, name)?;
            let leg = number(&entry, name, leg)?;
            let length = entry.device.geometry.length();
            let shown = words::join([file]);
            let said = format!(
                "replace {name} {leg} {shown}: the leg is out, and its {length} bytes are to be filled \
                 from another one"
            );
            let file = file.to_string();
            return Ok(Rest::Replace(Replacement { entry, leg, file, dry_run: dry }, said));
        }
        ["pause"] | ["resume"] => {
            let pause = words[0] == "pause";
            if !dry {
                world.pace().pause(pause);
            }
            format!("{}: resync and verify {}", words[0], if pause { "wait" } else { "go on" })
        }
        ["rate", bytes] => {
            let advice = "rate: a number of bytes in a second, 1024 or more";
            let rate: u64 = bytes.parse().ok().filter(|&n| n >= 1024).ok_or(advice)?;
            if !dry {
                world.pace().set_rate(rate);
            }
            format!("rate {rate}: bytes in a second for resync and verify")
        }
        [] => return Err(format!("an empty message; the verbs are {VERBS}").into()),
        [verb, ..] => {
            let verb: String = verb.chars().take(32).collect();
            return Err(format!("{verb:?} is no message, or its words are wrong: {VERBS}").into());
        }
    };
    Ok(Rest::Done(said))
}

/// The mirror of that name: `m0`, or with its directory `ds/m0`.
fn mirror(world: &World, name: &str) -> Result<Rc<Entry>, Ename> {
    let shown: String = name.chars().take(64).collect();
    let is_it = |entry: &&Rc<Entry>| {
        let config = entry.config();
        let with_dir = name
            .split_once('/')
            .is_some_and(|(dir, name)| dir == config.dir && name == config.name);
        with_dir || name == config.name && config.dir == world.control.rules().dir
    };
    let mut entries = world.control.table().iter().map(|(_, _, entry)| entry);
    match entries.find(is_it) {
        None => Err(format!("{shown:?}: no such device; status names them").into()),
        Some(entry) if !entry.device.is_mirror() => {
            Err(format!("{shown:?} is no mirror, so it has no legs that could differ").into())
        }
        Some(entry) => Ok(entry.clone()),
    }
}

fn number(entry: &Entry, name: &str, leg: &str) -> Result<usize, Ename> {
    let legs = entry.device.inner().len();
    let shown: String = leg.chars().take(32).collect();
    let number = leg.parse().ok().filter(|&number: &usize| number < legs);
    let most = legs.saturating_sub(1);
    number.ok_or_else(|| format!("{shown:?} is no leg of {name}: they are 0 to {most}").into())
}
