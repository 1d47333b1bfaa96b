//! The sources of the project, for tests that hold a document against them.

use std::fs;
use std::path::Path;

/// Calls `look` with the text of each Rust source below these directories of the project.
pub fn for_each(dirs: &[&str], mut look: impl FnMut(&str)) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    dirs.iter().for_each(|dir| below(&root.join(dir), &mut look));
}

fn below(dir: &Path, look: &mut impl FnMut(&str)) {
    for entry in fs::read_dir(dir).expect("a directory of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            below(&path, look);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            look(&fs::read_to_string(&path).expect("a source"));
        }
    }
}
