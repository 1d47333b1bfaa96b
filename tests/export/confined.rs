//! Nothing leads out of the root, and what is neither file nor directory is not opened.

use std::fs;
use std::os::unix::fs::{FileTypeExt, symlink};
use std::os::unix::net::UnixListener;
use std::process::Command;

use styx::{Tmsg, enames, omode};

use crate::ops::{Node, Ops, only, refused};
use crate::support::program::Place;

const SECRET: &str = "not for clients";

/// A root beside which there is a file and a directory, with links to them from inside.
fn tempting() -> Place {
    let place = Place::new();
    let root = place.root();
    place.file("secret", SECRET);
    fs::create_dir(place.path().join("outside")).unwrap();
    fs::write(place.path().join("outside/secret"), SECRET).unwrap();
    fs::create_dir(root.join("d")).unwrap();
    for (target, link) in [
        ("../secret", "up"),
        ("../outside", "dir"),
        ("d/../../secret", "round"),
        (place.path().join("secret").to_str().unwrap(), "absolute"),
        ("/etc/passwd", "passwd"),
        ("/proc/self/root", "proc"),
        ("..", "parent"),
        ("up", "again"),
        ("circle", "circle"),
    ] {
        symlink(target, root.join(link)).unwrap();
    }
    place
}

#[test]
fn links_out_of_the_root_lead_nowhere() {
    let mut node = Node::with(tempting(), &[]);
    let links = ["up", "dir", "round", "absolute", "passwd", "proc", "parent", "again", "circle"];
    for name in links {
        assert_eq!(refused(node.client.walk(0, 9, &[name])), enames::EPERM, "{name}");
        let fid = node.client.go("").unwrap();
        let made = node.client.rpc(&Tmsg::Create { fid, name, perm: 0o666, mode: 1 });
        assert_eq!(refused(made), enames::EEXIST, "{name}");
    }
    assert_eq!(node.client.names("").unwrap(), ["d"], "nor are they listed");
    for path in ["dir/secret", "parent/secret", "proc/etc"] {
        assert_eq!(refused(node.client.entry(path)), enames::EPERM, "{path}");
    }
    let names = ["..", "..", "..", "etc", "passwd"];
    let walked = format!("{:?}", node.client.walk(0, 9, &names).unwrap().msg());
    assert_eq!(walked.matches("path").count(), 3, "{walked}");
    assert_eq!(fs::read_to_string(node.place.path().join("secret")).unwrap(), SECRET);
}

#[test]
fn links_that_stay_inside_are_followed_and_are_names_of_their_own() {
    let mut node = Node::start();
    node.client.make_dir("d").unwrap();
    node.client.make("d/f", 0o644, b"content").unwrap();
    symlink("d", node.host("dir")).unwrap();
    symlink("../d/f", node.host("d/link")).unwrap();
    symlink("d/link", node.host("two steps")).unwrap();
    symlink("gone", node.host("dangling")).unwrap();
    let file = node.client.qid("d/f").unwrap();
    for path in ["dir/f", "d/link", "dir/link", "two steps"] {
        assert_eq!(node.client.content(path).unwrap(), b"content", "{path}");
        let entry = node.client.entry(path).unwrap();
        assert_eq!(entry.qid, file, "{path}");
        assert_eq!(Some(entry.name.as_str()), path.rsplit('/').next(), "{path}");
    }
    assert_eq!(node.client.names("").unwrap(), ["d", "dir", "two steps"]);
    assert_eq!(node.client.names("dir").unwrap(), ["f", "link"]);
    assert_eq!(refused(node.client.entry("dangling")), enames::ENONEXIST);
    // `..` goes back by the names that were walked.
    let up = node.client.go("dir/..").unwrap();
    assert_eq!(node.client.entry_of(up).unwrap().name, "/");
    node.client.wstat("two steps", only(|stat| stat.length = 3)).unwrap();
    assert_eq!(fs::read(node.host("d/f")).unwrap(), b"con");
    node.client.rename("two steps", "other").unwrap();
    assert_eq!(fs::read_link(node.host("other")).unwrap().to_str(), Some("d/link"));
    node.client.remove("other").unwrap();
    node.client.remove("dir").unwrap();
    assert_eq!(node.client.names("").unwrap(), ["d"]);
    assert_eq!(node.client.names("d").unwrap(), ["f", "link"], "what they led to stays");
}

#[test]
fn special_files_are_seen_and_not_opened() {
    let mut node = Node::start();
    let _socket = UnixListener::bind(node.host("socket")).unwrap();
    let special = [("fifo", vec!["p"]), ("null", vec!["c", "1", "3"])];
    for (name, kind) in &special {
        let made = Command::new("mknod").arg(node.host(name)).args(kind).status();
        assert!(made.expect("mknod(1) is there").success());
    }
    assert_eq!(node.client.names("").unwrap(), ["fifo", "null", "socket"]);
    for name in ["fifo", "null", "socket"] {
        let entry = node.client.entry(name).unwrap();
        assert_eq!((entry.length, entry.mode & !0o777), (0, 0), "{name}");
        for mode in [omode::OREAD, omode::OWRITE, omode::ORDWR, omode::OREAD | omode::OTRUNC] {
            assert_eq!(refused(node.client.open(name, mode)), enames::EPERM, "{name}");
        }
        node.client.wstat(name, only(|stat| stat.mode = 0o640)).unwrap();
        assert_eq!(refused(node.client.wstat(name, only(|stat| stat.length = 1))), enames::EPERM);
        node.client.rename(name, "moved").unwrap();
        assert!(!fs::symlink_metadata(node.host("moved")).unwrap().file_type().is_file());
        node.client.remove("moved").unwrap();
    }
    assert_eq!(node.client.names("").unwrap(), [""; 0]);
}

/// A disk can be part of the export: its length is what it holds.
#[test]
fn block_devices_are_files_with_a_length() {
    let mut node = Node::start();
    let Some(disk) = LoopDisk::new(&node, 1 << 20) else { return };
    let made = Command::new("cp").arg("-a").arg(&disk.0).arg(node.host("disk")).status();
    assert!(made.unwrap().success());
    assert!(fs::metadata(node.host("disk")).unwrap().file_type().is_block_device());
    assert_eq!(node.client.entry("disk").unwrap().length, 1 << 20);
    assert_eq!(node.client.ls(&[""; 0]).unwrap()[1].length, 1 << 20);
    let (fid, _) = node.client.open("disk", omode::ORDWR | omode::OTRUNC).unwrap();
    node.client.put(fid, 4096, b"written").unwrap();
    assert_eq!(node.client.get(fid, 4096, 7).unwrap(), b"written");
    assert_eq!(node.client.get(fid, 1 << 20, 7).unwrap(), b"");
    node.client.wstat_fid(fid, styx::Stat::DONT_TOUCH).unwrap();
    assert_eq!(&fs::read(node.host("backing")).unwrap()[4096..4103], b"written");
}

/// A loop device, where the machine has any to give.
struct LoopDisk(String);

impl LoopDisk {
    fn new(node: &Node, length: u64) -> Option<LoopDisk> {
        let backing = node.host("backing");
        fs::File::create(&backing).unwrap().set_len(length).unwrap();
        let made = Command::new("losetup").args(["--find", "--show"]).arg(&backing).output();
        let made = made.ok().filter(|made| made.status.success());
        if made.is_none() {
            eprintln!("not tested: there is no loop device to be had here");
        }
        Some(LoopDisk(String::from_utf8(made?.stdout).ok()?.trim().to_owned()))
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["--detach", &self.0]).status();
    }
}
