//! The resolver against trees in memory: the recorded names, and random ones against a model that
//! takes one element at a time.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// Trees in memory: for each file or directory, whether it is a directory. Roots are always there.
#[derive(Clone, Debug, Default)]
struct Trees(BTreeMap<Target, bool>);

impl Trees {
    /// From names like `U/chunks/` (a directory), `k/ds/c0`, `0/f`: the tree, then the path.
    fn new(names: &[&str]) -> Trees {
        let mut trees = Trees::default();
        for name in names {
            let parts: Vec<&str> = name.split('/').filter(|part| !part.is_empty()).collect();
            for len in 2..=parts.len() {
                let directory = len < parts.len() || name.ends_with('/');
                trees.0.insert(target(&parts[..len].join("/")), directory);
            }
        }
        trees
    }

    fn is_directory(&self, target: &Target) -> Option<bool> {
        if target.path.is_empty() { Some(true) } else { self.0.get(target).copied() }
    }

    fn walk(&self, target: &Target, names: &[String]) -> Walked {
        let mut directory = self.is_directory(target).unwrap_or(true);
        for (found, name) in names.iter().enumerate() {
            assert!(!matches!(name.as_str(), "" | "." | "..") && !name.contains('/'), "{name:?}");
            match self.is_directory(&target.join(&names[..=found])) {
                Some(is) if directory => directory = is,
                _ => return Walked::Reached { found, directory },
            }
        }
        Walked::Reached { found: names.len(), directory }
    }

    /// Resolves `name`, and gives what it leads to and the walks that it took.
    fn resolve(&self, table: &Table, name: &str) -> (Result<Target, NameError>, usize) {
        let mut resolver = Resolver::new(table, name);
        for walks in 0.. {
            match resolver.next() {
                Step::Found(target) => return (Ok(target), walks),
                Step::Failed(error) => return (Err(error), walks),
                Step::Walk { target, names } => {
                    assert!((1..=16).contains(&names.len()));
                    resolver.walked(self.walk(&target, &names));
                }
            }
        }
        unreachable!()
    }
}

fn target(name: &str) -> Target {
    let mut parts = name.split('/').filter(|part| !part.is_empty()).map(str::to_owned);
    let tree = match parts.next().as_deref() {
        Some("U") => Tree::Host,
        Some("k") => Tree::Kernel,
        tree => Tree::Mount(tree.and_then(|tree| tree.parse().ok()).expect("a tree")),
    };
    Target { tree, path: parts.collect() }
}

fn table(file: &str) -> Table {
    let include = &mut |name: &str| Err(format!("no {name} here"));
    Table::build("test", file.as_bytes(), &|_| None, include).expect("a good file")
}

/// What the golden recordings were made with (their README, "Format").
const RECORDED: &str =
    "bind #U /\nbind #U/chunks /chunks\nbind #k/ds /n/ds\nbind #k/ds /ds\nbind #k/ds /n/kds\n";

