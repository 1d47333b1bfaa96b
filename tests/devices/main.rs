//! The devices against a flat array of bytes: each kind alone and nested at random, in both
//! dialects, configured by control messages and read and written over real files by the transfers
//! themselves; and the arithmetic under them, exhaustively. No sockets and no threads here.

mod arithmetic;
mod disk;
#[path = "../support/device_model.rs"]
mod model;

use std::rc::Rc;

use disk::{Finished, Real};
use dsfs::ctl::Dialect;
use dsfs::inner::Device;
use dsfs::integrity::mirror::Stepped;
use model::{BLOCK, Files, HEADER, Kind, Node, Refusal, SECTOR, Shape};
use proptest::prelude::*;
use proptest::sample::Index;

/// One read or write: where, how much, and which of the devices.
#[derive(Clone, Debug)]
struct Op {
    write: bool,
    device: Index,
    offset: At,
    count: At,
    fill: u8,
}

/// A place in a device, or a length, which is known when the device is.
#[derive(Clone, Debug)]
enum At {
    /// Anywhere, and a little past the end.
    Any(Index),
    /// At a multiple of this, or a few bytes beside it.
    Beside(u64, Index, i8),
    /// At the end, or a few bytes beside it.
    End(i8),
    /// Small.
    Small(u64),
    /// As far out as a client can ask for.
    Far,
}

impl At {
    fn of(&self, length: u64) -> u64 {
        match self {
            At::Any(index) => index.index(length as usize + 5) as u64,
            At::Beside(unit, index, by) => {
                let multiple = index.index((length / unit) as usize + 2) as u64 * unit;
                multiple.saturating_add_signed((*by).into())
            }
            At::End(by) => length.saturating_add_signed((*by).into()),
            At::Small(count) => *count,
            At::Far => i64::MAX as u64,
        }
    }
}

