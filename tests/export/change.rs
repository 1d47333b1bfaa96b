//! Twstat: names, lengths, modes, times, groups; all of it or nothing.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use styx::{Stat, dm, enames, omode, qt};

use crate::ops::{Node, Ops, only, refused};

/// What a wstat may change of a file, and its content.
/// All that a wstat could change but the time of the last access, which looking changes.
fn all_of(node: &Node, path: &str) -> (u32, u32, i64, i64, Vec<u8>) {
    let meta = node.host(path).metadata().unwrap();
    let content = fs::read(node.host(path)).unwrap();
    (meta.mode(), meta.gid(), meta.mtime(), meta.mtime_nsec(), content)
}

#[test]
fn each_field_that_can_be_changed_is_changed_on_the_host() {
    let mut node = Node::start();
    node.client.make("f", 0o644, b"content").unwrap();
    node.client.wstat("f", only(|stat| stat.mode = 0o751)).unwrap();
    node.client.wstat("f", only(|stat| stat.length = 3)).unwrap();
    node.client.wstat("f", only(|stat| stat.mtime = 1_000_000_007)).unwrap();
    node.client.wstat("f", only(|stat| stat.gid = "4321")).unwrap();
    let meta = node.host("f").metadata().unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.gid()), (0o751, 4321));
    assert_eq!((meta.mtime(), meta.mtime_nsec()), (1_000_000_007, 0));
    assert_eq!(fs::read(node.host("f")).unwrap(), b"con");
    node.client.wstat("f", only(|stat| stat.length = 5)).unwrap();
    assert_eq!(fs::read(node.host("f")).unwrap(), b"con\0\0");
    node.client.wstat("f", only(|stat| (stat.mtime, stat.atime) = (5, 6))).unwrap();
    let meta = node.host("f").metadata().unwrap();
    assert_eq!((meta.mtime(), meta.atime()), (5, 6));
    node.client.wstat("f", only(|stat| stat.name = "g")).unwrap();
    assert_eq!(node.client.names("").unwrap(), ["g"]);
}

#[test]
fn all_at_once_on_a_file_and_on_an_open_one() {
    let mut node = Node::start();
    for opens in [false, true] {
        node.client.make("f", 0o644, b"content").unwrap();
        let fid = node.client.go("f").unwrap();
        if opens {
            node.client.open_fid(fid, omode::OREAD).unwrap();
        }
        let all = Stat {
            name: "g",
            mode: 0o600,
            mtime: 77,
            length: 2,
            gid: "daemon",
            ..Stat::DONT_TOUCH
        };
        node.client.wstat_fid(fid, all).unwrap();
        let meta = node.host("g").metadata().unwrap();
        assert_eq!((meta.mode() & 0o7777, meta.mtime(), meta.len()), (0o600, 77, 2));
        let entry = node.client.entry_of(fid).unwrap();
        assert_eq!((entry.name.as_str(), entry.gid.as_str(), entry.length), ("g", "daemon", 2));
        node.client.remove_fid(fid).unwrap();
        assert_eq!(node.client.names("").unwrap(), [""; 0]);
    }
}

#[test]
fn what_a_wstat_can_not_change_it_does_not() {
    let mut node = Node::start();
    node.client.make("f", 0o644, b"content").unwrap();
    node.client.make_dir("d").unwrap();
    let before = all_of(&node, "f");
    let qid = node.client.qid("f").unwrap();
    let also = |stat: Stat<'static>| Stat { mode: 0o600, length: 1, name: "g", ..stat };
    for stat in [
        only(|stat| stat.uid = "daemon"),
        only(|stat| stat.muid = "daemon"),
        only(|stat| stat.kind = 0),
        only(|stat| stat.dev = 1),
        only(|stat| stat.qid.path = qid.path ^ 1),
        only(|stat| stat.qid.kind = qt::DIR),
        only(|stat| stat.qid.vers = qid.vers ^ 1),
        only(|stat| stat.atime = 5),
    ] {
        assert_eq!(refused(node.client.wstat("f", also(stat))), enames::EPERM, "{stat:?}");
        assert_eq!(all_of(&node, "f"), before, "{stat:?}");
    }
    assert_ne!(node.host("f").metadata().unwrap().atime(), 5);
    for mode in [dm::DIR | 0o644, 0x1000_0644, 0x0800_0644, 0o1644, 0o4644] {
        assert_eq!(refused(node.client.wstat("f", only(|stat| stat.mode = mode))), enames::EPERM);
    }
    for mode in [0o755, dm::DIR | dm::APPEND | 0o755, dm::DIR | dm::EXCL | 0o755] {
        assert_eq!(refused(node.client.wstat("d", only(|stat| stat.mode = mode))), enames::EPERM);
    }
    assert_eq!(refused(node.client.wstat("d", only(|stat| stat.length = 1))), enames::EPERM);
    node.client.wstat("d", only(|stat| stat.length = 0)).expect("the length that it has");
    let gid = node.client.wstat("f", only(|stat| stat.gid = "no such group"));
    assert_eq!(refused(gid), enames::EUNKNOWNGROUP);
    assert_eq!(
        refused(node.client.wstat("f", only(|stat| stat.gid = "4294967295"))),
        enames::EUNKNOWNGROUP
    );
    assert_eq!(all_of(&node, "f"), before);
}