/// Recorded: the rows of devds that are named, or the cases more/prefix-0 and more/order-0.
#[test]
fn inner_names_are_answered_as_recorded_of_devds() {
    let trees =
        Trees::new(&["U/chunks/a0", "U/chunks/dd/", "U/chunks/dir/", "k/ds/ctl", "k/ds/c0"]);
    let table = table(RECORDED);
    for (name, want) in [
        ("/chunks/a0", Ok("U/chunks/a0")),
        ("chunks/a0", Ok("U/chunks/a0")), // inner-relative
        ("/chunks/../chunks/a0", Ok("U/chunks/a0")), // inner-dotdot
        ("/n/ds/ctl", Ok("k/ds/ctl")),    // inner-ctl
        ("ds/c0", Ok("k/ds/c0")),
        ("#U/chunks/a0", Ok("U/chunks/a0")),
        ("/chunks/nope", Err("'/chunks/nope' file does not exist")), // inner-missing
        ("/nodir/nope", Err("'/nodir' file does not exist")),        // inner-missing-dir
        ("a0", Err("'a0' file does not exist")),                     // inner-relative2
        ("", Err("empty file name")),                                // inner-empty-quoted
        ("/", Ok("U")), // inner-root; the open refuses it
        ("//chunks//a0/", Err("'//chunks//a0' not a directory")), // inner-slash-slash
        ("/chunks/a0/b", Err("'/chunks/a0' not a directory")), // inner-notdir
        ("/chunks/dir/f", Err("'/chunks/dir/f' does not exist")), // nonroot
        ("/chunks/././././././././zz", Err("'/chunks/././././././././zz' file does not exist")),
        ("/chunks/../chunks/zz", Err("'/chunks/../chunks/zz' file does not exist")),
        ("/zz/../chunks/a0", Err("'/zz' file does not exist")),
        ("/chunks/a0/..", Err("'/chunks/a0' not a directory")),
        ("/chunks/zz/yy", Err("'/chunks/zz' file does not exist")),
        ("/chunks//", Ok("U/chunks")),
        ("..", Ok("U")),
        ("/chunks/dd", Ok("U/chunks/dd")),
        ("/chunks/dd/q0", Err("'/chunks/dd/q0' does not exist")),
        ("/chunks/dd/q/r", Err("'/chunks/dd/q' does not exist")),
        ("/chunks/dd/../q0", Err("'/chunks/dd/../q0' file does not exist")),
        (
            "/chunks/dd/kkkkkkkkkkkkkkkkkkkkkkkkkkkkk",
            Err("'/chunks/dd/kkkkkkkkkkkkkkkkkkkkkkkkkkkkk' does not exist"),
        ),
        (
            "/n/ds/jjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjj",
            Err("'.../jjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjj' file does not exist"),
        ),
        ("/chunks/a0/z", Err("'/chunks/a0' not a directory")),
        ("/chunks/a0/", Err("'/chunks/a0' not a directory")),
        ("/chunks/a0/.", Err("'/chunks/a0' not a directory")),
        ("#", Err("unknown device in # filename")),
        ("#c/time", Err("unknown device in # filename")),
        ("#U*/chunks", Err("bad attach specifier")),
        ("#k/nope", Err("'#k/nope' file does not exist")),
        ("#k/ds/nope", Err("'#k/ds/nope' does not exist")),
        ("/n", Err("permission denied")),
        ("/n/zz", Err("'/n/zz' does not exist")),
        ("/n/ds/../zz", Err("'/n/ds/../zz' file does not exist")),
    ] {
        let got = trees.resolve(&table, name).0.map_err(|error| error.devds());
        assert_eq!(got, want.map(target).map_err(str::to_owned), "{name}");
    }
}

/// Recorded: family inner of the plan9 recordings.
#[test]
fn inner_names_are_answered_as_recorded_of_plan9() {
    let trees = Trees::new(&["U/chunks/a0", "U/chunks/dd/", "k/fs/ctl", "k/fs/c0"]);
    let table = table("bind #U /\nbind #U/chunks /chunks\nbind #k /dev\n");
    for (name, want) in [
        ("/chunks/nope", Err("file does not exist: '/chunks/nope'")),
        ("/chunks/a0/x", Err("not a directory: '/chunks/a0'")),
        ("nope", Err("file does not exist: 'nope'")),
        ("", Err("empty file name")),
        ("/chunks/no such", Err("file does not exist: '/chunks/no such'")),
        ("/chunks/éé", Err("file does not exist: '/chunks/éé'")),
        ("/dev/fs/ctl", Ok("k/fs/ctl")),
        ("/dev/fs", Ok("k/fs")),
        ("#k", Ok("k")),
        ("#k/fs/c0", Ok("k/fs/c0")),
        ("//chunks///a0", Ok("U/chunks/a0")),
        ("/chunks/../chunks/a0", Ok("U/chunks/a0")),
        ("#", Err("unknown device in # filename")),
        ("/chunks/dd/x/y", Err("does not exist: '/chunks/dd/x'")),
        ("/chunks/a0/", Err("not a directory: '/chunks/a0/'")),
        ("/chunks/nope/", Err("file does not exist: '/chunks/nope/'")),
    ] {
        let got = trees.resolve(&table, name).0.map_err(|error| error.plan9());
        assert_eq!(got, want.map(target).map_err(str::to_owned), "{name}");
    }
}

