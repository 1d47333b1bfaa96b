//! What dsfs decided where the recordings leave a choice: the rows of docs/compatibility.md whose
//! reason is a choice, as far as they can be seen from one client. The bounds on a connection are the
//! tests of `styx`, saved configurations are tests/config.

#[path = "support/mod.rs"]
mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use styx::{NOFID, Tmsg, omode};
use support::client::{Client, Failure, MSIZE};
use support::fault_server::FaultServer;
use support::fault_tree::{Action, Effect};
use support::program::{Place, Program, Serve};

/// The dialects: the directory of the devices, and where a name finds it.
const DIALECTS: [(&str, &str, &str); 2] = [("devds", "ds", "/n/ds"), ("plan9", "fs", "/dev/fs")];

fn serve(place: &Place, dialect: &str) -> Serve {
    Serve::on("tcp!127.0.0.1!0").option("--root", place.root()).option("--dialect", dialect)
}

fn mount(program: &Program) -> Client {
    Client::mount(program.dial(), MSIZE, "").expect("the server is there")
}

fn ctl(client: &mut Client, message: &str) -> Result<u32, Failure> {
    client.write(&["ctl"], 0, message.as_bytes())
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, Failure>, text: &str) {
    assert_eq!(result.expect_err("it is refused"), Failure::Error(text.to_owned()));
}

#[test]
fn attach_names() {
    let place = Place::new();
    for (dialect, dir, _) in DIALECTS {
        let program = serve(&place, dialect).start();
        let mut client = mount(&program);
        let mut attach = |fid, aname: &str| {
            let attach = Tmsg::Attach { fid, afid: NOFID, uname: "root", aname };
            client.rpc(&attach).map(drop)
        };
        for (fid, aname) in [(1, ""), (2, "/"), (3, dir), (4, "#k")] {
            assert_eq!(attach(fid, aname), Ok(()), "{dialect} {aname:?}");
        }
        let not_exported = "the root directory is not exported: start the server with --export";
        refused(attach(5, "#U"), not_exported);
        let other = if dir == "ds" { "fs" } else { "ds" };
        for aname in [other, "k", "#", "#c", "ctl", "/n/ds", " ", "ds/ctl"] {
            refused(attach(5, aname), "unknown attach name");
        }
    }
}

/// Devices of devices: as many files as are counted, and not one more; as deep, and not one deeper.
#[test]
fn devices_inside_devices() {
    const EDEEP: &str = "device too large: too many files or devices inside it";
    let place = Place::new();
    fs::write(place.root().join("a"), [b'x'; 8192]).expect("a new file");
    for (dialect, _, root) in DIALECTS {
        let program = serve(&place, dialect).start();
        let mut client = mount(&program);
        let eight = |name: &str| format!(" {name}").repeat(8);
        let mut inner = "/a".to_owned();
        for level in ["l1", "l2", "l3", "l4"] {
            ctl(&mut client, &format!("mirror {level}{}", eight(&inner))).expect("8^4 files");
            inner = format!("{root}/{level}");
        }
        refused(ctl(&mut client, &format!("cat more {root}/l4 /a")), EDEEP);
        refused(ctl(&mut client, &format!("mirror l5{}", eight(&inner))), EDEEP);
        assert_eq!(client.write(&["l4"], 0, b"y"), Ok(1));

        let program = serve(&place, dialect).start();
        let mut client = mount(&program);
        inner = "/a".to_owned();
        for level in 1..=64 {
            ctl(&mut client, &format!("cat d{level} {inner}")).expect("64 deep");
            inner = format!("{root}/d{level}");
        }
        // In devds there is no 65th device at all, so nothing is deeper.
        let text = if dialect == "devds" { "no free devices" } else { EDEEP };
        refused(ctl(&mut client, &format!("cat d65 {inner}")), text);
        assert_eq!(client.read(&["d64"], 0, 1), Ok(b"y".to_vec()));
    }
}

