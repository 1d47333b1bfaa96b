//! The bytes of a mirror's write-intent log (docs/state-format.md). Pure.
//!
//! The file has two halves; each record fills one, in turn, so that the other holds the last one
//! whatever happens. Every block of 512 bytes has its own checksum and its record's number: a
//! record that a power cut tore is made of sound blocks of two records, and is passed over, while
//! a block that is not sound was damaged later, and makes the file refused.

use thiserror::Error;

use super::intent::{MAX_REGIONS, Regions, Scale};
use super::mirror::Service;

/// Bytes of a block: what a disk writes entirely or not at all.
pub const BLOCK: usize = 512;

/// The halves start at multiples of this, so that no disk's sector is in both.
const ALIGN: usize = 4096;

/// The first bytes of a block after its checksum.
const MAGIC: [u8; 4] = *b"dsWI";

/// The version of the format.
pub const VERSION: u32 = 1;

/// Bytes of a block before its part of the record: checksum, magic, number of the record, number
/// of the block in the file.
const BLOCK_HEADER: usize = 20;
const ROOM: usize = BLOCK - BLOCK_HEADER;

/// Bytes of a record before the first leg.
const HEADER: usize = 64;

/// Bytes of a record for one leg, and those of them for the reason that it is out.
const LEG: usize = 128;
const WHY: usize = 112;

/// The flags of a leg.
const UNSYNCED: u8 = 1;
const UNFILLED: u8 = 2;

/// The most legs that a record has: more than any dialect's mirror.
pub const MAX_LEGS: usize = 256;

/// The longest log: twice the record of [`MAX_LEGS`] legs and [`MAX_REGIONS`], with its blocks'
/// headers.
pub const MAX_LOG: u64 = 2 * 1024 * 1024;

/// Names a mirror by its configuration: the SHA-256 of it.
pub type Identity = [u8; 32];

/// What is kept of one leg.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegRecord {
    /// Its state.
    pub service: Service,
    /// Since when, in milliseconds since 1970.
    pub since: u64,
    /// Why it is out.
    pub why: String,
    /// What must be rewritten.
    pub stale: Regions,
    /// Its server does not sync.
    pub unsynced: bool,
    /// It was replaced, and has not been filled since.
    pub unfilled: bool,
}

/// What is kept of a mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// How it is cut into regions.
    pub scale: Scale,
    /// Its legs.
    pub legs: Vec<LegRecord>,
    /// Regions that may differ between legs.
    pub marked: Regions,
}

/// What a log says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The newest whole record.
    pub record: Record,
    /// Its number.
    pub sequence: u64,
    /// Which half it is in.
    pub half: usize,
    /// Whose it is.
    pub identity: Identity,
}

/// Why a file is refused as a write-intent log.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum LogError {
    /// It is something else.
    #[error("it is no write-intent log of dsfs")]
    Foreign,
    /// Another dsfs wrote it.
    #[error("its format is version {0}, and this dsfs knows version {VERSION}")]
    Version(u32),
    /// A block's checksum is wrong.
    #[error("it is damaged at byte {0}")]
    Damaged(usize),
    /// It is too short or too long, or what it says can't be.
    #[error("it is damaged: {0}")]
    Nonsense(&'static str),
}

impl Record {
    /// A mirror of which nothing is known: its legs are in service, and nothing is marked.
    pub fn new(length: u64, legs: usize) -> Self {
        let scale = Scale::new(length);
        let none = Regions::new(scale.count());
        let (service, since, why, stale) = (Service::In, 0, String::new(), none.clone());
        let leg = LegRecord { service, since, why, stale, unsynced: false, unfilled: false };
        Record { scale, legs: vec![leg; legs], marked: none }
    }

    /// The bytes of half `half` with this record as number `sequence`, and where in the file they
    /// go.
    pub fn encode(&self, identity: &Identity, sequence: u64, half: usize) -> (u64, Vec<u8>) {
        let payload = self.payload(identity);
        let size = half_size(self.legs.len(), self.scale.count());
        ((half * size) as u64, blocks(&payload, size, sequence, half))
    }

    /// A whole new log with this record in it.
    pub fn file(&self, identity: &Identity) -> Vec<u8> {
        let (_, mut file) = self.encode(identity, 1, 0);
        let size = file.len();
        file.extend(blocks(&[], size, 0, 1));
        file
    }

    fn payload(&self, identity: &Identity) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(VERSION.to_le_bytes());
        out.extend((self.legs.len() as u32).to_le_bytes());
        out.extend(self.scale.length().to_le_bytes());
        out.extend(self.scale.region().to_le_bytes());
        out.extend(identity);
        out.resize(HEADER, 0);
        for leg in &self.legs {
            let start = out.len();
            let why = &leg.why[..leg.why.floor_char_boundary(WHY)];
            let service = match leg.service {
                Service::In => 0,
                Service::CatchingUp => 1,
                Service::Out => 2,
                Service::Held => 3,
            };
            let flags = (u8::from(leg.unsynced) * UNSYNCED) | (u8::from(leg.unfilled) * UNFILLED);
            out.extend([service, why.len() as u8, flags, 0, 0, 0, 0, 0]);
            out.extend(leg.since.to_le_bytes());
            out.extend(why.as_bytes());
            out.resize(start + LEG, 0);
        }
        self.marked.encode(&mut out);
        self.legs.iter().for_each(|leg| leg.stale.encode(&mut out));
        out
    }
}

