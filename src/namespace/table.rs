//! The mount table: which trees are seen at which path. Built by running the lines of namespace(6)
//! files; it must never look at a tree itself, so whether a path is there in one is not asked here.
//!
//! Unlike a kernel's, mount points are known by their paths, not by the files they cover: a mount
//! point and the directories above it need not be there in any tree, and what is mounted below a
//! directory does not follow when that directory is bound elsewhere.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use super::file::{self, FileError, MAX_LINES, Reason, Variable};
use super::line::{Flags, Op, Place};
use super::path;
use crate::dial::Addr;

/// The name space of dialect devds when no file is given.
pub const DEVDS_FILE: &str = "bind #U /\nbind #k/ds /ds\nbind #k/ds /dev/ds\nbind #k/ds /n/ds\n";

/// The name space of dialect plan9 when no file is given.
pub const PLAN9_FILE: &str = "bind #U /\nbind #k /dev\n";

/// The longest path of a mount point or in a tree, in bytes: a line has to hold two of them, and
/// repeated binds make paths grow.
pub const MAX_PATH_BYTES: usize = 1024;

/// The most elements in such a path: what an element costs in memory is far more than its bytes.
pub const MAX_ELEMENTS: usize = 64;

/// The longest element, in bytes: Linux's NAME_MAX.
pub const MAX_ELEMENT_BYTES: usize = 255;

/// The most files that one run includes, so that a file can't make it read without end.
pub const MAX_INCLUDES: usize = 64;

/// How deep files include each other: deeper is a loop, or not meant for people. Each level keeps
/// its lines in memory and takes stack.
pub const MAX_INCLUDE_DEPTH: usize = 8;

/// The most mount points: every name that is looked up is compared with some of them.
pub const MAX_POINTS: usize = 256;

/// The most members of one union: a missing name is looked for in each, perhaps over a network.
pub const MAX_UNION: usize = 32;

/// The most members of all unions: with all their paths they are some MiB.
pub const MAX_MEMBERS: usize = 1024;

/// The most servers: each may become a connection.
pub const MAX_REMOTES: usize = 64;

/// A tree of files that a name can lead into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tree {
    /// `#U`: the directory given by `--root`, and nothing outside it.
    Host,
    /// `#k`: our own devices, two levels (`ds/m0`).
    Kernel,
    /// Another server's tree: the index of its [`Remote`] in [`Table::remotes`].
    Mount(usize),
}

/// A place in a tree. Its elements are never empty, `.` or `..`, and have no `/` in them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// The tree.
    pub tree: Tree,
    /// The elements from the tree's root; none is the root itself.
    pub path: Vec<String>,
}

impl Target {
    /// The place `below` it.
    pub(super) fn join(&self, below: &[String]) -> Target {
        Target { tree: self.tree, path: [&self.path, below].concat() }
    }
}

/// A member of the union at a mount point (bind(1)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// What is seen there.
    pub target: Target,
    /// Whether new files may be made in it (`-c`).
    pub create: bool,
}

/// A server to be dialled, and the tree to be asked of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// `tcp!host!service` or `unix!path`, always with all its parts.
    pub dial: Addr,
    /// The attach name (namespace(6) calls it spec); empty if none was given.
    pub aname: String,
    /// Whether the line had `-A`: no authentication.
    pub authless: bool,
    /// Whether the line had `-i`: go on without it if it can't be reached.
    pub ignore: bool,
}

/// A mount table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    points: BTreeMap<Vec<String>, Arc<[Member]>>,
    remotes: Vec<Remote>,
}

/// Gives the bytes of an included file, or why it can't. It need not read more than one byte over
/// [`MAX_FILE_BYTES`](super::file::MAX_FILE_BYTES).
pub type Include<'a> = &'a mut dyn FnMut(&str) -> Result<Vec<u8>, String>;

