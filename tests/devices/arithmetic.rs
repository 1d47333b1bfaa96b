//! The arithmetic of the devices against tables of bytes, for every offset and count on small
//! devices, and at every power of two up to 2^64 - 1. Nothing here reads or writes a file.

use dsfs::device::inter::BLOCK;
use dsfs::device::{Geometry, Kind, Piece, crypt};

use crate::model::{Places, cat_places, inter_places, range_places, running_least};

/// The pieces of a transfer, as the transfers take them: one after the other.
fn pieces(geometry: &Geometry, offset: u64, count: u64) -> Vec<Piece> {
    let count = geometry.clip(offset, count);
    let mut pieces = Vec::new();
    let mut done = 0;
    while done < count {
        let piece = geometry.piece(offset + done, count - done);
        assert!(piece.count > 0 && piece.count <= count - done, "{geometry:?}: {piece:?}");
        pieces.push(piece);
        done += piece.count;
    }
    pieces
}

fn check(geometry: &Geometry, places: &Places, offset: u64, count: u64) {
    let length = places.len() as u64;
    assert_eq!(geometry.length(), length);
    let start = offset.min(length) as usize;
    let end = offset.saturating_add(count).min(length) as usize;
    let mut wanted = places[start..end].iter();
    for piece in pieces(geometry, offset, count) {
        for at in piece.offset..piece.offset + piece.count {
            let place = wanted.next();
            assert_eq!(place, Some(&(piece.inner, at)), "{geometry:?} {offset}+{count}");
        }
    }
    assert_eq!(wanted.next(), None, "{geometry:?} {offset}+{count} stops early");
    check_runs(geometry, offset, count);
}

/// The runs of a range are what its pieces are together, file by file.
fn check_runs(geometry: &Geometry, offset: u64, count: u64) {
    let mut runs = geometry.runs(offset, geometry.clip(offset, count));
    if *geometry.kind() == Kind::Mirror {
        let same = |run: &Piece| (run.offset, run.count) == (runs[0].offset, runs[0].count);
        assert!(runs.iter().all(same), "{geometry:?}: {runs:?}");
        runs.truncate(1);
    }
    let mut together: Vec<Piece> = Vec::new();
    for piece in pieces(geometry, offset, count) {
        match together.iter_mut().find(|run| run.inner == piece.inner) {
            Some(run) => {
                assert_eq!(run.offset + run.count, piece.offset, "{geometry:?}: {piece:?}");
                run.count += piece.count;
            }
            None => together.push(piece),
        }
    }
    together.sort_by_key(|run| run.inner);
    assert_eq!(runs, together, "{geometry:?} {offset}+{count}");
}

fn check_all(geometry: &Geometry, places: &Places) {
    let length = places.len() as u64;
    for offset in 0..=length + 2 {
        for count in 0..=length + 2 {
            check(geometry, places, offset, count);
        }
    }
}

/// Every list of up to `most` of these lengths.
fn lists(lengths: &[u64], most: usize) -> Vec<Vec<u64>> {
    let mut all = vec![Vec::new()];
    let mut last = all.clone();
    for _ in 0..most {
        let longer = |list: &Vec<u64>| {
            let list = list.clone();
            lengths.iter().map(move |&length| [&list[..], &[length]].concat())
        };
        last = last.iter().flat_map(longer).collect();
        all.extend(last.clone());
    }
    all
}

#[test]
fn every_transfer_of_every_small_cat_and_mirror() {
    for lengths in lists(&[0, 1, 2, 3], 4) {
        check_all(&Geometry::cat(&lengths), &cat_places(&lengths));
        let least = lengths.iter().copied().min().unwrap_or(0);
        check_all(&Geometry::mirror(&lengths), &range_places(0, least));
    }
}

#[test]
fn every_transfer_of_every_small_part() {
    for inner in 0..=6 {
        for start in 0..=7u64 {
            for length in 0..=7 {
                let from = start.min(inner);
                let places = range_places(from, length.min(inner - from));
                check_all(&Geometry::part(inner, start, length), &places);
            }
        }
    }
}

/// Offsets and ends at every boundary of a block and beside it: what lies between makes no
/// difference to where a transfer is cut.
#[test]
fn every_transfer_of_a_small_inter_by_its_boundaries() {
    let lengths = [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK];
    for lengths in lists(&lengths, 3) {
        let blocks: u64 = lengths.iter().map(|length| length / BLOCK).sum();
        check_at_boundaries(&Geometry::inter(&lengths), &inter_places(lengths.len(), blocks));
        let blocks = running_least(&lengths) / BLOCK * lengths.len() as u64;
        check_at_boundaries(&Geometry::inter_even(&lengths), &inter_places(lengths.len(), blocks));
    }
}

fn check_at_boundaries(geometry: &Geometry, places: &Places) {
    let length = places.len() as u64;
    let beside = |boundary: u64| [boundary.saturating_sub(1), boundary, boundary + 1];
    let marks: Vec<u64> = (0..=length / BLOCK).flat_map(|block| beside(block * BLOCK)).collect();
    for &offset in &marks {
        for &end in marks.iter().filter(|&&end| end >= offset) {
            check(geometry, places, offset, end - offset);
        }
    }
}

#[test]
fn crypt_is_whole_sectors_after_a_header() {
    for beyond in 0..=3 * crypt::SECTOR {
        let length = beyond / crypt::SECTOR * crypt::SECTOR;
        let geometry = Geometry::crypt(crypt::HEADER + beyond).expect("it has a header");
        let places = range_places(crypt::HEADER, length);
        for (offset, count) in [(0, 0), (0, length), (length, 1), (length / 2, length), (1, 511)] {
            check(&geometry, &places, offset, count);
        }
    }
    assert_eq!(Geometry::crypt(crypt::HEADER - 1), None);
    assert_eq!(Geometry::crypt(0), None);
}

