//! `dsfs map`: which bytes of which files a range of a device is.

use std::io::{self, Write};

use clap::Args;
use serde::Serialize;

use super::figures::{name, size};
use super::remote::Server;
use super::{Error, tree};
use crate::client::Printable;
use crate::client::admin::Device;
use crate::device::Geometry;
use crate::limits;

/// Show which bytes of which files a range of a device is.
///
/// There is a line for each file that has bytes of the range, with a bar as wide as the range: where it
/// is dark, the file has those bytes; where it is lighter, a part of them. Of a mirror each leg has all.
#[derive(Debug, Args)]
pub struct Options {
    /// The device
    #[arg(value_name = "NAME")]
    name: String,
    /// Where the range starts, in bytes
    #[arg(long, value_name = "N", default_value_t = 0)]
    offset: u64,
    /// How many bytes it has [default: all up to the end]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: Server,
}

/// The cells of a bar: what is left of 80 columns beside a name and two numbers.
const CELLS: u64 = 32;

/// How dark a cell is of which so many quarters are in the file.
const SHADES: [char; 5] = [' ', '\u{2591}', '\u{2592}', '\u{2593}', '\u{2588}'];

/// The characters of a file's name that are shown.
const NAME: usize = 20;

/// The bytes of a file that are in the range.
#[derive(Debug, Serialize)]
struct Run {
    file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<String>,
    /// Where in the file they start, and how many there are.
    offset: u64,
    count: u64,
    /// The devices on the way to it, and the places in them.
    through: Vec<Step>,
}

#[derive(Clone, Debug, Serialize)]
struct Step {
    device: String,
    inner: usize,
    /// Of the leg of a mirror.
    #[serde(skip_serializing_if = "Option::is_none")]
    leg: Option<String>,
}

#[derive(Debug, Serialize)]
struct Map {
    device: String,
    length: u64,
    offset: u64,
    count: u64,
    files: Vec<Run>,
}

/// The arithmetic of a device as its server describes it; `None` if that can't be.
fn geometry(device: &Device) -> Option<Geometry> {
    let lengths: Vec<u64> = device.inner.iter().map(|inner| inner.length).collect();
    let of_one = |make: &dyn Fn(u64) -> Option<Geometry>| match lengths[..] {
        [length] => make(length),
        _ => None,
    };
    let made = match &device.kind[..] {
        "mirror" => Some(Geometry::mirror(&lengths)),
        "cat" => Some(Geometry::cat(&lengths)),
        "inter" => Some(Geometry::inter(&lengths))
            .filter(|geometry| geometry.length() == device.length)
            .or_else(|| Some(Geometry::inter_even(&lengths))),
        "part" => {
            let start = device.start?;
            of_one(&|length| Some(Geometry::part(length, start, device.length)))
        }
        "crypt" => of_one(&Geometry::crypt),
        _ => None,
    };
    made.filter(|made| made.length() == device.length)
}

/// An inner file: the number of its device, and which one of that it is.
type Place = (usize, usize);

/// Takes a run: the way to its file, where it starts there, and how many bytes it has. False if it wants
/// no more.
type Take<'a> = dyn FnMut(&[Place], u64, u64) -> bool + 'a;

/// All of the devices and their arithmetic.
struct Mapper<'a> {
    devices: &'a [Device],
    geometries: Vec<Option<Geometry>>,
}

