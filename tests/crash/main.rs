//! The crash test: a mirror under load loses power at any step of any operation. After a restart every
//! write that was acknowledged and synced is on every leg, the legs are equal, and only what the log
//! had marked was read to make them so.
//!
//! `DSFS_SEEDS` says how many crashes are tried, `DSFS_SEED` where to begin; a seed that fails prints
//! the command that plays it again.

mod disk;
#[path = "../support/random.rs"]
mod random;
#[path = "../support/store.rs"]
mod store;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use dsfs::ctl::Dialect;
use dsfs::inner::local::Root;
use dsfs::inner::{Device, Inner};
use dsfs::integrity::Service;
use dsfs::integrity::log::Record;
use dsfs::namespace::{Table, table};
use dsfs::transfer::{Ask, Direction, Finished};
use dsfs::tree::{Owner, Settings, World};

use disk::Disk;
use random::Random;
use store::Store;

/// How many crashes, unless DSFS_SEEDS says otherwise.
const SEEDS: u64 = 2000;

/// Seeds that failed once, beyond those that are tried anyway.
const FAILED_ONCE: [u64; 2] = [101_595, 103_882];

/// Three regions and a part of one.
const LENGTH: usize = 3 * 65536 + 20 * 1024;

/// What the model knows one from another.
const BLOCK: usize = 1024;

/// One write to a block.
#[derive(Clone, Copy)]
struct Wrote {
    id: u64,
    acknowledged: bool,
}

/// A write under way: its blocks. A read: what each block may hold at least. A sync: what was
/// acknowledged before it.
enum Asked {
    Write { first: usize, count: usize },
    Read { first: usize, least: Vec<u64> },
    Sync { least: Vec<u64> },
}

/// What each block may hold: a write that must be there, or any that came after it.
struct Model {
    blocks: Vec<Vec<Wrote>>,
    /// The last write of each block that was acknowledged before a sync that succeeded.
    synced: Vec<u64>,
    asked: Vec<(usize, Asked)>,
    ids: u64,
}

impl Model {
    fn new() -> Model {
        let blocks = LENGTH / BLOCK;
        let first = Wrote { id: 1, acknowledged: true };
        Model { blocks: vec![vec![first]; blocks], synced: vec![1; blocks], asked: vec![], ids: 1 }
    }

    /// The last acknowledged write of a block.
    fn least(&self, block: usize) -> u64 {
        let wrote = self.blocks[block].iter().rev().find(|wrote| wrote.acknowledged);
        wrote.map_or(0, |wrote| wrote.id)
    }

    /// Checks what a block holds: words of `least`, or of writes that came after it.
    fn check(&self, what: &str, block: usize, least: u64, bytes: &[u8]) {
        for word in bytes.chunks_exact(8) {
            let id = u64::from_le_bytes(word.try_into().expect("eight bytes"));
            let place = self.blocks[block].iter().position(|wrote| wrote.id == id);
            let from = self.blocks[block].iter().position(|wrote| wrote.id == least);
            assert!(
                place.is_some() && place >= from,
                "{what}: block {block} holds {id} and should hold {least} or later"
            );
        }
    }

    fn ended(&mut self, number: usize, ok: bool, data: &[u8]) {
        let at = self.asked.iter().position(|(other, _)| *other == number).expect("it was asked");
        match self.asked.swap_remove(at).1 {
            Asked::Write { first, count } => {
                for block in first..first + count {
                    let id = number as u64;
                    let wrote = self.blocks[block].iter_mut().find(|wrote| wrote.id == id);
                    wrote.expect("it was begun").acknowledged = ok;
                }
            }
            Asked::Read { first, least } => {
                assert!(ok, "a mirror can be read");
                for (index, bytes) in data.chunks_exact(BLOCK).enumerate() {
                    self.check("a read", first + index, least[index], bytes);
                }
            }
            Asked::Sync { least } if ok => self.synced = least,
            Asked::Sync { .. } => {}
        }
    }
}

/// A mirror in its world.
struct Run {
    world: World,
    disk: Disk,
    device: Rc<Device>,
    model: Model,
    start: Instant,
    began: u64,
}

