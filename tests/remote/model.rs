//! Devices of files on two nodes against flat arrays of bytes, with eight clients at once; and
//! through the death of a node.

use std::env;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use crate::node::{Front, LARGEST, Node};
use crate::support::client::{Client, Outcome};
use crate::support::program::eventually;
use crate::support::random::Random;
use crate::support::text::pattern;

const CLIENTS: usize = 8;

/// What each client does.
const STEPS: usize = 120;

/// The devices are dealt out among the clients in ranges of this many bytes: no divisor of any
/// block, so that every block has bytes of several clients.
const SHARE: usize = 1777;

const BLOCK: usize = 8192;

/// What a device holds, as the clients write it.
struct Model {
    name: &'static str,
    bytes: Vec<u8>,
}

/// The blocks of these in turn.
fn interleaved(files: &[Vec<u8>]) -> Vec<u8> {
    let blocks = files[0].len() / BLOCK;
    let block = |number: usize| (number * BLOCK)..(number + 1) * BLOCK;
    (0..blocks).flat_map(|at| files.iter().flat_map(move |file| file[block(at)].to_vec())).collect()
}

/// Reads and writes at random, and checks all reads, in the shares of client `who`; what it has
/// written is in `models` then.
fn play(dial: &str, who: usize, models: &mut [Model]) -> Outcome<()> {
    let mut random = Random::new(0x5eed + who as u64);
    let msize = *random.pick(&[256, 4096, 8216, 65560, LARGEST]);
    let mut client = Client::mount(dial, msize, "")?;
    let mut fids = Vec::new();
    for model in models.iter() {
        fids.push(client.open_both(&[model.name])?);
    }
    let most = client.msize() as usize - 24;
    for step in 0..STEPS {
        let which = random.below(models.len());
        let Model { name, bytes } = &mut models[which];
        if random.one_in(2) {
            let shares = bytes.len().div_ceil(SHARE);
            let share = random.below(shares.div_ceil(CLIENTS)) * CLIENTS + who;
            let (start, end) = (share * SHARE, ((share + 1) * SHARE).min(bytes.len()));
            if start >= end {
                continue;
            }
            let from = start + random.below(end - start);
            let count = (1 + random.below(end - from)).min(most);
            let data = random.bytes(count);
            let taken = client.write_at(fids[which], from as u64, &data)?;
            assert_eq!(taken as usize, count, "{name}: client {who}, step {step}, at {from}");
            bytes[from..from + count].copy_from_slice(&data);
        } else {
            let from = random.below(bytes.len());
            let count = random.below(most.min(100_000) + 1);
            let read = client.read_at(fids[which], from as u64, count as u32)?;
            assert_eq!(read.len(), count.min(bytes.len() - from), "{name}: at {from}+{count}");
            for (at, byte) in (from..).zip(read) {
                let mine = at / SHARE % CLIENTS == who;
                assert!(!mine || byte == bytes[at], "{name}: client {who}, step {step}: byte {at}");
            }
        }
    }
    Ok(())
}

#[test]
fn devices_of_files_on_two_nodes_hold_what_eight_clients_write() {
    let size = 5 * BLOCK;
    let files: Vec<Vec<u8>> = (0..10).map(|seed| pattern(seed * 37, size)).collect();
    let named = |base: usize| -> Vec<(String, &[u8])> {
        (0..5).map(|n| (format!("f{n}"), &files[base + n][..])).collect()
    };
    let start = |base: usize| {
        let files = named(base);
        let files: Vec<(&str, &[u8])> =
            files.iter().map(|(name, data)| (&name[..], *data)).collect();
        Node::start(&files, &["cat c0 /f0", "cat c1 /f1", "cat c2 /f2", "cat c3 /f3", "cat c4 /f4"])
    };
    let (a, b) = (start(0), start(5));
    let front = Front::start(&[("/n/a", a.dial()), ("/n/b", b.dial())]);
    front.create("here", &files[9]);
    front.ctl(&[
        "cat c /n/a/c0 /n/b/c0",
        "inter i /n/a/c1 /n/b/c1",
        "mirror m /n/a/c2 /n/b/c2",
        "inter j /n/a/c3 /here /n/b/c3",
        "part p0 /n/a/c4 0 20000",
        "part p1 /n/b/c4 20000 20000",
        "cat n ds/p1 ds/p0",
    ]);
    // The legs of a mirror start equal.
    let mut client = front.client();
    let fid = client.open_both(&["m"]).expect("it is there");
    assert_eq!(client.write_at(fid, 0, &files[2]), Ok(size as u32));

    let models = || {
        let model = |name, bytes| Model { name, bytes };
        let file = |number: usize| files[number].clone();
        [
            model("c", [file(0), file(5)].concat()),
            model("i", interleaved(&[file(1), file(6)])),
            model("m", file(2)),
            model("j", interleaved(&[file(3), file(9), file(8)])),
            model("n", [&files[9][20000..40000], &files[4][..20000]].concat()),
        ]
    };
    let dial = front.program.dial();
    let played: Vec<[Model; 5]> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|who| {
                let mut models = models();
                scope.spawn(move || {
                    play(dial, who, &mut models).unwrap_or_else(|error| panic!("{who}: {error}"));
                    models
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().expect("it went well")).collect()
    });
    let mut merged = models();
    for (which, model) in merged.iter_mut().enumerate() {
        for (at, byte) in model.bytes.iter_mut().enumerate() {
            *byte = played[at / SHARE % CLIENTS][which].bytes[at];
        }
        let held = client.read_all(&[model.name]).expect("it reads");
        assert!(held == model.bytes, "{} differs from what was written", model.name);
    }
    assert!(a.file("f2") == merged[2].bytes, "the first leg differs");
    assert!(b.file("f2") == merged[2].bytes, "the second leg differs");
    assert!([a.file("f0"), b.file("f0")].concat() == merged[0].bytes, "the pieces of cat differ");
}