fn at() -> impl Strategy<Value = At> {
    let beside = (prop_oneof![Just(BLOCK), Just(SECTOR)], any::<Index>());
    prop_oneof![
        3 => any::<Index>().prop_map(At::Any),
        4 => (beside, -2i8..=2).prop_map(|((unit, index), by)| At::Beside(unit, index, by)),
        // Whole sectors, which is all that a crypt device takes.
        4 => any::<Index>().prop_map(|index| At::Beside(SECTOR, index, 0)),
        2 => (-3i8..=3).prop_map(At::End),
        1 => (0u64..20).prop_map(At::Small),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let offset = prop_oneof![20 => at(), 1 => Just(At::Far)];
    (any::<bool>(), any::<Index>(), offset, at(), any::<u8>())
        .prop_map(|(write, device, offset, count, fill)| Op { write, device, offset, count, fill })
}

/// Lengths of files: none, odd, and around the boundaries of blocks.
fn file() -> impl Strategy<Value = Shape> {
    let around =
        |blocks: u64| (-2i64..=2).prop_map(move |by| (blocks * BLOCK).saturating_add_signed(by));
    let length = prop_oneof![
        1 => Just(0),
        2 => 1..1000u64,
        2 => around(1),
        2 => around(2),
        1 => around(3),
        1 => 0..30_000u64,
        2 => (1..40u64).prop_map(|sectors| sectors * SECTOR),
    ];
    length.prop_map(Shape::File)
}

/// Devices of every kind that the dialect has, up to three deep.
fn shape(dialect: Dialect) -> impl Strategy<Value = Shape> {
    let deeper = move |inner: BoxedStrategy<Shape>| {
        let some = || prop::collection::vec(inner.clone(), 1..=4);
        let part = (inner.clone(), any::<(u16, u8)>(), any::<(u16, u8)>());
        let part = part.prop_map(|(inner, start, length)| Shape::Part(inner.into(), start, length));
        let crypt = inner.clone().prop_map(|inner| Shape::Crypt(inner.into()));
        prop_oneof![
            3 => some().prop_map(Shape::Mirror),
            3 => some().prop_map(Shape::Cat),
            3 => some().prop_map(Shape::Inter),
            3 => part,
            if dialect == Dialect::Plan9 { 2 } else { 0 } => crypt,
        ]
    };
    let device = deeper(file().boxed());
    let nested = deeper(prop_oneof![file(), deeper(file().boxed())].boxed());
    let deepest = deeper(prop_oneof![file(), nested.clone()].boxed());
    prop_oneof![3 => device, 3 => nested, 2 => deepest]
}

fn scene() -> impl Strategy<Value = (Dialect, Shape)> {
    let dialect = prop_oneof![Just(Dialect::Devds), Just(Dialect::Plan9)];
    dialect.prop_flat_map(|dialect| (Just(dialect), shape(dialect)))
}

/// A model beside the real devices.
struct Scene {
    real: Real,
    node: Node,
    /// All devices of the tree, the outermost first: where in [`Node::all`] each is.
    devices: Vec<(usize, Rc<Device>)>,
    files: Files,
}

impl Scene {
    fn new(dialect: Dialect, shape: &Shape) -> Scene {
        let mut files = Files::new();
        let node = Node::build(shape, dialect, &mut files);
        let mut real = Real::new(dialect, &files);
        let made = real.configure(&node);
        let devices = made.into_iter().enumerate();
        let devices: Vec<_> = devices.filter_map(|(at, device)| Some((at, device?))).collect();
        for (at, device) in &devices {
            assert_eq!(
                device.geometry.length(),
                node.all()[*at].length,
                "{:?}",
                node.all()[*at].kind
            );
        }
        Scene { real, node, devices, files }
    }

    /// The outermost device three times out of four: it has all the others inside it.
    fn pick(&self, op: &Op) -> (usize, Rc<Device>) {
        let index = op.device.index(4 * self.devices.len());
        self.devices[index.saturating_sub(3 * self.devices.len())].clone()
    }

    fn check_files(&self) {
        assert!(self.real.files(self.files.len()) == self.files, "the files differ");
    }
}

/// What an operation asks for, and what should come of it; the model has done it already.
/// `None` if the model has nothing to say.
struct Play {
    offset: u64,
    data: Vec<u8>,
    wanted: Result<Finished, Refusal>,
}

fn play(scene: &mut Scene, op: &Op, node: usize) -> Option<Play> {
    let Scene { node: top, files, .. } = scene;
    let node = top.all()[node];
    let offset = op.offset.of(node.length);
    let count = op.count.of(node.length).min(200_000);
    if !op.write {
        let wanted = node.read(files, offset, count).map(Finished::Read);
        return Some(Play { offset, data: vec![0; count as usize], wanted });
    }
    let data: Vec<u8> = (0..count).map(|at| op.fill ^ (at % 251) as u8).collect();
    let mut after = files.clone();
    let wanted = node.write(&mut after, offset, &data);
    if wanted == Err(Refusal::Unknown) {
        return None;
    }
    *files = after;
    Some(Play { offset, data, wanted: wanted.map(|count| Finished::Wrote(count as usize)) })
}

fn begin(
    scene: &mut Scene,
    device: &Rc<Device>,
    op: &Op,
    play: &Play,
    id: usize,
) -> Option<Result<Finished, String>> {
    let Play { offset, data, .. } = play;
    match op.write {
        true => {
            let written = scene.real.write(device, *offset, data, id)?;
            Some(written.map(Finished::Wrote).map_err(Into::into))
        }
        false => {
            let read = scene.real.read(device, *offset, data.len(), id)?;
            Some(read.map(Finished::Read).map_err(Into::into))
        }
    }
}

fn text(wanted: &Result<Finished, Refusal>) -> Result<Finished, String> {
    wanted.clone().map_err(|refusal| refusal.text().to_owned())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(160))]

    /// One transfer at a time, from files that answer at once.
    #[test]
    fn devices_are_flat_arrays_of_bytes(
        (dialect, shape) in scene(),
        ops in prop::collection::vec(op(), 1..24),
    ) {
        let mut scene = Scene::new(dialect, &shape);
        for op in &ops {
            let (at, device) = scene.pick(op);
            let Some(play) = play(&mut scene, op, at) else { continue };
            let came = begin(&mut scene, &device, op, &play, 0);
            prop_assert_eq!(came, Some(text(&play.wanted)), "{:?} at {}", op, play.offset);
        }
        scene.check_files();
        prop_assert_eq!(scene.real.under_way(), 0);
    }

    /// Many transfers at the same time, on devices that share files, from files that answer late
    /// and in any order: each comes out as if they had run one after the other.
    #[test]
    fn transfers_at_the_same_time_come_out_as_one_after_the_other(
        (dialect, shape) in scene(),
        batches in prop::collection::vec(prop::collection::vec(op(), 1..10), 1..4),
        picks in prop::collection::vec(any::<Index>(), 1..40),
    ) {
        let mut scene = Scene::new(dialect, &shape);
        scene.real.disk.late = true;
        let mut picks = picks.iter().cycle().map(|pick| pick.index(1 << 20));
        for batch in &batches {
            let mut wanted = Vec::new();
            for op in batch {
                let (at, device) = scene.pick(op);
                // A failed write's effects depend on what it shared the disk with.
                let before = scene.files.clone();
                let Some(play) = play(&mut scene, op, at) else { continue };
                if op.write && play.wanted.is_err() {
                    scene.files = before;
                    continue;
                }
                let id = wanted.len();
                wanted.push(Some(text(&play.wanted)));
                if let Some(came) = begin(&mut scene, &device, op, &play, id) {
                    prop_assert_eq!(Some(came), wanted[id].take());
                }
                // Some of what is under way goes on before the next one comes.
                if op.fill % 3 == 0 {
                    scene.real.step(picks.next().unwrap_or(0));
                }
            }
            while scene.real.step(picks.next().unwrap_or(0)) {}
            while let Some((id, came)) = scene.real.next_finished() {
                prop_assert_eq!(Some(came.map_err(String::from)), wanted[id].take());
            }
            prop_assert!(wanted.iter().all(Option::is_none), "some never ended");
            prop_assert_eq!(scene.real.under_way(), 0);
            scene.check_files();
        }
    }

    /// Reads that nobody waits for any more go away, whatever they had begun, and hold nobody up.
    #[test]
    fn cancelled_reads_leave_nothing_and_hold_nobody_up(
        (dialect, shape) in scene(),
        ops in prop::collection::vec((op(), any::<bool>()), 1..12),
        picks in prop::collection::vec(any::<Index>(), 1..40),
    ) {
        let mut scene = Scene::new(dialect, &shape);
        scene.real.disk.late = true;
        let mut picks = picks.iter().cycle().map(|pick| pick.index(1 << 20));
        let mut wanted = Vec::new();
        let mut cancelled_ids = Vec::new();
        for (op, cancelled) in &ops {
            let (at, device) = scene.pick(op);
            let before = scene.files.clone();
            let Some(play) = play(&mut scene, op, at) else { continue };
            if op.write && play.wanted.is_err() {
                scene.files = before;
                continue;
            }
            let id = wanted.len();
            wanted.push(Some(text(&play.wanted)));
            if let Some(came) = begin(&mut scene, &device, op, &play, id) {
                prop_assert_eq!(Some(came), wanted[id].take());
            }
            if op.fill % 3 == 0 {
                scene.real.step(picks.next().unwrap_or(0));
            }
            if *cancelled && !op.write {
                cancelled_ids.push(id);
            }
        }
        for id in cancelled_ids {
            if scene.real.cancel(id) {
                wanted[id] = None;
            }
        }
        while scene.real.step(picks.next().unwrap_or(0)) {}
        while let Some((id, came)) = scene.real.next_finished() {
            prop_assert_eq!(Some(came.map_err(String::from)), wanted[id].take());
        }
        prop_assert!(wanted.iter().all(Option::is_none), "some never ended");
        prop_assert_eq!(scene.real.under_way(), 0);
        scene.check_files();
    }
}

