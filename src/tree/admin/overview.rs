//! The texts of the admin tree that say what there is and what it has done: `devices`, `connections`
//! and `stats`. One line a thing; a line is words with Plan 9's quoting: what it is, its number or
//! name, then names of values, each followed by its value. Who reads them should pass over names that
//! it does not know, as there may be more one day.

use std::fmt::Write;
use std::rc::Rc;

use styx::words;

use crate::ctl::Entry;
use crate::device::Kind;
use crate::inner::{Device, File, FileKey, Inner};
use crate::integrity::{Mirror, Service};
use crate::observe::KINDS;
use crate::tree::World;
use crate::tree::journal::date;

/// One device.
pub(super) struct Row {
    /// `ds/m0`; of a deleted one that others are made of, as they call it.
    pub name: String,
    pub device: Rc<Device>,
    /// What the table has of it; nothing if it was deleted.
    pub entry: Option<Rc<Entry>>,
    /// The stable word of `devices`.
    pub state: &'static str,
}

/// All devices, each after those that it is made of; its number is its place.
pub(super) fn rows(world: &World) -> Vec<Row> {
    let mut rows = Vec::new();
    let entries: Vec<&Rc<Entry>> = world.control.table().iter().map(|(_, _, e)| e).collect();
    for entry in &entries {
        let name = format!("{}/{}", entry.config().dir, entry.config().name);
        add(world, &entries, &name, &entry.device, &mut rows);
    }
    rows
}

fn add(
    world: &World,
    entries: &[&Rc<Entry>],
    name: &str,
    device: &Rc<Device>,
    rows: &mut Vec<Row>,
) {
    if number(rows, device).is_some() {
        return;
    }
    let entry = entries.iter().find(|entry| Rc::ptr_eq(&entry.device, device)).copied();
    for (place, inner) in device.inner().iter().enumerate() {
        if let Inner::Device(inner) = inner {
            add(world, entries, &inner_name(entry, place), inner, rows);
        }
    }
    let name = match entry {
        Some(entry) => format!("{}/{}", entry.config().dir, entry.config().name),
        None => name.to_string(),
    };
    let state = state(world, rows, device);
    rows.push(Row { name, device: device.clone(), entry: entry.cloned(), state });
}

/// The number of a device among those that were listed.
pub(super) fn number(rows: &[Row], device: &Rc<Device>) -> Option<usize> {
    rows.iter().position(|row| Rc::ptr_eq(&row.device, device))
}

/// What an inner file is called in the message that made the device; of a deleted device that is not
/// known any more.
pub(super) fn inner_name(entry: Option<&Rc<Entry>>, place: usize) -> String {
    let name = entry.and_then(|entry| entry.config().inner.get(place).cloned());
    name.unwrap_or_else(|| "?".into())
}

/// The stable word for how a mirror is.
pub(super) fn mirror_state(mirror: &Mirror) -> &'static str {
    let any = |service| mirror.legs().iter().any(|leg| leg.service == service);
    let stale = mirror.legs().iter().any(|leg| !leg.stale.is_empty());
    match () {
        () if any(Service::Out) || any(Service::Held) => "degraded",
        () if any(Service::CatchingUp) || stale => "resyncing",
        () => "equal",
    }
}

/// The stable word for how a device is.
fn state(world: &World, rows: &[Row], device: &Rc<Device>) -> &'static str {
    let reached = |inner: &Inner| is_reached(world, rows, inner);
    if device.is_gone() {
        return "deleted";
    }
    match device.mirror() {
        Some(mirror) if device.inner().iter().any(reached) || device.inner().is_empty() => {
            mirror_state(&mirror)
        }
        None if *device.geometry.kind() == Kind::Crypt && device.cipher.is_none() => "no-key",
        None if device.inner().iter().all(reached) => "ok",
        _ => "unreachable",
    }
}

fn is_reached(world: &World, rows: &[Row], inner: &Inner) -> bool {
    match inner {
        Inner::File(File::Local(_)) | Inner::Ctl => true,
        Inner::Absent(_) => false,
        Inner::File(File::Remote(file)) => {
            world.observed.mounts.get(file.mount()).is_none_or(|mount| mount.up.get())
        }
        Inner::Device(device) => {
            number(rows, device).is_none_or(|number| rows[number].state != "unreachable")
        }
    }
}

/// A word that stays on its line, whatever is in it.
pub(super) fn word(text: &str) -> String {
    words::quote(&text.replace(char::is_control, "\u{fffd}")).into_owned()
}

/// The stable word for a kind of device.
pub(super) fn kind(device: &Device) -> &'static str {
    match device.geometry.kind() {
        Kind::Mirror => "mirror",
        Kind::Cat => "cat",
        Kind::Inter => "inter",
        Kind::Part { .. } => "part",
        Kind::Crypt => "crypt",
    }
}

/// `devices`: a line for each device, and after it one for each of its inner files.
pub(super) fn devices(world: &World) -> String {
    let rows = rows(world);
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        let Row { name, device, entry, state } = row;
        let length = device.geometry.length();
        let (name, kind) = (word(name), kind(device));
        let opens = entry.as_ref().map_or(0, |entry| entry.opens.get());
        let _ = write!(text, "device {number} {name} {kind} length {length} state {state}");
        let _ = write!(text, " depth {} opens {opens}", device.depth());
        if let Kind::Part { start } = device.geometry.kind() {
            let _ = write!(text, " start {start}");
        }
        if let Some(mirror) = device.mirror() {
            let (region, marked) = (mirror.scale().region(), mirror.bytes(mirror.marked()));
            let _ = write!(text, " region {region} marked {marked}");
        }
        if let Some(verified) = entry.as_ref().and_then(|entry| world.upkeep.verified(entry)) {
            let _ = write!(text, " verified {verified}");
        }
        text.push('\n');
        for (place, inner) in device.inner().iter().enumerate() {
            let name = word(&inner_name(entry.as_ref(), place));
            let _ = write!(text, "inner {number} {place} {name} ");
            let length = device.geometry.inner_length(place);
            text.push_str(&inner_line(world, &rows, inner, length));
            if let Some(mirror) = device.mirror() {
                text.push_str(&leg_words(&mirror, place));
            }
            text.push('\n');
        }
    }
    text
}

