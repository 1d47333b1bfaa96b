//! A file server in memory: `ramfs [ADDRESS]`, where ADDRESS is 127.0.0.1:5640 unless given.
//!
//! Try it with `mount -A tcp!127.0.0.1!5640 /n/ram` in Inferno, `9pfuse 127.0.0.1:5640 DIR` of
//! plan9port, or the example `cat`. Whoever connects may do everything, so give it no address
//! that strangers reach.
//!
//! Every request is answered at once, with the tree locked: what a server has to do whose answers
//! take time is in the documentation of [`styx::server`].

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll::Ready;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use styx::frame::split_frame;
use styx::server::{DirEntries, Ename, Limits, Opened, Outcome, RequestId, Service, Session};
use styx::{Qid, Stat, dm, enames, omode, qt};

/// Who owns all files.
const OWNER: &str = "ram";

/// The longest file, in bytes: an offset is the client's to choose, and memory is not endless.
const MAX_LENGTH: u64 = 64 << 20;

const ENOTEMPTY: &str = "directory not empty";
const ETOOBIG: &str = "file too big";

/// What fids stand for: a file's qid path, which is never used again, and whether it is a directory.
#[derive(Clone, Copy, PartialEq)]
struct File {
    path: u64,
    is_dir: bool,
}

const ROOT: File = File { path: 0, is_dir: true };

struct Node {
    name: String,
    parent: u64,
    mode: u32,
    mtime: u32,
    vers: u32,
    data: Vec<u8>,
}

/// All files by their paths; a directory's are those that have it as their parent.
struct Tree {
    nodes: BTreeMap<u64, Node>,
    last: u64,
}

impl Node {
    fn new(name: &str, parent: u64, mode: u32) -> Node {
        Node { name: name.to_owned(), parent, mode, mtime: now(), vers: 0, data: Vec::new() }
    }

    fn changed(&mut self) {
        self.mtime = now();
        self.vers = self.vers.wrapping_add(1);
    }

    fn stat(&self, qid: Qid) -> Stat<'_> {
        Stat {
            kind: 0,
            dev: 0,
            qid,
            mode: self.mode,
            atime: self.mtime,
            mtime: self.mtime,
            length: self.data.len() as u64,
            name: &self.name,
            uid: OWNER,
            gid: OWNER,
            muid: OWNER,
        }
    }
}

fn now() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}

impl Tree {
    fn new() -> Tree {
        let root = Node::new("/", ROOT.path, dm::DIR | 0o777);
        Tree { nodes: BTreeMap::from([(ROOT.path, root)]), last: ROOT.path }
    }

    /// The node of a file, unless it was removed while a fid stood for it.
    fn node(&mut self, file: File) -> Result<&mut Node, Ename> {
        self.nodes.get_mut(&file.path).ok_or(enames::ENONEXIST.into())
    }

    /// What is in a directory, from a path on.
    fn entries(&self, dir: File, from: u64) -> impl Iterator<Item = (File, &Node)> {
        let inside = move |(path, node): &(&u64, &Node)| node.parent == dir.path && **path != 0;
        self.nodes.range(from..).filter(inside).map(|(&path, node)| {
            let is_dir = node.mode & dm::DIR != 0;
            (File { path, is_dir }, node)
        })
    }

    fn find(&self, dir: File, name: &str) -> Option<File> {
        self.entries(dir, 0).find(|(_, node)| node.name == name).map(|(file, _)| file)
    }

    /// Whether a new file in `dir` may have this name.
    fn check_name(&self, dir: File, name: &str) -> Result<(), Ename> {
        if matches!(name, "" | "." | "..") || name.contains('/') {
            return Err(enames::EFILENAME.into());
        }
        if self.find(dir, name).is_some() { Err(enames::EEXIST.into()) } else { Ok(()) }
    }

    fn opened(&mut self, file: File, mode: u8) -> Result<Opened<File>, Ename> {
        if file.is_dir && mode != omode::OREAD {
            return Err(enames::EPERM.into());
        }
        let node = self.node(file)?;
        if mode & omode::OTRUNC != 0 && node.mode & dm::APPEND == 0 {
            node.data.clear();
            node.changed();
        }
        Ok(Opened::new(file, self.qid(&file)))
    }

