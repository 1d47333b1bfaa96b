//! Names -> inner files: the name space that the names in a ctl message are looked up in.
//!
//! [`mod@file`] reads namespace(6) files, [`table`] runs their lines and keeps the mount table
//! that comes out, [`resolve`] takes one name through that table, and a [`NameError`] is what a
//! name that leads nowhere is answered. No sockets, no files, no clock here: a file that is
//! included is read by a function of the caller's, and a walk is asked of the caller, who may need
//! the network for it.

mod error;
pub mod file;
mod line;
mod path;
pub mod resolve;
pub mod table;

pub use error::{Failure, NameError};
pub use file::{FileError, Reason};
pub use line::{Flags, Line, Op, Place};
pub use resolve::{Resolver, Step, Walked};
pub use table::{Member, Remote, Table, Target, Tree};

#[cfg(test)]
mod tests;
