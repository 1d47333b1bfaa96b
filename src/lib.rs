//! dsfs: a Styx (9P2000) file server that builds mirrors, catenations, interleavings and
//! partitions out of files, as Inferno's ds(3) device does inside its kernel.

pub mod allow;
pub mod cli;
pub mod client;
pub mod command;
pub mod ctl;
pub mod device;
pub mod dial;
pub mod event_loop;
pub mod inner;
pub mod integrity;
pub mod limits;
pub mod namespace;
pub mod observe;
pub mod transfer;
pub mod tree;
