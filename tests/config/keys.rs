//! The keys of restored crypt devices: from a file that only its owner can read, by the devices' names; and
//! in no text that anyone can read.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::*;
use crate::support::client::Failure;

/// Keys of the two lengths, in which every run of digits is found nowhere else.
const SHORT: &str = "3b1f8c27d90e46a5b7c2f1e08d6394a7e5d4c3b2a1908f7e6d5c4b3a29180f7e";
const LONG: &str = "9a8b7c6d5e4f30211203f4e5d6c7b8a99f8e7d6c5b4a39281706f5e4d3c2b1a0\
                    5566778899aabbccddeeff00112233441f2e3d4c5b6a798897a6b5c4d3e2f100";

/// The digits in a row that make a text one that shows a key.
const FRAGMENT: usize = 12;

/// A header of a crypt device, and eight sectors.
const LENGTH: usize = 65536 + 8 * 512;

fn keys_file(place: &Place, text: &str, mode: u32) -> PathBuf {
    let path = place.file("keys", text);
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("it is ours");
    path
}

/// A place with two crypt devices that were written to, and the text of ctl.
fn encrypted() -> (Place, String) {
    let place = place_with(&[("a", LENGTH), ("b", LENGTH)]);
    let program = serve(&place, "plan9").start();
    let mut client = mount(&program);
    let make = [format!("crypt x /a {SHORT}\n"), format!("crypt 'd e/y' /b {LONG}\n")];
    assert!(write_all(&mut client, "plan9", &make).iter().all(Result::is_ok));
    assert_eq!(client.write(&["fs", "x"], 512, &[b'S'; 512]), Ok(512));
    assert_eq!(client.write(&["d e", "y"], 512, &[b'L'; 512]), Ok(512));
    let text = find(&mut client, "plan9").text;
    assert_eq!(text, "crypt x /a\ncrypt 'd e/y' /b\n");
    (place, text)
}

#[track_caller]
fn shows_no_key(text: &str) {
    let text = text.to_lowercase();
    for key in [SHORT, LONG] {
        for at in 0..=key.len() - FRAGMENT {
            let fragment = &key[at..at + FRAGMENT];
            assert!(!text.contains(fragment), "{fragment} of a key is in {text:?}");
        }
    }
}

#[test]
fn restored_devices_take_their_keys_from_the_file() {
    let (place, text) = encrypted();
    let config = place.file("config", &text);
    for mode in [0o600, 0o400] {
        let keys = keys_file(&place, &format!("\nfs/x {SHORT}\n'd e/y' {LONG}"), mode);
        let serve = serve(&place, "plan9").option("--config", &config).option("--keys", keys);
        let program = serve.start();
        let mut client = mount(&program);
        assert_eq!(client.read(&["fs", "x"], 512, 512), Ok(vec![b'S'; 512]));
        assert_eq!(client.read(&["d e", "y"], 512, 512), Ok(vec![b'L'; 512]));
        assert_eq!(find(&mut client, "plan9").text, text);
        assert_eq!(program.errors(), "");
        fs::remove_file(place.path().join("keys")).expect("it is ours");
    }
}

#[test]
fn without_its_key_a_device_is_listed_and_answers_io_error() {
    let (place, text) = encrypted();
    let config = place.file("config", &text);
    let keys = keys_file(&place, &format!("x {SHORT}\nfs/z {SHORT}\n"), 0o600);
    let before = fs::read(place.root().join("b")).expect("the inner file");
    let serve = serve(&place, "plan9").option("--config", config).option("--keys", keys);
    let program = serve.start();
    let mut client = mount(&program);
    let found = find(&mut client, "plan9");
    assert_eq!(found.text, text);
    let shown: Vec<_> = found.devices.iter().map(|one| (&one.name[..], one.length)).collect();
    assert_eq!(shown, [("x", 8 * 512), ("y", 8 * 512)]);
    assert_eq!(client.read(&["fs", "x"], 512, 512), Ok(vec![b'S'; 512]));
    let io_error = Failure::Error("i/o error".to_owned());
    assert_eq!(client.read(&["d e", "y"], 512, 512), Err(io_error.clone()));
    assert_eq!(client.write(&["d e", "y"], 512, &[0; 512]), Err(io_error));
    assert_eq!(fs::read(place.root().join("b")).expect("the inner file"), before);
    // Past the end and at odd places it answers like any other.
    assert_eq!(client.read(&["d e", "y"], 8 * 512, 512), Ok(vec![]));
    let bad_arg = Failure::Error("bad arg in system call".to_owned());
    assert_eq!(client.read(&["d e", "y"], 1, 512), Err(bad_arg));
    let errors = program.errors();
    assert!(errors.contains("crypt device d e/y has no key"), "{errors}");
    assert!(errors.contains("a key for a crypt device that there is not line=2"), "{errors}");
    shows_no_key(&errors);
}

