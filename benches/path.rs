//! The way of a request through session, tree, device and transfer to a file in the page cache, in one
//! process: what is left of a server when its sockets are taken away.

#[path = "../tests/support/in_process.rs"]
mod in_process;

use std::fs;

use criterion::{Criterion, criterion_group, criterion_main};
use in_process::{InProcess, reads, writes};
use styx::{Tmsg, omode};

const DEVICES: &[&str] = &[
    "cat plain /f",
    "mirror mirror /f /g",
    "part p0 /f 0 524288",
    "part p1 /f 524288 524288",
    "inter i0 ds/p0 ds/p1",
    "cat deep ds/i0 /g",
];

const FILE_BYTES: usize = 1 << 20;
const FID: u32 = 2;
const BLOCK: usize = 4096;

/// A prime number of requests, spread over the file.
fn offsets() -> impl Iterator<Item = u64> {
    (0..127).map(|n| n * 53 % 127 * BLOCK as u64)
}

fn client(root: &tempfile::TempDir, name: &str) -> InProcess {
    for file in ["f", "g"] {
        fs::write(root.path().join(file), vec![7; FILE_BYTES]).expect("a file can be written");
    }
    let mut client = InProcess::new(root.path(), DEVICES);
    client.open(name, FID, omode::ORDWR);
    client
}

fn request(c: &mut Criterion) {
    let root = tempfile::tempdir().expect("a temporary directory");
    let mut group = c.benchmark_group("request");
    for name in ["plain", "mirror", "deep"] {
        let mut client = client(&root, name);
        // Nothing is read at the end of the file, so this is the way without the system call.
        let nothing = reads(FID, BLOCK as u32, (0..127).map(|_| 1 << 40));
        let sets = [
            ("nothing", nothing),
            ("read", reads(FID, BLOCK as u32, offsets())),
            ("write", writes(FID, &[5; BLOCK], offsets())),
        ];
        for (what, frames) in sets {
            let mut frames = frames.iter().cycle();
            group.bench_function(format!("{what}, {name}"), |b| {
                b.iter(|| {
                    client.send(frames.next().expect("it never ends"));
                    client.replies.clear();
                });
            });
        }
    }
    let mut client = client(&root, "plain");
    let mut frame = Vec::new();
    Tmsg::Stat { fid: FID }.encode(0, &mut frame);
    group.bench_function("stat", |b| {
        b.iter(|| {
            client.send(&frame);
            client.replies.clear();
        });
    });
}

criterion_group!(benches, request);
criterion_main!(benches);