#[test]
fn what_is_no_inner_file() {
    let place = Place::new();
    let outside = place.file("outside", "secret");
    symlink(&outside, place.root().join("absolute")).expect("a link");
    symlink("../outside", place.root().join("relative")).expect("a link");
    fs::create_dir(place.root().join("dir")).expect("a directory");
    fs::write(place.root().join("a"), b"inside").expect("a file");
    symlink("a", place.root().join("good")).expect("a link");
    let fifo = place.root().join("fifo");
    let kind = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, kind, 0o600.into(), 0).expect("a FIFO");
    for (dialect, _, _) in DIALECTS {
        let program = serve(&place, dialect).start();
        let mut client = mount(&program);
        let mut text = |name: &str| match ctl(&mut client, &format!("cat c {name}")) {
            Err(Failure::Error(text)) => text,
            other => panic!("{dialect} {name}: {other:?}"),
        };
        for name in ["/absolute", "/relative", "/../outside", "/dir/../../outside"] {
            let text = text(name);
            let missing = text.contains("file does not exist") || text.contains("does not exist");
            assert!(missing, "{dialect} {name}: {text}");
        }
        for name in ["/fifo", "/dir", "/"] {
            assert!(text(name).starts_with("permission denied"), "{dialect} {name}");
        }
        ctl(&mut client, "cat c /../good").expect("it is inside");
        assert_eq!(client.read(&["c"], 0, 6), Ok(b"inside".to_vec()));
    }
}

#[test]
fn read_only() {
    let place = Place::new();
    fs::write(place.root().join("a"), b"inside").expect("a file");
    let config = place.file("config", "cat c /a\n");
    for (dialect, _, _) in DIALECTS {
        let serve = serve(&place, dialect).option("--config", &config).flag("--read-only");
        let program = serve.start();
        let mut client = mount(&program);
        refused(ctl(&mut client, "cat d /a"), "read-only file server");
        refused(client.write(&["c"], 0, b"x"), "read-only file server");
        assert_eq!(client.read(&["c"], 0, 6), Ok(b"inside".to_vec()));
    }
}

/// D19 and B6: a leg that failed a write is out of service, the last one never is.
#[test]
fn a_leg_that_fails_a_write_goes_out() {
    for (dialect, _, _) in DIALECTS {
        let (place, remote) = (Place::new(), FaultServer::start());
        for name in ["a", "b"] {
            remote.tree().create(name, vec![b'.'; 100], 0o644);
        }
        let names = place.file("namespace", &format!("mount -A {} /r\n", remote.dial()));
        let program = serve(&place, dialect).option("--namespace", names).start();
        let mut client = mount(&program);
        ctl(&mut client, "mirror m /r/a /r/b").expect("a mirror");
        let burns = || Effect::Error("disk on fire".to_owned());
        remote.tree().fault("b", Action::Write, burns(), Some(1));
        match dialect {
            // Right to left: a was not come to.
            "devds" => refused(client.write(&["m"], 0, b"1"), "disk on fire"),
            _ => assert_eq!(client.write(&["m"], 0, b"1"), Ok(1)),
        }
        assert_eq!(client.write(&["m"], 1, b"2"), Ok(1), "{dialect}");
        let held = |name: &str| {
            let tree = remote.tree();
            let id = tree.find(name).expect("it is there");
            tree.data(id)[..2].to_vec()
        };
        let first = if dialect == "devds" { b'.' } else { b'1' };
        assert_eq!((held("a"), held("b")), (vec![first, b'2'], b"..".to_vec()), "{dialect}");
        assert_eq!(client.read(&["m"], 0, 2), Ok(vec![first, b'2']), "{dialect}");
        // The other is the last one: it fails, and is used again.
        remote.tree().fault("a", Action::Write, burns(), Some(1));
        let text = if dialect == "devds" { "disk on fire" } else { "i/o error" };
        refused(client.write(&["m"], 0, b"3"), text);
        assert_eq!(client.write(&["m"], 0, b"4"), Ok(1), "{dialect}");
        assert_eq!(client.read(&["m"], 0, 2), Ok(b"42".to_vec()), "{dialect}");
    }
}

