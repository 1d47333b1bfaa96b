//! What a client does, message after message.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| styx_fuzz::session(data));