#[test]
fn transfers_are_aligned_by_sectors() {
    for offset in 0..=2 * crypt::SECTOR {
        for count in [0, 1, 511, 512, 513, 1024] {
            let aligned = offset % 512 == 0 && count % 512 == 0;
            assert_eq!(crypt::aligned(offset, count), aligned, "{offset}+{count}");
        }
    }
}

/// 0, every power of two, and what is one less and one more, up to 2^64 - 1.
fn edges() -> Vec<u64> {
    let powers = (0..64).flat_map(|k| [(1u64 << k) - 1, 1 << k, (1u64 << k).saturating_add(1)]);
    let mut edges: Vec<u64> = powers.chain([u64::MAX - 1, u64::MAX]).collect();
    edges.sort_unstable();
    edges.dedup();
    edges
}

/// Every device that can be made of one or two files of these lengths.
fn devices(lengths: &[u64]) -> Vec<Geometry> {
    let mut devices = Vec::new();
    for &a in lengths {
        devices.extend([Geometry::mirror(&[a]), Geometry::cat(&[a]), Geometry::inter(&[a])]);
        devices.push(Geometry::inter_even(&[a]));
        devices.extend(Geometry::crypt(a));
        for &b in lengths {
            devices.extend([Geometry::mirror(&[a, b]), Geometry::cat(&[a, b])]);
            devices.extend([Geometry::inter(&[a, b]), Geometry::inter_even(&[a, b])]);
            devices.extend([Geometry::part(u64::MAX, a, b), Geometry::part(a, b, u64::MAX)]);
            devices.push(Geometry::part(a, b, a));
        }
    }
    devices
}

/// What holds of the first piece of any transfer, however large the numbers.
fn check_first_piece(geometry: &Geometry, offset: u64, count: u64) {
    let inside = geometry.clip(offset, count);
    let end = u128::from(offset) + u128::from(count);
    let wanted = end.min(u128::from(geometry.length())).saturating_sub(u128::from(offset));
    assert_eq!(u128::from(inside), wanted, "{geometry:?} {offset}+{count}");
    for inner in 0..=2 {
        // Only that it comes to an end.
        geometry.comes_to(inner, offset);
    }
    if inside == 0 {
        return;
    }
    let piece = geometry.piece(offset, inside);
    assert!(piece.count >= 1 && piece.count <= inside, "{geometry:?} {offset}+{count}: {piece:?}");
    let end = u128::from(piece.offset) + u128::from(piece.count);
    // devds's inter may lie past the end of a file, and a transfer there fails; nothing else may.
    if *geometry.kind() != Kind::Inter {
        let length = u128::from(geometry.inner_length(piece.inner));
        assert!(end <= length, "{geometry:?} {offset}+{count}: {piece:?} is past {length}");
    }
    assert!(end <= 1 << 64, "{geometry:?} {offset}+{count}: {piece:?}");
}

/// One length at every edge with every offset and count at every edge; two lengths at fewer.
#[test]
fn nothing_overflows_at_any_power_of_two() {
    let edges = edges();
    for geometry in edges.iter().flat_map(|&length| {
        [Geometry::mirror(&[length]), Geometry::cat(&[length]), Geometry::inter(&[length])]
    }) {
        for &offset in edges.iter().take_while(|&&offset| offset <= geometry.length()) {
            for count in edges.iter().step_by(7).chain([&u64::MAX]) {
                check_first_piece(&geometry, offset, *count);
            }
        }
    }
    let few: Vec<u64> = edges.iter().copied().filter(|&edge| is_telling(edge)).collect();
    for geometry in devices(&few) {
        for &offset in &few {
            for &count in &few {
                check_first_piece(&geometry, offset, count);
            }
            for back in 0..=2 {
                let offset = geometry.length().saturating_sub(back);
                check_first_piece(&geometry, offset, 1);
                check_first_piece(&geometry, offset, u64::MAX);
            }
        }
    }
}

/// Beside 1, a sector, a block, the header of a crypt device, and the ends of 32, 63 and 64 bits.
fn is_telling(edge: u64) -> bool {
    let near = |power: u32| edge.abs_diff(1 << power) <= 1;
    edge >= u64::MAX - 1 || [0, 9, 13, 14, 16, 17, 31, 32, 62, 63].into_iter().any(near)
}

/// As [`nothing_overflows_at_any_power_of_two`], over all that can be said in a control message:
/// a saturated sum must not wrap into a device that looks small.
#[test]
fn lengths_saturate() {
    let half = 1 << 63;
    assert_eq!(Geometry::cat(&[half, half, 5]).length(), u64::MAX);
    assert_eq!(Geometry::cat(&[u64::MAX, u64::MAX]).length(), u64::MAX);
    assert_eq!(Geometry::inter(&[half, half, half]).length(), u64::MAX);
    assert_eq!(Geometry::inter_even(&[half, half, half]).length(), u64::MAX);
    assert_eq!(Geometry::inter(&[u64::MAX]).length(), u64::MAX / BLOCK * BLOCK);
    assert_eq!(Geometry::part(5, u64::MAX, u64::MAX).length(), 0);
    assert_eq!(Geometry::part(u64::MAX, 1, u64::MAX).length(), u64::MAX - 1);
}