#[test]
fn the_defaults_are_what_the_design_says() {
    let trees = Trees::new(&["U/dev/sd0", "U/n/x", "k/ds/c0"]);
    let devds = table(table::DEVDS_FILE);
    for name in ["ds/c0", "/dev/ds/c0", "/n/ds/c0", "#k/ds/c0"] {
        assert_eq!(trees.resolve(&devds, name).0, Ok(target("k/ds/c0")), "{name}");
    }
    assert_eq!(trees.resolve(&devds, "/dev/sd0").0, Ok(target("U/dev/sd0")));
    assert_eq!(trees.resolve(&devds, "/n/ds/../x").0, Ok(target("U/n/x")));
    let plan9 = table(table::PLAN9_FILE);
    assert_eq!(trees.resolve(&plan9, "/dev/ds/c0").0, Ok(target("k/ds/c0")));
    assert_eq!(plan9.points().count(), 2);
}

#[test]
fn a_directory_above_a_mount_point_is_there_whatever_the_host_has() {
    let table = table("bind #U /\nbind #k/ds /dev/x/ds\n");
    let file = Trees::new(&["U/dev"]);
    for trees in [Trees::default(), file, Trees::new(&["U/dev/"]), Trees::new(&["U/dev/x"])] {
        let error = |name| trees.resolve(&table, name).0.map_err(|error| error.devds());
        assert_eq!(error("/dev/x/foo"), Err("'/dev/x/foo' does not exist".into()));
        assert_eq!(error("/dev/x"), Err("permission denied".into()));
        assert_eq!(error("/dev/x/ds/.."), Err("permission denied".into()));
        assert_eq!(error("/dev/x/ds"), Ok(target("k/ds")));
        assert_eq!(error("/dev/x/../x/ds"), Ok(target("k/ds")));
    }
}

#[test]
fn a_file_may_be_bound_on_a_file() {
    let table = table("bind #U /\nbind /a0 /b\n");
    let trees = Trees::new(&["U/a0"]);
    let resolved = |name| trees.resolve(&table, name).0.map_err(|error| error.devds());
    assert_eq!(resolved("/b"), Ok(target("U/a0")));
    assert_eq!(resolved("/b/"), Err("'/b' not a directory".into()));
    assert_eq!(resolved("/b/c"), Err("'/b' not a directory".into()));
}

#[test]
fn the_seventeenth_element_starts_a_new_batch() {
    let deep = "/d".repeat(16);
    let trees = Trees::new(&[&format!("U{deep}/f")]);
    let table = table("bind #U /");
    let resolved = |name: &str| trees.resolve(&table, name);
    assert_eq!(resolved(&format!("{deep}/f")), (Ok(target(&format!("U{deep}/f"))), 2));
    let missing = |name: &str| *resolved(name).0.unwrap_err().failure() == Failure::Missing;
    assert!(missing(&format!("{}/nope", "/d".repeat(15))));
    assert!(!missing(&format!("{deep}/nope")));
}

#[test]
fn another_servers_words_are_passed_on_when_no_member_has_the_name() {
    let table = table("mount tcp!a!1 /n\nmount -a tcp!b!1 /n\n");
    let mut resolver = Resolver::new(&table, "/n/x/y");
    let step = |tree| Step::Walk {
        target: Target { tree, path: vec![] },
        names: vec!["x".into(), "y".into()],
    };
    assert_eq!(resolver.next(), step(Tree::Mount(0)));
    resolver.walked(Walked::Error("no such thing".into()));
    assert_eq!(resolver.next(), step(Tree::Mount(1)));
    resolver.walked(Walked::Error("hungup channel".into()));
    let Step::Failed(error) = resolver.next() else { panic!("{:?}", resolver.next()) };
    assert_eq!(error.devds(), "'/n/x' hungup channel");
    assert_eq!(error.plan9(), "hungup channel: '/n/x'");
    resolver.walked(Walked::Reached { found: 2, directory: false });
    assert_eq!(resolver.next(), Step::Failed(error));
}

