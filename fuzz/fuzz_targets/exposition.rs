//! libFuzzer's entry to [`pharos_fuzz::exposition`].
#![no_main]

libfuzzer_sys::fuzz_target!(init: pharos_fuzz::write_seeds_if_asked("exposition"), |data: &[u8]| pharos_fuzz::exposition::run(data));
