//! Plays the steps of a case on its connection, and writes down what came in the form of the
//! recordings. It decides nothing: `compare` does.

use serde_json::{Map, Value, json};
use styx::{NOFID, Qid, Rmsg, Tmsg, VERSION, omode};

use crate::row::{Case, Dialect, Fields, Step};
use crate::support::client::{self, Client, Entry, Failure, Outcome, Reply};
use crate::support::text::{escape, sha1_hex};
use crate::world::{World, data};

/// Who attaches, where a step does not say.
const USER: &str = "root";

/// How many bytes of a long Rread the recordings show.
const HEAD: usize = 16;

/// The client of a case.
pub struct Player<'a> {
    case: &'a Case,
    dial: String,
    trace: bool,
    /// `None` once the server has hung up; the next step then connects again.
    client: Option<Client>,
}

impl<'a> Player<'a> {
    /// A client that has not connected yet; `trace` prints every message.
    pub fn new(case: &'a Case, dial: &str, trace: bool) -> Player<'a> {
        Player { case, dial: dial.to_owned(), trace, client: None }
    }

    /// The case's connection, with fid 0 attached.
    fn client(&mut self) -> Outcome<&mut Client> {
        if self.client.is_none() {
            let mut client = Client::dial(&self.dial)?;
            if self.trace {
                client.trace();
            }
            client.version(self.case.msize, VERSION)?;
            attach(&mut client, 0, USER, &self.case.aname)?;
            self.client = Some(client);
        }
        Ok(self.client.as_mut().expect("it was just made"))
    }

    /// The path of `ctl` in the tree that the case is attached to.
    fn ctl(&self) -> &'static [&'static str] {
        match (self.case.dialect, &self.case.aname[..]) {
            (Dialect::Plan9, _) => &["fs", "ctl"],
            (Dialect::Devds, "#k") => &["ds", "ctl"],
            (Dialect::Devds, _) => &["ctl"],
        }
    }

    /// Writes the commands of the setup, whatever comes of each.
    pub fn set_up(&mut self) -> Outcome<()> {
        for item in &self.case.setup {
            if item.contains_key("ctl") {
                match self.command(&Fields::new(&self.case.name, item).bytes("ctl"), 0) {
                    Ok(_) | Err(Failure::Error(_)) => {}
                    Err(failure) => return Err(failure),
                }
            }
        }
        Ok(())
    }

    /// Does what the step says and returns what came as its `reply`.
    ///
    /// # Errors
    /// If what came can be no reply at all.
    pub fn play(&mut self, step: &Step, world: &World) -> Outcome<Value> {
        let came = self.perform(step, world);
        if matches!(came, Err(Failure::Closed)) {
            self.client = None;
        }
        match came {
            Ok(value) => Ok(value),
            Err(Failure::Error(text)) => Ok(json!({"Rerror": escape(text.as_bytes())})),
            Err(Failure::Closed) => Ok(json!({"closed": true})),
            Err(failure) => Err(failure),
        }
    }

    fn perform(&mut self, step: &Step, world: &World) -> Outcome<Value> {
        let empty = Map::new();
        let input = match &step.input {
            Value::Object(fields) => fields,
            _ => &empty,
        };
        let input = Fields::new(&step.name, input);
        let came = match &step.op[..] {
            "check" => Ok(Value::Null),
            "host" => {
                world.host(&input);
                Ok(Value::Null)
            }
            "fault" => {
                world.fault(&input);
                Ok(Value::Null)
            }
            "ctl" => match &step.input {
                Value::Object(_) => self.command(&input.bytes("text"), input.number("offset")),
                _ => {
                    let whole = json!({"text": step.input});
                    self.command(&Fields::of(&step.name, &whole).bytes("text"), 0)
                }
            },
            "version" => self.version(&input),
            "raw" => self.raw(&input),
            "read+flush" => self.read_and_flush(&input),
            op if op.starts_with('T') => self.message(op, &input),
            op => self.whole(op, &input),
        };
        input.finish();
        came
    }

    /// One command, on a fid of its own.
    fn command(&mut self, text: &[u8], offset: u64) -> Outcome<Value> {
        let path = self.ctl();
        self.client()?.on_open(path, Some(omode::OWRITE), |client, fid| {
            shown(&client.rpc(&Tmsg::Write { fid, offset, data: text })?)
        })
    }

