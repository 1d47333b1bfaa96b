//! A small blocking client: one connection to one 9P2000 server, over TCP or a Unix socket.
//!
//! It is what the commands `ls`, `read`, `write` and their kin are made of. The protocol is
//! [`styx::client`]'s; here are the sockets, the walks, and the transfers that keep several requests
//! under way. The server's own part of dsfs never uses this: nothing in an event loop may block.

pub mod admin;
mod entry;
mod error;
mod transfer;
mod wire;

use styx::client::whole_blocks;
use styx::{MAXWELEM, NOFID, Qid, Rmsg, Stat, Tmsg, UpTo16};

pub use entry::Entry;
pub use error::Error;
pub(crate) use error::Printable;
pub use transfer::Source;
pub(crate) use transfer::is_zero;
use wire::Wire;

use crate::dial::Addr;

/// The smallest msize that may be offered, in bytes. What a server then still can answer whole: an
/// error text, and the entry of a file with an ordinary name.
pub const MIN_MSIZE: u32 = 256;

/// The msize to offer to a server of which nothing is known, in bytes: transfers of 32 KiB, which is
/// what Plan 9's mount(1) asks for. Inferno's own servers take twice as much, but then fail each
/// Tstat, as the room for its answer no longer fits the 16 bits they have for it.
pub const DEFAULT_MSIZE: u32 = (32 << 10) + styx::IOHDRSZ;

/// The fid of the root of the tree that was attached to.
const ROOT: u32 = 0;

/// The most bytes that the names of the user and of the tree may have together: what the 19 bytes of
/// a Tattach around them leave of the smallest msize.
const MAX_NAMES: usize = MIN_MSIZE as usize - 19;

/// The most entries that a directory may have, so that a server that never stops listing fills no
/// memory: a million of them are some 200 MB.
const MAX_ENTRIES: usize = 1 << 20;

/// A connection on which a tree has been attached to.
#[derive(Debug)]
pub struct Client {
    wire: Wire,
    /// Numbers below this were fids once.
    fids: u32,
    /// Of those, the ones that may be used again.
    free: Vec<u32>,
}

/// A file that is open at the server until [`Client::close`] or the end of the connection.
#[derive(Debug)]
pub struct File {
    fid: u32,
    /// The path as it was given, for messages.
    path: String,
    qid: Qid,
    /// The largest transfer, in bytes. At least 1.
    unit: u32,
    /// Its length once it was open, in bytes.
    length: u64,
}

impl File {
    /// Its length when it was opened, in bytes; 0 for a directory, and for a file whose text is
    /// made when it is read.
    pub fn length(&self) -> u64 {
        self.length
    }
}

impl Client {
    /// Dials `addr`, offers messages of `msize` bytes (from [`MIN_MSIZE`] to
    /// [`MAX_MSIZE`](styx::server::MAX_MSIZE)) and attaches to the tree `aname`, as the user
    /// who runs this.
    ///
    /// # Errors
    /// If nobody answers there, or not in 9P2000, or the server refuses.
    pub fn connect(addr: &Addr, aname: &str, msize: u32) -> Result<Self, Error> {
        let mut client = Client { wire: Wire::dial(addr, msize)?, fids: ROOT + 1, free: vec![] };
        let user = uzers::get_current_username().and_then(|name| name.into_string().ok());
        let uname = user.unwrap_or_else(|| "none".into());
        client.wire.version()?;
        // Also keeps each of them within the 16 bits that its length has.
        if uname.len() + aname.len() > MAX_NAMES {
            let ename = "the name of the user or of the tree is too long".into();
            return Err(Error::Refused { path: "/".into(), ename });
        }
        let attach = Tmsg::Attach { fid: ROOT, afid: NOFID, uname: &uname, aname };
        client.call(if aname.is_empty() { "/" } else { aname }, &attach, |reply| match reply {
            Rmsg::Attach { .. } => Some(()),
            _ => None,
        })?;
        client.wire.settled()?;
        Ok(client)
    }

    /// The server's address, as it was dialled.
    pub fn addr(&self) -> &Addr {
        self.wire.addr()
    }

