//! Name space files.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dsfs_fuzz::namespace(data));
