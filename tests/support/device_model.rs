//! What a device is, in the plainest way: for each byte, which byte of which inner file it is. A
//! model holds the files in memory and does one read or write at a time. It shares no code with
//! dsfs: it is written from ds(3), fs(3) and the golden README files.

#![allow(dead_code, reason = "each program uses its own part of this")]

use aes::Aes128;
use aes::cipher::{Block, BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use dsfs::ctl::Dialect;

/// Where each byte of a device is: its inner file and the place there, written down one by one in
/// the words of ds(3) and fs(3).
pub type Places = Vec<(usize, u64)>;

/// The first file from its start to its end, then the next.
pub fn cat_places(lengths: &[u64]) -> Places {
    let all = |(file, &length): (usize, &u64)| (0..length).map(move |at| (file, at));
    lengths.iter().enumerate().flat_map(all).collect()
}

/// A block from each file in turn, `blocks` in all.
pub fn inter_places(files: usize, blocks: u64) -> Places {
    let mut places = Vec::new();
    let mut used = vec![0; files];
    let turns = (0..files).cycle();
    for (_, file) in (0..blocks).zip(turns) {
        places.extend((0..BLOCK).map(|byte| (file, used[file] + byte)));
        used[file] += BLOCK;
    }
    places
}

/// The least length, in which a running 0 is replaced by the next: of (300, 0, 100) it is 100
/// (PLAN9.md, Commands).
pub fn running_least(lengths: &[u64]) -> u64 {
    let mut least = 0;
    for &length in lengths {
        least = if least == 0 { length } else { least.min(length) };
    }
    least
}

/// One file, from `start` on.
pub fn range_places(start: u64, length: u64) -> Places {
    (start..start + length).map(|at| (0, at)).collect()
}

/// The blocks of an inter, in bytes (ds(3)).
pub const BLOCK: u64 = 8192;

/// The sectors of a crypt device, and what it leaves alone at the start of its file, in bytes
/// (PLAN9.md).
pub const SECTOR: u64 = 512;
pub const HEADER: u64 = 65536;

/// How a device is made, before anything is there. The numbers of a part are taken from its inner
/// file when that is known: see [`Node::build`].
#[derive(Clone, Debug)]
pub enum Shape {
    /// A file of this length.
    File(u64),
    Mirror(Vec<Shape>),
    Cat(Vec<Shape>),
    Inter(Vec<Shape>),
    /// Start and length, each in 65536ths of the inner file's length and bytes more.
    Part(Box<Shape>, (u16, u8), (u16, u8)),
    /// A file of a header, then this; both in a cat.
    Crypt(Box<Shape>),
}

/// What a node of a model is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The file with this number.
    File(usize),
    Mirror,
    Cat,
    Inter,
    /// From here, this many bytes.
    Part(u64, u64),
    Crypt,
}

/// A device or a file of a model.
#[derive(Clone, Debug)]
pub struct Node {
    pub kind: Kind,
    pub inner: Vec<Node>,
    pub length: u64,
    /// Where each byte is; of a mirror, where it is in every inner file.
    places: Places,
}

/// Why a transfer fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// `i/o error`.
    Io,
    /// `bad arg in system call`.
    BadArg,
    /// The model does not say: a write to a mirror of which a leg fails.
    Unknown,
}

impl Refusal {
    /// What the client is told.
    pub fn text(self) -> &'static str {
        match self {
            Refusal::Io => "i/o error",
            Refusal::BadArg => "bad arg in system call",
            Refusal::Unknown => "?",
        }
    }
}

/// What the inner files hold.
pub type Files = Vec<Vec<u8>>;

