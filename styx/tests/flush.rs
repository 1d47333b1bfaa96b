//! flush(5), and the end of a session with requests under way: a request is answered before its
//! Rflush or never, and a tag belongs to one request at a time.

mod common;

use common::tree::File;
use common::wire::{Wire, attach, open, read, walk};
use styx::{Stat, Tmsg, VERSION, enames};

const fn flush(oldtag: u16) -> Tmsg<'static> {
    Tmsg::Flush { oldtag }
}

/// A connection with c0 open at fid 5, and a read of it under way with tag 7.
fn reading(drops: bool) -> Wire {
    let mut wire = Wire::attached(8216);
    wire.t(walk(0, 5, &["c0"]));
    wire.t(open(5, 0));
    wire.held(7, read(5, 0, 10));
    wire.tree.drops = drops;
    wire
}

#[test]
fn a_tag_that_nothing_has_is_flushed_at_once() {
    for drops in [false, true] {
        let mut wire = reading(drops);
        assert_eq!(wire.tagged(9, flush(99)), "9: Rflush", "never used");
        assert_eq!(wire.tagged(9, flush(9)), "9: Rflush", "its own");
        assert_eq!(wire.tagged(9, flush(styx::NOTAG)), "9: Rflush");
        wire.t(Tmsg::Stat { fid: 0 });
        assert_eq!(wire.tagged(9, flush(1)), "9: Rflush", "answered");
        assert_eq!(wire.tree.flushed, []);
        assert_eq!(wire.complete(), "7: Rread 10");
        assert_eq!(wire.tagged(9, flush(7)), "9: Rflush", "answered later");
        assert_eq!(wire.session.outstanding(), 0);
    }
}

#[test]
fn a_request_that_is_dropped_is_never_answered() {
    let mut wire = reading(true);
    let (id, _) = wire.tree.held[0];
    assert_eq!(wire.tagged(9, flush(7)), "9: Rflush");
    assert_eq!(wire.session.outstanding(), 0);
    assert_eq!(wire.tree.flushed, [id]);
    let late = Err("too late".into());
    wire.session.complete(id, late, &mut wire.tree, &mut wire.out);
    assert_eq!(wire.out, [], "and a service that completes it all the same is not heard");
}

#[test]
fn a_request_that_goes_on_is_answered_before_its_rflush() {
    let mut wire = reading(false);
    assert_eq!(wire.tagged(9, flush(7)), "");
    assert_eq!(wire.session.outstanding(), 2);
    assert_eq!(wire.complete(), "7: Rread 10, 9: Rflush");
    assert_eq!(wire.session.outstanding(), 0);
}

#[test]
fn a_request_that_goes_on_and_fails_is_answered_before_its_rflush() {
    let mut wire = Wire::attached(8216);
    wire.held(7, walk(0, 5, &["nope"]));
    assert_eq!(wire.tagged(9, flush(7)), "");
    assert_eq!(wire.complete(), "7: file does not exist, 9: Rflush");
}

#[test]
fn flushes_of_one_request_are_answered_in_their_order() {
    let mut wire = reading(false);
    for tag in [9, 10, 8] {
        assert_eq!(wire.tagged(tag, flush(7)), "");
    }
    assert_eq!(wire.tree.flushed.len(), 1, "the service is asked once");
    assert_eq!(wire.complete(), "7: Rread 10, 9: Rflush, 10: Rflush, 8: Rflush");
}

#[test]
fn a_flush_of_a_flush_is_answered_after_it() {
    let mut wire = reading(false);
    assert_eq!(wire.tagged(9, flush(7)), "");
    assert_eq!(wire.tagged(10, flush(9)), "");
    assert_eq!(wire.tagged(11, flush(7)), "");
    assert_eq!(wire.tagged(12, flush(10)), "");
    assert_eq!(wire.tagged(13, flush(9)), "");
    assert_eq!(wire.tree.flushed.len(), 1, "a service knows nothing of flushes");
    let order = "7: Rread 10, 9: Rflush, 10: Rflush, 12: Rflush, 13: Rflush, 11: Rflush";
    assert_eq!(wire.complete(), order);
    assert_eq!(wire.session.outstanding(), 0);
}