#[test]
fn a_file_that_others_can_get_at_is_refused() {
    let (place, text) = encrypted();
    let config = place.file("config", &text);
    for mode in [0o644, 0o640, 0o604, 0o620, 0o602, 0o601] {
        let keys = keys_file(&place, &format!("x {SHORT}\n"), mode);
        let serve = serve(&place, "plan9").option("--config", &config).option("--keys", &keys);
        let ended = serve.end();
        let keys = keys.display();
        let said = format!(
            "dsfs: {keys}: mode {mode:04o}: others can get at the keys in it; chmod 600 {keys}\n"
        );
        assert_eq!((ended.code, ended.stderr), (1, said));
    }
    let keys = keys_file(&place, "", 0o600);
    let ended = serve(&place, "plan9").option("--keys", keys).end();
    assert_eq!(ended.code, 2, "keys for nothing: {ended:?}");
}

/// Whatever is wrong with the file of keys or with the configuration, and in either dialect.
#[test]
fn no_error_at_the_start_shows_a_key() {
    let (place, _) = encrypted();
    for line in [
        format!("{SHORT} x"),
        format!("x y {SHORT}"),
        format!("x{SHORT}"),
        format!("d/x/{LONG} {SHORT}"),
        format!("x {}", &SHORT[2..]),
        format!("x {SHORT}\nx {LONG}"),
    ] {
        let config = place.file("config", "crypt x /a\n");
        let keys = keys_file(&place, &line, 0o600);
        let serve = serve(&place, "plan9").option("--config", config).option("--keys", keys);
        let ended = serve.flag("-vv").end();
        assert_eq!((ended.code, &ended.stdout[..]), (1, ""), "{line}");
        assert!(ended.stderr.contains("keys: line "), "{}", ended.stderr);
        shows_no_key(&ended.stderr);
    }
    for line in [
        format!("crytp x /a {SHORT}"),
        format!("crypt x /gone {LONG}"),
        format!("crypt x {SHORT}"),
        format!("crypt x /a {SHORT} {LONG}"),
        format!("crypt x /a {}", &SHORT[2..]),
        format!("crypt a/b/{SHORT} /a {LONG}"),
        format!("cryptx/a{SHORT}"),
        SHORT.to_string(),
        format!("cat x {LONG}"),
    ] {
        for (dialect, _) in DIALECTS {
            for signature in ["", "fsdev:\n"] {
                let config = place.file("config", &format!("{signature}{line}\n"));
                let ended = serve(&place, dialect).option("--config", config).flag("-vv").end();
                assert_eq!((ended.code, &ended.stdout[..]), (1, ""), "{line}");
                assert!(ended.stderr.contains("config: line "), "{}", ended.stderr);
                shows_no_key(&ended.stderr);
            }
        }
    }
}

/// All that a server prints, at its most talkative, and all that it lets clients read.
#[test]
fn a_running_server_shows_no_key() {
    let (place, text) = encrypted();
    let config = place.file("config", &format!("{text}crypt z /b {SHORT}\n"));
    let keys = keys_file(&place, &format!("x {SHORT}\n'd e/y' {LONG}\n"), 0o600);
    let serve = serve(&place, "plan9").option("--config", config).option("--keys", keys);
    let program = serve.flag("-vv").start();
    let mut client = mount(&program);
    let messages = [
        format!("crypt n /a {LONG}\n"),
        format!("crypt x /a {SHORT}\n"),
        format!("crypt k /gone {SHORT}\n"),
        format!("crypt k /a {SHORT} {LONG}\n"),
        format!("crypt k /a {}\n", &SHORT[2..]),
        format!("crypt a/b/c /a {LONG}\n"),
        "crypt k /a\n".to_owned(),
        "del n\n".to_owned(),
    ];
    let results = write_all(&mut client, "plan9", &messages);
    let told: Vec<String> = results
        .iter()
        .map(|result| result.clone().map_or_else(|e| e.to_string(), |()| "ok".into()))
        .collect();
    let wanted = [
        "ok",
        "Rerror \"file already exists\"",
        "Rerror \"file does not exist: '/gone'\"",
        "Rerror \"ctl usage: crypt newname device keyhex\"",
        "Rerror \"bad hexkey\"",
        "Rerror \"bad character in file name: b/c\"",
        "Rerror \"ctl usage: crypt newname device keyhex\"",
        "ok",
    ];
    assert_eq!(told, wanted);
    let found = find(&mut client, "plan9");
    assert_eq!(found.text, "crypt x /a\ncrypt z /b\ncrypt 'd e/y' /b\n");
    shows_no_key(&format!("{found:?}"));
    for bad in [0u64, 1, 512, 9999] {
        let _ = client.read(&["fs", "x"], bad, 512);
        let _ = client.write(&["fs", "x"], bad, &[1; 511]);
    }
    drop(client);
    let errors = program.errors();
    assert!(errors.contains("DEBUG"), "nothing is said at -vv: {errors:?}");
    shows_no_key(&errors);
}
