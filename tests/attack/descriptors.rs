//! A server that has few descriptors: what it does when there are none left, and afterwards.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use dsfs::limits::{REFUSAL_TIME, REFUSALS};
use styx::VERSION;

use crate::crowd::dial;
use crate::support::client::{Client, MSIZE};
use crate::support::program::{Place, Program, Serve, eventually};

/// How many it has. Three quarters of them may be clients.
const DESCRIPTORS: usize = 80;
const MOST_CLIENTS: usize = DESCRIPTORS / 4 * 3;

fn serve(place: &Place) -> Program {
    Serve::with_descriptors("tcp!127.0.0.1!0", DESCRIPTORS).option("--root", place.root()).start()
}

/// Connects and says what it speaks; none if it is hung up on instead.
fn enter(program: &Program) -> Option<Client> {
    let mut client = Client::dial(program.dial()).expect("the kernel takes the connection");
    client.version(MSIZE, VERSION).ok().map(|_| client)
}

/// As many clients as get in.
fn fill(program: &Program) -> Vec<Client> {
    std::iter::from_fn(|| enter(program)).collect()
}

fn is_closed(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

/// Until there is room again: not at once, since the server has to notice first.
fn await_entrance(program: &Program) {
    eventually("who comes later gets in", || enter(program));
}

#[test]
fn without_a_descriptor_who_connects_is_told_so_and_later_ones_get_in() {
    let place = Place::new();
    for number in 0..32 {
        fs::write(place.root().join(format!("f{number}")), "x").expect("a new file");
    }
    let program = serve(&place);
    let mut first = Client::mount(program.dial(), MSIZE, "").expect("it serves");
    for device in 0..4 {
        let names: Vec<String> = (0..8).map(|file| format!("f{}", 8 * device + file)).collect();
        first.ctl(&format!("cat d{device} {}", names.join(" "))).expect("a device of many files");
    }

    for _ in 0..2 {
        let crowd = fill(&program);
        assert!(crowd.len() < MOST_CLIENTS - 1, "it ran out of clients, not of descriptors");
        // All of a crowd that comes at once are told, not only the first of them.
        let mut waiting: Vec<TcpStream> = (0..20).map(|_| dial(&program)).collect();
        assert!(waiting.iter_mut().all(is_closed));
        assert!(program.errors().contains("Too many open files"), "{}", program.errors());
        assert!(!program.errors().contains("--allow"), "nobody is taken for a stranger");
        assert!(first.read(&["d3"], 0, 100).is_ok_and(|data| data == vec![b'x'; 8]));
        drop(crowd);
        await_entrance(&program);
    }
}

#[test]
fn clients_leave_descriptors_for_what_they_ask_for() {
    let place = Place::new();
    fs::write(place.root().join("f"), "content").expect("a new file");
    let program = serve(&place);
    let mut first = Client::mount(program.dial(), MSIZE, "").expect("it serves");
    let crowd = fill(&program);
    assert_eq!(crowd.len() + 1, MOST_CLIENTS);
    assert!(program.errors().contains("clients are connected"), "{}", program.errors());
    first.ctl("cat d /f").expect("there is a descriptor for that");
    assert_eq!(first.read(&["d"], 0, 100).expect("it serves"), b"content");
    drop(crowd);
    await_entrance(&program);
}

#[test]
fn who_says_nothing_keeps_nobody_out() {
    let program = serve(&Place::new());
    let mut talking = Client::mount(program.dial(), MSIZE, "").expect("it serves");
    let mut silent: Vec<TcpStream> = (0..3 * MOST_CLIENTS).map(|_| dial(&program)).collect();
    // Far more than may be connected; and of those half were hung up on before their time.
    let entered: Vec<Client> = (0..5).map(|_| enter(&program).expect("there is room")).collect();
    assert_eq!(entered.len(), 5);
    assert!(program.errors().contains("say nothing either"), "{}", program.errors());
    assert!(is_closed(&mut silent[0]), "the oldest is the first to go");
    talking.stat(&["ctl"]).expect("who talks stays");
}

/// How many were refused for having come after too many clients: those who have a line of the log, and
/// those who are only counted in one.
fn refusals(program: &Program) -> (usize, usize) {
    let log = program.errors();
    let counted = |line: &str| {
        let number = line.split_once("refused: ")?.1.split_once(" more clients over a bound")?.0;
        number.parse::<usize>().ok()
    };
    let lines = log.lines().filter(|line| line.contains("clients are connected")).count();
    (lines, log.lines().filter_map(counted).sum())
}

#[test]
fn a_flood_of_refused_clients_is_a_few_lines_of_the_log_and_a_number() {
    const FLOOD: usize = 200;
    let start = Instant::now();
    let mut program = serve(&Place::new());
    let _crowd = fill(&program);
    let before = refusals(&program);
    assert_eq!(before, (1, 0), "who came last in the crowd was refused");
    for _ in 0..FLOOD {
        assert!(is_closed(&mut dial(&program)));
    }
    eventually("all of them are told of", || {
        let (lines, counted) = refusals(&program);
        (lines + counted == FLOOD + 1).then_some(())
    });
    let times = start.elapsed().as_secs() / REFUSAL_TIME.as_secs() + 1;
    let (lines, _) = refusals(&program);
    assert!(lines <= REFUSALS * times as usize, "{lines} lines in {:?}", start.elapsed());

    // Those who are left when it ends are told of then.
    for _ in 0..FLOOD {
        assert!(is_closed(&mut dial(&program)));
    }
    program.terminate();
    assert_eq!(program.wait(), 0);
    let (lines, counted) = refusals(&program);
    assert_eq!(lines + counted, 2 * FLOOD + 1);
}

#[test]
fn who_does_not_say_in_time_what_he_speaks_is_hung_up_on() {
    let program = serve(&Place::new());
    let mut talking = Client::mount(program.dial(), MSIZE, "").expect("it serves");
    // Nothing at all, and the half of a Tversion.
    let mut silent = [dial(&program), dial(&program)];
    silent[1].write_all(&[19, 0, 0, 0, 100]).expect("sent");
    assert!(silent.iter_mut().all(is_closed));
    talking.stat(&["ctl"]).expect("who has said it may be idle");
}
