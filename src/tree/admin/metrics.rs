//! `metrics`: all that is counted, as OpenMetrics text. The names and their help are here, the format
//! is prometheus-client's.

use std::fmt::Error;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::overview::{self, Row};
use crate::observe::{BOUNDS, Histogram, KINDS};
use crate::tree::World;

const NANOS: f64 = 1e9;

#[derive(Debug)]
enum Value {
    Count(u64),
    Sum(f64),
    Now(u64),
    Took(Histogram),
}

type Labels = Vec<(&'static str, String)>;

/// Values of one name, which differ in their labels.
#[derive(Debug)]
struct Family {
    name: &'static str,
    help: &'static str,
    unit: Option<Unit>,
    kind: MetricType,
    values: Vec<(Labels, Value)>,
}

/// What the text is made of. It is on its own, since a registry wants what could be sent elsewhere.
#[derive(Debug, Default)]
struct Families(Vec<Family>);

impl Families {
    fn add(
        &mut self,
        (name, help): (&'static str, &'static str),
        unit: Option<Unit>,
        kind: MetricType,
        values: impl IntoIterator<Item = (Labels, Value)>,
    ) {
        let values: Vec<_> = values.into_iter().collect();
        if !values.is_empty() {
            self.0.push(Family { name, help, unit, kind, values });
        }
    }

    fn counts(
        &mut self,
        name: (&'static str, &'static str),
        unit: Option<Unit>,
        values: impl IntoIterator<Item = (Labels, u64)>,
    ) {
        let values = values.into_iter().map(|(labels, count)| (labels, Value::Count(count)));
        self.add(name, unit, MetricType::Counter, values);
    }

    fn gauges(
        &mut self,
        name: (&'static str, &'static str),
        unit: Option<Unit>,
        values: impl IntoIterator<Item = (Labels, u64)>,
    ) {
        let values = values.into_iter().map(|(labels, now)| (labels, Value::Now(now)));
        self.add(name, unit, MetricType::Gauge, values);
    }

    fn gauge(&mut self, name: (&'static str, &'static str), unit: Option<Unit>, now: u64) {
        self.gauges(name, unit, [(Vec::new(), now)]);
    }
}

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        for Family { name, help, unit, kind, values } in &self.0 {
            let mut family = encoder.encode_descriptor(name, help, unit.as_ref(), *kind)?;
            for (labels, value) in values {
                match labels.is_empty() {
                    true => value.encode(&mut family)?,
                    false => value.encode(&mut family.encode_family(labels)?)?,
                }
            }
        }
        Ok(())
    }
}

impl Value {
    fn encode(&self, place: &mut MetricEncoder<'_>) -> Result<(), Error> {
        match self {
            Value::Count(count) => place.encode_counter::<NoLabelSet, _, f64>(count, None),
            Value::Sum(sum) => place.encode_counter::<NoLabelSet, _, f64>(sum, None),
            Value::Now(now) => place.encode_gauge(now),
            Value::Took(took) => {
                let bounds = BOUNDS.iter().map(|&bound| bound as f64 / NANOS);
                let buckets: Vec<_> = bounds.chain([f64::INFINITY]).zip(took.buckets).collect();
                let (sum, count) = (took.nanos as f64 / NANOS, took.count());
                place.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
            }
        }
    }
}

/// All that is counted.
pub(in crate::tree) fn metrics(world: &World) -> String {
    let mut families = Families::default();
    let rows = overview::rows(world);
    of_clients(world, &mut families);
    of_devices(&rows, &mut families);
    of_mirrors(&rows, &mut families);
    of_mounts(world, &mut families);
    let mut registry = Registry::with_prefix("dsfs");
    registry.register_collector(Box::new(families));
    let mut text = String::new();
    // A String takes whatever is written to it.
    let _ = text::encode(&mut text, &registry);
    text
}

fn of_clients(world: &World, families: &mut Families) {
    let seen = &world.observed;
    let version = vec![("version", env!("CARGO_PKG_VERSION").to_string())];
    families.gauges(("build", "What runs"), None, [(version, 1)]);
    let start = ("start_time", "When the server was started, since 1970");
    families.gauge(start, Some(Unit::Seconds), seen.since.into());
    let kinds = || {
        seen.requests
            .iter()
            .zip(KINDS)
            .filter(|(requests, _)| requests.done + requests.failed + requests.flushed > 0)
    };
    let ends = kinds().flat_map(|(requests, kind)| {
        let ends =
            [("done", requests.done), ("failed", requests.failed), ("flushed", requests.flushed)];
        ends.map(|(end, count)| (vec![("type", kind.into()), ("outcome", end.into())], count))
    });
    families.counts(("requests", "Requests that are over"), None, ends);
    let took = kinds().map(|(requests, kind)| {
        (vec![("type", kind.into())], Value::Took(requests.latency.clone()))
    });
    let name = ("request_duration", "From when the loop had a request until its reply was sent");
    families.add(name, Some(Unit::Seconds), MetricType::Histogram, took);
    let alone = |count| [(Vec::new(), count)];
    let bytes = Some(Unit::Bytes);
    families.counts(("received", "Requests"), bytes.clone(), alone(seen.received));
    families.counts(("sent", "Replies"), bytes.clone(), alone(seen.sent));
    families.counts(("connections_accepted", "Clients that came"), None, alone(seen.accepted));
    let sum = |of: fn(&crate::observe::Connection) -> u64| {
        seen.connections.values().map(|connection| of(connection)).sum()
    };
    families.gauge(("connections", "Clients"), None, seen.connections.len() as u64);
    families.gauge(("fids", "Fids of all clients"), None, sum(|seen| seen.fids.get().into()));
    let name = ("requests_pending", "Requests under way");
    families.gauge(name, None, sum(|seen| seen.pending.get().into()));
    let name = ("replies_unread", "Replies that clients have not taken");
    families.gauge(name, bytes, sum(|seen| seen.unread.get() as u64));
    let name = ("transfers_pending", "Reads, writes and syncs of files under way");
    families.gauge(name, None, world.transfers.len() as u64);
    let name = ("jobs_pending", "Jobs of the worker threads that are not done");
    families.gauge(name, None, seen.jobs as u64);
}