/// What a stat says, given back with one change: as clients do that know no "don't touch".
#[test]
fn an_entry_may_be_given_back_as_it_was_read() {
    let mut node = Node::start();
    node.client.make("f", 0o644, b"content").unwrap();
    let entry = node.client.entry("f").unwrap();
    let same = Stat {
        kind: b'U' as u16,
        dev: 0,
        qid: entry.qid,
        mode: entry.mode,
        atime: entry.atime,
        mtime: entry.mtime,
        length: entry.length,
        name: &entry.name,
        uid: &entry.uid,
        gid: &entry.gid,
        muid: &entry.muid,
    };
    let before = all_of(&node, "f");
    node.client.wstat("f", same).unwrap();
    assert_eq!(all_of(&node, "f"), before);
}

#[test]
fn if_one_part_fails_nothing_is_done() {
    let mut node = Node::start();
    node.client.make("f", 0o644, b"content").unwrap();
    node.client.make("taken", 0o644, b"").unwrap();
    fs::set_permissions(node.host("f"), fs::Permissions::from_mode(0o2664)).unwrap();
    let before = all_of(&node, "f");
    let all =
        Stat { mode: dm::APPEND | 0o600, mtime: 77, atime: 78, gid: "4321", ..Stat::DONT_TOUCH };
    // The name fails, and then the length, after all else is done.
    let taken = Stat { name: "taken", length: 2, ..all };
    assert_eq!(refused(node.client.wstat("f", taken)), enames::EEXIST);
    assert_eq!(all_of(&node, "f"), before);
    let long = Stat { name: "g", length: i64::MAX as u64, ..all };
    assert_eq!(refused(node.client.wstat("f", long)), "File too large");
    assert_eq!(all_of(&node, "f"), before);
    assert_eq!(node.client.names("").unwrap(), ["f", "taken"]);
    assert_eq!(node.client.entry("f").unwrap().qid.kind, qt::FILE);
}

#[test]
fn renames() {
    let mut node = Node::start();
    for path in ["d", "d/sub", "empty"] {
        node.client.make_dir(path).unwrap();
    }
    node.client.make("d/f", 0o644, b"f").unwrap();
    node.client.make("d/g", 0o644, b"g").unwrap();
    std::os::unix::fs::symlink("nowhere", node.host("d/link")).unwrap();
    for (path, name) in
        [("d/f", "g"), ("d/f", "sub"), ("d/f", "link"), ("d", "empty"), ("d/sub", "f")]
    {
        assert_eq!(refused(node.client.rename(path, name)), enames::EEXIST, "{path} {name}");
    }
    node.client.rename("d/f", "f").expect("the name that it has");
    node.client.rename("d/f", "h").unwrap();
    node.client.rename("d/g", "f").expect("a name that is free again");
    assert_eq!(fs::read(node.host("d/f")).unwrap(), b"g");
    assert_eq!(fs::read(node.host("d/h")).unwrap(), b"f");
    node.client.rename("d", "e").unwrap();
    assert_eq!(node.client.names("e").unwrap(), ["f", "h", "sub"]);
    let long = "x".repeat(255);
    node.client.rename("e/f", &long).unwrap();
    assert_eq!(fs::read(node.host("e").join(&long)).unwrap(), b"g");
}

/// A wstat that touches nothing asks for stable storage, of whatever the fid is.
#[test]
fn syncs() {
    let mut node = Node::start();
    node.client.make_dir("d").unwrap();
    node.client.make("f", 0o222, b"content").unwrap();
    rustix_fifo(&node, "fifo");
    for path in ["", "d", "f", "fifo"] {
        node.client.wstat(path, Stat::DONT_TOUCH).unwrap();
    }
    for (path, mode) in [("d", omode::OREAD), ("f", omode::OREAD), ("f", omode::OWRITE)] {
        let (fid, _) = node.client.open(path, mode).unwrap();
        node.client.wstat_fid(fid, Stat::DONT_TOUCH).unwrap();
    }
}

fn rustix_fifo(node: &Node, name: &str) {
    let made = std::process::Command::new("mkfifo").arg(node.host(name)).status();
    assert!(made.expect("mkfifo(1) is there").success());
}

#[test]
fn bits_come_and_go_and_stay_with_the_file() {
    let mut node = Node::start();
    node.client.make("f", 0o644, b"content").unwrap();
    for bits in [dm::APPEND, dm::EXCL, dm::APPEND | dm::EXCL, dm::TMP, 0] {
        node.client.wstat("f", only(|stat| stat.mode = bits | 0o640)).unwrap();
        let entry = node.client.entry("f").unwrap();
        assert_eq!((entry.mode, u32::from(entry.qid.kind) << 24), (bits | 0o640, bits));
    }
    // A mode under which the host does not show the bits to who is not root is root's to set.
    node.client.wstat("f", only(|stat| stat.mode = dm::APPEND | 0o222)).unwrap();
    assert_eq!(node.client.entry("f").unwrap().mode, dm::APPEND | 0o222);
    assert_eq!(refused(node.client.create("d", dm::DIR | dm::APPEND | 0o755, 0)), enames::EPERM);
    assert_eq!(refused(node.client.create("x", 0x1000_0000 | 0o755, 0)), enames::EPERM);
}
