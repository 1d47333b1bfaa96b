//! The disks of one server: its files, its mirrors' logs and its configuration. They outlive a crash,
//! less what was not on stable storage. They fail, tear what they write, stop short, and lie: what they
//! say is on stable storage is not. Logs are on disks that do not lie.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use dsfs::inner::FileKey;
use dsfs::inner::local::Root;
use dsfs::integrity::log::{self, Found, Identity, Record};
use dsfs::integrity::state::Key;
use styx::enames;
use styx::server::Ename;

use crate::random::Random;
use crate::store::Store;

/// What tears: sectors of a log, and of what is encrypted, which a disk writes entirely or not at all, and
/// any odd part of what a client writes.
const SECTOR: usize = 512;
const CRUMB: usize = 100;

/// What is wrong with a file. Half of what it is asked for still goes well, but where a disk lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Reads,
    /// A part of the bytes is written all the same.
    Writes,
    Syncs,
    /// Syncs end well and do nothing.
    Lies,
    /// Reads and writes stop short, as at the end of a file.
    Short,
}

/// One file.
#[derive(Clone)]
struct Platter {
    /// The number in its name, and that among the files of all servers which it stands for: another one
    /// when it has become a leg of a mirror, or has been replaced as one.
    name: usize,
    number: usize,
    store: Store,
    fault: Option<Fault>,
    /// It is written in whole sectors.
    encrypted: bool,
}

/// A leg of a mirror that may be replaced: the file that it is at first, and the one that it may become.
pub struct Spare {
    pub mirror: String,
    pub leg: usize,
    pub files: [usize; 2],
}

/// The disks.
#[derive(Default)]
pub struct Disk {
    files: Vec<Platter>,
    keys: HashMap<FileKey, usize>,
    logs: BTreeMap<Identity, Store>,
    config: String,
    spares: Vec<Spare>,
    /// What the last crash may have taken.
    pub lost: Vec<Lost>,
}

/// Something that a crash may have taken.
pub struct Lost {
    /// The file, by its number among those of all servers.
    pub file: usize,
    pub offset: u64,
    pub data: Vec<u8>,
    /// The disk had said that it was on stable storage.
    pub lied: bool,
}

fn failed(fault: &'static str) -> Ename {
    fault.into()
}

impl Disk {
    /// Files of these bytes, by their numbers among the files of all servers, some of them `encrypted`: `f` and
    /// the number, in the directory `dir`. That has files of these names and lengths in it, which lend their
    /// identities and hold nothing.
    pub fn new(
        dir: &Path,
        files: impl Iterator<Item = (usize, Vec<u8>)>,
        encrypted: &[usize],
        config: String,
        spares: Vec<Spare>,
    ) -> Disk {
        let root = Root::open(dir, false).expect("a directory");
        let mut disk = Disk { config, spares, ..Disk::default() };
        for (number, bytes) in files {
            let name = format!("f{number}");
            let file = std::fs::File::create(dir.join(&name)).expect("a new file");
            file.set_len(bytes.len() as u64).expect("its length");
            let key = root.open_file(&[name]).expect("it is there").key();
            disk.keys.insert(key, disk.files.len());
            disk.files.push(Platter {
                name: number,
                number,
                store: Store::new(bytes),
                fault: None,
                encrypted: encrypted.contains(&number),
            });
        }
        disk
    }

    /// Which file it is.
    pub fn place(&self, key: FileKey) -> usize {
        self.keys[&key]
    }

    /// How many files there are.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// What each file holds, as readers see it, with its number among those of all servers.
    pub fn contents(&self) -> impl Iterator<Item = (usize, &[u8])> {
        self.files.iter().map(|file| (file.number, &file.store.seen[..]))
    }

    /// Cuts a file, by its number among those of all servers, to a length, as anyone on the host can.
    pub fn cut(&mut self, number: usize, length: u64) {
        let file = self.files.iter_mut().find(|file| file.number == number);
        file.expect("it is here").store.cut(length as usize);
    }

    /// The number of a file among those of all servers.
    pub fn number(&self, file: usize) -> usize {
        self.files[file].number
    }

    /// The number in a file's name.
    pub fn name(&self, file: usize) -> usize {
        self.files[file].name
    }

    /// The saved ctl.
    pub fn config(&self) -> &str {
        &self.config
    }

    /// Changes the saved ctl, which says which files the legs of mirrors are.
    pub fn configure(&mut self, text: String) {
        self.config = text;
        for Spare { mirror, leg, files } in &self.spares {
            let lines = self.config.lines().map(|line| line.split(' ').collect::<Vec<_>>());
            let its = lines.filter(|words| words[0] == "mirror" && words[1] == mirror);
            for words in its {
                let is_replaced = words[2 + leg] == format!("/f{}", files[1]);
                let stand_for = if is_replaced { [files[1], files[0]] } else { *files };
                for platter in &mut self.files {
                    if let Some(which) = files.iter().position(|&file| file == platter.name) {
                        platter.number = stand_for[which];
                    }
                }
            }
        }
    }

    /// How long a file is now.
    pub fn length(&self, file: usize) -> u64 {
        self.files[file].store.seen.len() as u64
    }

