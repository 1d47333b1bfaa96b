//! Which file a fid and a qid mean, when files are renamed, replaced and changed.

use std::fs;
use std::os::unix::fs::FileExt;

use styx::{Tmsg, enames, omode};

use crate::ops::{Node, Ops, refused};

#[test]
fn a_qid_path_stays_with_its_file() {
    let mut node = Node::start();
    node.client.make_dir("d").unwrap();
    node.client.make("d/f", 0o644, b"content").unwrap();
    let (dir, file) = (node.client.qid("d").unwrap(), node.client.qid("d/f").unwrap());
    node.client.rename("d/f", "g").unwrap();
    fs::rename(node.host("d"), node.host("e")).unwrap();
    fs::hard_link(node.host("e/g"), node.host("h")).unwrap();
    assert_eq!(node.client.qid("e").unwrap().path, dir.path);
    assert_eq!(node.client.qid("e/g").unwrap().path, file.path);
    assert_eq!(node.client.qid("h").unwrap().path, file.path, "one file by two names");
    let place = std::mem::replace(&mut node.place, crate::support::program::Place::new());
    let mut node = Node::with(place, &[]);
    let again = node.client.qid("h").unwrap();
    assert_eq!(again.path, file.path, "for another server too");
    let (_, opened) = node.client.open("h", omode::OREAD).unwrap();
    assert_eq!(opened, again);
}

/// intro(5): a file that is made after one of the same name was removed is another, though the
/// host gives it the same number.
#[test]
fn a_file_made_anew_has_another_qid_path() {
    let mut node = Node::start();
    let mut paths: Vec<u64> = (0..50)
        .map(|_| {
            node.client.make("f", 0o644, b"content").unwrap();
            let path = node.client.qid("f").unwrap().path;
            node.client.remove("f").unwrap();
            path
        })
        .collect();
    paths.sort_unstable();
    paths.dedup();
    assert_eq!(paths.len(), 50);
}

#[test]
fn every_file_has_a_qid_path_of_its_own() {
    let mut node = Node::start();
    (0..2000).for_each(|number| fs::write(node.host(&format!("f{number}")), "").unwrap());
    let mut paths: Vec<u64> =
        node.client.ls(&[""; 0]).unwrap().iter().map(|entry| entry.qid.path).collect();
    paths.sort_unstable();
    paths.dedup();
    assert_eq!(paths.len(), 2000);
}

/// Writes quicker than the host's clock ticks, which leave length and times as they were.
#[test]
fn each_change_of_a_file_changes_its_version() {
    let mut node = Node::start();
    let (fid, made) = node.client.create("f", 0o644, omode::ORDWR).unwrap();
    let mut last = made.vers;
    for number in 0..200u8 {
        node.client.put(fid, 0, &[number]).unwrap();
        let vers = node.client.entry_of(fid).unwrap().qid.vers;
        assert_ne!(vers, last);
        assert_eq!(node.client.entry("f").unwrap().qid.vers, vers, "the same by any fid");
        assert_eq!(node.client.entry("f").unwrap().qid.vers, vers, "and again");
        last = vers;
    }
    let before = node.client.qid("f").unwrap().vers;
    fs::OpenOptions::new().write(true).open(node.host("f")).unwrap().write_at(b"host", 0).unwrap();
    let after = node.client.qid("f").unwrap().vers;
    assert_ne!(before, after, "changes of the host count");
    node.client.open("f", omode::OREAD | omode::OTRUNC).unwrap();
    let cut = node.client.qid("f").unwrap().vers;
    assert_ne!(cut, after);
    let dir = node.client.qid("").unwrap().vers;
    node.client.make("g", 0o644, b"").unwrap();
    let made = node.client.qid("").unwrap().vers;
    assert_ne!(made, dir);
    node.client.rename("g", "h").unwrap();
    let renamed = node.client.qid("").unwrap().vers;
    assert_ne!(renamed, made);
    node.client.remove("h").unwrap();
    assert_ne!(node.client.qid("").unwrap().vers, renamed);
}

