//! The rows of the table: each a load, who is measured with it, and what dsfs is to reach.

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Read,
    Write,
    Stat,
    /// Walk and clunk.
    Walk,
}

impl Op {
    pub fn name(self) -> &'static str {
        match self {
            Op::Read => "read",
            Op::Write => "write",
            Op::Stat => "stat",
            Op::Walk => "walk",
        }
    }
}

/// One load.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub op: Op,
    pub size: u32,
    pub random: bool,
    pub conns: u32,
    /// Requests in flight on each connection.
    pub depth: u32,
    /// Client and server on one core: for one request at a time, which would otherwise measure how
    /// long it takes to wake the other core.
    pub one_core: bool,
}

/// Who is measured.
pub enum Kind {
    /// Every server, next to the baseline.
    Servers,
    /// Devices of one dsfs, by name and file; the first is what the others are compared with.
    Devices(&'static [(&'static str, &'static str)]),
    /// dsfs alone, and with thousands of idle connections.
    Idle,
    /// dsfs alone, and while `TOPS` times `dsfs top` looks at it.
    Watched,
    /// dsfs alone, and while another client streams from the disk.
    Cold,
    /// A mirror of dsfs without a state directory, and with one, all of its regions being marked.
    State,
    /// A mirror of dsfs alone, and while this message to its admin tree is carried out.
    Upkeep(&'static [&'static str]),
}

/// What dsfs is to reach.
pub enum Goal {
    /// At least this times the first subject's rate.
    Base(f64),
    /// At least this times the rate of the fastest other server.
    Peers(f64),
    /// At most this times the first subject's CPU time for each operation.
    Cpu(f64),
    /// At most this many KiB of memory for each idle connection.
    IdleKib(f64),
    /// The 99th percentile of the latency at most this times what it is alone.
    P99(f64),
}

/// One row.
pub struct Row {
    pub key: &'static str,
    pub title: &'static str,
    pub load: Load,
    pub kind: Kind,
    pub goals: &'static [Goal],
}

const fn load(op: Op, size: u32, conns: u32, depth: u32) -> Load {
    Load { op, size, random: size == 4096, conns, depth, one_core: false }
}

const fn one_at_a_time(op: Op, size: u32) -> Load {
    Load { one_core: true, ..load(op, size, 1, 1) }
}

/// How many `dsfs top` look on in the row for it.
pub const TOPS: u32 = 20;

const K4: u32 = 4096;
const K128: u32 = 128 * 1024;

