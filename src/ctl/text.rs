//! The ctl text: configured devices as lines, such that the text, written back line by line, gives the
//! same devices (D2). The key of a crypt device is never in it.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use styx::words::join;

use super::control::{Control, Entry};
use super::order::restorable;
use super::{Config, Dialect, Kind};
use crate::device::Slot;
use crate::inner::Device;

impl<O: Copy> Control<O> {
    /// The messages that would make the same devices again, by directory and slot, but each after those that it is made of.
    pub fn text(&self) -> String {
        self.text_of(|_| true)
    }

    /// The same without the devices that were deleted and are only still open: what is to be there
    /// after a restart.
    pub fn kept_text(&self) -> String {
        let mut kept: HashSet<*const Device> = HashSet::new();
        let entries: Vec<&Rc<Entry>> = self.table().iter().map(|(_, _, entry)| entry).collect();
        let mut rest: Vec<Rc<Device>> =
            entries.iter().map(|entry| entry.device.clone()).filter(|d| !d.is_gone()).collect();
        // A device that was deleted goes on as long as others are made of it.
        while let Some(device) = rest.pop() {
            if kept.insert(Rc::as_ptr(&device)) {
                let entry = entries.iter().find(|entry| Rc::ptr_eq(&entry.device, &device));
                rest.extend(entry.into_iter().flat_map(|entry| entry.below()));
            }
        }
        self.text_of(|entry| kept.contains(&Rc::as_ptr(&entry.device)))
    }

    fn text_of(&self, is_listed: impl Fn(&Entry) -> bool) -> String {
        let listed = self.table().iter().filter(|(_, _, entry)| is_listed(entry));
        let entries: Vec<(Slot, &Rc<Entry>)> =
            listed.map(|(slot, _, entry)| (slot, entry)).collect();
        let dirs: Vec<usize> = entries.iter().map(|(slot, _)| slot.dir).collect();
        let numbers: HashMap<*const Device, usize> = entries
            .iter()
            .enumerate()
            .map(|(number, (_, entry))| (Rc::as_ptr(&entry.device), number))
            .collect();
        let number = |device: &Rc<Device>| numbers.get(&Rc::as_ptr(device)).copied();
        let inner: Vec<Vec<usize>> = entries
            .iter()
            .map(|(_, entry)| entry.below().iter().filter_map(number).collect())
            .collect();
        let order = restorable(&dirs, &inner);
        order.into_iter().map(|number| line(self.dialect(), &entries[number].1.config())).collect()
    }
}

/// The line of this device, with its newline.
///
/// In devds the words as they were typed; in fs(3) `TYPE [DIR/]NAME FILES...`, `fs/` left out, a
/// partition with its start and its length in bytes as [`Config::kind`] has them, `crypt` without its key
/// (so that only [`parse_saved`](super::parse_saved) takes it back). Words are quoted if they need it.
pub fn line(dialect: Dialect, config: &Config) -> String {
    let mut line = match dialect {
        Dialect::Devds => join(&config.words),
        Dialect::Plan9 => join(fs_words(config)),
    };
    line.push('\n');
    line
}

fn fs_words(config: &Config) -> Vec<String> {
    let verb = match config.kind {
        Kind::Mirror => "mirror",
        Kind::Cat => "cat",
        Kind::Inter => "inter",
        Kind::Part { .. } => "part",
        Kind::Crypt { .. } => "crypt",
    };
    let name = if config.dir == Dialect::Plan9.rules().dir {
        config.name.clone()
    } else {
        format!("{}/{}", config.dir, config.name)
    };
    let mut words = vec![verb.to_owned(), name];
    words.extend(config.inner.iter().cloned());
    if let Kind::Part { start, length } = config.kind {
        words.extend([start.to_string(), length.to_string()]);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::Key;

    fn config(dir: &str, name: &str, kind: Kind, inner: &[&str]) -> Config {
        let inner = inner.iter().map(|&name| name.to_owned()).collect();
        Config { dir: dir.into(), name: name.into(), kind, inner, words: Vec::new() }
    }

    #[test]
    fn fs_lines() {
        let part = Kind::Part { start: 512, length: 0 };
        let crypt = Kind::Crypt { key: Key::from_hex(&[b'7'; 64]) };
        for (config, expected) in [
            (config("fs", "m", Kind::Mirror, &["/a", "/b"]), "mirror m /a /b\n"),
            (config("d", "c", Kind::Cat, &["/a"]), "cat d/c /a\n"),
            (config("d e", "i", Kind::Inter, &["/a b", ""]), "inter 'd e/i' '/a b' ''\n"),
            (config("fs", "it's", part, &["/a"]), "part 'it''s' /a 512 0\n"),
            (config("d", "x", crypt, &["/a"]), "crypt d/x /a\n"),
        ] {
            assert_eq!(line(Dialect::Plan9, &config), expected);
        }
    }

    #[test]
    fn ds_lines_are_as_typed() {
        let words = ["part", "p 0", "/a", "+010", "5"].map(str::to_owned).to_vec();
        let part = Kind::Part { start: 10, length: 3 };
        let config = Config { words, ..config("ds", "p 0", part, &["/a"]) };
        assert_eq!(line(Dialect::Devds, &config), "part 'p 0' /a +010 5\n");
    }
}