impl Table {
    /// Runs the namespace(6) file `file`, whose bytes are `text`, from an empty name space.
    /// `file` is only used in errors. `variable` gives the value of `$name`; `include` gives the
    /// bytes of the file in a `. name` line (the name is passed as the line has it), or why it
    /// can't.
    ///
    /// # Errors
    /// The first line that is not namespace(6), goes over a bound, or can't be run and does not
    /// say by `-i` that this is no matter.
    pub fn build(
        file: &str,
        text: &[u8],
        variable: Variable<'_>,
        include: Include<'_>,
    ) -> Result<Table, FileError> {
        Table::default().rebuild(file, text, variable, include)
    }

    /// As [`Table::build`], but what this one knows of other servers is kept: they have the same
    /// indices in both, also those that the file does not name any more.
    ///
    /// # Errors
    /// As [`Table::build`].
    pub fn rebuild(
        &self,
        file: &str,
        text: &[u8],
        variable: Variable<'_>,
        include: Include<'_>,
    ) -> Result<Table, FileError> {
        let table = Table { points: BTreeMap::new(), remotes: self.remotes.clone() };
        let mut run = Run { table, cwd: Vec::new(), lines: 0, includes: 0, variable, include };
        run.file(file, text, 0)?;
        Ok(run.table)
    }

    /// The servers that the table's [`Tree::Mount`]s mean, by index. One that was unmounted again
    /// is still among them.
    pub fn remotes(&self) -> &[Remote] {
        &self.remotes
    }

    /// The mount points, as absolute paths' elements, and the union at each, in path order.
    pub fn points(&self) -> impl Iterator<Item = (&[String], &[Member])> {
        self.points.iter().map(|(path, members)| (path.as_slice(), &**members))
    }

    /// The union at `path`, if that is a mount point.
    pub(super) fn members(&self, path: &[String]) -> Option<&Arc<[Member]>> {
        self.points.get(path)
    }

    /// Whether there are mount points below `path`, so that it is a directory whatever the trees
    /// say.
    pub(super) fn is_above(&self, path: &[String]) -> bool {
        let below = (Bound::Excluded(path), Bound::Unbounded);
        let next = self.points.range::<[String], _>(below).next();
        next.is_some_and(|(point, _)| point.starts_with(path))
    }

    /// The nearest mount point at or above `path`: how many elements of `path` it has, and its
    /// union.
    pub(super) fn above(&self, path: &[String]) -> Option<(usize, &Arc<[Member]>)> {
        (0..=path.len()).rev().find_map(|len| Some((len, self.points.get(&path[..len])?)))
    }
}

/// A name space being built.
struct Run<'a> {
    table: Table,
    cwd: Vec<String>,
    lines: usize,
    includes: usize,
    variable: Variable<'a>,
    include: Include<'a>,
}

