//! Who gets to the export, and what its root is.

use std::os::unix::fs::MetadataExt;

use styx::{Tmsg, dm, enames, omode, qt};

use crate::ops::{ANY_PORT, Node, Ops, only, refused};
use crate::support::client::{Client, MSIZE};
use crate::support::program::{Place, Serve};

#[test]
fn without_the_option_nothing_is_exported() {
    let place = Place::new();
    let program = Serve::on(ANY_PORT).option("--root", place.root()).start();
    let attached = Client::mount(program.dial(), MSIZE, "#U").map(drop);
    assert_eq!(refused(attached), enames::ENOEXPORT);
    assert!(enames::ENOEXPORT.contains("--export"));
    Client::mount(program.dial(), MSIZE, "").expect("the devices are there");
}

#[test]
fn the_root_is_a_directory_called_slash_and_its_own_parent() {
    let mut node = Node::start();
    std::fs::create_dir(node.host("d")).unwrap();
    let root = node.client.entry("").unwrap();
    let host = node.host("").metadata().unwrap();
    assert_eq!(root.name, "/");
    assert_eq!(root.mode, dm::DIR | host.mode() & 0o777);
    assert_eq!((root.qid.kind, root.length), (qt::DIR, 0));
    assert_eq!(root.mtime, u32::try_from(host.mtime()).unwrap());
    let up = node.client.walk(0, 7, &["..", "d", "..", "..", ".."]).unwrap();
    assert_eq!(format!("{:?}", up.msg()).matches(&root.qid.path.to_string()).count(), 4);
    let at = node.client.entry_of(7).unwrap();
    assert_eq!((at.name, at.qid.path), ("/".into(), root.qid.path));
}

#[test]
fn the_root_stays_where_and_what_it_is() {
    let mut node = Node::start();
    let fid = node.client.go("").unwrap();
    assert_eq!(refused(node.client.remove_fid(fid)), enames::EPERM);
    assert_eq!(refused(node.client.rename("", "other")), enames::EPERM);
    node.client.wstat("", only(|stat| (stat.name, stat.mode) = ("/", dm::DIR | 0o700))).unwrap();
    assert_eq!(node.host("").metadata().unwrap().mode() & 0o7777, 0o700);
    assert_eq!(refused(node.client.open("", omode::ORDWR)), enames::EPERM);
}

#[test]
fn devices_and_the_export_are_served_side_by_side() {
    let mut node = Node::start();
    std::fs::write(node.host("chunk"), vec![7; 8192]).unwrap();
    let mut ds = Client::mount(node.program.dial(), MSIZE, "").unwrap();
    ds.write(&["ctl"], 0, b"cat c0 /chunk").unwrap();
    ds.write(&["c0"], 5, b"written").unwrap();
    assert_eq!(&node.content_at("chunk", 4..13), b"\x07written\x07");
    // The same fids mean another tree on another attach of the same connection.
    node.client.rpc(&Tmsg::Attach { fid: 9, afid: styx::NOFID, uname: "x", aname: "" }).unwrap();
    assert_eq!(node.client.entry_of(9).unwrap().name, "ds");
}

impl Node {
    fn content_at(&mut self, path: &str, range: std::ops::Range<usize>) -> Vec<u8> {
        self.client.content(path).unwrap()[range].to_vec()
    }
}

#[test]
fn a_read_only_server_changes_nothing() {
    let place = Place::new();
    std::fs::create_dir(place.root().join("d")).unwrap();
    std::fs::write(place.root().join("f"), "content").unwrap();
    let mut node = Node::with(place, &["--read-only"]);
    let client = &mut node.client;
    let refusals = [
        refused(client.open("f", omode::OWRITE)),
        refused(client.open("f", omode::ORDWR)),
        refused(client.open("f", omode::OREAD | omode::OTRUNC)),
        refused(client.open("f", omode::OREAD | omode::ORCLOSE)),
        refused(client.create("d/new", 0o666, omode::OREAD)),
        refused(client.make_dir("d/new")),
        refused(client.remove("f")),
        refused(client.rename("f", "g")),
        refused(client.wstat("f", only(|stat| stat.mode = 0o600))),
        refused(client.wstat("f", only(|stat| stat.length = 0))),
        refused(client.wstat("f", only(|stat| stat.mtime = 1))),
    ];
    assert_eq!(refusals, [enames::EREADONLY; 11]);
    client.wstat("f", styx::Stat::DONT_TOUCH).expect("a sync changes nothing");
    assert_eq!(client.content("f").unwrap(), b"content");
    assert_eq!(client.names("").unwrap(), ["d", "f"]);
    assert_eq!(client.names("d").unwrap(), [""; 0]);
}