    /// An operation on a fid of its own.
    fn whole(&mut self, op: &str, input: &Fields<'_>) -> Outcome<Value> {
        let client = self.client()?;
        if op == "attach" {
            let aname = input.optional("aname").map_or(String::new(), |_| input.utf8("aname"));
            let uname = input.optional("uname").map_or(USER.to_owned(), |_| input.utf8("uname"));
            let fid = client.fid();
            let reply = attach(client, fid, &uname, &aname)?;
            client.rpc(&Tmsg::Clunk { fid })?;
            return shown(&reply);
        }
        if op == "walk" {
            let from = input.optional("from").map_or(Vec::new(), |_| input.names("from"));
            return walk(client, &from, &input.names("names"));
        }
        let path = input.names("path");
        match op {
            "read" | "write" => return transfer(client, op, &path, input),
            "ls" => return Ok(json!({"dir": entries(&client.ls(&path)?)})),
            "remove" => return remove(client, &path),
            _ => {}
        }
        // All of the input is read before the walk, which may fail.
        let mode = mode(input).unwrap_or_default();
        let name = input.optional("name").map_or(String::new(), |_| input.utf8("name"));
        let perm = input.optional("perm").map_or(0, |_| input.octal("perm"));
        let stat = input.optional("stat").map_or(Vec::new(), |_| input.hex("stat"));
        client.on(&path, |client, fid| {
            let request = match op {
                "stat" => Tmsg::Stat { fid },
                "open" => Tmsg::Open { fid, mode },
                "create" => Tmsg::Create { fid, name: &name, perm, mode },
                "wstat" => Tmsg::Wstat { fid, stat: &stat },
                _ => panic!("op {op} is not known"),
            };
            shown(&client.rpc(&request)?)
        })
    }

    /// One message on the case's connection.
    fn message(&mut self, op: &str, input: &Fields<'_>) -> Outcome<Value> {
        let client = self.client()?;
        let text = |name| input.optional(name).map(|_| input.utf8(name));
        let uname = text("uname").unwrap_or(USER.to_owned());
        let aname = text("aname").unwrap_or_default();
        let fid = input.optional("fid").map(|_| input.u32("fid")).unwrap_or(NOFID);
        let (bytes, name);
        let request = match op {
            "Tversion" => return versions(client, input),
            "Tflush" => return flush(client, input),
            "Twalk" => {
                return shown(&client.walk(fid, input.u32("newfid"), &input.names("names"))?);
            }
            "Tread" => return read(client, fid, input),
            "Tauth" => Tmsg::Auth { afid: input.u32("afid"), uname: &uname, aname: &aname },
            "Tattach" => {
                let afid = input.optional("afid").map_or(NOFID, |_| input.u32("afid"));
                Tmsg::Attach { fid, afid, uname: &uname, aname: &aname }
            }
            "Topen" => Tmsg::Open { fid, mode: mode(input).expect("an open has a mode") },
            "Tcreate" => {
                name = input.utf8("name");
                let mode = mode(input).expect("a create has a mode");
                Tmsg::Create { fid, name: &name, perm: input.octal("perm"), mode }
            }
            "Twrite" => {
                bytes = data(input);
                Tmsg::Write { fid, offset: input.number("offset"), data: &bytes }
            }
            "Tclunk" => Tmsg::Clunk { fid },
            "Tremove" => Tmsg::Remove { fid },
            "Tstat" => Tmsg::Stat { fid },
            "Twstat" => {
                bytes = input.hex("stat");
                Tmsg::Wstat { fid, stat: &bytes }
            }
            _ => panic!("message {op} is not known"),
        };
        shown(&client.rpc(&request)?)
    }

    /// Tversion on a new connection.
    fn version(&mut self, input: &Fields<'_>) -> Outcome<Value> {
        let mut client = Client::dial(&self.dial)?;
        if self.trace {
            client.trace();
        }
        versions(&mut client, input)
    }

    /// A message of any type and body.
    fn raw(&mut self, input: &Fields<'_>) -> Outcome<Value> {
        let client = self.client()?;
        let kind = u8::try_from(input.number("type")).expect("a type is one byte");
        let tag = client.tag();
        shown(&client.exchange(&client::frame(kind, tag, &input.hex("body")))?)
    }

