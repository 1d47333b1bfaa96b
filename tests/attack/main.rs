//! The program under attack: clients that send what is no message, connect and go, sit there, send a
//! byte at a time, never read, or ask for more than they may have. It lives, its other clients get
//! their answers, and afterwards it holds no more than before.
//!
//! `cargo test` runs a small attack. The whole one, which also prints and checks how long a
//! well-behaved client waits, takes some minutes:
//!
//! ```text
//! DSFS_ATTACK=full cargo test --release --test attack -- --nocapture --test-threads 1
//! ```
//!
//! Frames that do harm are replayed with `DSFS_SEED=N cargo test --test attack frames`.

#[path = "../support/mod.rs"]
mod support;

mod bounds;
mod crowd;
mod descriptors;
mod edges;
mod frames;
mod host;
mod load;
