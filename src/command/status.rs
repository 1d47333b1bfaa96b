//! `dsfs status`: a server on one screen.

use std::fmt::Write as _;
use std::io::Write;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::Error;
use super::figures::{count, micros, name, seconds, size};
use super::rates::{self, Look, Rates};
use super::remote::Server;
use crate::client::Printable;
use crate::client::admin::{Admin, Connection, Device, Inner, Mount, Totals};

/// Show a server on one screen: devices, legs, clients, rates.
///
/// Its devices and their legs, what is being made equal, its clients, and how much they do.
/// Rates are those of the second in which it looks.
#[derive(Debug, Args)]
pub struct Options {
    /// For how long to look, in seconds; 0: only what has been done since the start
    #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u16).range(..=3600))]
    seconds: u16,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: Server,
}

/// Clients that are shown, the busiest first, and lines of the log: what fits a screen.
const CLIENTS: usize = 8;
const LOG: usize = 5;

#[derive(Serialize)]
struct WithRates<'a, T> {
    #[serde(flatten)]
    what: &'a T,
    rates: Rates,
}

#[derive(Serialize)]
struct Status<'a> {
    server: WithRates<'a, Totals>,
    devices: Vec<WithRates<'a, Device>>,
    connections: Vec<WithRates<'a, Connection>>,
    mounts: &'a [Mount],
    log: Vec<&'a str>,
}

impl<'a> Status<'a> {
    fn of(before: &Look, now: &'a Look, log: &'a str) -> Self {
        let devices = now
            .devices
            .iter()
            .map(|what| WithRates { what, rates: rates::of_device(before, now, &what.name) });
        let connections = now
            .connections
            .iter()
            .map(|what| WithRates { what, rates: rates::of_connection(before, now, what) });
        let mut connections: Vec<_> = connections.collect();
        connections.sort_by(|a, b| b.rates.requests.total_cmp(&a.rates.requests));
        let lines: Vec<&str> = log.lines().collect();
        Status {
            server: WithRates { what: &now.stats.server, rates: rates::of_all(before, now) },
            devices: devices.collect(),
            connections,
            mounts: &now.stats.mounts,
            log: lines[lines.len().saturating_sub(LOG)..].to_vec(),
        }
    }

    fn text(&self, addr: &crate::dial::Addr) -> String {
        let (server, rates) = (self.server.what, &self.server.rates);
        let mut text = format!(
            "dsfs {} at {addr}, up {}: clients {}, fids {}, under way {}\n",
            Printable(&server.version),
            seconds(server.ms / 1000),
            server.connections,
            server.fids,
            server.pending,
        );
        let _ = writeln!(
            text,
            "{} requests/s, {} failed/s; in {}/s, out {}/s; {} each\n",
            count(rates.requests),
            count(rates.failed),
            size(rates.bytes_in as u64),
            size(rates.bytes_out as u64),
            micros(rates.latency_us),
        );
        let _ = writeln!(
            text,
            "{:<20} {:<6} {:>7} {:<11} {:>8} {:>8} {:>7} {:>6}",
            "device", "kind", "length", "state", "reads/s", "writes/s", "bytes/s", "each"
        );
        for WithRates { what: device, rates } in &self.devices {
            let _ = writeln!(
                text,
                "{:<20} {:<6} {:>7} {:<11} {:>8} {:>8} {:>7} {:>6}",
                name(&device.name, 20),
                name(&device.kind, 6),
                size(device.length),
                name(&device.state, 11),
                count(rates.requests),
                count(rates.writes),
                size((rates.bytes_in + rates.bytes_out) as u64),
                micros(rates.latency_us),
            );
            device.inner.iter().for_each(|inner| text.push_str(&leg(inner, server)));
        }
        for mount in self.mounts {
            let (server, state) = (Printable(&mount.server), Printable(&mount.state));
            let _ =
                writeln!(text, "server {server}: {state}, {} requests under way", mount.pending);
        }
        self.clients(&mut text);
        for line in &self.log {
            let _ = writeln!(text, "{}", Printable(line));
        }
        text
    }

    fn clients(&self, text: &mut String) {
        let heads = ["client", "user", "fids", "reqs", "requests/s", "bytes/s", "each"];
        let [client, user, fids, pending, requests, bytes, each] = heads;
        let _ = writeln!(
            text,
            "\n{client:<26} {user:<10} {fids:>5} {pending:>5} {requests:>10} {bytes:>8} {each:>7}"
        );
        for WithRates { what: client, rates } in self.connections.iter().take(CLIENTS) {
            let _ = writeln!(
                text,
                "{:<26} {:<10} {:>5} {:>5} {:>10} {:>8} {:>7}",
                name(&client.peer, 26),
                name(&client.user, 10),
                client.fids,
                client.pending,
                count(rates.requests),
                size((rates.bytes_in + rates.bytes_out) as u64),
                micros(rates.latency_us),
            );
        }
        let more = self.connections.len().saturating_sub(CLIENTS);
        if more > 0 {
            let _ = writeln!(text, "and {more} more");
        }
        text.push('\n');
    }
}

/// A leg's line, if there is something to say of it: nobody needs to read that all is well.
fn leg(inner: &Inner, server: &Totals) -> String {
    let leg = inner.leg.as_ref().filter(|leg| leg.state != "in-service" || leg.stale > 0);
    let Some(leg) = leg else { return String::new() };
    let mut line = format!("  {} {}", Printable(&inner.name), Printable(&leg.state));
    if let Some(why) = leg.why.as_deref().filter(|why| !why.is_empty()) {
        line.push_str(&format!(" ({})", Printable(why)));
    }
    line.push_str(&format!(": {}", left(leg.stale, server)));
    line + "\n"
}

/// How much is to be made equal again, and how long that takes at least.
pub(super) fn left(stale: u64, server: &Totals) -> String {
    match (server.paused, server.rate) {
        (true, _) => format!("{} left, paused", size(stale)),
        (false, rate) => {
            format!("{} left, {} or more", size(stale), seconds(stale.div_ceil(rate.max(1))))
        }
    }
}

impl Options {
    /// Looks, and prints.
    ///
    /// # Errors
    /// If there is no server, or it has no admin tree.
    pub fn run(self, out: &mut dyn Write) -> Result<(), Error> {
        let mut admin: Admin = self.server.admin()?;
        let between = Duration::from_secs(self.seconds.into());
        let (before, now) = Look::twice(&mut admin, between)?;
        let log = admin.log()?;
        let status = Status::of(&before, &now, &log);
        if self.json {
            return super::json(&status, out);
        }
        out.write_all(status.text(admin.addr()).as_bytes()).map_err(Error::Output)
    }
}
