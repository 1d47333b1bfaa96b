//! Takes one name through the mount table to the file it means, asking the caller for each walk. It
//! must never touch a tree itself: what a walk finds is told to it.
//!
//! The way of a name is namec's, in both kernels: elements are walked in batches, which end at
//! mount points and at `..`; at a mount point the members of the union are asked in turn until one
//! has the first element; which element of a batch is missing decides the error text. Because mount
//! points are known by their paths, all batches are known before the first is walked.

use std::sync::Arc;

use super::error::{Failure, NameError};
use super::path::{self, Parsed};
use super::table::{MAX_ELEMENTS, Member, Table, Target, Tree};

/// The longest name that is looked up, in bytes: Linux's PATH_MAX, beyond which the host's tree
/// could not be asked anyway.
pub const MAX_NAME_BYTES: usize = 4096;

/// The most names in one walk: MAXWELEM of walk(5).
const MAX_BATCH: usize = 16;

/// What is to be done next to resolve a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Walk `names` (1 to 16 of them) one by one from `target`, and say by [`Resolver::walked`] how
    /// far that went. The target itself need not be there.
    Walk {
        /// Where to start.
        target: Target,
        /// The names, none of them `.`, `..`, empty or with a `/`.
        names: Vec<String>,
    },
    /// The name leads here: open it. It may be a directory, and where nothing had to be walked
    /// it need not be there; make what the open then says a [`NameError::new`].
    Found(Target),
    /// The name leads nowhere.
    Failed(NameError),
}

/// What came of a [`Step::Walk`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Walked {
    /// This many of the names were there.
    Reached {
        /// How many, from the first on.
        found: usize,
        /// Whether the last that was found (the target, if none was) is a directory. A target
        /// that is not there counts as an empty directory.
        directory: bool,
    },
    /// Not even the first was found, and another server, or the way to it, says why.
    Error(String),
}

/// Where a batch starts.
#[derive(Clone, Debug)]
enum Start {
    /// At these elements below each member of a union, in turn.
    Union(Arc<[Member]>, Vec<String>),
    /// Where the batch before it ended, this many elements back.
    Reached { back: usize },
}

/// Elements that are walked together.
#[derive(Clone, Debug)]
struct Batch {
    start: Start,
    names: Vec<String>,
    /// Which element of the name the first of `names` is.
    first: usize,
    /// How many of `names`, from the first on, are directories because of mount points below them,
    /// whatever the trees say.
    above: usize,
    /// Whether what it leads to has to be a directory.
    directory: bool,
}

/// Where the last batch leads.
#[derive(Clone, Debug)]
enum End {
    /// Here, whatever was walked.
    At(Target),
    /// Where it ended, this many elements back.
    Reached { back: usize },
    /// To a directory that is in no tree.
    Directory,
}

/// One name on its way. It owns all it needs: the table may change or go meanwhile.
#[derive(Clone, Debug)]
pub struct Resolver {
    name: String,
    batches: Vec<Batch>,
    end: End,
    /// The batch being walked; all have been, if there is no such.
    batch: usize,
    /// The member of its union being asked.
    member: usize,
    /// Where the last batch ended.
    reached: Option<Target>,
    failed: Option<NameError>,
}

impl Resolver {
    /// Starts to look up `name`, as typed; a relative one starts at `/`.
    /// What can be told without a walk is told by the first [`next`](Self::next).
    pub fn new(table: &Table, name: &str) -> Resolver {
        let sharp = path::sharp(name);
        let failure = match &sharp {
            _ if name.is_empty() => Some(Failure::Empty),
            _ if name.len() > MAX_NAME_BYTES => Some(Failure::TooLong),
            Some(Err(failure)) => Some(failure.clone()),
            _ => None,
        };
        let plan = match sharp {
            _ if failure.is_some() => Plan::default(),
            Some(Ok((tree, from))) => Plan::new(Space::Sharp(tree), &Parsed::new(name, from)),
            _ => Plan::new(Space::Table(table), &Parsed::new(name, 0)),
        };
        let mut resolver = Resolver {
            name: name.to_owned(),
            batches: plan.batches,
            end: plan.end,
            batch: 0,
            member: 0,
            reached: None,
            failed: failure.map(|failure| NameError::within(name, 0, failure)),
        };
        resolver.enter();
        resolver
    }

