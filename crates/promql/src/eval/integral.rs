//! `integral`: the area below the floats of a window, by one of three rules.

use pharos_histogram::kahan_inc;

/// How the value between two samples is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Rule {
    /// The earlier sample.
    Left,
    /// The later sample.
    Right,
    /// The mean of both.
    #[default]
    Trapezoidal,
}

impl Rule {
    /// The rule that an argument of `integral` stands for.
    pub(crate) fn of_strategy(strategy: f64) -> Option<Self> {
        [Rule::Left, Rule::Right, Rule::Trapezoidal]
            .into_iter()
            .zip(0u8..)
            .find_map(|(rule, number)| (strategy == f64::from(number)).then_some(rule))
    }
}

/// The integral over time in seconds. A sample that is not a number counts as zero.
pub(crate) fn over(t: &[i64], v: &[f64], rule: Rule) -> f64 {
    let number = |v: f64| if v.is_nan() { 0.0 } else { v };
    let (mut sum, mut compensation) = (0.0, 0.0);
    for (times, values) in t.windows(2).zip(v.windows(2)) {
        let (before, now) = (number(values[0]), number(values[1]));
        let (value, lost) = match rule {
            Rule::Left => (before, 0.0),
            Rule::Right => (now, 0.0),
            Rule::Trapezoidal => mean(before, now),
        };
        if value != 0.0 || lost != 0.0 {
            let seconds = (times[1] - times[0]) as f64 / 1000.0;
            (sum, compensation) = kahan_inc(value * seconds, sum, compensation + lost * seconds);
        }
    }
    if sum.is_infinite() { sum } else { sum + compensation }
}

/// The mean of two values and what rounding lost of it.
fn mean(a: f64, b: f64) -> (f64, f64) {
    let (sum, lost) = kahan_inc(b, a, 0.0);
    match sum.is_infinite() && !a.is_infinite() && !b.is_infinite() {
        true => kahan_inc(b / 2.0, a / 2.0, 0.0),
        false => (sum / 2.0, lost / 2.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: [i64; 3] = [0, 1000, 3000];

    #[test]
    fn each_rule_chooses_its_value_between_two_samples() {
        for (strategy, area) in [(0.0, 1.0 + 2.0 * 3.0), (1.0, 3.0 + 2.0 * 5.0), (2.0, 2.0 + 2.0 * 4.0)] {
            let rule = Rule::of_strategy(strategy).unwrap();
            assert_eq!(over(&TIMES, &[1.0, 3.0, 5.0], rule), area);
        }
        for unknown in [-1.0, 0.5, 3.0, f64::NAN, f64::INFINITY] {
            assert_eq!(Rule::of_strategy(unknown), None);
        }
    }

    #[test]
    fn what_is_not_a_number_counts_as_zero() {
        assert_eq!(over(&TIMES, &[f64::NAN, 4.0, f64::NAN], Rule::Trapezoidal), 2.0 + 2.0 * 2.0);
        assert_eq!(over(&TIMES[..1], &[4.0], Rule::Left), 0.0);
    }

    #[test]
    fn huge_values_do_not_overflow() {
        assert_eq!(over(&[0, 1000], &[f64::MAX, f64::MAX], Rule::Trapezoidal), f64::MAX);
        assert_eq!(over(&[0, 1000], &[f64::INFINITY, 1.0], Rule::Trapezoidal), f64::INFINITY);
    }
}
