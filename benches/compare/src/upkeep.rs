//! What the memory of mirrors costs their clients.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::process::Stdio;

use crate::Error;
use crate::load::{Sample, run};
use crate::rows::Load;
use crate::servers::{Server, Servers};
use crate::setup::{self, Files, Tools};

/// The bytes in a second that dsfs compares and copies if nobody says otherwise; and so many that
/// nobody waits for the rest.
const RATE: &str = "67108864";
const ALL_AT_ONCE: &str = "1099511627776";

/// Writes to a mirror whose server has no state directory, and to one whose server has.
pub fn state(
    tools: &Tools,
    files: &Files,
    servers: &Servers,
    load: &Load,
    secs: f64,
) -> Result<Vec<(String, Sample)>, Error> {
    let without = run(tools, files, (servers.dsfs(), "m"), load, secs)?;
    let Some((kept, _)) = &servers.kept else {
        return Err(Error::failed("dsfs --state", "it was not started"));
    };
    // What comes first marks the regions, at the cost of a wait for the disk.
    run(tools, files, (kept, "m"), load, secs)?;
    let with = run(tools, files, (kept, "m"), load, secs)?;
    Ok(vec![("without".into(), without), ("with --state".into(), with)])
}

/// The same load on a mirror alone, and while a message to the admin tree is carried out.
pub fn beside(
    tools: &Tools,
    files: &Files,
    server: &Server,
    (load, message): (&Load, &[&str]),
    secs: f64,
) -> Result<Vec<(String, Sample)>, Error> {
    let alone = run(tools, files, (server, "m"), load, secs)?;
    spoil(files)?;
    let mut work = server.ctl("admin", message);
    let mut work = work
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(Error::io("dsfs ctl"))?;
    let mut beside = run(tools, files, (server, "m"), load, secs)?;
    // The server's time went to both.
    beside.cpu_us = None;
    let ended = work.try_wait().map_err(Error::io("dsfs ctl"))?;
    setup::run(&mut server.ctl("admin", &["rate", ALL_AT_ONCE]))?;
    work.wait().map_err(Error::io("dsfs ctl"))?;
    setup::run(&mut server.ctl("admin", &["repair", "m", "from", "0"]))?;
    setup::run(&mut server.ctl("admin", &["rate", RATE]))?;
    match ended {
        None => Ok(vec![("alone".into(), alone), (format!("beside {}", message[0]), beside)]),
        Some(_) => Err(Error::failed(message[0], "it ended before the load did; give less --secs")),
    }
}

/// Makes the second leg of the mirror another one, so that there is something to find and to copy.
fn spoil(files: &Files) -> Result<(), Error> {
    let path = files.dir.join("g");
    let what = path.display().to_string();
    let spoil = || {
        let mut file = File::options().write(true).open(&path)?;
        let blocks = file.seek(SeekFrom::End(0))? >> 20;
        file.rewind()?;
        (0..blocks).try_for_each(|_| file.write_all(&[0; 1 << 20]))
    };
    spoil().map_err(Error::io(what))
}