#[test]
fn a_name_of_any_length_is_answered() {
    let table = table("bind #U /");
    let trees = Trees::new(&["U/a/"]);
    let long = "/".repeat(resolve::MAX_NAME_BYTES);
    assert_eq!(trees.resolve(&table, &long).0, Ok(target("U")));
    let error = trees.resolve(&table, &format!("{long}/")).0.unwrap_err();
    assert_eq!((error.devds(), error.plan9()), ("name too long".into(), "name too long".into()));
    let winding = "a/../".repeat(resolve::MAX_NAME_BYTES / 5);
    assert_eq!(trees.resolve(&table, &winding).0, Ok(target("U")));
    let deep = "a/".repeat(resolve::MAX_NAME_BYTES / 2);
    assert_eq!(*trees.resolve(&table, &deep).0.unwrap_err().failure(), Failure::Missing);
}

/// The model: where a name has come to.
#[derive(Clone)]
enum At {
    /// A mount point, or a directory above one: any of these may have the next element.
    Union(Vec<Target>),
    /// One place; whether it is a directory. `None`: a directory above a mount point that is in no
    /// tree.
    Place(Option<Target>, bool),
}

fn union_at(table: &Table, path: &[String]) -> Option<Vec<Target>> {
    let points: Vec<_> = table.points().collect();
    let at = |path: &[String]| points.iter().find(|(point, _)| *point == path);
    let here = at(path).is_some();
    let above = points.iter().any(|(point, _)| point.len() > path.len() && point.starts_with(path));
    if !here && !above && !path.is_empty() {
        return None;
    }
    let nearest = (0..=path.len()).rev().find_map(|len| at(&path[..len]).map(|point| (len, point)));
    let members = nearest.iter().flat_map(|&(len, (_, members))| {
        members.iter().map(move |member| member.target.join(&path[len..]))
    });
    Some(members.collect())
}

/// Resolves one element at a time. Gives the target (`None`: a directory in no tree), or how many
/// elements are shown and why.
fn model(trees: &Trees, table: &Table, name: &str) -> Result<Option<Target>, (usize, Failure)> {
    let elements: Vec<&str> =
        name.split('/').filter(|element| !matches!(*element, "" | ".")).collect();
    let is_point = |path: &[String]| table.points().any(|(point, _)| point == path);
    let mut path: Vec<String> = Vec::new();
    let mut trail = vec![At::Union(union_at(table, &[]).unwrap())];
    let (mut index, mut batch) = (0, 0);
    while let Some(&element) = elements.get(index) {
        if let Some(At::Place(_, false)) = trail.last() {
            return Err((index, Failure::NotDirectory));
        }
        if element == ".." {
            if trail.len() > 1 {
                trail.pop();
                path.pop();
            }
            if let Some(union) = union_at(table, &path) {
                *trail.last_mut().unwrap() = At::Union(union);
            }
            (index, batch) = (index + 1, 0);
            continue;
        }
        let run = elements[index..].iter().take_while(|element| **element != "..").count();
        let ways = (1..=run).rev().map(|len| {
            let names = elements[index..index + len].iter().map(|name| (*name).to_owned());
            path.iter().cloned().chain(names).collect::<Vec<_>>()
        });
        if let Some(point) = ways.into_iter().find(|way| is_point(way)) {
            index += point.len() - path.len();
            while path.len() < point.len() {
                path.push(point[path.len()].clone());
                trail.push(At::Union(union_at(table, &path).unwrap()));
            }
            batch = 0;
            continue;
        }
        path.push(element.to_owned());
        let above = union_at(table, &path).is_some();
        let from = match trail.last().unwrap() {
            At::Union(members) => members.clone(),
            At::Place(place, _) => place.iter().cloned().collect(),
        };
        let step = [element.to_owned()];
        let found = from.iter().map(|from| from.join(&step)).find(|to| {
            let parent = Target { tree: to.tree, path: to.path[..to.path.len() - 1].to_vec() };
            trees.is_directory(&parent) == Some(true) && trees.is_directory(to).is_some()
        });
        let directory = found.as_ref().and_then(|found| trees.is_directory(found));
        if !above && found.is_none() {
            let only_files =
                from.last().is_some_and(|from| trees.is_directory(from) == Some(false));
            if batch == 0 && only_files {
                return Err((index, Failure::NotDirectory));
            }
            let failure = if batch == 0 { Failure::NotFound } else { Failure::Missing };
            return Err((index + 1, failure));
        }
        trail.push(At::Place(found, above || directory == Some(true)));
        (index, batch) = (index + 1, (batch + 1) % 16);
    }
    let slash = name.ends_with('/') || name.ends_with("/.") || name == ".";
    match (trail.last().unwrap(), union_at(table, &path)) {
        (_, Some(members)) if is_point(&path) => match trees.is_directory(&members[0]) {
            Some(false) if slash && !elements.is_empty() => {
                Err((elements.len(), Failure::NotDirectory))
            }
            None if slash && !elements.is_empty() => {
                Err(match parent_is_file(trees, &members[0]) {
                    true => (elements.len() - 1, Failure::NotDirectory),
                    false => (elements.len(), Failure::NotFound),
                })
            }
            _ => Ok(Some(members[0].clone())),
        },
        (_, Some(_)) => Ok(None),
        (At::Place(_, false), _) if slash => Err((elements.len(), Failure::NotDirectory)),
        (At::Place(place, _), _) => Ok(place.clone()),
        (At::Union(_), None) => unreachable!(),
    }
}

