//! A 9P server that is not to be trusted. Whatever it sends, or does not send, the connection to it
//! ends with a clear error for the client of dsfs, or the answer is right: no panic, no wrong bytes,
//! no memory without bound, and nobody else notices.

#[path = "../support/mod.rs"]
mod support;

mod honest;
mod liar;
mod lies;
mod mount;