    /// What is to be done now. The same answer is given until [`walked`](Self::walked) is called.
    pub fn next(&self) -> Step {
        if let Some(error) = &self.failed {
            return Step::Failed(error.clone());
        }
        if let Some(batch) = self.batches.get(self.batch) {
            return match self.start(batch) {
                Some(target) => Step::Walk { target, names: batch.names.clone() },
                None => Step::Failed(NameError::new(&self.name, Failure::NotFound)),
            };
        }
        let target = match &self.end {
            End::At(target) => Some(target.clone()),
            End::Reached { back } => self.reached.as_ref().map(|target| go_back(target, *back)),
            End::Directory => None,
        };
        target.map_or_else(
            || Step::Failed(NameError::new(&self.name, Failure::Permission)),
            Step::Found,
        )
    }

    /// Says what came of the last [`Step::Walk`]. Without one outstanding it does nothing.
    pub fn walked(&mut self, walked: Walked) {
        if self.failed.is_some() {
            return;
        }
        let Some(batch) = self.batches.get(self.batch) else { return };
        let (first, above, count) = (batch.first, batch.above, batch.names.len());
        let (found, directory) = match walked {
            Walked::Error(text) => return self.pass_over(first + 1, Failure::Walk(text)),
            Walked::Reached { found, directory } => (found.min(count), directory),
        };
        if found == count {
            if batch.directory && !directory {
                return self.fail(first + count, Failure::NotDirectory);
            }
            self.reached = self.start(batch).map(|target| target.join(&batch.names));
            self.batch += 1;
            self.member = 0;
            return self.enter();
        }
        // What lies above a mount point is a directory, found or not.
        let last = found.max(above);
        let directory = directory || last > found || (found > 0 && found == above);
        let (elements, failure) = match (directory, last) {
            (false, _) => (first + last, Failure::NotDirectory),
            (true, 0) => (first + 1, Failure::NotFound),
            (true, _) => (first + last + 1, Failure::Missing),
        };
        if found == 0 { self.pass_over(elements, failure) } else { self.fail(elements, failure) }
    }

    /// Fails at once if the batch now to be walked has nowhere to start.
    fn enter(&mut self) {
        let Some(batch) = self.batches.get(self.batch) else { return };
        if self.failed.is_none() && self.start(batch).is_none() {
            let (elements, failure) = match batch.above {
                0 => (batch.first + 1, Failure::NotFound),
                above => (batch.first + above + 1, Failure::Missing),
            };
            self.fail(elements, failure);
        }
    }

    /// Asks the next member of the union; the failure stands if there is none.
    fn pass_over(&mut self, elements: usize, failure: Failure) {
        let members = match self.batches.get(self.batch) {
            Some(Batch { start: Start::Union(members, _), .. }) => members.len(),
            _ => 1,
        };
        self.member += 1;
        if self.member >= members {
            self.fail(elements, failure);
        }
    }

    fn fail(&mut self, elements: usize, failure: Failure) {
        self.failed = Some(NameError::within(&self.name, elements, failure));
    }

    fn start(&self, batch: &Batch) -> Option<Target> {
        match &batch.start {
            Start::Union(members, below) => Some(members.get(self.member)?.target.join(below)),
            Start::Reached { back } => Some(go_back(self.reached.as_ref()?, *back)),
        }
    }
}

fn go_back(target: &Target, back: usize) -> Target {
    let len = target.path.len().saturating_sub(back);
    Target { tree: target.tree, path: target.path[..len].to_vec() }
}

/// What a name is looked up in.
#[derive(Clone, Copy)]
enum Space<'a> {
    /// The name space.
    Table(&'a Table),
    /// One tree, as for a name that starts with `#`: no mount points there (namec's nomount).
    Sharp(Tree),
}

