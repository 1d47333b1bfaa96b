//! A `Buffer` holds what a `Vec<u8>` would that the same was done to.

use proptest::prelude::*;
use styx::buffer::{Buffer, Output};
use styx::encode::{RREAD_HEADER, begin_read, end_read};

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<u8>),
    /// Room, of which all is written.
    Room(usize, u8),
    Cut(usize),
    TakeOff(usize),
    /// What begins there, so much of it.
    TakeOut(usize, usize),
    Clear,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..40).prop_map(Step::Append),
        (0..300usize, any::<u8>()).prop_map(|(count, value)| Step::Room(count, value)),
        (0..400usize).prop_map(Step::Cut),
        (0..100usize).prop_map(Step::TakeOff),
        (0..200usize, 0..100usize).prop_map(|(start, count)| Step::TakeOut(start, count)),
        Just(Step::Clear),
    ]
}

fn write_room(out: &mut impl Output, count: usize, value: u8) {
    let start = out.end();
    out.append_room(count);
    out.bytes_mut()[start..].fill(value);
}

proptest! {
    #[test]
    fn it_is_a_vec(steps in proptest::collection::vec(step(), 0..60)) {
        let (mut buffer, mut vec) = (Buffer::new(), Vec::new());
        for step in steps {
            match step {
                Step::Append(bytes) => {
                    buffer.append(&bytes);
                    vec.append(&mut bytes.clone());
                }
                Step::Room(count, value) => {
                    write_room(&mut buffer, count, value);
                    write_room(&mut vec, count, value);
                }
                Step::Cut(end) => {
                    buffer.cut(end);
                    vec.cut(end);
                }
                Step::TakeOff(count) => {
                    let count = count.min(vec.len());
                    buffer.take_off(count);
                    vec.drain(..count);
                }
                Step::TakeOut(start, count) => {
                    let start = start.min(vec.len());
                    let range = start..vec.len().min(start + count);
                    buffer.take_out(range.clone());
                    vec.drain(range);
                }
                Step::Clear => {
                    buffer.clear();
                    vec.clear();
                }
            }
            prop_assert_eq!(&buffer[..], &vec[..]);
            prop_assert_eq!(buffer.end(), vec.end());
        }
    }
}

#[test]
fn cleared_it_keeps_its_memory() {
    let mut buffer = Buffer::new();
    assert_eq!(buffer.memory(), 0);
    buffer.append_room(100_000);
    let memory = buffer.memory();
    buffer.clear();
    buffer.append_room(100_000);
    assert_eq!(buffer.memory(), memory);
}

/// Where a copy to it is slow on some processors: up to 31 bytes further into its page than what is copied,
/// which for pieces of files is the start of one.
#[test]
fn data_of_a_read_do_not_begin_in_the_first_bytes_of_a_page() {
    for count in [4096, 8192, 131_072] {
        let mut buffer = Buffer::new();
        for _ in 0..64 {
            let start = begin_read(&mut buffer, 1, count);
            let data = &buffer[start + RREAD_HEADER..];
            assert!(data.as_ptr().addr() % 4096 >= 32, "{count}");
            end_read(&mut buffer, start, count);
        }
        buffer.clear();
        begin_read(&mut buffer, 1, count);
        assert_eq!(buffer[RREAD_HEADER..].as_ptr().addr() % 64, 0, "the first begin a cache line");
    }
}
