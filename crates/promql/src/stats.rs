//! What a query did: its figures as a whole, and in the terms of Prometheus's `stats=all`.

use std::time::Duration;

/// What a query did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryStats {
    /// Samples that were read from the source.
    pub samples_read: u64,
    /// Most samples that were held at a time (`peakSamples`).
    pub peak_samples: u64,
    /// Series that were selected.
    pub series: u64,
    /// Most bytes that were taken from the budget at a time.
    pub peak_bytes: u64,
    /// Bytes that sources read from files or objects, as far as they say.
    pub bytes_read: u64,
    /// Requests in which they read them.
    pub requests: u64,
    /// Samples that all steps together looked at (`totalQueryableSamples`): of an instant selector one a series and
    /// step, of a range vector all samples of each window, of a subquery under a function the points of each window. A
    /// histogram counts for as many samples as its memory would hold in Prometheus.
    pub queryable_samples: u64,
    /// The same by step, with the step's time in milliseconds (`totalQueryableSamplesPerStep`); empty unless
    /// [`QueryOptions::samples_per_step`](crate::QueryOptions::samples_per_step) asks for it.
    pub queryable_samples_per_step: Vec<(i64, u64)>,
    /// Where the time went.
    pub timings: Timings,
}

/// Where the time of a query went, by the names of Prometheus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// All of the evaluation: preparation, inner evaluation and sorting (`evalTotalTime`).
    pub eval_total: Duration,
    /// Sorting of the result (`resultSortTime`).
    pub result_sort: Duration,
    /// Planning (`queryPreparationTime`).
    pub preparation: Duration,
    /// Reading and computing (`innerEvalTime`).
    pub inner_eval: Duration,
    /// Waiting for a turn (`execQueueTime`): zero from the engine, which has no queue; its caller adds it.
    pub exec_queue: Duration,
    /// Everything (`execTotalTime`): from the engine the same as `eval_total`; its caller adds the waiting.
    pub exec_total: Duration,
}
