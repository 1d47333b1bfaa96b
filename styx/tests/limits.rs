//! What a session makes of a service that says too much, and of its own limits.

mod common;

use common::parts::tframe;
use common::tree::File;
use common::wire::{Wire, attach, open, read, walk};
use styx::server::{Answer, Limits, MAX_MSIZE, Session};
use styx::{Tmsg, VERSION, enames};

#[test]
fn a_service_that_says_too_much_is_cut_to_what_was_asked() {
    for hold in [false, true] {
        let mut wire = Wire::attached(8216);
        wire.t(walk(0, 5, &["c0"]));
        wire.t(open(5, 2));
        wire.tree.boasts = true;
        wire.tree.hold = hold;
        let rows = [
            (read(5, 0, 10), "Rread 10"),
            (read(5, 0, 8192), "Rread 8192"),
            (Tmsg::Write { fid: 5, offset: 0, data: b"abc" }, "Rwrite 3"),
        ];
        for (message, want) in rows {
            let heard = wire.t(message);
            assert_eq!(if hold { wire.complete() } else { heard }, want);
        }
    }
}

#[test]
fn a_service_that_goes_on_after_the_last_entry_with_room_changes_nothing() {
    let mut wire = Wire::attached(8216);
    wire.t(walk(0, 5, &[]));
    wire.t(open(5, 0));
    wire.tree.boasts = true;
    // The entry of c0 is a byte shorter than that of ctl.
    assert_eq!(wire.t(read(5, 0, 63)), enames::EDIRCOUNT);
    assert_eq!(wire.t(read(5, 0, 64)), "Rread 64");
    assert_eq!(wire.t(read(5, 64, 100)), "Rread 63");
}

#[test]
fn an_entry_that_its_own_size_cannot_tell_is_no_entry() {
    let rooms = 61 + 65_535 - 59;
    for (longest, want) in
        [(65_535 - 59, format!("Rread {rooms}")), (65_535 - 58, enames::EDIRCOUNT.into())]
    {
        let mut wire = Wire::attached(MAX_MSIZE);
        wire.t(walk(0, 5, &[]));
        wire.t(open(5, 0));
        assert_eq!(wire.t(read(5, 0, 1 << 20)), "Rread 316");
        wire.tree.longest = longest;
        assert_eq!(wire.t(read(5, 316, 1 << 20)), want, "a name of {longest} bytes");
    }
}

#[test]
fn an_iounit_is_the_file_s_own_but_never_more_than_a_message_carries() {
    let mut wire = Wire::attached(8216);
    for (fid, own, told) in [(5, 0, 8192), (6, 1, 1), (7, 8192, 8192), (8, 8193, 8192)] {
        wire.t(walk(0, fid, &["c0"]));
        wire.tree.iounit = own;
        assert_eq!(wire.t(open(fid, 0)), format!("Ropen 3 {told}"));
    }
}

#[test]
#[should_panic(expected = "another kind of answer")]
fn a_service_that_answers_another_question_is_at_fault() {
    let mut wire = Wire::attached(8216);
    wire.held(7, Tmsg::Stat { fid: 0 });
    let (id, _) = wire.tree.held.remove(0);
    wire.session.complete(id, Ok(Answer::Done), &mut wire.tree, &mut wire.out);
}

#[test]
fn fids_are_limited_and_nofid_is_none() {
    let limits = Limits { fids: 2, ..Limits::default() };
    let mut wire = Wire { session: Session::new(limits), ..Wire::fresh() };
    wire.session(8216);
    assert_eq!(wire.t(attach(styx::NOFID)), enames::EUNKNOWNFID);
    assert_eq!(wire.t(walk(0, styx::NOFID, &[])), enames::EUNKNOWNFID);
    wire.held(7, walk(0, 1, &["c0"]));
    assert_eq!(wire.t(attach(2)), "Rattach 1");
    assert_eq!(wire.t(attach(3)), enames::ENOFIDS);
    assert_eq!(wire.complete(), "7: no free fids");
    assert_eq!(wire.t(walk(0, 0, &[])), "Rwalk []", "needs no new one");
    assert_eq!(wire.t(Tmsg::Clunk { fid: 2 }), "Rclunk");
    assert_eq!(wire.t(walk(0, 1, &["c0"])), "Rwalk [3]");
}