/// A leg that failed because a ctl is inside it stays: no disk has failed.
#[test]
fn a_ctl_inside_a_leg_takes_no_leg_out() {
    let place = Place::new();
    for name in ["a", "b"] {
        fs::write(place.root().join(name), [b'.'; 100]).expect("a new file");
    }
    let program = serve(&place, "devds").start();
    let mut client = mount(&program);
    ctl(&mut client, "cat c /n/ds/ctl /b").expect("a cat with a ctl in it");
    ctl(&mut client, "mirror m /a /n/ds/c").expect("a mirror");
    for _ in 0..2 {
        refused(client.write(&["m"], 0, b"x"), "empty control message");
    }
    assert_eq!(client.sync(&["c"]), Ok(()), "a ctl has nothing to sync");
    // Past the ctl a write reaches both legs, so both are in service.
    assert_eq!(client.write(&["m"], 1, b"y"), Ok(1));
    for name in ["a", "b"] {
        assert_eq!(fs::read(place.root().join(name)).expect("a file")[..2], *b".y", "{name}");
    }
    let open = client.on_open(&["m"], Some(omode::OREAD), |_, _| Ok(()));
    assert_eq!(open, Ok(()));
}

/// A crypt device on another one; and one whose file takes a part of a write.
#[test]
fn crypt_devices_of_crypt_devices_and_of_files_that_are_full() {
    const HEADER: usize = 65536;
    let (place, remote) = (Place::new(), FaultServer::start());
    remote.tree().create("far", vec![0; HEADER + 4096], 0o644);
    fs::write(place.root().join("a"), vec![0; 2 * HEADER + 4096]).expect("a new file");
    let names = format!("bind #U /\nbind #k/fs /dev/fs\nmount -A {} /r\n", remote.dial());
    let names = place.file("namespace", &names);
    let program = serve(&place, "plan9").option("--namespace", names).start();
    let mut client = mount(&program);
    let key = |digit: &str| digit.repeat(64);
    ctl(&mut client, &format!("crypt one /a {}", key("1"))).expect("a crypt device");
    ctl(&mut client, &format!("crypt two /dev/fs/one {}", key("2"))).expect("one on it");
    assert_eq!(client.write(&["two"], 512, &[b'x'; 1024]), Ok(1024));
    assert_eq!(client.read(&["two"], 512, 1024), Ok(vec![b'x'; 1024]));
    assert_ne!(client.read(&["one"], HEADER as u64 + 512, 512), Ok(vec![b'x'; 512]));
    let held = fs::read(place.root().join("a")).expect("a file");
    assert!(!held.windows(8).any(|bytes| bytes == [b'x'; 8]), "nothing of it can be read");

    ctl(&mut client, &format!("crypt far /r/far {}", key("3"))).expect("a crypt device");
    remote.tree().fault("far", Action::Write, Effect::Short(512), Some(1));
    refused(client.write(&["far"], 0, &[b'x'; 1024]), "i/o error");
    assert_eq!(client.write(&["far"], 0, &[b'x'; 1024]), Ok(1024));
}

/// Without `--root` it is a directory of the user's own; and a name space file may take in another.
#[test]
fn a_root_of_the_users_own_and_a_name_space_of_two_files() {
    let place = Place::new();
    place.file("more", "bind '#U/deep' /n/deep\n");
    let names = place.file("namespace", "bind '#U' /\n. more\n");
    let data = place.path().join("data");
    let program = Serve::on("tcp!127.0.0.1!0")
        .env("XDG_DATA_HOME", &data)
        .option("--namespace", &names)
        .start();
    let root = data.join("dsfs");
    let mode = fs::metadata(&root).expect("it was made").permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "nobody else's");
    fs::create_dir(root.join("deep")).expect("ours");
    fs::write(root.join("deep/a"), "inside").expect("ours");
    let mut client = mount(&program);
    ctl(&mut client, "cat c /n/deep/a").expect("it is found");
    assert_eq!(client.read(&["c"], 0, 6), Ok(b"inside".to_vec()));
    let serve = Serve::on("tcp!127.0.0.1!0").option("--root", place.root());
    let ended = serve.option("--namespace", place.file("lacking", ". nowhere\n")).end();
    assert!(ended.code == 1 && ended.stderr.contains("nowhere"), "{ended:?}");
}
