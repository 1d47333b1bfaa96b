//! Threads for what would make the loop wait: the disk, the file system, the resolver.

use std::fs::File as HostFile;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::{io, thread};

use mio::Waker;
use styx::server::Ename;

use super::logs::Work;
use super::reload::Reread;
use crate::inner::host_fs::{self, Ask, HostFs, Told};
use crate::inner::local::Root;
use crate::inner::remote::JobId;
use crate::inner::{LocalFile, Op};
use crate::integrity::log::Found;
use crate::integrity::state::{Key, StateDir, StateError, write_record};
use crate::namespace::{Failure, Table, Walked};

/// What a thread is to do.
pub(super) enum Job {
    Read {
        op: Op,
        file: LocalFile,
        offset: u64,
        count: usize,
    },
    Write {
        op: Op,
        file: LocalFile,
        offset: u64,
        data: Vec<u8>,
    },
    Sync {
        op: Op,
        file: LocalFile,
    },
    Walk {
        job: JobId,
        root: Root,
        path: Vec<String>,
        names: Vec<String>,
    },
    Open {
        job: JobId,
        root: Root,
        path: Vec<String>,
    },
    Resolve {
        link: usize,
        host: String,
        port: u16,
    },
    Export {
        job: host_fs::JobId,
        fs: HostFs,
        ask: Ask,
    },
    Log(Arc<StateDir>, Work<Arc<HostFile>>),
    Save(NewState),
    /// Reads the name space again, which is this one.
    Reread(Arc<Reread>, Table),
}

/// What is to be kept of a control message, and where.
pub(super) struct NewState {
    pub job: JobId,
    pub state: Arc<StateDir>,
    pub text: Option<String>,
    pub log: Option<NewLog>,
}

/// The log of a mirror that is being configured.
pub(super) struct NewLog {
    pub key: Key,
    pub length: u64,
    pub legs: usize,
    pub must_exist: bool,
}

/// What came of it.
pub(super) enum Outcome {
    Read(Op, Result<Vec<u8>, Ename>),
    Wrote(Op, Result<usize, Ename>),
    Synced(Op, Result<(), Ename>),
    Walked(JobId, Walked),
    Opened(JobId, Result<LocalFile, Failure>),
    Resolved(usize, io::Result<Vec<SocketAddr>>),
    Recorded(usize, io::Result<()>),
    Saved(JobId, Result<Option<(HostFile, Found)>, StateError>),
    Moved(usize, Result<(HostFile, Found), StateError>),
    Exported(host_fs::JobId, Result<Told, Ename>),
    Reread(Result<Table, String>),
}

impl Job {
    fn run(self) -> Outcome {
        match self {
            Job::Read { op, file, offset, count } => {
                let mut data = vec![0; count];
                let result = file.read(offset, &mut data).map(|read| {
                    data.truncate(read);
                    data
                });
                Outcome::Read(op, result)
            }
            Job::Write { op, file, offset, data } => Outcome::Wrote(op, file.write(offset, &data)),
            Job::Sync { op, file } => Outcome::Synced(op, file.sync()),
            Job::Walk { job, root, path, names } => Outcome::Walked(job, root.walk(&path, &names)),
            Job::Open { job, root, path } => Outcome::Opened(job, root.open_file(&path)),
            Job::Resolve { link, host, port } => {
                let addresses = (host.as_str(), port).to_socket_addrs();
                Outcome::Resolved(link, addresses.map(Iterator::collect))
            }
            Job::Log(_, Work::Record { log, file, offset, bytes }) => {
                Outcome::Recorded(log, write_record(&file, offset, &bytes))
            }
            Job::Log(state, Work::Move { log, keys: (from, to), record, text }) => {
                Outcome::Moved(log, state.move_log((&from, &to), &record, &text))
            }
            Job::Save(NewState { job, state, text, log }) => {
                // The log is there before the configuration says that there is one.
                let log = log.map(|NewLog { key, length, legs, must_exist }| {
                    state.open_log(&key, length, legs, must_exist)
                });
                let saved = log.transpose().and_then(|log| {
                    text.map_or(Ok(()), |text| state.save_config(&text)).map(|()| log)
                });
                Outcome::Saved(job, saved)
            }
            Job::Reread(reread, table) => Outcome::Reread(reread(&table)),
            Job::Export { job, fs, ask } => Outcome::Exported(job, fs.run(ask)),
        }
    }
}

/// The threads. They end when this is dropped and their work is done.
pub(super) struct Workers {
    jobs: Sender<Job>,
    outcomes: Receiver<Outcome>,
    /// How many jobs have not come back.
    under_way: usize,
}

impl Workers {
    /// Starts `count` threads, which wake the loop when they have done something.
    pub fn start(count: usize, waker: &Arc<Waker>) -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        let (done, outcomes) = mpsc::channel();
        for number in 0..count.max(1) {
            let (queue, done, waker) = (queue.clone(), done.clone(), waker.clone());
            thread::Builder::new().name(format!("worker{number}")).spawn(move || {
                loop {
                    let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(job) = job else { return };
                    if done.send(job.run()).is_err() || waker.wake().is_err() {
                        return;
                    }
                }
            })?;
        }
        Ok(Workers { jobs, outcomes, under_way: 0 })
    }

    pub fn submit(&mut self, job: Job) {
        self.under_way += 1;
        self.jobs.send(job).expect("the threads live as long as this, and never panic");
    }

    /// How many jobs have not come back.
    pub fn under_way(&self) -> usize {
        self.under_way
    }

    /// The next job that is done.
    pub fn next(&mut self) -> Option<Outcome> {
        if self.under_way == 0 {
            return None;
        }
        let outcome = self.outcomes.try_recv().ok()?;
        self.under_way -= 1;
        Some(outcome)
    }
}
