use std::cell::Cell;
use std::rc::Rc;

use super::{BadRead, MIN_RETRY, MOMENT, Mirror, Service, Stepped, Upsets};
use crate::integrity::log::{Found, Record};

const LENGTH: u64 = 100;

fn logged(legs: usize) -> Mirror {
    let mut mirror = Mirror::new(LENGTH, legs);
    let record = Record::new(LENGTH, legs);
    mirror.restore(&Found { record, sequence: 1, half: 0, identity: [0; 32] }, 0);
    mirror
}

#[test]
fn what_is_marked_again_before_its_cleaning_is_recorded_is_looked_after() {
    let mut mirror = logged(2);
    let stirred = Rc::<Cell<bool>>::default();
    mirror.watch(stirred.clone());
    assert!(!mirror.begin_write(0, 10), "it is to be marked first");
    mirror.begin_record().expect("a record");
    mirror.end_record(true);
    mirror.end_write(0, 10);
    assert!(!mirror.begin_clean(), "it was written to just now");
    assert!(mirror.begin_clean());
    assert!(!mirror.begin_clean(), "that is under way");
    // A record is under way when the cleaning ends, so that one for it has to wait.
    mirror.begin_record().expect("a record");
    mirror.end_clean(true, 0);
    assert!(mirror.marked().is_empty());
    stirred.set(false);
    assert!(mirror.begin_write(0, 10), "the log marks it still");
    assert!(stirred.get() && mirror.marked().has(0));
    mirror.end_record(true);
    assert!(mirror.wants_record(), "what the cleaning found is not recorded");
}

#[test]
fn what_came_from_a_leg_that_is_to_be_rewritten_is_copied_again() {
    let mut mirror = Mirror::new(LENGTH, 3);
    mirror.write_failed(0, (0, 10), "no room", 0);
    // Neither of the others is right for sure, but it is too early to mend them.
    let early = MIN_RETRY - 1;
    mirror.read_failed(1, 0, 10, BadRead::Error, early);
    mirror.read_failed(2, 0, 10, BadRead::Error, early);
    let step = mirror.next_step(MIN_RETRY).expect("the leg that is out is tried again");
    assert_eq!((step.from, step.to), (1, 0));
    mirror.stepped(step, Stepped::Equal { changed: true }, MIN_RETRY);
    assert!(mirror.legs()[0].stale.is_empty());
    // Now leg 1 may get other bytes than leg 0 got from it.
    let step = mirror.next_step(early + MOMENT).expect("a leg in service is mended");
    assert_eq!((step.from, step.to), (2, 1));
    mirror.stepped(step, Stepped::Equal { changed: true }, early + MOMENT);
    assert!(mirror.legs()[0].stale.has(0) && mirror.legs()[0].service == Service::CatchingUp);
}

#[test]
fn a_leg_that_may_have_lost_something_is_out_and_the_last_one_says_so() {
    let mut mirror = logged(2);
    mirror.begin_write(0, 10);
    let lost = |losses| Upsets { losses, shifts: 0 };
    mirror.notice(0, lost(5), 0);
    mirror.notice(1, lost(0), 0);
    assert!(mirror.is_read(0), "how it was at first says nothing");
    mirror.notice(0, lost(6), 0);
    mirror.notice(0, lost(6), 0);
    assert_eq!((mirror.first(), mirror.upsets()), (Some(1), lost(0)));
    assert!(mirror.legs()[0].stale.has(0));
    mirror.notice(1, lost(1), 0);
    assert_eq!((mirror.first(), mirror.upsets()), (Some(1), lost(1)));
}

#[test]
fn a_mirror_tells_when_other_bytes_than_before_are_read_of_it() {
    let lossless = |shifts| Upsets { losses: 0, shifts };
    let mut mirror = logged(2);
    mirror.read_failed(0, 0, 10, BadRead::Error, 0);
    let step = mirror.next_step(MOMENT).expect("it is mended");
    mirror.stepped(step, Stepped::Equal { changed: false }, MOMENT);
    assert_eq!(mirror.upsets(), lossless(0), "its legs were equal");

    // After a crash they need not be.
    let mut record = Record::new(LENGTH, 2);
    record.marked.add(0..1);
    mirror.restore(&Found { record, sequence: 1, half: 0, identity: [0; 32] }, 0);
    mirror.read_failed(0, 0, 10, BadRead::Error, 0);
    assert_eq!(mirror.upsets(), lossless(1), "leg 1 answers");
    let step = mirror.next_step(MOMENT).expect("it is mended");
    assert_eq!((step.from, step.to), (1, 0));
    mirror.stepped(step, Stepped::Equal { changed: false }, MOMENT);
    assert_eq!(mirror.upsets(), lossless(2), "leg 0 has what leg 1 had");
    let step = mirror.next_step(MOMENT).expect("leg 1 was stale too");
    mirror.stepped(step, Stepped::Equal { changed: true }, MOMENT);
    assert_eq!(mirror.upsets(), lossless(2), "leg 0 is read, as it was");

    mirror.write_failed(0, (0, 10), "no room", 0);
    assert_eq!(mirror.upsets(), lossless(2), "leg 1 has the same");
    mirror.repair_from(0, 0);
    assert_eq!(mirror.upsets(), lossless(3), "a person said what is right");
}

