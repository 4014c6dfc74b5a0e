#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| whirligig_fuzz::event_parser::run(data));
