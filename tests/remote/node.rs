//! The servers of these tests, each a process of its own: nodes, which have files and devices made of
//! them, and a front, which mounts nodes.

use std::fs;
use std::path::PathBuf;

use crate::support::client::Client;
use crate::support::program::{Place, Program, Serve};

/// The largest msize that dsfs agrees to, in bytes.
pub const LARGEST: u32 = (1 << 20) + 24;

/// A dsfs with a directory of files, and devices that it has from its start.
pub struct Node {
    // Before the place, so that it is killed first.
    program: Program,
    place: Place,
    dial: String,
    config: PathBuf,
    options: Vec<(&'static str, PathBuf)>,
}

impl Node {
    /// Starts one. `ctl` are the messages that make its devices.
    pub fn start(files: &[(&str, &[u8])], ctl: &[&str]) -> Node {
        Node::start_with(files, ctl, &[])
    }

    /// As [`Node::start`]; these servers are mounted in its name space: where, and the dial string.
    pub fn start_with(files: &[(&str, &[u8])], ctl: &[&str], mounts: &[(&str, &str)]) -> Node {
        Node::start_on("tcp!127.0.0.1!0", files, ctl, mounts)
    }

    /// Starts one without files at this address.
    pub fn start_at(dial: &str, ctl: &[&str], mounts: &[(&str, &str)]) -> Node {
        Node::start_on(dial, &[], ctl, mounts)
    }

    fn start_on(
        listen: &str,
        files: &[(&str, &[u8])],
        ctl: &[&str],
        mounts: &[(&str, &str)],
    ) -> Node {
        let place = Place::new();
        for (name, data) in files {
            fs::write(place.root().join(name), data).expect("a new file");
        }
        let config = place.file("saved", &saved(ctl));
        let namespace = place.file("namespace", &namespace(mounts));
        let options = vec![("--root", place.root()), ("--namespace", namespace)];
        let program = serve(listen, &config, &options);
        let dial = program.dial().to_owned();
        Node { program, place, dial, config, options }
    }

    /// Where it listens, also after it was started again.
    pub fn dial(&self) -> &str {
        &self.dial
    }

    /// What one of its files holds.
    pub fn file(&self, name: &str) -> Vec<u8> {
        fs::read(self.place.root().join(name)).expect("it is there")
    }

    /// Kills it (SIGKILL).
    pub fn kill(&mut self) {
        self.program.kill();
    }

    /// Starts it again where it was, after it was killed.
    pub fn start_again(&mut self) {
        self.program = serve(&self.dial, &self.config, &self.options);
    }

    /// As [`Node::start_again`], with other devices.
    pub fn start_again_with(&mut self, ctl: &[&str]) {
        fs::write(&self.config, saved(ctl)).expect("its own file");
        self.start_again();
    }
}

fn saved(ctl: &[&str]) -> String {
    format!("fsdev:\n{}\n", ctl.join("\n"))
}

/// The default name space, and these mounts.
fn namespace(mounts: &[(&str, &str)]) -> String {
    let mut text = "bind #U /\nbind #k/ds /ds\n".to_owned();
    for (at, dial) in mounts {
        text += &format!("mount -A {dial} {at}\n");
    }
    text
}

fn serve(listen: &str, config: &PathBuf, options: &[(&'static str, PathBuf)]) -> Program {
    let serve = Serve::on(listen).option("--config", config);
    options.iter().fold(serve, |serve, (name, value)| serve.option(name, value)).start()
}

/// A dsfs that mounts others.
pub struct Front {
    pub program: Program,
    place: Place,
}

impl Front {
    /// Starts one that mounts these servers: where, and the dial string.
    pub fn start(mounts: &[(&str, &str)]) -> Front {
        Front::start_with(mounts, &[])
    }

    /// As [`Front::start`], with these options.
    pub fn start_with(mounts: &[(&str, &str)], options: &[(&str, &str)]) -> Front {
        let place = Place::new();
        let namespace = place.file("namespace", &namespace(mounts));
        let serve = Serve::on("tcp!127.0.0.1!0")
            .option("--root", place.root())
            .option("--namespace", namespace);
        let serve = options.iter().fold(serve, |serve, (name, value)| serve.option(name, value));
        Front { program: serve.start(), place }
    }

    /// Makes a file of its own.
    pub fn create(&self, name: &str, data: &[u8]) {
        fs::write(self.place.root().join(name), data).expect("a new file");
    }

    /// What one of its own files holds.
    pub fn file(&self, name: &str) -> Vec<u8> {
        fs::read(self.place.root().join(name)).expect("it is there")
    }

    /// A client that is attached to its devices.
    pub fn client(&self) -> Client {
        Client::mount(self.program.dial(), LARGEST, "").expect("it serves")
    }

    /// Carries out messages to ctl.
    ///
    /// # Panics
    /// If one is refused.
    pub fn ctl(&self, messages: &[&str]) {
        let mut client = self.client();
        for message in messages {
            client.ctl(message).unwrap_or_else(|error| panic!("{message}: {error}"));
        }
    }
}
