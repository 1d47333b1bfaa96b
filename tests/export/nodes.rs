//! One dsfs as a node of another: its export is mounted in the name space of the second, whose
//! devices are made of the first one's files.

use std::fs;

use styx::enames;

use crate::ops::{ANY_PORT, Node, Ops, refused};
use crate::support::client::{Client, MSIZE};
use crate::support::program::{Place, Program, Serve};
use crate::support::text::pattern;

/// A server with nodes 0, 1 ... mounted at `/n/0`, `/n/1` ...
fn master(place: &Place, nodes: &[&Node]) -> Program {
    let mut names = String::from("bind #U /\nbind #k/ds /ds\n");
    for (number, node) in nodes.iter().enumerate() {
        names += &format!("mount -A {} /n/{number} #U\n", node.program.dial());
    }
    let names = place.file("names", &names);
    Serve::on(ANY_PORT).option("--root", place.root()).option("--namespace", names).start()
}

#[test]
fn files_of_nodes_are_inner_files_of_a_device() {
    let nodes = [Node::start(), Node::start()];
    for (number, node) in nodes.iter().enumerate() {
        fs::create_dir(node.host("chunks")).unwrap();
        fs::write(node.host("chunks/a"), pattern(number as u64, 40_000)).unwrap();
    }
    let place = Place::new();
    let program = master(&place, &[&nodes[0], &nodes[1]]);
    let mut client = Client::mount(program.dial(), MSIZE, "").unwrap();
    client.write(&["ctl"], 0, b"cat c /n/0/chunks/a /n/1/chunks/a").unwrap();
    let all = [pattern(0, 40_000), pattern(1, 40_000)].concat();
    assert_eq!(client.content("c").unwrap(), all);
    client.write(&["c"], 39_996, b"boundary").unwrap();
    assert_eq!(&fs::read(nodes[0].host("chunks/a")).unwrap()[39_996..], b"boun");
    assert_eq!(&fs::read(nodes[1].host("chunks/a")).unwrap()[..4], b"dary");
    client.write(&["ctl"], 0, b"mirror m /n/0/chunks/a /n/1/chunks/a").unwrap();
    client.write(&["m"], 10, b"both").unwrap();
    for node in &nodes {
        assert_eq!(&fs::read(node.host("chunks/a")).unwrap()[10..14], b"both");
    }
    let missing = client.write(&["ctl"], 0, b"cat d /n/0/chunks/nope");
    assert!(refused(missing).contains("nope' does not exist"));
    let fifo = nodes[0].host("fifo");
    assert!(std::process::Command::new("mkfifo").arg(fifo).status().unwrap().success());
    assert!(refused(client.write(&["ctl"], 0, b"cat d /n/0/fifo")).contains(enames::EPERM));
}

/// A server that mounts its own export: its device is made of its own file, by way of the network.
#[test]
fn a_server_can_be_its_own_node() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let place = Place::new();
    fs::write(place.root().join("a"), pattern(5, 20_000)).unwrap();
    let dial = format!("tcp!127.0.0.1!{port}");
    let names = place.file("names", &format!("bind #U /\nmount -A {dial} /n/self #U\n"));
    let serve = Serve::on(&dial).flag("--export").option("--root", place.root());
    let program = serve.option("--namespace", names).start();
    let mut client = Client::mount(program.dial(), MSIZE, "").unwrap();
    client.write(&["ctl"], 0, b"cat c /n/self/a").unwrap();
    client.write(&["c"], 0, b"through").unwrap();
    let expected = [b"through", &pattern(5, 20_000)[7..]].concat();
    assert_eq!(client.content("c").unwrap(), expected);
    assert_eq!(fs::read(place.root().join("a")).unwrap(), expected);
}

/// The node is killed and started again: what the master had open there is the same file still.
#[test]
fn a_node_that_is_back_has_the_same_files() {
    let mut node = Node::start();
    fs::write(node.host("a"), pattern(3, 20_000)).unwrap();
    let place = Place::new();
    let program = master(&place, &[&node]);
    let mut client = Client::mount(program.dial(), MSIZE, "").unwrap();
    client.write(&["ctl"], 0, b"cat c /n/0/a").unwrap();
    assert_eq!(client.read(&["c"], 0, 100).unwrap(), pattern(3, 100));
    let dial = node.program.dial().to_string();
    let root = node.place.root();
    node.program.kill();
    assert!(client.read(&["c"], 0, 100).is_err());
    let serve = Serve::on(&dial).flag("--export").option("--root", root);
    let _again = serve.start();
    let back = (0..200).find_map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        client.read(&["c"], 0, 100).ok()
    });
    assert_eq!(back, Some(pattern(3, 100)));
}
