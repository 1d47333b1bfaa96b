//! The replies of an honest 9P server with a few files, one for each request, so that others can be
//! made of them. It keeps no order, and knows no faults.

use std::collections::HashMap;

use styx::{Qid, Rmsg, Stat, Tmsg, UpTo16, VERSION, dm, qt};

/// The largest msize agreed to, in bytes.
pub const MSIZE: u32 = 8216;

/// One file.
#[derive(Clone, Debug)]
pub struct File {
    /// Its qid's path.
    pub path: u64,
    /// What it holds.
    pub data: Vec<u8>,
}

/// One connection to the server.
#[derive(Debug, Default)]
pub struct Honest {
    /// The files in the one directory that there is.
    pub files: HashMap<String, File>,
    /// What each fid stands for: the directory, if no file.
    fids: HashMap<u32, Option<String>>,
}

impl Honest {
    /// A server with one file `f`.
    pub fn with_file(data: Vec<u8>) -> Honest {
        let files = HashMap::from([("f".to_owned(), File { path: 7, data })]);
        Honest { files, fids: HashMap::new() }
    }

    /// Another connection to the same server: no fids.
    pub fn hung_up(&mut self) {
        self.fids.clear();
    }

    /// The reply to a request; a whole frame.
    pub fn reply(&mut self, tag: u16, request: &Tmsg<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        if let Err(ename) = self.answer(tag, request, &mut out) {
            Rmsg::Error { ename }.encode(tag, &mut out);
        }
        out
    }

    fn qid(&self, name: Option<&String>) -> Qid {
        match name.and_then(|name| self.files.get(name)) {
            Some(file) => Qid { kind: qt::FILE, vers: 0, path: file.path },
            None => Qid { kind: qt::DIR, vers: 0, path: 0 },
        }
    }

    fn file(&mut self, fid: u32) -> Result<&mut File, &'static str> {
        let name = self.fids.get(&fid).ok_or("no such fid")?.clone().ok_or("a directory")?;
        self.files.get_mut(&name).ok_or("file does not exist")
    }

    fn answer(
        &mut self,
        tag: u16,
        request: &Tmsg<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), &'static str> {
        let reply = match *request {
            Tmsg::Version { msize, .. } => {
                Rmsg::Version { msize: msize.min(MSIZE), version: VERSION }
            }
            Tmsg::Attach { fid, .. } => {
                self.fids.insert(fid, None);
                Rmsg::Attach { qid: self.qid(None) }
            }
            Tmsg::Walk { fid, newfid, names } => {
                let from = self.fids.get(&fid).ok_or("no such fid")?.clone();
                if newfid != fid && self.fids.contains_key(&newfid) {
                    return Err("fid in use");
                }
                let mut qids = UpTo16::new();
                let mut at = from;
                for name in names.iter() {
                    if at.is_some() || !self.files.contains_key(*name) {
                        break;
                    }
                    at = Some((*name).to_owned());
                    assert!(qids.push(self.qid(at.as_ref())), "no more than 16 names come");
                }
                if qids.is_empty() && !names.is_empty() {
                    return Err("file does not exist");
                }
                if qids.len() == names.len() {
                    self.fids.insert(newfid, at);
                }
                Rmsg::Walk { qids }
            }
            Tmsg::Stat { fid } => {
                let name = self.fids.get(&fid).ok_or("no such fid")?.clone();
                let qid = self.qid(name.as_ref());
                let length = self.file(fid).map_or(0, |file| file.data.len() as u64);
                let mode = if qid.is_dir() { dm::DIR | 0o755 } else { 0o644 };
                let name = name.as_deref().unwrap_or("/");
                let mut stat = Vec::new();
                let plain = Stat { kind: 0, dev: 0, atime: 0, mtime: 0, ..Stat::DONT_TOUCH };
                let (uid, gid, muid) = ("root", "root", "root");
                Stat { qid, length, mode, name, uid, gid, muid, ..plain }.encode(&mut stat);
                Rmsg::Stat { stat: &stat }.encode(tag, out);
                return Ok(());
            }
            Tmsg::Open { fid, .. } => {
                let name = self.fids.get(&fid).ok_or("no such fid")?;
                Rmsg::Open { qid: self.qid(name.as_ref()), iounit: 0 }
            }
            Tmsg::Read { fid, offset, count } => {
                let data = &self.file(fid)?.data;
                let start = usize::try_from(offset).unwrap_or(usize::MAX).min(data.len());
                let end = start.saturating_add(count as usize).min(data.len());
                Rmsg::Read { data: &data[start..end] }.encode(tag, out);
                return Ok(());
            }
            Tmsg::Write { fid, offset, data } => {
                let file = &mut self.file(fid)?.data;
                let start = usize::try_from(offset).unwrap_or(usize::MAX).min(file.len());
                let count = data.len().min(file.len() - start);
                file[start..start + count].copy_from_slice(&data[..count]);
                Rmsg::Write { count: count as u32 }
            }
            Tmsg::Clunk { fid } => {
                self.fids.remove(&fid).ok_or("no such fid")?;
                Rmsg::Clunk
            }
            Tmsg::Flush { .. } => Rmsg::Flush,
            Tmsg::Wstat { .. } => Rmsg::Wstat,
            _ => return Err("not served here"),
        };
        reply.encode(tag, out);
        Ok(())
    }
}
