//! What a mirror promises (`docs/design.md`), at the real program: it is killed, its legs fail, fill up and
//! shrink, and no acknowledged byte is lost or wrong.

#[path = "../support/mod.rs"]
mod support;

mod admin;
mod check;
mod degraded;
mod far;
mod faults;
mod kill;
mod place;
mod replace;
mod shared;
mod stable;
mod state;
mod watch;
