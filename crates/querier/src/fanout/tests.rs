use std::sync::Mutex;

use pharos_transport::Completeness;

use super::*;

/// A source with one series that has a sample every ten milliseconds of a range; remembers what it was asked.
struct Fixed {
    has: TimeRange,
    value: f64,
    complete_from: i64,
    asked: Mutex<Vec<TimeRange>>,
    fails: bool,
}

impl Fixed {
    fn new(has: (i64, i64), value: f64, complete_from: i64) -> Arc<Fixed> {
        let has = TimeRange::new(has.0, has.1);
        Arc::new(Fixed { has, value, complete_from, asked: Mutex::default(), fails: false })
    }

    fn note(&self, range: TimeRange) -> Result<(), SelectError> {
        self.asked.lock().unwrap().push(range);
        if self.fails { Err(SelectError::Storage("away".into())) } else { Ok(()) }
    }
}

struct FixedSet(Vec<Labels>, TimeRange, f64);

impl SeriesSet for FixedSet {
    fn labels(&self) -> &[Labels] {
        &self.0
    }

    fn fetch(&self, series: Range<usize>, range: TimeRange, out: &mut SeriesBatch) -> Result<(), SelectError> {
        for _ in series {
            let range = range.intersect(&self.1);
            let t: Vec<i64> = (0..100).map(|i| i * 10).filter(|t| range.contains(*t)).collect();
            out.push(SeriesView { v: &vec![self.2; t.len()], t: &t, ..SeriesView::EMPTY });
        }
        Ok(())
    }
}

fn labels() -> Labels {
    Labels::from_pairs([("__name__", "m")])
}

impl SeriesSource for Fixed {
    fn completeness(&self, _: &Scope, lasting: Duration) -> Result<Completeness, SelectError> {
        let from = if lasting == Duration::MAX { i64::MAX } else { self.complete_from };
        Ok(Completeness { from, ..Completeness::UNKNOWN })
    }

    fn select(&self, _: &Scope, request: &SelectRequest, _: &Arc<Budget>) -> Result<Arc<dyn SeriesSet>, SelectError> {
        self.note(request.range)?;
        Ok(Arc::new(FixedSet(vec![labels()], self.has, self.value)))
    }

    fn series(&self, _: &Scope, _: &[Matcher], range: TimeRange, _: usize) -> Result<Vec<Labels>, SelectError> {
        self.note(range).map(|()| vec![labels()])
    }

    fn label_names(&self, _: &Scope, _: &[Matcher], range: TimeRange) -> Result<Vec<String>, SelectError> {
        self.note(range).map(|()| vec!["__name__".into()])
    }

    fn label_values(&self, _: &Scope, _: &str, _: &[Matcher], range: TimeRange) -> Result<Vec<String>, SelectError> {
        self.note(range).map(|()| vec!["m".into()])
    }

    fn exemplars(&self, _: &Scope, _: &[Matcher], range: TimeRange) -> Result<Vec<SeriesExemplars>, SelectError> {
        self.note(range).map(|()| Vec::new())
    }

    fn metadata(&self, _: &Scope) -> Result<Vec<(String, Metadata)>, SelectError> {
        Ok(Vec::new())
    }
}

fn querier(sources: [&Arc<Fixed>; 2]) -> TenantQuerier {
    let sources = sources.map(|source| source.clone() as Arc<dyn SeriesSource>);
    Fanout::new(sources.to_vec()).of_tenant(TenantId::default())
}

fn budget() -> Arc<Budget> {
    Arc::new(Budget::new(Arc::new(pharos_model::SystemClock::new()), Duration::from_secs(60), u64::MAX))
}

fn read(querier: &TenantQuerier, range: TimeRange, budget: &Arc<Budget>) -> Result<Vec<(i64, f64)>, SelectError> {
    let set = querier.select(&SelectRequest { matchers: Vec::new(), range, max_series: 0 }, budget)?;
    let mut out = SeriesBatch::default();
    set.fetch(0..set.labels().len(), range, &mut out)?;
    let view = out.view(0);
    Ok(view.t.iter().copied().zip(view.v.iter().copied()).collect())
}

#[test]
fn later_sources_are_asked_for_the_time_before_that_of_which_the_first_is_sure() {
    let (head, store) = (Fixed::new((200, 990), 1.0, 500), Fixed::new((0, 700), 2.0, i64::MAX));
    let samples = read(&querier([&head, &store]), TimeRange::new(100, 900), &budget()).unwrap();
    assert_eq!(*head.asked.lock().unwrap(), [TimeRange::new(100, 900)]);
    assert_eq!(*store.asked.lock().unwrap(), [TimeRange::new(100, 499)]);
    let expected: Vec<(i64, f64)> = (10..=90).map(|i| (i * 10, if i < 20 { 2.0 } else { 1.0 })).collect();
    assert_eq!(samples, expected, "the first has the higher authority, and nothing is missed at the seam");
}

#[test]
fn sources_that_are_not_needed_may_be_away() {
    let head = Fixed::new((0, 990), 1.0, i64::MIN);
    let mut store = Fixed::new((0, 990), 2.0, i64::MAX);
    Arc::get_mut(&mut store).unwrap().fails = true;
    let querier = querier([&head, &store]);
    let range = TimeRange::new(0, 900);
    assert_eq!(read(&querier, range, &budget()).unwrap().len(), 91);
    assert_eq!(querier.series(&[Vec::new()], range, 0).unwrap(), [labels()]);
    assert_eq!(querier.label_names(&[], TimeRange::ALL).unwrap(), ["__name__"]);
    assert_eq!(querier.label_values("__name__", &[], range).unwrap(), ["m"]);
    assert!(store.asked.lock().unwrap().is_empty());
    assert!(querier.exemplars(&[Vec::new()], range).is_err(), "of exemplars nobody has all");
    assert!(
        read(&querier, range, &Arc::new(Budget::unlimited())).is_err(),
        "a query without end may outlive any promise"
    );
}

#[test]
fn what_lies_before_is_asked_of_all() {
    let (head, store) = (Fixed::new((500, 990), 1.0, 500), Fixed::new((0, 490), 2.0, i64::MAX));
    let querier = querier([&head, &store]);
    assert_eq!(read(&querier, TimeRange::new(0, 400), &budget()).unwrap().len(), 41);
    querier.label_names(&[], TimeRange::ALL).unwrap();
    assert_eq!(*store.asked.lock().unwrap(), [TimeRange::new(0, 400), TimeRange::new(i64::MIN, 499)]);
}
