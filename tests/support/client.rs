//! A blocking 9P client for tests. It sends what it is told to, legal or not, checks of each reply
//! only what every 9P2000 server owes (a whole frame within msize, the tag, the type, no more data
//! than was asked for), and never waits longer than [`PATIENCE`].

use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use styx::frame::{HEADER, frame_len};
use styx::{IOHDRSZ, NOFID, NOTAG, Qid, Rmsg, Stat, Tmsg, VERSION, mtype, omode};

use super::text::{escape, hex};

/// How long a reply may take. No test has a server that is right to be this slow.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The msize to ask for when a test does not care: what Inferno's mount asks for.
pub const MSIZE: u32 = 8216;

/// The largest msize that dsfs agrees to (1 MiB and a header), in bytes: the bound on a frame
/// before a version is agreed on.
const LARGEST_MSIZE: u32 = (1 << 20) + IOHDRSZ;

/// Fids of whole operations start here, out of the way of the fids that a test names itself.
const FIRST_FID: u32 = 100_000;

/// Why there is no reply of the kind that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Rerror, with its text; or `(short walk 1/2)` for a path that leads nowhere after its
    /// first element.
    Error(String),
    /// The server hung up.
    Closed,
    /// No reply within [`PATIENCE`].
    Timeout,
    /// What came is not a 9P2000 reply to what was sent: what is wrong with it.
    Garbage(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Error(text) => write!(f, "Rerror {text:?}"),
            Failure::Closed => write!(f, "the server hung up"),
            Failure::Timeout => write!(f, "no reply in {} s", PATIENCE.as_secs()),
            Failure::Garbage(what) => write!(f, "{what}"),
        }
    }
}

/// What an operation comes to.
pub type Outcome<T> = Result<T, Failure>;

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        use io::ErrorKind::*;
        match error.kind() {
            UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe | NotConnected => {
                Failure::Closed
            }
            WouldBlock | TimedOut => Failure::Timeout,
            _ => Failure::Garbage(format!("the socket failed: {error}")),
        }
    }
}

/// A frame from the server that is a whole R-message.
#[derive(Clone, PartialEq, Eq)]
pub struct Reply {
    frame: Vec<u8>,
}

impl Reply {
    fn new(frame: Vec<u8>) -> Outcome<Reply> {
        match Rmsg::decode(&frame) {
            Ok(_) => Ok(Reply { frame }),
            Err(error) => Err(Failure::Garbage(format!("{error}: frame {}", hex(&frame)))),
        }
    }

    /// The message.
    pub fn msg(&self) -> Rmsg<'_> {
        self.decoded().1
    }

    /// Its tag.
    pub fn tag(&self) -> u16 {
        self.decoded().0
    }

    /// The data of an Rread.
    ///
    /// # Panics
    /// If it is no Rread.
    pub fn data(&self) -> &[u8] {
        match self.msg() {
            Rmsg::Read { data } => data,
            other => panic!("an Rread was wanted, and {other:?} came"),
        }
    }

    fn decoded(&self) -> (u16, Rmsg<'_>) {
        Rmsg::decode(&self.frame).expect("it was decoded when it came")
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (tag, msg) = self.decoded();
        write!(f, "tag {tag} {msg:?}")
    }
}

/// A directory entry that owns its strings.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are those of styx::Stat")]
pub struct Entry {
    pub qid: Qid,
    pub mode: u32,
    pub atime: u32,
    pub mtime: u32,
    pub length: u64,
    pub name: String,
    pub uid: String,
    pub gid: String,
    pub muid: String,
}

impl Entry {
    /// Every entry in `bytes`, which is what reads of a directory give.
    pub fn all(mut bytes: &[u8]) -> Outcome<Vec<Entry>> {
        let mut entries = Vec::new();
        while !bytes.is_empty() {
            let (stat, rest) = Stat::decode_first(bytes)
                .map_err(|error| Failure::Garbage(format!("{error}: {}", hex(bytes))))?;
            entries.push(Entry::from(stat));
            bytes = rest;
        }
        Ok(entries)
    }
}

