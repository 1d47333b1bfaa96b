//! A configuration with a bad line: the error says which and why, the program ends with 1, nobody has
//! found it listening, and nothing was opened for writing. What was opened, and how, the kernel tells
//! of local files (inotify: a close says whether the file could be written), and the server of
//! remote ones.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};

use super::*;
use crate::support::client::PATIENCE;
use crate::support::fault_server::FaultServer;

/// Watches the files of a directory being closed.
struct Watch(OwnedFd);

impl Watch {
    fn on(dir: &Path) -> Watch {
        let watch = inotify::init(CreateFlags::NONBLOCK).expect("an inotify instance");
        let closes = WatchFlags::CLOSE_WRITE | WatchFlags::CLOSE_NOWRITE;
        inotify::add_watch(&watch, dir, closes).expect("a directory");
        Watch(watch)
    }

    /// The files that were closed, and whether each had been open for writing.
    fn closed(&self) -> Vec<(String, bool)> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.0, &mut buffer);
        let mut closed = Vec::new();
        while let Ok(event) = reader.next() {
            // The directory itself has no name.
            let Some(name) = event.file_name().map(CStr::to_string_lossy) else { continue };
            let write = event.events().contains(ReadFlags::CLOSE_WRITE);
            closed.push((name.into_owned(), write));
        }
        closed
    }
}

/// A place and a remote server with files, and a name space with both.
struct Scene {
    place: Place,
    remote: FaultServer,
}

impl Scene {
    fn new() -> Scene {
        let place = place_with(&[("a", 8192), ("b", 8192)]);
        let remote = FaultServer::start();
        remote.tree().create("r", vec![0; 8192], 0o644);
        let namespace =
            format!("bind #U /\nbind #k/ds /n/ds\nbind #k /dev\nmount -A {} /n/r\n", remote.dial());
        place.file("namespace", &namespace);
        Scene { place, remote }
    }

    fn serve(&self, dialect: &str, text: &str) -> Serve {
        let config = self.place.file("config", text);
        let listen = format!("unix!{}", self.socket().display());
        serve(&self.place, dialect)
            .option("--namespace", self.place.path().join("namespace"))
            .option("--config", config)
            .and_on(&listen)
    }

    fn socket(&self) -> std::path::PathBuf {
        self.place.path().join("socket")
    }
}

/// The lines that come before the bad one open files here and there.
const GOOD: &str = "fsdev:\ncat c /a\nmirror m /n/r/r /b\n";

#[test]
fn a_bad_line_leaves_nothing_behind() {
    let scene = Scene::new();
    for (dialect, line, message, error) in [
        ("devds", "crypt x /a", "crypt x /a", "unknown control message \"crypt x /a\""),
        ("devds", "cat", "cat", "wrong #args in control message \"cat\""),
        ("devds", "part p /a 1 -1", "part p /a 1 -1", "bad arg in system call"),
        ("devds", "cat c /b", "cat c /b", "file already exists"),
        ("devds", "cat d /a /gone", "cat d /a /gone", "'/gone' file does not exist"),
        ("devds", "cat d /n/r/gone", "cat d /n/r/gone", "'/n/r/gone' file does not exist"),
        ("devds", "# a comment", "# a comment", "unknown control message \"# a comment\""),
        ("devds", "fsdev:", "fsdev:", "unknown control message fsdev:"),
        ("devds", "  ", "", "empty control message"),
        ("plan9", "cat", "cat", "too few arguments for ctl"),
        ("plan9", "cat c /b", "cat c /b", "file already exists"),
        ("plan9", "cat d /a /gone", "cat d /a /gone", "file does not exist: '/gone'"),
        ("plan9", "part p /a 8193 1", "part p /a 8193 1", "partition starts after device end"),
        ("plan9", "crypt x /a", "crypt x /a", "crypt starts after device end"),
        ("plan9", "  ", "", "empty control message"),
    ] {
        let error = error.replace(" fsdev:", " \"fsdev:\"");
        let watch = Watch::on(&scene.place.root());
        let ended = scene.serve(dialect, &format!("{GOOD}{line}\ncat never /a\n")).end();
        let file = scene.place.path().join("config");
        let said = format!("dsfs: {}: line 4: {message:?}: {error}\n", file.display());
        assert_eq!((ended.code, &ended.stdout[..]), (1, ""), "{dialect} {line:?}: {ended:?}");
        assert_eq!(ended.stderr, said, "{dialect} {line:?}");
        assert!(!scene.socket().exists(), "{dialect} {line:?}: it has listened");
        let closed = watch.closed();
        for name in ["a", "b"] {
            assert!(closed.contains(&(name.to_owned(), false)), "{line:?}: not tried: {closed:?}");
        }
        assert!(closed.iter().all(|(_, write)| !write), "{dialect} {line:?}: {closed:?}");
        let openings = scene.remote.tree().take_openings();
        assert!(!openings.is_empty(), "{dialect} {line:?}: not tried");
        assert!(openings.iter().all(|opening| !opening.write), "{line:?}: {openings:?}");
    }
}

/// So that the test above can fail: what it looks for is seen when a configuration is good.
#[test]
fn a_good_configuration_is_opened_for_writing_once_it_was_tried() {
    let scene = Scene::new();
    for (dialect, _) in DIALECTS {
        let watch = Watch::on(&scene.place.root());
        let program = scene.serve(dialect, GOOD).start();
        assert!(scene.socket().exists());
        let ways: Vec<bool> =
            scene.remote.tree().take_openings().iter().map(|opening| opening.write).collect();
        assert_eq!(ways, [false, true], "{dialect}");
        drop(program);
        fs::remove_file(scene.socket()).expect("a killed server leaves its socket");
        let closed = watch.closed();
        for (name, write) in [("a", false), ("a", true), ("b", false), ("b", true)] {
            assert!(closed.contains(&(name.to_owned(), write)), "{dialect}: {closed:?}");
        }
    }
}

#[test]
fn what_is_no_configuration_is_told_in_devdss_words() {
    let scene = Scene::new();
    let ended = scene.serve("devds", "\n# mine\ncat c /a\n").end();
    let said = "line 2: \"# mine\": config string must start with `fsdev:'\n";
    assert!(ended.stderr.ends_with(said), "{ended:?}");
    assert_eq!((ended.code, &ended.stdout[..]), (1, ""));
    let gone = serve(&scene.place, "devds").option("--config", "/nonexistent/config").end();
    assert_eq!(gone.code, 1);
    assert!(gone.stderr.starts_with("dsfs: /nonexistent/config: No such file"), "{gone:?}");
}

/// Nobody finds half a configuration: while it is restored, there is no way in.
#[test]
fn nothing_listens_before_the_configuration_is_whole() {
    let scene = Scene::new();
    let tree = scene.remote.tree();
    let mut program = scene.serve("devds", GOOD).spawn();
    // It waits for the other server, which does not answer while the tree is held.
    let start = Instant::now();
    while scene.remote.connections() == 0 {
        assert!(start.elapsed() < PATIENCE, "it has not called: {}", program.errors());
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_millis(100));
    assert!(!scene.socket().exists(), "it listens");
    drop(tree);
    while !scene.socket().exists() {
        assert!(start.elapsed() < 2 * PATIENCE, "it never listens: {}", program.errors());
        assert_eq!(program.ended(), None, "{}", program.errors());
        std::thread::sleep(Duration::from_millis(5));
    }
}