/// Bytes of one half.
fn half_size(legs: usize, regions: usize) -> usize {
    let payload = HEADER + legs * LEG + (legs + 1) * Regions::bytes(regions);
    (payload.div_ceil(ROOM) * BLOCK).next_multiple_of(ALIGN)
}

fn blocks(payload: &[u8], size: usize, sequence: u64, half: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(size);
    let count = size / BLOCK;
    for index in 0..count {
        let start = out.len();
        out.extend([0; 4]);
        out.extend(MAGIC);
        out.extend(sequence.to_le_bytes());
        out.extend(((half * count + index) as u32).to_le_bytes());
        let rest = payload.get(index * ROOM..).unwrap_or_default();
        out.extend(&rest[..rest.len().min(ROOM)]);
        out.resize(start + BLOCK, 0);
        let sum = crc32c::crc32c(&out[start + 4..]);
        out[start..start + 4].copy_from_slice(&sum.to_le_bytes());
    }
    out
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

/// What a log says.
///
/// # Errors
/// If it is none, or damaged, or of another version.
pub fn decode(file: &[u8]) -> Result<Found, LogError> {
    if file.len() < BLOCK || file[4..8] != MAGIC {
        return Err(LogError::Foreign);
    }
    let half = file.len() / 2;
    if !file.len().is_multiple_of(2 * ALIGN) || file.len() as u64 > MAX_LOG {
        return Err(LogError::Nonsense("its length is not one of a log"));
    }
    for (index, block) in file.chunks_exact(BLOCK).enumerate() {
        let sound = u32_at(block, 0) == crc32c::crc32c(&block[4..])
            && block[4..8] == MAGIC
            && u32_at(block, 16) as usize == index;
        if !sound {
            return Err(LogError::Damaged(index * BLOCK));
        }
    }
    let whole = |bytes: &[u8]| {
        let sequence = u64_at(bytes, 8);
        bytes.chunks_exact(BLOCK).all(|block| u64_at(block, 8) == sequence).then_some(sequence)
    };
    let halves = file.chunks_exact(half).enumerate();
    let newest = halves
        .filter_map(|(number, bytes)| Some((whole(bytes)?, number, bytes)))
        .max_by_key(|&(sequence, _, _)| sequence)
        .filter(|&(sequence, _, _)| sequence > 0);
    let (sequence, number, bytes) = newest.ok_or(LogError::Nonsense("no record in it is whole"))?;
    let payload: Vec<u8> =
        bytes.chunks_exact(BLOCK).flat_map(|block| block[BLOCK_HEADER..].iter().copied()).collect();
    let (record, identity) = parse(&payload, half)?;
    Ok(Found { record, sequence, half: number, identity })
}

fn parse(payload: &[u8], half: usize) -> Result<(Record, Identity), LogError> {
    let version = u32_at(payload, 0);
    if version != VERSION {
        return Err(LogError::Version(version));
    }
    let legs = u32_at(payload, 4) as usize;
    let scale = Scale::new(u64_at(payload, 8));
    if legs > MAX_LEGS || u64_at(payload, 16) != scale.region() {
        return Err(LogError::Nonsense("its legs or regions can't be"));
    }
    if scale.count() as u64 > MAX_REGIONS || half_size(legs, scale.count()) != half {
        return Err(LogError::Nonsense("its length is not that of its record"));
    }
    let mut identity = [0; 32];
    identity.copy_from_slice(&payload[24..56]);
    let map = |number: usize| {
        let size = Regions::bytes(scale.count());
        let start = HEADER + legs * LEG + number * size;
        Regions::decode(scale.count(), &payload[start..start + size])
    };
    let leg = |number: usize| {
        let bytes = &payload[HEADER + number * LEG..HEADER + (number + 1) * LEG];
        let service = match bytes[0] {
            0 => Service::In,
            1 => Service::CatchingUp,
            2 => Service::Out,
            3 => Service::Held,
            _ => return Err(LogError::Nonsense("a leg's state is none that there is")),
        };
        let why = bytes[16..].get(..usize::from(bytes[1]));
        let why = why.and_then(|why| std::str::from_utf8(why).ok());
        let why = why.ok_or(LogError::Nonsense("a leg's reason is no text"))?.to_string();
        if bytes[2] & !(UNSYNCED | UNFILLED) != 0 {
            return Err(LogError::Nonsense("a leg's flags are none that there are"));
        }
        let (unsynced, unfilled) = (bytes[2] & UNSYNCED != 0, bytes[2] & UNFILLED != 0);
        let (since, stale) = (u64_at(bytes, 8), map(number + 1));
        Ok(LegRecord { service, since, why, stale, unsynced, unfilled })
    };
    let legs = (0..legs).map(leg).collect::<Result<_, _>>()?;
    Ok((Record { scale, legs, marked: map(0) }, identity))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const IDENTITY: Identity = [7; 32];

    fn record() -> impl Strategy<Value = Record> {
        let regions = prop::collection::vec(0..300usize, 0..9);
        let flags = any::<(bool, bool)>();
        let leg = (0..4u8, any::<u64>(), "\\PC{0,60}", regions.clone(), flags);
        (1..300u64 * 65536, prop::collection::vec(leg, 1..9), regions).prop_map(
            |(length, legs, marked)| {
                let scale = Scale::new(length);
                let set = |picks: Vec<usize>| {
                    let mut set = Regions::new(scale.count());
                    picks.into_iter().for_each(|pick| set.add(pick..pick + 1));
                    set
                };
                let leg =
                    |(service, since, why, stale, flags): (u8, _, String, _, (bool, bool))| {
                        LegRecord {
                            service: [
                                Service::In,
                                Service::CatchingUp,
                                Service::Out,
                                Service::Held,
                            ][usize::from(service)],
                            since,
                            why: why[..why.floor_char_boundary(WHY)].to_string(),
                            stale: set(stale),
                            unsynced: flags.0,
                            unfilled: flags.1,
                        }
                    };
                Record { scale, legs: legs.into_iter().map(leg).collect(), marked: set(marked) }
            },
        )
    }

    proptest! {
        #[test]
        fn a_record_comes_back_and_the_newest_counts(old in record(), new in any::<bool>()) {
            let mut file = old.file(&IDENTITY);
            let mut next = old.clone();
            next.marked.add_everything();
            if new {
                let (offset, bytes) = next.encode(&IDENTITY, 2, 1);
                file[offset as usize..][..bytes.len()].copy_from_slice(&bytes);
            }
            let found = decode(&file).expect("a sound log");
            prop_assert_eq!(&found.record, if new { &next } else { &old });
            prop_assert_eq!((found.sequence, found.half, found.identity),
                if new { (2, 1, IDENTITY) } else { (1, 0, IDENTITY) });
        }

        /// Whatever blocks of a record a power cut left out, the one before it counts.
        #[test]
        fn a_torn_record_is_passed_over(old in record(), kept in any::<u64>()) {
            let mut file = old.file(&IDENTITY);
            let mut next = old.clone();
            next.marked.add_everything();
            let (offset, bytes) = next.encode(&IDENTITY, 2, 1);
            let count = bytes.len() / BLOCK;
            let mut whole = true;
            for (index, block) in bytes.chunks(BLOCK).enumerate() {
                if kept >> (index % 64) & 1 == 1 {
                    file[offset as usize + index * BLOCK..][..BLOCK].copy_from_slice(block);
                } else {
                    whole = false;
                }
            }
            prop_assert!(count >= 8);
            let found = decode(&file).expect("a torn record is no damage");
            prop_assert_eq!(found.record, if whole { next } else { old });
        }

        #[test]
        fn any_damage_is_refused(old in record(), at in any::<prop::sample::Index>(), bit in 0..8u8) {
            let mut file = old.file(&IDENTITY);
            let at = at.index(file.len());
            file[at] ^= 1u8 << bit;
            prop_assert!(decode(&file).is_err());
            file[at] ^= 1u8 << bit;
            file.truncate(at);
            prop_assert!(decode(&file).is_err());
        }

        #[test]
        fn a_sound_block_that_says_what_cant_be_is_refused(old in record()) {
            let good = old.file(&IDENTITY);
            // The number of legs, the length of a region, a leg's state, its reason and its flags.
            let first = HEADER;
            for (at, byte) in [(5, 9), (16, 1), (first, 4), (first + 1, 113), (first + 2, 4)] {
                let mut file = good.clone();
                file[BLOCK_HEADER + at] = byte;
                let sum = crc32c::crc32c(&file[4..BLOCK]);
                file[..4].copy_from_slice(&sum.to_le_bytes());
                prop_assert!(matches!(decode(&file), Err(LogError::Nonsense(_))), "byte {at}");
            }
        }

        #[test]
        fn any_bytes_are_taken_or_refused(mut file in prop::collection::vec(any::<u8>(), 0..9000)) {
            prop_assert!(decode(&file).is_err());
            file.resize(8192, 0);
            for (index, block) in file.chunks_exact_mut(BLOCK).enumerate() {
                block[4..8].copy_from_slice(&MAGIC);
                block[16..20].copy_from_slice(&(index as u32).to_le_bytes());
                let sum = crc32c::crc32c(&block[4..]);
                block[..4].copy_from_slice(&sum.to_le_bytes());
            }
            // Whatever is in it: sound checksums are no reason to trust it, or to panic.
            let _ = decode(&file);
        }
    }
}