    /// Something is wrong with a file from now on; with `None` nothing is any more.
    pub fn set_fault(&mut self, file: usize, fault: Option<Fault>) {
        self.files[file].fault = fault;
    }

    /// The files that can't be synced, by their numbers among those of all servers.
    pub fn unsyncable(&self) -> impl Iterator<Item = usize> {
        let files = self.files.iter().filter(|file| file.fault == Some(Fault::Syncs));
        files.map(|file| file.number)
    }

    /// Nothing is wrong any more.
    pub fn heal(&mut self) {
        self.files.iter_mut().for_each(|file| file.fault = None);
    }

    fn fails(&self, file: usize, fault: Fault, dice: &mut Random) -> bool {
        self.files[file].fault == Some(fault) && dice.one_in(2)
    }

    /// Reads: how many bytes, fewer than were asked for at the end of the file.
    pub fn read(
        &self,
        file: usize,
        offset: u64,
        data: &mut [u8],
        dice: &mut Random,
    ) -> Result<usize, Ename> {
        if self.fails(file, Fault::Reads, dice) {
            return Err(failed(enames::EIO));
        }
        let bytes = self.files[file].store.seen.get(offset as usize..).unwrap_or_default();
        let mut count = data.len().min(bytes.len());
        if count > 0 && self.fails(file, Fault::Short, dice) {
            count = dice.below(count);
        }
        data[..count].copy_from_slice(&bytes[..count]);
        Ok(count)
    }

    /// Writes: how many bytes were taken.
    pub fn write(
        &mut self,
        file: usize,
        offset: u64,
        data: &[u8],
        dice: &mut Random,
    ) -> Result<usize, Ename> {
        let fails = self.fails(file, Fault::Writes, dice);
        let mut count = data.len();
        if count > 0 && (fails || self.fails(file, Fault::Short, dice)) {
            count = dice.below(count);
            if self.files[file].encrypted {
                count -= count % SECTOR;
            }
        }
        self.files[file].store.write(offset as usize, &data[..count]);
        if fails { Err(failed("No space left on device")) } else { Ok(count) }
    }

    /// How many writes a file has had, which a sync that begins now is for.
    pub fn writes(&self, file: usize) -> u64 {
        self.files[file].store.writes
    }

    /// The first `until` writes of a file are on stable storage.
    pub fn sync(&mut self, file: usize, until: u64, dice: &mut Random) -> Result<(), Ename> {
        if self.fails(file, Fault::Syncs, dice) {
            return Err(failed(enames::EIO));
        }
        match self.files[file].fault {
            Some(Fault::Lies) => self.files[file].store.lie(until),
            _ => self.files[file].store.sync(until),
        }
        Ok(())
    }

    /// The log of a mirror; a new one if there is none.
    pub fn open_log(&mut self, key: &Key, length: u64, legs: usize, must_exist: bool) -> Found {
        assert!(!must_exist || self.logs.contains_key(&key.identity), "a log is missing");
        let new = || Store::new(Record::new(length, legs).file(&key.identity));
        let store = self.logs.entry(key.identity).or_insert_with(new);
        log::decode(&store.seen).expect("a power cut damages no log")
    }

    /// The log of a mirror, if there is one.
    pub fn log(&self, key: &Key) -> Option<Found> {
        let store = self.logs.get(&key.identity)?;
        Some(log::decode(&store.seen).expect("a power cut damages no log"))
    }

    /// A mirror gets another log, which says this, and a configuration that names it; then the old one
    /// goes. The first `steps` of that are done, which are three.
    pub fn move_log(&mut self, keys: &(Key, Key), record: &Record, text: String, steps: usize) {
        let (from, to) = keys;
        if steps > 0 {
            self.logs.insert(to.identity, Store::new(record.file(&to.identity)));
        }
        if steps > 1 {
            self.configure(text);
        }
        if steps > 2 {
            self.logs.remove(&from.identity);
        }
    }

    /// Writes a record into a log; it is on stable storage after [`Disk::sync_log`].
    pub fn write_log(&mut self, log: &Identity, offset: u64, bytes: &[u8]) {
        self.logs.get_mut(log).expect("it was opened").write(offset as usize, bytes);
    }

    /// What was written to a log is on stable storage.
    pub fn sync_log(&mut self, log: &Identity) {
        let store = self.logs.get_mut(log).expect("it was opened");
        store.sync(store.writes);
    }

    /// The power goes: what is found when it is back.
    pub fn crash(&mut self, dice: &mut Random) {
        self.lost.clear();
        for file in &mut self.files {
            let lost = file.store.unsynced().map(|(at, data, lied)| Lost {
                file: file.number,
                offset: at as u64,
                data: data.to_vec(),
                lied,
            });
            self.lost.extend(lost);
            let store = std::mem::replace(&mut file.store, Store::new(Vec::new()));
            file.store = store.crashed(if file.encrypted { SECTOR } else { CRUMB }, dice);
        }
        for log in self.logs.values_mut() {
            let store = std::mem::replace(log, Store::new(Vec::new()));
            *log = store.crashed(SECTOR, dice);
        }
    }
}