    /// Tread and Tflush in one packet. Legal: Rflush last, and at most an Rread before it.
    fn read_and_flush(&mut self, input: &Fields<'_>) -> Outcome<Value> {
        let (offset, count) = (input.number("offset"), input.u32("count"));
        self.client()?.on_open(&input.names("path"), Some(omode::OREAD), |client, fid| {
            let (oldtag, tag) = (client.tag(), client.tag());
            let mut packet = Vec::new();
            Tmsg::Read { fid, offset, count }.encode(oldtag, &mut packet);
            Tmsg::Flush { oldtag }.encode(tag, &mut packet);
            client.send(&packet)?;
            let mut reply = client.receive()?;
            let first = (reply.tag(), matches!(reply.msg(), Rmsg::Read { .. }));
            if first == (oldtag, true) {
                reply = client.receive()?;
            }
            // A late Rread would be taken for the answer to the Tclunk that follows, and told.
            let legal = reply.tag() == tag && matches!(reply.msg(), Rmsg::Flush);
            Ok(json!({"legal": legal}))
        })
    }

    /// All of ctl.
    pub fn ctl_text(&mut self) -> Outcome<Value> {
        let path = self.ctl();
        Ok(Value::String(escape(&self.client()?.read_all(path)?)))
    }

    /// The directory as `dir_after` has it; in the plan9 dialect the whole tree.
    pub fn directory(&mut self) -> Outcome<Value> {
        let plan9 = self.case.dialect == Dialect::Plan9;
        let client = self.client()?;
        let mut rows = Vec::new();
        for entry in client.ls(&[] as &[&str])? {
            rows.push(row("", &entry));
            if plan9 && entry.qid.is_dir() {
                let inside = client.ls(&[&entry.name])?;
                rows.extend(inside.iter().map(|inner| row(&entry.name, inner)));
            }
        }
        Ok(Value::Array(rows))
    }
}

fn row(dir: &str, entry: &Entry) -> Value {
    let slash = if dir.is_empty() { "" } else { "/" };
    let name = escape(format!("{dir}{slash}{}", entry.name).as_bytes());
    json!([name, entry.length, entry.qid.path])
}

fn attach(client: &mut Client, fid: u32, uname: &str, aname: &str) -> Outcome<Reply> {
    client.rpc(&Tmsg::Attach { fid, afid: NOFID, uname, aname })
}

/// The open mode; `None` for one that is null or not given.
fn mode(input: &Fields<'_>) -> Option<u8> {
    match input.optional("mode") {
        None | Some(Value::Null) => None,
        _ => Some(u8::try_from(input.number("mode")).expect("a mode is one byte")),
    }
}

fn walk(client: &mut Client, from: &[Vec<u8>], names: &[Vec<u8>]) -> Outcome<Value> {
    client.on(from, |client, fid| {
        let newfid = client.fid();
        let reply = client.walk(fid, newfid, names)?;
        let Rmsg::Walk { qids } = reply.msg() else { unreachable!() };
        if qids.len() == names.len() {
            client.rpc(&Tmsg::Clunk { fid: newfid })?;
        }
        shown(&reply)
    })
}

/// `read` and `write`: opened in the mode that is given, or the one that the operation needs.
fn transfer(client: &mut Client, op: &str, path: &[Vec<u8>], input: &Fields<'_>) -> Outcome<Value> {
    let usual = if op == "read" { omode::OREAD } else { omode::OWRITE };
    let mode = if input.optional("mode").is_some() { mode(input) } else { Some(usual) };
    let offset = input.number("offset");
    if op == "read" {
        let count = input.u32("count");
        return client.on_open(path, mode, |client, fid| {
            shown(&client.rpc(&Tmsg::Read { fid, offset, count })?)
        });
    }
    let data = data(input);
    client.on_open(path, mode, |client, fid| {
        shown(&client.rpc(&Tmsg::Write { fid, offset, data: &data })?)
    })
}

