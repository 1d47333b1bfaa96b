//! Where frames are put together to be sent: a `Vec<u8>`, or a [`Buffer`] that is used over and
//! over. Nothing here knows what is in a frame, but for where the data of a read lie well.

use std::ops::{Deref, Range};

use crate::encode::RREAD_HEADER;

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

/// Pages of memory, in bytes, as files are kept in, too.
const PAGE: usize = 4096;

/// Where in its page a [`Buffer`] begins, in bytes. The data of an Rread that is the first frame then begin
/// with a cache line, and those of the next ones, each a header further, not in the first bytes of a page: some
/// processors (AMD's Zen 3) copy at a third of their speed to where is up to 31 bytes further into a page
/// than what is copied, and pieces of files begin with a page.
const FIRST: usize = 64 - RREAD_HEADER;

/// A growing run of bytes, like a `Vec<u8>`, that keeps its memory initialised: when it has been
/// [cleared](Buffer::clear), room in it costs nothing until it grows beyond what it has ever held.
///
/// So what is in fresh room is what was sent before. Whoever asks for room writes all of it, or
/// gives the rest back.
#[derive(Debug, Default)]
pub struct Buffer {
    /// Every byte of it is initialised; those before `start` and from `end` on are of no account.
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// An empty buffer, which takes no memory yet.
    pub const fn new() -> Self {
        Buffer { bytes: Vec::new(), start: 0, end: 0 }
    }

    /// Empties it. Its memory stays.
    pub fn clear(&mut self) {
        self.end = self.start;
    }

    /// Whether nothing is in it.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.end == self.start
    }

    /// How many bytes of memory it takes.
    pub fn memory(&self) -> usize {
        self.bytes.capacity()
    }

    /// Takes off the first `count` bytes.
    ///
    /// # Panics
    /// If there are fewer.
    #[inline]
    pub fn take_off(&mut self, count: usize) {
        if count == self.len() {
            self.clear();
        } else if count > 0 {
            self.take_out(0..count);
        }
    }

    /// Takes out these bytes; those after them move up.
    ///
    /// # Panics
    /// If they are not all there.
    pub fn take_out(&mut self, range: Range<usize>) {
        let moved = self.start + range.end..self.end;
        self.bytes.copy_within(moved, self.start + range.start);
        self.end -= range.len();
    }

    /// Initialises all that is to be in it, in more memory if there is not enough.
    #[cold]
    fn grow(&mut self) {
        if self.end > self.bytes.capacity() {
            let (twice, len) = (2 * self.bytes.capacity(), self.end - self.start);
            let mut bytes: Vec<u8> = Vec::with_capacity(twice.max(PAGE + len));
            let start = FIRST.wrapping_sub(bytes.as_ptr().addr()) % PAGE;
            bytes.resize(start, 0);
            bytes.extend_from_slice(&self.bytes[self.start..]);
            *self = Buffer { bytes, start, end: start + len };
        }
        self.bytes.resize(self.end, 0);
    }
}

impl Output for Buffer {
    #[inline]
    fn end(&self) -> usize {
        self.end - self.start
    }

    #[inline]
    fn append(&mut self, bytes: &[u8]) {
        self.append_room(bytes.len());
        let start = self.end - bytes.len();
        self.bytes[start..self.end].copy_from_slice(bytes);
    }

    #[inline]
    fn append_room(&mut self, count: usize) {
        self.end += count;
        if self.end > self.bytes.len() {
            self.grow();
        }
    }

    #[inline]
    fn cut(&mut self, end: usize) {
        self.end = self.end.min(self.start + end);
    }

    #[inline]
    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.end]
    }
}

impl Deref for Buffer {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }
}
