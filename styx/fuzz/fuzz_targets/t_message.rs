//! A frame from a client.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| styx_fuzz::t_message(data));
