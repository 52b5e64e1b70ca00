//! Divides the steps of a fragment among the places where they are evaluated. Pure.

use pharos_model::fragment::Steps;
use pharos_promql::fragment::QueryFragment;
use pharos_transport::Completeness;

use crate::cluster::route::StoreRange;

/// Where steps are evaluated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Site {
    /// By the ingesters: they have all samples that the steps read.
    Ingesters,
    /// By one store: all samples that the steps read are in blocks.
    Store(StoreRange),
    /// By this node on fetched samples: the steps read across the seam.
    Local,
}

/// A run of steps that is evaluated in one place.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Segment {
    pub(super) site: Site,
    pub(super) steps: Steps,
}

/// Divides the steps of a fragment. `None` when they would have to be divided and the result could differ then.
pub(super) fn segments(
    fragment: &QueryFragment,
    times: Steps,
    complete: &Completeness,
    store_ranges: &[StoreRange],
) -> Option<Vec<Segment>> {
    let site = |step: i64| {
        let reads = fragment.reads(step);
        if reads.start >= complete.from {
            return Site::Ingesters;
        }
        match store_ranges.iter().find(|store_range| store_range.range.contains(step)) {
            Some(store_range) if reads.end < complete.unflushed_from => Site::Store(*store_range),
            _ => Site::Local,
        }
    };
    let mut found: Vec<Segment> = Vec::new();
    let mut step = times.start;
    loop {
        let site = site(step);
        match found.last_mut() {
            Some(last) if last.site == site => last.steps.end = step,
            _ => found.push(Segment { site, steps: Steps { start: step, end: step, step: times.step } }),
        }
        match step.checked_add(times.step) {
            Some(next) if times.step > 0 && next <= times.end => step = next,
            _ => break,
        }
    }
    if found.len() > 1 {
        // A range of one step must not be taken for an instant, so its end is moved past its start.
        let widen = |steps: &mut Steps| steps.end = steps.start + steps.step - 1;
        found.iter_mut().map(|s| &mut s.steps).filter(|s| s.start == s.end && s.step > 1).for_each(widen);
        return fragment.may_split.then_some(found);
    }
    found.iter_mut().for_each(|segment| segment.steps = times);
    Some(found)
}

#[cfg(test)]
mod tests {
    use pharos_model::TimeRange;
    use pharos_promql::{fragment, syntax};

    use super::*;

    const MINUTE: i64 = 60_000;
    const TIMES: Steps = Steps { start: 0, end: 10 * MINUTE, step: MINUTE };
    /// Ingesters have everything from minute 5 on, blocks everything before minute 6.
    const COMPLETE: Completeness = Completeness { from: 5 * MINUTE, unflushed_from: 6 * MINUTE, version: 1 };

    fn fragment_of(text: &str) -> QueryFragment {
        fragment::of_query(&syntax::parse(text).unwrap(), TIMES, 5 * MINUTE).unwrap().remove(0)
    }

    fn store_range() -> StoreRange {
        StoreRange { range: TimeRange::new(0, 20 * MINUTE), key: 0 }
    }

    #[test]
    fn steps_are_divided_by_the_samples_that_they_read() {
        let found = segments(&fragment_of("sum(rate(x[2m]))"), TIMES, &COMPLETE, &[store_range()]).unwrap();
        let sites: Vec<Site> = found.iter().map(|segment| segment.site).collect();
        assert_eq!(sites, [Site::Store(store_range()), Site::Local, Site::Ingesters]);
        let starts: Vec<i64> = found.iter().map(|segment| segment.steps.start / MINUTE).collect();
        assert_eq!(starts, [0, 6, 7]);
    }

    #[test]
    fn a_single_step_of_a_range_stays_a_range() {
        let found = segments(&fragment_of("sum(rate(x[2m]))"), TIMES, &COMPLETE, &[store_range()]).unwrap();
        assert_eq!(found[1].steps, Steps { start: 6 * MINUTE, end: 7 * MINUTE - 1, step: MINUTE });
    }

    #[test]
    fn complete_ingesters_evaluate_all_steps() {
        let all = Completeness { from: i64::MIN, ..COMPLETE };
        let found = segments(&fragment_of("sum(rate(x[2m]))"), TIMES, &all, &[store_range()]).unwrap();
        assert_eq!(found, [Segment { site: Site::Ingesters, steps: TIMES }]);
    }

    #[test]
    fn an_instant_stays_an_instant() {
        let instant = Steps { start: 5, end: 5, step: 0 };
        let fragment = fragment_of("sum(rate(x[2m]))");
        let found = segments(&fragment, instant, &Completeness::UNKNOWN, &[store_range()]).unwrap();
        assert_eq!(found, [Segment { site: Site::Local, steps: instant }]);
    }

    #[test]
    fn without_a_store_range_older_steps_are_evaluated_here() {
        let found = segments(&fragment_of("sum(rate(x[2m]))"), TIMES, &COMPLETE, &[]).unwrap();
        assert_eq!(found.first().map(|segment| segment.site), Some(Site::Local));
    }

    #[test]
    fn a_fragment_that_may_not_be_split_is_not_divided() {
        let mut whole = fragment_of("sum(rate(x[2m]))");
        whole.may_split = false;
        assert_eq!(segments(&whole, TIMES, &COMPLETE, &[store_range()]), None);
        let all = Completeness { from: i64::MIN, ..COMPLETE };
        assert!(segments(&whole, TIMES, &all, &[store_range()]).is_some(), "one segment does not divide the steps");
    }
}
