//! A server of the dialect plan9 with a device of each kind, and what is in their files.

use std::fs::{self, OpenOptions};

use super::client::Client;
use super::program::{Place, Program, Serve};

const KEY: &str = "0123456789abcdeffedcba98765432100123456789abcdeffedcba9876543210";

/// The files that the devices are made of.
pub const FILES: [&str; 3] = ["a", "b", "c"];

/// One of each kind, one of several kinds, and one whose first file is cut.
pub const NAMES: [&str; 7] = ["cat", "mirror", "inter", "part", "crypt", "deep", "cut"];

/// What makes a device of files of so many bytes.
fn message(name: &str, bytes: usize) -> String {
    match name {
        "part" => format!("part part /a 12345 {}", bytes / 3 * 2),
        "crypt" => format!("crypt crypt /b {KEY}"),
        "deep" => "cat deep /dev/fs/inter /dev/fs/part /dev/fs/mirror".into(),
        "cut" => "cat cut /c /b".into(),
        kind => format!("{kind} {kind} /a /b"),
    }
}

/// What is in one of the files, which have so many bytes.
pub fn content(name: &str, bytes: usize) -> Vec<u8> {
    let seed = u32::from(name.as_bytes()[0]);
    (0..bytes as u32).map(|i| (i.wrapping_mul(2_654_435_761 ^ seed) >> 13) as u8).collect()
}

/// Serves the devices, of files of `bytes` bytes, and exports the files; of `c` a third is left behind the
/// server's back.
pub fn serve(place: &Place, bytes: usize) -> Program {
    for name in FILES {
        fs::write(place.root().join(name), content(name, bytes)).expect("a new file");
    }
    let program = Serve::on("tcp!127.0.0.1!0")
        .option("--root", place.root())
        .option("--dialect", "plan9")
        .flag("--export")
        .start();
    let mut client = Client::mount(program.dial(), 65560, "").expect("the server is there");
    for name in NAMES {
        client.ctl(&message(name, bytes)).expect(name);
    }
    let cut = OpenOptions::new().write(true).open(place.root().join("c")).expect("it is there");
    cut.set_len(bytes as u64 / 3).expect("it can be cut");
    program
}
