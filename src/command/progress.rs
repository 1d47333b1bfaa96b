//! How far a long command is: one line at the terminal, on standard error.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// What takes no longer than this is over before anyone would ask.
const SHORT: Duration = Duration::from_secs(1);

const KNOWN: &str =
    "{binary_bytes} of {binary_total_bytes} {wide_bar} {binary_bytes_per_sec}, {eta} left";
const UNKNOWN: &str = "{binary_bytes}, {binary_bytes_per_sec}";

/// A line that says how much is done. It is only shown where standard error is a terminal, from
/// the second second on, and stays when this is dropped.
pub(super) struct Progress {
    bar: ProgressBar,
    hidden_until: Option<Instant>,
}

impl Progress {
    /// Of `length` bytes, or of nobody knows how many.
    pub fn of(length: Option<u64>) -> Self {
        let template = if length.is_some() { KNOWN } else { UNKNOWN };
        let style = ProgressStyle::with_template(template).expect("the templates are right");
        let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::hidden());
        bar.set_style(style);
        Progress { bar, hidden_until: Some(Instant::now() + SHORT) }
    }

    /// So many bytes are done by now.
    pub fn set(&mut self, done: u64) {
        self.bar.set_position(done);
        if self.hidden_until.is_some_and(|until| Instant::now() >= until) {
            self.hidden_until = None;
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.abandon();
    }
}