#[test]
fn a_tag_is_free_after_the_rflush_and_not_before() {
    let mut wire = reading(true);
    let (old, _) = wire.tree.held[0];
    assert_eq!(wire.tagged(9, flush(7)), "9: Rflush");
    for tag in [7, 9, 10] {
        wire.held(tag, Tmsg::Stat { fid: 5 });
    }
    wire.session.complete(old, Err("too late".into()), &mut wire.tree, &mut wire.out);
    assert_eq!(wire.out, [], "the old request is none of the new ones");
    for tag in [7, 9, 10] {
        assert_eq!(wire.complete(), format!("{tag}: Rstat c0"));
    }

    let mut wire = reading(false);
    assert_eq!(wire.tagged(9, flush(7)), "");
    assert_eq!(wire.tagged(7, Tmsg::Stat { fid: 5 }), "7: duplicate tag");
    assert_eq!(wire.tagged(9, Tmsg::Stat { fid: 5 }), "9: duplicate tag");
    assert_eq!(wire.tagged(9, flush(7)), "9: duplicate tag");
    assert_eq!(wire.complete(), "7: Rread 10, 9: Rflush");
    assert_eq!(wire.tagged(7, Tmsg::Stat { fid: 5 }), "7: Rstat c0");
    assert_eq!(wire.tagged(9, Tmsg::Stat { fid: 5 }), "9: Rstat c0");
}

/// Requests that change a fid: 5 is the root, not open.
fn changes() -> [(&'static str, Tmsg<'static>); 5] {
    [
        ("walk", walk(5, 5, &["c0"])),
        ("walk away", walk(5, 6, &["c0"])),
        ("attach", attach(6)),
        ("open", open(5, 0)),
        ("create", Tmsg::Create { fid: 5, name: "new", perm: 0, mode: 0 }),
    ]
}

#[test]
fn a_dropped_request_leaves_its_fid_as_it_was() {
    for (name, message) in changes() {
        let mut wire = Wire::attached(8216);
        wire.t(walk(0, 5, &[]));
        wire.held(7, message);
        wire.tree.drops = true;
        assert_eq!(wire.tagged(9, flush(7)), "9: Rflush", "{name}");
        assert_eq!(wire.session.file(5), Some(&File::Root), "{name}");
        assert_eq!(wire.session.file(6), None, "{name}");
        assert_eq!(wire.t(open(5, 0)), "Ropen 1 8192", "{name}: not open, and usable");
        assert_eq!(wire.tree.clunked, [], "{name}");
    }
}

#[test]
fn a_flushed_request_that_goes_on_does_what_it_does() {
    for (name, message) in changes() {
        let mut wire = Wire::attached(8216);
        wire.t(walk(0, 5, &[]));
        wire.held(7, message);
        assert_eq!(wire.tagged(9, flush(7)), "", "{name}");
        let heard = wire.complete();
        assert!(heard.starts_with("7: R") && heard.ends_with(", 9: Rflush"), "{name}: {heard}");
        let changed = wire.session.fids() == 3
            || wire.session.file(5) != Some(&File::Root)
            || wire.t(open(5, 0)) == enames::EMODE;
        assert!(changed, "{name}");
    }
}

#[test]
fn a_walk_is_flushed_at_any_of_its_names() {
    for steps in 0..3 {
        let mut wire = Wire::attached(8216);
        wire.tree.hold = true;
        assert_eq!(wire.tagged(7, walk(0, 5, &[".", ".", "c0"])), "");
        for _ in 0..steps {
            assert_eq!(wire.complete(), "");
        }
        wire.tree.drops = true;
        assert_eq!(wire.tagged(9, flush(7)), "9: Rflush");
        assert_eq!(wire.session.fids(), 1);
        assert_eq!(wire.session.outstanding(), 0);
    }
}