impl Space<'_> {
    /// Where a path without a batch of its own leads: a mount point, or a directory because of
    /// mount points below it.
    fn union(self, path: &[String]) -> Option<(Arc<[Member]>, Vec<String>)> {
        match self {
            Space::Sharp(tree) if path.is_empty() => {
                let target = Target { tree, path: Vec::new() };
                Some((Arc::new([Member { target, create: false }]), Vec::new()))
            }
            Space::Sharp(_) => None,
            Space::Table(table) => {
                if let Some(members) = table.members(path) {
                    return Some((members.clone(), Vec::new()));
                }
                if !path.is_empty() && !table.is_above(path) {
                    return None;
                }
                Some(match table.above(path) {
                    Some((len, members)) => (members.clone(), path[len..].to_vec()),
                    None => (Arc::new([]), Vec::new()),
                })
            }
        }
    }

    fn is_point(self, path: &[String]) -> bool {
        matches!(self, Space::Table(table) if table.members(path).is_some())
    }

    fn is_above(self, path: &[String]) -> bool {
        matches!(self, Space::Table(table) if table.is_above(path))
    }
}

/// The batches of a name.
struct Plan {
    batches: Vec<Batch>,
    end: End,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan { batches: Vec::new(), end: End::Directory }
    }
}

impl Plan {
    fn new(space: Space<'_>, name: &Parsed<'_>) -> Plan {
        let mut plan = Plan::default();
        let elements = &name.elements;
        // The absolute path so far, and how much of it the last batch reached.
        let (mut path, mut reached) = (Vec::<String>::new(), 0);
        let mut next = 0;
        while next < elements.len() {
            if elements[next] == ".." {
                path.pop();
                next += 1;
                continue;
            }
            let run = elements[next..].iter().take_while(|&&element| element != "..");
            let run = run.take(MAX_ELEMENTS).count();
            let depth = path.len();
            path.extend(elements[next..next + run].iter().map(|&element| element.to_owned()));
            // The last mount point on the way: nothing before it needs to be walked. None is deeper
            // than MAX_ELEMENTS.
            let point = (depth + 1..=path.len()).rev().find(|&len| space.is_point(&path[..len]));
            if let Some(len) = point {
                path.truncate(len);
                next += len - depth;
                continue;
            }
            path.truncate(depth + run.min(MAX_BATCH));
            let count = path.len() - depth;
            let above = (1..=count).take_while(|n| space.is_above(&path[..depth + n])).count();
            if above < count {
                let start = match space.union(&path[..depth]) {
                    Some((members, below)) => Start::Union(members, below),
                    None => Start::Reached { back: reached - depth },
                };
                plan.batches.push(Batch {
                    start,
                    names: path[depth..].to_vec(),
                    first: next,
                    above,
                    directory: next + count < elements.len() || name.must_be_directory,
                });
                reached = path.len();
            }
            next += count;
        }
        plan.finish(space, &path, reached, name);
        plan
    }

    fn finish(&mut self, space: Space<'_>, path: &[String], reached: usize, name: &Parsed<'_>) {
        let Some((members, below)) = space.union(path) else {
            self.end = End::Reached { back: reached - path.len() };
            return;
        };
        // Else it is a directory because of mount points below it, and of no tree.
        let Some(first) = members.first().filter(|_| below.is_empty()) else { return };
        let target = first.target.clone();
        match target.path.split_last() {
            // What is mounted may be a file, which does not do where the name ends in a slash.
            Some((last, parent)) if name.must_be_directory && !name.elements.is_empty() => {
                let parent = Target { tree: target.tree, path: parent.to_vec() };
                let member = Member { target: parent, create: false };
                self.batches.push(Batch {
                    start: Start::Union(Arc::new([member]), Vec::new()),
                    names: vec![last.clone()],
                    first: name.elements.len() - 1,
                    above: 0,
                    directory: true,
                });
            }
            _ => {}
        }
        self.end = End::At(target);
    }
}
