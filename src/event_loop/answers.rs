//! What worker threads and other servers have done, and the answers that come of it.

use std::sync::Arc;

use styx::server::Ename;

use super::clients::find_client;
use super::host::Host;
use super::logs::Recorded;
use super::workers::Outcome;
use super::{Server, link_token};
use crate::ctl::Control;
use crate::inner::File;
use crate::transfer::{Done, Transfers};
use crate::tree::{Answered, ClientId, Owner, World};

/// A log has something new: those who waited for that go on. A leg is replaced first, so that the
/// next record does not say that it is held for that.
fn go_on(
    host: &mut Host,
    transfers: &mut Transfers<Owner>,
    control: &mut Control<(Owner, u32)>,
    (log, Recorded { ops, moved }): (usize, Recorded),
) {
    if let Some((job, result)) = moved {
        control.saved(host, job, result);
    }
    let work = host.logs.go_on(log);
    host.work(work);
    for (op, result) in ops {
        transfers.complete(host, op, result.map(|()| Done::Recorded));
    }
}

impl Server {
    /// Goes on with what worker threads and other servers have done. True if there was anything.
    pub(super) fn finish_jobs(&mut self) -> bool {
        let mut any = false;
        let host = &mut self.host;
        while let Some(outcome) = host.workers.next() {
            any = true;
            let World { transfers, control, .. } = &mut self.world;
            match outcome {
                Outcome::Read(op, result) => {
                    transfers.complete(
                        host,
                        op,
                        result.as_deref().map(Done::Read).map_err(Ename::clone),
                    );
                }
                Outcome::Wrote(op, result) => {
                    transfers.complete(host, op, result.map(Done::Wrote));
                }
                Outcome::Synced(op, result) => {
                    transfers.complete(host, op, result.map(|()| Done::Synced));
                }
                Outcome::Recorded(log, result) => {
                    let recorded = host.logs.recorded(log, result);
                    go_on(host, transfers, control, (log, recorded));
                }
                Outcome::Moved(log, result) => {
                    let recorded =
                        host.logs.moved(log, result.map(|(file, found)| (Arc::new(file), found)));
                    go_on(host, transfers, control, (log, recorded));
                }
                Outcome::Saved(job, saved) => {
                    let saved = host.saved(saved);
                    control.saved(host, job, saved);
                }
                Outcome::Walked(job, walked) => control.walked(host, job, walked),
                Outcome::Opened(job, opened) => {
                    control.opened(host, job, opened.map(File::Local));
                }
                Outcome::Resolved(number, addresses) => {
                    let (registry, token) = (self.poll.registry(), link_token(number));
                    host.links[number].resolved(addresses, registry, token, host.now);
                }
                Outcome::Reread(result) => {
                    self.reload.read = Some(result);
                }
                Outcome::Exported(job, told) => self.world.host_told(host, job, told),
            }
        }
        for number in 0..host.links.len() {
            while let Some(done) = host.links[number].mount.next_done() {
                any = true;
                self.world.mount_did(host, done);
            }
        }
        any
    }

    /// Gives the answers that have come to those who wait for them.
    pub(super) fn deliver(&mut self, saved: &mut dyn FnMut(usize, Result<(), Ename>)) {
        if !self.world.has_answers() {
            return;
        }
        let mut told: Vec<usize> = Vec::new();
        while let Some(answered) = self.world.next_answer(saved) {
            self.answer(answered, &mut told);
        }
        // A turn sends what was answered, and takes messages that waited for it.
        told.into_iter().for_each(|index| self.make_ready(index));
    }

    /// Ends the reads that wait for something to happen: of one client, or of all.
    pub(super) fn release(&mut self, client: Option<ClientId>) {
        let mut told: Vec<usize> = Vec::new();
        while let Some(answered) = self.world.next_released(client) {
            self.answer(answered, &mut told);
        }
        told.into_iter().for_each(|index| self.make_ready(index));
    }

    pub(super) fn answer(&mut self, answered: Answered, told: &mut Vec<usize>) {
        let Answered { client: ClientId(token), request, answer } = answered;
        let Some((index, client)) = find_client(&mut self.clients, token) else {
            if let Ok(answer) = answer {
                self.world.discard(&mut self.host, answer);
            }
            return;
        };
        client.connection.answer(request, answer, &mut self.world, &mut self.host);
        if !told.contains(&index) {
            told.push(index);
        }
    }
}
