//! libFuzzer's entry to [`pharos_fuzz::block`].
#![no_main]

libfuzzer_sys::fuzz_target!(init: pharos_fuzz::write_seeds_if_asked("block"), |data: &[u8]| pharos_fuzz::block::run(data));
