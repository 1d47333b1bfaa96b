//! The exported root directory (`dsfs serve --export`, attach name `#U`), over real sockets and
//! against the host's own answer: each operation of a client is looked at from the other side, by
//! the host's calls. `model.rs` does so with operations at random; the races are in
//! `tests/export_race.rs`.
//!
//! A seed of the random test is replayed with `DSFS_SEED=N cargo test --test export model`.

#[path = "../support/mod.rs"]
mod support;

mod attach;
mod change;
mod confined;
mod dirs;
mod files;
mod identity;
mod model;
mod nodes;
mod ops;
mod pipeline;
mod rights;