/// Tremove, and what became of the fid.
fn remove(client: &mut Client, path: &[Vec<u8>]) -> Outcome<Value> {
    let fid = client.walk_to(path)?;
    let mut came = match client.rpc(&Tmsg::Remove { fid }) {
        Ok(reply) => shown(&reply)?,
        Err(Failure::Error(text)) => json!({"Rerror": escape(text.as_bytes())}),
        Err(failure) => return Err(failure),
    };
    came["fid_after"] = match client.rpc(&Tmsg::Stat { fid }) {
        Ok(_) => json!("still there"),
        Err(Failure::Error(text)) => json!(escape(text.as_bytes())),
        Err(failure) => return Err(failure),
    };
    Ok(came)
}

fn versions(client: &mut Client, input: &Fields<'_>) -> Outcome<Value> {
    let (msize, version) = client.version(input.u32("msize"), &input.utf8("version"))?;
    Ok(json!({"Rversion": [msize, escape(version.as_bytes())]}))
}

/// Tflush of a tag, or of its own.
fn flush(client: &mut Client, input: &Fields<'_>) -> Outcome<Value> {
    let tag = client.tag();
    let oldtag = match input.optional("oldtag") {
        Some(Value::String(own)) if own == "own" => tag,
        _ => u16::try_from(input.number("oldtag")).expect("a tag has 16 bits"),
    };
    let mut frame = Vec::new();
    Tmsg::Flush { oldtag }.encode(tag, &mut frame);
    shown(&client.exchange(&frame)?)
}

/// Tread; `dir` adds the names of the entries.
fn read(client: &mut Client, fid: u32, input: &Fields<'_>) -> Outcome<Value> {
    let (offset, count) = (input.number("offset"), input.u32("count"));
    let dir = input.optional("dir").is_some();
    let reply = client.rpc(&Tmsg::Read { fid, offset, count })?;
    let mut came = shown(&reply)?;
    if dir {
        let names =
            Entry::all(reply.data())?.into_iter().map(|entry| escape(entry.name.as_bytes()));
        came["Rread"]["names"] = names.collect();
    }
    Ok(came)
}

/// A reply in the form of the recordings, with all that they may ask about.
fn shown(reply: &Reply) -> Outcome<Value> {
    Ok(match reply.msg() {
        Rmsg::Attach { qid: q } => json!({"Rattach": qid(q)}),
        Rmsg::Auth { aqid } => json!({"Rauth": qid(aqid)}),
        Rmsg::Walk { qids } => json!({"Rwalk": qids.iter().map(|&q| qid(q)).collect::<Value>()}),
        Rmsg::Open { qid: q, iounit } => json!({"Ropen": {"qid": qid(q), "iounit": iounit}}),
        Rmsg::Create { qid: q, iounit } => json!({"Rcreate": {"qid": qid(q), "iounit": iounit}}),
        Rmsg::Read { data } => {
            let head = escape(&data[..data.len().min(HEAD)]);
            let (count, sha1) = (data.len(), sha1_hex(data));
            json!({"Rread": {"count": count, "data": escape(data), "sha1": sha1, "head": head}})
        }
        Rmsg::Write { count } => json!({"Rwrite": count}),
        Rmsg::Stat { .. } => json!({"Rstat": entry(&client::entry(reply)?)}),
        Rmsg::Clunk => json!({"Rclunk": true}),
        Rmsg::Remove => json!({"Rremove": true}),
        Rmsg::Wstat => json!({"Rwstat": true}),
        Rmsg::Flush => json!({"Rflush": true}),
        Rmsg::Version { msize, version } => json!({"Rversion": [msize, version]}),
        Rmsg::Error { ename } => json!({"Rerror": escape(ename.as_bytes())}),
    })
}

fn qid(qid: Qid) -> Value {
    json!({"type": qid.kind, "vers": qid.vers, "path": qid.path})
}

fn entries(entries: &[Entry]) -> Value {
    entries.iter().map(entry).collect()
}

fn entry(entry: &Entry) -> Value {
    json!({
        "name": escape(entry.name.as_bytes()),
        "qid": qid(entry.qid),
        // Octal, with the leading 0 of C.
        "mode": format!("0{:o}", entry.mode),
        "atime": entry.atime,
        "mtime": entry.mtime,
        "length": entry.length,
        "uid": escape(entry.uid.as_bytes()),
        "gid": escape(entry.gid.as_bytes()),
        "muid": escape(entry.muid.as_bytes()),
    })
}
