//! Prints a file of a 9P server: `cat HOST:PORT PATH`.
//!
//! The requests follow each other, each after the reply to the one before, so that the client half
//! needs no more of a connection than to write a frame and to read one.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};

use styx::client::{Client, Event, walk_parts};
use styx::frame::frame_len;
use styx::{IOHDRSZ, NOFID, Rmsg, Tmsg, UpTo16, enames, omode};

/// The longest message offered: the usual 8 KiB of data and their header.
const MSIZE: u32 = 8192 + IOHDRSZ;

const ROOT: u32 = 0;
const FILE: u32 = 1;

/// A connection to a server, on which one request at a time is made.
pub struct Server {
    stream: TcpStream,
    client: Client<()>,
    output: Vec<u8>,
    frame: Vec<u8>,
}

impl Server {
    /// Connects, agrees on a version, and attaches fid 0 to the root of the server's tree.
    pub fn attach(address: impl ToSocketAddrs) -> io::Result<Server> {
        let stream = TcpStream::connect(address)?;
        let client = Client::new(MSIZE);
        let mut server = Server { stream, client, output: Vec::new(), frame: Vec::new() };
        server.client.version((), &mut server.output);
        server.answer()?;
        let uname = std::env::var("USER").unwrap_or_else(|_| "none".to_owned());
        server.ask(&Tmsg::Attach { fid: ROOT, afid: NOFID, uname: &uname, aname: "" })?;
        Ok(server)
    }

    /// Asks, and waits for the answer. An Rerror is an error with its text.
    pub fn ask(&mut self, message: &Tmsg<'_>) -> io::Result<Rmsg<'_>> {
        let sent = self.client.send(message, (), &mut self.output);
        sent.map_err(|()| io::Error::other("the request is longer than the msize"))?;
        self.answer()
    }

    fn answer(&mut self) -> io::Result<Rmsg<'_>> {
        self.stream.write_all(&self.output)?;
        self.output.clear();

        let mut size = [0; 4];
        self.stream.read_exact(&mut size)?;
        let len = frame_len(&size, self.client.msize()).map_err(io::Error::other)?;
        self.frame.clear();
        self.frame.extend_from_slice(&size);
        self.frame.resize(len.expect("four bytes tell it"), 0);
        self.stream.read_exact(&mut self.frame[size.len()..])?;

        match self.client.receive(&self.frame).map_err(io::Error::other)? {
            Some(Event::Reply((), Ok(reply))) => Ok(reply),
            Some(Event::Reply((), Err(ename))) => Err(io::Error::other(ename.to_owned())),
            Some(Event::Flushed(())) | None => unreachable!("nothing is ever flushed"),
        }
    }

    /// Makes a new fid stand for the file at `path`, whose names are separated by slashes.
    pub fn walk(&mut self, newfid: u32, path: &str) -> io::Result<()> {
        let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
        let mut from = ROOT;
        for part in walk_parts(&names) {
            let names = UpTo16::from_slice(part).expect("parts are made to fit");
            let walk = Tmsg::Walk { fid: from, newfid, names };
            // A walk that stops half way has no error, and makes no fid (walk(5)).
            if !matches!(self.ask(&walk)?, Rmsg::Walk { qids } if qids.len() == part.len()) {
                return Err(io::Error::other(enames::ENONEXIST));
            }
            from = newfid;
        }
        Ok(())
    }
}

/// Writes all of a file to `out`.
pub fn cat(address: impl ToSocketAddrs, path: &str, out: &mut impl Write) -> io::Result<()> {
    let mut server = Server::attach(address)?;
    server.walk(FILE, path)?;
    server.ask(&Tmsg::Open { fid: FILE, mode: omode::OREAD })?;
    let count = server.client.msize() - IOHDRSZ;
    let mut offset = 0;
    while let Rmsg::Read { data } = server.ask(&Tmsg::Read { fid: FILE, offset, count })? {
        if data.is_empty() {
            break;
        }
        out.write_all(data)?;
        offset += data.len() as u64;
    }
    out.flush()
}

fn main() -> io::Result<()> {
    let mut words = std::env::args().skip(1);
    let (Some(address), Some(path), None) = (words.next(), words.next(), words.next()) else {
        eprintln!("usage: cat HOST:PORT PATH");
        std::process::exit(2);
    };
    cat(address, &path, &mut io::stdout().lock())
}
