//! Regions of a mirror, and sets of them. Pure.

use std::ops::Range;

/// The smallest region, in bytes. A mark costs a write of the log and a wait for the disk, so
/// it should cover what comes next too; what it covers is what must be compared after a crash.
pub const MIN_REGION: u64 = 64 * 1024;

/// Regions of one mirror at most: a set of them is 2 KiB, in memory and in the log, whatever the
/// mirror's length. Beyond 1 GiB regions grow with it.
pub const MAX_REGIONS: u64 = 16 * 1024;

/// How a mirror is cut into regions of one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    length: u64,
    region: u64,
}

impl Scale {
    /// The regions of a mirror of `length` bytes.
    pub fn new(length: u64) -> Self {
        let mut region = MIN_REGION;
        while length.div_ceil(region) > MAX_REGIONS {
            region *= 2;
        }
        Scale { length, region }
    }

    /// The mirror's length, in bytes.
    pub fn length(self) -> u64 {
        self.length
    }

    /// A region's length, in bytes; the last one may be shorter.
    pub fn region(self) -> u64 {
        self.region
    }

    /// How many regions there are.
    pub fn count(self) -> usize {
        self.length.div_ceil(self.region) as usize
    }

    /// The regions that a range of bytes is in; what is beyond the end is left out.
    pub fn span(self, offset: u64, count: u64) -> Range<usize> {
        let end = offset.saturating_add(count).min(self.length);
        if offset >= end {
            return 0..0;
        }
        (offset / self.region) as usize..((end - 1) / self.region) as usize + 1
    }

    /// The bytes of a region.
    pub fn bytes(self, region: usize) -> Range<u64> {
        let start = (region as u64).saturating_mul(self.region).min(self.length);
        start..start.saturating_add(self.region).min(self.length)
    }
}

/// A set of regions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Regions {
    words: Vec<u64>,
    len: usize,
}

const WORD: usize = u64::BITS as usize;

impl Regions {
    /// The empty set of `len` regions.
    pub fn new(len: usize) -> Self {
        Regions { words: vec![0; len.div_ceil(WORD)], len }
    }

    /// Whether a region is in it.
    pub fn has(&self, region: usize) -> bool {
        region < self.len && self.words[region / WORD] >> (region % WORD) & 1 == 1
    }

    /// Whether all of these are in it.
    pub fn has_all(&self, mut span: Range<usize>) -> bool {
        span.all(|region| self.has(region))
    }

    /// Adds regions; those that there are not are passed over.
    pub fn add(&mut self, span: Range<usize>) {
        for region in span.start..span.end.min(self.len) {
            self.words[region / WORD] |= 1 << (region % WORD);
        }
    }

    /// Adds every region there is.
    pub fn add_everything(&mut self) {
        self.add(0..self.len);
    }

    /// Takes one region out.
    pub fn remove(&mut self, region: usize) {
        if region < self.len {
            self.words[region / WORD] &= !(1 << (region % WORD));
        }
    }

    /// Takes all out.
    pub fn clear(&mut self) {
        self.words.fill(0);
    }

    /// Adds what is in the other.
    pub fn unite(&mut self, other: &Regions) {
        self.words.iter_mut().zip(&other.words).for_each(|(word, other)| *word |= other);
    }

    /// Takes out what is in the other.
    pub fn subtract(&mut self, other: &Regions) {
        self.words.iter_mut().zip(&other.words).for_each(|(word, other)| *word &= !other);
    }

    /// Takes out what is not in the other.
    pub fn keep(&mut self, other: &Regions) {
        self.words.iter_mut().zip(&other.words).for_each(|(word, other)| *word &= other);
    }

    /// Whether there is none in it.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|&word| word == 0)
    }

    /// How many are in it.
    pub fn len(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// The first one in it.
    pub fn first(&self) -> Option<usize> {
        let word = self.words.iter().position(|&word| word != 0)?;
        Some(word * WORD + self.words[word].trailing_zeros() as usize)
    }

    /// Those in it, from the lowest.
    pub fn iter(&self) -> impl Iterator<Item = usize> {
        (0..self.len).filter(|&region| self.has(region))
    }

    /// The bytes of a set of `len` regions: region n is bit n%8 of byte n/8.
    pub fn bytes(len: usize) -> usize {
        len.div_ceil(8)
    }

    /// Appends it as [`bytes`](Regions::bytes).
    pub fn encode(&self, out: &mut Vec<u8>) {
        let bytes = self.words.iter().flat_map(|word| word.to_le_bytes());
        out.extend(bytes.take(Self::bytes(self.len)));
    }

    /// The set of `len` regions in these bytes; bits beyond them are passed over.
    pub fn decode(len: usize, bytes: &[u8]) -> Self {
        let mut regions = Regions::new(len);
        for region in (0..len).filter(|region| {
            bytes.get(region / 8).is_some_and(|byte| byte >> (region % 8) & 1 == 1)
        }) {
            regions.add(region..region + 1);
        }
        regions
    }

    /// The same bytes of the mirror as regions of another scale, or more.
    pub fn rescale(&self, from: Scale, to: Scale) -> Self {
        let mut regions = Regions::new(to.count());
        for region in self.iter() {
            let bytes = from.bytes(region);
            regions.add(to.span(bytes.start, bytes.end - bytes.start));
        }
        regions
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_scale_is_bounded_and_covers_any_length() {
        for length in [0, 1, MIN_REGION, MIN_REGION + 1, 1 << 30, (1 << 30) + 1, u64::MAX] {
            let scale = Scale::new(length);
            assert!(scale.count() as u64 <= MAX_REGIONS, "{length}");
            let last = scale.count().saturating_sub(1);
            assert_eq!(scale.bytes(last).end, length, "{length}");
            assert_eq!(scale.span(0, u64::MAX), 0..scale.count(), "{length}");
            assert!(scale.span(length, 1).is_empty() && scale.span(u64::MAX, 1).is_empty());
        }
    }

    proptest! {
        #[test]
        fn a_range_is_in_its_span_and_touches_all_of_it(
            length in 1..u64::MAX, offset in any::<u64>(), count in 1..u64::MAX,
        ) {
            let scale = Scale::new(length);
            let offset = offset % length;
            let end = offset.saturating_add(count).min(length);
            let span = scale.span(offset, count);
            prop_assert!(scale.bytes(span.start).contains(&offset));
            prop_assert!(scale.bytes(span.end - 1).contains(&(end - 1)));
        }

        #[test]
        fn sets_survive_their_bytes_and_a_growing_mirror(
            picks in prop::collection::vec(0..3000usize, 0..40), more in 0..1u64 << 40,
        ) {
            let from = Scale::new(3000 * MIN_REGION - 5);
            let mut set = Regions::new(from.count());
            picks.iter().for_each(|&pick| set.add(pick..pick + 1));
            let mut bytes = Vec::new();
            set.encode(&mut bytes);
            prop_assert_eq!(bytes.len(), Regions::bytes(from.count()));
            prop_assert_eq!(&Regions::decode(from.count(), &bytes), &set);
            let to = Scale::new(from.length() + more);
            let grown = set.rescale(from, to);
            for pick in picks {
                let bytes = from.bytes(pick);
                prop_assert!(grown.has_all(to.span(bytes.start, bytes.end - bytes.start)));
            }
        }
    }
}
