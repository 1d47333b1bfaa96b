//! Which bytes of which inner file: the arithmetic of one device, and of devices made of devices.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use dsfs::device::Geometry;

const LENGTH: u64 = 1 << 30;

/// As many devices deep as one may be.
const DEEP: usize = 64;

fn one(c: &mut Criterion) {
    let lengths = [LENGTH; 8];
    let devices = [
        ("cat of 8", Geometry::cat(&lengths)),
        ("inter of 8", Geometry::inter(&lengths)),
        ("part", Geometry::part(LENGTH, 4096, LENGTH - 4096)),
    ];
    let mut group = c.benchmark_group("piece");
    for (name, device) in devices {
        let mut offset = 0;
        group.bench_function(name, |b| {
            b.iter(|| {
                offset = (offset + 40_961) % (LENGTH - 8192);
                device.piece(black_box(offset), 4096)
            });
        });
    }
}

fn chain(c: &mut Criterion) {
    let parts: Vec<Geometry> =
        (0..DEEP).map(|_| Geometry::part(LENGTH, 4096, LENGTH - 4096)).collect();
    c.bench_function("piece, a chain of 64 parts", |b| {
        b.iter(|| parts.iter().fold(black_box(8192), |at, part| part.piece(at, 4096).offset));
    });
}

criterion_group!(benches, one, chain);
criterion_main!(benches);