/// Whether the files take it at once or later.
#[test]
fn with_sync_a_write_is_over_when_each_file_has_been_synced() {
    let shape = Shape::Cat(vec![Shape::File(100), Shape::File(100)]);
    for dialect in Dialect::ALL {
        let mut scene = Scene::new(dialect, &shape);
        scene.real.sync_writes();
        let (_, device) = scene.devices[0].clone();
        for (late, steps) in [(false, 2), (true, 4)] {
            scene.real.disk.late = late;
            assert_eq!(scene.real.write(&device, 90, &[7; 20], 0), None);
            for _ in 0..steps {
                assert_eq!(scene.real.next_finished(), None);
                assert!(scene.real.step(0));
            }
            assert_eq!(scene.real.next_finished(), Some((0, Ok(Finished::Wrote(20)))));
        }
    }
}

#[test]
fn a_read_that_a_hole_overtakes_is_answered_by_another_leg() {
    let mut files = Files::new();
    let shape = Shape::Mirror(vec![Shape::File(1000), Shape::File(1000)]);
    let node = Node::build(&shape, Dialect::Devds, &mut files);
    files[1] = files[0].clone();
    let mut real = Real::new(Dialect::Devds, &files);
    let device = real.configure(&node)[0].clone().expect("a mirror");
    real.disk.late = true;
    assert_eq!(real.read(&device, 500, 100, 1), None);
    real.cut(0, 10);
    real.disk.late = false;
    assert_eq!(real.write(&device, 900, b"newer", 2), Some(Ok(5)));
    assert!(real.step(0), "the read of the leg that has a hole there by now");
    let read = Finished::Read(files[0][500..600].to_vec());
    assert_eq!(real.next_finished(), Some((1, Ok(read))));
}