impl From<Stat<'_>> for Entry {
    fn from(stat: Stat<'_>) -> Entry {
        Entry {
            qid: stat.qid,
            mode: stat.mode,
            atime: stat.atime,
            mtime: stat.mtime,
            length: stat.length,
            name: stat.name.to_owned(),
            uid: stat.uid.to_owned(),
            gid: stat.gid.to_owned(),
            muid: stat.muid.to_owned(),
        }
    }
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// A connection to a server.
pub struct Client {
    stream: Box<dyn Stream>,
    msize: u32,
    next_tag: u16,
    next_fid: u32,
    trace: bool,
}

impl Client {
    /// Connects to a dial string, `tcp!host!port` or `unix!path`, and sends nothing yet.
    ///
    /// # Errors
    /// If nobody answers there.
    ///
    /// # Panics
    /// If it is neither.
    pub fn dial(address: &str) -> io::Result<Client> {
        let stream: Box<dyn Stream> = match address.split('!').collect::<Vec<_>>()[..] {
            ["tcp", host, port] => {
                let port: u16 = port.parse().expect("a port is a number");
                let stream = TcpStream::connect((host, port))?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                Box::new(stream)
            }
            ["unix", path] => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                Box::new(stream)
            }
            _ => panic!("no dial string: {address}"),
        };
        let (msize, next_tag, next_fid) = (LARGEST_MSIZE, 1, FIRST_FID);
        Ok(Client { stream, msize, next_tag, next_fid, trace: false })
    }

    /// Connects, agrees on a version and attaches fid 0 to the tree `aname` as user `root`.
    pub fn mount(address: &str, msize: u32, aname: &str) -> Outcome<Client> {
        let mut client = Client::dial(address)?;
        client.version(msize, VERSION)?;
        client.rpc(&Tmsg::Attach { fid: 0, afid: NOFID, uname: "root", aname })?;
        Ok(client)
    }

    /// Prints every message from now on.
    pub fn trace(&mut self) {
        self.trace = true;
    }

    /// The msize that was agreed on, in bytes.
    pub fn msize(&self) -> u32 {
        self.msize
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> Outcome<()> {
        if self.trace {
            println!("  -> {}", show(bytes));
        }
        Ok(self.stream.write_all(bytes)?)
    }

    /// The next frame from the server.
    pub fn receive(&mut self) -> Outcome<Reply> {
        let mut frame = vec![0; HEADER];
        self.stream.read_exact(&mut frame)?;
        let len = frame_len(&frame, self.msize)
            .map_err(|error| Failure::Garbage(format!("{error}: {}", hex(&frame))))?
            .expect("a header has the size");
        frame.resize(len, 0);
        self.stream.read_exact(&mut frame[HEADER..])?;
        if self.trace {
            println!("  <- {}", show(&frame));
        }
        Reply::new(frame)
    }

    /// A tag that no request of this client has at the moment, one request at a time being out.
    pub fn tag(&mut self) -> u16 {
        let tag = self.next_tag;
        self.next_tag = if tag + 1 == NOTAG { 1 } else { tag + 1 };
        tag
    }

    /// A fid that this client has not used yet.
    pub fn fid(&mut self) -> u32 {
        self.next_fid += 1;
        self.next_fid
    }

    /// One request and its reply, which is of the request's own kind.
    pub fn rpc(&mut self, request: &Tmsg<'_>) -> Outcome<Reply> {
        let tag = if matches!(request, Tmsg::Version { .. }) { NOTAG } else { self.tag() };
        let mut frame = Vec::new();
        request.encode(tag, &mut frame);
        let reply = self.exchange(&frame)?;
        if let (Tmsg::Read { count, .. }, Rmsg::Read { data }) = (request, reply.msg())
            && data.len() > *count as usize
        {
            let got = data.len();
            return Err(Failure::Garbage(format!("Rread of {got} bytes, asked for {count}")));
        }
        Ok(reply)
    }

    /// Sends a request and waits for nothing: its tag.
    pub fn post(&mut self, request: &Tmsg<'_>) -> Outcome<u16> {
        let tag = self.tag();
        let mut frame = Vec::new();
        request.encode(tag, &mut frame);
        self.send(&frame)?;
        Ok(tag)
    }

    /// Writes one message to ctl.
    pub fn ctl(&mut self, message: &str) -> Outcome<()> {
        self.write(&["ctl"], 0, message.as_bytes()).map(drop)
    }

    /// A new fid, open for reading and writing.
    pub fn open_both(&mut self, path: &[&str]) -> Outcome<u32> {
        let fid = self.walk_to(path)?;
        self.rpc(&Tmsg::Open { fid, mode: omode::ORDWR })?;
        Ok(fid)
    }

    /// One Tread of an open fid.
    pub fn read_at(&mut self, fid: u32, offset: u64, count: u32) -> Outcome<Vec<u8>> {
        Ok(self.rpc(&Tmsg::Read { fid, offset, count })?.data().to_vec())
    }

    /// One Twrite to an open fid: how many bytes were taken.
    pub fn write_at(&mut self, fid: u32, offset: u64, data: &[u8]) -> Outcome<u32> {
        match self.rpc(&Tmsg::Write { fid, offset, data })?.msg() {
            Rmsg::Write { count } => Ok(count),
            _ => unreachable!(),
        }
    }

    /// Sends one frame, legal or not, and returns the reply: the R-message of its kind.
    pub fn exchange(&mut self, frame: &[u8]) -> Outcome<Reply> {
        self.send(frame)?;
        let reply = self.receive()?;
        let (kind, tag) = (frame[4], u16::from_le_bytes([frame[5], frame[6]]));
        if reply.tag() != tag {
            return Err(Failure::Garbage(format!("the reply to tag {tag} is {reply:?}")));
        }
        match reply.msg() {
            Rmsg::Error { ename } => Err(Failure::Error(ename.to_owned())),
            msg if msg.mtype() == kind.wrapping_add(1) => Ok(reply),
            _ => Err(Failure::Garbage(format!("the reply to type {kind} is {reply:?}"))),
        }
    }

    /// Tversion: the msize and the version that the server answers.
    pub fn version(&mut self, msize: u32, version: &str) -> Outcome<(u32, String)> {
        let reply = self.rpc(&Tmsg::Version { msize, version })?;
        let Rmsg::Version { msize: agreed, version } = reply.msg() else { unreachable!() };
        if agreed > msize {
            return Err(Failure::Garbage(format!("msize {agreed}, and {msize} was asked for")));
        }
        if version == VERSION {
            self.msize = agreed;
        }
        Ok((agreed, version.to_owned()))
    }

    /// Twalk. Written by hand, because the codec refuses what a test must be able to send: more
    /// than 16 names, and names that are not UTF-8.
    pub fn walk(&mut self, fid: u32, newfid: u32, names: &[impl AsRef<[u8]>]) -> Outcome<Reply> {
        let mut body = Vec::new();
        body.extend(fid.to_le_bytes());
        body.extend(newfid.to_le_bytes());
        body.extend((names.len() as u16).to_le_bytes());
        for name in names.iter().map(AsRef::as_ref) {
            body.extend((name.len() as u16).to_le_bytes());
            body.extend(name);
        }
        let tag = self.tag();
        self.exchange(&frame(mtype::TWALK, tag, &body))
    }

    /// A new fid for the file at `path` from fid 0.
    pub fn walk_to(&mut self, path: &[impl AsRef<[u8]>]) -> Outcome<u32> {
        let fid = self.fid();
        let reply = self.walk(0, fid, path)?;
        let Rmsg::Walk { qids } = reply.msg() else { unreachable!() };
        match qids.len() {
            got if got == path.len() => Ok(fid),
            got => Err(Failure::Error(format!("(short walk {got}/{})", path.len()))),
        }
    }

    /// Walks a new fid to `path`, does something with it, and clunks it, whatever came of that.
    pub fn on<T>(
        &mut self,
        path: &[impl AsRef<[u8]>],
        work: impl FnOnce(&mut Client, u32) -> Outcome<T>,
    ) -> Outcome<T> {
        let fid = self.walk_to(path)?;
        let result = work(self, fid);
        if matches!(result, Ok(_) | Err(Failure::Error(_))) {
            self.rpc(&Tmsg::Clunk { fid })?;
        }
        result
    }

    /// As [`Client::on`], with the fid opened in this mode first; `None` leaves it closed.
    pub fn on_open<T>(
        &mut self,
        path: &[impl AsRef<[u8]>],
        mode: Option<u8>,
        work: impl FnOnce(&mut Client, u32) -> Outcome<T>,
    ) -> Outcome<T> {
        self.on(path, |client, fid| {
            if let Some(mode) = mode {
                client.rpc(&Tmsg::Open { fid, mode })?;
            }
            work(client, fid)
        })
    }

    /// One Tread of an opened fid of its own.
    pub fn read(&mut self, path: &[&str], offset: u64, count: u32) -> Outcome<Vec<u8>> {
        self.on_open(path, Some(omode::OREAD), |client, fid| client.read_at(fid, offset, count))
    }

    /// One Twrite to an opened fid of its own: how many bytes were taken.
    pub fn write(&mut self, path: &[&str], offset: u64, data: &[u8]) -> Outcome<u32> {
        self.on_open(path, Some(omode::OWRITE), |client, fid| client.write_at(fid, offset, data))
    }

    /// Asks that a file be on stable storage: a wstat that touches nothing.
    pub fn sync(&mut self, path: &[&str]) -> Outcome<()> {
        let mut stat = Vec::new();
        styx::Stat::DONT_TOUCH.encode(&mut stat);
        self.on(path, |client, fid| client.rpc(&Tmsg::Wstat { fid, stat: &stat }).map(drop))
    }

    /// Tstat.
    pub fn stat(&mut self, path: &[impl AsRef<[u8]>]) -> Outcome<Entry> {
        self.on(path, |client, fid| entry(&client.rpc(&Tmsg::Stat { fid })?))
    }

    /// All that is in a file, or in a directory as raw entries: Treads from 0 until one is empty.
    pub fn read_all(&mut self, path: &[impl AsRef<[u8]>]) -> Outcome<Vec<u8>> {
        let count = self.msize - IOHDRSZ;
        self.on_open(path, Some(omode::OREAD), |client, fid| {
            let mut all = Vec::new();
            loop {
                let reply = client.rpc(&Tmsg::Read { fid, offset: all.len() as u64, count })?;
                match reply.data() {
                    [] => return Ok(all),
                    data => all.extend(data),
                }
            }
        })
    }

    /// The entries of a directory.
    pub fn ls(&mut self, path: &[impl AsRef<[u8]>]) -> Outcome<Vec<Entry>> {
        Entry::all(&self.read_all(path)?)
    }
}

