//! One run of one load on one server.

use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Error;
use crate::rows::{Load, Op};
use crate::servers::{Protocol, SERVER_CORE, Server};
use crate::setup::{Files, Tools, make_cold, output};

/// The core that clients run on.
pub const CLIENT_CORE: &str = "1";

/// How long a load runs before it is measured, in seconds.
const WARM_UP: f64 = 0.5;

const IDLE: usize = 5000;

/// How long the server may take until it has that many.
const OPEN_LIMIT: Duration = Duration::from_secs(60);

const STREAM: Load =
    Load { op: Op::Read, size: 128 * 1024, random: false, conns: 1, depth: 8, one_core: false };

/// What was measured in one run.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Operations in a second.
    pub ops: f64,
    /// MiB in a second.
    pub mib: f64,
    /// Microseconds of the server's CPU for each operation.
    pub cpu_us: Option<f64>,
    /// The 99th percentile of the latency, in microseconds.
    pub p99_us: Option<f64>,
    /// KiB of the server's memory for each idle connection.
    pub idle_kib: Option<f64>,
}

/// Runs a load on a server's file.
pub fn run(
    tools: &Tools,
    files: &Files,
    (server, file): (&Server, &str),
    load: &Load,
    secs: f64,
) -> Result<Sample, Error> {
    files.prepare(load.op, file)?;
    match &server.protocol {
        Protocol::Styx(..) => {
            let said = output(&mut p9load(tools, server, file, load, secs))?;
            let said = parse(&server.name, &said)?;
            let ops = number(&said, "ops_s");
            let all = ops * (secs + WARM_UP);
            Ok(Sample {
                ops,
                mib: number(&said, "mib_s"),
                cpu_us: (!server.forks)
                    .then(|| number(&said, "server_cpu_ms") * 1000.0 / all.max(1.0)),
                p99_us: Some(number(&said, "p99_us")),
                idle_kib: None,
            })
        }
        Protocol::Nbd => fio(server, load, secs),
    }
}

fn p9load(tools: &Tools, server: &Server, file: &str, load: &Load, secs: f64) -> Command {
    let mut command = client(tools, server, load.one_core);
    let pattern = if load.random { "rand" } else { "seq" };
    command
        .args(["--file", file, "--op", load.op.name(), "--pattern", pattern])
        .args(["--size", &load.size.to_string()])
        .args(["--conns", &load.conns.to_string(), "--depth", &load.depth.to_string()])
        .args(["--secs", &secs.to_string(), "--warmup", &WARM_UP.to_string()]);
    command
}

/// p9load on its core, with the server's address.
fn client(tools: &Tools, server: &Server, one_core: bool) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", if one_core { SERVER_CORE } else { CLIENT_CORE }]).arg(&tools.p9load);
    command.args(["--addr", &format!("127.0.0.1:{}", server.port)]);
    command.args(["--pid", &server.pid().to_string()]);
    if let Protocol::Styx(version, aname, msize) = &server.protocol {
        command.args(["--version", version, "--aname", aname, "--msize", &msize.to_string()]);
    }
    command
}

fn fio(server: &Server, load: &Load, secs: f64) -> Result<Sample, Error> {
    let rw = match (load.op, load.random) {
        (Op::Write, true) => "randwrite",
        (Op::Write, false) => "write",
        (_, true) => "randread",
        (_, false) => "read",
    };
    let mut command = Command::new("taskset");
    command
        .args(["-c", CLIENT_CORE, "fio", "--name=load", "--ioengine=nbd", "--output-format=json"])
        .args([format!("--uri=nbd://127.0.0.1:{}", server.port), format!("--rw={rw}")])
        .args([format!("--bs={}", load.size), format!("--iodepth={}", load.depth)])
        .args([format!("--numjobs={}", load.conns), "--group_reporting".into()])
        .args([
            "--time_based".into(),
            format!("--runtime={secs}"),
            format!("--ramp_time={WARM_UP}"),
        ]);
    let said = output(&mut command)?;
    // Its NBD engine greets on standard output first.
    let json = said.find('{').map_or("", |start| &said[start..]);
    let said = parse("fio", json)?;
    let job = &said["jobs"][0][if load.op == Op::Write { "write" } else { "read" }];
    let ops = number(job, "iops");
    let mib = number(job, "bw_bytes") / f64::from(1 << 20);
    Ok(Sample { ops, mib, cpu_us: None, p99_us: None, idle_kib: None })
}

/// The same load without and with thousands of other connections that do nothing.
pub fn idle(
    tools: &Tools,
    files: &Files,
    server: &Server,
    load: &Load,
    secs: f64,
) -> Result<Vec<(String, Sample)>, Error> {
    let alone = run(tools, files, (server, "f"), load, secs)?;
    let hold = WARM_UP + secs + 2.0;
    let mut others = client(tools, server, false);
    others.args(["--idle", &IDLE.to_string(), "--hold", &hold.to_string()]);
    let others = others.stdout(Stdio::piped()).spawn().map_err(Error::io("p9load --idle"))?;
    let begun = Instant::now();
    while descriptors(server)? < IDLE && begun.elapsed() < OPEN_LIMIT {
        thread::sleep(Duration::from_millis(100));
    }
    let mut beside = run(tools, files, (server, "f"), load, secs)?;
    let said = others.wait_with_output().map_err(Error::io("p9load --idle"))?;
    let said = parse("p9load --idle", &String::from_utf8_lossy(&said.stdout))?;
    if said["alive"] != said["idle"] {
        return Err(Error::failed("p9load --idle", said.to_string()));
    }
    beside.idle_kib = Some(number(&said, "kb_per_conn"));
    Ok(vec![("alone".into(), alone), ("beside idle".into(), beside)])
}

/// How many files and connections a server has open.
fn descriptors(server: &Server) -> Result<usize, Error> {
    let dir = format!("/proc/{}/fd", server.pid());
    Ok(fs::read_dir(&dir).map_err(Error::io(dir))?.count())
}

/// The same load alone, and while another client reads a file that is not in memory.
pub fn cold(
    tools: &Tools,
    files: &Files,
    server: &Server,
    load: &Load,
    secs: f64,
) -> Result<Vec<(String, Sample)>, Error> {
    let alone = run(tools, files, (server, "f"), load, secs)?;
    if let Some(cold) = &files.cold {
        make_cold(cold)?;
    }
    let mut stream = p9load(tools, server, "cold", &STREAM, secs + WARM_UP);
    let stream = stream.stdout(Stdio::piped()).spawn().map_err(Error::io("p9load"))?;
    let mut beside = run(tools, files, (server, "f"), load, secs)?;
    // The server's time went to both.
    beside.cpu_us = None;
    let said = stream.wait_with_output().map_err(Error::io("p9load"))?;
    let said = parse("p9load", &String::from_utf8_lossy(&said.stdout))?;
    let streamed = Sample {
        ops: number(&said, "ops_s"),
        mib: number(&said, "mib_s"),
        cpu_us: None,
        p99_us: Some(number(&said, "p99_us")),
        idle_kib: None,
    };
    Ok(vec![
        ("alone".into(), alone),
        ("beside a stream".into(), beside),
        ("the stream".into(), streamed),
    ])
}

fn parse(what: &str, text: &str) -> Result<Value, Error> {
    serde_json::from_str(text.trim())
        .map_err(|error| Error::failed(what, format!("{error}: {text}")))
}

fn number(value: &Value, key: &str) -> f64 {
    value[key].as_f64().unwrap_or(f64::NAN)
}