#[test]
fn requests_are_limited_but_not_those_that_end_others() {
    let limits = Limits { requests: 2, ..Limits::default() };
    let mut wire = Wire { session: Session::new(limits), ..Wire::fresh() };
    wire.session(8216);
    let waits = |wire: &Wire, message| wire.session.must_wait(&tframe(9, &message), usize::MAX);
    let stat = Tmsg::Stat { fid: 0 };
    wire.held(7, stat);
    assert!(!waits(&wire, stat));
    wire.held(8, stat);
    for message in [stat, attach(1), walk(0, 1, &[]), read(5, 0, 0), Tmsg::Clunk { fid: 0 }] {
        assert!(waits(&wire, message), "{message:?}");
    }
    assert!(!waits(&wire, Tmsg::Flush { oldtag: 7 }));
    assert!(!waits(&wire, Tmsg::Version { msize: 8216, version: VERSION }));
    wire.complete();
    assert!(!waits(&wire, stat));
}

#[test]
fn requests_are_limited_by_what_they_keep() {
    let limits = Limits { bytes: 100, ..Limits::default() };
    let start = || {
        let mut wire = Wire { session: Session::new(limits), ..Wire::fresh() };
        wire.session(8216);
        wire.t(walk(0, 5, &["c0"]));
        wire.t(open(5, 2));
        wire.t(walk(0, 6, &[]));
        wire.t(open(6, 0));
        wire
    };
    let next = tframe(9, &Tmsg::Stat { fid: 0 });
    let data = [0; 100];
    let name = "n".repeat(100);
    let rows = [
        (read(5, 0, 100), true),
        (read(5, 0, 99), false),
        (read(6, 0, 100), true),
        (Tmsg::Write { fid: 5, offset: 0, data: &data }, true),
        (walk(0, 9, &[".", &name]), true),
        (walk(0, 9, &[&name]), false),
        (Tmsg::Stat { fid: 5 }, false),
    ];
    for (message, waits) in rows {
        for ending in ["answer", "flush", "version"] {
            let mut wire = start();
            wire.held(7, message);
            assert_eq!(wire.session.must_wait(&next, usize::MAX), waits, "{message:?}");
            wire.tree.drops = true;
            match ending {
                "answer" => wire.complete(),
                "flush" => wire.tagged(8, Tmsg::Flush { oldtag: 7 }),
                _ => wire.t(Tmsg::Version { msize: 8216, version: VERSION }),
            };
            assert!(!wire.session.must_wait(&next, usize::MAX), "{message:?} ended by {ending}");
        }
    }

    // Whoever asks may want less.
    let mut wire = start();
    wire.held(7, read(5, 0, 50));
    assert!(wire.session.must_wait(&next, 50));
    assert!(!wire.session.must_wait(&next, 51));

    // A walk keeps fewer names with every step.
    let mut wire = start();
    wire.held(7, walk(0, 9, &[".", &name, "."]));
    wire.tree.hold = true;
    assert_eq!(wire.complete(), "");
    assert!(!wire.session.must_wait(&next, usize::MAX));

    // What the service goes on with after its session has ended is still kept.
    let mut wire = start();
    wire.held(7, read(5, 0, 100));
    wire.session(8216);
    assert!(wire.session.must_wait(&next, usize::MAX));
    assert_eq!(wire.complete(), "");
    assert!(!wire.session.must_wait(&next, usize::MAX));
}

#[test]
fn limits_that_leave_room_for_nothing_are_refused() {
    let default = Limits::default();
    let session = |limits| std::panic::catch_unwind(|| Session::<File>::new(limits)).is_ok();
    assert!(session(Limits { msize: 64, requests: 1, bytes: 1, fids: 0 }));
    assert!(!session(Limits { msize: 63, ..default }));
    assert!(!session(Limits { requests: 0, ..default }));
    assert!(!session(Limits { bytes: 0, ..default }));
}
