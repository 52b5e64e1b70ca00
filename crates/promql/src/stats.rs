//! The work of a query, in the terms of Prometheus's `stats=all`.

use std::time::Duration;

/// The work of a query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryStats {
    /// Samples read from the source.
    pub samples_read: u64,
    /// The largest number of samples held at a time (`peakSamples`).
    pub peak_samples: u64,
    /// Series selected.
    pub series: u64,
    /// The largest part of the memory budget taken at a time, bytes.
    pub peak_bytes: u64,
    /// Bytes that sources report to have read from files or objects.
    pub bytes_read: u64,
    /// Requests in which sources read those bytes.
    pub requests: u64,
    /// Samples that all steps looked at together (`totalQueryableSamples`). An instant selector counts one sample per
    /// series and step, a range vector all samples of each window, a subquery below a function the points of each window.
    /// A histogram counts as many samples as would fit into its memory in Prometheus.
    pub queryable_samples: u64,
    /// The same for each step, with the time of the step in milliseconds (`totalQueryableSamplesPerStep`); empty unless
    /// [`QueryOptions::samples_per_step`](crate::QueryOptions::samples_per_step) asks for it.
    pub queryable_samples_per_step: Vec<(i64, u64)>,
    /// Where the time was spent.
    pub timings: Timings,
}

/// Where the time of a query was spent, with the names of Prometheus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// The whole evaluation: preparation, inner evaluation and sorting (`evalTotalTime`).
    pub eval_total: Duration,
    /// Sorting of the result (`resultSortTime`).
    pub result_sort: Duration,
    /// Planning (`queryPreparationTime`).
    pub preparation: Duration,
    /// Reading and computing (`innerEvalTime`).
    pub inner_eval: Duration,
    /// Waiting for a permit (`execQueueTime`). The engine has no queue: its caller adds the time.
    pub exec_queue: Duration,
    /// Everything (`execTotalTime`). The engine sets it to `eval_total`, to which its caller adds the waiting.
    pub exec_total: Duration,
}