fn parent_is_file(trees: &Trees, target: &Target) -> bool {
    let parent = target.path.split_last().map(|(_, parent)| parent.to_vec());
    let parent = parent.map(|path| Target { tree: target.tree, path });
    parent.is_some_and(|parent| trees.is_directory(&parent) == Some(false))
}

/// Names of few elements, so that they meet.
fn name(elements: std::ops::Range<usize>) -> impl Strategy<Value = String> {
    let element = prop_oneof![6 => "[abc]", 1 => Just("..".to_owned()), 1 => Just(String::new())];
    proptest::collection::vec(element, elements)
        .prop_map(|elements| format!("/{}", elements.join("/")))
}

fn bind_line() -> impl Strategy<Value = String> {
    let source = prop_oneof![
        Just("#U".to_owned()),
        name(1..4).prop_map(|name| format!("#U{name}")),
        name(1..3).prop_map(|name| format!("#k{name}")),
        name(0..4),
    ];
    (prop_oneof!["-i", "-ai", "-bi", "-bci"], source, name(0..4))
        .prop_map(|(flags, new, old)| format!("bind {flags} {new} {old}\n"))
}

fn trees() -> impl Strategy<Value = Trees> {
    let place = ("[Uk]", name(1..5), any::<bool>());
    proptest::collection::vec(place, 0..24).prop_map(|places| {
        let mut trees = Trees::default();
        for (tree, name, directory) in places {
            let all = target(&format!("{tree}/{}", name.replace("..", "a")));
            for len in 1..=all.path.len() {
                let part = Target { tree: all.tree, path: all.path[..len].to_vec() };
                let directory = directory || len < all.path.len();
                *trees.0.entry(part).or_default() |= directory;
            }
        }
        trees
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn names_lead_where_the_model_says(
        trees in trees(),
        // Each line can double a union: five can't go over its bound.
        lines in proptest::collection::vec(bind_line(), 0..6),
        root in any::<bool>(),
        names in proptest::collection::vec(name(0..8), 8),
    ) {
        let root = if root { "bind #U /\n" } else { "" };
        let table = table(&format!("{root}{}", lines.concat()));
        for name in names {
            let got = trees.resolve(&table, &name).0;
            match model(&trees, &table, &name) {
                Ok(Some(target)) => prop_assert_eq!(got, Ok(target), "{}", name),
                Ok(None) => {
                    let want = NameError::new(&name, Failure::Permission);
                    prop_assert_eq!(got, Err(want), "{}", name);
                }
                Err((elements, failure)) => {
                    let want = NameError::within(&name, elements, failure);
                    prop_assert_eq!(got, Err(want), "{}", name);
                }
            }
        }
    }
}
