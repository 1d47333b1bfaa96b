//! `read` and `write` of large files: to and from files here, holes, and going on with what was
//! broken off.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::support::fault_server::FaultServer;
use super::support::fault_tree::{Action, Effect};
use super::support::program::{Place, Serve, eventually};
use super::{Did, Server, end, run, spawn};

/// The bytes of a message that the client offers if it is not told otherwise.
const UNIT: usize = 32 << 10;

/// Bytes that look alike nowhere.
fn noise(len: usize) -> Vec<u8> {
    (0..len as u32).map(|j| (j.wrapping_mul(2_654_435_761) >> 23) as u8 | 1).collect()
}

/// Two blocks of data far from one another, zeros around them, and a length that is no block's.
fn holey() -> Vec<u8> {
    let mut data = vec![0; (1 << 20) + 77];
    data[4096..8192].copy_from_slice(&noise(4096));
    data[700_001..700_900].copy_from_slice(&noise(899));
    data
}

/// A server that takes messages of 8192 bytes, as old ones do, has room for 8168 of a file in each.
#[test]
fn a_crypt_device_is_copied_in_whole_sectors() {
    let place = Place::new();
    fs::write(place.root().join("f"), vec![0; 200_000]).expect("a file");
    let serve = Serve::on("tcp!127.0.0.1!0").option("--root", place.root());
    let program = serve.option("--dialect", "plan9").option("--msize", "8192").start();
    let crypt = ["ctl", "crypt", "c", "/f", &"5a".repeat(32)];
    let data = noise(100 * 512);
    for (args, input, output) in [
        (&crypt[..], &[][..], &[][..]),
        (&["write", "c"], &data, &[]),
        (&["read", "--count", "51200", "c"], &[], &data),
    ] {
        let did = run(&[args, &["-a", program.dial()]].concat(), input);
        assert_eq!((did.status, &did.err[..]), (0, ""), "{args:?}");
        assert!(did.out == output, "{args:?}");
    }
}

impl Server {
    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// With a device `big` of one file of these bytes.
    fn with(data: &[u8]) -> Server {
        let server = Server::start();
        fs::write(server.place.root().join("big"), data).expect("a file");
        server.ok(&["ctl", "cat", "big", "/big"]);
        server
    }

