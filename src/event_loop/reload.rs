//! SIGHUP: the name space is read again, and the trace opened anew. Devices that there are keep their
//! files; messages to ctl that come later are looked up in the new name space.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;

use super::workers::Job;
use super::{Server, links, manager};
use crate::namespace::Table;

/// Reads the name space again. It is given the one in force, whose servers the new one has to know
/// under the same numbers, and says why it can't.
pub type Reread = dyn Fn(&Table) -> Result<Table, String> + Send + Sync;

/// What is to be reloaded, and how far that is.
pub(super) struct Reload {
    reread: Option<Arc<Reread>>,
    /// How long another server may take to answer.
    timeout: Duration,
    /// A SIGHUP came that has not been attended to.
    pub wanted: bool,
    under_way: bool,
    /// What came of reading.
    pub read: Option<Result<Table, String>>,
}

impl Reload {
    pub fn new(timeout: Duration) -> Self {
        Reload { reread: None, timeout, wanted: false, under_way: false, read: None }
    }
}

impl Server {
    /// From now on, SIGHUP reads the name space again, by `reread` in a worker thread.
    pub fn rereads(&mut self, reread: Box<Reread>) {
        self.reload.reread = Some(reread.into());
    }

    /// Begins to reload if that is wanted, and ends what has been read.
    pub(super) fn attend_reload(&mut self) {
        if let Some(read) = self.reload.read.take() {
            self.reload.under_way = false;
            self.reloaded(read);
            manager::tell(&[NotifyState::Ready]);
        }
        if !self.reload.wanted || self.reload.under_way || self.ending.is_some() {
            return;
        }
        self.reload.wanted = false;
        let mut states = vec![NotifyState::Reloading];
        states.extend(NotifyState::monotonic_usec_now());
        manager::tell(&states);
        self.reopen_trace();
        if let Some(reread) = self.reload.reread.clone() {
            self.reload.under_way = true;
            self.host.workers.submit(Job::Reread(reread, self.world.names().clone()));
            return;
        }
        if self.host.trace.is_none() {
            tracing::info!("SIGHUP: nothing to reload, with neither --namespace nor --trace");
        }
        manager::tell(&[NotifyState::Ready]);
    }

    fn reopen_trace(&mut self) {
        let Some(trace) = &mut self.host.trace else { return };
        match trace.reopen() {
            Ok(()) => tracing::info!("SIGHUP: the trace goes on in {}", trace.path().display()),
            Err(error) => tracing::error!(
                "SIGHUP: the trace goes on in the file that was open: {}: {error}",
                trace.path().display()
            ),
        }
    }

    fn reloaded(&mut self, read: Result<Table, String>) {
        let names = match read {
            Ok(names) => names,
            Err(why) => {
                tracing::error!("SIGHUP: the name space stays as it was: {why}");
                return;
            }
        };
        let links = &mut self.host.links;
        let known = links.len();
        links::add(links, &names, self.world.owner(), self.reload.timeout);
        self.world.observed.mounts.resize_with(links.len(), Rc::default);
        tracing::info!(
            "SIGHUP: the name space is read again: {} mount points, {} new servers; \
             devices keep their files",
            names.points().count(),
            links.len() - known,
        );
        self.world.set_names(Rc::new(names));
    }
}