/// A client that reads oddly takes no leg out of service.
#[test]
fn a_leg_that_gives_whole_sectors_only_has_not_failed_a_read_of_less() {
    let crypt = Shape::Crypt(Shape::File(2 * SECTOR).into());
    let shape = Shape::Mirror(vec![crypt, Shape::File(2 * SECTOR)]);
    let mut scene = Scene::new(Dialect::Plan9, &shape);
    let mirror = scene.devices[0].1.clone();
    for number in 0..20 {
        let read = scene.real.read(&mirror, 7, 10, number);
        assert!(matches!(read, Some(Ok(data)) if data.len() == 10), "read {number}");
    }
    let known = mirror.mirror().expect("it is a mirror");
    assert!(known.is_sound(), "nothing is wrong with it");
}

/// No look at the leg comes before a small write, unless that is at the mirror's end.
#[test]
fn a_hole_that_a_write_leaves_is_not_read_afterwards() {
    let mut files = Files::new();
    let shape = Shape::Mirror(vec![Shape::File(1000), Shape::File(1200)]);
    let node = Node::build(&shape, Dialect::Devds, &mut files);
    let first = files[0].clone();
    files[1][..1000].copy_from_slice(&first);
    for offset in [700, 990] {
        let mut real = Real::new(Dialect::Devds, &files);
        let device = real.configure(&node)[0].clone().expect("a mirror");
        real.cut(0, 10);
        assert_eq!(real.write(&device, offset, &[7; 10], 1), Some(Ok(10)));
        let bytes = first[500..600].to_vec();
        assert_eq!(real.read(&device, 500, 100, 2), Some(Ok(bytes)), "written at {offset}");
        assert!(!device.mirror().expect("it is one").is_read(0), "written at {offset}");
    }
    // What the mirror does not reach is not missed.
    let mut real = Real::new(Dialect::Devds, &files);
    let device = real.configure(&node)[0].clone().expect("a mirror");
    real.cut(1, 1100);
    assert_eq!(real.write(&device, 700, &[7; 10], 1), Some(Ok(10)));
    assert_eq!(real.read(&device, 700, 10, 2), Some(Ok(vec![7; 10])));
    assert!(device.mirror().expect("it is one").is_read(1));
}

