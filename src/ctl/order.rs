//! The order of the lines of a ctl text: that of the devices' places, but what a device is made of
//! stands before it. Pure; knows devices by number only.
//!
//! Without this the text of fs(3) would not always read back: a place that was deleted is used again,
//! by a device that may be made of later ones, and so may a device in an earlier directory.

use std::collections::HashMap;

/// The directory that is there without a device, as [`Slot::dir`](crate::device::Slot) numbers them.
const FIRST: usize = 0;

/// The devices 0, 1, ... in the order in which they can be made again. `dirs` has the directory of each,
/// and the devices are given in the order of their places: by directory, then by slot. `inner` has those
/// that each is made of, all of them devices given.
///
/// Where no device stands before one that it is made of, this is the order given. And where devices are
/// made anew in the order that this returns, it returns that order for them too.
pub(super) fn restorable(dirs: &[usize], inner: &[Vec<usize>]) -> Vec<usize> {
    let sound = {
        let mut visit = Visit::new(inner);
        (0..dirs.len()).for_each(|device| visit.make(device));
        visit.made
    };
    let mut in_dir: HashMap<usize, Vec<usize>> = HashMap::new();
    sound.iter().for_each(|&device| in_dir.entry(dirs[device]).or_default().push(device));
    // Made anew, the first directory, which is always there, stands first, and the others in the order in
    // which they get their first device. So each is finished in that order here.
    let mut visit = Visit::new(inner);
    in_dir.remove(&FIRST).unwrap_or_default().into_iter().for_each(|device| visit.make(device));
    let mut begun = 0;
    let mut rest = sound.iter();
    loop {
        let next = match visit.made.get(begun) {
            Some(&device) => Some(device),
            None => rest.find(|&&device| !visit.is_made[device]).copied(),
        };
        let Some(device) = next else { return visit.made };
        for device in in_dir.remove(&dirs[device]).unwrap_or_default() {
            visit.make(device);
        }
        begun += usize::from(begun < visit.made.len());
    }
}

struct Visit<'a> {
    inner: &'a [Vec<usize>],
    is_made: Vec<bool>,
    made: Vec<usize>,
}

impl<'a> Visit<'a> {
    fn new(inner: &'a [Vec<usize>]) -> Self {
        Visit { inner, is_made: vec![false; inner.len()], made: Vec::new() }
    }

    /// Makes what a device is made of, and then the device. As deep as devices are nested, which
    /// [`limits::DEPTH`](crate::limits::DEPTH) bounds.
    fn make(&mut self, device: usize) {
        if !std::mem::replace(&mut self.is_made[device], true) {
            self.inner[device].iter().for_each(|&below| self.make(below));
            self.made.push(device);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_inside_stands_before() {
        let none = Vec::new;
        assert_eq!(restorable(&[], &[]), [0; 0]);
        assert_eq!(restorable(&[0, 0, 1], &[none(), vec![0], vec![1]]), [0, 1, 2]);
        // A place that was used again.
        assert_eq!(restorable(&[0, 0, 0], &[vec![1], none(), none()]), [1, 0, 2]);
        // An earlier directory; the later one is finished first, as it will be made first.
        assert_eq!(restorable(&[1, 2, 2], &[vec![2], none(), none()]), [2, 1, 0]);
        // The first one stands first even so.
        assert_eq!(restorable(&[0, 1, 1], &[vec![2], none(), none()]), [2, 0, 1]);
        assert_eq!(restorable(&[0, 0, 1, 1], &[vec![2], none(), none(), vec![1]]), [2, 0, 1, 3]);
        assert_eq!(restorable(&[0, 0, 1], &[none(), vec![2], none()]), [0, 2, 1]);
    }

    /// The devices in the order of their places after they were made in `order`.
    fn made_anew(order: &[usize], dirs: &[usize]) -> Vec<usize> {
        let mut seen = vec![FIRST];
        for &device in order {
            if !seen.contains(&dirs[device]) {
                seen.push(dirs[device]);
            }
        }
        let of = |dir: usize| order.iter().copied().filter(move |&device| dirs[device] == dir);
        seen.into_iter().flat_map(of).collect()
    }

    proptest! {
        #[test]
        fn the_order_is_sound_and_stays(
            (count, picks) in (0usize..12).prop_flat_map(|count| {
                let pick = (0usize..4, prop::collection::vec(any::<prop::sample::Index>(), 0..3), any::<u32>());
                (Just(count), prop::collection::vec(pick, count))
            }),
        ) {
            // Made in this order, each of earlier ones; then at places that are sorted another way.
            let mut places: Vec<usize> = (0..count).collect();
            places.sort_by_key(|&device| (picks[device].0, picks[device].2));
            let place = |device: usize| places.iter().position(|&d| d == device).expect("a place");
            let dirs: Vec<usize> = places.iter().map(|&device| picks[device].0).collect();
            let inner_of = |&device: &usize| -> Vec<usize> {
                let below = |index: &prop::sample::Index| place(index.index(device));
                if device == 0 { Vec::new() } else { picks[device].1.iter().map(below).collect() }
            };
            let inner: Vec<Vec<usize>> = places.iter().map(inner_of).collect();

            let order = restorable(&dirs, &inner);
            let mut all = order.clone();
            all.sort_unstable();
            prop_assert_eq!(all, (0..count).collect::<Vec<_>>());
            for (at, &device) in order.iter().enumerate() {
                let before = |below: &usize| order[..at].contains(below);
                prop_assert!(inner[device].iter().all(before), "{:?}", order);
            }
            let sound = (0..count).all(|device| inner[device].iter().all(|&below| below < device));
            if sound {
                prop_assert_eq!(&order, &(0..count).collect::<Vec<_>>());
            }

            let anew = made_anew(&order, &dirs);
            let number = |device: usize| anew.iter().position(|&d| d == device).expect("made");
            let anew_dirs: Vec<usize> = anew.iter().map(|&device| dirs[device]).collect();
            let below = |&device: &usize| inner[device].iter().map(|&b| number(b)).collect();
            let anew_inner: Vec<Vec<usize>> = anew.iter().map(below).collect();
            let again = restorable(&anew_dirs, &anew_inner);
            let again: Vec<usize> = again.into_iter().map(|device| anew[device]).collect();
            prop_assert_eq!(again, order);
        }
    }
}
