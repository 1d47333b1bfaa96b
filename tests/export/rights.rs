//! A server that is not run by root: what the host does not allow it, it does not do.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use styx::{dm, enames, omode};

use crate::ops::{Node, Ops, only, refused};
use crate::support::program::{NOBODY, Place};

fn mode(place: &Place, path: &str, mode: u32) {
    fs::set_permissions(place.root().join(path), fs::Permissions::from_mode(mode)).unwrap();
}

/// Files of root's, and a directory of nobody's.
fn mixed() -> Place {
    let place = Place::new();
    let root = place.root();
    for (path, perm) in [("readable", 0o644), ("closed", 0o600), ("open", 0o666), ("drop", 0o622)] {
        fs::write(root.join(path), path).unwrap();
        mode(&place, path, perm);
    }
    for (path, perm) in [("locked", 0o700), ("public", 0o777), ("search", 0o711), ("own", 0o755)] {
        fs::create_dir(root.join(path)).unwrap();
        fs::write(root.join(path).join("f"), path).unwrap();
        mode(&place, path, perm);
    }
    fs::create_dir(root.join("sticky")).unwrap();
    fs::write(root.join("sticky/f"), "root's").unwrap();
    mode(&place, "sticky", 0o1777);
    for path in ["own", "own/f"] {
        chown(root.join(path), Some(NOBODY), Some(NOBODY)).expect("tests are run by root");
    }
    place
}

#[test]
fn reading_and_writing_need_the_permission() {
    let mut node = Node::as_nobody(mixed());
    for (path, reads, writes) in [
        ("readable", true, false),
        ("closed", false, false),
        ("open", true, true),
        ("drop", false, true),
        ("own/f", true, true),
        ("public/f", true, false),
        ("search/f", true, false),
    ] {
        for (open, mode) in [
            (reads, omode::OREAD),
            (writes, omode::OWRITE),
            (reads && writes, omode::ORDWR),
            (reads && writes, omode::OREAD | omode::OTRUNC),
            (false, omode::OEXEC),
        ] {
            match node.client.open(path, mode) {
                Ok((fid, _)) if open => node.client.clunk(fid).unwrap(),
                outcome => {
                    assert!(!open, "{path} {mode}");
                    assert_eq!(refused(outcome), enames::EPERM, "{path} {mode}");
                }
            }
        }
    }
    assert_eq!(fs::read(node.host("readable")).unwrap(), b"readable", "nor was it cut");
}

#[test]
fn directories_need_theirs() {
    let mut node = Node::as_nobody(mixed());
    assert_eq!(
        refused(
            node.client.walk(0, 9, &["locked", "f"]).and_then(|_| node.client.entry("locked/f"))
        ),
        "(short walk 1)"
    );
    assert_eq!(refused(node.client.open("locked", omode::OREAD)), enames::EPERM);
    assert_eq!(refused(node.client.open("search", omode::OREAD)), enames::EPERM);
    assert_eq!(node.client.entry("search/f").unwrap().length, 6);
    for (dir, writable) in [("", false), ("search", false), ("public", true), ("own", true)] {
        let at =
            |name: &str| if dir.is_empty() { name.to_owned() } else { format!("{dir}/{name}") };
        let made = node.client.make(&at("new"), 0o644, b"x");
        let made_dir = node.client.make_dir(&at("newdir"));
        if writable {
            made.unwrap();
            made_dir.unwrap();
            assert_eq!(node.host(&at("new")).metadata().unwrap().uid(), NOBODY);
            assert_eq!(node.client.entry(&at("new")).unwrap().uid, "nobody");
            node.client.rename(&at("f"), "g").unwrap();
            node.client.remove(&at("g")).unwrap();
            node.client.remove(&at("newdir")).unwrap();
        } else {
            assert_eq!(refused(made), enames::EPERM);
            assert_eq!(refused(made_dir), enames::EPERM);
            let path = if dir.is_empty() { "open".to_owned() } else { at("f") };
            assert_eq!(refused(node.client.rename(&path, "g")), enames::EPERM);
            assert_eq!(refused(node.client.remove(&path)), enames::EPERM);
            let opened = node.client.open(&path, omode::OREAD | omode::ORCLOSE);
            assert_eq!(refused(opened), enames::EPERM, "what can't be removed later");
        }
    }
    assert_eq!(refused(node.client.remove("sticky/f")), enames::EPERM);
    assert_eq!(refused(node.client.rename("sticky/f", "g")), enames::EPERM);
}