/// What an inner file is, from its kind on.
fn inner_line(world: &World, rows: &[Row], inner: &Inner, length: u64) -> String {
    let state = if is_reached(world, rows, inner) { "ok" } else { "unreachable" };
    match inner {
        Inner::Ctl => "ctl length 0 state ok".into(),
        Inner::Absent(_) => format!("file length {length} state missing"),
        Inner::Device(device) => {
            let number = number(rows, device).unwrap_or_default();
            format!("device length {length} state {} device {number}", rows[number].state)
        }
        Inner::File(file) => {
            let (kind, id) = match file.key() {
                FileKey::Local(device, inode) => ("file", format!("host!{device}!{inode}")),
                FileKey::Remote(mount, path) => ("remote", format!("mount{mount}!{path}")),
            };
            let mut line = format!("{kind} length {length} state {state} id {id}");
            if let File::Remote(file) = file
                && let Some(remote) = world.names.remotes().get(file.mount())
            {
                let _ = write!(line, " server {}", word(&remote.dial.to_string()));
            }
            line
        }
    }
}

/// What is known of a leg of a mirror.
fn leg_words(mirror: &Mirror, place: usize) -> String {
    let Some(leg) = mirror.legs().get(place) else { return String::new() };
    let (service, stale) = (leg.service.word(), mirror.bytes(&leg.stale));
    let mut line = format!(" leg {service} stale {stale} resynced {}", leg.resynced);
    if leg.service != Service::In {
        let _ = write!(line, " why {}", word(&leg.why));
    }
    line
}

/// `connections`: a line for each client.
pub(super) fn connections(world: &World) -> String {
    let mut all: Vec<_> = world.observed.connections.values().collect();
    all.sort_by_key(|connection| connection.number);
    let mut text = String::new();
    for seen in all {
        let attached = seen.attached.borrow();
        let (user, tree) = (word(&attached.0), word(&attached.1));
        let _ = writeln!(
            text,
            "connection {} {} user {user} tree {tree} msize {} fids {} pending {} unread {} \
             answered {} failed {} received {} sent {} us {} since {}",
            seen.number,
            word(&seen.peer),
            seen.msize.get(),
            seen.fids.get(),
            seen.pending.get(),
            seen.unread.get(),
            seen.answered.get(),
            seen.failed.get(),
            seen.received.get(),
            seen.sent.get(),
            seen.nanos.get() / 1000,
            date(u64::from(seen.since) * 1000),
        );
    }
    text
}

/// `stats`: what was done since the server was started.
pub(super) fn stats(world: &World) -> String {
    let seen = &world.observed;
    let fids: u64 =
        seen.connections.values().map(|connection| u64::from(connection.fids.get())).sum();
    let pending: u64 =
        seen.connections.values().map(|connection| u64::from(connection.pending.get())).sum();
    let mut text = format!(
        "server version {} since {} ms {} connections {} accepted {} fids {fids} pending {pending} \
         transfers {} jobs {} received {} sent {} log {}\n",
        env!("CARGO_PKG_VERSION"),
        date(u64::from(seen.since) * 1000),
        world
            .turn
            .zip(seen.started)
            .map_or(0, |(turn, start)| turn.duration_since(start).as_millis()),
        seen.connections.len(),
        seen.accepted,
        world.transfers.len(),
        seen.jobs,
        seen.received,
        seen.sent,
        world.upkeep.journal.end(),
    );
    let (pace, word_of) = (&world.upkeep.pace, |paused| if paused { "paused" } else { "running" });
    let _ = writeln!(text, "upkeep {} rate {}", word_of(pace.is_paused()), pace.rate());
    for (requests, name) in seen.requests.iter().zip(KINDS).filter(|(_, name)| !name.is_empty()) {
        let us = requests.latency.nanos / 1000;
        let (done, failed, flushed) = (requests.done, requests.failed, requests.flushed);
        let _ =
            writeln!(text, "request {name} done {done} failed {failed} flushed {flushed} us {us}");
    }
    for (number, row) in rows(world).iter().enumerate() {
        let Some(entry) = &row.entry else { continue };
        let counts = &entry.counts;
        let ((reads, read_bytes), (writes, write_bytes)) =
            (counts.reads.get(), counts.writes.get());
        let _ = writeln!(
            text,
            "device {number} {} reads {reads} read-bytes {read_bytes} writes {writes} write-bytes \
             {write_bytes} failed {} pending {} us {}",
            word(&row.name),
            counts.failed.get(),
            counts.pending.get(),
            counts.nanos.get() / 1000,
        );
    }
    for (number, (remote, mount)) in world.names.remotes().iter().zip(&seen.mounts).enumerate() {
        let (dial, aname) = (word(&remote.dial.to_string()), word(&remote.aname));
        let state = if mount.up.get() { "up" } else { "down" };
        let pending = mount.pending.get();
        let _ =
            writeln!(text, "mount {number} {dial} tree {aname} state {state} pending {pending}");
    }
    text
}
