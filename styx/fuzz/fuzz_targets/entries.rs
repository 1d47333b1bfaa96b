//! What was read from a directory, or came with a Twstat.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| styx_fuzz::entries(data));
