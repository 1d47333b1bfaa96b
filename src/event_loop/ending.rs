//! How a server ends: what is under way is finished, what clients have open is closed, and what was
//! written is put on stable storage.

use std::io;
use std::time::Instant;

use styx::server::Ename;

use super::{LAST_WORDS, Server};
use crate::inner::{Device, File, Inner};

impl Server {
    /// Whether it was told to end, and nothing is under way any more, or has had its time.
    pub(super) fn is_over(&mut self) -> bool {
        let Some(ending) = self.ending else { return false };
        let busy = self.clients.iter().any(|(_, client)| client.connection.is_busy());
        // A write is finished though its client is gone: the legs of a mirror are to be equal.
        !(busy || self.world.transfers.is_writing()) || ending <= Instant::now()
    }

    /// Closes all that clients still have open, and waits for what the host has to do then: files
    /// are put on stable storage, and removed where they were opened for that.
    pub(super) fn dismiss_all(&mut self) -> io::Result<()> {
        self.world.end();
        let clients: Vec<usize> = self.clients.iter().map(|(index, _)| index).collect();
        clients.into_iter().for_each(|index| self.dismiss(index));
        let until = Instant::now() + LAST_WORDS;
        self.ending = Some(until);
        while !self.world.host_is_idle() && Instant::now() < until {
            self.turn(&mut |_, _| {})?;
        }
        Ok(())
    }

    /// Puts what was written to the devices' files here on stable storage.
    pub(super) fn sync_all(&mut self) -> io::Result<()> {
        fn sync_device(device: &Device) -> Result<(), Ename> {
            let is_written = |leg| device.mirror().is_none_or(|mirror| mirror.is_written(leg));
            // A leg that is out has failed already, and gets all of it again.
            let inner = device.inner();
            let inner = inner.iter().enumerate().filter(|&(leg, _)| is_written(leg));
            inner.map(|(_, inner)| inner).try_for_each(|inner| match inner {
                Inner::File(File::Local(file)) => file.sync(),
                Inner::Device(device) => sync_device(device),
                // Another server keeps its own files.
                Inner::File(File::Remote(_)) | Inner::Ctl | Inner::Absent(_) => Ok(()),
            })
        }
        for (_, name, entry) in self.world.control.table().iter() {
            sync_device(&entry.device)
                .map_err(|ename| io::Error::other(format!("sync of {name}: {ename}")))?;
        }
        Ok(())
    }
}
