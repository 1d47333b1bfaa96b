//! Where the files are that fids stand for: a tree of names, of which each node is shared by all
//! fids that came the same way.
//!
//! A fid that is not open holds no descriptor, so that thousands of them cost the host nothing: it
//! holds a place here, a name and what had that name, and each operation goes there again from the
//! root. When a file is renamed through this server, its places are renamed with it, so whoever
//! had walked to it or to something below it is still there. When the host renames or replaces a
//! file behind the server's back, the place leads to another or to none, and operations on it are
//! told that the file does not exist; and what the host moves out of the root is out of reach at
//! once. Names only: nothing here looks at a file.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::{Rc, Weak};

use styx::enames;
use styx::server::Ename;

use super::slots::{Slot, Slots};
use crate::inner::host_fs::{Identity, Way};
use crate::limits;
use crate::tree::ClientId;

/// The most names from the root to a file: as many single letters as fit a path of the host. Links
/// that lead back up make ways of any length, which must end somewhere.
const MAX_DEPTH: usize = 2048;

/// The longest way from the root to a file, in bytes of its names: the host takes some 4 KiB at a
/// time, and each of these is a call more.
const MAX_BYTES: usize = 32 * 1024;

/// One name in one directory, and what had it.
#[derive(Debug)]
pub(super) struct Place {
    parent: Option<Rc<Place>>,
    name: RefCell<Rc<str>>,
    /// How many names there are from the root to it, and how many bytes they had when it was made.
    depth: usize,
    bytes: usize,
    entry: Identity,
    file: Identity,
    known: Rc<Known>,
    /// Of whoever came here first; the root is nobody's.
    _slot: Option<Slot>,
}

/// Places by what has the name, which is another for nearly every place: but where links lead back up,
/// or a file has many names, thousands may have the same, and none of them is looked for among all.
type Known = RefCell<HashMap<Identity, HashMap<Key, Weak<Place>>>>;

/// What else tells a place: its directory's place, its name, and the file that it leads to.
type Key = (*const Place, Rc<str>, Identity);

fn key(parent: Option<&Rc<Place>>, name: &Rc<str>, file: Identity) -> Key {
    (parent.map_or(std::ptr::null(), Rc::as_ptr), name.clone(), file)
}

/// All places that fids stand for.
#[derive(Debug, Default)]
pub(super) struct Places {
    known: Rc<Known>,
    slots: Slots,
}

impl Places {
    /// The root, which is this file.
    pub fn root(&self, file: Identity) -> Rc<Place> {
        self.find(None, "", file, file).unwrap_or_else(|| self.make(None, "", file, file, None))
    }

    /// What is called `name` at `parent`: an `entry` that leads to `file`. A new place is this client's.
    ///
    /// # Errors
    /// If it is too deep, or the client has too many.
    pub fn at(
        &self,
        client: ClientId,
        parent: &Rc<Place>,
        name: &str,
        entry: Identity,
        file: Identity,
    ) -> Result<Rc<Place>, Ename> {
        parent.check_room(name)?;
        if let Some(place) = self.find(Some(parent), name, entry, file) {
            return Ok(place);
        }
        let slot = self.slots.take(client, limits::PLACES, usize::MAX).ok_or(enames::ENOFIDS)?;
        Ok(self.make(Some(parent), name, entry, file, Some(slot)))
    }

    fn find(
        &self,
        parent: Option<&Rc<Place>>,
        name: &str,
        entry: Identity,
        file: Identity,
    ) -> Option<Rc<Place>> {
        let known = self.known.borrow();
        known.get(&entry)?.get(&key(parent, &name.into(), file))?.upgrade()
    }

    fn make(
        &self,
        parent: Option<&Rc<Place>>,
        name: &str,
        entry: Identity,
        file: Identity,
        slot: Option<Slot>,
    ) -> Rc<Place> {
        let place = Rc::new(Place {
            parent: parent.cloned(),
            name: RefCell::new(name.into()),
            depth: parent.map_or(0, |parent| parent.depth + 1),
            bytes: parent.map_or(0, |parent| parent.bytes + 1 + name.len()),
            entry,
            file,
            known: self.known.clone(),
            _slot: slot,
        });
        self.know(&place);
        place
    }

    fn know(&self, place: &Rc<Place>) {
        let mut known = self.known.borrow_mut();
        known.entry(place.entry).or_default().insert(place.key(), Rc::downgrade(place));
    }

    fn with(&self, entry: Identity) -> Vec<Rc<Place>> {
        let known = self.known.borrow();
        known.get(&entry).map_or(Vec::new(), |all| all.values().filter_map(Weak::upgrade).collect())
    }

    /// What is at `place` is called `name` from now on; so are all places where it is called the
    /// same in the same directory, by whatever way that was walked to.
    pub fn rename(&self, place: &Place, name: &str) {
        let Some(parent) = &place.parent else { return };
        let old = place.name.borrow().clone();
        for other in self.with(place.entry) {
            let same_dir = other.parent.as_ref().is_some_and(|dir| dir.file == parent.file);
            if same_dir && *other.name.borrow() == old {
                other.forget();
                *other.name.borrow_mut() = name.into();
                self.know(&other);
            }
        }
    }
}

