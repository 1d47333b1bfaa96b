//! The table: medians, spreads, ratios, and which goals hold.

use crate::load::Sample;
use crate::options::Options;
use crate::rows::{Goal, Kind, Row};
use crate::servers::Servers;

/// All that was measured of one subject in one row, a sample for each round.
pub struct Series {
    pub name: String,
    pub samples: Vec<Sample>,
}

impl Series {
    fn rates(&self, row: &Row) -> Vec<f64> {
        self.samples.iter().map(|sample| rate(row, sample)).collect()
    }

    fn median(&self, of: impl Fn(&Sample) -> Option<f64>) -> Option<f64> {
        median(self.samples.iter().filter_map(of).collect())
    }

    /// The median over the rounds of this one's figure divided by the other's of the same round: a
    /// machine that drifts from round to round does not change it.
    fn ratio(&self, base: &Series, of: impl Fn(&Sample) -> Option<f64>) -> Option<f64> {
        let pairs = self.samples.iter().zip(&base.samples);
        median(pairs.filter_map(|(this, that)| Some(of(this)? / of(that)?)).collect())
    }
}

/// Operations for small transfers, MiB for large ones.
fn in_mib(row: &Row) -> bool {
    row.load.size > 4096
}

fn rate(row: &Row, sample: &Sample) -> f64 {
    if in_mib(row) { sample.mib } else { sample.ops }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        n if n % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

fn cell(value: Option<f64>, digits: usize) -> String {
    value.map_or("-".into(), |value| format!("{value:.digits$}"))
}

/// What was run, and the head of the table.
pub fn heading(options: &Options, servers: &Servers) {
    let names: Vec<&str> = servers.all.iter().map(|server| server.name.as_str()).collect();
    println!("{} rounds of {} s; servers: {}", options.rounds, options.secs, names.join(", "));
    println!();
    println!("| load | subject | median | spread | ratio | CPU us/op | p99 us | goal |");
    println!("|---|---|---:|---:|---:|---:|---:|---|");
}

/// Prints one row; whether its goals hold.
pub fn row(row: &Row, series: &[Series]) -> bool {
    let Some(base) = series.first() else { return false };
    let mut held = true;
    for (number, this) in series.iter().enumerate() {
        let rates = this.rates(row);
        let least = rates.iter().copied().fold(f64::INFINITY, f64::min);
        let most = rates.iter().copied().fold(0.0, f64::max);
        let middle = median(rates);
        let spread = middle.map(|middle| (most - least) / middle * 100.0);
        let ratio = this.ratio(base, |sample| Some(rate(row, sample)));
        let told: Vec<String> = match number {
            // The second subject is dsfs, or the device in question.
            1 => row.goals.iter().map(|goal| judge(row, series, goal, &mut held)).collect(),
            _ => Vec::new(),
        };
        println!(
            "| {} | {} | {} {} | {} % | {} | {} | {} | {} |",
            if number == 0 { row.title } else { "" },
            this.name,
            cell(middle, 0),
            if in_mib(row) { "MiB/s" } else { "/s" },
            cell(spread, 0),
            cell(ratio, 3),
            cell(this.median(|sample| sample.cpu_us), 2),
            cell(this.median(|sample| sample.p99_us), 0),
            told.join("; "),
        );
    }
    held
}

fn judge(row: &Row, series: &[Series], goal: &Goal, held: &mut bool) -> String {
    let (base, this) = (&series[0], &series[1]);
    let rate_of = |sample: &Sample| Some(rate(row, sample));
    let (of_first, of_its_cpu) = match row.kind {
        Kind::Servers => ("of rawload", "of rawload's CPU"),
        _ => ("of the first", "of the first's CPU"),
    };
    let (what, value, wanted, least) = match goal {
        Goal::Base(wanted) => (of_first, this.ratio(base, rate_of), *wanted, true),
        Goal::Peers(wanted) => {
            let ours = |name: &str| name.starts_with("dsfs");
            let peers = series[2..].iter().filter(|peer| !ours(&peer.name));
            let ratios = peers.filter_map(|peer| this.ratio(peer, rate_of));
            ("of the best peer", ratios.min_by(f64::total_cmp), *wanted, true)
        }
        Goal::Cpu(wanted) => (of_its_cpu, this.ratio(base, |sample| sample.cpu_us), *wanted, false),
        Goal::IdleKib(wanted) => {
            // The first round's: a server keeps the room in its tables for the next ones.
            let kib = this.samples.iter().filter_map(|sample| sample.idle_kib);
            ("KiB for each", kib.max_by(f64::total_cmp), *wanted, false)
        }
        Goal::P99(wanted) => {
            ("of the p99 alone", this.ratio(base, |sample| sample.p99_us), *wanted, false)
        }
    };
    let Some(value) = value else { return format!("nobody to compare with ({what})") };
    let holds = if least { value >= wanted } else { value <= wanted };
    *held &= holds;
    let (sign, word) = (if least { ">=" } else { "<=" }, if holds { "holds" } else { "MISSED" });
    format!("{value:.2} {what} ({sign} {wanted}): {word}")
}
