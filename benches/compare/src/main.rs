//! Runs the same load on dsfs, on a bare baseline (`rawload`) and on whatever other file servers are
//! installed, in turn, several times, and prints one table: medians, spreads, ratios, the
//! server's CPU time for each operation, and which goals hold.
//!
//! It must never compare figures of different runs, nor leave a server running when it ends.

mod load;
mod options;
mod report;
mod rows;
mod servers;
mod setup;
mod upkeep;
mod watched;

use std::process::ExitCode;

use load::Sample;
use options::Options;
use report::Series;
use rows::{Kind, Row};
use servers::Servers;

/// Why a comparison could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line is wrong; what is right follows.
    #[error("{0}\n{usage}", usage = options::USAGE)]
    Usage(String),
    /// The system refused something.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A program that was run failed.
    #[error("{what}: {why}")]
    Failed {
        /// The program, or what it was to do.
        what: String,
        /// What it said.
        why: String,
    },
}

impl Error {
    /// The system refused `what`.
    pub fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Error::Io { what: what.into(), source }
    }

    /// The program `what` failed.
    pub fn failed(what: impl Into<String>, why: impl Into<String>) -> Self {
        Error::Failed { what: what.into(), why: why.into() }
    }
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let done = match args.split_first() {
        Some((word, rest)) if word == servers::INETD => servers::inetd(rest),
        _ => compare(&args),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::from(2)
        }
    }
}

/// The comparison; whether every goal of the rows that were run holds.
fn compare(args: &[String]) -> Result<bool, Error> {
    let Some(options) = Options::parse(args)? else {
        print!("{}", options::USAGE);
        return Ok(true);
    };
    let tools = setup::build(&options)?;
    let files = setup::files(&options)?;
    let servers = Servers::start(&options, &tools, &files)?;
    report::heading(&options, &servers);
    let mut held = true;
    for row in options.rows() {
        let series = measure(row, &options, &tools, &files, &servers)?;
        held &= report::row(row, &series);
    }
    Ok(held)
}

/// All rounds of one row: in each, every subject once, one after the other.
fn measure(
    row: &'static Row,
    options: &Options,
    tools: &setup::Tools,
    files: &setup::Files,
    servers: &Servers,
) -> Result<Vec<Series>, Error> {
    let mut series: Vec<Series> = Vec::new();
    for _ in 0..options.rounds {
        let round: Vec<(String, Sample)> = match &row.kind {
            Kind::Servers => {
                let takes_part = servers.all.iter().filter(|server| server.can(&row.load));
                takes_part
                    .map(|server| {
                        let sample =
                            load::run(tools, files, (server, "f"), &row.load, options.secs)?;
                        Ok((server.name.clone(), sample))
                    })
                    .collect::<Result<_, Error>>()?
            }
            Kind::Devices(devices) => devices
                .iter()
                .map(|&(name, file)| {
                    let sample =
                        load::run(tools, files, (servers.dsfs(), file), &row.load, options.secs)?;
                    Ok((name.to_string(), sample))
                })
                .collect::<Result<_, Error>>()?,
            Kind::Idle => load::idle(tools, files, servers.dsfs(), &row.load, options.secs)?,
            Kind::Watched => {
                watched::watched(tools, files, servers.dsfs(), &row.load, options.secs)?
            }
            Kind::Cold => load::cold(tools, files, servers.dsfs(), &row.load, options.secs)?,
            Kind::State => upkeep::state(tools, files, servers, &row.load, options.secs)?,
            Kind::Upkeep(message) => {
                upkeep::beside(tools, files, servers.dsfs(), (&row.load, message), options.secs)?
            }
        };
        for (name, sample) in round {
            match series.iter_mut().find(|known| known.name == name) {
                Some(known) => known.samples.push(sample),
                None => series.push(Series { name, samples: vec![sample] }),
            }
        }
    }
    Ok(series)
}