#[test]
fn a_leg_that_fails_a_write_is_out_where_one_has_it_that_comes_back_meanwhile() {
    let shape = Shape::Mirror(vec![Shape::File(100), Shape::File(100)]);
    let mut scene = Scene::new(Dialect::Plan9, &shape);
    let mirror = scene.devices[0].1.clone();
    let known = || mirror.mirror().expect("it is a mirror");
    known().write_failed(0, (0, 10), "no room", 0);
    let step = known().next_step(u64::MAX).expect("leg 0 is to be mended");
    scene.real.disk.late = true;
    assert_eq!(scene.real.write(&mirror, 50, &[7; 10], 1), None);
    scene.real.fail_write();
    known().stepped(step, Stepped::Equal { changed: false }, 0);
    known().begin_clean();
    known().end_clean(true, 0);
    assert!(known().is_read(0) && scene.real.step(0), "it is back, and then takes the write");
    assert_eq!(scene.real.next_finished(), Some((1, Ok(Finished::Wrote(10)))));
    assert!(!known().is_read(1), "it lacks what was answered");
    assert!(known().legs()[1].stale.has(0));
}

/// Every kind alone, read and written at and across every boundary, byte by byte around it.
#[test]
fn every_boundary_of_every_kind_alone() {
    let (block, sector) = (BLOCK, SECTOR);
    let files = |lengths: &[u64]| lengths.iter().map(|&length| Shape::File(length)).collect();
    let shapes = [
        Shape::Mirror(files(&[2 * block + 1, 3 * block])),
        Shape::Cat(files(&[block - 1, 0, 1, 2 * block])),
        Shape::Inter(files(&[2 * block, 2 * block + 7, 2 * block])),
        Shape::Inter(files(&[3 * block, block, 100])),
        // Long enough to be read in one operation for each file.
        Shape::Inter(files(&[4 * block, 5 * block + 3])),
        Shape::Inter(files(&[4 * block])),
        Shape::Part(Shape::File(3 * block).into(), (1 << 14, 1), (1 << 15, 3)),
        Shape::Crypt(Shape::File(5 * sector + 100).into()),
    ];
    for shape in shapes {
        for dialect in Dialect::ALL {
            if matches!(shape, Shape::Crypt(_)) && dialect == Dialect::Devds {
                continue;
            }
            let mut scene = Scene::new(dialect, &shape);
            let (at, device) = scene.devices[0].clone();
            let ends = boundaries(&scene.node);
            for (index, &offset) in ends.iter().enumerate() {
                for &end in &ends[index..] {
                    for write in [false, true] {
                        let op = Op {
                            write,
                            device: any_index(),
                            offset: At::Small(offset),
                            count: At::Small(end - offset),
                            fill: (offset ^ end) as u8,
                        };
                        let play = play(&mut scene, &op, at).expect("no leg fails");
                        let came = begin(&mut scene, &device, &op, &play, 0);
                        assert_eq!(came, Some(text(&play.wanted)), "{op:?} of {shape:?}");
                    }
                }
            }
            scene.check_files();
        }
    }
}

/// Where the device's bytes go from one piece to another, the end, and the bytes beside these.
fn boundaries(node: &Node) -> Vec<u64> {
    let mut ends = vec![0, node.length];
    let mut end = 0;
    for inner in &node.inner {
        end += inner.length;
        ends.push(end);
    }
    ends.extend((0..=node.length / BLOCK).map(|block| block * BLOCK));
    if node.kind == Kind::Crypt {
        ends.extend([SECTOR, 2 * SECTOR, end.saturating_sub(HEADER)]);
    }
    let mut ends: Vec<u64> =
        ends.iter().flat_map(|&end| [end.saturating_sub(1), end, end + 1]).collect();
    ends.sort_unstable();
    ends.dedup();
    ends.retain(|&end| end <= node.length + 1);
    ends
}

/// An index for an operation on a device that is picked otherwise.
fn any_index() -> Index {
    use proptest::strategy::{Strategy, ValueTree};
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    any::<Index>().new_tree(&mut runner).expect("any index").current()
}
