//! Detection of counter resets between two histograms.

use crate::bounds::{bucket_bound, exponential_bound};
use crate::combine::{same_bounds, zero_bucket_at};
use crate::histogram::{CUSTOM_BUCKETS_SCHEMA, CounterReset, Histogram};
use crate::layout::{Side, indexed};

impl Histogram {
    /// The counter-reset hint with which storage returns the histogram. `previous` is the previous sample of the series, if
    /// it is known and a histogram.
    ///
    /// A gauge stays one, and a histogram that continues `previous` says so. Anything else is unknown: as in Prometheus,
    /// readers compare instead of relying on the resets that writers announce.
    pub fn hint_when_read(&self, previous: Option<&Histogram>) -> CounterReset {
        match previous {
            _ if self.counter_reset == CounterReset::Gauge => CounterReset::Gauge,
            Some(previous) if self.continues(previous) => CounterReset::NotReset,
            _ => CounterReset::Unknown,
        }
    }

    fn continues(&self, before: &Histogram) -> bool {
        if self.counter_reset == CounterReset::Reset || before.counter_reset == CounterReset::Gauge || before.is_stale()
        {
            return false;
        }
        let unhinted = || Histogram { counter_reset: CounterReset::Unknown, ..self.clone() };
        self.is_stale()
            || self.schema == before.schema
                && self.zero_threshold == before.zero_threshold
                && (!self.has_custom_buckets() || self.custom_values == before.custom_values)
                && !unhinted().detect_reset(before)
    }

    /// Whether the counter was reset between `previous` and this histogram of the same series: a count went down, a
    /// populated bucket vanished, the resolution became finer, or the zero bucket became narrower. A hint takes precedence.
    pub fn detect_reset(&self, previous: &Histogram) -> bool {
        match self.counter_reset {
            CounterReset::Reset => return true,
            CounterReset::NotReset => return false,
            CounterReset::Unknown | CounterReset::Gauge => {}
        }
        if self.count < previous.count {
            return true;
        }
        if self.has_custom_buckets() {
            if !previous.has_custom_buckets() {
                return true;
            }
            if !same_bounds(&self.custom_values, &previous.custom_values) {
                return self.shrank_at_shared_bounds(previous);
            }
        }
        if self.schema > previous.schema || self.zero_threshold < previous.zero_threshold {
            return true;
        }
        let before = [
            (&previous.positive_spans, &previous.positive_buckets),
            (&previous.negative_spans, &previous.negative_buckets),
        ];
        let now = [(&self.positive_spans, &self.positive_buckets), (&self.negative_spans, &self.negative_buckets)];
        if !self.has_custom_buckets() && self.zero_threshold > previous.zero_threshold {
            let sides = before.map(|(spans, counts)| indexed(spans, counts));
            let (zero, threshold) = zero_bucket_at(previous.zero_count, previous.schema, sides, self.zero_threshold);
            if threshold != self.zero_threshold || self.zero_count < zero {
                return true;
            }
        } else if self.zero_count < previous.zero_count {
            return true;
        }
        now.iter().zip(before).any(|((spans, counts), (spans_before, counts_before))| {
            let now = indexed(spans, counts);
            if self.schema == previous.schema {
                self.side_shrank(now, indexed(spans_before, counts_before))
            } else {
                let coarser = Side::reduced(indexed(spans_before, counts_before), previous.schema, self.schema);
                self.side_shrank(now, coarser.iter())
            }
        })
    }

    /// Whether the count of a bucket outside the zero bucket went down. Both sides ascend and have this schema.
    fn side_shrank(&self, now: impl Iterator<Item = (i64, f64)>, before: impl Iterator<Item = (i64, f64)>) -> bool {
        let custom = self.schema == CUSTOM_BUCKETS_SCHEMA;
        let inside = |index: i64| !custom && exponential_bound(index, self.schema) <= self.zero_threshold;
        let mut now = now.skip_while(|(index, _)| inside(*index)).peekable();
        for (index, count_before) in before.skip_while(|(index, _)| inside(*index)) {
            while now.next_if(|(at, _)| *at < index).is_some() {}
            let shrank = match now.peek() {
                Some(&(at, count)) if at == index => count < count_before,
                _ => count_before != 0.0,
            };
            if shrank {
                return true;
            }
        }
        false
    }

    /// Whether a count went down at the custom bounds that both histograms have in common.
    fn shrank_at_shared_bounds(&self, previous: &Histogram) -> bool {
        let upper = |index: i64, h: &Histogram| bucket_bound(index, CUSTOM_BUCKETS_SCHEMA, &h.custom_values);
        let mut now = indexed(&self.positive_spans, &self.positive_buckets).peekable();
        let mut before = indexed(&previous.positive_spans, &previous.positive_buckets).peekable();
        let mut bounds_before = previous.custom_values.iter().chain([&f64::INFINITY]).peekable();
        for bound in self.custom_values.iter().chain([&f64::INFINITY]) {
            while bounds_before.next_if(|other| *other < bound).is_some() {}
            if bounds_before.next_if(|other| *other == bound).is_none() {
                continue;
            }
            let mut total = 0.0;
            let mut total_before = 0.0;
            while let Some((_, count)) = now.next_if(|(index, _)| upper(*index, self) <= *bound) {
                total += count;
            }
            while let Some((_, count)) = before.next_if(|(index, _)| upper(*index, previous) <= *bound) {
                total_before += count;
            }
            if total < total_before {
                return true;
            }
        }
        false
    }
}