/// An Rflush alone says that nothing has happened, and the fid of a remove or a clunk is gone
/// already.
#[test]
fn a_remove_and_a_clunk_are_never_dropped() {
    for (message, reply) in
        [(Tmsg::Remove { fid: 5 }, "7: Rremove"), (Tmsg::Clunk { fid: 5 }, "7: Rclunk")]
    {
        let mut wire = Wire::attached(8216);
        wire.t(walk(0, 5, &["c0"]));
        wire.held(7, message);
        wire.tree.drops = true;
        assert_eq!(wire.session.fids(), 1);
        assert_eq!(wire.tagged(9, flush(7)), "");
        assert_eq!(wire.tree.flushed, []);
        assert_eq!(wire.complete(), format!("{reply}, 9: Rflush"));
    }
}

#[test]
fn a_version_ends_what_is_under_way_without_an_answer() {
    let version = Tmsg::Version { msize: 100, version: VERSION };
    for drops in [false, true] {
        let mut wire = reading(drops);
        wire.held(8, Tmsg::Stat { fid: 5 });
        if !drops {
            assert_eq!(wire.tagged(9, flush(7)), "");
        }
        assert_eq!(wire.tagged(8, version), "8: Rversion 100 9P2000", "a tag in use, even");
        assert_eq!(wire.session.fids(), 0);
        assert_eq!(wire.session.msize(), 100);
        assert_eq!(wire.tree.flushed.len(), 2, "each request once");
        assert_eq!(wire.session.outstanding(), wire.tree.held.len());

        // The tags are free at once, and the old answers go nowhere.
        assert_eq!(wire.tagged(7, attach(0)), "7: Rattach 1");
        let left = wire.tree.held.len();
        wire.held(7, Tmsg::Stat { fid: 0 });
        wire.held(8, Tmsg::Stat { fid: 0 });
        for _ in 0..left {
            assert_eq!(wire.complete(), "");
        }
        assert_eq!(wire.tagged(7, attach(1)), "7: duplicate tag", "the new requests' tags");
        assert_eq!(wire.complete(), "7: Rstat /");
        assert_eq!(wire.complete(), "8: Rstat /");
    }
}

#[test]
fn what_is_opened_after_the_session_has_ended_is_closed() {
    for message in [open(5, 2), Tmsg::Create { fid: 5, name: "new", perm: 0, mode: 2 }] {
        let mut wire = Wire::attached(8216);
        wire.t(walk(0, 5, if message.mtype() == styx::mtype::TOPEN { &["c0"] } else { &[] }));
        wire.held(7, message);
        wire.session.close(&mut wire.tree);
        wire.session.close(&mut wire.tree);
        assert_eq!(wire.tree.flushed.len(), 1, "asked once");
        assert_eq!(wire.session.outstanding(), 1);
        wire.tree.clunked.clear();
        assert_eq!(wire.complete(), "");
        assert!(matches!(wire.tree.clunked[..], [(File::Plain(_), Some(2))]));
        assert_eq!(wire.session.outstanding(), 0);
    }
}

#[test]
fn every_kind_of_request_ends_with_its_session() {
    let mut sync = Vec::new();
    Stat::DONT_TOUCH.encode(&mut sync);
    let messages = [
        attach(9),
        walk(0, 9, &["c0", "nope"]),
        walk(6, 6, &["c0"]),
        open(6, 0),
        Tmsg::Create { fid: 6, name: "new", perm: 0, mode: 2 },
        read(5, 0, 10),
        read(7, 0, 100),
        Tmsg::Write { fid: 5, offset: 0, data: b"abc" },
        Tmsg::Stat { fid: 0 },
        Tmsg::Wstat { fid: 0, stat: &sync },
        Tmsg::Remove { fid: 5 },
        Tmsg::Clunk { fid: 5 },
    ];
    for message in messages {
        let mut wire = Wire::attached(8216);
        wire.t(walk(0, 5, &["c0"]));
        wire.t(open(5, 2));
        wire.t(walk(0, 6, &[]));
        wire.t(walk(0, 7, &[]));
        wire.t(open(7, 0));
        wire.held(7, message);
        assert_eq!(wire.tagged(9, flush(7)), "");
        wire.session(64);
        wire.tree.hold = true;
        assert_eq!(wire.complete(), "", "{message:?}");
        assert_eq!(wire.session.outstanding(), 0, "{message:?}");
        assert_eq!(wire.session.fids(), 1, "{message:?}");
    }
}