impl Node {
    /// The model of `shape`; its files get the next numbers, and their first bytes.
    pub fn build(shape: &Shape, dialect: Dialect, files: &mut Files) -> Node {
        let mut all = |shapes: &[Shape]| -> Vec<Node> {
            shapes.iter().map(|shape| Node::build(shape, dialect, files)).collect()
        };
        let (kind, inner) = match shape {
            Shape::File(length) => {
                let number = files.len();
                files.push((0..*length).map(|at| first_byte(number, at)).collect());
                let places = range_places(0, *length);
                return Node { kind: Kind::File(number), inner: vec![], length: *length, places };
            }
            Shape::Mirror(inner) => (Kind::Mirror, all(inner)),
            Shape::Cat(inner) => (Kind::Cat, all(inner)),
            Shape::Inter(inner) => (Kind::Inter, all(inner)),
            Shape::Part(inner, start, length) => {
                let inner = all(std::slice::from_ref(inner));
                let of = |(part, more): (u16, u8)| {
                    ((inner[0].length * u64::from(part)) >> 16) + u64::from(more)
                };
                let start = of(*start).min(inner[0].length);
                let length = of(*length).min(inner[0].length - start);
                (Kind::Part(start, length), inner)
            }
            Shape::Crypt(inner) => {
                let cat = Shape::Cat(vec![Shape::File(HEADER), (**inner).clone()]);
                (Kind::Crypt, all(&[cat]))
            }
        };
        let lengths: Vec<u64> = inner.iter().map(|node| node.length).collect();
        let places = match kind {
            Kind::File(_) | Kind::Cat => cat_places(&lengths),
            Kind::Mirror => range_places(0, lengths.iter().copied().min().unwrap_or(0)),
            Kind::Inter => {
                let count = lengths.len() as u64;
                let blocks = match dialect {
                    Dialect::Devds => lengths.iter().map(|length| length / BLOCK).sum(),
                    Dialect::Plan9 => running_least(&lengths) / BLOCK * count,
                };
                inter_places(inner.len(), blocks)
            }
            Kind::Part(start, length) => range_places(start, length),
            Kind::Crypt => range_places(HEADER, (lengths[0] - HEADER) / SECTOR * SECTOR),
        };
        Node { kind, inner, length: places.len() as u64, places }
    }

    /// How much of a transfer is inside the device.
    pub fn inside(&self, offset: u64, count: u64) -> u64 {
        if offset >= self.length { 0 } else { count.min(self.length - offset) }
    }

    /// What is inside as runs that are one range of one inner file, and of one block: the file,
    /// the place in it, and how long.
    pub fn runs(&self, offset: u64, count: u64) -> Vec<(usize, u64, u64)> {
        let mut runs: Vec<(usize, u64, u64)> = Vec::new();
        for at in offset..offset + count {
            let (file, place) = self.places[at as usize];
            let new_block = self.kind == Kind::Inter && at % BLOCK == 0;
            match runs.last_mut() {
                Some((last, start, length))
                    if *last == file && *start + *length == place && !new_block =>
                {
                    *length += 1;
                }
                _ => runs.push((file, place, 1)),
            }
        }
        runs
    }

    /// Reads `count` bytes at `offset`.
    pub fn read(&self, files: &Files, offset: u64, count: u64) -> Result<Vec<u8>, Refusal> {
        let count = self.inside(offset, count);
        match self.kind {
            Kind::File(number) => {
                Ok(files[number][offset as usize..(offset + count) as usize].to_vec())
            }
            _ if count == 0 => Ok(Vec::new()),
            Kind::Mirror => {
                let mut legs = self.inner.iter().map(|leg| leg.read(files, offset, count));
                legs.find_map(Result::ok).ok_or(Refusal::Io)
            }
            Kind::Cat | Kind::Inter | Kind::Part(..) => {
                let mut data = Vec::new();
                for (inner, place, length) in self.runs(offset, count) {
                    self.check_end(inner, place, length)?;
                    data.extend(self.inner[inner].read(files, place, length)?);
                }
                Ok(data)
            }
            Kind::Crypt => {
                check_sectors(offset, count)?;
                let mut data = self.inner[0].read(files, HEADER + offset, count)?;
                for (number, sector) in data.chunks_mut(SECTOR as usize).enumerate() {
                    xts(sector, HEADER + offset + number as u64 * SECTOR, false);
                }
                Ok(data)
            }
        }
    }

