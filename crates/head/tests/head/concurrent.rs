//! Writers, readers and a flusher that run concurrently.

use std::sync::atomic::{AtomicBool, Ordering};

use pharos_head::HeadConfig;
use pharos_model::{ShardSet, TimeRange};

use crate::support::*;

const WRITERS: u32 = 3;
const ROUNDS: i64 = 400;

#[test]
fn concurrent_appends_selects_and_cuts_see_every_sample_once() {
    let fs = MemFs::default();
    // Wide enough that a writer which falls behind is never too old.
    let any_order = HeadConfig { out_of_order_window_ms: ROUNDS * 30_000, ..config() };
    let head = try_open(&fs, any_order.clone()).unwrap();
    let done = AtomicBool::new(false);
    let flushed = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let head = &head;
                scope.spawn(move || {
                    for i in 0..ROUNDS {
                        let samples: Vec<_> = (0..8).map(|s| (writer * 8 + s, i * 30_000, i as f64)).collect();
                        assert_eq!(append(head, &samples).samples, 8);
                    }
                })
            })
            .collect();
        let reader = scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                read_all(&head);
                read(&head, TimeRange::new(0, 3_000_000), Some(&ShardSet::from_iter(0..32)));
                read_unflushed(&head);
            }
        });
        let flusher = scope.spawn(|| {
            let mut flushed = Samples::new();
            while !done.load(Ordering::SeqCst) {
                for window in head.windows(&tenant()) {
                    let cut = head.cut(&tenant(), window.start, &all_shards());
                    let visited: Result<(), ()> = cut.for_each(|s| {
                        for (t, v) in s.samples.t.iter().zip(s.samples.v) {
                            let twice = flushed.insert((s.labels.clone(), *t), v.to_bits());
                            assert!(twice.is_none(), "a sample is in one cut only");
                        }
                        Ok(())
                    });
                    visited.unwrap();
                    head.mark_flushed(&cut).wait().unwrap();
                    if window.start == 0 {
                        head.evict_flushed(&tenant(), 0, &all_shards()).unwrap();
                    }
                }
                std::thread::yield_now();
            }
            flushed
        });
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        done.store(true, Ordering::SeqCst);
        reader.join().unwrap();
        flusher.join().unwrap()
    });
    let unflushed = read_unflushed(&head);
    assert_eq!(flushed.len() + unflushed.len(), (WRITERS as i64 * 8 * ROUNDS) as usize);
    drop(head);
    let head = try_open(&fs, any_order).unwrap();
    assert_eq!(read_unflushed(&head), unflushed);
}
