//! libFuzzer's entry to [`pharos_fuzz::remote_write`].
#![no_main]

libfuzzer_sys::fuzz_target!(init: pharos_fuzz::write_seeds_if_asked("remote_write"), |data: &[u8]| pharos_fuzz::remote_write::run(data));