/// How many MiB are copied through a mirror while its nodes die: 64, or what this says.
const COPY: &str = "DSFS_COPY_MIB";

/// The mirror's length; it is copied again and again.
const MIRROR: usize = 16 << 20;

/// Kills a node in the middle of the copying, and starts it again, until the mirror has it back; the
/// node's file alone is the device `alone`.
fn kill_and_bring_back(node: &mut Node, front: &Front, alone: &str, copied: &AtomicU64, at: u64) {
    let copied = || copied.load(Ordering::SeqCst);
    eventually("the copying gets on", || (copied() >= at).then_some(()));
    node.kill();
    let while_dead = copied();
    eventually("the copying gets on without a node", || {
        (copied() >= while_dead + (1 << 20)).then_some(())
    });
    node.start_again();
    let mut client = front.client();
    eventually("the node is there again", || client.read(&[alone], 0, 1).ok());
    let mut admin = Client::mount(front.program.dial(), LARGEST, "admin").expect("it serves");
    eventually("both legs are in service", || {
        let status = admin.read_all(&["status"]).expect("it reads");
        let status = String::from_utf8_lossy(&status).into_owned();
        (status.matches(" in-service").count() == 2).then_some(())
    });
}

#[test]
fn a_mirror_is_copied_right_while_one_node_after_the_other_is_killed() {
    let mib: u64 = env::var(COPY).map_or(64, |mib| mib.parse().expect("a number of MiB"));
    let total = mib << 20;
    let data = Random::new(mib).bytes(MIRROR);
    let start = || Node::start(&[("chunk", &data)], &["cat c /chunk"]);
    let (mut a, mut b) = (start(), start());
    let front = Front::start(&[("/n/a", a.dial()), ("/n/b", b.dial())]);
    let part = |name: &str, node| format!("part {name} /n/{node}/c 0 {MIRROR}");
    front.ctl(&["mirror m /n/a/c /n/b/c", &part("onlya", "a"), &part("onlyb", "b")]);
    let (copied, enough) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let copying = scope.spawn(|| copy(&front, &data, total, &copied, &enough));
        // A copying that failed would be waited for in vain.
        let killing = scope.spawn(|| {
            kill_and_bring_back(&mut a, &front, "onlya", &copied, total / 8);
            kill_and_bring_back(&mut b, &front, "onlyb", &copied, total / 3);
            kill_and_bring_back(&mut a, &front, "onlya", &copied, total / 2);
            enough.store(true, Ordering::SeqCst);
        });
        copying.join().expect("every byte came, and was right");
        killing.join().expect("the nodes came back");
    });
}

/// Copies the mirror until `total` bytes were read and the nodes have died `enough`.
fn copy(front: &Front, data: &[u8], total: u64, copied: &AtomicU64, enough: &AtomicBool) {
    let mut client = front.client();
    let fid = client.open_both(&["m"]).expect("it is there");
    let mut random = Random::new(total);
    let mut at = 0;
    while copied.load(Ordering::SeqCst) < total || !enough.load(Ordering::SeqCst) {
        let count = 1 + random.below(1 << 20);
        let read = client.read_at(fid, at as u64, count as u32);
        let read = read.unwrap_or_else(|error| panic!("at {at}: {error}"));
        let end = (at + count).min(data.len());
        assert!(read == data[at..end], "wrong bytes at {at}");
        copied.fetch_add(read.len() as u64, Ordering::SeqCst);
        at = end % data.len();
    }
}
