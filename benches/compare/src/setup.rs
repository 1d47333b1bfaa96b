//! What a comparison needs before it starts: the programs, built, and the test files.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Error;
use crate::options::Options;
use crate::rows::{Kind, Op};

/// How long the files are that are served from memory: far more than the CPU's caches, and far less than
/// memory.
const FILE_MIB: u64 = 256;

/// Those files, and in which pieces they are written, in bytes. It tells how large the folios of the page
/// cache are that hold them, on which a write to a part of one depends. The second two are as clients
/// with messages of 8 KiB leave them.
const FILES: [(&str, usize); 4] = [("f", BLOCK), ("g", BLOCK), ("f8", 8192), ("g8", 8192)];

const BLOCK: usize = 1 << 20;

/// The file that is streamed from the disk: more than a disk gives in one run.
const COLD_BYTES: u64 = 4 << 30;

/// The programs.
pub struct Tools {
    pub p9load: PathBuf,
    pub rawload: PathBuf,
    pub dsfs: PathBuf,
}

/// Where the test files are.
pub struct Files {
    pub dir: PathBuf,
    /// The file that is not in memory, if a row needs one.
    pub cold: Option<PathBuf>,
    _removed_at_the_end: Option<tempfile::TempDir>,
}

/// Builds dsfs and the tools in release, unless they are to be taken as they are.
pub fn build(options: &Options) -> Result<Tools, Error> {
    let benches = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let root = benches.join("..");
    let target = |dir: &Path, name: &str| dir.join("target/release").join(name);
    let tools = Tools {
        p9load: target(&benches.join("p9load"), "p9load"),
        rawload: target(&benches.join("rawload"), "rawload"),
        dsfs: target(&root, "dsfs"),
    };
    if options.build {
        let mut dirs = vec![benches.join("p9load"), benches.join("rawload")];
        if options.dsfs.is_empty() {
            dirs.push(root);
        }
        for dir in dirs {
            let mut cargo = Command::new("cargo");
            run(cargo.args(["build", "--release", "--quiet"]).current_dir(dir))?;
        }
    }
    Ok(tools)
}

/// Makes the test files, and sees to it that they are in memory.
pub fn files(options: &Options) -> Result<Files, Error> {
    let temporary = match &options.dir {
        Some(_) => None,
        None => Some(tempfile::tempdir().map_err(Error::io("a temporary directory"))?),
    };
    let given = options.dir.clone();
    let dir = given.or(temporary.as_ref().map(|dir| dir.path().into())).unwrap_or_default();
    let dir = dir.canonicalize().map_err(Error::io(dir.display().to_string()))?;
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../p9load/target/release/p9load");
    for (name, block) in FILES {
        let path = dir.join(name);
        if block == BLOCK {
            let span = format!("{FILE_MIB}m");
            run(Command::new(&tools).arg("--make-pattern").arg(&path).args(["--span", &span]))?;
        } else {
            write_zeros(&path, block).map_err(Error::io(path.display().to_string()))?;
        }
    }
    let needs_cold = options.rows().any(|row| matches!(row.kind, Kind::Cold));
    let cold = needs_cold.then(|| dir.join("cold"));
    if let Some(path) = &cold {
        let count = format!("count={}", COLD_BYTES >> 20);
        let out = format!("of={}", path.display());
        run(Command::new("dd").args(["if=/dev/zero", &out, "bs=1M", &count, "status=none"]))?;
    }
    Ok(Files { dir, cold, _removed_at_the_end: temporary })
}

/// Takes a file out of the page cache.
pub fn make_cold(path: &Path) -> Result<(), Error> {
    let out = format!("of={}", path.display());
    let sync = ["conv=notrunc,fdatasync", "count=0", "status=none"];
    run(Command::new("dd").args(["if=/dev/null", &out]).args(sync))?;
    let input = format!("if={}", path.display());
    run(Command::new("dd").args([&input, "iflag=nocache", "count=0", "status=none"]))
}

impl Files {
    /// Brings the files that are served from memory, and that a load of `file` comes to, into the state
    /// that each run starts from. In memory: some hosts take pages back that have not been used for a
    /// few seconds. Before writes also changed, all of them, and none on its way to the disk: the first
    /// write to a page costs the file system several times what the next one does, and whoever came
    /// first would pay it.
    pub fn prepare(&self, op: Op, file: &str) -> Result<(), Error> {
        let is_small = |name: &str| name.ends_with('8');
        let used = FILES.into_iter().filter(|(name, _)| is_small(name) == is_small(file));
        used.into_iter().try_for_each(|(name, block)| {
            let path = self.dir.join(name);
            let done = if op == Op::Write { rewrite(&path, block) } else { read_through(&path) };
            done.map_err(Error::io(path.display().to_string()))
        })
    }
}

/// Makes a file of zeros, writing it in pieces of `block` bytes.
fn write_zeros(path: &Path, block: usize) -> io::Result<()> {
    let file = File::create(path)?;
    let zeros = vec![0; block];
    (0..FILE_MIB << 20).step_by(block).try_for_each(|at| file.write_all_at(&zeros, at))
}

fn read_through(path: &Path) -> io::Result<()> {
    let mut file = File::open(path)?;
    let mut block = vec![0; BLOCK];
    while file.read(&mut block)? > 0 {}
    Ok(())
}

/// Syncs a file, and writes what it holds again, in pieces of `block` bytes.
fn rewrite(path: &Path, block: usize) -> io::Result<()> {
    let file = File::options().read(true).write(true).open(path)?;
    file.sync_data()?;
    let (mut block, mut at) = (vec![0; block], 0);
    loop {
        let count = file.read_at(&mut block, at)?;
        if count == 0 {
            return Ok(());
        }
        file.write_all_at(&block[..count], at)?;
        at += count as u64;
    }
}

/// Runs a program that has to succeed.
pub fn run(command: &mut Command) -> Result<(), Error> {
    output(command).map(drop)
}

/// Runs a program that has to succeed: its standard output.
pub fn output(command: &mut Command) -> Result<String, Error> {
    let what = format!("{command:?}");
    let output = command.output().map_err(Error::io(what.clone()))?;
    if !output.status.success() {
        return Err(Error::failed(what, String::from_utf8_lossy(&output.stderr)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
