//! Where a case is played: a directory of its own with the files of the setup, the name space, the
//! program, and what can be seen of the inner files from behind the server's back.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::{Map, Value, json};

use crate::row::{Case, Dialect, Fields};
use crate::support::fault_server::FaultServer;
use crate::support::fault_tree::{Action, Asked, Effect};
use crate::support::program::{Place, Program, Serve};
use crate::support::text::{pattern, sha1_hex};

/// Where `/chunks` is when a case is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunks {
    /// A directory that the server has itself.
    Local,
    /// On a 9P server that logs and fails.
    Remote,
}

/// What a case is played on.
#[derive(Clone, Copy, Debug)]
pub struct Stage {
    /// Where the inner files are.
    pub chunks: Chunks,
    /// Whether the client comes by a Unix socket, and not by TCP.
    pub unix: bool,
}

impl Stage {
    /// Whether the case can be played here.
    pub fn takes(self, case: &Case) -> bool {
        let simple =
            |item: &Map<String, Value>| !item.contains_key("dir") && !item.contains_key("sparse");
        match self.chunks {
            Chunks::Local => !case.steps.iter().any(|step| step.op == "fault"),
            Chunks::Remote => case.setup.iter().all(simple),
        }
    }
}

/// What the inner files hold, by name. Not the sparse ones, which are too large to look through.
pub type Contents = BTreeMap<String, Vec<u8>>;

/// Every file that a test makes is at most this large, unless it is sparse.
const LARGEST: u64 = 16 << 20;

/// The world of one case.
pub struct World {
    // Before the place and the files, so that it is killed first.
    program: Program,
    remote: Option<FaultServer>,
    place: Place,
    /// The files of the setup that are looked at.
    watched: Vec<String>,
}

impl World {
    /// Makes the files and starts the program.
    pub fn new(case: &Case, stage: Stage) -> World {
        let place = Place::new();
        let remote = (stage.chunks == Chunks::Remote).then(FaultServer::start);
        fs::create_dir(place.root().join("chunks")).expect("a fresh directory");
        let mut watched = Vec::new();
        for item in &case.setup {
            make(&place, remote.as_ref(), &Fields::new(&case.name, item), &mut watched);
        }
        let namespace = place.file("namespace", &namespace(case, remote.as_ref()));
        let listen = match stage.unix {
            true => format!("unix!{}", place.path().join("socket").display()),
            false => "tcp!127.0.0.1!0".to_owned(),
        };
        // Root may open everything, so the files that the setup closes need another user too.
        let closes = |item: &Map<String, Value>| {
            ["file", "perm"].iter().all(|name| item.contains_key(*name))
        };
        let closed = remote.is_none() && case.setup.iter().any(closes);
        let by_root = rustix::process::geteuid().is_root();
        let serve = match by_root && (case.another_user || closed) {
            true => Serve::as_nobody(&listen, place.path()),
            false => Serve::on(&listen),
        };
        let serve = serve
            .option("--root", place.root())
            .option("--owner", "root")
            .option("--namespace", namespace);
        let program = match case.dialect {
            Dialect::Devds => serve.start(),
            Dialect::Plan9 => serve.option("--dialect", "plan9").start(),
        };
        World { program, remote, place, watched }
    }

    /// Where the program listens.
    pub fn dial(&self) -> &str {
        self.program.dial()
    }

    /// What the program said on its standard error, and whether it died.
    pub fn last_words(&mut self) -> String {
        let errors = self.program.errors();
        match self.program.ended() {
            Some(code) => format!("{errors}(the server ended, exit code {code})\n"),
            None => errors,
        }
    }

    /// What the watched files hold now.
    pub fn contents(&self) -> Contents {
        let held = |name: &String| Some((name.clone(), self.content(name)?));
        self.watched.iter().filter_map(held).collect()
    }

