//! One number for all that happened in a world: two worlds of one seed have the same. What the host
//! decides, as the qids of files, must stay out of it.

/// A hash that grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest(u64);

impl Digest {
    /// Something happened.
    pub fn add(&mut self, what: u64) {
        self.0 = (self.0 ^ what).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }

    /// As [`Digest::add`], of bytes.
    pub fn add_bytes(&mut self, bytes: &[u8]) {
        self.add(u64::from(crc32c::crc32c(bytes)) << 32 | bytes.len() as u64);
    }
}
