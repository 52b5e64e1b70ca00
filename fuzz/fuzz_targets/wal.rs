//! libFuzzer's entry to [`pharos_fuzz::wal`].
#![no_main]

libfuzzer_sys::fuzz_target!(init: pharos_fuzz::write_seeds_if_asked("wal"), |data: &[u8]| pharos_fuzz::wal::run(data));
