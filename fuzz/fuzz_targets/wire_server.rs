#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pq_fuzz_targets::wire_server(data));
