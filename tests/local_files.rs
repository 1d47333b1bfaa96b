//! Files of this machine: what can be read and written at once, and what has to wait for the disk.

use std::fs::{self, File, FileTimes};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use dsfs::inner::LocalFile;
use dsfs::inner::local::Root;
use rustix::fs::{Advice, fadvise};

const FILE_BYTES: usize = 1 << 20;

/// A directory on the disk that this was built on, which `/tmp` may not be.
fn on_disk() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory on the disk")
}

fn make(dir: &Path) -> (PathBuf, LocalFile) {
    let path = dir.join("f");
    fs::write(&path, vec![7; FILE_BYTES]).expect("a file can be written");
    let root = Root::open(dir, false).expect("the root can be opened");
    let file = root.open_file(&["f".to_string()]).expect("the file can be opened");
    (path, file)
}

/// Takes the file out of memory. False, and says so, where the file system does not let go of it.
fn make_cold(path: &Path, file: &LocalFile) -> bool {
    let host = File::open(path).expect("the file is there");
    host.sync_all().expect("a file can be synced");
    fadvise(&host, 0, None, Advice::DontNeed).expect("advice is taken");
    let is_cold = file.read_cached(0, &mut [0; 64]).is_pending();
    if !is_cold {
        eprintln!("this file system keeps files in memory: nothing to wait for, nothing tested");
    }
    is_cold
}

#[test]
fn what_is_in_memory_is_read_and_written_at_once() {
    for dir in [on_disk(), tempfile::tempdir().expect("a temporary directory")] {
        let (path, file) = make(dir.path());
        file.read(0, &mut vec![0; FILE_BYTES]).expect("the file can be read");
        for (offset, count) in [(0, 4096), (1, 4096), (4095, 2), (FILE_BYTES as u64 - 10, 10)] {
            let data = vec![9; count];
            assert!(file.write_cached(offset, &data).is_ready(), "{count} at {offset}");
            let mut back = vec![0; count];
            assert!(file.read_cached(offset, &mut back).is_ready(), "{count} at {offset}");
            assert_eq!(back, data, "{count} at {offset}");
        }
        assert_eq!(fs::read(path).expect("the file is there").len(), FILE_BYTES);
    }
}

#[test]
fn a_read_leaves_the_time_of_the_last_access_alone() {
    let dir = on_disk();
    let (path, file) = make(dir.path());
    // Earlier than the last change, so that it would be set wherever it is set at all.
    let long_ago = FileTimes::new().set_accessed(SystemTime::UNIX_EPOCH);
    let host = File::options().write(true).open(&path).expect("the file is there");
    host.set_times(long_ago).expect("who owns a file may set its times");
    file.read(0, &mut [0; 4096]).expect("the file can be read");
    assert!(file.read_cached(0, &mut [0; 4096]).is_ready());
    let accessed = fs::metadata(&path).expect("the file is there").accessed();
    assert_eq!(accessed.expect("a time"), SystemTime::UNIX_EPOCH);
}

#[test]
fn a_part_of_a_block_that_is_not_in_memory_is_not_written_at_once() {
    let dir = on_disk();
    let (path, file) = make(dir.path());
    for (offset, count) in [(65536 + 1, 4095), (65536, 4095), (65536 + 100, 8192)] {
        if !make_cold(&path, &file) {
            return;
        }
        let before = fs::metadata(&path).expect("the file is there").modified().ok();
        assert!(file.write_cached(offset, &vec![9; count]).is_pending(), "{count} at {offset}");
        let after = fs::metadata(&path).expect("the file is there").modified().ok();
        assert_eq!(before, after, "nothing was written");
    }
}

#[test]
fn whole_blocks_and_what_is_beyond_the_end_wait_for_nothing() {
    let dir = on_disk();
    let (path, file) = make(dir.path());
    for (offset, count) in [(65536, 4096), (0, 8192), (FILE_BYTES as u64, 100)] {
        if !make_cold(&path, &file) {
            return;
        }
        assert!(file.write_cached(offset, &vec![9; count]).is_ready(), "{count} at {offset}");
    }
    // A last block that ends early has nothing behind it to be read.
    let short = FILE_BYTES as u64 + 100;
    assert!(file.write_cached(short - 100, &[1; 100]).is_ready());
}
