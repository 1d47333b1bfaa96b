//! Every message and entry comes back as it was written, has the layout of the manual, and nothing
//! that differs from it by a byte decodes to something else than what its bytes say.

mod common;

use common::parts::{Parts, RKINDS, TKINDS, parts, resize, rframe, tframe};
use proptest::prelude::*;
use styx::decode::DecodeError;
use styx::encode::TooLong;
use styx::{BadStat, NOFID, NOTAG, Qid, Rmsg, STATFIXLEN, Stat, Tmsg, UpTo16};

/// Bytes written as hexadecimal digits with blanks between the fields.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

const QID: Qid = Qid { kind: 0x80, vers: 0x0403_0201, path: 0x0807_0605_0403_0201 };

#[test]
fn t_messages_have_the_layout_of_the_manual() {
    let names = UpTo16::from_slice(&["ab", ""]).unwrap();
    let rows = [
        (
            Tmsg::Version { msize: 8216, version: "9P2000" },
            "13000000 64 ffff 18200000 0600 395032303030",
        ),
        (Tmsg::Auth { afid: 1, uname: "u", aname: "" }, "10000000 66 ffff 01000000 0100 75 0000"),
        (
            Tmsg::Attach { fid: 1, afid: NOFID, uname: "u", aname: "a" },
            "15000000 68 ffff 01000000 ffffffff 0100 75 0100 61",
        ),
        (Tmsg::Flush { oldtag: 0x0201 }, "09000000 6c ffff 0102"),
        (
            Tmsg::Walk { fid: 1, newfid: 2, names },
            "17000000 6e ffff 01000000 02000000 0200 0200 6162 0000",
        ),
        (Tmsg::Open { fid: 1, mode: 17 }, "0c000000 70 ffff 01000000 11"),
        (
            Tmsg::Create { fid: 1, name: "n", perm: 0x8000_01ff, mode: 2 },
            "13000000 72 ffff 01000000 0100 6e ff010080 02",
        ),
        (
            Tmsg::Read { fid: 1, offset: 0x0807_0605_0403_0201, count: 3 },
            "17000000 74 ffff 01000000 0102030405060708 03000000",
        ),
        (
            Tmsg::Write { fid: 1, offset: 2, data: &[9, 8, 7] },
            "1a000000 76 ffff 01000000 0200000000000000 03000000 090807",
        ),
        (Tmsg::Clunk { fid: 1 }, "0b000000 78 ffff 01000000"),
        (Tmsg::Remove { fid: 1 }, "0b000000 7a ffff 01000000"),
        (Tmsg::Stat { fid: 1 }, "0b000000 7c ffff 01000000"),
        (Tmsg::Wstat { fid: 1, stat: &[9, 8] }, "0f000000 7e ffff 01000000 0200 0908"),
    ];
    assert_eq!(rows.len(), TKINDS);
    for (message, bytes) in rows {
        assert_eq!(tframe(NOTAG, &message), hex(bytes), "{message:?}");
        assert_eq!(Tmsg::decode(&hex(bytes)), Ok((NOTAG, message)));
    }
}

#[test]
fn r_messages_have_the_layout_of_the_manual() {
    let qid = "80 01020304 0102030405060708";
    let qids = UpTo16::from_slice(&[QID]).unwrap();
    let rows = [
        (
            Rmsg::Version { msize: 8216, version: "9P2000" },
            "13000000 65 0100 18200000 0600 395032303030",
        ),
        (Rmsg::Auth { aqid: QID }, &*format!("14000000 67 0100 {qid}")),
        (Rmsg::Attach { qid: QID }, &*format!("14000000 69 0100 {qid}")),
        (Rmsg::Error { ename: "no" }, "0b000000 6b 0100 0200 6e6f"),
        (Rmsg::Flush, "07000000 6d 0100"),
        (Rmsg::Walk { qids }, &*format!("16000000 6f 0100 0100 {qid}")),
        (Rmsg::Open { qid: QID, iounit: 5 }, &*format!("18000000 71 0100 {qid} 05000000")),
        (Rmsg::Create { qid: QID, iounit: 5 }, &*format!("18000000 73 0100 {qid} 05000000")),
        (Rmsg::Read { data: &[9, 8, 7] }, "0e000000 75 0100 03000000 090807"),
        (Rmsg::Write { count: 3 }, "0b000000 77 0100 03000000"),
        (Rmsg::Clunk, "07000000 79 0100"),
        (Rmsg::Remove, "07000000 7b 0100"),
        (Rmsg::Stat { stat: &[9, 8] }, "0b000000 7d 0100 0200 0908"),
        (Rmsg::Wstat, "07000000 7f 0100"),
    ];
    assert_eq!(rows.len(), RKINDS);
    for (message, bytes) in rows {
        assert_eq!(rframe(1, &message), hex(bytes), "{message:?}");
        assert_eq!(Rmsg::decode(&hex(bytes)), Ok((1, message)));
    }
}

