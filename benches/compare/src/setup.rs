//! What a comparison needs before it starts: the programs, built, and the test files.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Error;
use crate::options::Options;
use crate::rows::Kind;

/// The file that every server serves: far more than the CPU's caches, and far less than memory.
const FILE_BYTES: &str = "256m";

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
    for name in ["f", "g"] {
        let path = dir.join(name);
        run(Command::new(&tools).arg("--make-pattern").arg(&path).args(["--span", FILE_BYTES]))?;
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
    /// Brings the files that are served from memory into memory. Before each run, since some hosts
    /// take pages back that have not been used for a few seconds.
    pub fn warm(&self) -> Result<(), Error> {
        ["f", "g"].into_iter().try_for_each(|name| read_through(&self.dir.join(name)))
    }
}

fn read_through(path: &Path) -> Result<(), Error> {
    let mut file = File::open(path).map_err(Error::io(path.display().to_string()))?;
    let mut block = vec![0; 1 << 20];
    while file.read(&mut block).map_err(Error::io(path.display().to_string()))? > 0 {}
    Ok(())
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
