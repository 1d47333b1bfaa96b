//! The simulator: whole worlds of servers, clients, networks and disks in one thread, with a clock of
//! their own. The sessions, trees, devices, transfers, mounts and write-intent logs are the program's;
//! so is what runs a connection (`event_loop::connection`). Only sockets, worker threads and disks are
//! played: networks delay, stall and cut, disks fail, tear, stop short and lie, hosts cut files and take
//! them away, servers lose power and start again, clients vanish, take legs out of service, have them
//! replaced, make upkeep slow or stop it, or ask for much and read nothing. Everything that clients see
//! is checked against a model (`model.rs`), and at the end of a world nothing of it may be left.
//!
//! One seed is one world, and is played the same each time. A seed that fails prints the command that
//! plays it again:
//!
//! ```text
//! DSFS_SEED=17 DSFS_SEEDS=1 cargo test --test simulation worlds_hold
//! ```
//!
//! `DSFS_SEEDS` says how many worlds are played, `DSFS_SEED` where to begin; with `DSFS_TRACE=1` what
//! happens in them is printed (with `--nocapture`). An hour of them:
//!
//! ```text
//! DSFS_SEED=$RANDOM$RANDOM DSFS_SEEDS=9999999 timeout 1h cargo test --release --test simulation worlds_hold
//! ```
//!
//! `plan.rs` says what a world is made of, `world.rs` plays it step by step and `world/end.rs` to its
//! end, with what breaks in `world/faults.rs`; `node.rs` is a server, with `host.rs`, `disk.rs` and `link.rs` around it; `net.rs` is the
//! wires, `clients.rs` who is at them.

mod clients;
#[path = "../support/device_model.rs"]
mod device_model;
mod digest;
mod disk;
mod host;
mod link;
mod model;
mod net;
mod node;
mod plan;
#[path = "../support/random.rs"]
mod random;
#[path = "../support/store.rs"]
mod store;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// How many worlds, unless DSFS_SEEDS says otherwise.
const SEEDS: u64 = 300;

#[test]
fn worlds_hold() {
    let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse::<u64>().ok());
    let first = number("DSFS_SEED").unwrap_or(1);
    let count = number("DSFS_SEEDS").unwrap_or(SEEDS);
    for seed in first..first + count {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| world::play(seed))) {
            println!("DSFS_SEED={seed} DSFS_SEEDS=1 cargo test --test simulation worlds_hold");
            resume_unwind(panic);
        }
    }
}

#[test]
fn one_seed_is_one_world() {
    for seed in 1..10 {
        assert_eq!(world::play(seed), world::play(seed), "seed {seed}");
    }
}