#[test]
fn an_entry_has_the_layout_of_the_manual() {
    let stat = Stat {
        kind: 0x6b,
        dev: 2,
        qid: QID,
        mode: 0o666,
        atime: 3,
        mtime: 4,
        length: 5,
        name: "c0",
        uid: "u",
        gid: "g",
        muid: "",
    };
    let bytes = hex("3300 6b00 02000000 80 01020304 0102030405060708 b6010000 03000000 04000000
                     0500000000000000 0200 6330 0100 75 0100 67 0000");
    let mut out = Vec::new();
    stat.encode(&mut out);
    assert_eq!(out, bytes);
    assert_eq!(Stat::decode(&bytes), Ok(stat));
}

/// A wstat that changes nothing, as the recordings of Inferno have it.
#[test]
fn the_entry_that_touches_nothing_is_all_ones_and_no_strings() {
    let bytes = hex("2f00 ffff ffffffff ff ffffffff ffffffffffffffff ffffffff ffffffff ffffffff
                     ffffffffffffffff 0000 0000 0000 0000");
    assert_eq!(bytes.len(), STATFIXLEN);
    assert!(Stat::decode(&bytes).unwrap().is_sync());
    for (at, change) in [(2, 0), (4, 0), (8, 0), (21, 0), (33, 5), (25, 9)] {
        let mut other = bytes.clone();
        other[at] = change;
        assert!(!Stat::decode(&other).unwrap().is_sync(), "byte {at} is {change}");
    }
}

proptest! {
    #[test]
    fn t_messages_come_back(parts in parts(), tag: u16, kind in 0..TKINDS) {
        let message = parts.tmsg(kind);
        let frame = tframe(tag, &message);
        prop_assert_eq!(Tmsg::decode(&frame), Ok((tag, message)));
    }

    #[test]
    fn r_messages_come_back(parts in parts(), tag: u16, kind in 0..RKINDS) {
        let message = parts.rmsg(kind);
        let frame = rframe(tag, &message);
        prop_assert_eq!(Rmsg::decode(&frame), Ok((tag, message)));
    }

    #[test]
    fn entries_come_back_one_after_the_other(all in prop::collection::vec(parts(), 0..5)) {
        let mut bytes = Vec::new();
        for parts in &all {
            let before = bytes.len();
            parts.stat().encode(&mut bytes);
            prop_assert_eq!(bytes.len() - before, parts.stat().encoded_len());
        }
        let mut rest = &bytes[..];
        for parts in &all {
            let (stat, after) = Stat::decode_first(rest).expect("an entry was written here");
            prop_assert_eq!(stat, parts.stat());
            rest = after;
        }
        prop_assert!(rest.is_empty());
    }

    #[test]
    fn a_message_fits_an_msize_of_its_length_and_no_less(parts in parts(), kind in 0..TKINDS) {
        let message = parts.tmsg(kind);
        let frame = tframe(1, &message);
        let len = frame.len() as u32;
        let mut out = vec![7];
        prop_assert_eq!(message.encode_within(len - 1, 1, &mut out), Err(TooLong));
        prop_assert_eq!(&out, &[7]);
        prop_assert_eq!(message.encode_within(len, 1, &mut out), Ok(()));
        prop_assert_eq!(&out[1..], frame);
    }

    #[test]
    fn a_t_message_cut_short_is_refused_or_is_what_it_says(parts in parts(), kind in 0..TKINDS) {
        cuts(&tframe(1, &parts.tmsg(kind)), recode_t)?;
    }

    #[test]
    fn an_r_message_cut_short_is_refused_or_is_what_it_says(parts in parts(), kind in 0..RKINDS) {
        cuts(&rframe(1, &parts.rmsg(kind)), recode_r)?;
    }

    #[test]
    fn a_t_message_with_one_wrong_byte_is_refused_or_is_what_it_says(
        parts in parts(), kind in 0..TKINDS, flip in 1..=255u8,
    ) {
        corruptions(&tframe(1, &parts.tmsg(kind)), flip, recode_t)?;
    }

    #[test]
    fn an_r_message_with_one_wrong_byte_is_refused_or_is_what_it_says(
        parts in parts(), kind in 0..RKINDS, flip in 1..=255u8,
    ) {
        corruptions(&rframe(1, &parts.rmsg(kind)), flip, recode_r)?;
    }

    #[test]
    fn an_entry_with_one_wrong_byte_is_refused_or_is_what_it_says(
        parts in parts(), flip in 1..=255u8,
    ) {
        let mut bytes = Vec::new();
        parts.stat().encode(&mut bytes);
        for len in 0..bytes.len() {
            prop_assert_eq!(Stat::decode(&bytes[..len]), Err(BadStat));
        }
        let longer = [&bytes, &bytes[..1]].concat();
        prop_assert_eq!(Stat::decode(&longer), Err(BadStat));
        for at in 0..bytes.len() {
            bytes[at] ^= flip;
            if let Ok(stat) = Stat::decode(&bytes) {
                let mut again = Vec::new();
                stat.encode(&mut again);
                prop_assert_eq!(&again, &bytes);
            }
            bytes[at] ^= flip;
        }
    }
}

type Recode = fn(&[u8]) -> Result<Vec<u8>, DecodeError>;

fn recode_t(frame: &[u8]) -> Result<Vec<u8>, DecodeError> {
    Tmsg::decode(frame).map(|(tag, message)| tframe(tag, &message))
}

fn recode_r(frame: &[u8]) -> Result<Vec<u8>, DecodeError> {
    Rmsg::decode(frame).map(|(tag, message)| rframe(tag, &message))
}

/// Every beginning of a frame: as it is, and with its size put right.
fn cuts(frame: &[u8], recode: Recode) -> Result<(), TestCaseError> {
    for len in 0..frame.len() {
        let mut cut = frame[..len].to_vec();
        prop_assert_eq!(recode(&cut), Err(DecodeError::Size));
        if len >= 4 {
            resize(&mut cut);
            if let Ok(again) = recode(&cut) {
                prop_assert_eq!(again, cut);
            }
        }
    }
    Ok(())
}

fn corruptions(frame: &[u8], flip: u8, recode: Recode) -> Result<(), TestCaseError> {
    let mut bad = frame.to_vec();
    for at in 0..bad.len() {
        bad[at] ^= flip;
        if let Ok(again) = recode(&bad) {
            prop_assert_eq!(&again, &bad, "byte {}", at);
        }
        bad[at] ^= flip;
    }
    Ok(())
}

#[test]
fn what_is_not_one_whole_message_is_refused() {
    let open = tframe(1, &Tmsg::Open { fid: 1, mode: 0 });
    let with = |extra: &[u8]| {
        let mut frame = [&open, extra].concat();
        resize(&mut frame);
        frame
    };
    let typed = |kind: u8| {
        let mut frame = open.clone();
        frame[4] = kind;
        frame
    };
    let walk = |count: u16| {
        let mut frame = tframe(1, &Tmsg::Walk { fid: 1, newfid: 2, names: UpTo16::new() });
        frame[15..17].copy_from_slice(&count.to_le_bytes());
        frame.extend(std::iter::repeat_n([0, 0], count.into()).flatten());
        resize(&mut frame);
        frame
    };
    let rows: [(&str, Vec<u8>, DecodeError); 13] = [
        ("nothing", vec![], DecodeError::Size),
        ("less than a header", vec![6, 0, 0, 0, 112, 1], DecodeError::Size),
        ("a size that is too small", [&[11], &open[1..]].concat(), DecodeError::Size),
        ("a size that is too large", [&[13], &open[1..]].concat(), DecodeError::Size),
        ("a byte after the end", with(&[0]), DecodeError::Trailing(1)),
        ("another message after the end", with(&open), DecodeError::Trailing(12)),
        ("Terror", typed(106), DecodeError::Type(106)),
        ("an R-message", typed(113), DecodeError::Type(113)),
        ("type 99", typed(99), DecodeError::Type(99)),
        ("type 128", typed(128), DecodeError::Type(128)),
        ("a message of another length", typed(116), DecodeError::Short),
        ("17 names", walk(17), DecodeError::Names(17)),
        ("65535 names", walk(65535), DecodeError::Names(65535)),
    ];
    for (what, frame, error) in rows {
        assert_eq!(Tmsg::decode(&frame), Err(error), "{what}");
    }
    assert!(Tmsg::decode(&walk(16)).is_ok());
    assert_eq!(Rmsg::decode(&open), Err(DecodeError::Type(112)));
    assert_eq!(Rmsg::decode(&typed(106)), Err(DecodeError::Type(106)));
}

/// What a string must not be: NUL in it, or not UTF-8.
const NO_TEXT: [&[u8]; 6] = [
    b"a\0b",
    b"\0",
    b"\xff",
    b"\xc3",         // a rune that is cut short
    b"\xc0\xaf",     // an overlong form of a slash
    b"\xed\xa0\x80", // a surrogate
];

/// The bytes with the nth string `@` in them replaced; the size is left as it was.
fn put_string(bytes: &[u8], nth: usize, by: &[u8]) -> Vec<u8> {
    let (at, _) = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'@').nth(nth).unwrap();
    let len = (by.len() as u16).to_le_bytes();
    [&bytes[..at - 2], &len[..], by, &bytes[at + 1..]].concat()
}

#[test]
fn a_string_that_is_no_text_is_refused_wherever_it_stands() {
    let names = vec!["@".into(), "@".into()];
    let (qids, data) = (vec![], vec![]);
    let parts = Parts { numbers: [1, 2, 3], long: 0, short: 1, byte: 0, names, qids, data };
    let mut strings = 0;
    for kind in 0..TKINDS {
        let frame = tframe(1, &parts.tmsg(kind));
        for nth in 0..frame.iter().filter(|&&byte| byte == b'@').count() {
            strings += 1;
            for bad in NO_TEXT {
                let mut frame = put_string(&frame, nth, bad);
                resize(&mut frame);
                let decoded = Tmsg::decode(&frame);
                assert_eq!(decoded, Err(DecodeError::Text), "{bad:?} in {:?}", parts.tmsg(kind));
            }
        }
    }
    assert_eq!(strings, 8, "Tversion 1, Tauth 2, Tattach 2, Twalk 2, Tcreate 1");
    for bad in NO_TEXT {
        let mut frame = put_string(&rframe(1, &Rmsg::Error { ename: "@" }), 0, bad);
        resize(&mut frame);
        assert_eq!(Rmsg::decode(&frame), Err(DecodeError::Text));
    }
}

#[test]
fn an_entry_with_a_string_that_is_no_text_is_refused() {
    let mut entry = Vec::new();
    Stat { name: "@", uid: "@", gid: "@", muid: "@", ..Stat::DONT_TOUCH }.encode(&mut entry);
    for (nth, bad) in (0..4).flat_map(|nth| NO_TEXT.map(|bad| (nth, bad))) {
        let mut entry = put_string(&entry, nth, bad);
        let size = (entry.len() - 2) as u16;
        entry[..2].copy_from_slice(&size.to_le_bytes());
        assert_eq!(Stat::decode(&entry), Err(BadStat), "{bad:?} in string {nth}");
    }
}

#[test]
fn the_longest_string_fits_and_one_byte_more_does_not() {
    let longest = "n".repeat(65_535);
    let message = Tmsg::Create { fid: 1, name: &longest, perm: 0, mode: 0 };
    assert_eq!(Tmsg::decode(&tframe(1, &message)), Ok((1, message)));
    let longer = "n".repeat(65_536);
    let data = vec![0; 65_536];
    let mut out = Vec::new();
    let walk = Tmsg::Walk { fid: 1, newfid: 2, names: UpTo16::from_slice(&[&*longer]).unwrap() };
    let wstat = Tmsg::Wstat { fid: 1, stat: &data };
    assert_eq!(walk.encode_within(u32::MAX, 1, &mut out), Err(TooLong));
    assert_eq!(wstat.encode_within(u32::MAX, 1, &mut out), Err(TooLong));
    assert_eq!(Rmsg::Stat { stat: &data }.encode_within(u32::MAX, 1, &mut out), Err(TooLong));
    assert_eq!(Rmsg::Error { ename: &longer }.encode_within(u32::MAX, 1, &mut out), Err(TooLong));
    assert!(out.is_empty());
}
