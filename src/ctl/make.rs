//! What comes when the inner files of a message are open: the checks that are left, the lengths, and
//! the device.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use styx::enames;
use styx::server::Ename;

use super::control::{Change, Control, Entry};
use super::find::{Finder, Finding};
use super::{Config, InterLength, Kind, PastEnd, TakenCheck};
use crate::device::Geometry;
use crate::device::crypt::Cipher;
use crate::inner::{Device, Inner};
use crate::integrity::Service;
use crate::integrity::log::Record;
use crate::limits;

impl<O: Copy> Control<O> {
    /// All inner files are there: what is to be saved and then done, if anything.
    pub(super) fn found(
        &self,
        finder: &mut impl Finder,
        finding: Finding,
    ) -> Result<Option<Change>, Ename> {
        let Finding { config, mut found, replaces, may_lack, .. } = finding;
        if let Some(replacement) = replaces {
            let inner = found.pop().ok_or(enames::EEMPTYNAME)?;
            self.check_replacement(&replacement, &inner)?;
            return Ok((!replacement.dry_run).then_some(Change::Replace(replacement, inner)));
        }
        let mut absent = 0;
        if may_lack {
            let record = finder.remembered(&self.key(&config))?;
            absent = go_without(record.as_ref(), &config, &mut found)?;
        }
        self.make(config, found, absent).map(|entry| Some(Change::Add(entry)))
    }

    /// Makes the device: the checks that come when its inner files are open, then its lengths.
    /// An inner file that is absent counts with `absent` bytes.
    fn make(&self, mut config: Config, inner: Vec<Inner>, absent: u64) -> Result<Rc<Entry>, Ename> {
        let rules = self.rules();
        if rules.taken == TakenCheck::AfterOpening && self.is_file(&config.dir, &config.name) {
            return Err(enames::EEXIST.into());
        }
        if self.table().dir(&config.dir).is_none() && self.table().dirs().count() >= rules.max_dirs
        {
            return Err(enames::ENOTREES.into());
        }
        let length = |inner: &Inner| match inner {
            Inner::Absent(_) => absent,
            inner => inner.length(),
        };
        let lengths: Vec<u64> = inner.iter().map(length).collect();
        let only = lengths.first().copied().unwrap_or(0);
        let mut cipher = None;
        let geometry = match &mut config.kind {
            Kind::Mirror => Geometry::mirror(&lengths),
            Kind::Cat => Geometry::cat(&lengths),
            Kind::Inter if rules.inter_length == InterLength::Sum => Geometry::inter(&lengths),
            Kind::Inter => Geometry::inter_even(&lengths),
            Kind::Part { start, .. } if rules.past_end == PastEnd::Refused && *start > only => {
                return Err(enames::EPARTSTART.into());
            }
            Kind::Part { start, length } => {
                let geometry = Geometry::part(only, *start, *length);
                (*start, *length) = ((*start).min(only), geometry.length());
                geometry
            }
            Kind::Crypt { key } => {
                // The key goes into the cipher and nowhere else.
                cipher = key.take().and_then(|key| Cipher::new(key.tweak(), key.data()));
                Geometry::crypt(only).ok_or(enames::ECRYPTSTART)?
            }
        };
        let device = Device::new(geometry, inner, &rules.transfers).with_cipher(cipher);
        if device.leaves() > limits::LEAVES || device.depth() > limits::DEPTH {
            return Err(enames::EDEEP.into());
        }
        let device = Rc::new(device);
        let config = RefCell::new(config);
        Ok(Rc::new(Entry {
            config,
            device,
            opens: Cell::new(0),
            mtime: Cell::new(0),
            told: Cell::new(0),
            counts: Rc::default(),
        }))
    }
}

/// A mirror whose log is `record` starts without the legs that are missing, or shorter than it was,
/// if one is there that was in service; the result is its length. If none is, but all are there,
/// their lengths are what counts.
fn go_without(record: Option<&Record>, config: &Config, legs: &mut [Inner]) -> Result<u64, Ename> {
    let length = record.map_or(0, |record| record.scale.length());
    let is_whole = |leg: &Inner| !matches!(leg, Inner::Absent(_)) && leg.length() >= length;
    let serves = record.is_some_and(|record| {
        let mut legs = legs.iter().zip(&record.legs);
        legs.any(|(leg, known)| known.service == Service::In && is_whole(leg))
    });
    let missing = legs.iter().find_map(|leg| match leg {
        Inner::Absent(why) => Some(why),
        _ => None,
    });
    match missing {
        _ if serves => {
            for leg in legs.iter_mut().filter(|leg| !is_whole(leg)) {
                if !matches!(leg, Inner::Absent(_)) {
                    let has = leg.length();
                    let why = format!("{}: {has} of {length} bytes", enames::ETRUNCATED);
                    *leg = Inner::Absent(why.into());
                }
            }
        }
        Some(why) => {
            let name = &config.name;
            return Err(format!("{why}; no leg of {name} is there that was in service").into());
        }
        None => {}
    }
    Ok(length)
}
