//! What the end-to-end tests share: the program as a process of its own, a small blocking 9P
//! client, the text form of bytes in the recordings, and a 9P server that logs and fails on
//! request. It stands outside the program and must never reach into the library of dsfs: what a
//! test sees is what any client sees.

#![allow(dead_code, reason = "each test program uses its own part of this")]

pub mod client;
pub mod fault_server;
pub mod fault_tree;
pub mod kinds;
pub mod program;
pub mod random;
pub mod terminal;
pub mod text;
