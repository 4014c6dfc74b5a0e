#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| whirligig_fuzz::kernels::run(data));
