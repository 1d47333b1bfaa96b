//! The devices as files: names, qids, entries and directories of the one-level tree and of `#k`.
//!
//! qid paths are devds's: the directory is 1, ctl 2, the devices from 3. Directory t of dialect
//! plan9 has t in the bits above.

use std::rc::Rc;

use styx::server::{DirEntries, Ename};
use styx::{Qid, Stat, dm, enames, qt};

use super::losses::Told;
use super::{View, World};
use crate::ctl::Entry;
use crate::device::Slot;
use crate::inner::DEVICE_TYPE;

const TOP: u64 = 0;
const DIR: u64 = 1;
const CTL: u64 = 2;
const FIRST_DEVICE: u64 = 3;

/// The permissions of a directory, and of a file in the kernel's tree.
const DIR_MODE: u32 = dm::DIR | 0o775;
const KERNEL_MODE: u32 = 0o664;

/// A file or directory of the devices.
#[derive(Clone, Debug)]
pub(super) enum Node {
    /// The root of `#k`.
    Top,
    /// A directory of devices: its number, and which of those that have had this number it is.
    Dir(usize, u32),
    Ctl,
    /// A device, and where it is open, what its client was told of losses.
    Device(Slot, Rc<Entry>, Option<Told>),
}

fn path(dir: usize, low: u64) -> u64 {
    (dir as u64) << 16 | low
}

pub(super) fn qid(world: &World, node: &Node) -> Qid {
    let (kind, path, vers) = match node {
        Node::Top => (qt::DIR, TOP, world.control.version()),
        Node::Dir(dir, _) => (qt::DIR, path(*dir, DIR), world.control.version()),
        Node::Ctl => (qt::FILE, CTL, world.control.version()),
        Node::Device(slot, entry, _) => {
            (qt::FILE, path(slot.dir, FIRST_DEVICE + slot.index as u64), entry.device.version())
        }
    };
    Qid { kind, vers, path }
}

/// The node called `name` in `from`.
pub(super) fn walk(world: &World, view: View, from: &Node, name: &str) -> Result<Node, Ename> {
    let missing = || Ename::from(enames::ENONEXIST);
    match (from, name) {
        (Node::Top | Node::Dir(..), "" | ".") => Ok(from.clone()),
        (Node::Top, "..") => Ok(Node::Top),
        (Node::Dir(..), "..") if view == View::Kernel => Ok(Node::Top),
        (Node::Dir(..), "..") => Ok(from.clone()),
        (Node::Top, name) => {
            world.control.table().dir(name).map(|number| dir(world, number)).ok_or_else(missing)
        }
        (Node::Dir(number, _), name) => {
            check_there(world, from)?;
            child(world, *number, name).ok_or_else(missing)
        }
        (Node::Device(slot, ..), "..") if world.control.rules().files_have_parents => {
            Ok(dir(world, slot.dir))
        }
        (Node::Ctl, "..") if world.control.rules().files_have_parents => Ok(dir(world, 0)),
        (Node::Ctl | Node::Device(..), _) => Err(enames::ENOTDIR.into()),
    }
}

fn dir(world: &World, number: usize) -> Node {
    Node::Dir(number, world.control.table().dir_serial(number).unwrap_or(0))
}

/// Whether what a fid stands for is still there: in dialect plan9 devices are deleted, directories
/// go with their last device, and others may have come in their place.
pub(super) fn check_there(world: &World, node: &Node) -> Result<(), Ename> {
    let table = world.control.table();
    let there = match node {
        Node::Top | Node::Ctl => true,
        Node::Dir(number, serial) => table.dir_serial(*number) == Some(*serial),
        Node::Device(slot, entry, _) => {
            table.get(*slot).is_some_and(|(_, listed)| Rc::ptr_eq(listed, entry))
        }
    };
    if there { Ok(()) } else { Err(enames::ENONEXIST.into()) }
}

fn child(world: &World, dir: usize, name: &str) -> Option<Node> {
    let table = world.control.table();
    if world.control.rules().is_ctl(table.dir_name(dir)?, name) {
        return Some(Node::Ctl);
    }
    let slot = table.find(dir, name)?;
    let (_, entry) = table.get(slot)?;
    Some(Node::Device(slot, entry.clone(), None))
}

/// Calls `with` with the entry of a node.
pub(super) fn entry<R>(
    world: &World,
    view: View,
    node: &Node,
    with: impl FnOnce(&Stat<'_>) -> R,
) -> R {
    let table = world.control.table();
    let owner = world.settings.owner.as_str();
    let file_mode = match view {
        View::Flat => world.control.rules().flat_mode,
        View::Kernel => KERNEL_MODE,
    };
    let changed = world.changed.1;
    let mut depth = 0;
    let config;
    let (name, mode, time, length) = match node {
        Node::Top => ("#k", DIR_MODE, changed, 0),
        Node::Dir(dir, _) => (table.dir_name(*dir).unwrap_or(""), DIR_MODE, changed, 0),
        Node::Ctl => ("ctl", file_mode, changed, 0),
        Node::Device(_, entry, _) => {
            let length = entry.device.geometry.length();
            depth = entry.device.depth() as u32;
            config = entry.config();
            (config.name.as_str(), file_mode, entry.mtime.get(), length)
        }
    };
    with(&Stat {
        kind: DEVICE_TYPE,
        dev: depth,
        qid: qid(world, node),
        mode,
        atime: time,
        mtime: time,
        length,
        name,
        uid: owner,
        gid: owner,
        muid: owner,
    })
}

/// Adds the entries of a directory from `cursor` on: in `#k` the directories by number, in a
/// directory ctl, where it has one, and then the devices by slot.
pub(super) fn list(
    world: &World,
    view: View,
    node: &Node,
    cursor: u64,
    mut entries: DirEntries,
) -> DirEntries {
    if check_there(world, node).is_err() {
        return entries;
    }
    let table = world.control.table();
    let mut push = |node: &Node, position: u64| {
        position < cursor || entry(world, view, node, |stat| entries.push(stat, position + 1))
    };
    match node {
        Node::Top => {
            let _ = table.dirs().all(|(dir, _)| push(&self::dir(world, dir), dir as u64));
        }
        Node::Dir(dir, _) => {
            // Directory 0 is the one that is always there, and holds ctl.
            let room = *dir != 0 || push(&Node::Ctl, 0);
            let device = |(slot, _, entry): (Slot, &str, &Rc<_>)| {
                push(&Node::Device(slot, Rc::clone(entry), None), 1 + slot.index as u64)
            };
            let _ = room && table.in_dir(*dir).all(device);
        }
        Node::Ctl | Node::Device(..) => {}
    }
    entries
}
