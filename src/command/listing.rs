//! How Inferno's ls(1) prints: sorted by name, in columns as wide as their widest, times as
//! daytime(2)'s `filet` has them.
//!
//! Formatting only; [`ls`](super::ls) has the command.

use std::io::{self, Write};

use styx::{dm, qt};

use crate::client::{Entry, Printable};

/// The device type of what is mounted over 9P, in Inferno's `ls -l`.
const MOUNTED: char = 'M';

/// The device instance. In Inferno it counts mounts; a client that makes one mount and exits has
/// the number that the first mount of a fresh emu has.
const INSTANCE: &str = "2";

/// What is this old or older, in seconds, has its year printed and not its time.
const OLD: u32 = 6 * 30 * DAY;
const DAY: u32 = 24 * 60 * 60;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// One line of a listing.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// What `ls` calls the file.
    pub(super) name: String,
    pub(super) entry: Entry,
}

/// What `ls` calls `name`, a file in the directory `dir`.
pub(super) fn inside(dir: &str, name: &str) -> String {
    match dir {
        "" => name.into(),
        dir if dir.ends_with('/') => format!("{dir}{name}"),
        dir => format!("{dir}/{name}"),
    }
}

/// Prints names alone, one a line.
pub(super) fn short(lines: &mut [Line], out: &mut dyn Write) -> io::Result<()> {
    sort(lines);
    lines.iter().try_for_each(|line| writeln!(out, "{}", Printable(&line.name)))
}

/// Prints what `ls -l` prints. `now` is in seconds since 1970.
pub(super) fn long(lines: &mut [Line], now: u32, out: &mut dyn Write) -> io::Result<()> {
    sort(lines);
    let widest = |width: fn(&Entry) -> usize| {
        lines.iter().map(|line| width(&line.entry)).max().unwrap_or_default()
    };
    let uid = widest(|entry| entry.uid.chars().count());
    let gid = widest(|entry| entry.gid.chars().count());
    let length = widest(|entry| entry.length.to_string().len());
    lines.iter().try_for_each(|Line { name, entry }| {
        writeln!(
            out,
            "{} {MOUNTED} {INSTANCE} {:uid$} {:gid$} {:length$} {} {}",
            modes(entry.mode),
            Printable(&entry.uid).to_string(),
            Printable(&entry.gid).to_string(),
            entry.length,
            date(now, entry.mtime),
            Printable(name),
        )
    })
}

fn sort(lines: &mut [Line]) {
    lines.sort_by(|one, other| one.name.cmp(&other.name));
}

/// The mode as ls(1) shows it, in 11 characters.
pub(super) fn modes(mode: u32) -> String {
    const KINDS: [(u32, char); 3] =
        [(dm::DIR, 'd'), (dm::APPEND, 'a'), ((qt::AUTH as u32) << 24, 'A')];
    let kind = KINDS.iter().find(|(bit, _)| mode & bit != 0).map_or('-', |(_, letter)| *letter);
    let lock = if mode & dm::EXCL != 0 { 'l' } else { '-' };
    let bits = (0..9).map(|bit| {
        let set = mode & (0o400 >> bit) != 0;
        if set { ['r', 'w', 'x'][bit % 3] } else { '-' }
    });
    [kind, lock].into_iter().chain(bits).collect()
}

/// A time as `filet` shows it at the time `now`, both in seconds since 1970, in 12 characters: month,
/// day, and the hour and minute, or for what is [`OLD`] the year. In GMT, as Inferno has it unless a
/// time zone is set.
pub(super) fn date(now: u32, time: u32) -> String {
    let (year, month, day) = civil(time / DAY);
    let month = MONTHS[month];
    // What is to come is not old.
    if now.saturating_sub(time) < OLD {
        let minutes = time % DAY / 60;
        format!("{month} {day:02} {:02}:{:02}", minutes / 60, minutes % 60)
    } else {
        format!("{month} {day:02}  {year}")
    }
}

