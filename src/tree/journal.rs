//! What has happened to the mirrors, as lines of text: `log` and `event` of the admin tree. Bounded:
//! the oldest lines go first.

use super::Owner;

/// The bytes of lines that are kept: some hundred lines, more than a person reads.
const MAX_BYTES: usize = 64 * 1024;

/// Reads of `event` that may wait. One client has at most as many as its requests.
const MAX_WAITING: usize = 4096;

/// The lines, and who waits for more.
#[derive(Debug, Default)]
pub struct Journal {
    text: String,
    /// How many bytes there were before `text`.
    gone: u64,
    waiting: Vec<(Owner, u64, usize)>,
}

impl Journal {
    /// Adds a line, with its time in milliseconds since 1970.
    pub fn add(&mut self, time: u64, line: &str) {
        tracing::info!("{line}");
        self.text.push_str(&format!("{} {line}\n", date(time)));
        if self.text.len() > MAX_BYTES {
            let half = self.text.floor_char_boundary(self.text.len() / 2);
            let cut = self.text[half..].find('\n').map_or(self.text.len(), |end| half + end + 1);
            self.text.drain(..cut);
            self.gone += cut as u64;
        }
    }

    /// All lines that are kept.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Where the next line will be, counted from the start.
    pub fn end(&self) -> u64 {
        self.gone + self.text.len() as u64
    }

    /// What there is from a place on, at most `count` bytes; a place that is gone is the oldest.
    pub fn from(&self, place: u64, count: usize) -> &[u8] {
        let start = place.saturating_sub(self.gone).min(self.text.len() as u64) as usize;
        &self.text.as_bytes()[start..][..count.min(self.text.len() - start)]
    }

    /// Somebody waits for what comes at a place. False if too many do.
    pub fn wait(&mut self, owner: Owner, place: u64, count: usize) -> bool {
        if self.waiting.len() >= MAX_WAITING {
            return false;
        }
        self.waiting.push((owner, place, count));
        true
    }

    /// Nobody waits there any more. False if nobody did.
    pub fn forget(&mut self, owner: Owner) -> bool {
        let before = self.waiting.len();
        self.waiting.retain(|&(other, _, _)| other != owner);
        self.waiting.len() < before
    }

    /// Whether anybody waits.
    pub fn is_awaited(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The next one who waited for something that is there now, and what it is.
    pub fn next(&mut self) -> Option<(Owner, Vec<u8>)> {
        let end = self.end();
        let at = self.waiting.iter().position(|&(_, place, _)| place < end)?;
        let (owner, place, count) = self.waiting.swap_remove(at);
        Some((owner, self.from(place, count).to_vec()))
    }

    /// The next one of those who need not wait any longer, because nothing will come for them.
    pub fn next_of(&mut self, theirs: impl Fn(Owner) -> bool) -> Option<Owner> {
        let at = self.waiting.iter().position(|&(owner, _, _)| theirs(owner))?;
        Some(self.waiting.swap_remove(at).0)
    }
}

/// A time in milliseconds since 1970 as `2026-01-31T23:59:59Z`.
pub fn date(time: u64) -> String {
    let (days, second) = ((time / 1000 / 86400) as i64, time / 1000 % 86400);
    // Days since 0000-03-01, in eras of 400 years, each with its leap day at a year's end.
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (4_102_444_800, "2100-01-01T00:00:00Z"),
        ] {
            assert_eq!(date(seconds * 1000), expected);
        }
    }

    #[test]
    fn readers_wait_for_what_comes_and_old_lines_go() {
        let mut journal = Journal::default();
        journal.add(0, "one");
        let place = journal.end();
        assert!(journal.wait(Owner::Saved(1), place, 100));
        assert!(journal.wait(Owner::Saved(2), place, 100));
        assert!(journal.next().is_none());
        assert!(journal.forget(Owner::Saved(2)) && !journal.forget(Owner::Saved(2)));
        journal.add(0, "two");
        let (owner, text) = journal.next().expect("the one who waits");
        assert_eq!((owner, &text[..]), (Owner::Saved(1), &b"1970-01-01T00:00:00Z two\n"[..]));
        assert!(journal.next().is_none());
        (0..5000).for_each(|n| journal.add(0, &format!("line {n}")));
        assert!(journal.text().len() <= MAX_BYTES && journal.text().ends_with("line 4999\n"));
        assert!(journal.from(0, 9).starts_with(b"1970"));
        assert!(journal.from(journal.end(), 9).is_empty() && journal.from(u64::MAX, 9).is_empty());
    }
}
