//! What the fuzz targets do with their bytes: a function for each, which panics when something is
//! wrong. The test `fuzz_seeds` calls the same functions on the stable compiler.

use std::net::{IpAddr, Ipv4Addr};

use dsfs::allow::Net;
use dsfs::ctl::{
    Command, Devices, Dialect, DiskDefaults, Keys, Pattern, line, parse, parse_saved, saved,
};
use dsfs::dial::Addr;
use dsfs::integrity::{config, log};
use dsfs::limits;
use dsfs::namespace::{Table, file};

/// The longest error text of a control message, in bytes.
const MAX_ERROR: usize = 128;

/// Devices of which one in two is there, and no directory is full.
struct Half;

impl Devices for Half {
    fn is_taken(&self, _: &str, name: &str) -> bool {
        name.len().is_multiple_of(2)
    }
    fn is_full(&self, _: &str) -> bool {
        false
    }
    fn any(&self, _: &Pattern) -> bool {
        true
    }
}

/// None are there, and there is room for all.
struct Nothing;

impl Devices for Nothing {
    fn is_taken(&self, _: &str, _: &str) -> bool {
        false
    }
    fn is_full(&self, _: &str) -> bool {
        false
    }
    fn any(&self, _: &Pattern) -> bool {
        false
    }
}

/// A control message is refused with a text of the length that it may have, or its device is printed
/// as a line that makes the same device.
pub fn ctl(data: &[u8]) {
    let disk = DiskDefaults::default();
    for dialect in Dialect::ALL {
        if let Err(error) = parse(dialect, data, &Half, &disk) {
            assert!(error.len() <= MAX_ERROR, "{error:?}");
        }
        match parse(dialect, data, &Nothing, &disk) {
            Err(error) => assert!(error.len() <= MAX_ERROR, "{error:?}"),
            Ok(Command::Configure(config)) => {
                assert!(config.name.len() <= limits::NAME, "{config:?}");
                let text = line(dialect, &config);
                let keys = Keys::default();
                let again = parse_saved(dialect, text.as_bytes(), &Nothing, &disk, &keys);
                let Ok(Command::Configure(again)) = again else { panic!("{text:?}: {again:?}") };
                assert_eq!(line(dialect, &again), text);
            }
            Ok(_) => {}
        }
    }
}

/// A saved configuration is refused, or is lines that are all there.
pub fn saved(data: &[u8]) {
    for dialect in Dialect::ALL {
        let Ok(lines) = saved::messages(dialect, data) else { continue };
        for line in lines {
            let start = line.message.trim_ascii_end();
            assert!(data.windows(start.len().max(1)).any(|part| part == start) || start.is_empty());
            let _ = line.refused(dialect, "why").to_string();
        }
    }
}

/// A file of keys is refused, and the error shows none of its long words; or it is taken.
pub fn keys(data: &[u8]) {
    const SECRET: usize = 32;
    if let Err(error) = Keys::parse(data) {
        let told = error.to_string();
        let words = data.split(|byte| byte.is_ascii_whitespace());
        for word in words.filter(|word| word.len() >= SECRET) {
            if let Ok(word) = std::str::from_utf8(word) {
                assert!(!told.contains(word), "{told}");
            }
        }
    }
}

/// A name space file is refused, with a line that it has, or is a table.
pub fn namespace(data: &[u8]) {
    let variable = |name: &str| (name.len() == 1).then(|| "/value of it".to_owned());
    let lines = data.iter().filter(|&&byte| byte == b'\n').count() + 1;
    match file::parse("file", data, &variable) {
        Ok(parsed) => assert!(parsed.len() <= lines),
        Err(error) => assert!(error.line <= lines, "{error}"),
    }
    // A file that includes itself comes to an end.
    let mut include = |_: &str| Ok(data.to_vec());
    let _ = Table::build("file", data, &variable, &mut include);
}

/// The configuration of a state directory is refused, or is what is written for its text; and what is
/// written for any text reads back.
pub fn config(data: &[u8]) {
    for dialect in ["devds", "plan9"] {
        if let Ok(text) = config::decode(data, dialect) {
            assert_eq!(config::encode(dialect, text), data);
        }
        assert_eq!(config::decode(&config::encode(dialect, data), dialect), Ok(data));
    }
}

/// A log is refused, or what it says is written as a log that says the same. So it is with these bytes
/// as a record in sound blocks, since none would find a checksum.
pub fn log(data: &[u8]) {
    for file in [data, &in_blocks(data)] {
        let Ok(found) = log::decode(file) else { continue };
        let again = log::decode(&found.record.file(&found.identity)).expect("it is ours");
        assert_eq!((again.record, again.identity), (found.record, found.identity));
    }
}

/// A log whose first half is these bytes, with all that a block has beside its part of them.
fn in_blocks(data: &[u8]) -> Vec<u8> {
    const ROOM: usize = log::BLOCK - 20;
    let half = data.len().div_ceil(ROOM).next_multiple_of(8).max(8);
    let block = |index: usize| {
        let mut block = vec![0; log::BLOCK];
        block[4..8].copy_from_slice(b"dsWI");
        block[8] = u8::from(index < half);
        block[16..20].copy_from_slice(&(index as u32).to_le_bytes());
        if let Some(part) = data.chunks(ROOM).nth(index) {
            block[20..20 + part.len()].copy_from_slice(part);
        }
        let sum = crc32c::crc32c(&block[4..]);
        block[..4].copy_from_slice(&sum.to_le_bytes());
        block
    };
    (0..2 * half).map(block).collect::<Vec<_>>().concat()
}

/// A dial string or a network is refused, or is one that reads back as the same.
pub fn address(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for addr in [text.parse::<Addr>(), Addr::to_dial(text)].into_iter().flatten() {
        assert_eq!(addr.to_string().parse::<Addr>().expect("it was read"), addr);
    }
    if let Ok(net) = text.parse::<Net>() {
        let _ = net.contains(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
}
