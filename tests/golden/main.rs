//! The golden recordings, played against the real program over real sockets: one test for each
//! family of cases. README.md beside this file says what the recordings are and how to play one
//! case. Nothing is compared that the recordings do not ask for, but for two rules that hold
//! always: only writes change inner files, and no answer waits out a failing disk.

#[path = "../support/mod.rs"]
mod support;

mod compare;
mod families;
mod harness;
mod play;
mod row;
mod world;

use std::env;
use std::time::{Duration, Instant};

use compare::{Mismatch, compare};
use families::family;
use play::Player;
use row::{Case, Step};
use serde_json::{Value, json};
use support::client::Failure;
use support::text::hex;
use world::{Chunks, Contents, Stage, World, changed};

/// Names one case: it is played alone, and every message of it is printed.
const ONE_CASE: &str = "DSFS_GOLDEN_CASE";

/// One of the pauses of the recorded device, which dsfs does not make.
const PAUSE: Duration = Duration::from_secs(5);

const LOCAL: Stage = Stage { chunks: Chunks::Local, unix: false };
const LOCAL_UNIX: Stage = Stage { chunks: Chunks::Local, unix: true };
const REMOTE: Stage = Stage { chunks: Chunks::Remote, unix: false };

/// A case that went wrong somewhere.
struct Failed {
    case: String,
    /// Each with the step it is in.
    mismatches: Vec<(String, Mismatch)>,
    /// What the program said.
    errors: String,
}

/// Plays a case from its setup to its end, or until the connection is lost for good.
fn play_case(case: &Case, stage: Stage) -> Option<Failed> {
    let one = env::var(ONE_CASE).is_ok_and(|name| name == case.name);
    let mut world = World::new(case, stage);
    let mut player = Player::new(case, world.dial(), one);
    let mut mismatches = Vec::new();
    match player.set_up() {
        Ok(()) => play_steps(case, &mut player, &world, one, &mut mismatches),
        Err(failure) => mismatches.push(("setup".to_owned(), broken("setup", &failure))),
    }
    if mismatches.is_empty() {
        return None;
    }
    let case = format!("{}: {}", case.file, case.name);
    Some(Failed { case, mismatches, errors: world.last_words() })
}

fn play_steps(
    case: &Case,
    player: &mut Player<'_>,
    world: &World,
    print: bool,
    mismatches: &mut Vec<(String, Mismatch)>,
) {
    let mut before = world.contents();
    for step in &case.steps {
        let label = format!("step {}: {} {}", step.name, step.op, step.input);
        if print {
            println!("{label}");
        }
        match play_step(player, world, step, &mut before) {
            Ok(found) => {
                mismatches.extend(found.into_iter().map(|mismatch| (label.clone(), mismatch)));
            }
            Err(failure) => return mismatches.push((label, broken("reply", &failure))),
        }
    }
}

fn broken(path: &str, failure: &Failure) -> Mismatch {
    Mismatch { path: path.to_owned(), what: format!("{failure}") }
}

/// Plays a step and compares all that it asks for.
fn play_step(
    player: &mut Player<'_>,
    world: &World,
    step: &Step,
    before: &mut Contents,
) -> Result<Vec<Mismatch>, Failure> {
    world.inner_ops();
    let start = Instant::now();
    let reply = player.play(step, world)?;
    let took = start.elapsed();
    let asked = world.inner_ops();
    let after = world.contents();
    let change = changed(before, &after);
    *before = after;
    let mut found = Vec::new();
    for (part, wanted) in &step.wanted {
        let came = match *part {
            "reply" => reply.clone(),
            "ctl_after" => player.ctl_text()?,
            "dir_after" => player.directory()?,
            "inner_changed" => change.clone(),
            "inner_hex" => inner_hex(wanted, before),
            "inner_ops" if asked.is_none() => continue,
            _ => asked.clone().unwrap_or_default(),
        };
        found.extend(compare(part, wanted, &came));
    }
    let writes = ["write", "Twrite", "host"].contains(&&step.op[..]);
    if !writes && change != json!({}) {
        found.push(Mismatch::new("inner_changed", &json!({}), Some(&change)));
    }
    if step.pauses > 0 && took >= PAUSE {
        let what = format!("took {} s: dsfs does not pause", took.as_secs());
        found.push(Mismatch { path: "pauses".to_owned(), what });
    }
    Ok(found)
}

