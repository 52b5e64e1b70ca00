//! Selectors, label names and values, and how few requests they take.

use pharos_model::{MatchOp, Matcher};

use super::*;
use crate::BlockError;

fn some_series() -> Vec<TestSeries> {
    let mut series = Vec::new();
    for (name, job, extra) in [
        ("up", "node", None),
        ("up", "api", None),
        ("requests", "api", Some(("code", "200"))),
        ("requests", "api", Some(("code", "500"))),
        ("load", "node", Some(("rare", "é"))),
    ] {
        let mut pairs = vec![("__name__", name), ("job", job)];
        pairs.extend(extra);
        series.push(TestSeries::floats(&pairs, vec![10, 20], vec![1.0, 2.0]));
    }
    // Enough without the label "rare" to keep it out of the columns.
    series
        .extend((0..30).map(|i| TestSeries::floats(&[("__name__", "z"), ("i", &i.to_string())], vec![100], vec![0.0])));
    series
}

#[test]
fn matchers_select_what_a_naive_scan_does() {
    let mut series = some_series();
    let block = write(options(), &mut series);
    let m = |op, name: &str, value: &str| Matcher::new(op, name, value).unwrap();
    use MatchOp::{Equal, NotEqual, NotRegex, Regex};
    let selectors = [
        vec![],
        vec![m(Equal, "__name__", "up")],
        vec![m(Equal, "__name__", "up"), m(Equal, "job", "api")],
        vec![m(Equal, "rare", "é")],
        vec![m(Regex, "rare", ".+")],
        vec![m(Equal, "rare", "")],
        vec![m(NotEqual, "rare", "é"), m(NotEqual, "job", "")],
        vec![m(NotRegex, "code", "5..")],
        vec![m(Regex, "code", "(200|)"), m(Regex, "__name__", "requests|load")],
        vec![m(Equal, "nothing", "x")],
        vec![m(NotEqual, "nothing", "x")],
        vec![m(Equal, "job", "nowhere")],
    ];
    run(async {
        let reader = reader(&block).await;
        for matchers in selectors {
            let selection = reader.select(&matchers, TimeRange::ALL, 0).await.unwrap();
            let keep = |one: &&TestSeries| matchers.iter().all(|m| m.matches(one.labels.get(&m.name).unwrap_or("")));
            let expected: Vec<Labels> = series.iter().filter(keep).map(|one| one.labels.clone()).collect();
            assert_eq!(selection.labels(), expected, "{matchers:?}");
        }
        let late = reader.select(&[], TimeRange::new(50, 200), 0).await.unwrap();
        assert_eq!(late.len(), 30);
        let error = reader.select(&[], TimeRange::ALL, 5).await.err();
        assert!(matches!(error, Some(BlockError::TooManySeries(5))));
        let hashed = reader.select(&[m(Equal, "job", "node")], TimeRange::ALL, 0).await.unwrap();
        assert!(
            (0..hashed.len())
                .all(|at| hashed.hash(at) == series_hash(&TenantId::default(), hashed.labels()[at].as_bytes()))
        );
        assert_eq!(hashed.clone().filter(|labels, _| labels.metric_name() == "up").len(), 1);
        assert_eq!(reader.label_names(&[], TimeRange::ALL).await.unwrap(), ["__name__", "code", "i", "job", "rare"]);
        assert_eq!(
            reader.label_names(&[m(Equal, "__name__", "load")], TimeRange::ALL).await.unwrap(),
            ["__name__", "job", "rare"]
        );
        assert_eq!(reader.label_values("code", &[], TimeRange::ALL).await.unwrap(), ["200", "500"]);
        assert_eq!(reader.label_values("rare", &[], TimeRange::ALL).await.unwrap(), ["é"]);
        assert_eq!(
            reader.label_values("job", &[m(Equal, "__name__", "load")], TimeRange::ALL).await.unwrap(),
            ["node"]
        );
        assert!(reader.label_values("nothing", &[], TimeRange::ALL).await.unwrap().is_empty());
    });
}
