//! A 9P server over TCP whose one directory is a [`FaultTree`]: another machine, as dsfs sees it,
//! whose files fail when a test wants them to, and which holds reads and writes back, cuts its
//! connections or goes away and comes back. The protocol is `styx::server`'s; a file's owner,
//! `root`, is whoever attaches. It serves its test and nothing else: loopback only, and no limits
//! but those of a session.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use styx::frame::split_frame;
use styx::server::{Answer, DirEntries, Limits, Opened, Outcome, RequestId, Service, Session};
use styx::{Qid, Stat, dm, omode, qt};

use super::fault_tree::{Action, Asked, DENIED, FaultTree, FileId};

/// Who owns everything here.
const OWNER: &str = "root";

/// How often a connection that holds something back looks whether it may be let go.
const LOOK: Duration = Duration::from_millis(1);

/// What a server agrees to.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// The largest msize, in bytes.
    pub msize: u32,
    /// The iounit of every file, in bytes; 0 for as much as the msize has room for.
    pub iounit: u32,
}

impl Default for Manner {
    fn default() -> Self {
        Manner { msize: Limits::default().msize, iounit: 0 }
    }
}

/// The server; it stops when dropped.
pub struct FaultServer {
    tree: Arc<Mutex<FaultTree>>,
    traffic: Arc<Mutex<Traffic>>,
    address: SocketAddr,
    manner: Manner,
    /// Tells the thread that accepts to stop.
    stopped: Arc<AtomicBool>,
}

/// What goes on over the connections of a server.
#[derive(Default)]
struct Traffic {
    /// Reads and writes are held back: of all files, or of this one.
    hold: Option<Whose>,
    held: Vec<Held>,
    /// Held requests that were flushed.
    flushed: usize,
    /// What is flushed is held back all the same, and answered in the end.
    deaf: bool,
    /// The fids of the connection that was heard of last.
    fids: usize,
    /// The connections there were, those that are gone being `None`.
    streams: Vec<Option<TcpStream>>,
}

/// Whose reads and writes are held back.
enum Whose {
    All,
    File(String),
}

/// A read or a write that is held back.
struct Held {
    connection: usize,
    request: RequestId,
    file: FileId,
    asked: Asked,
    data: Vec<u8>,
}

impl FaultServer {
    /// Serves an empty directory on a free port of the loopback.
    pub fn start() -> FaultServer {
        FaultServer::start_as(Manner::default())
    }

    /// As [`FaultServer::start`], with limits.
    pub fn start_as(manner: Manner) -> FaultServer {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let mut server = FaultServer {
            tree: Arc::default(),
            traffic: Arc::default(),
            address,
            manner,
            stopped: Arc::default(),
        };
        server.accept(listener);
        server
    }

    fn accept(&mut self, listener: TcpListener) {
        let stopped = Arc::new(AtomicBool::new(false));
        self.stopped = stopped.clone();
        let (tree, traffic, manner) = (self.tree.clone(), self.traffic.clone(), self.manner);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let connection = {
                    let mut traffic = lock(&traffic);
                    traffic.streams.push(stream.try_clone().ok());
                    traffic.streams.len() - 1
                };
                let disk =
                    Disk { tree: tree.clone(), traffic: traffic.clone(), connection, manner };
                // Ends with the connection: dsfs hung up, or was killed.
                thread::spawn(move || {
                    let traffic = disk.traffic.clone();
                    let _hung_up = serve(stream, disk);
                    let mut traffic = lock(&traffic);
                    traffic.held.retain(|held| held.connection != connection);
                    traffic.streams[connection] = None;
                });
            }
        });
    }

    /// Its dial string.
    pub fn dial(&self) -> String {
        format!("tcp!{}!{}", self.address.ip(), self.address.port())
    }

    /// The directory. Requests wait while this is held.
    pub fn tree(&self) -> MutexGuard<'_, FaultTree> {
        lock(&self.tree)
    }

    /// From now on reads and writes are held back.
    pub fn hold(&self) {
        lock(&self.traffic).hold = Some(Whose::All);
    }

    /// From now on reads and writes of this file are held back.
    pub fn hold_file(&self, name: &str) {
        lock(&self.traffic).hold = Some(Whose::File(name.to_owned()));
    }

    /// From now on a Tflush takes nothing off what is held back: it is answered in the end.
    pub fn be_deaf(&self) {
        lock(&self.traffic).deaf = true;
    }

    /// What was held back is answered, and no more is.
    pub fn release(&self) {
        lock(&self.traffic).hold = None;
    }

    /// The reads and writes that are held back now.
    pub fn held(&self) -> Vec<Asked> {
        lock(&self.traffic).held.iter().map(|held| held.asked.clone()).collect()
    }

    /// How many reads and writes were flushed while they were held back.
    pub fn flushed(&self) -> usize {
        lock(&self.traffic).flushed
    }

    /// How many fids the client has that was heard of last.
    pub fn fids(&self) -> usize {
        lock(&self.traffic).fids
    }

    /// How many connections there have been.
    pub fn connections(&self) -> usize {
        lock(&self.traffic).streams.len()
    }

    /// How many connections there are now.
    pub fn connected(&self) -> usize {
        lock(&self.traffic).streams.iter().flatten().count()
    }

    /// Cuts all connections.
    pub fn cut(&self) {
        for stream in lock(&self.traffic).streams.iter().flatten() {
            // One that is gone already can't be cut.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Goes away: nobody can connect, and all connections are cut.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts. If it does not listen any more, it is gone already.
        let _ = TcpStream::connect(self.address);
        // Until it has dropped its socket, others can connect.
        while TcpStream::connect(self.address).is_ok() {
            thread::sleep(LOOK);
        }
        self.cut();
    }

    /// Comes back to where it was, with the same files.
    pub fn come_back(&mut self) {
        let listener = TcpListener::bind(self.address).expect("its port is its own");
        self.accept(listener);
    }
}

