//! SIGHUP at the real server: what it reloads, what it leaves alone, and what it says of it; and what
//! the service manager hears.

mod support;

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use support::fault_server::FaultServer;
use support::program::{Place, Program, Serve, eventually};

/// How long a message of the server may take.
const LIMIT: Duration = Duration::from_secs(30);

/// Runs a command at the server; its standard output if it succeeds, else its errors.
fn run(program: &Program, args: &[&str]) -> Result<String, String> {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_dsfs"));
    let output = command.args(args).args(["-a", program.dial()]).output().expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("it is text");
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

/// Tells the server to reload; what it says of that.
fn reload(program: &Program) -> String {
    let before = program.errors().len();
    program.hang_up();
    eventually("the server says what it did", || {
        let said = program.errors()[before..].to_owned();
        (said.contains("SIGHUP") && said.ends_with('\n')).then_some(said)
    })
}

#[test]
fn the_name_space_is_read_again_and_devices_stay() {
    let (place, far) = (Place::new(), FaultServer::start());
    far.tree().create("f", b"far".to_vec(), 0o600);
    fs::create_dir(place.root().join("sub")).expect("a directory");
    for name in ["a", "sub/b"] {
        fs::write(place.root().join(name), name).expect("a file");
    }
    let names = place.file("names", "bind #U /\n");
    let serve = Serve::on("tcp!127.0.0.1!0").option("--root", place.root());
    let program = serve.option("--namespace", &names).start();
    let ctl = |message: &str| run(&program, &["ctl", message]);
    let read = |name: &str| run(&program, &["read", name]).expect("it can be read");
    ctl("cat a /a").expect("it is there");
    ctl("cat b /s/b").expect_err("nothing is at /s yet");

    let mounts = format!("mount -A {} /n/far\n", far.dial());
    fs::write(&names, format!("bind #U /\nbind #U/sub /s\n{mounts}")).expect("a file");
    ctl("cat b /s/b").expect_err("nobody has told it");
    let said = reload(&program);
    assert!(said.contains("read again: 3 mount points, 1 new servers; devices keep"), "{said}");
    ctl("cat b /s/b").expect("it is there now");
    ctl("cat far /n/far/f").expect("the server is reached");
    assert_eq!((read("a"), read("b"), read("far")), ("a".into(), "sub/b".into(), "far".into()));

    // A bad file changes nothing, and is told by its line.
    fs::write(&names, "bind #U /\nbend #U /x\n").expect("a file");
    let said = reload(&program);
    let want = format!(
        "ERROR dsfs::event_loop::reload: SIGHUP: the name space stays as it was: {}:2: ",
        names.display()
    );
    assert!(said.contains(&want), "{said}");
    ctl("cat again /s/b").expect("the old one is in force");
    fs::remove_file(&names).expect("it is there");
    let said = reload(&program);
    assert!(said.contains("No such file"), "{said}");

    // The mount goes, and the device that was made of it stays; another tree takes its place.
    fs::write(&names, format!("bind #U /\nmount -A {} /m\nbind #U/sub /n/far\n", far.dial()))
        .expect("a file");
    let said = reload(&program);
    assert!(said.contains("0 new servers"), "{said}");
    assert_eq!((read("far"), read("b")), ("far".into(), "sub/b".into()));
    ctl("cat far2 /n/far/f").expect_err("that is another directory now");
    ctl("cat b2 /n/far/b").expect("that is in it");
    ctl("cat far3 /m/f").expect("the server is mounted elsewhere");
    assert_eq!(far.connections(), 1, "and not dialled again for that");
}

#[test]
fn with_nothing_to_reload_it_says_so_and_goes_on() {
    let place = Place::new();
    let program = Serve::on("tcp!127.0.0.1!0").option("--root", place.root()).start();
    let said = reload(&program);
    assert!(said.contains("nothing to reload, with neither --namespace nor --trace"), "{said}");
    assert_eq!(run(&program, &["ls"]).expect("it serves"), "ctl\n");
}

/// A trace that was moved away goes on in a new file of its name.
#[test]
fn the_trace_is_opened_anew() {
    let place = Place::new();
    let (trace, old) = (place.path().join("trace"), place.path().join("old"));
    let serve = Serve::on("tcp!127.0.0.1!0").option("--root", place.root());
    let program = serve.option("--trace", &trace).start();
    run(&program, &["ls"]).expect("it serves");
    fs::rename(&trace, &old).expect("it is there");
    let said = reload(&program);
    assert!(said.contains(&format!("the trace goes on in {}", trace.display())), "{said}");
    let lines = fs::read_to_string(&old).expect("it is there").lines().count();
    assert!(lines > 0, "the first requests are in the old one");
    run(&program, &["ls"]).expect("it serves");
    eventually("the next requests are in the new one", || {
        fs::read_to_string(&trace).expect("it is there").contains("Tversion").then_some(())
    });
    assert_eq!(fs::read_to_string(&old).expect("it is there").lines().count(), lines);

    // A file that can't be opened leaves the one that is.
    fs::remove_file(&trace).expect("it is there");
    fs::create_dir(&trace).expect("the name is free");
    let said = reload(&program);
    assert!(said.contains("in the file that was open") && said.contains("directory"), "{said}");
    run(&program, &["ls"]).expect("it serves on");
}

/// sd_notify(3), as the manager of a unit of Type=notify hears it.
#[test]
fn a_service_manager_hears_when_it_is_ready_reloads_and_ends() {
    let place = Place::new();
    let socket = place.path().join("notify");
    let manager = UnixDatagram::bind(&socket).expect("a socket");
    manager.set_read_timeout(Some(LIMIT)).expect("a timeout");
    let hear = || {
        let mut room = [0; 4096];
        let heard = manager.recv(&mut room).expect("the server says something");
        String::from_utf8(room[..heard].to_vec()).expect("it is text").trim_end().to_owned()
    };
    let serve = Serve::on("tcp!127.0.0.1!0").option("--root", place.root());
    let serve = serve.option("--namespace", place.file("names", "bind #U /\n"));
    let mut program = serve.env("NOTIFY_SOCKET", &socket).start();
    assert_eq!(hear(), "READY=1");
    program.hang_up();
    let reloading = hear();
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert_eq!(hear(), "READY=1");
    program.terminate();
    assert_eq!(hear(), "STOPPING=1");
    assert_eq!(program.wait(), 0);
}
