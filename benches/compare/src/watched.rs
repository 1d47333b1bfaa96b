//! What it costs a server to be looked at by `dsfs top`.
//!
//! One `top` takes a few requests a second from a server that answers hundreds of thousands: less than any
//! rate is steady by. So many look on at the same time, and what one costs is what all cost, divided by their
//! number. That is rather too much than too little, since each also shows the others' connections.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::Error;
use crate::load::{CLIENT_CORE, Sample, run};
use crate::rows::{Load, TOPS};
use crate::servers::Server;
use crate::setup::{Files, Tools};

/// How long one may take until it shows its first screen.
const START_LIMIT: Duration = Duration::from_secs(30);

/// How often each looks: `dsfs top`'s own default.
const PERIOD: Duration = Duration::from_secs(1);

/// One of them, at a terminal of its own, on the clients' core.
struct Top {
    script: Child,
    /// All that it has drawn.
    drawn: PathBuf,
}

impl Top {
    fn start(tools: &Tools, server: &Server, drawn: PathBuf) -> Result<Self, Error> {
        let script = Command::new("taskset")
            .args(["-c", CLIENT_CORE, "script", "--quiet", "--flush", "--command"])
            .arg(r#"stty cols 80 rows 24 && exec "$DSFS" top -a "$ADDR""#)
            .arg(&drawn)
            .env("SHELL", "/bin/sh")
            .env("TERM", "xterm")
            .env("DSFS", &tools.dsfs)
            .env("ADDR", format!("tcp!127.0.0.1!{}", server.port))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(Error::io("script"))?;
        Ok(Top { script, drawn })
    }

    /// How many bytes it has drawn.
    ///
    /// # Errors
    /// If it has ended.
    fn drawn(&mut self) -> Result<u64, Error> {
        if self.script.try_wait().map_err(Error::io("script"))?.is_some() {
            let said = fs::read_to_string(&self.drawn).unwrap_or_default();
            return Err(Error::failed("dsfs top", said));
        }
        Ok(fs::metadata(&self.drawn).map_or(0, |file| file.len()))
    }
}

impl Drop for Top {
    fn drop(&mut self) {
        // Its terminal goes with `script`, and that ends it.
        let _ = self.script.kill();
        let _ = self.script.wait();
    }
}

/// Starts all of them, evenly spread over the time between two looks: also a run that is shorter than
/// that then has its share of looks.
fn start(tools: &Tools, server: &Server, dir: &Path) -> Result<Vec<Top>, Error> {
    let start = |number: u32| {
        thread::sleep(PERIOD / TOPS);
        Top::start(tools, server, dir.join(number.to_string()))
    };
    let mut tops: Vec<Top> = (0..TOPS).map(start).collect::<Result<_, _>>()?;
    let begun = Instant::now();
    while drawn(&mut tops)?.contains(&0) {
        if begun.elapsed() > START_LIMIT {
            return Err(Error::failed("dsfs top", "it shows no screen"));
        }
        thread::sleep(Duration::from_millis(100));
    }
    Ok(tops)
}

fn drawn(tops: &mut [Top]) -> Result<Vec<u64>, Error> {
    tops.iter_mut().map(Top::drawn).collect()
}

/// The same load alone, and while they look on.
pub fn watched(
    tools: &Tools,
    files: &Files,
    server: &Server,
    load: &Load,
    secs: f64,
) -> Result<Vec<(String, Sample)>, Error> {
    let alone = run(tools, files, (server, "f"), load, secs)?;
    let dir = tempfile::tempdir().map_err(Error::io("a temporary directory"))?;
    let mut tops = start(tools, server, dir.path())?;
    let before = drawn(&mut tops)?;
    let beside = run(tools, files, (server, "f"), load, secs)?;
    let after = drawn(&mut tops)?;
    let looked = before.iter().zip(&after).filter(|(before, after)| after > before).count();
    if looked < before.len() / 2 {
        return Err(Error::failed("dsfs top", format!("{looked} of {TOPS} drew anything new")));
    }
    Ok(vec![("alone".into(), alone), (format!("with {TOPS} dsfs top"), beside)])
}