    /// One request and its reply. `take` gives `None` for a reply that can't be right.
    fn call<R>(
        &mut self,
        path: &str,
        message: &Tmsg<'_>,
        take: impl FnOnce(Rmsg<'_>) -> Option<R>,
    ) -> Result<R, Error> {
        self.wire.send(message)?;
        let outcome = self.wire.receive(|_, outcome| match outcome {
            Ok(reply) => Ok(take(reply)),
            Err(ename) => Err(ename.to_owned()),
        })?;
        match outcome {
            Ok(Some(value)) => Ok(value),
            Ok(None) => Err(Error::Nonsense { addr: self.addr().clone() }),
            Err(ename) => Err(Error::Refused { path: path.into(), ename }),
        }
    }

    fn new_fid(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            let fid = self.fids;
            self.fids += 1;
            fid
        })
    }

    /// Walks from the root to `path`, whose elements `/` divides; the new fid.
    fn walk(&mut self, path: &str) -> Result<u32, Error> {
        let names: Vec<&str> =
            path.split('/').filter(|name| !name.is_empty() && *name != ".").collect();
        let newfid = self.new_fid();
        let mut at = ROOT;
        let walked = self.walk_names(path, &names, &mut at, newfid);
        if walked.is_err() {
            if at == newfid {
                self.clunk(path, newfid)?;
            } else {
                self.free.push(newfid);
            }
        }
        walked.map(|()| newfid)
    }

    /// Walks from `at`, which is the root, and becomes `newfid` once that is a fid.
    fn walk_names(
        &mut self,
        path: &str,
        names: &[&str],
        at: &mut u32,
        newfid: u32,
    ) -> Result<(), Error> {
        let mut rest = names;
        loop {
            let part = self.walk_part(path, rest)?;
            let mut walked = self.walk_once(path, *at, newfid, &rest[..part])?;
            if walked < part {
                // No fid came of it, and no error. What the server has for a reason it tells only
                // of a walk whose first name fails; a file may also be there by now.
                if self.walk_once(path, *at, newfid, &rest[..walked])? < walked {
                    return Err(Error::Nonsense { addr: self.addr().clone() });
                }
                *at = newfid;
                walked += self.walk_once(path, newfid, newfid, &rest[walked..=walked])?;
            }
            *at = newfid;
            rest = &rest[walked..];
            if rest.is_empty() {
                return Ok(());
            }
        }
    }

    /// How many of `names` fit one Twalk.
    fn walk_part(&self, path: &str, names: &[&str]) -> Result<usize, Error> {
        /// `size[4] Twalk tag[2] fid[4] newfid[4] nwname[2]`
        const TWALK: usize = 17;
        let mut room = self.wire.msize() as usize - TWALK;
        let mut fit = 0;
        for name in names.iter().take(MAXWELEM) {
            let Some(left) = room.checked_sub(2 + name.len()) else { break };
            room = left;
            fit += 1;
        }
        let endless = fit == 0 && !names.is_empty();
        if endless || names.iter().any(|name| name.len() > usize::from(u16::MAX)) {
            return Err(Error::Refused { path: path.into(), ename: "name too long".into() });
        }
        Ok(fit)
    }

    fn walk_once(
        &mut self,
        path: &str,
        fid: u32,
        newfid: u32,
        names: &[&str],
    ) -> Result<usize, Error> {
        let names = UpTo16::from_slice(names).expect("walk_part gives no more");
        self.call(path, &Tmsg::Walk { fid, newfid, names }, |reply| match reply {
            Rmsg::Walk { qids } => Some(qids.len()),
            _ => None,
        })
    }

    fn clunk(&mut self, path: &str, fid: u32) -> Result<(), Error> {
        self.free.push(fid);
        self.call(path, &Tmsg::Clunk { fid }, |reply| (reply == Rmsg::Clunk).then_some(()))
    }

    fn stat_fid(&mut self, path: &str, fid: u32) -> Result<Entry, Error> {
        self.call(path, &Tmsg::Stat { fid }, |reply| match reply {
            Rmsg::Stat { stat } => Stat::decode(stat).ok().map(|stat| Entry::from(&stat)),
            _ => None,
        })
    }

    /// What the server says of the file `path`, `/` being the root of the tree.
    ///
    /// # Errors
    /// If there is none, or the connection is lost.
    pub fn stat(&mut self, path: &str) -> Result<Entry, Error> {
        let fid = self.walk(path)?;
        let entry = self.stat_fid(path, fid);
        // The first error is the one that says something.
        let clunked = self.clunk(path, fid);
        entry.and_then(|entry| clunked.map(|()| entry))
    }

    /// Removes the file `path`.
    ///
    /// # Errors
    /// If there is none, or the server refuses, or the connection is lost.
    pub fn remove(&mut self, path: &str) -> Result<(), Error> {
        let fid = self.walk(path)?;
        // A Tremove clunks the fid, whatever the answer is (remove(5)).
        self.free.push(fid);
        self.call(path, &Tmsg::Remove { fid }, |reply| (reply == Rmsg::Remove).then_some(()))
    }

    /// Opens the file `path`. `mode` is one of [`styx::omode`].
    ///
    /// # Errors
    /// If there is none, or the server refuses, or the connection is lost.
    pub fn open(&mut self, path: &str, mode: u8) -> Result<File, Error> {
        let fid = self.walk(path)?;
        match self.open_fid(path, fid, mode) {
            Ok(file) => Ok(file),
            Err(error) => {
                self.clunk(path, fid)?;
                Err(error)
            }
        }
    }

    fn open_fid(&mut self, path: &str, fid: u32, mode: u8) -> Result<File, Error> {
        let (qid, iounit) = self.call(path, &Tmsg::Open { fid, mode }, |reply| match reply {
            Rmsg::Open { qid, iounit } => Some((qid, iounit)),
            _ => None,
        })?;
        // After the open, since that may have cut it.
        let length = self.stat_fid(path, fid)?.length;
        let most = self.wire.unit(iounit);
        // A ctl says 0, and takes a message in one write.
        let unit = if length == 0 { most } else { whole_blocks(most) };
        Ok(File { fid, path: path.into(), qid, unit, length })
    }

    /// Closes a file.
    ///
    /// # Errors
    /// If the server refuses, as it may where the close is what does the work; or if the
    /// connection is lost.
    pub fn close(&mut self, file: File) -> Result<(), Error> {
        self.clunk(&file.path, file.fid)
    }

    /// The entries of the directory `path`, in the server's order.
    ///
    /// # Errors
    /// If it is none or can't be read, or if the connection is lost.
    pub fn read_dir(&mut self, path: &str) -> Result<Vec<Entry>, Error> {
        let file = self.open(path, styx::omode::OREAD)?;
        let entries = self.entries(&file);
        let closed = self.close(file);
        entries.and_then(|entries| closed.map(|()| entries))
    }

    fn entries(&mut self, file: &File) -> Result<Vec<Entry>, Error> {
        if !file.qid.is_dir() {
            let ename = styx::enames::ENOTDIR.into();
            return Err(Error::Refused { path: file.path.clone(), ename });
        }
        let mut entries = Vec::new();
        let mut offset = 0u64;
        // A directory's reads follow one another: each starts where the last one ended (read(5)).
        loop {
            let ask = Tmsg::Read { fid: file.fid, offset, count: file.unit };
            let read = self.call(&file.path, &ask, |reply| match reply {
                Rmsg::Read { data } => add_entries(data, &mut entries),
                _ => None,
            })?;
            if read == 0 {
                return Ok(entries);
            }
            offset = offset.saturating_add(read);
            if entries.len() > MAX_ENTRIES {
                return Err(Error::Endless { path: file.path.clone(), entries: MAX_ENTRIES });
            }
        }
    }
}

/// Adds all of the entries in `data`; how many bytes that is.
fn add_entries(data: &[u8], entries: &mut Vec<Entry>) -> Option<u64> {
    let mut rest = data;
    while !rest.is_empty() {
        let (stat, after) = Stat::decode_first(rest).ok()?;
        entries.push(Entry::from(&stat));
        rest = after;
    }
    Some(data.len() as u64)
}