fn of_devices(rows: &[Row], families: &mut Families) {
    let entries = || rows.iter().filter_map(|row| Some((row, row.entry.as_ref()?)));
    let labels = |row: &Row| vec![("device", row.name.clone())];
    let of = |row: &Row, op: &str| vec![("device", row.name.clone()), ("op", op.into())];
    let times = entries().flat_map(|(row, entry)| {
        let counts = &entry.counts;
        let both = [("read", counts.reads.get().0), ("write", counts.writes.get().0)];
        both.map(|(op, count)| (of(row, op), count))
    });
    families.counts(("device_operations", "Reads and writes that succeeded"), None, times);
    let moved = entries().flat_map(|(row, entry)| {
        let counts = &entry.counts;
        let both = [("read", counts.reads.get().1), ("write", counts.writes.get().1)];
        both.map(|(op, count)| (of(row, op), count))
    });
    families.counts(("device", "Bytes read and written"), Some(Unit::Bytes), moved);
    let failed = entries().map(|(row, entry)| (labels(row), entry.counts.failed.get()));
    families.counts(("device_errors", "Reads and writes that failed"), None, failed);
    let took = entries()
        .map(|(row, entry)| (labels(row), Value::Sum(entry.counts.nanos.get() as f64 / NANOS)));
    let name = ("device_duration", "What all reads and writes took together");
    families.add(name, Some(Unit::Seconds), MetricType::Counter, took);
    let pending = entries().map(|(row, entry)| (labels(row), entry.counts.pending.get() as u64));
    families.gauges(("device_pending", "Reads and writes under way"), None, pending);
    let length = rows.iter().map(|row| {
        let kind = overview::kind(&row.device).into();
        let labels = vec![("device", row.name.clone()), ("kind", kind)];
        (labels, row.device.geometry.length())
    });
    families.gauges(("device_length", "Lengths of the devices"), Some(Unit::Bytes), length);
    let state =
        rows.iter().map(|row| (vec![("device", row.name.clone()), ("state", row.state.into())], 1));
    families.gauges(("device_state", "1 for the state that a device is in"), None, state);
}

fn of_mirrors(rows: &[Row], families: &mut Families) {
    let mut marked = Vec::new();
    let (mut state, mut stale, mut resynced) = (Vec::new(), Vec::new(), Vec::new());
    for row in rows {
        let Some(mirror) = row.device.mirror() else { continue };
        marked.push((vec![("device", row.name.clone())], mirror.bytes(mirror.marked())));
        for (place, leg) in mirror.legs().iter().enumerate() {
            let labels = || {
                let file = overview::inner_name(row.entry.as_ref(), place);
                vec![("device", row.name.clone()), ("leg", place.to_string()), ("file", file)]
            };
            let with_state = [labels(), vec![("state", leg.service.word().into())]].concat();
            state.push((with_state, 1));
            stale.push((labels(), mirror.bytes(&leg.stale)));
            resynced.push((labels(), leg.resynced));
        }
    }
    let bytes = || Some(Unit::Bytes);
    families.gauges(("mirror_marked", "What may differ after a crash"), bytes(), marked);
    families.gauges(("leg_state", "1 for the state that a leg is in"), None, state);
    families.gauges(("leg_stale", "What is to be made equal again"), bytes(), stale);
    families.counts(("leg_resynced", "What was compared and made equal"), bytes(), resynced);
}

fn of_mounts(world: &World, families: &mut Families) {
    let mounts = || world.names.remotes().iter().zip(&world.observed.mounts).enumerate();
    let labels =
        |number: usize, dial: String| vec![("mount", number.to_string()), ("server", dial)];
    let up = mounts().map(|(number, (remote, mount))| {
        (labels(number, remote.dial.to_string()), u64::from(mount.up.get()))
    });
    families.gauges(("mount_up", "Whether a server of the name space is connected"), None, up);
    let pending = mounts().map(|(number, (remote, mount))| {
        (labels(number, remote.dial.to_string()), mount.pending.get() as u64)
    });
    families.gauges(("mount_pending", "Requests that it has not answered"), None, pending);
}
