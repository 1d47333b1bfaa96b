//! Files on other machines: a dsfs that mounts others, all on the loopback and each a process of its
//! own; or that mounts a server of the test's, which holds answers back, cuts connections, goes away
//! and comes back. No test measures time: what has to overlap is held until all of it is there.

#[path = "../support/mod.rs"]
mod support;

mod away;
mod model;
mod node;
mod together;
