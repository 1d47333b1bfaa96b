//! `dsfs check`: a state directory and the mirrors in it, with no server.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;

use super::{Error, serve};
use crate::ctl::Dialect;
use crate::dial::Addr;

/// Check a state directory and its mirrors, while no server runs.
///
/// Reads the configuration and the write-intent logs, compares the legs in service of every mirror,
/// and says what it finds. Exits with 0 if every leg is in service and equal and nothing is marked,
/// else with 1. The options are those that the server is started with.
#[derive(Debug, Args)]
pub struct Options {
    /// The state directory, as dsfs serve --state
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// The directory that #U is [default: $XDG_DATA_HOME/dsfs]
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// The name space file
    #[arg(long, value_name = "FILE")]
    pub namespace: Option<PathBuf>,
    /// Inferno's ds(3), or Plan 9's fs(3)
    #[arg(long, value_name = "DIALECT", default_value = "devds", value_parser = serve::dialect())]
    pub dialect: Dialect,
    /// First make legs equal again where they are marked or stale, and nowhere else
    #[arg(long)]
    pub repair: bool,
}

impl Options {
    /// Checks, and prints what was found.
    ///
    /// # Errors
    /// If the state is refused, or something is not as it should be, which is then printed.
    pub fn run(self, out: &mut impl Write) -> Result<(), Error> {
        serve::log_to_stderr(0);
        // Nothing is made here, as it is for a server.
        let ctl = self.dir.join("ctl");
        let option = "DIR, as --state of a server,";
        ctl.metadata().map_err(|source| Error::Option { option, path: ctl.clone(), source })?;
        let options = serve::Options {
            root: self.root,
            namespace: self.namespace,
            dialect: self.dialect,
            state: Some(self.dir),
            ..serve::Options::on(Addr::local(), &PathBuf::new())
        };
        let mut server = options.restored()?;
        let checked = server.check(self.repair).map_err(Error::Server)?;
        let written: io::Result<()> = write!(out, "{}{}", checked.status, checked.found);
        written.map_err(Error::Output)?;
        if checked.sound { Ok(()) } else { Err(Error::Told) }
    }
}
