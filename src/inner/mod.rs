//! What a device is made of: files on this machine ([`local`]), files on another 9P server
//! ([`remote`]), and other devices ([`nested`]). And the whole of the root directory, as far as it
//! is exported ([`host_fs`]).

pub mod changes;
pub mod host_fs;
pub mod local;
pub mod nested;
pub mod remote;

use std::io::IoSliceMut;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use styx::enames;
use styx::server::{Ename, Outcome};

use crate::integrity::Upsets;

/// The `type` field in the entries of our own devices: the letter of the kernel's device. In such
/// an entry `dev` says how many devices deep the device is, so that the depth of a device is known
/// over any number of servers.
pub const DEVICE_TYPE: u16 = b'k' as u16;

pub use local::LocalFile;
pub use nested::Device;
pub use remote::RemoteFile;

/// One of the things that a device is made of.
#[derive(Clone, Debug)]
pub enum Inner {
    /// A file.
    File(File),
    /// Another device of ours.
    Device(Rc<Device>),
    /// The ctl file of our own devices, which ds(3) lets anyone put into a device. It has length
    /// 0, so nothing is ever read from it or written to it but a write of no bytes at all.
    Ctl,
    /// mirror: what the configuration names is not there, or too short. Why; nothing reads or
    /// writes it.
    Absent(Rc<str>),
}

impl Inner {
    /// Its length when it was opened, in bytes.
    pub fn length(&self) -> u64 {
        match self {
            Inner::File(File::Local(file)) => file.length(),
            Inner::File(File::Remote(file)) => file.length(),
            Inner::Device(device) => device.geometry.length(),
            Inner::Ctl | Inner::Absent(_) => 0,
        }
    }

    /// Which servers it is on: bit n for mount n, modulo 64, none for this machine.
    pub fn homes(&self) -> u64 {
        match self {
            Inner::File(File::Local(_)) | Inner::Ctl | Inner::Absent(_) => 0,
            Inner::File(File::Remote(file)) => 1 << (file.mount() % 64),
            Inner::Device(device) => device.homes(),
        }
    }

    /// How often its bytes may have changed though nobody wrote to it: of a file on another server, because
    /// that was away.
    pub fn upsets(&self) -> Upsets {
        match self {
            Inner::File(File::Remote(file)) => Upsets { losses: file.losses(), shifts: 0 },
            Inner::Device(device) => device.upsets(),
            Inner::File(File::Local(_)) | Inner::Ctl | Inner::Absent(_) => Upsets::default(),
        }
    }

    /// How often each of its files was changed through this server.
    fn changes(&self) -> Vec<Arc<AtomicU32>> {
        match self {
            Inner::File(File::Local(file)) => vec![file.changes().clone()],
            Inner::File(File::Remote(file)) => vec![file.changes().clone()],
            Inner::Device(device) => device.changes(),
            Inner::Ctl | Inner::Absent(_) => Vec::new(),
        }
    }
}

/// A file that holds bytes.
#[derive(Clone, Debug)]
pub enum File {
    /// On this machine.
    Local(LocalFile),
    /// On another 9P server.
    Remote(RemoteFile),
}

impl File {
    /// Two files with the same key are one file, by whatever names they were found.
    pub fn key(&self) -> FileKey {
        match self {
            File::Local(file) => file.key(),
            File::Remote(file) => FileKey::Remote(file.mount(), file.qid_path()),
        }
    }
}

/// Which file a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FileKey {
    /// A file on this machine: its device and inode numbers.
    Local(u64, u64),
    /// A file on another server: which mount, and its qid path.
    Remote(usize, u64),
}

/// What servers say that do not sync, to the wstat that asks for it: Inferno's and Plan 9's devices,
/// Plan 9's file servers, and those that have their texts from a Unix.
const NO_SYNC: [&str; 6] = [
    enames::EPERM,
    "wstat prohibited",
    "not implemented",
    "Function not implemented",
    "Operation not supported",
    "Operation not permitted",
];

/// Whether the error of a sync says only that the file's server does not sync. Nothing has failed
/// there, and nothing is known of stable storage either.
pub fn refuses_sync(ename: &str) -> bool {
    NO_SYNC.iter().any(|text| text.eq_ignore_ascii_case(ename))
}

/// Names one operation on a file that did not end at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Op {
    pub(crate) transfer: usize,
    pub(crate) serial: u64,
    pub(crate) node: usize,
}

/// What carries out the reads and writes of files: the event loop, or a simulator in its place.
///
/// Each call either ends at once, or is pending and ends by a call of
/// [`Transfers::complete`](crate::transfer::Transfers::complete) with its `op`.
pub trait Carrier {
    /// Reads from byte `offset` into `data`: how many bytes were there, fewer than were asked for
    /// only at the end of the file.
    fn read(&mut self, file: &File, offset: u64, data: &mut [u8], op: Op) -> Outcome<usize>;

    /// Reads a run of bytes from `offset` on into several places, if all of it can be had at once,
    /// in one operation: whether it could. If not, what is in the places is of no use.
    fn read_scattered(&mut self, file: &File, offset: u64, places: &mut [IoSliceMut<'_>]) -> bool {
        let _ = (file, offset, places);
        false
    }

    /// Writes `data` at byte `offset`: how many bytes were taken.
    fn write(&mut self, file: &File, offset: u64, data: &[u8], op: Op) -> Outcome<usize>;

    /// Writes all of `data` at byte `offset`, if that needs no waiting: how many bytes there were, or
    /// why it failed. `None`, with nothing written, if it does.
    fn write_at_once(
        &mut self,
        file: &File,
        offset: u64,
        data: &[u8],
    ) -> Option<Result<usize, Ename>> {
        let _ = (file, offset, data);
        None
    }

    /// Sees to it that all that was written to the file is on stable storage.
    fn sync(&mut self, file: &File, op: Op) -> Outcome<()>;

    /// Whether the file ends before byte `offset`, because it was made shorter behind our back: a write there
    /// would leave a hole. False where that can't be told at once.
    fn ends_before(&mut self, file: &File, offset: u64) -> bool;

    /// Sees to it that what a mirror knows of its legs is in its log, on stable storage; without
    /// an `op` nobody waits for it.
    fn record(&mut self, mirror: &Rc<Device>, op: Option<Op>) -> Outcome<()>;

    /// Whether somebody else may be waiting who asks for little: then a large read is done in slices, and
    /// is pending.
    fn has_modest_company(&self) -> bool {
        false
    }

    /// Milliseconds since 1970.
    fn time(&self) -> u64;
}
