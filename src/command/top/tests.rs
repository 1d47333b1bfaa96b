//! The screen, drawn of what a server could say.

use super::*;
use crate::client::admin::{Connection, Device, Inner, Leg, Work};

fn file(name: &str, state: &str, stale: u64) -> Inner {
    let leg = Leg { state: state.into(), stale, resynced: 0, why: None };
    Inner {
        name: name.into(),
        kind: "file".into(),
        length: 1 << 30,
        state: "ok".into(),
        id: None,
        server: None,
        device: None,
        leg: Some(leg),
    }
}

fn mirror(name: &str, state: &str, inner: Vec<Inner>) -> Device {
    Device {
        name: name.into(),
        kind: "mirror".into(),
        length: 1 << 30,
        state: state.into(),
        opens: 1,
        start: None,
        marked: Some(0),
        verified: None,
        inner,
    }
}

/// A server that has done this much by then.
fn look(ms: u64, reads: u64, devices: usize) -> Look {
    let mut look = Look::default();
    let server = &mut look.stats.server;
    (server.version, server.ms, server.rate) = ("0.1.0".into(), ms, 64 << 20);
    (server.connections, server.fids, server.sent) = (1, 7, 4096 * reads);
    let legs = vec![file("/disk0", "in-service", 0), file("/disk1", "catching-up", 1 << 29)];
    look.devices.push(mirror("ds/m0", "resyncing", legs));
    let legs = || vec![file("/disk2", "in-service", 0)];
    look.devices.extend((1..devices).map(|n| mirror(&format!("ds/m{n}"), "equal", legs())));
    let (read_bytes, us) = (4096 * reads, 85 * reads);
    let name = "ds/m0".to_string();
    let (writes, write_bytes, failed, pending) = (0, 0, reads / 1000, 3);
    look.stats.devices.push(Work {
        name,
        reads,
        read_bytes,
        writes,
        write_bytes,
        failed,
        pending,
        us,
    });
    let (peer, user, tree) = ("tcp!10.1.2.3!41000".into(), "glenda".into(), "ds".into());
    let (received, sent, answered) = (23 * reads, 4096 * reads, reads);
    look.connections.push(Connection {
        number: 1,
        peer,
        user,
        tree,
        fids: 7,
        pending,
        answered,
        failed: 0,
        received,
        sent,
        us,
    });
    look
}

fn model(devices: usize) -> Model {
    let mut model = Model { addr: "tcp!node1!6666".into(), ..Model::default() };
    let mut before = look(1000, 0, devices);
    for (second, reads) in [(2, 500), (3, 2000), (4, 9000)] {
        let now = look(1000 * second, reads, devices);
        model.compare(&before, &now);
        before = now;
    }
    model.now = before;
    model.tell("2026-11-22T21:48:34Z ds/m0: leg 1 catching-up");
    model
}

#[test]
fn a_screen_has_rates_plots_progress_and_what_happened() {
    let screen = printed(&model(2));
    let lines: Vec<&str> = screen.lines().collect();
    assert_eq!(lines.len(), usize::from(ROWS));
    assert!(lines.iter().all(|line| line.chars().count() <= usize::from(COLUMNS)), "{screen}");
    assert!(lines[0].starts_with("dsfs 0.1.0 at tcp!node1!6666, up 4s"), "{screen}");
    let device = lines.iter().find(|line| line.starts_with("ds/m0 mirror")).expect("the device");
    assert!(device.contains("resyncing") && device.contains("7000"), "{screen}");
    assert!(device.contains("85us") && device.ends_with("\u{2581}\u{2582}\u{2588}"), "{screen}");
    let leg = lines.iter().find(|line| line.starts_with("  /disk1")).expect("the leg");
    assert!(leg.contains("catching-up") && leg.contains("50%  512M left"), "{screen}");
    assert!(!screen.contains("/disk0"), "a leg that is well needs no line: {screen}");
    assert!(screen.contains("tcp!10.1.2.3!41000") && screen.contains("glenda"), "{screen}");
    assert!(screen.contains("ds/m0: 7 reads or writes failed"), "{screen}");
    assert!(lines.iter().any(|line| line.ends_with("ds/m0: leg 1 catching-up")), "{screen}");
}

#[test]
fn what_does_not_fit_is_counted_and_what_needs_attention_comes_first() {
    let mut model = model(60);
    model.now.devices.rotate_left(1);
    let screen = printed(&model);
    let first = screen.lines().nth(4).expect("a device");
    assert!(first.starts_with("ds/m0"), "{screen}");
    assert!(screen.contains("and 52 more"), "{screen}");
    assert!(screen.contains("glenda"), "{screen}");
}

#[test]
fn any_size_can_be_drawn() {
    let model = model(60);
    for (width, height) in [(1, 1), (20, 5), (79, 10), (300, 100)] {
        let Ok(mut terminal) = Terminal::new(TestBackend::new(width, height));
        let Ok(_) = terminal.draw(|frame| screen::draw(&model, frame));
    }
}
