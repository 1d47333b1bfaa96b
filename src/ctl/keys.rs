//! The file of keys (`--keys`) that goes with a saved configuration, whose `crypt` lines have none. Only
//! its text: the file is opened elsewhere. No error shows anything of a line, since any word of it may
//! be a key.

use styx::enames;
use styx::words::split;

use super::saved::{Line, MAX_SAVED, SavedError, numbered};
use super::{DiskDefaults, Key, Secret, plan9};

/// Keys, by the names of their devices. They are wiped when dropped.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Keys(Vec<SavedKey>);

/// The key of a device.
#[derive(Debug, PartialEq, Eq)]
struct SavedKey {
    number: usize,
    dir: String,
    name: String,
    key: Key,
}

impl Keys {
    /// The keys in a file of lines `DIR/NAME KEY`. A name without a directory is in `fs`; words are
    /// quoted as in a message, keys are what `crypt` takes; empty lines are skipped.
    ///
    /// # Errors
    /// If the text is longer than [`MAX_SAVED`], a line is anything else, or a device has two keys.
    pub fn parse(text: &[u8]) -> Result<Keys, SavedError> {
        if text.len() > MAX_SAVED {
            return Err(SavedError::TooLarge);
        }
        let mut keys = Keys::default();
        for line in numbered(text).filter(|line| line.message != b"\n") {
            let key = saved_key(&line)?;
            if keys.get(&key.dir, &key.name).is_some() {
                return Err(refused(&line, "a second key for the same device"));
            }
            keys.0.push(key);
        }
        Ok(keys)
    }

    /// The key of a device.
    pub fn get(&self, dir: &str, name: &str) -> Option<&Key> {
        self.0.iter().find(|key| key.dir == dir && key.name == name).map(|key| &key.key)
    }

    /// The lines, from 1, whose device is none of those that `is_device` knows by directory and name.
    pub fn unused(&self, is_device: impl Fn(&str, &str) -> bool) -> impl Iterator<Item = usize> {
        self.0.iter().filter(move |key| !is_device(&key.dir, &key.name)).map(|key| key.number)
    }
}

fn refused(line: &Line, error: &str) -> SavedError {
    SavedError::Key { number: line.number, error: error.to_owned() }
}

fn saved_key(line: &Line) -> Result<SavedKey, SavedError> {
    // One word more than there may be, to see that there is none.
    let words = Secret(split(line.message, 3));
    let words: Vec<&[u8]> = words.0.iter().collect();
    let [name, hex] = words[..] else {
        return Err(refused(line, "not `DIR/NAME KEY`"));
    };
    let in_fs = DiskDefaults::default();
    let (dir, name) = plan9::split_name(name, &in_fs);
    let name_error = |_| refused(line, "DIR/NAME can't be a device's name");
    Ok(SavedKey {
        number: line.number,
        dir: plan9::device_name(dir).map_err(name_error)?,
        name: plan9::device_name(name).map_err(name_error)?,
        key: Key::from_hex(hex).ok_or_else(|| refused(line, enames::EBADKEY))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_keys() {
        let (short, long) = ("01".repeat(32), "02".repeat(64));
        let text = format!("d/x {short}\n\nx {long}\n'e/a b' {short}");
        let keys = Keys::parse(text.as_bytes()).expect("three keys");
        let byte = |dir, name| keys.get(dir, name).map(|key| key.data()[0]);
        assert_eq!(
            (byte("d", "x"), byte("fs", "x"), byte("e", "a b")),
            (Some(1), Some(2), Some(1))
        );
        assert_eq!((byte("d", "y"), byte("", "x")), (None, None));
        let unused: Vec<usize> = keys.unused(|dir, _| dir == "fs").collect();
        assert_eq!(unused, [1, 4]);
        assert_eq!(Keys::parse(b"\n\n"), Ok(Keys::default()));
    }

    #[test]
    fn what_is_no_file_of_keys() {
        let short = "01".repeat(32);
        for (number, text, error) in [
            (1, format!("x\n{short}"), "not `DIR/NAME KEY`"),
            (1, format!("d x {short}"), "not `DIR/NAME KEY`"),
            (2, format!("\nd/x/y {short}"), "DIR/NAME can't be a device's name"),
            (1, format!("d/.. {short}"), "DIR/NAME can't be a device's name"),
            (1, format!("d/x {}", &short[2..]), "bad hexkey"),
            (1, format!("{short} d/x"), "bad hexkey"),
            (3, format!("d/x {short}\n\nd/x {short}"), "a second key for the same device"),
            (2, format!("x {short}\nfs/x {short}"), "a second key for the same device"),
        ] {
            let refused = SavedError::Key { number, error: error.into() };
            assert_eq!(Keys::parse(text.as_bytes()), Err(refused), "{text:?}");
        }
        let text = vec![b'\n'; MAX_SAVED + 1];
        assert_eq!(Keys::parse(&text), Err(SavedError::TooLarge));
    }
}
