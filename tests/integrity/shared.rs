//! Mirrors that share legs.

use styx::{Rmsg, Tmsg};

use crate::place::{Lab, ctl, first_bytes, log, status};
use crate::support::client::{Client, MSIZE};
use crate::support::fault_server::FaultServer;
use crate::support::random::Random;

/// How often the writers meet. The legs are compared each time, because the next writes hide what
/// these have done.
const ROUNDS: usize = 150;

/// Writes of one writer that are under way at the same time.
const DEPTH: usize = 4;

/// All writes are within so many bytes, so that nearly every two overlap.
const SPAN: usize = 16 * 1024;

#[test]
fn overlapping_writes_through_mirrors_that_share_legs_leave_them_equal() {
    // A leg on another server, so that writes are under way for a while.
    let far = FaultServer::start();
    far.tree().create("c0", first_bytes(), 0o666);
    let lab = Lab::with_remote(&far.dial());
    let program = lab.serve().start();
    // The same legs in both orders, and a part of one of the mirrors.
    ctl(&program, "mirror m0 /n/far/c0 c1");
    ctl(&program, "mirror m1 c1 /n/far/c0");
    ctl(&program, "part p0 ds/m0 4096 65536");
    let mut writers: Vec<(Client, u32)> = ["m0", "m1", "p0", "m1"]
        .into_iter()
        .map(|name| {
            let mut client = Client::mount(program.dial(), MSIZE, "").expect("a client");
            let fid = client.open_both(&[name]).expect("open");
            (client, fid)
        })
        .collect();
    let mut random = Random::new(1);
    for round in 0..ROUNDS {
        for depth in 0..DEPTH {
            for (number, (client, fid)) in writers.iter_mut().enumerate() {
                let offset = random.below(SPAN) as u64;
                let data = vec![(round * 16 + depth * 4 + number) as u8; 1 + random.below(8192)];
                client.post(&Tmsg::Write { fid: *fid, offset, data: &data }).expect("sent");
            }
        }
        for (client, _) in &mut writers {
            for _ in 0..DEPTH {
                let reply = client.receive().expect("an answer");
                assert!(matches!(reply.msg(), Rmsg::Write { .. }), "{reply:?}");
            }
        }
        let tree = far.tree();
        let far_bytes = tree.data(tree.find("c0").expect("there"));
        assert!(far_bytes == lab.bytes(1), "round {round}: the legs differ");
    }
    // Nothing has failed, so nothing was mended.
    let said = status(&program);
    assert!(said.contains("m0 equal") && !log(&program).contains("catching-up"), "{said}");
}
