//! Saved configurations, in both dialects.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dsfs_fuzz::saved(data));
