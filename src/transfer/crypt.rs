//! Crypt: what is written is encrypted first, what is read is decrypted afterwards.

use std::rc::Rc;

use styx::enames;

use super::machine::{Bytes, Ended, Machine, Moved, Span, Step};
use crate::device::crypt;
use crate::inner::{Carrier, Device};

#[derive(Debug)]
pub(super) struct Crypt {
    pub device: Rc<Device>,
    pub span: Span,
    pub scratch: Option<usize>,
    pub child: Option<usize>,
}

impl<C: Carrier> Machine<'_, C> {
    /// Checks a transfer of a crypt device, and encrypts what it writes.
    pub(super) fn start_crypt(
        &mut self,
        device: Rc<Device>,
        span: Span,
    ) -> Result<Crypt, &'static str> {
        if !crypt::aligned(span.offset, span.count as u64) {
            return Err(enames::EBADARG);
        }
        let cipher = device.cipher.as_ref().ok_or(enames::EIO)?;
        let scratch = match &self.bytes {
            Bytes::Out(bytes) => {
                let plain = match span.scratch {
                    Some(scratch) => &self.frames.scratch[scratch][..],
                    None => bytes,
                };
                let mut sectors = plain[span.at..span.at + span.count].to_vec();
                cipher.encrypt(span.offset, &mut sectors);
                Some(self.frames.scratch.insert(sectors))
            }
            _ => None,
        };
        Ok(Crypt { device, span, scratch, child: None })
    }

    pub(super) fn advance_crypt(
        &mut self,
        crypt: &mut Crypt,
        ended: Option<Ended>,
    ) -> Option<Moved> {
        let device = crypt.device.clone();
        let result = match ended {
            Some((_, result)) => result,
            None => {
                let piece = device.geometry.piece(crypt.span.offset, crypt.span.count as u64);
                let at = if crypt.scratch.is_some() { 0 } else { crypt.span.at };
                let span = Span { offset: piece.offset, at, scratch: crypt.scratch, ..crypt.span };
                match self.start(&device.inner()[piece.inner], span) {
                    Step::Done(result) => result,
                    Step::Wait(child) => {
                        crypt.child = Some(child);
                        return None;
                    }
                }
            }
        };
        if let Some(scratch) = crypt.scratch {
            self.frames.scratch.remove(scratch);
        }
        Some(result.and_then(|count| match &mut self.bytes {
            Bytes::In(bytes) => {
                let whole = count / crypt::SECTOR as usize * crypt::SECTOR as usize;
                let sectors = &mut bytes[crypt.span.at..crypt.span.at + whole];
                if let Some(cipher) = &device.cipher {
                    cipher.decrypt(crypt.span.offset, sectors);
                }
                Ok(whole)
            }
            _ if count == crypt.span.count => Ok(count),
            _ => Err(enames::EIO.into()),
        }))
    }
}
