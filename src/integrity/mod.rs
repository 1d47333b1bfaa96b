//! What a mirror remembers, so that its legs can be made equal again: which regions were written
//! and may differ ([`intent`]), the state of each leg ([`mirror`]), how fast that is mended
//! ([`pace`]), and how all of it is kept on disk ([`log`], [`config`], [`state`]).
//!
//! ds(3) has no such memory; `docs/design.md` says what it is for. Nothing
//! here reads or writes a leg. Only [`state`] touches the system.

pub mod config;
pub mod intent;
pub mod log;
pub mod mirror;
pub mod pace;
pub mod state;

pub use intent::{Regions, Scale};
pub use log::LogError;
pub use mirror::{Mirror, Service, Step, Upsets};
