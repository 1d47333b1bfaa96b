//! What a session answers to every message, in every state of the connection, the fid and the tag.
//! The texts are those of the golden recordings (their README, "file server").

mod common;

use std::collections::BTreeSet;

use common::parts::tframe;
use common::tree::{File, LONG};
use common::wire::{Wire, attach, open, read, walk};
use styx::decode::DecodeError;
use styx::server::{Fatal, MAX_MSIZE};
use styx::{NOTAG, Stat, Tmsg, VERSION, enames};

/// An entry that touches nothing.
fn sync() -> Vec<u8> {
    let mut entry = Vec::new();
    Stat::DONT_TOUCH.encode(&mut entry);
    entry
}

/// One of each T-message but Tversion, all about fid 5, with a name.
fn messages(entry: &[u8]) -> Vec<(&'static str, Tmsg<'_>)> {
    vec![
        ("Tauth", Tmsg::Auth { afid: 5, uname: "root", aname: "" }),
        ("Tattach", attach(5)),
        ("Tattach afid", Tmsg::Attach { fid: 5, afid: 6, uname: "root", aname: "" }),
        ("Tflush", Tmsg::Flush { oldtag: 77 }),
        ("Twalk away", walk(5, 9, &[".", "c0"])),
        ("Twalk clone", walk(5, 9, &[])),
        ("Twalk itself", walk(5, 5, &["c0"])),
        ("Twalk here", walk(0, 5, &["c0"])),
        ("Topen r", open(5, 0)),
        ("Topen rw", open(5, 2)),
        ("Tcreate", Tmsg::Create { fid: 5, name: "new", perm: 0o666, mode: 2 }),
        ("Tread", read(5, 0, 100)),
        ("Tread much", read(5, 0, 8193)),
        ("Tread far", read(5, 1 << 63, 1)),
        ("Tread there", read(5, (1 << 63) - 1, 1)),
        ("Twrite", Tmsg::Write { fid: 5, offset: 0, data: b"abc" }),
        ("Twrite far", Tmsg::Write { fid: 5, offset: u64::MAX, data: b"abc" }),
        ("Tclunk", Tmsg::Clunk { fid: 5 }),
        ("Tremove", Tmsg::Remove { fid: 5 }),
        ("Tstat", Tmsg::Stat { fid: 5 }),
        ("Twstat", Tmsg::Wstat { fid: 5, stat: entry }),
        ("Twstat bad", Tmsg::Wstat { fid: 5, stat: &[] }),
    ]
}

/// Short words for the texts in the table.
const TEXTS: [(&str, &str); 15] = [
    ("auth", enames::ENOAUTH),
    ("no fid", enames::EUNKNOWNFID),
    ("in use", enames::EFIDINUSE),
    ("mode", enames::EMODE),
    ("unfit", enames::EBADUSE),
    ("open", enames::EWALKOPEN),
    ("not dir", enames::ENOTDIR),
    ("perm", enames::EPERM),
    ("count", enames::ECOUNT),
    ("offset", enames::ENEGOFF),
    ("seek", enames::EDIRSEEK),
    ("stat", enames::EBADSTAT),
    ("Ropen", "Ropen 3 8192"),
    ("Ropen dir", "Ropen 1 8192"),
    ("Rcreate", "Rcreate 7 8192"),
];

/// Messages down, states of fid 5 across. `changing`: a walk that moves it is under way.
const TABLE: &str = "\
             | no fid    | dir          | file     | dir r    | file r    | file w   | file x    | changing
