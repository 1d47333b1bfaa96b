//! `dsfs tree`: what the devices of a server are made of, down to the files.

use std::collections::HashMap;
use std::io::{self, Write};

use clap::Args;

use super::Error;
use super::figures::size;
use super::remote::Server;
use crate::client::Printable;
use crate::client::admin::{Device, Inner};

/// Show the devices of a server as a tree, down to the files.
///
/// A device that is in several others is drawn once, and named where it is again. A file that is used
/// in more than one place says where else.
#[derive(Debug, Args)]
pub struct Options {
    /// These devices alone [default: all that are in no other]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// As JSON, with all that is known
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: Server,
}

/// The device of this name: `ds/m0`, or `m0` where no other directory has one.
pub(super) fn find(devices: &[Device], name: &str) -> Result<usize, Error> {
    let exact = devices.iter().position(|device| device.name == name);
    let last = |device: &Device| device.name.rsplit_once('/').is_some_and(|(_, end)| end == name);
    let found = exact.or_else(|| devices.iter().position(last));
    found.ok_or_else(|| Error::NoDevice { name: name.into() })
}

/// Where a file or a device is used: the device, and the place in it.
type Uses<'a> = HashMap<&'a str, Vec<(usize, usize)>>;

/// What tells an inner file from others: its identity, or the name of the device that it is.
fn identity<'a>(devices: &'a [Device], inner: &'a Inner) -> Option<&'a str> {
    inner.device.map(|number| &devices[number].name[..]).or(inner.id.as_deref())
}

fn uses(devices: &[Device]) -> Uses<'_> {
    let mut uses = Uses::new();
    for (number, device) in devices.iter().enumerate() {
        for (place, inner) in device.inner.iter().enumerate() {
            if let Some(identity) = identity(devices, inner) {
                uses.entry(identity).or_default().push((number, place));
            }
        }
    }
    uses
}

struct Drawing<'a> {
    devices: &'a [Device],
    uses: Uses<'a>,
    drawn: Vec<bool>,
}

/// What a leg is, if there is something to say of it.
fn leg(inner: &Inner) -> String {
    let Some(leg) = &inner.leg else { return String::new() };
    let mut text = String::new();
    if leg.state != "in-service" {
        text = format!("  {}", Printable(&leg.state));
        if let Some(why) = leg.why.as_deref().filter(|why| !why.is_empty()) {
            text.push_str(&format!(" ({})", Printable(why)));
        }
    }
    if leg.stale > 0 {
        text.push_str(&format!("  {} to be made equal", size(leg.stale)));
    }
    text
}

impl Drawing<'_> {
    /// Where else what is here is used.
    fn elsewhere(&self, number: usize, place: usize, inner: &Inner) -> String {
        let all = identity(self.devices, inner).and_then(|identity| self.uses.get(identity));
        let others = all.into_iter().flatten().filter(|&&other| other != (number, place));
        let mut names: Vec<&str> =
            others.map(|&(device, _)| &self.devices[device].name[..]).collect();
        names.dedup();
        if names.is_empty() {
            return String::new();
        }
        let (most, more) = (names.len().min(3), names.len().saturating_sub(3));
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("  also in {}{more}", Printable(&names[..most].join(", ")))
    }

    fn device(&mut self, number: usize, indent: &str, out: &mut dyn Write) -> io::Result<()> {
        let devices = self.devices;
        self.drawn[number] = true;
        let inner = &devices[number].inner;
        for (place, one) in inner.iter().enumerate() {
            let last = place + 1 == inner.len();
            let branch = if last { "\u{2514}\u{2500} " } else { "\u{251c}\u{2500} " };
            let kind = one.device.map_or(&one.kind, |number| &devices[number].kind);
            write!(out, "{indent}{branch}{}", Printable(&one.name))?;
            write!(out, "  {}  {}", Printable(kind), size(one.length))?;
            if one.state != "ok" && one.state != "equal" {
                write!(out, "  {}", Printable(&one.state))?;
            }
            if let Some(server) = &one.server {
                write!(out, "  at {}", Printable(server))?;
            }
            write!(out, "{}{}", leg(one), self.elsewhere(number, place, one))?;
            let again = one.device.is_some_and(|inner| self.drawn[inner]);
            writeln!(out, "{}", if again { "  (above)" } else { "" })?;
            if let Some(below) = one.device.filter(|_| !again) {
                let indent = format!("{indent}{}", if last { "   " } else { "\u{2502}  " });
                self.device(below, &indent, out)?;
            }
        }
        Ok(())
    }
}

fn draw(devices: &[Device], roots: &[usize], out: &mut dyn Write) -> io::Result<()> {
    let mut drawing = Drawing { devices, uses: uses(devices), drawn: vec![false; devices.len()] };
    for &root in roots {
        let device = &devices[root];
        let (name, kind) = (Printable(&device.name), Printable(&device.kind));
        write!(out, "{name}  {kind}  {}  {}", size(device.length), Printable(&device.state))?;
        if let Some(start) = device.start {
            write!(out, "  from byte {start}")?;
        }
        if drawing.drawn[root] {
            writeln!(out, "  (above)")?;
            continue;
        }
        writeln!(out)?;
        drawing.device(root, "", out)?;
    }
    Ok(())
}

impl Options {
    /// Draws.
    ///
    /// # Errors
    /// If there is no server, or it has no admin tree, or no such device.
    pub fn run(self, out: &mut dyn Write) -> Result<(), Error> {
        let devices = self.server.admin()?.devices()?;
        let named: Result<Vec<usize>, Error> =
            self.names.iter().map(|name| find(&devices, name)).collect();
        let mut roots = named?;
        if self.json {
            let chosen: Vec<_> = match roots.is_empty() {
                true => devices.iter().collect(),
                false => roots.iter().map(|&number| &devices[number]).collect(),
            };
            return super::json(&chosen, out);
        }
        if roots.is_empty() {
            let inside = |number| {
                devices.iter().flat_map(|d| &d.inner).any(|inner| inner.device == Some(number))
            };
            roots = (0..devices.len()).filter(|&number| !inside(number)).collect();
        }
        draw(&devices, &roots, out).map_err(Error::Output)
    }
}
