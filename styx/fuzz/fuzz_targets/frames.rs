//! A stream of bytes.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| styx_fuzz::frames(data));