#[test]
fn fids_follow_their_files_through_renames_by_clients() {
    let mut node = Node::start();
    for dir in ["a", "a/b", "a/b/c"] {
        node.client.make_dir(dir).unwrap();
    }
    node.client.make("a/b/c/f", 0o644, b"content").unwrap();
    let file = node.client.go("a/b/c/f").unwrap();
    let dir = node.client.go("a/b/c").unwrap();
    let (open, _) = node.client.open("a/b/c/f", omode::OREAD).unwrap();
    let mut other = node.another();
    for path in ["a", "a2/b", "a2/b2/c", "a2/b2/c2/f"] {
        let (_, name) = path.rsplit_once('/').unwrap_or(("", path));
        other.rename(path, &format!("{}2", name.trim_end_matches('2'))).unwrap();
    }
    assert_eq!(node.client.entry_of(file).unwrap().name, "f2");
    assert_eq!(node.client.entry_of(dir).unwrap().name, "c2");
    assert_eq!(node.client.entry_of(open).unwrap().name, "f2");
    node.client.walk(dir, 5, &["..", "..", "b2", "c2", "f2"]).unwrap();
    assert_eq!(node.client.entry_of(5).unwrap().name, "f2");
    node.client.rpc(&Tmsg::Create { fid: dir, name: "new", perm: 0o644, mode: 1 }).unwrap();
    assert!(node.host("a2/b2/c2/new").exists());
    node.client.open_fid(file, omode::OREAD).unwrap();
    assert_eq!(node.client.get(file, 0, 99).unwrap(), b"content");
    // A new tree at the old names is none of theirs.
    other.make_dir("a").unwrap();
    assert_eq!(node.client.entry_of(5).unwrap().name, "f2");
    node.client.remove_fid(5).unwrap();
    assert_eq!(other.names("a2/b2/c2").unwrap(), ["new"]);
}

#[test]
fn a_fid_never_means_the_file_that_took_the_place_of_its_own() {
    let mut node = Node::start();
    node.client.make_dir("d").unwrap();
    node.client.make("d/f", 0o644, b"content").unwrap();
    let fids: Vec<u32> = (0..6).map(|_| node.client.go("d/f").unwrap()).collect();
    let (open, _) = node.client.open("d/f", omode::ORDWR).unwrap();
    let dir = node.client.go("d").unwrap();
    // Behind the server's back: the file gives way to another, and then the directory does.
    fs::rename(node.host("d/f"), node.host("d/old")).unwrap();
    fs::write(node.host("d/f"), "another").unwrap();
    assert_eq!(refused(node.client.open_fid(fids[0], omode::OREAD)), enames::ENONEXIST);
    assert_eq!(refused(node.client.entry_of(fids[1])), enames::ENONEXIST);
    assert_eq!(refused(node.client.remove_fid(fids[2])), enames::ENONEXIST);
    assert_eq!(refused(node.client.rename_fid(fids[3], "g")), enames::ENONEXIST);
    assert_eq!(refused(node.client.rename_fid(open, "g")), enames::ENONEXIST);
    assert_eq!(node.client.get(open, 0, 99).unwrap(), b"content", "an open file is the file");
    fs::rename(node.host("d"), node.host("e")).unwrap();
    fs::create_dir(node.host("d")).unwrap();
    fs::write(node.host("d/f"), "third").unwrap();
    assert_eq!(refused(node.client.walk(dir, 5, &["f"])), enames::ENONEXIST);
    let made = node.client.rpc(&Tmsg::Create { fid: dir, name: "x", perm: 0o644, mode: 0 });
    assert_eq!(refused(made), enames::ENONEXIST);
    assert_eq!(refused(node.client.remove_fid(fids[4])), enames::ENONEXIST);
    // Where it is again what it was, the fids are good again.
    fs::remove_dir_all(node.host("d")).unwrap();
    fs::rename(node.host("e"), node.host("d")).unwrap();
    fs::rename(node.host("d/old"), node.host("d/f")).unwrap();
    node.client.open_fid(fids[5], omode::OREAD).unwrap();
    assert_eq!(node.client.get(fids[5], 0, 99).unwrap(), b"content");
}

trait RenameFid {
    fn rename_fid(&mut self, fid: u32, name: &str) -> crate::support::client::Outcome<()>;
}

impl RenameFid for crate::support::client::Client {
    fn rename_fid(&mut self, fid: u32, name: &str) -> crate::support::client::Outcome<()> {
        self.wstat_fid(fid, styx::Stat { name, ..styx::Stat::DONT_TOUCH })
    }
}

/// What the host moves out of the root is out of reach at once, but for what is open.
#[test]
fn what_leaves_the_root_is_gone() {
    let mut node = Node::start();
    node.client.make_dir("d").unwrap();
    node.client.make("d/f", 0o644, b"content").unwrap();
    let dir = node.client.go("d").unwrap();
    let file = node.client.go("d/f").unwrap();
    fs::rename(node.host("d"), node.place.path().join("moved")).unwrap();
    assert_eq!(refused(node.client.entry_of(dir)), enames::ENONEXIST);
    assert_eq!(refused(node.client.open_fid(file, omode::OREAD)), enames::ENONEXIST);
    assert_eq!(refused(node.client.remove_fid(file)), enames::ENONEXIST);
    std::os::unix::fs::symlink("../moved", node.host("d")).unwrap();
    assert_eq!(refused(node.client.walk(dir, 5, &["f"])), enames::EPERM);
    assert!(node.place.path().join("moved/f").exists());
}
