//! What several tests share. Nothing here asserts anything about the crate.

pub mod parts;
pub mod tree;
pub mod wire;
