//! `dsfs rm`: no file.

use clap::Args;

use super::Error;
use super::remote::Remote;

/// Remove a file, where the server lets it be removed.
#[derive(Debug, Args)]
pub struct Options {
    /// The file
    path: String,
    #[command(flatten)]
    remote: Remote,
}

impl Options {
    /// Removes.
    ///
    /// # Errors
    /// If there is no server, or no such file, or the server refuses.
    pub fn run(self) -> Result<(), Error> {
        self.remote.connect()?.remove(&self.path)?;
        Ok(())
    }
}
