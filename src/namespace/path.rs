//! A name taken apart at its slashes, as namec does it, and the `#c` that it may start with.

use super::error::Failure;
use super::table::Tree;

/// A name taken apart. Empty elements and `.` are left out, `..` is kept.
pub(super) struct Parsed<'a> {
    /// The elements.
    pub elements: Vec<&'a str>,
    /// Where each ends in the name, in bytes.
    ends: Vec<usize>,
    /// Where the first starts; the name's length if there is none.
    start: usize,
    /// Whether the name ends in `/` or `/.`, so that only a directory will do.
    pub must_be_directory: bool,
}

impl<'a> Parsed<'a> {
    /// Takes `name` apart from byte `from` on (after the `#c` of a sharp name, else 0).
    pub fn new(name: &'a str, from: usize) -> Parsed<'a> {
        let (mut elements, mut ends) = (Vec::new(), Vec::new());
        let (mut start, mut at) = (name.len(), from);
        let mut must_be_directory = true;
        for piece in name[from..].split('/') {
            must_be_directory = matches!(piece, "" | ".");
            if !must_be_directory {
                start = start.min(at);
                elements.push(piece);
                ends.push(at + piece.len());
            }
            at += piece.len() + 1;
        }
        Parsed { elements, ends, start, must_be_directory }
    }

    /// How many bytes of the name its first `count` elements take.
    pub fn end_of(&self, count: usize) -> usize {
        match count.checked_sub(1) {
            None => self.start,
            Some(last) => self.ends.get(last).copied().unwrap_or(self.start),
        }
    }
}

/// What the name starts at, if it is a sharp one: the tree, and where in the name its path starts.
pub(super) fn sharp(name: &str) -> Option<Result<(Tree, usize), Failure>> {
    let rest = name.strip_prefix('#')?;
    let tree = match rest.chars().next() {
        Some('U') => Tree::Host,
        Some('k') => Tree::Kernel,
        _ => return Some(Err(Failure::Device)),
    };
    Some(match rest.as_bytes().get(1) {
        None | Some(b'/') => Ok((tree, 2)),
        Some(_) => Err(Failure::Spec),
    })
}

/// Adds the elements of `name`, from byte `from` on, to `path`; `..` takes one away, if one is
/// left.
pub(super) fn append(path: &mut Vec<String>, name: &str, from: usize) {
    for element in Parsed::new(name, from).elements {
        if element == ".." {
            path.pop();
        } else {
            path.push(element.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(name: &str, from: usize) -> (Vec<&str>, Vec<usize>, bool) {
        let parsed = Parsed::new(name, from);
        let ends = (0..=parsed.elements.len()).map(|count| parsed.end_of(count)).collect();
        (parsed.elements, ends, parsed.must_be_directory)
    }

    #[test]
    fn a_name_is_taken_apart_as_namec_does() {
        assert_eq!(parts("//a/./bc//", 0), (vec!["a", "bc"], vec![2, 3, 8], true));
        assert_eq!(parts("a/..", 0), (vec!["a", ".."], vec![0, 1, 4], false));
        assert_eq!(parts("/a/.", 0), (vec!["a"], vec![1, 2], true));
        assert_eq!(parts("/", 0), (vec![], vec![1], true));
        assert_eq!(parts("...", 0), (vec!["..."], vec![0, 3], false));
        assert_eq!(parts("#k/ds", 2), (vec!["ds"], vec![3, 5], false));
        assert_eq!(parts("#k", 2), (vec![], vec![2], true));
    }

    #[test]
    fn only_our_own_devices_are_sharp_names() {
        assert_eq!(sharp("/a#U"), None);
        assert_eq!(sharp("#U"), Some(Ok((Tree::Host, 2))));
        assert_eq!(sharp("#k/ds"), Some(Ok((Tree::Kernel, 2))));
        assert_eq!(sharp("#U*"), Some(Err(Failure::Spec)));
        assert_eq!(sharp("#kx/ds"), Some(Err(Failure::Spec)));
        for name in ["#", "#/", "#u", "#c/time", "#→"] {
            assert_eq!(sharp(name), Some(Err(Failure::Device)), "{name}");
        }
    }
}
