//! Decoding what clients send most, and encoding what they are answered.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use styx::buffer::Buffer;
use styx::{Qid, Rmsg, Tmsg, UpTo16, encode};

const BLOCK: usize = 4096;

fn decode(c: &mut Criterion) {
    let data = vec![7; BLOCK];
    let names = UpTo16::from_slice(&["usr", "inferno", "lib"]).expect("three names");
    let messages = [
        ("Tread", Tmsg::Read { fid: 1, offset: 1 << 40, count: BLOCK as u32 }),
        ("Twrite", Tmsg::Write { fid: 1, offset: 1 << 40, data: &data }),
        ("Twalk", Tmsg::Walk { fid: 1, newfid: 2, names }),
    ];
    let mut group = c.benchmark_group("decode");
    for (name, message) in messages {
        let mut frame = Vec::new();
        message.encode(1, &mut frame);
        group.bench_function(name, |b| b.iter(|| Tmsg::decode(black_box(&frame)).is_ok()));
    }
}

fn encode(c: &mut Criterion) {
    let qid = Qid { kind: 0, vers: 1, path: 3 };
    let qids = UpTo16::from_slice(&[qid; 3]).expect("three qids");
    let messages =
        [("Rwrite", Rmsg::Write { count: BLOCK as u32 }), ("Rwalk", Rmsg::Walk { qids })];
    let mut group = c.benchmark_group("encode");
    for (name, message) in messages {
        let mut out = Buffer::new();
        group.bench_function(name, |b| {
            b.iter(|| {
                out.clear();
                black_box(&message).encode(1, &mut out);
            });
        });
    }
}

/// The room for a large read, which nothing but the read itself should touch.
fn room(c: &mut Criterion) {
    let mut group = c.benchmark_group("room for an Rread");
    for count in [BLOCK, 128 * 1024] {
        group.throughput(Throughput::Bytes(count as u64));
        let mut out = Buffer::new();
        group.bench_function(format!("{count} bytes"), |b| {
            b.iter(|| {
                out.clear();
                let start = encode::begin_read(&mut out, 1, black_box(count));
                encode::end_read(&mut out, start, count);
            });
        });
    }
}

criterion_group!(benches, decode, encode, room);
criterion_main!(benches);