#[test]
fn modes_and_times_are_the_owners_to_change() {
    let mut node = Node::as_nobody(mixed());
    for stat in [
        only(|stat| stat.mode = 0o666),
        only(|stat| stat.mode = dm::APPEND | 0o666),
        only(|stat| stat.mtime = 5),
        only(|stat| stat.gid = "daemon"),
    ] {
        for path in ["readable", "open", "public/f"] {
            let before = node.host(path).metadata().unwrap();
            let unchanged = node.client.entry(path).unwrap().mode == stat.mode;
            assert!(unchanged || refused(node.client.wstat(path, stat)) == enames::EPERM, "{path}");
            let after = node.host(path).metadata().unwrap();
            assert_eq!((after.mode(), after.mtime()), (before.mode(), before.mtime()));
        }
    }
    assert_eq!(refused(node.client.wstat("readable", only(|stat| stat.length = 0))), enames::EPERM);
    node.client.wstat("open", only(|stat| stat.length = 0)).expect("who may write may cut");
    node.client.wstat("own/f", only(|stat| (stat.mode, stat.mtime) = (0o600, 5))).unwrap();
    let gid = node.client.wstat("own/f", only(|stat| (stat.gid, stat.mode) = ("daemon", 0o640)));
    assert_eq!(refused(gid), enames::EPERM, "to a group that its owner is in");
    let meta = node.host("own/f").metadata().unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.mtime(), meta.gid()), (0o600, 5, NOBODY));
}

/// A length and a mode that forbids writing, in one wstat: it is the old mode that counts.
#[test]
fn a_file_can_be_cut_and_closed_at_once() {
    let mut node = Node::as_nobody(mixed());
    node.client.wstat("own/f", only(|stat| (stat.mode, stat.length) = (0o400, 1))).unwrap();
    assert_eq!(fs::read(node.host("own/f")).unwrap(), b"o");
    let again = node.client.wstat("own/f", only(|stat| (stat.mode, stat.length) = (0o600, 0)));
    assert_eq!(refused(again), enames::EPERM);
    assert_eq!(node.host("own/f").metadata().unwrap().mode() & 0o777, 0o400);
}

/// The host shows the bits of a file to who may read it, and takes them from who may write it.
#[test]
fn bits_that_would_be_forgotten_are_refused() {
    let mut node = Node::as_nobody(mixed());
    node.client.make("own/log", dm::APPEND | 0o644, b"one").unwrap();
    for mode in [dm::APPEND | 0o200, dm::EXCL] {
        let unreadable = node.client.wstat("own/log", only(|stat| stat.mode = mode | dm::EXCL));
        assert_eq!(refused(unreadable), "Operation not supported");
        assert_eq!(node.client.entry("own/log").unwrap().mode, dm::APPEND | 0o644);
        let made = node.client.create("own/new", mode, omode::OWRITE);
        assert_eq!(refused(made), "Operation not supported");
        assert!(!node.host("own/new").exists());
    }
    node.client.wstat("own/log", only(|stat| stat.mode = dm::EXCL | 0o400)).unwrap();
    assert_eq!(node.client.entry("own/log").unwrap().mode, dm::EXCL | 0o400);
    let both = node.client.wstat("own/log", only(|stat| stat.mode = dm::APPEND | 0o400));
    assert_eq!(refused(both), enames::EPERM);
    assert_eq!(node.client.entry("own/log").unwrap().mode, dm::EXCL | 0o400);
}