    /// Writes `data` at `offset`: how many bytes were taken.
    pub fn write(&self, files: &mut Files, offset: u64, data: &[u8]) -> Result<u64, Refusal> {
        let count = self.inside(offset, data.len() as u64);
        let data = &data[..count as usize];
        match self.kind {
            _ if count == 0 => {}
            Kind::File(number) => {
                files[number][offset as usize..(offset + count) as usize].copy_from_slice(data);
            }
            Kind::Mirror => {
                for leg in self.inner.iter().rev() {
                    leg.write(files, offset, data).map_err(|_| Refusal::Unknown)?;
                }
            }
            Kind::Cat | Kind::Inter | Kind::Part(..) => {
                let mut rest = data;
                for (inner, place, length) in self.runs(offset, count) {
                    let (now, later) = rest.split_at(length as usize);
                    self.check_end(inner, place, length)?;
                    self.inner[inner].write(files, place, now)?;
                    rest = later;
                }
            }
            Kind::Crypt => {
                check_sectors(offset, count)?;
                let mut data = data.to_vec();
                for (number, sector) in data.chunks_mut(SECTOR as usize).enumerate() {
                    xts(sector, HEADER + offset + number as u64 * SECTOR, true);
                }
                self.inner[0].write(files, HEADER + offset, &data)?;
            }
        }
        Ok(count)
    }

    /// devds's inter has blocks past the end of a file that is shorter than others (D9).
    fn check_end(&self, inner: usize, place: u64, length: u64) -> Result<(), Refusal> {
        if place + length > self.inner[inner].length { Err(Refusal::Io) } else { Ok(()) }
    }

    /// This and all that is inside it.
    pub fn all(&self) -> Vec<&Node> {
        let inner = self.inner.iter().flat_map(Node::all);
        std::iter::once(self).chain(inner).collect()
    }
}

fn check_sectors(offset: u64, count: u64) -> Result<(), Refusal> {
    let whole = offset.is_multiple_of(SECTOR) && count.is_multiple_of(SECTOR);
    if whole { Ok(()) } else { Err(Refusal::BadArg) }
}

/// What a file holds at first.
fn first_byte(file: usize, at: u64) -> u8 {
    (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8 ^ (file as u8).wrapping_mul(29)
}

/// The key of every crypt device: the half that makes the tweak, and the half for the data.
const TWEAK_KEY: [u8; 16] = *b"tweak of devices";
const DATA_KEY: [u8; 16] = *b"data in devices.";

/// That key as a control message has it.
pub fn key_hex() -> String {
    TWEAK_KEY.iter().chain(&DATA_KEY).map(|byte| format!("{byte:02x}")).collect()
}

/// AES-XTS of one sector, as IEEE 1619 describes it: each block with a mask on both sides, which is
/// multiplied by x in GF(2^128) from block to block.
fn xts(sector: &mut [u8], offset: u64, encrypt: bool) {
    let data_key = Aes128::new(&DATA_KEY.into());
    let mut tweak = Block::<Aes128>::default();
    tweak[..8].copy_from_slice(&offset.to_le_bytes());
    Aes128::new(&TWEAK_KEY.into()).encrypt_block(&mut tweak);
    let mut mask = u128::from_le_bytes(tweak.into());
    for block in sector.chunks_exact_mut(16) {
        let masked = |block: &[u8]| {
            let value = u128::from_le_bytes(block.try_into().expect("16 bytes"));
            (value ^ mask).to_le_bytes()
        };
        let mut work = masked(block).into();
        match encrypt {
            true => data_key.encrypt_block(&mut work),
            false => data_key.decrypt_block(&mut work),
        }
        block.copy_from_slice(&masked(&work));
        mask = mask << 1 ^ if mask >> 127 == 1 { 0x87 } else { 0 };
    }
}
