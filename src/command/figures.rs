//! Numbers as people read them: sizes, rates, times. Text from a server, without what steers a
//! terminal.

use crate::client::Printable;

/// Units of bytes, each 1024 of the one before.
const UNITS: [&str; 7] = ["", "K", "M", "G", "T", "P", "E"];

/// A number of bytes: whole where it can be (`64M`), else with one digit behind the point (`1.5G`).
pub(super) fn size(bytes: u64) -> String {
    let unit = bytes.checked_ilog2().unwrap_or(0) as usize / 10;
    let one = 1u64 << (10 * unit);
    if bytes.is_multiple_of(one) {
        return format!("{}{}", bytes / one, UNITS[unit]);
    }
    format!("{:.1}{}", bytes as f64 / one as f64, UNITS[unit])
}

/// A rate or another number of things: `950`, `12.3k`, `4.5M`.
pub(super) fn count(number: f64) -> String {
    match number {
        n if !n.is_finite() => "-".into(),
        n if n >= 1e9 => format!("{:.1}G", n / 1e9),
        n if n >= 1e6 => format!("{:.1}M", n / 1e6),
        n if n >= 1e4 => format!("{:.1}k", n / 1e3),
        n => format!("{n:.0}"),
    }
}

/// A time in microseconds: `85us`, `1.2ms`, `3.4s`; a dash if nothing took any.
pub(super) fn micros(us: Option<f64>) -> String {
    match us {
        None => "-".into(),
        Some(us) if us >= 1e6 => format!("{:.1}s", us / 1e6),
        Some(us) if us >= 1e3 => format!("{:.1}ms", us / 1e3),
        Some(us) => format!("{us:.0}us"),
    }
}

/// A long time in seconds: `42s`, `5m10s`, `3h05m`, `2d04h`.
pub(super) fn seconds(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match () {
        () if days > 0 => format!("{days}d{:02}h", hours % 24),
        () if hours > 0 => format!("{hours}h{:02}m", minutes % 60),
        () if minutes > 0 => format!("{minutes}m{:02}s", seconds % 60),
        () => format!("{seconds}s"),
    }
}

/// A name from a server, cut at its front if it has more than `most` characters: the end of a path
/// says more.
pub(super) fn name(text: &str, most: usize) -> String {
    let shown = Printable(text).to_string();
    let long = shown.chars().count();
    if long <= most {
        return shown;
    }
    let end: String = shown.chars().skip(long - most.saturating_sub(1)).collect();
    format!("\u{2026}{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let sizes: Vec<String> =
            [0, 1, 1023, 1024, 1536, 16384, 5 << 30, u64::MAX].map(size).into();
        assert_eq!(sizes, ["0", "1", "1023", "1K", "1.5K", "16K", "5G", "16.0E"]);
        let counts: Vec<String> = [0.0, 9999.0, 12_345.0, 4.5e6, 2e9].map(count).into();
        assert_eq!(counts, ["0", "9999", "12.3k", "4.5M", "2.0G"]);
        assert_eq!([seconds(59), seconds(310), seconds(11_100)], ["59s", "5m10s", "3h05m"]);
        assert_eq!(
            [micros(None), micros(Some(85.4)), micros(Some(1234.0))],
            ["-", "85us", "1.2ms"]
        );
        assert_eq!(name("/n/node1/chunk", 8), "\u{2026}1/chunk");
        assert_eq!(name("a\x1b[2J", 9), "a\u{fffd}[2J");
    }
}