impl Run<'_> {
    fn file(&mut self, file: &str, text: &[u8], depth: usize) -> Result<(), FileError> {
        for line in file::parse(file, text, self.variable)? {
            let at = |reason| FileError { file: file.to_owned(), line: line.number, reason };
            if self.lines == MAX_LINES {
                return Err(at(Reason::TooManyLines));
            }
            self.lines += 1;
            let (ignore, done) = match &line.op {
                Op::Include(name) => {
                    let text = self.included(name, depth).map_err(at)?;
                    self.file(name, &text, depth + 1)?;
                    continue;
                }
                Op::Bind { flags, new, old } => (flags.ignore, self.bind(*flags, new, old)),
                Op::Mount { flags, authless, dial, old, spec } => {
                    let (dial, aname) = (dial.clone(), spec.clone());
                    let remote = Remote { dial, aname, authless: *authless, ignore: flags.ignore };
                    (flags.ignore, self.mount(*flags, remote, old))
                }
                Op::Unmount { ignore, new, old } => (*ignore, self.unmount(new.as_deref(), old)),
                Op::Cd(dir) => (false, self.path(dir).map(|dir| self.cwd = dir)),
            };
            match done {
                // A bound is no failure of the line's own, which it could ask to be passed over.
                Err(Reason::NothingThere(_) | Reason::NotMounted(_) | Reason::NotInUnion(..))
                    if ignore => {}
                done => done.map_err(at)?,
            }
        }
        Ok(())
    }

    fn included(&mut self, name: &str, depth: usize) -> Result<Vec<u8>, Reason> {
        if self.includes == MAX_INCLUDES {
            return Err(Reason::TooManyIncludes);
        }
        if depth == MAX_INCLUDE_DEPTH {
            return Err(Reason::IncludedTooDeep);
        }
        self.includes += 1;
        (self.include)(name).map_err(|why| Reason::Include(name.to_owned(), why))
    }

    /// The absolute path that `name` means.
    fn path(&self, name: &str) -> Result<Vec<String>, Reason> {
        let mut path = if name.starts_with('/') { Vec::new() } else { self.cwd.clone() };
        path::append(&mut path, name, 0);
        within_bounds(&path)?;
        Ok(path)
    }

    /// What is seen at `path`, which may be any path. What is not a mount point itself is seen
    /// through the nearest one above: in all of that union's members, since which of them has it is
    /// not known here.
    fn seen(&self, path: &[String]) -> Result<Vec<Member>, Reason> {
        let Some((len, members)) = self.table.above(path) else { return Ok(Vec::new()) };
        let below = &path[len..];
        let seen = members.iter().map(|member| {
            let target = member.target.join(below);
            within_bounds(&target.path)?;
            Ok(Member { target, create: member.create && below.is_empty() })
        });
        seen.collect()
    }

    /// What the source of a bind means now.
    fn source(&self, name: &str) -> Result<Vec<Member>, Reason> {
        // A sharp name that is none was refused with its line.
        let Some(Ok((tree, from))) = path::sharp(name) else { return self.seen(&self.path(name)?) };
        let mut path = Vec::new();
        path::append(&mut path, name, from);
        within_bounds(&path)?;
        Ok(vec![Member { target: Target { tree, path }, create: false }])
    }

    fn bind(&mut self, flags: Flags, new: &str, old: &str) -> Result<(), Reason> {
        let members = self.source(new)?;
        if members.is_empty() {
            return Err(Reason::NothingThere(new.to_owned()));
        }
        self.place(flags, members, self.path(old)?)
    }

    fn mount(&mut self, flags: Flags, remote: Remote, old: &str) -> Result<(), Reason> {
        let old = self.path(old)?;
        let known = self.table.remotes.iter().position(|known| *known == remote);
        let index = known.unwrap_or(self.table.remotes.len());
        if index == MAX_REMOTES {
            return Err(Reason::TooManyRemotes);
        }
        let target = Target { tree: Tree::Mount(index), path: Vec::new() };
        self.place(flags, vec![Member { target, create: false }], old)?;
        if known.is_none() {
            self.table.remotes.push(remote);
        }
        Ok(())
    }

    /// Puts `new` into the union at `old`. As in cmount, `-c` is about the first of a union
    /// that is bound, and a directory that was no mount point yet is its union's first member.
    fn place(
        &mut self,
        flags: Flags,
        mut new: Vec<Member>,
        old: Vec<String>,
    ) -> Result<(), Reason> {
        for (nth, member) in new.iter_mut().enumerate() {
            member.create = flags.create && nth == 0;
        }
        let points = &self.table.points;
        let replaced = points.get(&old).map_or(0, |members| members.len());
        let there = if flags.place == Place::Replace { Vec::new() } else { self.seen(&old)? };
        let union = match flags.place {
            Place::After => [there, new].concat(),
            Place::Before | Place::Replace => [new, there].concat(),
        };
        let others = points.values().map(|members| members.len()).sum::<usize>() - replaced;
        if union.len() > MAX_UNION {
            return Err(Reason::UnionTooLarge);
        }
        if others + union.len() > MAX_MEMBERS {
            return Err(Reason::TooManyMembers);
        }
        if replaced == 0 && points.len() == MAX_POINTS {
            return Err(Reason::TooManyPoints);
        }
        self.table.points.insert(old, union.into());
        Ok(())
    }

    fn unmount(&mut self, new: Option<&str>, old: &str) -> Result<(), Reason> {
        let path = self.path(old)?;
        let Some(members) = self.table.points.get(&path) else {
            return Err(Reason::NotMounted(old.to_owned()));
        };
        let Some(new) = new else {
            self.table.points.remove(&path);
            return Ok(());
        };
        let gone = self.source(new)?;
        let dial = Addr::to_dial(new).ok();
        let is_gone = |member: &Member| {
            let of_server = match member.target.tree {
                Tree::Mount(index) if member.target.path.is_empty() => {
                    self.table.remotes.get(index).map(|remote| &remote.dial) == dial.as_ref()
                }
                _ => false,
            };
            of_server || gone.iter().any(|gone| gone.target == member.target)
        };
        let left: Vec<Member> = members.iter().filter(|member| !is_gone(member)).cloned().collect();
        if left.len() == members.len() {
            return Err(Reason::NotInUnion(new.to_owned(), old.to_owned()));
        }
        if left.is_empty() {
            self.table.points.remove(&path);
        } else {
            self.table.points.insert(path, left.into());
        }
        Ok(())
    }
}