impl Drop for FaultServer {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        self.cut();
    }
}

/// A test that failed with the lock held has failed already; what it guards is still whole.
fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// One connection, until it ends.
fn serve(mut stream: TcpStream, mut disk: Disk) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut session = Session::new(Limits { msize: disk.manner.msize, ..Limits::default() });
    let mut input = Vec::new();
    let mut output = Vec::new();
    let mut piece = vec![0; 64 * 1024];
    loop {
        let holds = lock(&disk.traffic).held.iter().any(|held| held.connection == disk.connection);
        stream.set_read_timeout(holds.then_some(LOOK))?;
        let got = match stream.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(got) => got,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => 0,
            Err(error) => return Err(error),
        };
        input.extend(&piece[..got]);
        let mut used = 0;
        while let Some((frame, _)) =
            split_frame(&input[used..], session.msize()).map_err(io::Error::other)?
        {
            session.receive(frame, &mut disk, &mut output).map_err(io::Error::other)?;
            used += frame.len();
        }
        input.drain(..used);
        disk.let_go(&mut session, &mut output);
        lock(&disk.traffic).fids = session.fids();
        stream.write_all(&output)?;
        output.clear();
    }
}

/// The tree as one connection sees it.
struct Disk {
    tree: Arc<Mutex<FaultTree>>,
    traffic: Arc<Mutex<Traffic>>,
    connection: usize,
    manner: Manner,
}

impl Disk {
    /// Holds a read or a write back, if that is what is to be done now.
    fn holds(
        &self,
        request: RequestId,
        node: Node,
        action: Action,
        (offset, count): (u64, usize),
        data: &[u8],
    ) -> bool {
        let mut traffic = lock(&self.traffic);
        let Node::File(file) = node else { return false };
        let name = lock(&self.tree).name(file).to_owned();
        match &traffic.hold {
            None => return false,
            Some(Whose::File(other)) if *other != name => return false,
            Some(_) => {}
        }
        let asked = Asked { action, name, offset, count };
        let (connection, data) = (self.connection, data.to_vec());
        traffic.held.push(Held { connection, request, file, asked, data });
        true
    }

    /// Answers what was held back, if it may be let go.
    fn let_go(&mut self, session: &mut Session<Node>, output: &mut Vec<u8>) {
        let due: Vec<Held> = {
            let mut traffic = lock(&self.traffic);
            if traffic.hold.is_some() {
                return;
            }
            traffic.held.extract_if(.., |held| held.connection == self.connection).collect()
        };
        for Held { request, file, asked, data, .. } in due {
            match asked.action {
                Action::Write => {
                    let taken = lock(&self.tree).write(file, asked.offset, &data);
                    let answer = taken.map(|taken| Answer::Count(taken as u32));
                    session.complete(request, answer.map_err(Into::into), self, output);
                }
                Action::Read | Action::Open | Action::Sync => {
                    let mut tree = lock(&self.tree);
                    let read = tree.read(file, asked.offset, asked.count).map(<[u8]>::to_vec);
                    drop(tree);
                    let answer = match &read {
                        Ok(data) => Ok(Answer::Data(data)),
                        Err(ename) => Err(ename.clone().into()),
                    };
                    session.complete(request, answer, self, output);
                }
            }
        }
    }
}

/// What a fid stands for.
#[derive(Clone, Copy)]
enum Node {
    Root,
    File(FileId),
}

impl Node {
    /// The file; an error for the directory.
    fn file(self) -> Result<FileId, String> {
        match self {
            Node::Root => Err(DENIED.to_owned()),
            Node::File(id) => Ok(id),
        }
    }

    /// The directory is 0, and the files have their own numbers.
    fn qid(self) -> Qid {
        match self {
            Node::Root => Qid { kind: qt::DIR, vers: 0, path: 0 },
            Node::File(id) => Qid { kind: qt::FILE, vers: 0, path: id.number() },
        }
    }
}