/// The entry in an Rstat.
pub fn entry(reply: &Reply) -> Outcome<Entry> {
    let Rmsg::Stat { stat } = reply.msg() else { unreachable!() };
    let bad = |error| Failure::Garbage(format!("{error}: {}", hex(stat)));
    Ok(Entry::from(Stat::decode(stat).map_err(bad)?))
}

/// A frame of any type and any body.
pub fn frame(kind: u8, tag: u16, body: &[u8]) -> Vec<u8> {
    let size = (HEADER + body.len()) as u32;
    [&size.to_le_bytes()[..], &[kind], &tag.to_le_bytes(), body].concat()
}

/// A frame for a person to read: the message, or the bytes if it is none; cut when it is long.
fn show(frame: &[u8]) -> String {
    const LONGEST: usize = 300;
    let mut text = match (Tmsg::decode(frame), Rmsg::decode(frame)) {
        (Ok((tag, Tmsg::Write { fid, offset, data })), _) => {
            format!("tag {tag} Write fid {fid} offset {offset} {}", escape(data))
        }
        (Ok((tag, msg)), _) => format!("tag {tag} {msg:?}"),
        (_, Ok((tag, Rmsg::Read { data }))) => format!("tag {tag} Read {}", escape(data)),
        (_, Ok((tag, msg))) => format!("tag {tag} {msg:?}"),
        _ => hex(frame),
    };
    if text.len() > LONGEST {
        text.truncate(text.floor_char_boundary(LONGEST));
        text.push_str(" ...");
    }
    text
}