impl Run {
    fn start(mut disk: Disk, model: Model, legs: usize, dialect: Dialect) -> Run {
        let text = if dialect == Dialect::Devds { table::DEVDS_FILE } else { table::PLAN9_FILE };
        let mut nothing = |_: &str| Err("no files are included".to_owned());
        let names = Table::build("default", text.as_bytes(), &|_| None, &mut nothing);
        let names = Rc::new(names.expect("the default name space is right"));
        let owner = "nobody".to_string();
        let settings = Settings { dialect, owner, read_only: false, export: false };
        let mut world = World::new(settings, names, 0);
        world.mend(true);
        let names: Vec<String> = (0..legs).map(|leg| format!("/c{leg}")).collect();
        let message = format!("mirror m0 {}", names.join(" "));
        let made = world.control.write(&mut disk, message.as_bytes(), (Owner::Saved(0), 0));
        assert!(matches!(made, Poll::Ready(Ok(()))), "{made:?}");
        let (_, _, entry) = world.control.table().iter().next().expect("the mirror");
        let device = entry.device.clone();
        let began = disk.time;
        Run { world, disk, device, model, start: Instant::now(), began }
    }

    /// A write (0), a read of what was acknowledged (1), a sync (2), a read of what was synced (3).
    fn begin(&mut self, kind: u64) {
        let inner = Inner::Device(self.device.clone());
        let blocks = LENGTH / BLOCK;
        let first = self.disk.dice.below(blocks);
        let count = (1 + self.disk.dice.below(20)).min(blocks - first);
        let offset = (first * BLOCK) as u64;
        self.model.ids += 1;
        let number = self.model.ids as usize;
        let owner = Owner::Saved(number);
        let (transfers, disk) = (&mut self.world.transfers, &mut self.disk);
        let least = |model: &Model| (first..first + count).map(|b| model.least(b)).collect();
        let mut data = vec![0; count * BLOCK];
        let outcome = match kind {
            0 => {
                let id = number as u64;
                let wrote = Wrote { id, acknowledged: false };
                self.model.blocks[first..first + count].iter_mut().for_each(|b| b.push(wrote));
                self.model.asked.push((number, Asked::Write { first, count }));
                data.chunks_exact_mut(8).for_each(|word| word.copy_from_slice(&id.to_le_bytes()));
                transfers.begin(disk, &inner, offset, Ask::Write(&data), owner)
            }
            1 | 3 => {
                let synced = || self.model.synced[first..first + count].to_vec();
                let least = if kind == 1 { least(&self.model) } else { synced() };
                self.model.asked.push((number, Asked::Read { first, least }));
                transfers.begin(disk, &inner, offset, Ask::Read(&mut data), owner)
            }
            _ => {
                let least = (0..blocks).map(|block| self.model.least(block)).collect();
                self.model.asked.push((number, Asked::Sync { least }));
                transfers.begin(disk, &inner, 0, Ask::Sync, owner)
            }
        };
        if let Poll::Ready(result) = outcome {
            self.model.ended(number, result.is_ok(), &data);
        }
        self.settle();
    }

    /// Takes what is over, and lets the upkeep do what is due.
    fn settle(&mut self) {
        loop {
            while let Some(finished) = self.world.next_finished() {
                let Finished { owner, direction, result, data, .. } = finished;
                let Owner::Saved(number) = owner else { panic!("{owner:?}") };
                assert!(direction != Direction::Read || result.is_err() || !data.is_empty());
                self.model.ended(number, result.is_ok(), &data);
            }
            let now = self.start + Duration::from_millis(self.disk.time - self.began);
            let next = self.world.upkeep(&mut self.disk, now);
            if next.is_none_or(|next| next > now) && !self.world.transfers.has_finished() {
                return;
            }
        }
    }

    fn step(&mut self) {
        self.disk.step(&mut self.world.transfers);
        self.settle();
    }

    fn pass(&mut self, most: usize) {
        self.disk.time += self.disk.dice.below(most) as u64;
        self.settle();
    }