#[test]
fn a_leg_of_which_other_bytes_are_read_is_compared() {
    let shifted = |shifts| Upsets { losses: 0, shifts };
    let mut mirror = logged(3);
    (0..3).for_each(|leg| mirror.notice(leg, shifted(4), 0));
    assert!(mirror.is_sound(), "how it was at first says nothing");
    mirror.hold(2, "a person said so", 0);
    mirror.notice(2, shifted(5), 0);
    assert_eq!(mirror.upsets(), shifted(0), "nobody reads that one");
    mirror.notice(1, shifted(5), 0);
    mirror.notice(1, shifted(5), 0);
    assert_eq!(mirror.upsets(), shifted(1), "who has copied from it is told");
    let stale = mirror.legs().iter().map(|leg| leg.stale.has(0));
    assert_eq!(stale.collect::<Vec<_>>(), [false, true, true]);
    assert!(mirror.is_read(1), "it has lost nothing");
    let step = mirror.next_step(0).expect("it is compared at once");
    assert_eq!((step.from, step.to), (0, 1));
}

#[test]
fn where_nothing_is_marked_all_of_a_leg_is_compared_that_may_have_lost_something() {
    let mut mirror = Mirror::new(LENGTH, 2);
    assert!(mirror.begin_write(0, 10));
    mirror.sync_failed(0, "no room", 0);
    assert!(mirror.legs()[0].stale.has(0) && !mirror.is_read(0));
    let mut alone = Mirror::new(LENGTH, 1);
    alone.sync_failed(0, "no room", 0);
    assert!(alone.is_sound(), "there is nothing that it could be made equal to");
}

#[test]
fn a_log_that_has_every_leg_out_still_leaves_one_to_read() {
    let mut mirror = Mirror::new(LENGTH, 2);
    let mut record = Record::new(LENGTH, 2);
    record.legs.iter_mut().for_each(|leg| leg.service = Service::Out);
    mirror.restore(&Found { record, sequence: 1, half: 0, identity: [0; 32] }, 0);
    assert_eq!(mirror.first(), Some(0));
}

#[test]
fn a_leg_that_is_being_replaced_is_no_source() {
    let mut mirror = logged(2);
    mirror.begin_replace(0, 0);
    assert_eq!(mirror.is_no_source(0), Some("that leg is being replaced"));
    assert_eq!(mirror.is_no_source(1), None);
    mirror.end_replace(0, false);
    assert_eq!(mirror.is_no_source(0), None);
}

#[test]
fn a_read_that_fails_is_told_by_where_it_was() {
    for bad in [BadRead::Error, BadRead::Short(0), BadRead::Short(3)] {
        let mut mirror = logged(2);
        mirror.read_failed(0, 40, 10, bad, 0);
        let told = ["leg 0 failed a read at 40, which is to be rewritten".to_string()];
        assert_eq!(mirror.take_news(), told, "{bad:?}");
    }
}

#[test]
fn a_leg_is_needed_while_it_alone_has_something() {
    let mut mirror = logged(3);
    let needed = |mirror: &Mirror| [0, 1, 2].map(|leg| mirror.why_needed(leg).is_some());
    assert_eq!(needed(&mirror), [false; 3]);
    mirror.read_failed(1, 0, 10, BadRead::Error, 0);
    assert_eq!(needed(&mirror), [false; 3], "two have it");
    mirror.hold(2, "a person said so", 0);
    assert_eq!(needed(&mirror), [true, false, false], "leg 0 is all that is read");
    mirror.read_failed(0, 0, 10, BadRead::Error, 0);
    assert_eq!(needed(&mirror), [false, false, true], "leg 2 is out, but has it");
    let why = mirror.why_needed(2).expect("it is needed");
    assert!(why.starts_with("leg 2 alone has 100 bytes right; "), "{why}");
    mirror.repair_from(0, 0);
    assert_eq!(needed(&mirror), [true, false, false], "a person has said which is right");
}

#[test]
fn a_leg_that_was_replaced_is_no_source_before_it_is_filled() {
    let mut mirror = logged(2);
    mirror.begin_replace(0, 0);
    let (record, _, _) = mirror.begin_move(0).expect("nothing else is recorded");
    let found = Found { record, sequence: 1, half: 0, identity: [1; 32] };
    mirror.end_move(Some(&found));
    mirror.end_replace(0, true);
    let unfilled = Some("that leg was replaced, and has not been filled");
    assert_eq!(mirror.is_no_source(0), unfilled);
    let mut restarted = logged(2);
    restarted.restore(&found, 0);
    assert_eq!(restarted.is_no_source(0), unfilled, "after a restart");
    while let Some(step) = mirror.next_step(u64::MAX) {
        mirror.stepped(step, Stepped::Equal { changed: true }, 0);
    }
    assert_eq!(mirror.is_no_source(0), unfilled, "it is not on stable storage");
    assert!(mirror.begin_clean());
    mirror.end_clean(true, 0);
    assert!(mirror.next_step(u64::MAX).is_none(), "there is no more to do");
    assert_eq!((mirror.is_no_source(0), mirror.is_read(0)), (None, true));
}
