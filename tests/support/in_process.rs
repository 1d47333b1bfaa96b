//! One client at the world, in this process: frames go through a session, the trees, the devices and
//! the transfers to files of this machine, with no socket and no event loop. What may take long is
//! waited for here, which the server's own loop never does.

#![allow(dead_code, reason = "each program uses its own part of this")]

use std::path::Path;
use std::rc::Rc;
use std::task::Poll;

use dsfs::ctl::{Dialect, Finder, SaveLog};
use dsfs::inner::host_fs::{self, Keeper};
use dsfs::inner::local::Root;
use dsfs::inner::remote::JobId;
use dsfs::inner::{Carrier, Device, File, Op};
use dsfs::namespace::{self, Failure, Target, Walked};
use dsfs::tree::{self, ClientId, Settings, Visit, World};
use styx::buffer::Buffer;
use styx::server::{Ename, Limits, Outcome, Session};
use styx::{NOFID, NOTAG, Rmsg, Tmsg, VERSION, omode};

/// Files of this machine.
pub struct Files(Root);

impl Carrier for Files {
    fn read(&mut self, file: &File, offset: u64, data: &mut [u8], _: Op) -> Outcome<usize> {
        let File::Local(file) = file else { panic!("only local files are served here") };
        match file.read_cached(offset, data) {
            Poll::Pending => Poll::Ready(file.read(offset, data)),
            ready => ready,
        }
    }

    fn write(&mut self, file: &File, offset: u64, data: &[u8], _: Op) -> Outcome<usize> {
        let File::Local(file) = file else { panic!("only local files are served here") };
        Poll::Ready(file.write(offset, data))
    }

    fn sync(&mut self, file: &File, _: Op) -> Outcome<()> {
        let File::Local(file) = file else { panic!("only local files are served here") };
        Poll::Ready(file.sync())
    }

    fn ends_before(&mut self, _: &File, _: u64) -> bool {
        false
    }

    fn record(&mut self, _: &Rc<Device>, _: Option<Op>) -> Outcome<()> {
        Poll::Ready(Ok(()))
    }

    fn time(&self) -> u64 {
        0
    }
}

/// Nothing is exported here.
impl Keeper for Files {
    fn ask(&mut self, _: host_fs::JobId, _: host_fs::Ask) {
        panic!("nobody attaches to #U here");
    }

    fn look_now(&mut self, _: &host_fs::Look) -> Option<Result<host_fs::Found, Ename>> {
        None
    }

    fn stat_now(&mut self, _: &host_fs::Subject) -> Option<Result<Vec<u8>, Ename>> {
        None
    }

    fn open_limit(&self) -> usize {
        0
    }
}

impl Finder for Files {
    fn walk(&mut self, _: JobId, target: &Target, names: &[String]) -> Poll<Walked> {
        Poll::Ready(self.0.walk(&target.path, names))
    }

    fn open(&mut self, _: JobId, target: &Target) -> Poll<Result<File, Failure>> {
        Poll::Ready(self.0.open_file(&target.path).map(File::Local))
    }

    fn save(
        &mut self,
        _: JobId,
        _: Option<String>,
        _: Option<SaveLog<'_>>,
    ) -> Poll<Result<(), Ename>> {
        Poll::Ready(Ok(()))
    }
}

/// A client and all that serves it.
pub struct InProcess {
    session: Session<tree::File>,
    world: World,
    files: Files,
    /// The replies that have not been taken.
    pub replies: Buffer,
}

const CTL: u32 = 1;

impl InProcess {
    /// A client that has attached, as fid 0, to the devices of these control messages, which are
    /// made of files in `root`.
    pub fn new(root: &Path, messages: &[&str]) -> Self {
        let names = namespace::Table::build(
            "default",
            namespace::table::DEVDS_FILE.as_bytes(),
            &|_| None,
            &mut |_| Err("nothing is included".into()),
        );
        let settings = Settings {
            dialect: Dialect::Devds,
            owner: "inferno".into(),
            read_only: false,
            export: false,
        };
        let mut this = InProcess {
            session: Session::new(Limits::default()),
            world: World::new(settings, Rc::new(names.expect("the default name space")), 0),
            files: Files(Root::open(root, false).expect("the root can be opened")),
            replies: Buffer::new(),
        };
        this.ask(&Tmsg::Version { msize: styx::server::MAX_MSIZE, version: VERSION });
        this.ask(&Tmsg::Attach { fid: 0, afid: NOFID, uname: "inferno", aname: "" });
        this.open("ctl", CTL, omode::OWRITE);
        for message in messages {
            this.ask(&Tmsg::Write { fid: CTL, offset: 0, data: message.as_bytes() });
        }
        this
    }

    /// Makes `fid` stand for a file, opened.
    pub fn open(&mut self, name: &str, fid: u32, mode: u8) {
        let mut frame = Vec::new();
        let names = styx::UpTo16::from_slice(&[name]).expect("one name");
        Tmsg::Walk { fid: 0, newfid: fid, names }.encode(0, &mut frame);
        self.send(&frame);
        self.check();
        self.ask(&Tmsg::Open { fid, mode });
    }

    /// Sends a message whose answer must be no error.
    pub fn ask(&mut self, message: &Tmsg<'_>) {
        let mut frame = Vec::new();
        let tag = if matches!(message, Tmsg::Version { .. }) { NOTAG } else { 0 };
        message.encode(tag, &mut frame);
        self.send(&frame);
        self.check();
    }

    /// Sends a whole frame; its reply is added to the replies.
    pub fn send(&mut self, frame: &[u8]) {
        let (world, host) = (&mut self.world, &mut self.files);
        let mut visit = Visit { world, host, client: ClientId(0) };
        self.session.receive(frame, &mut visit, &mut self.replies).expect("a whole T-message");
    }

    /// Takes the one reply there is, which must be no error.
    pub fn check(&mut self) {
        match Rmsg::decode(&self.replies) {
            Ok((_, Rmsg::Error { ename })) => panic!("{ename}"),
            Ok(_) => {}
            Err(error) => panic!("{error}"),
        }
        self.replies.clear();
    }
}

/// The frames of one request each, at these offsets.
pub fn reads(fid: u32, count: u32, offsets: impl Iterator<Item = u64>) -> Vec<Vec<u8>> {
    let frame = |offset| {
        let mut frame = Vec::new();
        Tmsg::Read { fid, offset, count }.encode(0, &mut frame);
        frame
    };
    offsets.map(frame).collect()
}

/// As [`reads`], of writes of these bytes.
pub fn writes(fid: u32, data: &[u8], offsets: impl Iterator<Item = u64>) -> Vec<Vec<u8>> {
    let frame = |offset| {
        let mut frame = Vec::new();
        Tmsg::Write { fid, offset, data }.encode(0, &mut frame);
        frame
    };
    offsets.map(frame).collect()
}