impl Place {
    fn key(&self) -> Key {
        key(self.parent.as_ref(), &self.name.borrow(), self.file)
    }

    /// From now on it is not found.
    fn forget(&self) {
        let mut known = self.known.borrow_mut();
        if let Some(places) = known.get_mut(&self.entry) {
            let key = self.key();
            // Another may have been renamed to what this one is called.
            if places.get(&key).is_some_and(|place| std::ptr::eq(place.as_ptr(), self)) {
                places.remove(&key);
            }
            if places.is_empty() {
                known.remove(&self.entry);
            }
        }
    }

    /// The directory that it is in; none for the root.
    pub fn parent(&self) -> Option<&Rc<Place>> {
        self.parent.as_ref()
    }

    /// Refuses a name in this directory if it would be too deep.
    pub fn check_room(&self, name: &str) -> Result<(), Ename> {
        let fits = self.depth < MAX_DEPTH && self.bytes + name.len() < MAX_BYTES;
        if fits { Ok(()) } else { Err(enames::ENAMETOOLONG.into()) }
    }

    /// Whether this is its name.
    pub fn is_called(&self, name: &str) -> bool {
        **self.name.borrow() == *name
    }

    /// The way there.
    pub fn way(&self) -> Way {
        let mut names = Vec::new();
        let mut at = self.parent.as_ref();
        while let Some(place) = at {
            names.push(place.name.borrow().clone());
            at = place.parent.as_ref();
        }
        // The root, which is the last, has no name.
        names.pop();
        names.reverse();
        Way {
            dir: names.join("/"),
            parent: self.parent.as_ref().map_or(self.file, |dir| dir.file),
            name: self.name.borrow().to_string(),
            entry: self.entry,
            file: self.file,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.forget();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: ClientId = ClientId(1);

    fn number(ino: u64) -> Identity {
        Identity { dev: 1, ino, born: 0 }
    }

    #[test]
    fn a_renamed_directory_takes_along_who_is_below_it_by_any_way() {
        let places = Places::default();
        let root = places.root(number(1));
        let dir = places.at(ME, &root, "dir", number(2), number(2)).unwrap();
        let link = places.at(ME, &root, "link", number(9), number(2)).unwrap();
        let files = [&dir, &link].map(|at| places.at(ME, at, "f", number(3), number(3)).unwrap());
        let other = places.at(ME, &dir, "hard", number(3), number(3)).unwrap();
        places.rename(&files[0], "g");
        places.rename(&dir, "new");
        assert_eq!(files[0].way().path(), "new/g");
        assert_eq!(files[1].way().path(), "link/g");
        assert_eq!(other.way().path(), "new/hard", "another name of the same file");
        assert_eq!(root.way().path(), "");
    }

    #[test]
    fn the_same_way_is_one_place_and_nothing_is_left_of_it() {
        let places = Places::default();
        let root = places.root(number(1));
        assert!(Rc::ptr_eq(&root, &places.root(number(1))));
        let dir = places.at(ME, &root, "dir", number(2), number(2)).unwrap();
        let again = places.at(ME, &root, "dir", number(2), number(2)).unwrap();
        assert!(Rc::ptr_eq(&dir, &again));
        let replaced = places.at(ME, &root, "dir", number(4), number(4)).unwrap();
        assert!(!Rc::ptr_eq(&dir, &replaced));
        drop((root, dir, again, replaced));
        assert!(places.known.borrow().is_empty());
    }

    #[test]
    fn a_client_has_no_more_places_than_it_may_and_takes_none_from_others() {
        let places = Places::default();
        let root = places.root(number(1));
        // Links that lead back to where they are: ways of their own, all to one directory.
        let way = |from: &Rc<Place>, name: &str| places.at(ME, from, name, number(2), number(1));
        let mut made = vec![root.clone()];
        let refused = (0..).find_map(|at| {
            let names = ["a", "b"].map(|name| way(&made[at], name));
            names.into_iter().find_map(|place| place.map(|place| made.push(place)).err())
        });
        assert_eq!(refused.as_deref(), Some(enames::ENOFIDS));
        assert_eq!(made.len(), 1 + limits::PLACES, "and the root");
        assert!(places.at(ClientId(2), &root, "c", number(3), number(3)).is_ok());
        drop(made);
        assert!(way(&root, "c").is_ok(), "they are free again");
    }

    #[test]
    fn depth_has_a_bound_and_a_deep_place_can_go() {
        let places = Places::default();
        let mut at = places.root(number(1));
        for depth in 0..MAX_DEPTH {
            at = places
                .at(ME, &at, "d", number(depth as u64 + 2), number(depth as u64 + 2))
                .unwrap();
        }
        assert!(places.at(ME, &at, "d", number(0), number(0)).is_err());
        assert_eq!(at.way().path().len(), 2 * MAX_DEPTH - 1);
        let long = "d".repeat(255);
        let mut at = places.root(number(1));
        while let Ok(next) = places.at(ME, &at, &long, number(2), number(2)) {
            at = next;
        }
        assert!((MAX_BYTES - 256..MAX_BYTES).contains(&at.way().path().len()));
    }
}