    fn content(&self, name: &str) -> Option<Vec<u8>> {
        match &self.remote {
            Some(remote) => {
                let tree = remote.tree();
                tree.find(chunk(name)).ok().map(|id| tree.data(id).to_vec())
            }
            None => match fs::read(self.path(name)) {
                Err(error) if error.kind() == ErrorKind::NotFound => None,
                read => Some(read.expect("a file of the setup")),
            },
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.root().join(&name[1..])
    }

    /// Something happens to a file behind the server's back.
    pub fn host(&self, input: &Fields<'_>) {
        if input.optional("truncate").is_some() {
            let to = input.number("to");
            self.change(&input.text("truncate"), |data| data.resize(to as usize, 0));
        } else if input.optional("append").is_some() {
            let more = data(input);
            self.change(&input.text("append"), |data| data.extend(more));
        } else {
            let name = input.text("unlink");
            match &self.remote {
                Some(remote) => remote.tree().unlink(chunk(&name)),
                None => fs::remove_file(self.path(&name)).expect("a file of the setup"),
            }
        }
    }

    /// Changes a file in place, as a program that has it open would.
    fn change(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        if let Some(remote) = &self.remote {
            return remote.tree().change(chunk(name), change);
        }
        let mut data = self.content(name).expect("a watched file of the setup");
        change(&mut data);
        let mut file = OpenOptions::new().write(true).open(self.path(name)).expect("it is ours");
        file.write_all(&data).expect("a file takes data");
        file.set_len(data.len() as u64).expect("a file can be cut");
    }

    /// From now on a file fails.
    pub fn fault(&self, input: &Fields<'_>) {
        let name = input.text("file");
        let action = match &input.text("on")[..] {
            "open" => Action::Open,
            "read" => Action::Read,
            "write" => Action::Write,
            other => panic!("a fault on {other}"),
        };
        let effect = match input.optional("short") {
            Some(_) => Effect::Short(input.number("short") as usize),
            None => Effect::Error(input.utf8("error")),
        };
        let count = input.optional("count").map(|_| input.u32("count"));
        let remote = self.remote.as_ref().expect("such a case is played on a server that fails");
        remote.tree().fault(chunk(&name), action, effect, count);
    }

    /// What was asked of the inner files since this was last called, as `inner_ops` has it;
    /// `None` where nobody writes it down.
    pub fn inner_ops(&self) -> Option<Value> {
        let show = |asked: Asked| {
            let action = if asked.action == Action::Read { "read" } else { "write" };
            json!([action, format!("/chunks/{}", asked.name), asked.offset, asked.count])
        };
        Some(self.remote.as_ref()?.tree().take_log().into_iter().map(show).collect())
    }
}

/// The name in the remote directory of a file under `/chunks`.
fn chunk(name: &str) -> &str {
    let chunk = name.strip_prefix("/chunks/").filter(|chunk| !chunk.contains('/'));
    chunk.unwrap_or_else(|| panic!("{name} is not in /chunks itself"))
}

/// The name space file of a case.
fn namespace(case: &Case, remote: Option<&FaultServer>) -> String {
    let chunks = match remote {
        Some(remote) => format!("mount -A {} /chunks\n", remote.dial()),
        None => "bind #U/chunks /chunks\n".to_owned(),
    };
    match case.dialect {
        Dialect::Devds => {
            format!("bind #U /\n{chunks}bind #k/ds /n/ds\nbind #k/ds /ds\n")
        }
        Dialect::Plan9 if case.tree_at_dev => format!("{chunks}bind #k /dev\n"),
        Dialect::Plan9 => chunks,
    }
}

/// Makes what one item of a setup says; commands are played later.
fn make(place: &Place, remote: Option<&FaultServer>, item: &Fields<'_>, watched: &mut Vec<String>) {
    if item.optional("ctl").is_some() {
        return item.finish();
    }
    let perm = item.optional("perm").map(|_| item.octal("perm"));
    if item.optional("dir").is_some() {
        assert!(remote.is_none(), "the server that fails has no directories");
        let path = place.root().join(&item.text("dir")[1..]);
        fs::create_dir(&path).expect("a new directory");
        let perm = perm.unwrap_or(0o755);
        fs::set_permissions(&path, Permissions::from_mode(perm)).expect("it is ours");
        return item.finish();
    }
    let name = item.text("file");
    let size = item.number("size");
    let sparse = item.optional("sparse").is_some();
    let perm = perm.unwrap_or(0o644);
    if sparse {
        assert!(remote.is_none(), "the server that fails has its files in memory");
        let file = File::create(place.root().join(&name[1..])).expect("a new file");
        file.set_len(size).expect("a sparse file");
        return item.finish();
    }
    assert!(size <= LARGEST, "{name}: {size} bytes, and not sparse");
    let data = match item.optional("pattern") {
        Some(_) => pattern(item.number("pattern"), size as usize),
        None => item.bytes("fill").repeat(size as usize),
    };
    item.finish();
    match remote {
        Some(remote) => remote.tree().create(chunk(&name), data, perm),
        None => {
            let path = place.root().join(&name[1..]);
            fs::write(&path, data).expect("a new file");
            fs::set_permissions(&path, Permissions::from_mode(perm)).expect("it is ours");
        }
    }
    watched.push(name);
}

/// The bytes that an input describes: `data`, or `len` with `fill` or `pattern`.
pub fn data(input: &Fields<'_>) -> Vec<u8> {
    if input.optional("data").is_some() {
        return input.bytes("data");
    }
    let len = input.number("len") as usize;
    match input.optional("pattern") {
        Some(_) => pattern(input.number("pattern"), len),
        None => input.bytes("fill").repeat(len),
    }
}

/// The files that differ, as `inner_changed` has it.
pub fn changed(before: &Contents, after: &Contents) -> Value {
    let mut files = Map::new();
    for (name, now) in after {
        let was = before.get(name).map_or(&[][..], |data| data);
        if was == &now[..] {
            continue;
        }
        let len = was.len().max(now.len());
        let differs = |&at: &usize| was.get(at) != now.get(at);
        let first = (0..len).find(differs).expect("they differ");
        let last = (0..len).rev().find(differs).expect("they differ");
        let sha1 = sha1_hex(now);
        let change = json!({"size": now.len(), "changed": [first, last + 1], "sha1": sha1});
        files.insert(name.clone(), change);
    }
    Value::Object(files)
}