Tauth        | auth      | auth         | auth     | auth     | auth      | auth     | auth      | auth
Tattach      | Rattach 1 | in use       | in use   | in use   | in use    | in use   | in use    | in use
Tattach afid | auth      | auth         | auth     | auth     | auth      | auth     | auth      | auth
Tflush       | Rflush    | Rflush       | Rflush   | Rflush   | Rflush    | Rflush   | Rflush    | Rflush
Twalk away   | no fid    | Rwalk [1, 3] | not dir  | open     | open      | open     | open      | in use
Twalk clone  | no fid    | Rwalk []     | Rwalk [] | open     | open      | open     | open      | in use
Twalk itself | no fid    | Rwalk [3]    | not dir  | open     | open      | open     | open      | in use
Twalk here   | Rwalk [3] | in use       | in use   | in use   | in use    | in use   | in use    | in use
Topen r      | no fid    | Ropen dir    | Ropen    | mode     | mode      | mode     | mode      | in use
Topen rw     | no fid    | perm         | Ropen    | mode     | mode      | mode     | mode      | in use
Tcreate      | no fid    | Rcreate      | perm     | mode     | mode      | mode     | mode      | in use
Tread        | no fid    | mode         | mode     | Rread 64 | Rread 100 | unfit    | Rread 100 | in use
Tread much   | no fid    | mode         | mode     | count    | count     | unfit    | count     | in use
Tread far    | no fid    | mode         | mode     | offset   | offset    | unfit    | offset    | in use
Tread there  | no fid    | mode         | mode     | seek     | Rread 0   | unfit    | Rread 0   | in use
Twrite       | no fid    | mode         | mode     | unfit    | unfit     | Rwrite 3 | unfit     | in use
Twrite far   | no fid    | mode         | mode     | unfit    | unfit     | offset   | unfit     | in use
Tclunk       | no fid    | Rclunk       | Rclunk   | Rclunk   | Rclunk    | Rclunk   | Rclunk    | Rclunk
Tremove      | no fid    | perm         | Rremove  | perm     | Rremove   | Rremove  | Rremove   | perm
Tstat        | no fid    | Rstat /      | Rstat c0 | Rstat /  | Rstat c0  | Rstat c0 | Rstat c0  | in use
Twstat       | no fid    | Rwstat       | Rwstat   | Rwstat   | Rwstat    | Rwstat   | Rwstat    | in use
Twstat bad   | no fid    | stat         | stat     | stat     | stat      | stat     | stat      | in use";

/// A connection whose fid 5 is in the state that a column of the table names.
fn in_state(state: &str) -> Wire {
    let mut wire = Wire::attached(8216);
    let (names, mode): (&[&str], _) = match state {
        "no fid" => return wire,
        "dir" | "changing" => (&[], None),
        "file" => (&["c0"], None),
        "dir r" => (&[], Some(0)),
        "file r" => (&["c0"], Some(0)),
        "file w" => (&["c0"], Some(1 | 0x10)),
        "file x" => (&["c0"], Some(3)),
        other => panic!("the table has a column {other}"),
    };
    wire.t(walk(0, 5, names));
    if let Some(mode) = mode {
        assert!(wire.t(open(5, mode)).starts_with("Ropen"));
    }
    if state == "changing" {
        wire.held(99, walk(5, 5, &["c0"]));
    }
    wire
}

#[test]
fn every_message_in_every_state_of_its_fid() {
    let entry = sync();
    let messages = messages(&entry);
    let mut lines = TABLE.lines().map(|line| line.split('|').map(str::trim).collect::<Vec<_>>());
    let states = lines.next().expect("a line of states");
    let rows: Vec<_> = lines.collect();
    assert_eq!(rows.len(), messages.len());
    for (row, (name, message)) in rows.iter().zip(messages) {
        assert_eq!(row[0], name);
        for (state, want) in states.iter().zip(row).skip(1) {
            let mut wire = in_state(state);
            let existed = wire.session.file(5).is_some();
            let text = TEXTS.iter().find(|(short, _)| short == want);
            let want = text.map_or(*want, |(_, text)| *text);
            assert_eq!(wire.t(message), want, "{name}, and fid 5 is {state}");

            let exists = match name {
                "Tclunk" | "Tremove" => false,
                "Tattach" | "Twalk here" => true,
                _ => existed,
            };
            assert_eq!(wire.session.file(5).is_some(), exists, "after {name} in state {state}");
        }
    }
}