fn within_bounds(path: &[String]) -> Result<(), Reason> {
    let bytes: usize = path.iter().map(|element| element.len() + 1).sum();
    let long = path.iter().any(|element| element.len() > MAX_ELEMENT_BYTES);
    if bytes > MAX_PATH_BYTES || path.len() > MAX_ELEMENTS || long {
        return Err(Reason::PathTooLong);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn build(text: &str) -> Result<Table, FileError> {
        let include = &mut |name: &str| match name {
            "itself" => Ok(b". itself\n".to_vec()),
            "there" => Ok(b". back\n".to_vec()),
            "back" => Ok(b"bind #U /\n. there\n".to_vec()),
            "wide" => Ok(". leaf\n".repeat(MAX_INCLUDES).into_bytes()),
            "leaf" => Ok(b"cd /n\n".to_vec()),
            "bad" => Ok(b"\nfork\n".to_vec()),
            _ => Err("no such file".into()),
        };
        Table::build("ns", text.as_bytes(), &|_| None, include)
    }

    fn reason(text: &str) -> Reason {
        build(text).expect_err(text).reason
    }

    fn member(member: &Member) -> String {
        let Target { tree, path } = &member.target;
        let tree = match tree {
            Tree::Host => "#U".to_owned(),
            Tree::Kernel => "#k".to_owned(),
            Tree::Mount(index) => index.to_string(),
        };
        let create = if member.create { " c" } else { "" };
        path.iter().fold(tree, |place, element| place + "/" + element) + create
    }

    /// The table as text: a line for each mount point.
    fn shown(table: &Table) -> Vec<String> {
        let line = |(path, members): (&[String], &[Member])| {
            let members: Vec<String> = members.iter().map(member).collect();
            format!("/{}: {}", path.join("/"), members.join(", "))
        };
        table.points().map(line).collect()
    }

    fn tabled(text: &str) -> Vec<String> {
        shown(&build(text).expect(text))
    }

    #[test]
    fn binds_do_what_bind_1_says() {
        assert_eq!(tabled(DEVDS_FILE), ["/: #U", "/dev/ds: #k/ds", "/ds: #k/ds", "/n/ds: #k/ds"]);
        assert_eq!(tabled("bind #U /\nbind -b #k /\nbind -ac #U/x /"), ["/: #k, #U, #U/x c"]);
        assert_eq!(tabled("bind #U /\nbind -ac #k /dev"), ["/: #U", "/dev: #U/dev, #k c"]);
        assert_eq!(tabled("bind -a #k /dev"), ["/dev: #k"]);
        // A bound union's members come along, and only the first may be created in.
        let union = "bind #U /\nbind -ac #k /\nbind #k/z /z\nbind -bc / /z";
        assert_eq!(tabled(union), ["/: #U, #k c", "/z: #U c, #k, #k/z"]);
        // A source is what it means then.
        assert_eq!(tabled("bind #U /\nbind /a /b\nbind #k /a"), ["/: #U", "/a: #k", "/b: #U/a"]);
        assert_eq!(tabled("bind #U/x/../y/./z //a//b/.."), ["/a: #U/y/z"]);
        assert_eq!(tabled("bind #U/../.. /../a"), ["/a: #U"]);
    }

    #[test]
    fn cd_and_includes_are_followed() {
        assert_eq!(tabled("cd /n\ncd a/b\nbind #U ../x"), ["/n/a/x: #U"]);
        assert_eq!(tabled(". leaf\nbind #U x"), ["/n/x: #U"]);
        let error = build("cd /\n. bad").unwrap_err();
        assert_eq!((error.file.as_str(), error.line), ("bad", 2));
        let error = build("cd /\n. nope").unwrap_err();
        assert_eq!(error.to_string(), "ns:2: can't include `nope`: no such file");
    }

    #[test]
    fn mounts_of_one_tree_share_a_server() {
        let text = "mount -A tcp!a!1 /n/a\nmount a!1 /n/b\nmount -Ac a!1 /n/c\nmount -A a!1 /n/d x";
        let table = build(text).unwrap();
        assert_eq!(shown(&table), ["/n/a: 0", "/n/b: 1", "/n/c: 0 c", "/n/d: 2"]);
        let anames = table.remotes().iter().map(|remote| (remote.authless, &*remote.aname));
        assert_eq!(anames.collect::<Vec<_>>(), [(true, ""), (false, ""), (true, "x")]);
    }

    #[test]
    fn unmount_undoes_its_bind_or_mount() {
        let union = "bind #U /\nbind #k /x\nbind -a #U/a /x\nmount -a a!1 /x\n";
        assert_eq!(tabled(&format!("{union}unmount #k x")), ["/: #U", "/x: #U/a, 0"]);
        assert_eq!(tabled(&format!("{union}unmount /a x")), ["/: #U", "/x: #k, 0"]);
        assert_eq!(tabled(&format!("{union}unmount a!1 x")), ["/: #U", "/x: #k, #U/a"]);
        assert_eq!(tabled(&format!("{union}unmount /x")), ["/: #U"]);
        assert_eq!(tabled(&format!("{union}unmount /x /x")), ["/: #U"]);
        assert_eq!(reason(&format!("{union}unmount /b")), Reason::NotMounted("/b".into()));
        let not_in = Reason::NotInUnion("/b".into(), "/x".into());
        assert_eq!(reason(&format!("{union}unmount /b /x")), not_in);
        let ignored = "bind -i /b /c\nunmount -i /b\nbind #U /\nunmount -i #k /";
        assert_eq!(tabled(ignored), ["/: #U"]);
        assert_eq!(reason("bind /b /c"), Reason::NothingThere("/b".into()));
    }

    #[test]
    fn a_hostile_file_meets_a_bound() {
        let many = |count, line: &dyn Fn(usize) -> String| (0..count).map(line).collect::<String>();
        let itself = |count| format!("bind #U /x\n{}", "bind -ai /x /x\n".repeat(count));
        assert_eq!(reason(&itself(6)), Reason::UnionTooLarge);
        assert_eq!(build(&itself(5)).unwrap().points().next().unwrap().1.len(), MAX_UNION);
        let members = |count| itself(5) + &many(count, &|n| format!("bind /x /y{n}\n"));
        assert_eq!(reason(&members(MAX_MEMBERS / MAX_UNION)), Reason::TooManyMembers);
        let full = members(MAX_MEMBERS / MAX_UNION - 1);
        assert!(build(&format!("{full}bind /x /y0")).is_ok());
        let points = |count| many(count, &|n| format!("bind #U /{n}\n"));
        assert_eq!(reason(&points(MAX_POINTS + 1)), Reason::TooManyPoints);
        assert!(build(&(points(MAX_POINTS) + "bind #k /0\nbind -a #k /0\n")).is_ok());
        let remotes = |count| many(count, &|n| format!("mount h!{} /n\n", n + 1));
        assert_eq!(reason(&remotes(MAX_REMOTES + 1)), Reason::TooManyRemotes);
        assert!(build(&(remotes(MAX_REMOTES) + "mount h!1 /n")).is_ok());
        assert_eq!(reason(". itself"), Reason::IncludedTooDeep);
        assert_eq!(reason(". there"), Reason::IncludedTooDeep);
        assert_eq!(reason(". wide"), Reason::TooManyIncludes);
        assert_eq!(reason(&". leaf\n".repeat(MAX_INCLUDES + 1)), Reason::TooManyIncludes);
        let half = "cd /\n".repeat(MAX_LINES / 2);
        assert_eq!(reason(&format!("{half}{half}cd /")), Reason::TooManyLines);
        assert_eq!(
            reason(&(format!("{half}{half}").replacen("cd /", ". leaf", 1))),
            Reason::TooManyLines
        );
    }

    #[test]
    fn paths_meet_a_bound_however_they_grow() {
        let deeper = |count| format!("bind #U /\n{}", "bind /a/b /a\n".repeat(count));
        assert_eq!(reason(&deeper(MAX_ELEMENTS)), Reason::PathTooLong);
        assert!(build(&deeper(MAX_ELEMENTS - 1)).is_ok());
        assert_eq!(reason(&"cd a\n".repeat(MAX_ELEMENTS + 1)), Reason::PathTooLong);
        let element = "e".repeat(MAX_ELEMENT_BYTES);
        assert!(build(&format!("bind #U/{element} /{element}")).is_ok());
        assert_eq!(reason(&format!("bind #U/{element}e /")), Reason::PathTooLong);
        assert_eq!(reason(&format!("bind #U /{element}e")), Reason::PathTooLong);
        let path = format!("/{element}").repeat(4);
        assert_eq!(path.len(), MAX_PATH_BYTES);
        assert!(build(&format!("bind #U{path} {path}")).is_ok());
        assert_eq!(reason(&format!("bind #U {path}/a")), Reason::PathTooLong);
    }

    /// The model: mount points and members as text, in the order in which they came.
    type Model = Vec<(String, Vec<String>)>;

    fn model_seen(model: &Model, path: &str) -> Vec<String> {
        let covers =
            |point: &str| point == "/" || path == point || path.starts_with(&format!("{point}/"));
        let points = model.iter().filter(|(point, _)| covers(point));
        let Some((point, members)) = points.max_by_key(|(point, _)| point.len()) else {
            return vec![];
        };
        if point == path {
            return members.clone();
        }
        let below = path.strip_prefix(point.trim_end_matches('/')).unwrap();
        members.iter().map(|member| format!("{}{below}", member.trim_end_matches(" c"))).collect()
    }

    fn model_bind(model: &mut Model, flags: &str, new: &str, old: &str) {
        let mut members =
            if new.starts_with('/') { model_seen(model, new) } else { vec![new.to_owned()] };
        for member in &mut members {
            *member = member.trim_end_matches(" c").to_owned();
        }
        let Some(first) = members.first_mut() else { return };
        if flags.contains('c') {
            first.push_str(" c");
        }
        let there = model_seen(model, old);
        let union = match flags {
            _ if flags.contains('a') => [there, members].concat(),
            _ if flags.contains('b') => [members, there].concat(),
            _ => members,
        };
        model.retain(|(point, _)| point != old);
        model.push((old.to_owned(), union));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn unions_keep_the_order_of_a_simple_model(
            binds in proptest::collection::vec(
                ("i(a|b)?c?", "#U|#k/ds|/|/[ab]|/[ab]/[ab]", "/|/[ab]|/[ab]/[ab]"),
                0..7,
            ),
        ) {
            let mut model = Model::new();
            let mut text = String::new();
            for (flags, new, old) in &binds {
                model_bind(&mut model, flags, new, old);
                text += &format!("bind -{flags} {new} {old}\n");
            }
            model.sort();
            let line = |(point, members): &(String, Vec<String>)| {
                format!("{point}: {}", members.join(", "))
            };
            let want: Vec<String> = model.iter().map(line).collect();
            match build(&text) {
                Ok(table) => prop_assert_eq!(shown(&table), want),
                Err(error) => {
                    prop_assert_eq!(error.reason, Reason::UnionTooLarge);
                }
            }
        }
    }
}
