//! Cat, inter and part: one piece after the other, or several reads at the same time where they are
//! on different servers.

use std::rc::Rc;

use styx::enames;
use styx::server::Ename;

use super::machine::{Bytes, Ended, Machine, Moved, Span, Step};
use crate::device::{Kind, Piece};
use crate::inner::{Carrier, Device, Inner, refuses_sync};

/// A cat, an inter or a part: one piece after the other; in a sync, one inner file after the other.
#[derive(Debug)]
pub(super) struct Pieces {
    pub device: Rc<Device>,
    pub span: Span,
    /// Bytes asked for so far, and in how many pieces.
    pub asked: usize,
    pub pieces: usize,
    pub waiting: Vec<Waiting>,
    /// The first piece, by number, that failed or stopped short, and what is answered for it.
    pub failed: Option<(usize, Moved)>,
    /// What the first file says whose server does not sync.
    pub refused: Option<Ename>,
    /// The inner file before which all have been dealt with (see [`Pieces::visit`]).
    pub visited: usize,
}

/// A piece that is under way.
#[derive(Debug)]
pub(super) struct Waiting {
    pub child: usize,
    pub number: usize,
    pub count: usize,
    pub homes: u64,
}

impl<C: Carrier> Machine<'_, C> {
    pub(super) fn advance_pieces(
        &mut self,
        pieces: &mut Pieces,
        ended: Option<Ended>,
    ) -> Option<Moved> {
        match ended {
            Some((child, result)) => pieces.ended(child, result, &self.bytes),
            None if self.read_scattered(pieces) => return Some(Ok(pieces.span.count)),
            None => {}
        }
        while let Some((piece, homes)) = pieces.next(&self.bytes) {
            let number = pieces.pieces;
            let count = piece.count as usize;
            let span = Span {
                offset: piece.offset,
                count,
                at: pieces.span.at + pieces.asked,
                ..pieces.span
            };
            pieces.asked += count;
            pieces.pieces += 1;
            let geometry = &pieces.device.geometry;
            let past_end =
                piece.offset.saturating_add(piece.count) > geometry.inner_length(piece.inner);
            let visit = match self.bytes {
                Bytes::Out(_) => pieces.visit(piece.inner),
                _ => Ok(()),
            };
            let step = match visit {
                Err(ename) => Step::Done(Err(ename)),
                Ok(()) if past_end => Step::Done(Err(enames::EIO.into())),
                Ok(()) => self.start(&pieces.device.inner()[piece.inner], span),
            };
            match step {
                Step::Done(result) => pieces.judge(number, count, result, &self.bytes),
                Step::Wait(child) => pieces.waiting.push(Waiting { child, number, count, homes }),
            }
        }
        if !pieces.waiting.is_empty() {
            return None;
        }
        Some(match pieces.failed.take() {
            Some((_, result)) => result,
            None if matches!(self.bytes, Bytes::Out(_)) => {
                let all = pieces.device.inner().len();
                pieces.visit(all).map(|()| pieces.span.count)
            }
            None => pieces.refused.take().map_or(Ok(pieces.span.count), Err),
        })
    }
}

impl Pieces {
    pub(super) fn new(device: Rc<Device>, span: Span) -> Self {
        Pieces {
            device,
            span,
            asked: 0,
            pieces: 0,
            waiting: Vec::new(),
            failed: None,
            refused: None,
            visited: 0,
        }
    }

    /// The next piece that may be started now, and the servers it is on.
    fn next(&mut self, bytes: &Bytes<'_>) -> Option<(Piece, u64)> {
        if self.failed.is_some() {
            return None;
        }
        if let Bytes::None = bytes {
            let homes = self.device.inner().get(self.pieces)?.homes();
            let piece = Piece { inner: self.pieces, offset: 0, count: 0 };
            return self.waiting.is_empty().then_some((piece, homes));
        }
        if self.asked == self.span.count {
            return None;
        }
        let left = (self.span.count - self.asked) as u64;
        let piece = self.device.geometry.piece(self.span.offset + self.asked as u64, left);
        let homes = self.device.inner()[piece.inner].homes();
        let free = match bytes {
            // Writes are in order: what comes after one that fails must not be written.
            Bytes::Out(_) | Bytes::None => self.waiting.is_empty(),
            Bytes::In(_) => {
                // fs(3) asks one inner file after the other, and stops at the first that fails. That
                // order is kept on each server; but what goes around an inter more than once is
                // larger than any request that fs(3) is ever given, and waits for nothing.
                let around = self.pieces >= self.device.inner().len().max(2);
                *self.device.geometry.kind() == Kind::Inter && around
                    || self.waiting.iter().all(|waiting| waiting.homes & homes == 0)
            }
        };
        free.then_some((piece, homes))
    }

    fn ended(&mut self, child: usize, result: Moved, bytes: &Bytes<'_>) {
        if let Some(at) = self.waiting.iter().position(|waiting| waiting.child == child) {
            let waiting = self.waiting.swap_remove(at);
            self.judge(waiting.number, waiting.count, result, bytes);
        }
    }

    /// What the end of one piece means for the whole: nothing, if all of it was moved.
    fn judge(&mut self, number: usize, count: usize, result: Moved, bytes: &Bytes<'_>) {
        let answer = match result {
            Ok(moved) if moved == count => return,
            Ok(moved) => self.short(moved, matches!(bytes, Bytes::Out(_))),
            // The others are synced all the same.
            Err(ename) if matches!(bytes, Bytes::None) && refuses_sync(&ename) => {
                self.refused.get_or_insert(ename);
                return;
            }
            Err(ename) => Err(ename),
        };
        if self.failed.as_ref().is_none_or(|&(first, _)| number < first) {
            self.failed = Some((number, answer));
        }
    }

    /// What is answered when an inner file moved fewer bytes than it was asked to.
    fn short(&self, moved: usize, write: bool) -> Moved {
        let rules = self.device.rules;
        match self.device.geometry.kind() {
            Kind::Cat => Err(rules.cat_short.into()),
            Kind::Part { .. } if !(write && rules.part_short_write_fails) => Ok(moved),
            _ => Err(enames::EIO.into()),
        }
    }

    /// devds's cat passes a write on to every inner file from its offset on, with no bytes for those
    /// that hold none of it; only our own ctl makes an error of that. This goes on up to, and not
    /// including, inner file `next`.
    fn visit(&mut self, next: usize) -> Result<(), Ename> {
        let from = std::mem::replace(&mut self.visited, next + 1);
        let device = &self.device;
        match device.rules.empty_message {
            Some(ename) if device.has_ctl() && *device.geometry.kind() == Kind::Cat => {
                let reaches = |&inner: &usize| {
                    device.geometry.comes_to(inner, self.span.offset)
                        && matches!(device.inner()[inner], Inner::Ctl)
                };
                match (from..next).find(reaches) {
                    Some(_) => Err(ename.into()),
                    None => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }
}