#[test]
fn nothing_but_a_version_is_answered_before_one() {
    let entry = sync();
    let small = Tmsg::Version { msize: 63, version: VERSION };
    let unknown = Tmsg::Version { msize: 8216, version: "9P1999" };
    for message in messages(&entry).iter().map(|(_, message)| *message) {
        assert_eq!(Wire::fresh().t(message), enames::ENOVERSION);
        // A version that failed ends the session before it.
        let mut wire = Wire::attached(8216);
        assert_eq!(wire.t(small), enames::ETOOSMALL);
        assert_eq!(wire.t(message), enames::ENOVERSION);
        let mut wire = Wire::attached(8216);
        assert_eq!(wire.t(unknown), "Rversion 8216 unknown");
        assert_eq!(wire.t(message), enames::ENOVERSION);
    }
}

#[test]
fn a_tag_that_is_in_use_is_refused_and_its_request_goes_on() {
    let entry = sync();
    for (name, message) in messages(&entry) {
        let mut wire = Wire::attached(8216);
        wire.held(7, Tmsg::Stat { fid: 0 });
        assert_eq!(wire.tagged(7, message), "7: duplicate tag", "{name}");
        assert_eq!(wire.session.fids(), 1, "{name}");
        assert_eq!(wire.complete(), "7: Rstat /", "{name}");
        assert_eq!(wire.session.outstanding(), 0, "{name}");
        assert_ne!(wire.tagged(7, message), "7: duplicate tag", "{name}");
    }
}

#[test]
fn r_messages_and_unknown_ones_end_the_connection() {
    for kind in
        (0..=255).filter(|kind| kind % 2 == 1 || !(100..=126).contains(kind) || *kind == 106)
    {
        for mut wire in [Wire::fresh(), Wire::attached(8216), in_state("changing")] {
            let frame = [7, 0, 0, 0, kind, 1, 0];
            assert_eq!(wire.frame(&frame), Err(Fatal::Message(DecodeError::Type(kind))));
            assert_eq!(wire.out, [], "type {kind}");
        }
    }
}

#[test]
fn what_is_no_message_ends_the_connection_but_bad_text_is_refused() {
    let mut wire = Wire::attached(8216);
    let short = [8, 0, 0, 0, 124, 1, 0, 1];
    assert_eq!(wire.frame(&short), Err(Fatal::Message(DecodeError::Short)));
    let mut names = tframe(1, &walk(0, 5, &[]));
    names[15] = 17;
    names.extend([0; 34]);
    common::parts::resize(&mut names);
    assert_eq!(wire.frame(&names), Err(Fatal::Message(DecodeError::Names(17))));
    for text in ["a\0b", "\0"] {
        assert_eq!(wire.t(walk(0, 5, &[text])), enames::EBADTEXT);
        assert_eq!(wire.t(Tmsg::Version { msize: 8216, version: text }), enames::EBADTEXT);
    }
    assert_eq!(wire.t(Tmsg::Stat { fid: 0 }), "Rstat /", "the session goes on");
    assert_eq!(Wire::fresh().t(walk(0, 5, &["a\0b"])), enames::EBADTEXT);
}

#[test]
fn versions_and_sizes() {
    let largest = format!("Rversion {MAX_MSIZE} 9P2000");
    let rows = [
        (8216, "9P2000", "Rversion 8216 9P2000"),
        (8216, "9P2000.u", "Rversion 8216 9P2000"),
        (8216, "9P2000.L", "Rversion 8216 9P2000"),
        (8216, "9P3000", "Rversion 8216 9P2000"),
        (8216, "9P1", "Rversion 8216 unknown"),
        (8216, "9P", "Rversion 8216 unknown"),
        (8216, "9P.2000", "Rversion 8216 unknown"),
        (8216, "styx", "Rversion 8216 unknown"),
        (8216, "", "Rversion 8216 unknown"),
        (0, "9P2000", enames::ETOOSMALL),
        (63, "9P2000", enames::ETOOSMALL),
        (63, "styx", enames::ETOOSMALL),
        (64, "9P2000", "Rversion 64 9P2000"),
        (MAX_MSIZE, "9P2000", &largest),
        (MAX_MSIZE + 1, "9P2000", &largest),
        (u32::MAX, "9P2000", &largest),
    ];
    for (msize, version, want) in rows {
        let mut wire = Wire::fresh();
        // The tag should be NOTAG, and is given back whatever it is.
        assert_eq!(wire.t(Tmsg::Version { msize, version }), want, "{version} {msize}");
        let tagged = wire.tagged(NOTAG, Tmsg::Version { msize, version });
        assert_eq!(tagged, format!("65535: {want}"));
    }
}