    fn is_equal(&self) -> bool {
        let mirror = self.device.mirror().expect("a mirror");
        let whole =
            |leg: &dsfs::integrity::mirror::Leg| leg.service == Service::In && leg.stale.is_empty();
        // Where a leg can't be synced, marks stay.
        let quiet = mirror.marked().is_empty() || self.disk.refusing.is_some();
        mirror.legs().iter().all(whole) && quiet
    }
}

/// One life, a crash, and the life after it.
fn play(seed: u64, root: &Root) {
    let mut dice = Random::new(seed);
    let legs = 2 + dice.below(2);
    let dialect = if dice.below(2) == 0 { Dialect::Devds } else { Dialect::Plan9 };
    let first: Vec<u8> = 1u64.to_le_bytes().into_iter().cycle().take(LENGTH).collect();
    let log = Store::new(Record::new(LENGTH as u64, legs).file(&[0; 32]));
    let stores = vec![Store::new(first); legs];
    let faulty = dice.below(3) == 0;
    // A leg that can't be synced is no help when another one fails, and the power too.
    let refusing = (!faulty && seed.is_multiple_of(4)).then_some((seed / 4) as usize % legs);
    let mut disk = Disk::new(root.clone(), stores, log, dice, 1_000_000);
    disk.at_once = disk.dice.below(101) as u64;
    disk.refusing = refusing;
    let mut run = Run::start(disk, Model::new(), legs, dialect);
    for _ in 0..run.disk.dice.below(200) {
        match run.disk.dice.below(20) {
            0..=5 => run.begin(0),
            6 | 7 => run.begin(1),
            8 => run.begin(2),
            9 => run.pass(4000),
            10 if faulty => {
                run.disk.failing = Some((run.disk.dice.below(legs), 1));
            }
            _ => run.step(),
        }
    }
    let Run { disk, model, .. } = run;
    let (stores, log, dice, time) = disk.crash();
    let mut disk = Disk::new(root.clone(), stores, log, dice, time + 5);
    disk.at_once = 50;
    disk.refusing = refusing;
    let mut model = model;
    model.asked.clear();
    let mut run = Run::start(disk, model, legs, dialect);
    let found = run.disk.found.clone().expect("a log");
    // Until the legs are equal, what a client reads is what was synced, or came later.
    let clients_read = seed.is_multiple_of(2);
    for round in 0..20 {
        run.step();
        run.pass(50);
        if clients_read && round % 4 == 0 {
            run.begin(3);
        }
    }
    let mut suspect = found.record.marked.clone();
    found.record.legs.iter().for_each(|leg| suspect.unite(&leg.stale));
    let mut steps = 0;
    while !run.is_equal() {
        steps += 1;
        assert!(steps < 100_000, "the legs never become equal");
        if run.disk.is_idle() { run.pass(2000) } else { run.step() }
    }
    for &(start, end) in run.disk.reads.iter().filter(|_| !clients_read) {
        let span = found.record.scale.span(start as u64, (end - start) as u64);
        assert!(suspect.has_all(span), "{start}..{end} was read, and nothing was marked there");
    }
    for (number, leg) in run.disk.legs.iter().enumerate() {
        assert!(leg.seen == run.disk.legs[0].seen, "leg {number} is not equal to leg 0");
        for (block, bytes) in leg.seen.chunks_exact(BLOCK).enumerate() {
            run.model.check("after the restart", block, run.model.synced[block], bytes);
        }
    }
}

#[test]
fn a_crash_at_any_step_loses_nothing_that_was_synced() {
    let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse::<u64>().ok());
    let first = number("DSFS_SEED").unwrap_or(1);
    let count = number("DSFS_SEEDS").unwrap_or(SEEDS);
    let place = tempfile::tempdir().expect("a directory");
    for leg in 0..3 {
        let file = std::fs::File::create(place.path().join(format!("c{leg}"))).expect("a file");
        file.set_len(LENGTH as u64).expect("its length");
    }
    let root = Root::open(place.path(), false).expect("it is there");
    for seed in FAILED_ONCE.into_iter().chain(first..first + count) {
        let played = catch_unwind(AssertUnwindSafe(|| play(seed, &root)));
        if let Err(panic) = played {
            println!("DSFS_SEED={seed} DSFS_SEEDS=1 cargo test --test crash");
            std::panic::resume_unwind(panic);
        }
    }
}
