//! `zeros`: the files that it makes, and those that it leaves alone.

use std::fs;
use std::os::unix::fs::MetadataExt;

use super::run;
use super::support::program::{Place, Serve};

#[test]
fn chunks_are_made_with_room_or_without() {
    let place = Place::new();
    let path = |name: &str| place.root().join(name).display().to_string();
    let (a, b, s, v) = (path("a"), path("b"), path("s"), path("v"));
    for args in [
        &["zeros", "64K", &a, &b][..],
        &["zeros", "--sparse", "1G", &s],
        &["zeros", "-v", "3", "8192", &v],
    ] {
        let did = run(args, b"");
        assert_eq!((did.status, did.err.as_str()), (0, ""), "{args:?}");
    }
    for chunk in [&a, &b] {
        assert!(fs::read(chunk).expect("it is there") == [0; 65536]);
        assert!(fs::metadata(chunk).expect("it is there").blocks() * 512 >= 65536);
    }
    let sparse = fs::metadata(&s).expect("it is there");
    assert_eq!((sparse.len(), sparse.blocks()), (1 << 30, 0));
    assert!(fs::read(&v).expect("it is there") == [3; 8192]);

    let program = Serve::on("tcp!127.0.0.1!0").option("--root", place.root()).start();
    let made = run(&["ctl", "mirror", "m0", "/a", "/b", "-a", program.dial()], b"");
    assert_eq!((made.status, made.err.as_str()), (0, ""));
}

#[test]
fn a_file_that_is_there_is_left_alone() {
    let place = Place::new();
    let there = place.file("there", "precious");
    let path = |name: &str| place.path().join(name).display().to_string();
    let (one, other, there) = (path("one"), path("other"), there.display().to_string());
    let did = run(&["zeros", "1K", &one, &there, &other], b"");
    let why = format!(
        "dsfs: {there}: it exists, and may be in use; remove it first, or give another name\n"
    );
    assert_eq!((did.status, did.err), (1, why));
    assert_eq!(fs::read(&there).expect("it is there"), b"precious");
    assert!(fs::exists(&one).expect("ours") && !fs::exists(&other).expect("ours"));
    // More than any disk has: what came of it is gone.
    let did = run(&["zeros", "4000000T", &other], b"");
    assert_eq!(did.status, 1);
    assert!(did.err.starts_with(&format!("dsfs: {other}: ")), "{}", did.err);
    assert!(!fs::exists(&other).expect("ours"));
}