/// The year, the month (from 0) and the day (from 1) that is `days` after 1 January 1970.
fn civil(mut days: u32) -> (u32, usize, u32) {
    let leap = |year: u32| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let mut year = 1970;
    while days >= 365 + u32::from(leap(year)) {
        days -= 365 + u32::from(leap(year));
        year += 1;
    }
    let february = 28 + u32::from(leap(year));
    let mut month = 0;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use styx::Qid;

    fn line(dir: &str, name: &str, owner: &str, length: u64, mtime: u32) -> Line {
        let entry = Entry {
            qid: Qid::default(),
            mode: 0o666,
            atime: mtime,
            mtime,
            length,
            name: name.into(),
            uid: owner.into(),
            gid: owner.into(),
            muid: owner.into(),
        };
        Line { name: inside(dir, name), entry }
    }

    fn printed(lines: &mut [Line], now: u32) -> String {
        let mut out = Vec::new();
        long(lines, now, &mut out).expect("a Vec takes all");
        String::from_utf8(out).expect("names are text")
    }

    /// 22 November 2026, 15:34:10 GMT.
    const NOVEMBER: u32 = 1_795_361_650;

    /// What the lab's own dsfs had for an answer, inside emu.
    #[test]
    fn prints_lab_15_as_emu_did() {
        let mut lines = ["ctl", "c1", "c0", "m0"]
            .map(|name| line("ds", name, "caerwyn", if name == "ctl" { 0 } else { 16384 }, 0));
        let lab = "\
--rw-rw-rw- M 2 caerwyn caerwyn 16384 Jan 01  1970 ds/c0
--rw-rw-rw- M 2 caerwyn caerwyn 16384 Jan 01  1970 ds/c1
--rw-rw-rw- M 2 caerwyn caerwyn     0 Jan 01  1970 ds/ctl
--rw-rw-rw- M 2 caerwyn caerwyn 16384 Jan 01  1970 ds/m0
";
        assert_eq!(printed(&mut lines, NOVEMBER), lab);
    }

    /// What emu printed for its own devds.
    #[test]
    fn prints_recent_files_as_emu_did() {
        let files = [("s", 100), ("m0", 8192), ("ctl", 0), ("c0", 16384)];
        let mut lines = files.map(|(name, length)| {
            let mut line = line("/n/x", name, "root", length, NOVEMBER - 3);
            line.entry.mode = 0o664;
            line
        });
        let emu = "\
--rw-rw-r-- M 2 root root 16384 Nov 22 15:34 /n/x/c0
--rw-rw-r-- M 2 root root     0 Nov 22 15:34 /n/x/ctl
--rw-rw-r-- M 2 root root  8192 Nov 22 15:34 /n/x/m0
--rw-rw-r-- M 2 root root   100 Nov 22 15:34 /n/x/s
";
        assert_eq!(printed(&mut lines, NOVEMBER), emu);
    }

    #[test]
    fn columns_are_as_wide_as_their_widest() {
        let mut lines = [line("", "b", "li", 7, 0), line("", "a", "ünal", 10, 0)];
        let wide = "\
--rw-rw-rw- M 2 ünal ünal 10 Jan 01  1970 a
--rw-rw-rw- M 2 li   li    7 Jan 01  1970 b
";
        assert_eq!(printed(&mut lines, NOVEMBER), wide);
    }

    #[test]
    fn a_name_steers_no_terminal() {
        let mut lines = [line("", "a\x1b[2J\u{9b}b", "li\n", 7, 0)];
        let safe = "--rw-rw-rw- M 2 li\u{fffd} li\u{fffd} 7 Jan 01  1970 a\u{fffd}[2J\u{fffd}b\n";
        assert_eq!(printed(&mut lines, NOVEMBER), safe);
    }

    #[test]
    fn modes_are_those_of_ls() {
        let cases = [
            (0o666, "--rw-rw-rw-"),
            (dm::DIR | 0o555, "d-r-xr-xr-x"),
            (dm::APPEND | dm::EXCL | 0o620, "alrw--w----"),
            (dm::EXCL | 0o001, "-l--------x"),
            (0x0800_0000 | 0o400, "A-r--------"),
            (dm::DIR | dm::APPEND | 0o777, "d-rwxrwxrwx"),
        ];
        for (mode, shown) in cases {
            assert_eq!(modes(mode), shown, "{mode:o}");
        }
    }

    #[test]
    fn a_date_has_its_year_once_it_is_half_a_year_old() {
        let leap = 1_709_164_800; // 29 February 2024, 00:00
        let cases = [
            (NOVEMBER, NOVEMBER, "Nov 22 15:34"),
            (NOVEMBER, NOVEMBER + 60 * DAY, "Jan 21 15:34"),
            (NOVEMBER, NOVEMBER - OLD + 1, "May 26 15:34"),
            (NOVEMBER, NOVEMBER - OLD, "May 26  2026"),
            (NOVEMBER, leap, "Feb 29  2024"),
            (NOVEMBER, leap - 1, "Feb 28  2024"),
            (NOVEMBER, leap + DAY, "Mar 01  2024"),
            (leap, leap, "Feb 29 00:00"),
            (leap, leap - 1, "Feb 28 23:59"),
            (u32::MAX, u32::MAX, "Feb 07 06:28"),
            (0, u32::MAX, "Feb 07 06:28"),
            (u32::MAX, 0, "Jan 01  1970"),
        ];
        for (now, time, shown) in cases {
            assert_eq!(date(now, time), shown, "{time} at {now}");
        }
    }

    proptest! {
        /// The calendar repeats every 400 years, so none of u32's 136 is further than this from 1970.
        #[test]
        fn the_next_day_is_the_next_day(days in 0..u32::MAX / DAY) {
            let ((year, month, day), next) = (civil(days), civil(days + 1));
            let same_month = next == (year, month, day + 1);
            let next_month = next == (year, month + 1, 1) && day >= 28;
            let next_year = next == (year + 1, 0, 1) && (month, day) == (11, 31);
            prop_assert!(same_month || next_month || next_year);
        }
    }
}
