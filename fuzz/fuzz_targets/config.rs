//! The configuration of a state directory.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dsfs_fuzz::config(data));
