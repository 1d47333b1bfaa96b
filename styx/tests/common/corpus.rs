//! Inputs for fuzz targets: what a target is given in a test, and the seeds of its corpus.

use std::fs;
use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngSeed, TestRunner};

/// Inputs for each target: enough to meet what it looks for, and done in a few seconds.
const CASES: u32 = 2000;

/// Inputs that are written for a corpus.
const SEEDS: usize = 200;

/// A target fails by panicking; what it was given is shown, and made as small as possible.
pub fn run(name: &str, target: fn(&[u8]), inputs: impl Strategy<Value = Vec<u8>>) {
    let seed = RngSeed::Fixed(0x9_2000);
    let config =
        Config { cases: CASES, rng_seed: seed, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new(config);
    if let Some(corpus) = std::env::var_os("DSFS_CORPUS") {
        write(&Path::new(&corpus).join(name), &mut runner, &inputs);
    }
    let tested = runner.run(&inputs, |input| {
        target(&input);
        Ok(())
    });
    if let Err(error) = tested {
        panic!("{error}");
    }
}

fn write(dir: &Path, runner: &mut TestRunner, inputs: &impl Strategy<Value = Vec<u8>>) {
    fs::create_dir_all(dir).expect("the directory of a corpus");
    for number in 0..SEEDS {
        let input = inputs.new_tree(runner).expect("an input").current();
        fs::write(dir.join(format!("{number:03}")), input).expect("a seed");
    }
}

pub fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..600)
}

/// A few bytes of something valid replaced, taken out and put in.
pub fn changed(valid: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<Index>(), 0..4u8, any::<u8>());
    (valid, vec(change, 0..4)).prop_map(|(mut bytes, changes)| {
        for (place, what, byte) in changes {
            let at = place.index(bytes.len() + 1);
            match what {
                0 => bytes.insert(at, byte),
                1 => bytes.truncate(at),
                _ if at == bytes.len() => bytes.push(byte),
                2 => drop(bytes.remove(at)),
                _ => bytes[at] = byte,
            }
        }
        bytes
    })
}
