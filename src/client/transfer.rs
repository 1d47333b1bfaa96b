//! Reads and writes of any length, with several requests under way.
//!
//! Requests overlap only inside the length that the file had when it was opened. Past it, and in
//! files that say 0 (a ctl, an event file), each waits for the one before: there a read may
//! consume what it returns, and a write may be a command, so that none may be sent in vain.

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

impl File {
    /// How many requests may be under way when the next one is for byte `offset`.
    fn window(&self, offset: u64) -> usize {
        if offset >= self.length {
            return 1;
        }
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
    /// If the server refuses or takes less than all, if `input` can't be read, or if the
    /// connection is lost. What is before the byte that the error names has been written; of what
    /// is after it, some may have been.
    pub fn write(&mut self, file: &File, offset: u64, input: &mut dyn Read) -> Result<u64, Error> {
        let mut next = offset;
        let mut queue = Queue::new();
        let mut piece = vec![0; file.unit as usize];
        let mut more = true;
        loop {
            while more && queue.len() < file.window(next) {
                let len = match read_full(input, &mut piece) {
                    Ok(len) => len,
                    Err(error) => {
                        self.abandon(&mut queue)?;
                        return Err(Error::Input(error));
                    }
                };
                more = len == piece.len();
                if len > 0 {
                    let serial = self.send_write(file, next, &piece[..len])?;
                    queue.push_back(Asked { serial, offset: next, count: len as u32, came: None });
                    next = next.saturating_add(len as u64);
                }
            }
            if queue.is_empty() {
                return Ok(next - offset);
            }
            self.take(&mut queue, |reply| match reply {
                Rmsg::Write { count } => Some(count),
                _ => None,
            })?;
            while let Some(Answered { offset: at, count, came }) = answered(&mut queue) {
                let failed = match came {
                    Ok(taken) if taken == count => continue,
                    Ok(taken) => {
                        let offset = at.saturating_add(u64::from(taken));
                        Error::Full { path: file.path.clone(), offset }
                    }
                    Err(ename) => file.refused(at, ename),
                };
                self.abandon(&mut queue)?;
                return Err(failed);
            }
        }
    }

    /// Writes `message` by one Twrite: to a ctl, one write is one message.
    ///
    /// # Errors
    /// As [`Client::write`]; and if the message is longer than [`File::unit`], before any of it is
    /// sent.
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

    fn send_write(&mut self, file: &File, offset: u64, data: &[u8]) -> Result<u64, Error> {
        self.wire.send(&Tmsg::Write { fid: file.fid, offset, data })
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
