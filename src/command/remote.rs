//! Which server the client's commands speak to.

use clap::Args;

use crate::client::admin::Admin;
use crate::client::{Client, DEFAULT_MSIZE, Error, MIN_MSIZE};
use crate::dial::Addr;

/// Which server, of the commands that know which of its trees they want.
#[derive(Debug, Args)]
pub(super) struct Server {
    /// The server: tcp!HOST!SERVICE, unix!/PATH or HOST
    #[arg(short, long = "addr", value_name = "ADDR", default_value = "tcp!127.0.0.1!styx", value_parser = Addr::to_dial)]
    addr: Addr,
    /// The longest message to offer, in bytes
    #[arg(long, value_name = "N", default_value_t = DEFAULT_MSIZE, value_parser = msize())]
    msize: u32,
}

/// The options that all of the client's commands have.
#[derive(Debug, Args)]
pub(super) struct Remote {
    #[command(flatten)]
    server: Server,
    /// The tree to attach to: "" (the devices), #k, #U, admin
    #[arg(
        short = 'A',
        long = "aname",
        value_name = "ANAME",
        default_value = "",
        hide_default_value = true
    )]
    aname: String,
}

/// An msize that can be offered: [`MIN_MSIZE`] to [`MAX_MSIZE`](styx::server::MAX_MSIZE).
pub(super) fn msize() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(i64::from(MIN_MSIZE)..=i64::from(styx::server::MAX_MSIZE))
}

impl Remote {
    /// Whether this is the tree of who looks after the mirrors.
    pub(super) fn is_admin(&self) -> bool {
        self.aname == "admin"
    }

    /// Connects and attaches.
    pub(super) fn connect(&self) -> Result<Client, Error> {
        Client::connect(&self.server.addr, &self.aname, self.server.msize)
    }
}

impl Server {
    /// Connects, and attaches to the admin tree.
    pub(super) fn admin(&self) -> Result<Admin, Error> {
        Admin::connect(&self.addr, self.msize)
    }
}