/// The entry of a node.
fn entry(tree: &FaultTree, node: Node) -> Stat<'_> {
    let (name, mode, length) = match node {
        Node::Root => ("/", dm::DIR | 0o775, 0),
        Node::File(id) => (tree.name(id), tree.perm(id), tree.data(id).len() as u64),
    };
    Stat {
        kind: 0,
        dev: 0,
        qid: node.qid(),
        mode,
        atime: 0,
        mtime: 0,
        length,
        name,
        uid: OWNER,
        gid: OWNER,
        muid: OWNER,
    }
}

impl Disk {
    fn walk_to(&self, name: &str) -> Result<Node, String> {
        match name {
            ".." => Ok(Node::Root),
            _ => lock(&self.tree).find(name).map(Node::File),
        }
    }

    fn open_node(&self, node: Node, mode: u8) -> Result<Opened<Node>, String> {
        let access = mode & omode::ACCESS;
        let read = access != omode::OWRITE;
        let write = access == omode::OWRITE || access == omode::ORDWR;
        match node {
            Node::Root if mode != omode::OREAD => return Err(DENIED.to_owned()),
            Node::Root => {}
            Node::File(id) => lock(&self.tree).open(id, read, write)?,
        }
        Ok(Opened { iounit: self.manner.iounit, ..Opened::new(node, node.qid()) })
    }

    fn list(&self, cursor: u64, mut entries: DirEntries) -> DirEntries {
        let tree = lock(&self.tree);
        let start = usize::try_from(cursor).unwrap_or(usize::MAX);
        for (index, id) in tree.ids().enumerate().skip(start) {
            if !entries.push(&entry(&tree, Node::File(id)), index as u64 + 1) {
                break;
            }
        }
        entries
    }
}

/// The answer at once.
fn now<T>(result: Result<T, String>) -> Outcome<T> {
    Poll::Ready(result.map_err(Into::into))
}

fn denied<T>() -> Outcome<T> {
    now(Err(DENIED.to_owned()))
}

impl Service for Disk {
    type File = Node;

    fn attach(&mut self, _: RequestId, _uname: &str, _aname: &str) -> Outcome<Node> {
        now(Ok(Node::Root))
    }

    fn qid(&self, node: &Node) -> Qid {
        node.qid()
    }

    fn walk(&mut self, _: RequestId, _from: &Node, name: &str) -> Outcome<Node> {
        now(self.walk_to(name))
    }

    fn open(&mut self, _: RequestId, node: &Node, mode: u8) -> Outcome<Opened<Node>> {
        now(self.open_node(*node, mode))
    }

    fn create(
        &mut self,
        _: RequestId,
        _dir: &Node,
        _name: &str,
        _perm: u32,
        _mode: u8,
    ) -> Outcome<Opened<Node>> {
        denied()
    }

    fn read(
        &mut self,
        request: RequestId,
        node: &Node,
        offset: u64,
        data: &mut [u8],
    ) -> Outcome<usize> {
        if self.holds(request, *node, Action::Read, (offset, data.len()), &[]) {
            return Poll::Pending;
        }
        let mut tree = lock(&self.tree);
        let got = node.file().and_then(|id| tree.read(id, offset, data.len()));
        now(got.map(|got| {
            data[..got.len()].copy_from_slice(got);
            got.len()
        }))
    }

    fn read_dir(
        &mut self,
        _: RequestId,
        _dir: &Node,
        cursor: u64,
        entries: DirEntries,
    ) -> Outcome<DirEntries> {
        now(Ok(self.list(cursor, entries)))
    }

    fn write(&mut self, request: RequestId, node: &Node, offset: u64, data: &[u8]) -> Outcome<u32> {
        if self.holds(request, *node, Action::Write, (offset, data.len()), data) {
            return Poll::Pending;
        }
        let taken = node.file().and_then(|id| lock(&self.tree).write(id, offset, data));
        now(taken.map(|taken| taken as u32))
    }

    fn stat(&mut self, _: RequestId, node: &Node, out: &mut Vec<u8>) -> Outcome<()> {
        entry(&lock(&self.tree), *node).encode(out);
        now(Ok(()))
    }

    /// A sync only: nothing else may be changed.
    fn wstat(&mut self, _: RequestId, node: &Node, stat: &Stat<'_>) -> Outcome<()> {
        match node.file() {
            Ok(id) if stat.is_sync() => now(lock(&self.tree).sync(id)),
            _ if stat.is_sync() => now(Ok(())),
            _ => denied(),
        }
    }

    fn remove(&mut self, _: RequestId, _node: Node, _mode: Option<u8>) -> Outcome<()> {
        denied()
    }

    fn clunk(&mut self, _node: Node, _mode: Option<u8>) {}

    fn flush(&mut self, request: RequestId) -> bool {
        let mut traffic = lock(&self.traffic);
        traffic.flushed += 1;
        if traffic.deaf {
            return false;
        }
        let connection = self.connection;
        traffic.held.retain(|held| held.connection != connection || held.request != request);
        true
    }
}