impl Mapper<'_> {
    /// Gives `take` each run of a file's bytes in the range. False if it did not want all.
    fn runs(
        &self,
        number: usize,
        (offset, count): (u64, u64),
        way: &mut Vec<Place>,
        take: &mut Take<'_>,
    ) -> Result<bool, Error> {
        let device = &self.devices[number];
        let Some(geometry) = &self.geometries[number] else {
            return Err(Error::NoGeometry { name: device.name.clone() });
        };
        let count = geometry.clip(offset, count);
        for run in geometry.runs(offset, count) {
            way.push((number, run.inner));
            let more = match device.inner[run.inner].device {
                Some(inner) => self.runs(inner, (run.offset, run.count), way, take)?,
                None => take(way, run.offset, run.count),
            };
            way.pop();
            if !more {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn map(&self, number: usize, offset: u64, count: u64) -> Result<Map, Error> {
        let device = &self.devices[number];
        let mut files = Vec::new();
        let step = |&(number, place): &Place| {
            let device: &Device = &self.devices[number];
            let leg = device.inner[place].leg.as_ref().map(|leg| leg.state.clone());
            Step { device: device.name.clone(), inner: place, leg }
        };
        let whole =
            self.runs(number, (offset, count), &mut Vec::new(), &mut |way, at, count| {
                let Some(&(last, place)) = way.last() else { return true };
                let inner = &self.devices[last].inner[place];
                files.push(Run {
                    file: inner.name.clone(),
                    server: inner.server.clone(),
                    offset: at,
                    count,
                    through: way.iter().map(step).collect(),
                });
                files.len() < limits::LEAVES
            })?;
        if !whole {
            return Err(Error::NoGeometry { name: device.name.clone() });
        }
        let (device, length) = (device.name.clone(), device.length);
        Ok(Map { device, length, offset, count, files })
    }

    /// How many bytes each file of the map has of each cell.
    fn bars(&self, number: usize, map: &Map) -> Result<Vec<Vec<(u64, u64)>>, Error> {
        let mut bars = vec![Vec::new(); map.files.len()];
        for cell in 0..CELLS {
            let at = |cell| (u128::from(map.count) * u128::from(cell) / u128::from(CELLS)) as u64;
            let (start, end) = (at(cell), at(cell + 1));
            let mut in_cell: Vec<(Vec<usize>, u64)> = Vec::new();
            let range = (map.offset + start, end - start);
            self.runs(number, range, &mut Vec::new(), &mut |way, _, count| {
                in_cell.push((way.iter().map(|&(_, place)| place).collect(), count));
                in_cell.len() < limits::LEAVES
            })?;
            let mut found = in_cell.into_iter().peekable();
            // The files of a cell are in the order of those of the whole range.
            for (run, bar) in map.files.iter().zip(&mut bars) {
                let here = run.through.iter().map(|step| step.inner);
                let count = found.next_if(|(way, _)| way.iter().copied().eq(here.clone()));
                bar.push((count.map_or(0, |(_, count)| count), end - start));
            }
        }
        Ok(bars)
    }
}

fn bar(cells: &[(u64, u64)]) -> String {
    let shade = |&(here, all): &(u64, u64)| {
        let quarters = match u128::from(here) * 4 {
            0 => 0,
            quarters => (quarters / u128::from(all.max(1))).clamp(1, 4),
        };
        SHADES[quarters as usize]
    };
    cells.iter().map(shade).collect()
}

fn draw(map: &Map, bars: &[Vec<(u64, u64)>], out: &mut dyn Write) -> io::Result<()> {
    let end = map.offset + map.count;
    writeln!(out, "{}: bytes {} to {end} of {}", Printable(&map.device), map.offset, map.length)?;
    let (from, to) = (size(map.offset), size(end));
    let width = CELLS as usize;
    writeln!(out, "{:NAME$}  {from}{to:>rest$}", "", rest = width + 2 - from.len())?;
    for (run, cells) in map.files.iter().zip(bars) {
        let steps = run.through.iter().map(|step| {
            let out = step.leg.as_deref().filter(|&state| state != "in-service");
            let out = out.map_or(String::new(), |state| format!(" ({state})"));
            format!("{}[{}]{out}", step.device, step.inner)
        });
        let through: Vec<String> = steps.collect();
        writeln!(
            out,
            "{:NAME$} \u{2502}{}\u{2502} bytes {} to {}  {}",
            name(&run.file, NAME),
            bar(cells),
            run.offset,
            run.offset + run.count,
            Printable(&through.join(" ")),
        )?;
    }
    Ok(())
}

impl Options {
    /// Draws.
    ///
    /// # Errors
    /// If there is no server, or it has no admin tree, or no such device, or that has no such bytes.
    pub fn run(self, out: &mut dyn Write) -> Result<(), Error> {
        let devices = self.server.admin()?.devices()?;
        let number = tree::find(&devices, &self.name)?;
        let device = &devices[number];
        let left = device.length.saturating_sub(self.offset);
        if left == 0 {
            let (name, length) = (device.name.clone(), device.length);
            return Err(Error::PastEnd { name, length, offset: self.offset });
        }
        let count = self.count.map_or(left, |count| count.min(left));
        let geometries = devices.iter().map(geometry).collect();
        let mapper = Mapper { devices: &devices, geometries };
        let map = mapper.map(number, self.offset, count)?;
        if self.json {
            return super::json(&map, out);
        }
        let bars = mapper.bars(number, &map)?;
        draw(&map, &bars, out).map_err(Error::Output)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::client::admin;

    /// A number that is likely to be at some edge.
    fn number() -> impl Strategy<Value = u64> {
        prop_oneof![
            0..4u64,
            8190..8195u64,
            65_534..65_540u64,
            Just(u64::MAX),
            Just(1 << 63),
            any::<u64>()
        ]
    }

    /// What a server may say of devices, some of it true.
    fn texts() -> impl Strategy<Value = String> {
        let kind =
            prop_oneof![Just("mirror"), Just("cat"), Just("inter"), Just("part"), Just("crypt")];
        let file = prop_oneof![number().prop_map(Ok), any::<prop::sample::Index>().prop_map(Err)];
        let device = (kind, number(), number(), prop::collection::vec(file, 0..4), any::<bool>());
        prop::collection::vec(device, 1..6).prop_map(|devices| {
            let (mut text, mut lengths) = (String::new(), Vec::<u64>::new());
            for (at, (kind, length, start, inner, truly)) in devices.into_iter().enumerate() {
                let inner: Vec<(u64, Option<usize>)> = inner
                    .into_iter()
                    .map(|inner| match inner {
                        Err(index) if at > 0 => (lengths[index.index(at)], Some(index.index(at))),
                        inner => (inner.unwrap_or(1), None),
                    })
                    .collect();
                let all: Vec<u64> = inner.iter().map(|&(length, _)| length).collect();
                let made = match kind {
                    "mirror" => Some(Geometry::mirror(&all)),
                    "cat" => Some(Geometry::cat(&all)),
                    "inter" => Some(Geometry::inter(&all)),
                    "part" => all.first().map(|&inner| Geometry::part(inner, start, length)),
                    _ => all.first().and_then(|&inner| Geometry::crypt(inner)),
                };
                let length = made.filter(|_| truly).map_or(length, |made| made.length());
                lengths.push(length);
                text += &format!(
                    "device {at} ds/d{at} {kind} length {length} state ok opens 0 start {start}\n"
                );
                for (place, (length, device)) in inner.into_iter().enumerate() {
                    text += &match device {
                        Some(device) => format!(
                            "inner {at} {place} x device length {length} state ok device {device}\n"
                        ),
                        None => format!("inner {at} {place} /f file length {length} state ok\n"),
                    };
                }
            }
            text
        })
    }

    proptest! {
        #[test]
        fn whatever_a_server_says_is_drawn_or_refused(text in texts(), offset in number(), count in number()) {
            let devices = admin::devices(&text).expect("the words are right");
            let geometries = devices.iter().map(geometry).collect();
            let mapper = Mapper { devices: &devices, geometries };
            for (number, device) in devices.iter().enumerate() {
                let count = count.min(device.length.saturating_sub(offset));
                let Ok(map) = mapper.map(number, offset, count) else { continue };
                if count > 0 {
                    let bars = mapper.bars(number, &map).expect("what has a map has bars");
                    draw(&map, &bars, &mut Vec::new()).expect("a Vec takes it");
                }
                if device.kind != "mirror" {
                    // Each byte is in one file, but for those of a mirror, which may be inside.
                    let through = map.files.iter().flat_map(|run| &run.through);
                    let mirrored = through.map(|step| &step.device).any(|name| {
                        devices.iter().any(|one| one.name == *name && one.kind == "mirror")
                    });
                    let sum: u128 = map.files.iter().map(|run| u128::from(run.count)).sum();
                    prop_assert!(mirrored || sum <= u128::from(count), "{text}: {map:?}");
                }
            }
        }
    }
}
