//! Tests of the encoding of columns: round trips, and bytes that no encoder wrote.

use proptest::prelude::*;

use super::*;
use crate::Histogram;

fn row(values: &[Option<f64>], sum: Option<f64>, hists: &[u32]) -> FragmentRow {
    let mut row = FragmentRow { rank: 7, present: vec![0; values.len().div_ceil(64)], ..FragmentRow::default() };
    for (step, value) in values.iter().enumerate() {
        row.values.push(value.unwrap_or(0.0));
        row.present[step / 64] |= u64::from(value.is_some()) << (step % 64);
    }
    row.sum = sum.map(|lost| {
        let lost = values.iter().map(|value| value.map_or(0.0, |_| lost)).collect();
        let terms = Terms { count: 3, magnitude: 5.0, smallest: 0.25 };
        Box::new(PartialSum { lost, terms, special: vec![(0, f64::INFINITY)] })
    });
    let histogram = |step: &u32| (*step, Arc::new(Histogram { count: f64::from(*step), ..Histogram::default() }));
    row.hists = hists.iter().map(histogram).collect();
    row
}

fn decoded(bytes: &[u8], steps: usize) -> Result<Vec<FragmentRow>, Malformed> {
    decode(bytes, steps, |_| Ok(()))
}

fn encoded(rows: &[FragmentRow]) -> Vec<u8> {
    let mut out = Vec::new();
    encode(rows, &mut out);
    out
}

proptest! {
    #[test]
    fn rows_round_trip(
        values in prop::collection::vec(prop::option::of(-1e9..1e9f64), 1..140),
        sum in prop::option::of(-1.0..1.0f64),
        has_histogram in any::<bool>(),
    ) {
        let hists: &[u32] = if has_histogram { &[0] } else { &[] };
        let rows = vec![row(&values, sum, hists), row(&vec![Some(1.5); values.len()], None, &[])];
        prop_assert_eq!(decoded(&encoded(&rows), values.len()).unwrap(), rows);
    }

    #[test]
    fn hostile_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), steps in 0usize..200) {
        let _ = decoded(&bytes, steps);
    }

    #[test]
    fn truncated_bytes_are_refused(cut in 1usize..40) {
        let bytes = encoded(&[row(&[Some(1.0), None, Some(3.0)], Some(0.5), &[1])]);
        prop_assert!(decoded(&bytes[..bytes.len().saturating_sub(cut)], 3).is_err());
    }
}

#[test]
fn rows_over_other_steps_are_refused() {
    let bytes = encoded(&[row(&[Some(1.0), None, Some(3.0)], None, &[])]);
    assert!(decoded(&bytes, 3).is_ok());
    assert!(decoded(&bytes, 2).is_err());
    assert!(decoded(&bytes, 400).is_err());
}

#[test]
fn memory_is_taken_before_it_is_allocated() {
    let bytes = encoded(&[row(&[None; 64], None, &[])]);
    let refused = decode(&bytes, 64, |bytes| if bytes > 500 { Err(Malformed("too much")) } else { Ok(()) });
    assert_eq!(refused, Err(Malformed("too much")));
}
