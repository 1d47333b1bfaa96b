//! The configured devices, by directory, slot and name.
//!
//! A slot is a place in a directory; the lowest free one is used next, so that a device's qid path
//! is the one that devds would give it.

/// A device's place: the number of its directory, and its number in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot {
    /// Which directory; 0 is the one that is always there.
    pub dir: usize,
    /// Which place in it.
    pub index: usize,
}

#[derive(Debug)]
struct Dir<D> {
    name: String,
    serial: u32,
    devices: Vec<Option<(String, D)>>,
}

/// Directories of named devices `D`.
#[derive(Debug)]
pub struct Table<D> {
    dirs: Vec<Option<Dir<D>>>,
    /// Directories made so far, not counting the first.
    made: u32,
}

impl<D> Table<D> {
    /// A table with one directory, which stays.
    pub fn new(first: &str) -> Self {
        let first = Dir { name: first.to_string(), serial: 0, devices: Vec::new() };
        Table { dirs: vec![Some(first)], made: 0 }
    }

    /// The number of the directory of this name.
    pub fn dir(&self, name: &str) -> Option<usize> {
        self.dirs.iter().position(|dir| dir.as_ref().is_some_and(|dir| dir.name == name))
    }

    /// The name of a directory.
    pub fn dir_name(&self, dir: usize) -> Option<&str> {
        self.dirs.get(dir)?.as_ref().map(|dir| dir.name.as_str())
    }

    /// Which directory this is of those that have had its number: another one has another serial.
    pub fn dir_serial(&self, dir: usize) -> Option<u32> {
        self.dirs.get(dir)?.as_ref().map(|dir| dir.serial)
    }

    /// The directories, by number: the number and the name.
    pub fn dirs(&self) -> impl Iterator<Item = (usize, &str)> {
        self.dirs
            .iter()
            .enumerate()
            .filter_map(|(number, dir)| Some((number, dir.as_ref()?.name.as_str())))
    }

    /// The device of this name in a directory.
    pub fn find(&self, dir: usize, name: &str) -> Option<Slot> {
        let devices = &self.dirs.get(dir)?.as_ref()?.devices;
        let index = devices
            .iter()
            .position(|device| device.as_ref().is_some_and(|(other, _)| other == name))?;
        Some(Slot { dir, index })
    }

    /// The device at a place, and its name.
    pub fn get(&self, slot: Slot) -> Option<(&str, &D)> {
        let (name, device) =
            self.dirs.get(slot.dir)?.as_ref()?.devices.get(slot.index)?.as_ref()?;
        Some((name, device))
    }

    /// All devices, by directory and slot: the place, the name and the device.
    pub fn iter(&self) -> impl Iterator<Item = (Slot, &str, &D)> {
        self.dirs().flat_map(|(dir, _)| self.in_dir(dir))
    }

    /// The devices of one directory, by slot.
    pub fn in_dir(&self, dir: usize) -> impl Iterator<Item = (Slot, &str, &D)> {
        let devices = self.dirs.get(dir).and_then(Option::as_ref).map(|dir| dir.devices.as_slice());
        devices.unwrap_or_default().iter().enumerate().filter_map(move |(index, device)| {
            let (name, device) = device.as_ref()?;
            Some((Slot { dir, index }, name.as_str(), device))
        })
    }

    /// Puts a device into the lowest free slot of its directory, which is made if need be.
    pub fn insert(&mut self, dir: &str, name: &str, device: D) -> Slot {
        let number = self.dir(dir).unwrap_or_else(|| {
            self.made = self.made.wrapping_add(1);
            let new = Dir { name: dir.to_string(), serial: self.made, devices: Vec::new() };
            lowest_free(&mut self.dirs, new)
        });
        let dir = self.dirs[number].as_mut().expect("it was found or made just now");
        let index = lowest_free(&mut dir.devices, (name.to_string(), device));
        Slot { dir: number, index }
    }

    /// Takes a device out, and its directory with its last device.
    pub fn remove(&mut self, slot: Slot) -> Option<(String, D)> {
        let dir = self.dirs.get_mut(slot.dir)?;
        let devices = &mut dir.as_mut()?.devices;
        let device = devices.get_mut(slot.index)?.take()?;
        if slot.dir != 0 && devices.iter().all(Option::is_none) {
            *dir = None;
        }
        Some(device)
    }
}

fn lowest_free<T>(places: &mut Vec<Option<T>>, value: T) -> usize {
    match places.iter().position(Option::is_none) {
        Some(free) => {
            places[free] = Some(value);
            free
        }
        None => {
            places.push(Some(value));
            places.len() - 1
        }
    }
}
