//! libFuzzer's entry to [`pharos_fuzz::answers`].
#![no_main]

libfuzzer_sys::fuzz_target!(init: pharos_fuzz::write_seeds_if_asked("answers"), |data: &[u8]| pharos_fuzz::answers::run(data));
