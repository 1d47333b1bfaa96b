//! Saved configurations, with the real program: what `ctl` prints is read back (`random.rs`), what is
//! refused leaves nothing behind (`refused.rs`), and the keys of crypt devices come from a file of
//! their own and are shown nowhere (`keys.rs`).

#[path = "../support/mod.rs"]
mod support;

mod keys;
mod random;
mod refused;

use std::fs;

use styx::{Tmsg, omode};
use support::client::{Client, MSIZE, Outcome};
use support::program::{Place, Program, Serve};

/// The two dialects, each with its directory of devices.
const DIALECTS: [(&str, &str); 2] = [("devds", "ds"), ("plan9", "fs")];

/// The directory of a dialect's devices.
fn dir_of(dialect: &str) -> &'static str {
    DIALECTS.iter().find(|(name, _)| *name == dialect).expect("a dialect").1
}

/// A server on the files of a place.
fn serve(place: &Place, dialect: &str) -> Serve {
    Serve::on("tcp!127.0.0.1!0")
        .option("--root", place.root())
        .option("--dialect", dialect)
        .option("--owner", "root")
}

/// A place with inner files of these names and lengths.
fn place_with(files: &[(&str, usize)]) -> Place {
    let place = Place::new();
    for (name, length) in files {
        fs::write(place.root().join(name), vec![b'x'; *length]).expect("a new file");
    }
    place
}

/// A client at the kernel device's tree, which has every directory.
fn mount(program: &Program) -> Client {
    Client::mount(program.dial(), MSIZE, "#k").expect("the server is there")
}

/// Writes messages to ctl, each with a write of its own on one fid: what came of each.
fn write_all(client: &mut Client, dialect: &str, messages: &[String]) -> Vec<Outcome<()>> {
    let all = client.on_open(&[dir_of(dialect), "ctl"], Some(omode::ORDWR), |client, fid| {
        let mut write = |message: &String| {
            let data = message.as_bytes();
            client.rpc(&Tmsg::Write { fid, offset: 0, data }).map(drop)
        };
        Ok(messages.iter().map(&mut write).collect())
    });
    all.expect("ctl opens")
}

/// A device as the directories show it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Shown {
    dir: String,
    name: String,
    length: u64,
    path: u64,
}

/// What a client finds: the devices in the order of the listing, and the text of ctl.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    devices: Vec<Shown>,
    text: String,
}

fn find(client: &mut Client, dialect: &str) -> Found {
    let text = client.read_all(&[dir_of(dialect), "ctl"]).expect("ctl is read");
    let text = String::from_utf8(text).expect("ctl is text");
    let mut devices = Vec::new();
    for dir in client.ls(&[""; 0]).expect("the top is a directory") {
        for entry in client.ls(&[&dir.name]).expect("it is a directory") {
            if (&dir.name[..], &entry.name[..]) == (dir_of(dialect), "ctl") {
                continue;
            }
            let (dir, name, path) = (dir.name.clone(), entry.name, entry.qid.path);
            devices.push(Shown { dir, name, length: entry.length, path });
        }
    }
    Found { devices, text }
}

/// The first line of an original's file, comments and empty lines, as each dialect has them.
#[test]
fn lines_that_are_no_messages() {
    let place = place_with(&[("a", 20)]);
    for (dialect, text) in [
        ("devds", "fsdev:\ncat c /a\n"),
        ("devds", "fsdev: and whatever else\n\n\ncat c /a"),
        ("devds", "\ncat c /a\n\n"),
        ("plan9", "fsdev:\ncat c /a\n"),
        ("plan9", "# mine\ncat c /a\n"),
        ("plan9", "\n# mine\n\nfsdev: again\ncat c /a\n#"),
    ] {
        let config = place.file("config", text);
        let program = serve(&place, dialect).option("--config", config).start();
        let found = find(&mut mount(&program), dialect);
        assert_eq!(found.text, "cat c /a\n", "{dialect} {text:?}");
        assert_eq!(found.devices.len(), 1, "{dialect} {text:?}");
    }
    for text in ["", "fsdev:\n", "fsdev:", "\n\n"] {
        for (dialect, _) in DIALECTS {
            let config = place.file("config", text);
            let program = serve(&place, dialect).option("--config", config).start();
            let found = find(&mut mount(&program), dialect);
            assert_eq!((found.devices, found.text), (vec![], String::new()), "{text:?}");
        }
    }
}