/// Reads of a directory, as the golden recordings have them: case `fs`, rows `dirread-...`.
#[test]
fn a_directory_is_read_from_its_start_or_from_where_the_last_read_ended() {
    let mut wire = Wire::attached(8216);
    wire.t(walk(0, 5, &[]));
    wire.t(open(5, 0));
    let rows = [
        (0, 0, "Rread 0"),
        (0, 1, enames::EDIRCOUNT),
        (0, 63, enames::EDIRCOUNT),
        (0, 64, "Rread 64"),
        (0, 126, "Rread 64"),
        (0, 127, "Rread 127"),
        (0, 200, "Rread 190"),
        (0, 64, "Rread 64"),
        (1, 100, enames::EDIRSEEK),
        (64, 100, "Rread 63"),
        (63, 100, enames::EDIRSEEK),
        (127, 10, enames::EDIRCOUNT),
        (127, 0, "Rread 0"),
        (127, 100, "Rread 63"),
        (190, 8192, "Rread 126"),
        (316, 100, "Rread 0"),
        (316, 100, "Rread 0"),
        (190, 100, enames::EDIRSEEK),
        (0, 8192, "Rread 316"),
        (1000, 100, enames::EDIRSEEK),
        (316, 8193, enames::ECOUNT),
        // A read at 0 starts again, even if it fails.
        (0, 10, enames::EDIRCOUNT),
        (316, 100, enames::EDIRSEEK),
        (0, 64, "Rread 64"),
    ];
    for (nth, (offset, count, want)) in rows.into_iter().enumerate() {
        assert_eq!(wire.t(read(5, offset, count)), want, "row {nth}: {count} at {offset}");
    }
}

#[test]
fn a_late_read_of_a_directory_does_not_move_the_next_fid_of_that_number() {
    let mut wire = Wire::attached(8216);
    wire.t(walk(0, 5, &[]));
    wire.t(open(5, 0));
    wire.held(7, read(5, 0, 100));
    assert_eq!(wire.t(Tmsg::Clunk { fid: 5 }), "Rclunk");
    wire.t(walk(0, 5, &[]));
    wire.t(open(5, 0));
    assert_eq!(wire.complete(), "7: Rread 64");
    assert_eq!(wire.t(read(5, 64, 100)), enames::EDIRSEEK);
}

#[test]
fn a_walk_makes_its_fid_only_if_every_name_is_found() {
    let mut wire = Wire::attached(8216);
    let dots = ["."; 16];
    let rows: [(&[&str], &str, bool); 8] = [
        (&["ctl"], "Rwalk [2]", true),
        (&[], "Rwalk []", true),
        (&["nope"], enames::ENONEXIST, false),
        (&["ctl", ".."], "Rwalk [2]", false),
        (&["ctl", "..", "c0"], "Rwalk [2]", false),
        (&["..", "nope"], "Rwalk [1]", false),
        (&[""], "Rwalk [1]", true),
        (&dots, "Rwalk [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]", true),
    ];
    for (names, want, made) in rows {
        assert_eq!(wire.t(walk(0, 5, names)), want);
        let clunked = if made { "Rclunk" } else { enames::EUNKNOWNFID };
        assert_eq!(wire.t(Tmsg::Clunk { fid: 5 }), clunked, "after {names:?}");
    }
    assert_eq!(wire.t(walk(0, 0, &["ctl", ".."])), "Rwalk [2]");
    assert_eq!(wire.session.file(0), Some(&File::Root), "a walk that fails moves nothing");
    assert_eq!(wire.t(walk(0, 0, &["ctl"])), "Rwalk [2]");
    assert_eq!(wire.session.file(0), Some(&File::Plain(0)));
}

