//! What a server does, reply after reply.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| styx_fuzz::client(data));
