//! A directory of files in memory that logs what is asked of it and fails where it is told to:
//! the inner files of a test. It knows no protocol and no sockets; `fault_server` serves it.

use std::collections::BTreeMap;

/// What a client asks of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Opening it.
    Open,
    /// Reading from it.
    Read,
    /// Writing to it.
    Write,
    /// A wstat that asks for it to be on stable storage.
    Sync,
}

/// How a file fails.
#[derive(Clone, Debug)]
pub enum Effect {
    /// With this error text.
    Error(String),
    /// By moving only so many bytes.
    Short(usize),
}

/// One read or write, as it was asked for, whatever came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// [`Action::Read`] or [`Action::Write`].
    pub action: Action,
    /// The file's name in the directory.
    pub name: String,
    /// In bytes.
    pub offset: u64,
    /// In bytes.
    pub count: usize,
}

/// The text for a name that is not there, as Plan 9 has it.
pub const MISSING: &str = "file does not exist";

/// The text for an open that the permissions refuse, as Plan 9 has it.
pub const DENIED: &str = "permission denied";

/// The text for a write so far out that the memory would not hold the file.
pub const TOO_BIG: &str = "file too big";

/// The largest file, in bytes: more than any test needs, and little enough to be allocated.
const LARGEST: usize = 64 << 20;

/// An opening of a file that was allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// The file's name in the directory.
    pub name: String,
    /// Whether it may write.
    pub write: bool,
}

/// A file, by its number: it goes on when its name is gone, for those who have it open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileId(usize);

impl FileId {
    /// A number of its own in this tree, from 1.
    pub fn number(self) -> u64 {
        self.0 as u64 + 1
    }
}

/// What a file is called, what it holds, and what its owner may do with it.
struct File {
    name: String,
    data: Vec<u8>,
    perm: u32,
}

struct Fault {
    name: String,
    action: Action,
    effect: Effect,
    /// How many times more; `None` is for ever.
    left: Option<u32>,
}

/// The directory.
#[derive(Default)]
pub struct FaultTree {
    names: BTreeMap<String, FileId>,
    files: Vec<File>,
    faults: Vec<Fault>,
    log: Vec<Asked>,
    openings: Vec<Opening>,
}

impl FaultTree {
    /// Puts a new file there, in place of one of that name.
    pub fn create(&mut self, name: &str, data: Vec<u8>, perm: u32) {
        self.names.insert(name.to_owned(), FileId(self.files.len()));
        self.files.push(File { name: name.to_owned(), data, perm });
    }

    /// Takes a name away.
    pub fn unlink(&mut self, name: &str) {
        self.names.remove(name);
    }

    /// Lets `change` loose on a file's bytes, behind the clients' backs.
    ///
    /// # Panics
    /// If it is not there.
    pub fn change(&mut self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let id = self.find(name).expect("the file is there");
        change(&mut self.files[id.0].data);
    }

    /// The file of that name.
    pub fn find(&self, name: &str) -> Result<FileId, String> {
        self.names.get(name).copied().ok_or_else(|| MISSING.to_owned())
    }

    /// The files that have a name, in the order of these.
    pub fn ids(&self) -> impl Iterator<Item = FileId> {
        self.names.values().copied()
    }

    /// What a file is called, or was.
    pub fn name(&self, id: FileId) -> &str {
        &self.files[id.0].name
    }

    /// What a file holds.
    pub fn data(&self, id: FileId) -> &[u8] {
        &self.files[id.0].data
    }

    /// The permissions of a file; only its owner's are looked at.
    pub fn perm(&self, id: FileId) -> u32 {
        self.files[id.0].perm
    }

    /// From now on, `count` times or for ever, this is how that action on that file ends. It
    /// takes the place of what was said of the same action before.
    pub fn fault(&mut self, name: &str, action: Action, effect: Effect, count: Option<u32>) {
        self.faults.retain(|fault| fault.name != name || fault.action != action);
        self.faults.push(Fault { name: name.to_owned(), action, effect, left: count });
    }

    /// The reads and writes since this was last called, in the order in which they came.
    pub fn take_log(&mut self) -> Vec<Asked> {
        std::mem::take(&mut self.log)
    }

    /// The openings since this was last called, in the order in which they came.
    pub fn take_openings(&mut self) -> Vec<Opening> {
        std::mem::take(&mut self.openings)
    }

    /// Opens a file for reading, writing or both, as its owner.
    pub fn open(&mut self, id: FileId, read: bool, write: bool) -> Result<(), String> {
        let perm = self.perm(id);
        if (read && perm & 0o400 == 0) || (write && perm & 0o200 == 0) {
            return Err(DENIED.to_owned());
        }
        self.allowed(id, Action::Open, 0)?;
        self.openings.push(Opening { name: self.name(id).to_owned(), write });
        Ok(())
    }

    /// Reads from a file; short at its end, and empty past it.
    pub fn read(&mut self, id: FileId, offset: u64, count: usize) -> Result<&[u8], String> {
        self.note(Action::Read, id, offset, count);
        let count = self.allowed(id, Action::Read, count)?;
        let data = self.data(id);
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(data.len());
        let end = start.saturating_add(count).min(data.len());
        Ok(&data[start..end])
    }

    /// Writes to a file, which grows where that is past its end; how many bytes were taken.
    pub fn write(&mut self, id: FileId, offset: u64, data: &[u8]) -> Result<usize, String> {
        self.note(Action::Write, id, offset, data.len());
        let count = self.allowed(id, Action::Write, data.len())?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let end = start.saturating_add(count);
        if end > LARGEST {
            return Err(TOO_BIG.to_owned());
        }
        let file = &mut self.files[id.0].data;
        if file.len() < end {
            file.resize(end, 0);
        }
        file[start..end].copy_from_slice(&data[..count]);
        Ok(count)
    }

    /// A sync: everything is in memory, so there is nothing to do.
    pub fn sync(&mut self, id: FileId) -> Result<(), String> {
        self.allowed(id, Action::Sync, 0).map(drop)
    }

    fn note(&mut self, action: Action, id: FileId, offset: u64, count: usize) {
        self.log.push(Asked { action, name: self.name(id).to_owned(), offset, count });
    }

    /// How many of `count` bytes the faults let through, or the error they make.
    fn allowed(&mut self, id: FileId, action: Action, count: usize) -> Result<usize, String> {
        let name = &self.files[id.0].name;
        let here = |fault: &&mut Fault| fault.name == *name && fault.action == action;
        let Some(fault) = self.faults.iter_mut().find(here) else { return Ok(count) };
        match &mut fault.left {
            Some(0) => return Ok(count),
            Some(left) => *left -= 1,
            None => {}
        }
        match &fault.effect {
            Effect::Error(text) => Err(text.clone()),
            Effect::Short(most) => Ok(count.min(*most)),
        }
    }
}
