//! A server with a state directory and two chunks, and what the tests ask of it.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::support::client::{Client, MSIZE, Outcome};
use crate::support::program::{Place, Program, Serve};

/// How long mending may take. It waits a second or two by itself; a loaded machine adds to that.
const HEALED: Duration = Duration::from_secs(120);

/// The bytes of a leg.
pub const LENGTH: usize = 1 << 20;

pub struct Lab {
    pub place: Place,
    namespace: Option<PathBuf>,
}

impl Lab {
    /// Chunks `c0` and `c1` that hold the same bytes.
    pub fn new() -> Lab {
        let lab = Lab { place: Place::new(), namespace: None };
        for leg in 0..2 {
            fs::write(lab.chunk(leg), first_bytes()).expect("a chunk");
        }
        lab
    }

    /// With another 9P server at `/n/far`.
    pub fn with_remote(dial: &str) -> Lab {
        let mut lab = Lab::new();
        let text = format!("bind #U /\nbind #k/ds /ds\nmount -A {dial} /n/far\n");
        lab.namespace = Some(lab.place.file("namespace", &text));
        lab
    }

    pub fn chunk(&self, leg: usize) -> PathBuf {
        self.place.root().join(format!("c{leg}"))
    }

    pub fn bytes(&self, leg: usize) -> Vec<u8> {
        fs::read(self.chunk(leg)).expect("the chunk is there")
    }

    pub fn state(&self) -> PathBuf {
        self.place.path().join("state")
    }

    pub fn serve(&self) -> Serve {
        let serve = Serve::on("tcp!127.0.0.1!0").option("--root", self.place.root());
        let serve = serve.option("--state", self.state());
        match &self.namespace {
            Some(file) => serve.option("--namespace", file),
            None => serve,
        }
    }

    /// A server with the mirror `m0` of both chunks.
    pub fn start(&self) -> Program {
        let program = self.serve().start();
        ctl(&program, "mirror m0 c0 c1");
        program
    }
}

/// What the chunks hold at first: no byte is 0, so that a hole would show.
pub fn first_bytes() -> Vec<u8> {
    (0..LENGTH).map(|at| (at * 7 / 3) as u8 | 1).collect()
}

pub fn ds(program: &Program) -> Client {
    Client::mount(program.dial(), MSIZE, "").expect("a client")
}

pub fn ctl(program: &Program, message: &str) {
    ds(program).write(&["ctl"], 0, message.as_bytes()).expect("the message is taken");
}

pub fn admin(program: &Program, message: &str) -> Outcome<String> {
    let mut client = Client::mount(program.dial(), MSIZE, "admin")?;
    client.write(&["ctl"], 0, message.as_bytes())?;
    text(&mut client, "ctl")
}

pub fn text(client: &mut Client, file: &str) -> Outcome<String> {
    Ok(String::from_utf8_lossy(&client.read_all(&[file])?).into_owned())
}

/// What has happened to the mirrors.
pub fn log(program: &Program) -> String {
    let mut client = Client::mount(program.dial(), MSIZE, "admin").expect("a client");
    text(&mut client, "log").expect("a log")
}

pub fn status(program: &Program) -> String {
    let mut client = Client::mount(program.dial(), MSIZE, "admin").expect("a client");
    text(&mut client, "status").expect("a status")
}

/// Waits until the status has these words.
pub fn wait_for(program: &Program, words: &str) -> String {
    let began = Instant::now();
    loop {
        let status = status(program);
        if status.contains(words) {
            return status;
        }
        let late = began.elapsed() > HEALED;
        assert!(!late, "{words:?} is not in the status:\n{status}\n{}", program.errors());
        std::thread::sleep(Duration::from_millis(50));
    }
}
