//! Reads and writes of any length, with several requests under way.
//!
//! Requests overlap only inside the length that the file had when it was opened. Past it, and in
//! files that say 0 (a ctl, an event file), each waits for the one before: there a read may
//! consume what it returns, and a write may be a command, so that none may be sent in vain. A file
//! whose length has followed the first write past it is an ordinary one, and writes overlap again.

use std::collections::VecDeque;
use std::io::{self, Read, Write};

use styx::{Rmsg, Tmsg};

use super::{Client, Error, File};

/// The most bytes that may be under way: a link of 1 Gbit/s with 64 ms of delay is kept full.
const WINDOW_BYTES: u64 = 8 << 20;

/// The most requests that may be under way, where they are small. dsfs itself takes 1024 from one
/// connection, other servers fewer.
const WINDOW_REQUESTS: u64 = 64;

/// A request that has been sent and not yet been dealt with.
#[derive(Debug)]
struct Asked<T> {
    serial: u64,
    offset: u64,
    count: u32,
    /// What came for it: `Err` is the text of an Rerror.
    came: Option<Result<T, String>>,
}

/// The requests of one transfer, in the order of their offsets.
type Queue<T> = VecDeque<Asked<T>>;

/// The number of a request that was never sent: one for zeros that were left out.
const UNSENT: u64 = u64::MAX;

/// What is to be written, and how.
pub struct Source<'a> {
    /// Where the bytes come from.
    pub input: &'a mut dyn Read,
    /// Whether messages that would carry only zeros are left out, but for the last one, which says
    /// where a file ends. Right only where the file has zeros there already.
    pub sparse: bool,
    /// Is told, as the replies come, up to which byte of the file all is done.
    pub done: &'a mut dyn FnMut(u64),
}

impl File {
    /// How many requests may be under way when the next one is for byte `offset`.
    fn window(&self, offset: u64) -> usize {
        if offset >= self.length { 1 } else { self.full_window() }
    }

    fn full_window(&self) -> usize {
        (WINDOW_BYTES / u64::from(self.unit)).clamp(1, WINDOW_REQUESTS) as usize
    }

    fn refused(&self, offset: u64, ename: String) -> Error {
        Error::RefusedAt { path: self.path.clone(), offset, ename }
    }
}

impl Client {
    /// Reads `count` bytes of `file`, or what there is of them, from byte `offset`, and gives them
    /// to `out` in order. How many there were.
    ///
    /// # Errors
    /// If it is a directory, which [`Client::read_dir`] reads; if the server refuses, if `out` does, or if the connection is lost. What came before has
    /// been given to `out`.
    pub fn read(
        &mut self,
        file: &File,
        offset: u64,
        count: u64,
        out: &mut dyn Write,
    ) -> Result<u64, Error> {
        if file.qid.is_dir() {
            return Err(Error::Directory { path: file.path.clone() });
        }
        let end = offset.saturating_add(count);
        let mut next = offset;
        let mut queue = Queue::new();
        loop {
            while next < end && queue.len() < file.window(next) {
                let left = u32::try_from(end - next).unwrap_or(u32::MAX);
                let count = file.unit.min(left);
                let ask = Tmsg::Read { fid: file.fid, offset: next, count };
                let serial = self.wire.send(&ask)?;
                queue.push_back(Asked { serial, offset: next, count, came: None });
                next += u64::from(count);
            }
            if queue.is_empty() {
                return Ok(next - offset);
            }
            self.take(&mut queue, |reply| match reply {
                Rmsg::Read { data } => Some(data.to_vec()),
                _ => None,
            })?;
            while let Some(Answered { offset: at, count, came }) = answered(&mut queue) {
                let kept = match came {
                    Ok(data) => out.write_all(&data).map_err(Error::Output).map(|()| data.len()),
                    Err(ename) => Err(file.refused(at, ename)),
                };
                if !matches!(kept, Ok(len) if len == count as usize) {
                    // What was asked for beyond is not what follows.
                    self.abandon(&mut queue)?;
                    next = at + kept? as u64;
                    if next == at {
                        return Ok(next - offset);
                    }
                }
            }
        }
    }

    /// Writes all of `input` to `file`, from byte `offset` on. How many bytes that was.
    ///
    /// # Errors
    /// As [`Client::write_from`].
    pub fn write(&mut self, file: &File, offset: u64, input: &mut dyn Read) -> Result<u64, Error> {
        self.write_from(file, offset, Source { input, sparse: false, done: &mut |_| {} })
    }

