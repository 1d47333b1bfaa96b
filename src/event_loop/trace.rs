//! Messages as lines of text, for people: into the file of `--trace`, and at level debug into the log.
//! Never what is in them: data are counts, and an error that repeats a control message is cut before it.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use styx::frame::split_frame;
use styx::{Rmsg, Tmsg, show};

use crate::tree::date;

/// Lines of one turn of the loop that are kept before they are written.
const BUFFER: usize = 256 * 1024;

/// Hexadecimal digits in a row that may be a key: the shortest has twice as many.
const KEY_DIGITS: usize = 32;

/// The file of `--trace`.
pub(super) struct Trace {
    path: PathBuf,
    file: BufWriter<File>,
    failed: bool,
}

/// Which way a message went, seen from the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    In,
    Out,
}

/// An error's text without what may repeat a control message, which may have a key in it.
fn redacted(ename: &str) -> String {
    let text = ename.split('"').next().unwrap_or_default().trim_end();
    let (mut shown, mut run) = (String::new(), String::new());
    for c in text.chars().chain(['\0']) {
        if c.is_ascii_hexdigit() {
            run.push(c);
            continue;
        }
        shown.push_str(if run.len() < KEY_DIGITS { &run } else { "..." });
        run.clear();
        if c != '\0' {
            shown.push(c);
        }
    }
    shown
}

/// A message as a line without its end.
fn line(way: Way, frame: &[u8]) -> String {
    let mut text = String::new();
    let written = match way {
        Way::In => Tmsg::decode(frame)
            .map(|(tag, message)| show::request(tag, &message, &mut text).is_ok()),
        Way::Out => Rmsg::decode(frame).map(|(tag, message)| match message {
            Rmsg::Error { ename } => {
                let ename = redacted(ename);
                show::reply(tag, &Rmsg::Error { ename: &ename }, &mut text).is_ok()
            }
            message => show::reply(tag, &message, &mut text).is_ok(),
        }),
    };
    if let Err(error) = written {
        let _ = write!(text, "malformed count {}: {error}", frame.len());
    }
    text
}

impl Trace {
    /// Lines are added to what is in the file, which nobody but its owner can read.
    pub fn open(path: PathBuf) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path)?;
        Ok(Trace { path, file: BufWriter::with_capacity(BUFFER, file), failed: false })
    }

    /// The file of that name from now on, which may be another: the old one was moved away.
    pub fn reopen(&mut self) -> io::Result<()> {
        let new = Trace::open(self.path.clone())?;
        self.flush();
        *self = new;
        Ok(())
    }

    /// Its name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn add(&mut self, connection: u64, way: Way, text: &str) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let date = date(now.as_millis() as u64);
        let (date, micros) = (date.trim_end_matches('Z'), now.subsec_micros());
        let arrow = if way == Way::In { "<-" } else { "->" };
        let written = writeln!(self.file, "{date}.{micros:06}Z {connection} {arrow} {text}");
        self.check(written);
    }

    /// A server that can't write its trace serves on.
    fn check(&mut self, written: io::Result<()>) {
        if let Err(error) = written
            && !std::mem::replace(&mut self.failed, true)
        {
            tracing::error!(%error, "the trace can't be written; lines are lost from here on");
        }
    }

    /// What was added goes to the file: once a turn.
    pub fn flush(&mut self) {
        let written = self.file.flush();
        self.check(written);
    }
}

/// Whether anybody wants to know of messages.
pub(super) fn is_wanted(trace: Option<&Trace>) -> bool {
    trace.is_some() || tracing::enabled!(tracing::Level::DEBUG)
}

fn tell(trace: Option<&mut Trace>, connection: u64, way: Way, frame: &[u8]) {
    let text = line(way, frame);
    tracing::debug!("{text}");
    if let Some(trace) = trace {
        trace.add(connection, way, &text);
    }
}

/// A request came.
pub(super) fn request(trace: Option<&mut Trace>, connection: u64, frame: &[u8]) {
    tell(trace, connection, Way::In, frame);
}

/// These replies go out.
pub(super) fn replies(mut trace: Option<&mut Trace>, connection: u64, mut bytes: &[u8]) {
    while let Ok(Some((frame, rest))) = split_frame(bytes, u32::MAX) {
        tell(trace.as_deref_mut(), connection, Way::Out, frame);
        bytes = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_shows_neither_a_message_nor_a_key() {
        let key = "0123456789abcdef".repeat(4);
        for (ename, shown) in [
            (format!("unknown control message \"cypt k0 /f {key}\""), "unknown control message"),
            (format!("bad character in file name: {key}/"), "bad character in file name: .../"),
            ("file does not exist: '/decade'".into(), "file does not exist: '/decade'"),
        ] {
            assert_eq!(redacted(&ename), shown);
            let mut frame = Vec::new();
            Rmsg::Error { ename: &ename }.encode(1, &mut frame);
            assert!(!line(Way::Out, &frame).contains(&key[..16]));
        }
    }
}