pub const ROWS: &[Row] = &[
    Row {
        key: "read-c1",
        title: "random 4 KiB reads, 1 connection, 32 in flight",
        load: load(Op::Read, K4, 1, 32),
        kind: Kind::Servers,
        goals: &[Goal::Base(0.9), Goal::Peers(1.0), Goal::Cpu(1.2)],
    },
    Row {
        key: "read-c8",
        title: "random 4 KiB reads, 8 connections, 32 in flight each",
        load: load(Op::Read, K4, 8, 32),
        kind: Kind::Servers,
        goals: &[Goal::Base(0.9), Goal::Peers(1.5)],
    },
    Row {
        key: "write-c1",
        title: "random 4 KiB writes, 1 connection, 32 in flight",
        load: load(Op::Write, K4, 1, 32),
        kind: Kind::Servers,
        goals: &[Goal::Base(0.9), Goal::Peers(1.0)],
    },
    Row {
        key: "write-c8",
        title: "random 4 KiB writes, 8 connections, 32 in flight each",
        load: load(Op::Write, K4, 8, 32),
        kind: Kind::Servers,
        goals: &[Goal::Base(0.9), Goal::Peers(1.3)],
    },
    Row {
        key: "seq-c1",
        title: "128 KiB sequential reads, 1 connection, 8 in flight",
        load: load(Op::Read, K128, 1, 8),
        kind: Kind::Servers,
        goals: &[Goal::Base(0.95), Goal::Peers(1.0)],
    },
    Row {
        key: "seq-c8",
        title: "128 KiB sequential reads, 8 connections, 1 in flight each",
        load: load(Op::Read, K128, 8, 1),
        kind: Kind::Servers,
        goals: &[Goal::Base(0.95), Goal::Peers(1.0)],
    },
    Row {
        key: "seqwrite",
        title: "128 KiB sequential writes, one at a time, one core",
        load: one_at_a_time(Op::Write, K128),
        kind: Kind::Servers,
        goals: &[Goal::Base(0.95), Goal::Peers(1.0)],
    },
    Row {
        key: "seqwrite-d8",
        title: "128 KiB sequential writes, 1 connection, 8 in flight",
        load: load(Op::Write, K128, 1, 8),
        kind: Kind::Servers,
        goals: &[Goal::Base(0.95), Goal::Peers(1.0)],
    },
    Row {
        key: "read-d1",
        title: "random 4 KiB reads, one at a time, one core",
        load: one_at_a_time(Op::Read, K4),
        kind: Kind::Servers,
        goals: &[Goal::Base(0.95)],
    },
    Row {
        key: "stat-d1",
        title: "stat, one at a time, one core",
        load: one_at_a_time(Op::Stat, K4),
        kind: Kind::Servers,
        goals: &[Goal::Base(0.95)],
    },
    Row {
        key: "walk-d1",
        title: "walk and clunk, one at a time, one core",
        load: one_at_a_time(Op::Walk, K4),
        kind: Kind::Servers,
        goals: &[Goal::Base(0.95)],
    },
    Row {
        key: "deep",
        title: "4 KiB reads of a cat of an inter of parts, three deep, 32 in flight",
        load: load(Op::Read, K4, 1, 32),
        kind: Kind::Devices(&[("plain", "f"), ("deep", "deep")]),
        goals: &[Goal::Base(0.9)],
    },
    Row {
        key: "inter",
        title: "128 KiB sequential reads of an inter of two, 1 connection, 8 in flight",
        load: load(Op::Read, K128, 1, 8),
        kind: Kind::Devices(&[("plain", "f"), ("inter", "i")]),
        goals: &[Goal::Base(0.9)],
    },
    Row {
        key: "mirror",
        title: "4 KiB reads of a mirror of two, 32 in flight",
        load: load(Op::Read, K4, 1, 32),
        kind: Kind::Devices(&[("plain", "f"), ("mirror", "m")]),
        goals: &[Goal::Base(0.95)],
    },
    Row {
        key: "mirrorwrite",
        title: "4 KiB writes to a mirror of two, 32 in flight",
        load: load(Op::Write, K4, 1, 32),
        kind: Kind::Devices(&[("plain", "f"), ("mirror", "m")]),
        goals: &[Goal::Base(0.5)],
    },
    Row {
        key: "mirrorwrite-8k",
        title: "4 KiB writes to a mirror of two, 32 in flight, files written 8 KiB at a time",
        load: load(Op::Write, K4, 1, 32),
        kind: Kind::Devices(&[("plain", "f8"), ("mirror", "m8")]),
        goals: &[Goal::Base(0.5)],
    },
    Row {
        key: "idle",
        title: "4 KiB reads, 32 in flight, beside 5,000 idle connections",
        load: load(Op::Read, K4, 1, 32),
        kind: Kind::Idle,
        goals: &[Goal::Base(0.95), Goal::IdleKib(1.5)],
    },
    Row {
        key: "watched",
        title: "4 KiB reads, 32 in flight, while 20 dsfs top look on",
        load: load(Op::Read, K4, 1, 32),
        kind: Kind::Watched,
        // One of them is to cost less than 1 %, of the rate and of the server's CPU.
        goals: &[Goal::Base(1.0 - 0.01 * TOPS as f64), Goal::Cpu(1.0 + 0.01 * TOPS as f64)],
    },
    Row {
        key: "cold",
        title: "4 KiB reads, one at a time, beside a client that streams from the disk",
        load: load(Op::Read, K4, 1, 1),
        kind: Kind::Cold,
        goals: &[Goal::P99(2.0)],
    },
    Row {
        key: "state",
        title: "random 4 KiB writes to a mirror of two, 32 in flight, --state beside without",
        load: load(Op::Write, K4, 1, 32),
        kind: Kind::State,
        goals: &[Goal::Base(0.85)],
    },
    Row {
        key: "resync",
        title: "4 KiB reads of a mirror, one at a time, beside a resync",
        load: load(Op::Read, K4, 1, 1),
        kind: Kind::Upkeep(&["repair", "m", "from", "0"]),
        goals: &[Goal::P99(2.0)],
    },
    Row {
        key: "verify",
        title: "4 KiB reads of a mirror, one at a time, beside a verify",
        load: load(Op::Read, K4, 1, 1),
        kind: Kind::Upkeep(&["verify", "m"]),
        goals: &[Goal::P99(2.0)],
    },
];