    /// Writes all that `source` has to `file`, from byte `offset` on. How many bytes that was.
    ///
    /// # Errors
    /// If the server refuses or takes less than all, if the input can't be read, or if the
    /// connection is lost. What is before the byte that the error names, or that `done` was told
    /// last, has been written; of what is after it, some may have been.
    pub fn write_from(
        &mut self,
        file: &File,
        offset: u64,
        source: Source<'_>,
    ) -> Result<u64, Error> {
        let mut next = offset;
        let mut queue = Queue::new();
        let mut pieces = Pieces::new(source.input, source.sparse, file.unit);
        let mut unread = None;
        let mut grows = None;
        loop {
            while !pieces.ended && queue.len() < window(file, next, grows) {
                let (serial, count, came) = match pieces.next() {
                    Ok(Piece::Zeros) => (UNSENT, file.unit, Some(Ok(file.unit))),
                    Ok(Piece::Data([])) => break,
                    Ok(Piece::Data(data)) => {
                        let ask = Tmsg::Write { fid: file.fid, offset: next, data };
                        (self.wire.send(&ask)?, data.len() as u32, None)
                    }
                    Err(error) => {
                        unread = Some(error);
                        break;
                    }
                };
                queue.push_back(Asked { serial, offset: next, count, came });
                next = next.saturating_add(count.into());
                // The server works while the input, which may be slow, is waited for.
                self.wire.flush()?;
                if self.wire.is_ready()? {
                    break;
                }
            }
            while let Some(Answered { offset: at, count, came }) = answered(&mut queue) {
                let failed = match came {
                    Ok(taken) if taken == count => {
                        let to = at.saturating_add(count.into());
                        (source.done)(to);
                        if to > file.length && grows.is_none() && !pieces.ended {
                            grows = Some(self.stat_fid(&file.path, file.fid)?.length == to);
                        }
                        continue;
                    }
                    Ok(taken) => {
                        let offset = at.saturating_add(u64::from(taken));
                        Error::Full { path: file.path.clone(), offset }
                    }
                    Err(ename) => file.refused(at, ename),
                };
                self.abandon(&mut queue)?;
                return Err(failed);
            }
            if !queue.is_empty() {
                self.take(&mut queue, |reply| match reply {
                    Rmsg::Write { count } => Some(count),
                    _ => None,
                })?;
            } else if let Some(error) = unread {
                return Err(Error::Input(error));
            } else if pieces.ended {
                return Ok(next - offset);
            }
        }
    }

    /// Writes `message` by one Twrite: to a ctl, one write is one message.
    ///
    /// # Errors
    /// As [`Client::write`]; and if the message is longer than one Twrite to the file may be, before any
    /// of it is sent.
    pub fn write_message(&mut self, file: &File, message: &[u8]) -> Result<(), Error> {
        if message.len() > file.unit as usize {
            let ename =
                format!("a message of {} bytes, and {} is the most", message.len(), file.unit);
            return Err(Error::Refused { path: file.path.clone(), ename });
        }
        let ask = Tmsg::Write { fid: file.fid, offset: 0, data: message };
        let taken = self.call(&file.path, &ask, |reply| match reply {
            Rmsg::Write { count } => Some(count),
            _ => None,
        })?;
        if taken as usize != message.len() {
            return Err(Error::Full { path: file.path.clone(), offset: u64::from(taken) });
        }
        Ok(())
    }

    /// Waits for the next reply and puts it beside its request.
    fn take<T>(
        &mut self,
        queue: &mut Queue<T>,
        take: impl FnOnce(Rmsg<'_>) -> Option<T>,
    ) -> Result<(), Error> {
        let (serial, outcome) = self.wire.receive(|serial, outcome| match outcome {
            Ok(reply) => (serial, take(reply).map(Ok)),
            Err(ename) => (serial, Some(Err(ename.to_owned()))),
        })?;
        let asked = queue.iter_mut().find(|asked| asked.serial == serial);
        match (asked, outcome) {
            (Some(asked), Some(outcome)) => {
                asked.came = Some(outcome);
                Ok(())
            }
            _ => Err(Error::Nonsense { addr: self.addr().clone() }),
        }
    }

    /// Waits for all that is under way, and forgets it.
    fn abandon<T>(&mut self, queue: &mut Queue<T>) -> Result<(), Error> {
        queue.clear();
        while self.wire.outstanding() > 0 {
            self.wire.receive(|_, _| ())?;
        }
        Ok(())
    }
}

/// An answered request.
struct Answered<T> {
    offset: u64,
    count: u32,
    came: Result<T, String>,
}

/// Takes the first request off the queue if its answer is there.
fn answered<T>(queue: &mut Queue<T>) -> Option<Answered<T>> {
    queue.pop_front_if(|asked| asked.came.is_some()).and_then(|asked| {
        Some(Answered { offset: asked.offset, count: asked.count, came: asked.came? })
    })
}

/// How many writes may be under way when the next one is for byte `offset` of a file of which is
/// known by now whether it `grows` with each write.
fn window(file: &File, offset: u64, grows: Option<bool>) -> usize {
    if grows == Some(true) { file.full_window() } else { file.window(offset) }
}

/// What one message carries.
enum Piece<'a> {
    /// Less than a full one is the last.
    Data(&'a [u8]),
    /// A full one of zeros, after which others follow.
    Zeros,
}

/// An input, cut into what messages carry.
struct Pieces<'a> {
    input: &'a mut dyn Read,
    sparse: bool,
    piece: Vec<u8>,
    /// How much of the next piece has been read already, to see whether there is one.
    ahead: Option<usize>,
    ended: bool,
}

impl<'a> Pieces<'a> {
    fn new(input: &'a mut dyn Read, sparse: bool, unit: u32) -> Self {
        Pieces { input, sparse, piece: vec![0; unit as usize], ahead: None, ended: false }
    }

    fn next(&mut self) -> io::Result<Piece<'_>> {
        let len = match self.ahead.take() {
            Some(len) => len,
            None => read_full(self.input, &mut self.piece)?,
        };
        self.ended = len < self.piece.len();
        if self.sparse && !self.ended && is_zero(&self.piece) {
            let after = read_full(self.input, &mut self.piece)?;
            if after > 0 {
                self.ahead = Some(after);
                return Ok(Piece::Zeros);
            }
            self.ended = true;
        }
        Ok(Piece::Data(&self.piece[..len]))
    }
}

/// Whether there are only zeros.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte == 0)
}

/// Reads until `piece` is full or the input ends; how much there was. Pieces of the same length,
/// whatever a pipe delivers at a time, are what a device with blocks can take.
fn read_full(input: &mut dyn Read, piece: &mut [u8]) -> io::Result<usize> {
    let mut len = 0;
    while len < piece.len() {
        match input.read(&mut piece[len..]) {
            Ok(0) => break,
            Ok(read) => len += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(len)
}