    fn made(&mut self, dir: File, name: &str, perm: u32, mode: u8) -> Result<Opened<File>, Ename> {
        if !dir.is_dir {
            return Err(enames::ENOTDIR.into());
        }
        let is_dir = perm & dm::DIR != 0;
        if is_dir && mode != omode::OREAD {
            return Err(enames::EPERM.into());
        }
        self.check_name(dir, name)?;
        let parent = self.node(dir)?;
        // open(5): a new file has no permission that its directory has not.
        let kept = if is_dir { !0o777 | parent.mode } else { !0o666 | parent.mode };
        parent.changed();
        self.last += 1;
        let file = File { path: self.last, is_dir };
        self.nodes.insert(file.path, Node::new(name, dir.path, perm & kept));
        Ok(Opened::new(file, self.qid(&file)))
    }

    fn removed(&mut self, file: File) -> Result<(), Ename> {
        if file == ROOT {
            return Err(enames::EPERM.into());
        }
        if self.entries(file, 0).next().is_some() {
            return Err(ENOTEMPTY.into());
        }
        let node = self.nodes.remove(&file.path).ok_or(enames::ENONEXIST)?;
        self.node(File { path: node.parent, is_dir: true })?.changed();
        Ok(())
    }

    fn written(&mut self, file: File, offset: u64, data: &[u8]) -> Result<u32, Ename> {
        let node = self.node(file)?;
        let append = node.mode & dm::APPEND != 0;
        let start = if append { node.data.len() as u64 } else { offset };
        let end = start.saturating_add(data.len() as u64);
        if end > MAX_LENGTH {
            return Err(ETOOBIG.into());
        }
        let (start, end) = (start as usize, end as usize);
        if node.data.len() < end {
            node.data.resize(end, 0);
        }
        node.data[start..end].copy_from_slice(data);
        node.changed();
        Ok(data.len() as u32)
    }

    /// stat(5): all of it or nothing. A name, a mode, a length and a time can be changed.
    fn restated(&mut self, file: File, stat: &Stat<'_>) -> Result<(), Ename> {
        let untouched = Stat::DONT_TOUCH;
        let Stat { name, mode, mtime, length, .. } = *stat;
        if (Stat { name: "", mode: !0, mtime: !0, length: !0, ..*stat }) != untouched {
            return Err(enames::EPERM.into());
        }
        let node = self.node(file)?;
        let (old, parent) = (node.name.clone(), File { path: node.parent, is_dir: true });
        if !name.is_empty() && name != old {
            if file == ROOT {
                return Err(enames::EPERM.into());
            }
            self.check_name(parent, name)?;
        }
        if mode != untouched.mode && (mode & dm::DIR != 0) != file.is_dir {
            return Err(enames::EPERM.into());
        }
        if length != untouched.length && (file.is_dir || length > MAX_LENGTH) {
            return Err(if file.is_dir { enames::EPERM } else { ETOOBIG }.into());
        }

        let node = self.node(file)?;
        if length != untouched.length {
            node.data.resize(length as usize, 0);
            node.changed();
        }
        if !name.is_empty() {
            name.clone_into(&mut node.name);
        }
        if mode != untouched.mode {
            node.mode = mode;
        }
        if mtime != untouched.mtime {
            node.mtime = mtime;
        }
        Ok(())
    }
}

impl Service for Tree {
    type File = File;

    fn attach(&mut self, _: RequestId, _uname: &str, _aname: &str) -> Outcome<File> {
        Ready(Ok(ROOT))
    }

    fn qid(&self, file: &File) -> Qid {
        let kind = if file.is_dir { qt::DIR } else { qt::FILE };
        let vers = self.nodes.get(&file.path).map_or(0, |node| node.vers);
        Qid { kind, vers, path: file.path }
    }

    fn walk(&mut self, _: RequestId, from: &File, name: &str) -> Outcome<File> {
        let parent = self.node(*from)?.parent;
        Ready(match name {
            _ if !from.is_dir => Err(enames::ENOTDIR.into()),
            ".." => Ok(File { path: parent, is_dir: true }),
            name => self.find(*from, name).ok_or(enames::ENONEXIST.into()),
        })
    }

