//! All that happens in a world: as one number, which two worlds of one seed have in common, and as
//! lines of text for who wants to see (`DSFS_TRACE`). What the host decides, as the qids of files,
//! must stay out of the number.

/// A hash that grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest {
    hash: u64,
    trace: bool,
}

impl Digest {
    /// Nothing has happened yet.
    pub fn new() -> Digest {
        Digest { hash: 0, trace: std::env::var_os("DSFS_TRACE").is_some() }
    }

    /// Something happened.
    pub fn add(&mut self, what: u64) {
        self.hash = (self.hash ^ what).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }

    /// As [`Digest::add`], of bytes.
    pub fn add_bytes(&mut self, bytes: &[u8]) {
        self.add(u64::from(crc32c::crc32c(bytes)) << 32 | bytes.len() as u64);
    }

    /// What happened, for people.
    pub fn tell(&self, what: impl FnOnce() -> String) {
        if self.trace {
            println!("{}", what());
        }
    }
}
