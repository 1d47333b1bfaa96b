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

use crate::inner::host_fs::{Identity, Way};

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
}

/// Places by what has the name, which is another for nearly every place.
type Known = RefCell<HashMap<Identity, Vec<Weak<Place>>>>;

/// All places that fids stand for.
#[derive(Debug, Default)]
pub(super) struct Places {
    known: Rc<Known>,
}

impl Places {
    /// The root, which is this file.
    pub fn root(&self, file: Identity) -> Rc<Place> {
        self.find_or_make(None, "", file, file)
    }

    /// What is called `name` at `parent`: an `entry` that leads to `file`.
    ///
    /// # Errors
    /// If it is too deep.
    pub fn at(
        &self,
        parent: &Rc<Place>,
        name: &str,
        entry: Identity,
        file: Identity,
    ) -> Result<Rc<Place>, Ename> {
        parent.check_room(name)?;
        Ok(self.find_or_make(Some(parent), name, entry, file))
    }

    fn find_or_make(
        &self,
        parent: Option<&Rc<Place>>,
        name: &str,
        entry: Identity,
        file: Identity,
    ) -> Rc<Place> {
        let same = |place: &Rc<Place>| {
            place.parent.as_ref().map(Rc::as_ptr) == parent.map(Rc::as_ptr)
                && place.is_called(name)
                && place.file == file
        };
        let there = self.with(entry).into_iter().find(same);
        there.unwrap_or_else(|| {
            let place = Rc::new(Place {
                parent: parent.cloned(),
                name: RefCell::new(name.into()),
                depth: parent.map_or(0, |parent| parent.depth + 1),
                bytes: parent.map_or(0, |parent| parent.bytes + 1 + name.len()),
                entry,
                file,
                known: self.known.clone(),
            });
            self.known.borrow_mut().entry(entry).or_default().push(Rc::downgrade(&place));
            place
        })
    }

    fn with(&self, entry: Identity) -> Vec<Rc<Place>> {
        let known = self.known.borrow();
        known.get(&entry).map_or(Vec::new(), |all| all.iter().filter_map(Weak::upgrade).collect())
    }

    /// What is at `place` is called `name` from now on; so are all places where it is called the
    /// same in the same directory, by whatever way that was walked to.
    pub fn rename(&self, place: &Place, name: &str) {
        let Some(parent) = &place.parent else { return };
        let old = place.name.borrow().clone();
        for other in self.with(place.entry) {
            let same_dir = other.parent.as_ref().is_some_and(|dir| dir.file == parent.file);
            if same_dir && *other.name.borrow() == old {
                *other.name.borrow_mut() = name.into();
            }
        }
    }
}

impl Place {
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
        let mut known = self.known.borrow_mut();
        if let Some(places) = known.get_mut(&self.entry) {
            places.retain(|place| place.strong_count() > 0);
            if places.is_empty() {
                known.remove(&self.entry);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(ino: u64) -> Identity {
        Identity { dev: 1, ino, born: 0 }
    }

    #[test]
    fn a_renamed_directory_takes_along_who_is_below_it_by_any_way() {
        let places = Places::default();
        let root = places.root(number(1));
        let dir = places.at(&root, "dir", number(2), number(2)).unwrap();
        let link = places.at(&root, "link", number(9), number(2)).unwrap();
        let files = [&dir, &link].map(|at| places.at(at, "f", number(3), number(3)).unwrap());
        let other = places.at(&dir, "hard", number(3), number(3)).unwrap();
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
        let dir = places.at(&root, "dir", number(2), number(2)).unwrap();
        let again = places.at(&root, "dir", number(2), number(2)).unwrap();
        assert!(Rc::ptr_eq(&dir, &again));
        let replaced = places.at(&root, "dir", number(4), number(4)).unwrap();
        assert!(!Rc::ptr_eq(&dir, &replaced));
        drop((root, dir, again, replaced));
        assert!(places.known.borrow().is_empty());
    }

    #[test]
    fn depth_has_a_bound_and_a_deep_place_can_go() {
        let places = Places::default();
        let mut at = places.root(number(1));
        for depth in 0..MAX_DEPTH {
            at = places.at(&at, "d", number(depth as u64 + 2), number(depth as u64 + 2)).unwrap();
        }
        assert!(places.at(&at, "d", number(0), number(0)).is_err());
        assert_eq!(at.way().path().len(), 2 * MAX_DEPTH - 1);
        let long = "d".repeat(255);
        let mut at = places.root(number(1));
        while let Ok(next) = places.at(&at, &long, number(2), number(2)) {
            at = next;
        }
        assert!((MAX_BYTES - 256..MAX_BYTES).contains(&at.way().path().len()));
    }
}
