//! What a server does now: two looks at its admin tree, and what happened between them.

use std::thread;
use std::time::Duration;

use serde::Serialize;

use super::Error;
use crate::client::admin::{Admin, Connection, Device, Stats, Work};

/// One look.
#[derive(Clone, Debug, Default)]
pub(super) struct Look {
    pub devices: Vec<Device>,
    pub connections: Vec<Connection>,
    pub stats: Stats,
}

/// What happened in a second, on the average of the time between two looks.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Rates {
    /// Requests that were answered; of a device, reads.
    pub requests: f64,
    /// Writes of a device.
    pub writes: f64,
    /// Of these, those that failed.
    pub failed: f64,
    /// Bytes that came in; of a device, that were written.
    pub bytes_in: f64,
    /// Bytes that went out; of a device, that were read.
    pub bytes_out: f64,
    /// How long one took on the average, in microseconds; `None` if there was none.
    pub latency_us: Option<f64>,
}

impl Look {
    pub fn at(admin: &mut Admin) -> Result<Self, Error> {
        let devices = admin.devices()?;
        let connections = admin.connections()?;
        Ok(Look { devices, connections, stats: admin.stats()? })
    }

    /// Two looks with some time between them; one, twice, if that is none.
    pub fn twice(admin: &mut Admin, between: Duration) -> Result<(Self, Self), Error> {
        let before = Look::at(admin)?;
        if between.is_zero() {
            return Ok((before.clone(), before));
        }
        thread::sleep(between);
        Ok((before, Look::at(admin)?))
    }

    /// What clients have done with a device, if it is there.
    pub fn work(&self, name: &str) -> Option<&Work> {
        self.stats.devices.iter().find(|work| work.name == name)
    }
}

/// How much a number that only grows has grown in a second; nothing if the server was started anew.
struct Second(f64);

impl Second {
    fn between(before: &Look, now: &Look) -> Self {
        Second(now.stats.server.ms.saturating_sub(before.stats.server.ms) as f64 / 1000.0)
    }

    fn rate(&self, before: u64, now: u64) -> f64 {
        if self.0 > 0.0 { now.saturating_sub(before) as f64 / self.0 } else { 0.0 }
    }
}

fn latency(us: u64, times: u64) -> Option<f64> {
    (times > 0).then(|| us as f64 / times as f64)
}

/// Of all clients together.
pub(super) fn of_all(before: &Look, now: &Look) -> Rates {
    let second = Second::between(before, now);
    let sum = |look: &Look, of: fn(&crate::client::admin::Requests) -> u64| {
        look.stats.requests.iter().map(of).sum::<u64>()
    };
    let both = |of| (sum(before, of), sum(now, of));
    let (done, failed, us) = (both(|r| r.done), both(|r| r.failed), both(|r| r.us));
    let answered = (done.0 + failed.0, done.1 + failed.1);
    let (old, new) = (&before.stats.server, &now.stats.server);
    Rates {
        requests: second.rate(answered.0, answered.1),
        failed: second.rate(failed.0, failed.1),
        bytes_in: second.rate(old.received, new.received),
        bytes_out: second.rate(old.sent, new.sent),
        latency_us: latency(us.1.saturating_sub(us.0), answered.1.saturating_sub(answered.0)),
        ..Rates::default()
    }
}

/// Of a device.
pub(super) fn of_device(before: &Look, now: &Look, name: &str) -> Rates {
    let (Some(old), Some(new)) = (before.work(name), now.work(name)) else {
        return Rates::default();
    };
    let second = Second::between(before, now);
    let times = |work: &Work| work.reads + work.writes + work.failed;
    Rates {
        requests: second.rate(old.reads, new.reads),
        writes: second.rate(old.writes, new.writes),
        failed: second.rate(old.failed, new.failed),
        bytes_in: second.rate(old.write_bytes, new.write_bytes),
        bytes_out: second.rate(old.read_bytes, new.read_bytes),
        latency_us: latency(new.us.saturating_sub(old.us), times(new).saturating_sub(times(old))),
    }
}

/// Of a client.
pub(super) fn of_connection(before: &Look, now: &Look, new: &Connection) -> Rates {
    let Some(old) = before.connections.iter().find(|old| old.number == new.number) else {
        return Rates::default();
    };
    let second = Second::between(before, now);
    Rates {
        requests: second.rate(old.answered, new.answered),
        failed: second.rate(old.failed, new.failed),
        bytes_in: second.rate(old.received, new.received),
        bytes_out: second.rate(old.sent, new.sent),
        latency_us: latency(
            new.us.saturating_sub(old.us),
            new.answered.saturating_sub(old.answered),
        ),
        ..Rates::default()
    }
}
