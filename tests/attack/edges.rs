//! Offsets and counts at every power of two up to 2^64 - 1, on a file of every kind; and files that the
//! host cuts, removes and replaces under a device.

use std::fs;

use styx::{Rmsg, Tmsg, omode};

use crate::support::client::{Client, Failure, MSIZE, Outcome};
use crate::support::program::{Place, Program, Serve};
use crate::support::text::pattern;

/// The bytes of each inner file: two blocks of an inter, and what a crypt device keeps for itself.
const BYTES: usize = 65536 + 2 * 8192;

const SECTOR: u64 = 512;

fn serve(place: &Place, dialect: &str) -> Program {
    for (name, seed) in [("a", 1), ("b", 2)] {
        fs::write(place.root().join(name), pattern(seed, BYTES)).expect("a new file");
    }
    Serve::on("tcp!127.0.0.1!0")
        .flag("--export")
        .option("--root", place.root())
        .option("--dialect", dialect)
        .start()
}

/// 0, every power of two, and what is beside it, up to 2^64 - 1.
fn edges() -> impl Iterator<Item = u64> {
    (0..64).flat_map(|bit| [(1u64 << bit) - 1, 1 << bit, (1u64 << bit) + 1]).chain([!0 - 1, !0])
}

fn error<T>(text: &str) -> Outcome<T> {
    Err(Failure::Error(text.to_owned()))
}

/// What a request of `count` bytes at `offset` is refused with before anybody asks the file.
fn refusal(offset: u64, count: u32) -> Option<&'static str> {
    match (offset, count) {
        (_, count) if count > MSIZE - styx::IOHDRSZ => Some("read/write -- count too big"),
        (offset, _) if offset > i64::MAX as u64 => Some("negative i/o offset"),
        _ => None,
    }
}

fn check_reads(client: &mut Client, path: &[&str], whole: &[u8], aligned: bool) {
    let fid = client.open_both(path).expect("it is there");
    for offset in edges() {
        for count in [0, 1, 511, 512, 8192, MSIZE - 24, MSIZE - 23, 1 << 31, !0] {
            let start = usize::try_from(offset).unwrap_or(whole.len()).min(whole.len());
            let end = start.saturating_add(count as usize).min(whole.len());
            let odd = !offset.is_multiple_of(SECTOR) || !u64::from(count).is_multiple_of(SECTOR);
            let wanted = match refusal(offset, count) {
                Some(text) => error(text),
                None if aligned && odd && start < end => error("bad arg in system call"),
                None => Ok(whole[start..end].to_vec()),
            };
            let got = client.read_at(fid, offset, count);
            assert!(got == wanted, "{path:?}: {count} at {offset}: {got:?}, not {wanted:?}");
        }
    }
}

/// Writes of bytes that are there already, so that nothing changes.
fn check_writes(client: &mut Client, path: &[&str], whole: &[u8], aligned: bool) {
    let fid = client.open_both(path).expect("it is there");
    for offset in edges() {
        for count in [0, 1, 512] {
            let start = usize::try_from(offset).unwrap_or(whole.len()).min(whole.len());
            let room = count.min(whole.len() - start);
            let mut data = whole[start..start + room].to_vec();
            data.resize(count, 9);
            let odd = !offset.is_multiple_of(SECTOR) || !(count as u64).is_multiple_of(SECTOR);
            let wanted = match refusal(offset, count as u32) {
                Some(text) => error(text),
                None if aligned && odd && room > 0 => error("bad arg in system call"),
                None => Ok(room as u32),
            };
            let got = client.write_at(fid, offset, &data);
            assert!(got == wanted, "{path:?}: {count} at {offset}: {got:?}, not {wanted:?}");
        }
    }
}

#[test]
fn every_edge_of_a_request_on_every_kind_of_file() {
    for dialect in ["devds", "plan9"] {
        let place = Place::new();
        let program = serve(&place, dialect);
        let mut client = Client::mount(program.dial(), MSIZE, "").expect("it serves");
        let mut devices = vec!["mirror m a b", "cat c a b", "inter i a b", "part p a 5 70000"];
        let key = format!("crypt k b {}", "5".repeat(64));
        if dialect == "plan9" {
            devices.push(&key);
        }
        for message in devices {
            client.ctl(message).unwrap_or_else(|error| panic!("{message}: {error}"));
            let name = message.split(' ').nth(1).expect("a name");
            let whole = client.read_all(&[name]).expect("it is there");
            assert!(whole.len() >= 2 * 8192, "{message}");
            check_reads(&mut client, &[name], &whole, name == "k");
            check_writes(&mut client, &[name], &whole, name == "k");
            assert!(client.read_all(&[name]) == Ok(whole), "{message} has changed");
        }
        let text = client.read_all(&["ctl"]).expect("it is there");
        check_reads(&mut client, &["ctl"], &text, false);
        let mut export = Client::mount(program.dial(), MSIZE, "#U").expect("it serves");
        let whole = fs::read(place.root().join("a")).expect("it is there");
        check_reads(&mut export, &["a"], &whole, false);
        let mut admin = Client::mount(program.dial(), MSIZE, "admin").expect("it serves");
        let fid = admin.walk_to(&["status"]).expect("it is there");
        admin.rpc(&Tmsg::Open { fid, mode: omode::OREAD }).expect("it opens");
        for offset in edges() {
            let asked = admin.rpc(&Tmsg::Read { fid, offset, count: 100 });
            assert_eq!(asked.is_ok(), refusal(offset, 100).is_none(), "{offset}: {asked:?}");
        }
    }
}

#[test]
fn a_device_whose_file_the_host_changes_answers_rightly_or_with_an_error() {
    let place = Place::new();
    let program = serve(&place, "devds");
    let path = place.root().join("a");
    let whole = fs::read(&path).expect("it is there");
    let mut client = Client::mount(program.dial(), MSIZE, "").expect("it serves");
    client.ctl("part p a 0 80000").expect("a device");
    let fid = client.open_both(&["p"]).expect("it is there");

    let file = fs::OpenOptions::new().write(true).open(&path).expect("it is there");
    file.set_len(1000).expect("it can be cut");
    for (offset, count) in [(0, 4096), (900, 200), (1000, 100), (50_000, 8000)] {
        let start = (offset as usize).min(1000);
        let wanted = &whole[start..(start + count as usize).min(1000)];
        match client.read_at(fid, offset, count) {
            Ok(data) => assert!(data == wanted, "{count} at {offset}: {data:?}"),
            Err(Failure::Error(_)) => {}
            Err(other) => panic!("{other}"),
        }
    }
    // Within the length that the device was made with.
    if client.write_at(fid, 79_990, &[7; 100]) == Ok(10) {
        assert_eq!(client.read_at(fid, 79_990, 100), Ok(vec![7; 10]));
    }
    assert!(fs::metadata(&path).expect("it is there").len() <= 80_000);

    fs::write(&path, &whole).expect("it is there");
    assert!(client.read_at(fid, 70_000, 100).is_ok_and(|data| data == whole[70_000..70_100]));
    fs::rename(place.root().join("b"), &path).expect("another takes its place");
    assert!(client.read_at(fid, 70_000, 100).is_ok_and(|data| data == whole[70_000..70_100]));
    fs::remove_file(&path).expect("it is there");
    assert!(client.read_at(fid, 0, 100).is_ok_and(|data| data == whole[..100]));
    let stat = client.rpc(&Tmsg::Stat { fid }).expect("it is there");
    assert!(matches!(stat.msg(), Rmsg::Stat { .. }));
}
