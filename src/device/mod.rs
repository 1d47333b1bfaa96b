//! What a device is: its kind, its length and its arithmetic.
//!
//! A device maps a range of its own bytes to ranges of its inner files. Everything here is
//! computed from lengths that were taken when the device was configured; nothing here reads,
//! writes or knows a file. Offsets and lengths are in bytes.

pub mod cat;
pub mod crypt;
pub mod inter;
pub mod mirror;
pub mod part;
mod rules;
mod table;

pub use rules::Rules;
pub use table::{Slot, Table};

/// How a device puts its inner files together (ds(3)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The same bytes in each.
    Mirror,
    /// One after the other.
    Cat,
    /// In turn, a block of [`inter::BLOCK`] bytes from each.
    Inter,
    /// A range of one.
    Part {
        /// Where in the inner file it starts.
        start: u64,
    },
    /// One, encrypted.
    Crypt,
}

/// A range of one inner file that stands for a range of the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Which inner file, counted from 0.
    pub inner: usize,
    /// Where in it.
    pub offset: u64,
    /// How many bytes, at least 1.
    pub count: u64,
}

/// The arithmetic of one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Geometry {
    kind: Kind,
    length: u64,
    /// What each inner file's length was.
    lengths: Box<[u64]>,
    /// cat: where each inner file ends in the device.
    ends: Box<[u64]>,
}

impl Geometry {
    /// A mirror of inner files of these lengths.
    pub fn mirror(lengths: &[u64]) -> Self {
        Self::new(Kind::Mirror, mirror::length(lengths), lengths)
    }

    /// A cat of inner files of these lengths.
    pub fn cat(lengths: &[u64]) -> Self {
        let ends = cat::ends(lengths);
        let length = ends.last().copied().unwrap_or(0);
        Geometry { ends, ..Self::new(Kind::Cat, length, lengths) }
    }

    /// An inter of inner files of these lengths, as devds has it: all whole blocks of each.
    pub fn inter(lengths: &[u64]) -> Self {
        Self::new(Kind::Inter, inter::length_of_all(lengths), lengths)
    }

    /// An inter of inner files of these lengths, as Plan 9's fs(3) has it: as many blocks of each
    /// as the shortest has.
    pub fn inter_even(lengths: &[u64]) -> Self {
        Self::new(Kind::Inter, inter::length_of_even(lengths), lengths)
    }

    /// A part of an inner file of `inner_length` bytes: what of `start` and `length` is inside it.
    pub fn part(inner_length: u64, start: u64, length: u64) -> Self {
        let (start, length) = part::clamp(inner_length, start, length);
        Self::new(Kind::Part { start }, length, &[inner_length])
    }

    /// A crypt device on an inner file of `inner_length` bytes; `None` if that is too short.
    pub fn crypt(inner_length: u64) -> Option<Self> {
        crypt::length(inner_length).map(|length| Self::new(Kind::Crypt, length, &[inner_length]))
    }

    fn new(kind: Kind, length: u64, lengths: &[u64]) -> Self {
        Geometry { kind, length, lengths: lengths.into(), ends: Box::default() }
    }

    /// How the inner files are put together.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// The length of the device.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The length that inner file `inner` had when the device was configured.
    pub fn inner_length(&self, inner: usize) -> u64 {
        self.lengths.get(inner).copied().unwrap_or(0)
    }

    /// cat: whether a transfer at `offset` comes to inner file `inner` at all, if only with no
    /// bytes: devds starts with the first file that does not end before the offset.
    pub fn comes_to(&self, inner: usize, offset: u64) -> bool {
        self.ends.get(inner).is_some_and(|&end| offset <= end)
    }

    /// What of a transfer of `count` bytes at `offset` is inside the device: nothing from its end
    /// on, and no more than what is left before it.
    pub fn clip(&self, offset: u64, count: u64) -> u64 {
        count.min(self.length.saturating_sub(offset))
    }

    /// What of each inner file a range inside the device is: one run at most, since what follows in the
    /// device follows in the file, too. Inner files that have nothing of it are left out; of a mirror
    /// each has all of it.
    pub fn runs(&self, offset: u64, count: u64) -> Vec<Piece> {
        if count == 0 {
            return Vec::new();
        }
        let all = 0..self.lengths.len();
        let run = |(inner, from, to): (usize, u64, u64)| {
            (from < to).then(|| Piece { inner, offset: from, count: to - from })
        };
        let end = offset.saturating_add(count);
        match self.kind {
            Kind::Mirror => all.filter_map(|inner| run((inner, offset, end))).collect(),
            Kind::Cat => all
                .filter_map(|inner| {
                    let start = if inner == 0 { 0 } else { self.ends[inner - 1] };
                    let within = |at: u64| at.clamp(start, self.ends[inner]) - start;
                    run((inner, within(offset), within(end)))
                })
                .collect(),
            Kind::Inter => {
                let n = self.lengths.len() as u64;
                let before = |inner: usize, at| inter::before(n, inner as u64, at);
                all.filter_map(|inner| run((inner, before(inner, offset), before(inner, end))))
                    .collect()
            }
            Kind::Part { start } => run((0, start + offset, start + end)).into_iter().collect(),
            Kind::Crypt => {
                run((0, crypt::HEADER + offset, crypt::HEADER + end)).into_iter().collect()
            }
        }
    }

    /// The first piece of a range that is inside the device (see [`clip`](Geometry::clip)) and not
    /// empty: the longest run of bytes from `offset` on that is one run in one inner file.
    ///
    /// Of a mirror it is the whole range, in inner file 0: every other holds it at the same place.
    pub fn piece(&self, offset: u64, count: u64) -> Piece {
        match self.kind {
            Kind::Mirror => Piece { inner: 0, offset, count },
            Kind::Cat => cat::piece(&self.ends, offset, count),
            Kind::Inter => inter::piece(self.lengths.len() as u64, offset, count),
            Kind::Part { start } => part::piece(start, offset, count),
            Kind::Crypt => part::piece(crypt::HEADER, offset, count),
        }
    }
}
