//! A frame from a server.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| styx_fuzz::r_message(data));