#[test]
fn walks_from_one_fid_do_not_wait_for_each_other() {
    let mut wire = Wire::attached(8216);
    wire.held(7, walk(0, 5, &["c0"]));
    wire.held(8, walk(0, 6, &[".", "nope", "c0"]));
    wire.held(9, walk(0, 5, &["ctl"]));
    wire.held(10, walk(0, 0, &["p0"]));
    assert_eq!(wire.t(walk(0, 9, &["m0"])), enames::EFIDINUSE, "fid 0 is about to move");
    assert_eq!(wire.complete(), "7: Rwalk [3]");
    wire.tree.hold = true;
    assert_eq!(wire.complete(), "", "the second name of the second walk");
    wire.tree.hold = false;
    assert_eq!(wire.complete(), "9: fid in use", "the first walk had its newfid");
    assert_eq!(wire.complete(), "10: Rwalk [5]");
    assert_eq!(wire.complete(), "8: Rwalk [1]");
    assert_eq!(wire.session.fids(), 2);
    assert_eq!(wire.t(Tmsg::Stat { fid: 5 }), "Rstat c0");
    assert_eq!(wire.t(Tmsg::Stat { fid: 0 }), "Rstat p0");
}

#[test]
fn a_fid_that_is_clunked_while_it_changes_stays_gone() {
    // A walk of itself, an open and a create under way on fid 5.
    let rows: [(&str, Tmsg<'_>, bool); 3] = [
        ("walk", walk(5, 5, &["c0"]), false),
        ("open", open(5, 0), true),
        ("create", Tmsg::Create { fid: 5, name: "new", perm: 0, mode: 0 }, true),
    ];
    for (name, message, opens) in rows {
        let mut wire = Wire::attached(8216);
        wire.t(walk(0, 5, &[]));
        wire.held(7, message);
        assert_eq!(wire.t(Tmsg::Stat { fid: 5 }), enames::EFIDINUSE, "{name}");
        assert_eq!(wire.t(Tmsg::Clunk { fid: 5 }), "Rclunk", "{name}");
        assert_eq!(wire.t(walk(0, 5, &["ctl"])), "Rwalk [2]", "{name}: the number is free");
        assert_eq!(wire.complete(), "7: no such fid", "{name}");
        assert_eq!(wire.t(Tmsg::Stat { fid: 5 }), "Rstat ctl", "{name}");
        let clunks = wire.tree.clunked.iter().filter(|(_, mode)| mode.is_some()).count();
        assert_eq!(clunks, usize::from(opens), "{name}: what was opened is closed");
    }
}

#[test]
fn what_a_pending_request_changes_is_there_when_it_is_answered() {
    let mut wire = Wire::attached(8216);
    wire.held(7, attach(1));
    assert_eq!(wire.t(Tmsg::Stat { fid: 1 }), enames::EUNKNOWNFID);
    assert_eq!(wire.complete(), "7: Rattach 1");
    wire.held(7, open(1, 0));
    assert_eq!(wire.t(open(1, 0)), enames::EFIDINUSE);
    assert_eq!(wire.complete(), "7: Ropen 1 8192");
    assert_eq!(wire.t(open(1, 0)), enames::EMODE);
    wire.held(7, Tmsg::Remove { fid: 1 });
    assert_eq!(wire.t(Tmsg::Stat { fid: 1 }), enames::EUNKNOWNFID);
    assert_eq!(wire.complete(), "7: permission denied");

    wire.held(7, attach(1));
    assert_eq!(wire.t(attach(1)), "Rattach 1");
    assert_eq!(wire.complete(), "7: fid in use");
}

#[test]
fn every_kind_of_request_may_be_answered_later() {
    let entry = sync();
    for (name, message) in messages(&entry) {
        for state in ["dir", "file", "dir r", "file r", "file w"] {
            let (mut at_once, mut later) = (in_state(state), in_state(state));
            later.tree.hold = true;
            let mut heard = later.t(message);
            while heard.is_empty() {
                assert_eq!(later.session.outstanding(), 1, "{name}");
                heard = later.complete();
            }
            assert_eq!(heard, at_once.t(message), "{name}, and fid 5 is {state}");
            assert_eq!(later.session.outstanding(), 0, "{name}");
            assert_eq!(later.session.file(5), at_once.session.file(5), "{name}");
        }
    }
}

#[test]
fn what_does_not_fit_the_smallest_msize() {
    let mut wire = Wire::attached(64);
    assert_eq!(wire.t(walk(0, 5, &["."; 4])), "Rwalk [1, 1, 1, 1]");
    assert_eq!(wire.t(walk(0, 6, &["."; 5])), enames::ETOOSMALL);
    assert_eq!(wire.t(Tmsg::Stat { fid: 6 }), enames::EUNKNOWNFID, "no fid is left behind");
    assert_eq!(wire.t(walk(0, 6, &[".", ".", ".", ".", ".", "nope"])), enames::ETOOSMALL);
    assert_eq!(wire.t(walk(5, 5, &[".", ".", ".", ".", "c0"])), enames::ETOOSMALL);
    assert_eq!(wire.session.file(5), Some(&File::Root), "nor moved");

    assert_eq!(wire.t(walk(0, 6, &[LONG])), "Rwalk [8]");
    assert_eq!(wire.t(Tmsg::Stat { fid: 6 }), enames::ESHORTSTAT);
    assert_eq!(wire.t(open(6, 0)), "Ropen 8 40");
    assert_eq!(wire.t(read(6, 0, 40)), "Rread 40");
    assert_eq!(wire.t(read(6, 0, 41)), enames::ECOUNT);
    assert_eq!(wire.t(open(5, 0)), "Ropen 1 40");
    assert_eq!(wire.t(read(5, 0, 40)), enames::EDIRCOUNT);

    // 64 bytes less a header and a length are 55; a rune is not cut.
    let name = format!("{}{}", "n".repeat(53), "é".repeat(10));
    assert_eq!(wire.t(walk(0, 7, &[&name])), format!("'{}", &name[..53]));
}

#[test]
fn every_fid_is_clunked_once() {
    let mut wire = Wire::attached(8216);
    wire.t(walk(0, 5, &["c0"]));
    wire.t(walk(0, 6, &["m0"]));
    wire.t(open(6, 1));
    wire.t(walk(0, 7, &["p0"]));
    assert_eq!(wire.t(Tmsg::Remove { fid: 7 }), "Rremove");
    assert_eq!(wire.t(Tmsg::Clunk { fid: 5 }), "Rclunk");
    assert_eq!(wire.tree.clunked, [(File::Plain(1), None)]);
    wire.session.close(&mut wire.tree);
    wire.tree.clunked.sort_by_key(|(file, _)| file.qid().path);
    let rest = [(File::Root, None), (File::Plain(1), None), (File::Plain(2), Some(1))];
    assert_eq!(wire.tree.clunked, rest);
    assert_eq!(wire.session.fids(), 0);
}

#[test]
fn what_fails_changes_nothing_but_the_end_of_a_fid() {
    let entry = sync();
    let mut failed = BTreeSet::new();
    for (name, message) in messages(&entry) {
        for state in ["dir", "file", "dir r", "file r", "file w"] {
            for hold in [false, true] {
                let mut wire = in_state(state);
                let (fids, file) = (wire.session.fids(), wire.session.file(5).copied());
                wire.tree.fails = true;
                wire.tree.hold = hold;
                let mut heard = wire.t(message);
                if heard.is_empty() {
                    heard = wire.complete();
                }
                if heard != enames::EIO {
                    continue;
                }
                failed.insert(name);
                assert_eq!(wire.session.outstanding(), 0, "{name}");
                if ["Tclunk", "Tremove"].contains(&name) {
                    assert_eq!(wire.session.file(5), None, "{name}");
                } else {
                    assert_eq!(wire.session.fids(), fids, "{name}");
                    assert_eq!(wire.session.file(5).copied(), file, "{name}");
                }
            }
        }
    }
    let asked = [
        "Tclunk",
        "Tcreate",
        "Topen r",
        "Topen rw",
        "Tread",
        "Tread there",
        "Tremove",
        "Tstat",
        "Twalk away",
        "Twalk here",
        "Twalk itself",
        "Twrite",
        "Twstat",
    ];
    assert_eq!(Vec::from_iter(failed), asked, "what a service is asked");
}

#[test]
fn an_attach_to_a_fid_in_use_asks_nobody() {
    let mut wire = Wire::attached(8216);
    wire.tree.hold = true;
    assert_eq!(wire.t(attach(0)), enames::EFIDINUSE);
}
