//! The names of the host's users and groups, which may be far away: each is asked for once in a
//! while and no more.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::Errno;

/// How long a name is believed.
const BELIEVED: Duration = Duration::from_secs(60);

/// The longest name of a user or group that is shown, in bytes: what useradd(8) makes has 32. An
/// entry with it, three times, and the longest file name fits any message of a usual length.
const MAX_NAME: usize = 64;

/// How many names are remembered: more than any host's files have owners, unless someone has
/// chown(2)ed to every number there is.
const REMEMBERED: usize = 4096;

/// The names of users and of groups, by number.
#[derive(Debug, Default)]
pub(super) struct Names {
    users: Memory,
    groups: Memory,
}

type Memory = Mutex<HashMap<u32, (Instant, Arc<str>)>>;

impl Names {
    /// The name of a user, or the number of one that has none. EAGAIN if that is not known `now`
    /// and must be.
    pub fn user(&self, uid: u32, now: bool) -> Result<Arc<str>, Errno> {
        recall(&self.users, uid, now, || {
            uzers::get_user_by_uid(uid).and_then(|user| shown(user.name()))
        })
    }

    /// The name of a group, in the same way.
    pub fn group(&self, gid: u32, now: bool) -> Result<Arc<str>, Errno> {
        recall(&self.groups, gid, now, || {
            uzers::get_group_by_gid(gid).and_then(|group| shown(group.name()))
        })
    }

    /// The number of the group that is called this, or has no name but this number.
    pub fn gid(&self, name: &str) -> Option<u32> {
        match uzers::get_group_by_name(name) {
            Some(group) => Some(group.gid()),
            // The highest number means no group at all (chown(2)).
            None => name.parse().ok().filter(|&gid| gid != u32::MAX),
        }
    }
}

fn shown(name: &OsStr) -> Option<Arc<str>> {
    let name = name.to_str()?;
    (1..=MAX_NAME).contains(&name.len()).then(|| name.into())
}

fn recall(
    memory: &Memory,
    id: u32,
    now: bool,
    ask: impl FnOnce() -> Option<Arc<str>>,
) -> Result<Arc<str>, Errno> {
    let lock = || memory.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((since, name)) = lock().get(&id)
        && since.elapsed() < BELIEVED
    {
        return Ok(name.clone());
    }
    if now {
        return Err(Errno::AGAIN);
    }
    let name = ask().unwrap_or_else(|| id.to_string().into());
    let mut names = lock();
    if names.len() >= REMEMBERED {
        names.clear();
    }
    names.insert(id, (Instant::now(), name.clone()));
    Ok(name)
}
