//! Dial strings, and networks that may connect.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dsfs_fuzz::address(data));