    fn open(&mut self, _: RequestId, file: &File, mode: u8) -> Outcome<Opened<File>> {
        Ready(self.opened(*file, mode))
    }

    fn create(
        &mut self,
        _: RequestId,
        dir: &File,
        name: &str,
        perm: u32,
        mode: u8,
    ) -> Outcome<Opened<File>> {
        Ready(self.made(*dir, name, perm, mode))
    }

    fn read(&mut self, _: RequestId, file: &File, offset: u64, out: &mut [u8]) -> Outcome<usize> {
        let data = &self.node(*file)?.data;
        let start = usize::try_from(offset).map_or(data.len(), |start| start.min(data.len()));
        let count = out.len().min(data.len() - start);
        out[..count].copy_from_slice(&data[start..start + count]);
        Ready(Ok(count))
    }

    fn read_dir(
        &mut self,
        _: RequestId,
        dir: &File,
        cursor: u64,
        mut entries: DirEntries,
    ) -> Outcome<DirEntries> {
        for (file, node) in self.entries(*dir, cursor) {
            if !entries.push(&node.stat(self.qid(&file)), file.path + 1) {
                break;
            }
        }
        Ready(Ok(entries))
    }

    fn write(&mut self, _: RequestId, file: &File, offset: u64, data: &[u8]) -> Outcome<u32> {
        Ready(self.written(*file, offset, data))
    }

    fn stat(&mut self, _: RequestId, file: &File, out: &mut Vec<u8>) -> Outcome<()> {
        let qid = self.qid(file);
        self.node(*file)?.stat(qid).encode(out);
        Ready(Ok(()))
    }

    fn wstat(&mut self, _: RequestId, file: &File, stat: &Stat<'_>) -> Outcome<()> {
        Ready(self.restated(*file, stat))
    }

    fn remove(&mut self, _: RequestId, file: File, _mode: Option<u8>) -> Outcome<()> {
        Ready(self.removed(file))
    }

    fn clunk(&mut self, file: File, mode: Option<u8>) {
        if mode.is_some_and(|mode| mode & omode::ORCLOSE != 0) {
            // Nobody is left to be told that it had gone already.
            let _ = self.removed(file);
        }
    }

    fn flush(&mut self, _: RequestId) -> bool {
        unreachable!("no request is ever left pending");
    }
}

/// Serves one client until it hangs up.
fn talk(stream: &mut TcpStream, session: &mut Session<File>, tree: &Mutex<Tree>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut input, mut output) = (Vec::new(), Vec::new());
    let mut piece = vec![0; 8192];
    loop {
        let count = stream.read(&mut piece)?;
        if count == 0 {
            return Ok(());
        }
        input.extend_from_slice(&piece[..count]);
        while let Some((frame, rest)) =
            split_frame(&input, session.msize()).map_err(io::Error::other)?
        {
            let rest = rest.len();
            let asked = session.receive(frame, &mut *lock(tree), &mut output);
            asked.map_err(io::Error::other)?;
            stream.write_all(&output)?;
            output.clear();
            input.drain(..input.len() - rest);
        }
    }
}

fn lock(tree: &Mutex<Tree>) -> MutexGuard<'_, Tree> {
    tree.lock().expect("no thread dies with the tree")
}

/// Serves one tree to all who come, each in a thread of its own.
pub fn serve(listener: &TcpListener) -> io::Result<()> {
    let tree = Arc::new(Mutex::new(Tree::new()));
    loop {
        let (mut stream, client) = listener.accept()?;
        let tree = Arc::clone(&tree);
        thread::spawn(move || {
            let mut session = Session::new(Limits::default());
            if let Err(error) = talk(&mut stream, &mut session, &tree) {
                eprintln!("{client}: {error}");
            }
            session.close(&mut *lock(&tree));
        });
    }
}

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:5640".to_owned());
    let listener = TcpListener::bind(address)?;
    println!("ramfs: serving on {}", listener.local_addr()?);
    serve(&listener)
}
