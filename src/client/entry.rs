//! What the client keeps of a directory entry.

use styx::{Qid, Stat};

/// A directory entry that outlives the message it came in. The fields are those of [`Stat`];
/// times are in seconds since 1970, the length in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are stat(5)'s own")]
pub struct Entry {
    pub qid: Qid,
    pub mode: u32,
    pub atime: u32,
    pub mtime: u32,
    pub length: u64,
    pub name: String,
    pub uid: String,
    pub gid: String,
    pub muid: String,
}

impl From<&Stat<'_>> for Entry {
    fn from(stat: &Stat<'_>) -> Self {
        Entry {
            qid: stat.qid,
            mode: stat.mode,
            atime: stat.atime,
            mtime: stat.mtime,
            length: stat.length,
            name: stat.name.into(),
            uid: stat.uid.into(),
            gid: stat.gid.into(),
            muid: stat.muid.into(),
        }
    }
}