/// What the files hold where the recording looked at them.
fn inner_hex(wanted: &Value, held: &Contents) -> Value {
    let look = |item: &Value| {
        let (name, offset) = (item[0].as_str()?, item[1].as_u64()? as usize);
        let len = item[2].as_str()?.len() / 2;
        let data = held.get(name)?;
        let end = (offset + len).min(data.len());
        Some(json!([name, offset, hex(data.get(offset..end)?)]))
    };
    wanted.as_array().into_iter().flatten().map(|item| look(item).unwrap_or_default()).collect()
}

/// Plays every case of a family, and fails with all that went wrong.
fn play_family(file: &str, name: &str, stage: Stage) {
    let of_family =
        row::cases(file).into_iter().filter(|case| family(case).as_deref() == Some(name));
    let cases: Vec<Case> = of_family.filter(|case| stage.takes(case)).collect();
    let chosen = |case: &&Case| env::var(ONE_CASE).map_or(true, |name| name == case.name);
    let failed: Vec<Failed> = cases
        .iter()
        .filter(chosen)
        .filter(|case| can_be_played(case))
        .filter_map(|case| play_case(case, stage))
        .collect();
    assert!(failed.is_empty(), "{}", report(&failed, cases.len()));
}

/// Only root can run the server as another user than the one who owns the files.
fn can_be_played(case: &Case) -> bool {
    let can = !case.another_user || rustix::process::geteuid().is_root();
    if !can {
        eprintln!("{}: {}: not played: only root can", case.file, case.name);
    }
    can
}

fn report(failed: &[Failed], of: usize) -> String {
    let mut text = format!("{} of {of} cases went wrong\n", failed.len());
    for one in failed {
        text.push_str(&format!("\ncase {}\n", one.case));
        let mut last = "";
        for (step, mismatch) in &one.mismatches {
            if step != last {
                text.push_str(&format!("  {}\n", step.get(..400).unwrap_or(step)));
                last = step;
            }
            let what = mismatch.what.replace('\n', "\n      ");
            text.push_str(&format!("    {}:\n      {what}\n", mismatch.path));
        }
        for line in one.errors.lines() {
            text.push_str(&format!("  stderr: {line}\n"));
        }
    }
    text
}

/// A module of tests, one for each family of a file, and the list of them.
macro_rules! families {
    ($module:ident, $file:literal, $stage:ident: $($name:ident)*) => {
        mod $module {
            /// The families that have a test here.
            pub const NAMES: &[&str] = &[$(stringify!($name)),*];
            $(
                #[test]
                fn $name() {
                    super::play_family($file, stringify!($name), super::$stage);
                }
            )*
        }
    };
}

families!(devds, "devds", LOCAL:
    chars unknown syntax args names inner_names refused size behind_its_back part mirror
    no_inner_files limits nested inter cat another_user file_server);

families!(devds_with_remote_chunks, "devds", REMOTE:
    inner_names refused size behind_its_back part mirror nested inter cat);

families!(deviations, "deviations", LOCAL:
    d1 d2 d3 d4 d5 d7 d8 d9 d10 d11 d13 d14 d15 d17
    prefix cut_text mirror_order mirror_read_errors order full walks chars);

families!(lab15, "lab15", LOCAL: lab15);
families!(lab15_over_a_unix_socket, "lab15", LOCAL_UNIX: lab15);

families!(plan9, "plan9fs", LOCAL:
    ctl args exists inner names dirs part crypt order size io short disk del clear text stat
    ls walk open create wstat remove mirrorfail vers hang);

families!(plan9_with_remote_chunks, "plan9fs", REMOTE:
    ctl args exists inner names dirs part crypt order size io short fail disk del clear text stat
    ls walk open create wstat remove mirrorfail vers hang);
