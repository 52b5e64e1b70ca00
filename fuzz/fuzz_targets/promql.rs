//! libFuzzer's entry to [`pharos_fuzz::promql`].
#![no_main]

libfuzzer_sys::fuzz_target!(init: pharos_fuzz::write_seeds_if_asked("promql"), |data: &[u8]| pharos_fuzz::promql::run(data));
