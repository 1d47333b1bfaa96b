//! kill -9 in the middle of a mirrored write load.

use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

use crate::place::{LENGTH, Lab, ctl, ds, wait_for};
use crate::support::client::Failure;
use crate::support::program::Program;

/// How often the server is killed, unless DSFS_KILLS says otherwise.
const KILLS: usize = 20;

/// The bytes of one write. Each is of one value, so that a torn or lost one shows.
const BLOCK: usize = 4096;

/// Writers at the same time. They write to blocks of their own.
const WRITERS: usize = 3;

/// splitmix64.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// What a writer knows of its blocks: the last value that was acknowledged, and the one after it
/// that may or may not be there.
#[derive(Clone, Copy, Default)]
struct Known {
    acknowledged: Option<u8>,
    attempted: Option<u8>,
}

type Model = HashMap<usize, Known>;

/// Writes until the server is gone.
fn load(dial: String, writer: usize, mut seed: u64, mut model: Model) -> Model {
    let Ok(mut client) = crate::support::client::Client::mount(&dial, 8216, "") else {
        return model;
    };
    loop {
        let block = random(&mut seed) as usize % (LENGTH / BLOCK / WRITERS) * WRITERS + writer;
        let value = random(&mut seed) as u8;
        let known = model.entry(block).or_default();
        known.attempted = Some(value);
        match client.write(&["m0"], (block * BLOCK) as u64, &[value; BLOCK]) {
            Ok(count) => {
                assert_eq!(count as usize, BLOCK);
                *known = Known { acknowledged: Some(value), attempted: None };
            }
            Err(Failure::Error(text)) => panic!("a write was refused: {text}"),
            Err(_) => return model,
        }
    }
}

fn check(program: &Program, model: &mut Model, seed: u64) {
    let mut client = ds(program);
    for (block, known) in model.iter_mut() {
        let mut read = Vec::new();
        while read.len() < BLOCK {
            let at = block * BLOCK + read.len();
            let more = client.read(&["m0"], at as u64, (BLOCK - read.len()) as u32);
            read.extend(more.expect("a mirror can be read"));
        }
        let whole = |value: Option<u8>| value.is_some_and(|value| read == [value; BLOCK]);
        // What was under way when the server died may be there in part, and nowhere else.
        if known.attempted.is_none() {
            assert!(whole(known.acknowledged), "seed {seed}: block {block} lost what it had");
        }
        known.acknowledged = whole(known.attempted)
            .then_some(known.attempted)
            .flatten()
            .or(known.acknowledged.filter(|&value| whole(Some(value))));
        known.attempted = None;
    }
    model.retain(|_, known| known.acknowledged.is_some());
}

#[test]
fn nothing_acknowledged_is_lost() {
    let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse().ok());
    let kills = number("DSFS_KILLS").unwrap_or(KILLS as u64);
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let seed = number("DSFS_SEED").unwrap_or(since.map_or(1, |since| since.as_nanos() as u64));
    println!("DSFS_SEED={seed} DSFS_KILLS={kills} cargo test --test integrity kill");
    let mut dice = seed;
    let lab = Lab::new();
    let mut models = vec![Model::new(); WRITERS];
    ctl(&lab.serve().start(), "mirror m0 c0 c1");
    for round in 0..kills {
        let program = lab.serve().start();
        let dial = program.dial().to_string();
        for model in &mut models {
            check(&program, model, seed);
        }
        let writers: Vec<_> = models
            .drain(..)
            .enumerate()
            .map(|(writer, model)| {
                let (dial, seed) = (dial.clone(), random(&mut dice));
                thread::spawn(move || load(dial, writer, seed, model))
            })
            .collect();
        thread::sleep(Duration::from_micros(2_000 + random(&mut dice) % 120_000));
        drop(program); // SIGKILL
        models = writers.into_iter().map(|w| w.join().expect("a writer")).collect();
        assert!(models.iter().any(|model| !model.is_empty()), "round {round}: nothing was written");
    }
    let program = lab.serve().start();
    let began = Instant::now();
    wait_for(&program, "m0 equal");
    println!("equal {:?} after the last start", began.elapsed());
    for model in &mut models {
        check(&program, model, seed);
    }
    drop(program);
    assert!(lab.bytes(0) == lab.bytes(1), "seed {seed}: the legs differ");
}
