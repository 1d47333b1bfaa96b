//! A line of quoted words.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| styx_fuzz::words(data));