    fn big(&self) -> Vec<u8> {
        fs::read(self.place.root().join("big")).expect("it is there")
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of ours is text")
}

/// What a command says to give it to go on with what it broke off.
#[track_caller]
fn told_to_go_on(did: &Did, said: &str) -> Vec<String> {
    assert_eq!(did.status, 1, "{}", did.err);
    assert!(did.err.starts_with(&format!("dsfs: {said}")), "{}", did.err);
    let (_, how) = did.err.split_once("; to go on, give the same command with ").expect("it says");
    how.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn a_file_here_gets_holes_for_zeros_and_standard_output_does_not() {
    let data = holey();
    let server = Server::with(&data);
    let copy = server.path("copy");
    fs::write(&copy, noise(2 << 20)).expect("something that is in the way");
    server.ok(&["read", "big", text(&copy)]);
    assert!(fs::read(&copy).expect("it is there") == data);
    let room = fs::metadata(&copy).expect("it is there").blocks() * 512;
    assert!(room < 100_000, "{room} bytes of the disk");
    for to in [&["read", "big", "-"][..], &["read", "big"]] {
        assert!(server.run_with(to, b"").out == data, "{to:?}");
    }
    server.ok(&["read", "big", text(&copy), "--offset", "5000", "--count", "9000"]);
    assert!(fs::read(&copy).expect("it is there") == data[5000..14_000]);
    // What is no regular file has no holes, and gets the zeros.
    server.ok(&["read", "big", "/dev/null"]);
}

#[test]
fn what_can_not_be_read_leaves_the_file_here_as_it_is() {
    let server = Server::with(b"data");
    let copy = server.path("copy");
    fs::write(&copy, "old").expect("a file");
    let missing = "none: file does not exist; 'dsfs ls' lists what there is";
    server.fails(&["read", "none", text(&copy)], missing);
    assert_eq!(fs::read(&copy).expect("it is there"), b"old");
}

#[test]
fn a_file_and_standard_input_are_written() {
    let server = Server::with(&vec![7; 200_000]);
    let data = noise(150_000);
    let file = server.path("file");
    fs::write(&file, &data).expect("a file");
    server.ok(&["write", "big", text(&file)]);
    assert!(server.big()[..150_000] == data && server.big()[150_000..] == [7; 50_000]);
    server.ok(&["write", "big", text(&file), "--offset", "100", "--skip", "149990"]);
    assert!(server.big()[100..110] == data[149_990..] && server.big()[110..150_000] == data[110..]);
    let did = server.run_with(&["write", "big", "-", "--skip", "3", "--offset", "5"], b"abcdef");
    assert_eq!((did.status, &server.big()[4..9]), (0, &[data[4], b'd', b'e', b'f', data[8]][..]));

    let long = format!("{}: --skip goes past its end: it has 150000 bytes", file.display());
    server.fails(&["write", "big", text(&file), "--skip", "150001"], &long);
    let none = server.path("hello");
    let what =
        "No such file or directory (os error 2); to write a text itself, give it with --text";
    server.fails(&["write", "big", text(&none)], &format!("{}: {what}", none.display()));
}

/// The device keeps what it has where zeros are left out; a file that was cut is what it should be.
#[test]
fn zeros_are_left_out_only_when_asked() {
    let data = holey();
    let far = FaultServer::start();
    let place = Place::new();
    let local = place.file("holey", "");
    fs::write(&local, &data).expect("a file");
    let write = |name: &str, sparse: &[&str]| {
        let dial = far.dial();
        let args = ["write", name, text(&local), "-a", &dial];
        let did = run(&[&args[..], sparse].concat(), b"");
        assert_eq!((did.status, did.err.as_str()), (0, ""));
        let mut tree = far.tree();
        let id = tree.find(name).expect("it is there");
        let came = tree.take_log().len();
        (tree.data(id).to_vec(), came)
    };
    let messages = data.len().div_ceil(UNIT);
    far.tree().create("all", vec![9; data.len()], 0o600);
    assert!(write("all", &[]) == (data.clone(), messages));
    // With an offset nothing is cut: what was there shows.
    far.tree().create("kept", vec![9; data.len()], 0o600);
    let (kept, came) = write("kept", &["--sparse", "--offset", "0"]);
    assert!(kept[..UNIT] == data[..UNIT] && kept[UNIT..2 * UNIT] == [9; UNIT]);
    assert_eq!(came, 3, "the two with data in them, and the last");
    // Zeros to the very end of a message.
    fs::write(&local, vec![0; 4 * UNIT]).expect("a file");
    far.tree().create("zeros", Vec::new(), 0o600);
    assert!(write("zeros", &["--sparse"]) == (vec![0; 4 * UNIT], 1));
}

/// The file is cut first, so that what is left out is zeros, and holes at the server.
#[test]
fn a_file_that_is_cut_first_gets_holes_at_the_server() {
    let place = Place::new();
    let data = holey();
    let local = place.file("holey", "");
    fs::write(&local, &data).expect("a file");
    fs::write(place.root().join("f"), noise(2 << 20)).expect("a file");
    let serve = Serve::on("tcp!127.0.0.1!0").option("--root", place.root()).flag("--export");
    let program = serve.start();
    let args = ["write", "f", text(&local), "--sparse", "-A", "#U", "-a", program.dial()];
    let did = run(&args, b"");
    assert_eq!((did.status, did.err.as_str()), (0, ""));
    assert!(fs::read(place.root().join("f")).expect("it is there") == data);
    let room = fs::metadata(place.root().join("f")).expect("it is there").blocks() * 512;
    assert!(room <= 4 * UNIT as u64, "{room} bytes of the disk");
}

/// A file that grows takes several writes at one time, once it is known to be one that grows.
#[test]
fn a_new_file_is_written_by_several_requests_at_one_time() {
    let far = FaultServer::start();
    let data = noise(8 * UNIT);
    far.tree().create("new", Vec::new(), 0o600);
    let dial = far.dial();
    let mut child = spawn(&["write", "new", "-a", &dial]);
    let mut stdin = child.stdin.take().expect("it is a pipe");
    let held = |count| (far.held().len() == count).then_some(());
    far.hold();
    stdin.write_all(&data[..2 * UNIT]).expect("it reads");
    eventually("the first write", || held(1));
    far.release();
    let there = || {
        let tree = far.tree();
        tree.find("new").map(|id| tree.data(id).len())
    };
    eventually("both are there", || (there() == Ok(2 * UNIT)).then_some(()));
    far.hold();
    stdin.write_all(&data[2 * UNIT..]).expect("it reads");
    eventually("the others wait together", || held(6));
    far.release();
    drop(stdin);
    let did = end(child);
    assert_eq!((did.status, did.err.as_str()), (0, ""));
    let mut tree = far.tree();
    assert!(tree.data(tree.find("new").expect("it is there")) == data);
    assert!(tree.take_log().iter().all(|asked| asked.action == Action::Write));
}

/// A copy that fails says where; the same command with what it says makes it whole.
#[test]
fn a_read_that_failed_is_gone_on_with() {
    let data = noise(10 * UNIT + 5);
    let far = FaultServer::start();
    far.tree().create("f", data[4 * UNIT..].to_vec(), 0o600);
    let place = Place::new();
    let names = place.file("names", &format!("bind #U /\nmount -A {} /n/far\n", far.dial()));
    fs::write(place.root().join("here"), &data[..4 * UNIT]).expect("a file");
    let serve = Serve::on("tcp!127.0.0.1!0").option("--root", place.root());
    let program = serve.option("--namespace", names).start();
    let server = Server { program, place };
    server.ok(&["ctl", "cat", "c0", "/here", "/n/far/f"]);
    let bad = || Effect::Error("bad disk".into());
    let said = format!("c0: bad disk at byte {}; what comes before it is done", 4 * UNIT);

    far.tree().fault("f", Action::Read, bad(), None);
    let copy = server.path("copy");
    let args = ["read", "c0", text(&copy)];
    let did = server.run_with(&args, b"");
    assert_eq!(told_to_go_on(&did, &said), ["--resume"]);
    assert!(fs::read(&copy).expect("it is there") == data[..4 * UNIT]);
    far.tree().fault("f", Action::Read, bad(), Some(0));
    server.ok(&["read", "c0", text(&copy), "--resume"]);
    assert!(fs::read(&copy).expect("it is there") == data);
    server.ok(&["read", "c0", text(&copy), "--resume"]);
    assert!(fs::read(&copy).expect("it is there") == data, "there was nothing left to do");

    far.tree().fault("f", Action::Read, bad(), None);
    let did = server.run_with(&["read", "c0", "--count", "300000"], b"");
    let at = (4 * UNIT).to_string();
    let rest = (300_000 - 4 * UNIT).to_string();
    assert_eq!(told_to_go_on(&did, &said), ["--offset", &at, "--count", &rest]);
    assert!(did.out == data[..4 * UNIT]);

    far.tree().fault("f", Action::Write, bad(), None);
    let file = server.path("file");
    let new = noise(11 * UNIT)[UNIT - 5..].to_vec();
    fs::write(&file, [&b"front"[..], &new].concat()).expect("a file");
    let did = server.run_with(&["write", "c0", text(&file), "--skip", "5"], b"");
    let skip = (4 * UNIT + 5).to_string();
    let how = told_to_go_on(&did, &said);
    assert_eq!(how, ["--offset", &at, "--skip", &skip]);
    far.tree().fault("f", Action::Write, bad(), Some(0));
    far.tree().fault("f", Action::Read, bad(), Some(0));
    server.ok(&["write", "c0", text(&file), &how[0], &how[1], &how[2], &how[3]]);
    assert!(server.run_with(&["read", "c0"], b"").out == new);
}

#[test]
fn only_what_differs_on_is_written_again() {
    let data = noise(10 * UNIT);
    let far = FaultServer::start();
    let mut half = data.clone();
    half[5 * UNIT + 100..].fill(0);
    far.tree().create("f", half, 0o600);
    let place = Place::new();
    let file = place.file("file", "");
    fs::write(&file, &data).expect("a file");
    let dial = far.dial();
    let resume = ["write", "f", text(&file), "--resume", "-a", &dial];
    for first in [Some(5 * UNIT as u64), None] {
        let did = run(&resume, b"");
        assert_eq!((did.status, did.err.as_str()), (0, ""));
        let mut tree = far.tree();
        assert!(tree.data(tree.find("f").expect("it is there")) == data);
        let writes = tree.take_log().into_iter().filter(|asked| asked.action == Action::Write);
        assert_eq!(writes.map(|asked| asked.offset).min(), first);
    }
    // A file that is shorter, as one that was cut at the first try.
    far.tree().change("f", |data| data.truncate(3 * UNIT + 1));
    assert_eq!(run(&resume, b"").status, 0);
    let tree = far.tree();
    assert!(tree.data(tree.find("f").expect("it is there")) == data);
}

#[test]
fn what_can_not_be_resumed_says_why() {
    let server = Server::with(b"data");
    let copy = server.path("copy");
    fs::write(&copy, "data and more").expect("a file");
    let long = "big: there are 4 bytes to copy, and FILE has 13 already: it is no part of them; \
                without --resume it is written anew";
    server.fails(&["read", "big", text(&copy), "--resume"], long);
    let pipe = "--resume needs FILE, not '-': a file has an end to go on from";
    server.fails(&["read", "big", "-", "--resume"], pipe);
    server.fails(&["write", "big", "-", "--resume"], pipe);
    let null = "/dev/null: only a regular file has an end to go on from";
    server.fails(&["read", "big", "/dev/null", "--resume"], null);
    let full = server.run_with(&["read", "big", "/dev/full"], b"");
    let said = "cannot write what was read: /dev/full: No space left on device (os error 28)";
    assert_eq!(told_to_go_on(&full, said), ["--resume"]);
}

/// The server is gone in the middle: what is said then makes the file whole at the next one.
#[test]
fn a_write_goes_on_at_the_next_server() {
    let mut server = Server::with(&vec![0; 40 * UNIT]);
    let data = noise(30 * UNIT);
    let mut child = spawn(&["write", "big", "-a", server.program.dial()]);
    let mut stdin = child.stdin.take().expect("it is a pipe");
    stdin.write_all(&data[..10 * UNIT]).expect("it reads");
    let root = server.place.root().join("big");
    eventually("something is written", || {
        (fs::read(&root).expect("it is there")[..UNIT] == data[..UNIT]).then_some(())
    });
    server.program.kill();
    // It may have ended by now.
    let _ = stdin.write_all(&data[10 * UNIT..]);
    drop(stdin);
    let said = format!("the connection to {} is lost: ", server.program.dial());
    let how = told_to_go_on(&end(child), &said);
    assert_eq!((&*how[0], &*how[2], &how[1]), ("--offset", "--skip", &how[3]));

    server.program = Serve::on("tcp!127.0.0.1!0").option("--root", server.place.root()).start();
    server.ok(&["ctl", "cat", "big", "/big"]);
    let args = ["write", "big", &how[0], &how[1], &how[2], &how[3]];
    assert_eq!(server.run_with(&args, &data).status, 0);
    assert!(server.big()[..30 * UNIT] == data);
}
