//! Where frames are put together to be sent: a `Vec<u8>`, or a [`Buffer`] that is used over and
//! over. Nothing here knows what is in a frame.

use std::ops::Deref;

/// What frames are appended to.
pub trait Output {
    /// How many bytes are in it.
    fn end(&self) -> usize;

    /// Appends these bytes.
    fn append(&mut self, bytes: &[u8]);

    /// Appends `count` bytes for the caller to write. Until then they are of no account: zeros, or
    /// what was there before.
    fn append_room(&mut self, count: usize);

    /// Takes off what comes after the first `end` bytes, if anything does.
    fn cut(&mut self, end: usize);

    /// All that is in it.
    fn bytes_mut(&mut self) -> &mut [u8];
}

impl Output for Vec<u8> {
    fn end(&self) -> usize {
        self.len()
    }

    fn append(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    fn append_room(&mut self, count: usize) {
        self.resize(self.len() + count, 0);
    }

    fn cut(&mut self, end: usize) {
        self.truncate(end);
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        self
    }
}

/// A growing run of bytes, like a `Vec<u8>`, that keeps its memory initialised: when it has been
/// [cleared](Buffer::clear), room in it costs nothing until it grows beyond what it has ever held.
///
/// So what is in fresh room is what was sent before. Whoever asks for room writes all of it, or
/// gives the rest back.
#[derive(Debug, Default)]
pub struct Buffer {
    /// Every byte of it is initialised; those from `end` on are of no account.
    bytes: Vec<u8>,
    end: usize,
}

impl Buffer {
    /// An empty buffer, which takes no memory yet.
    pub const fn new() -> Self {
        Buffer { bytes: Vec::new(), end: 0 }
    }

    /// Empties it. Its memory stays.
    pub fn clear(&mut self) {
        self.end = 0;
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.end == 0
    }

    /// How many bytes of memory it takes.
    pub fn memory(&self) -> usize {
        self.bytes.capacity()
    }

    /// Takes off the first `count` bytes.
    ///
    /// # Panics
    /// If there are fewer.
    pub fn take_off(&mut self, count: usize) {
        if count > 0 {
            self.bytes.copy_within(count..self.end, 0);
            self.end -= count;
        }
    }
}

impl Output for Buffer {
    fn end(&self) -> usize {
        self.end
    }

    #[inline]
    fn append(&mut self, bytes: &[u8]) {
        let start = self.end;
        self.append_room(bytes.len());
        self.bytes[start..self.end].copy_from_slice(bytes);
    }

    #[inline]
    fn append_room(&mut self, count: usize) {
        self.end += count;
        if self.end > self.bytes.len() {
            self.bytes.resize(self.end, 0);
        }
    }

    fn cut(&mut self, end: usize) {
        self.end = self.end.min(end);
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.end]
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.end]
    }
}
