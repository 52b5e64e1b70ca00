//! A summary metric: Prometheus exposes some durations with quantiles, which mixins and dashboards read.
//!
//! Quantiles are exact over the last [`KEPT`] observations, rather than approximate over the last ten minutes.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{LabelPair, Metric, MetricFamily, MetricType, Quantile, Summary as SummaryProto};

/// The number of observations that quantiles cover.
const KEPT: usize = 1024;

/// A summary, with the values of one label or without labels. Clones share their observations.
#[derive(Clone)]
pub(crate) struct Summary {
    desc: Desc,
    label: Option<&'static str>,
    quantiles: &'static [f64],
    observed: Arc<Mutex<HashMap<String, Observed>>>,
}

#[derive(Default)]
struct Observed {
    count: u64,
    sum: f64,
    last: VecDeque<f64>,
}

impl Summary {
    /// A summary without observations.
    ///
    /// # Errors
    /// The name is not valid.
    pub(crate) fn new(
        name: &str,
        help: &str,
        label: Option<&'static str>,
        quantiles: &'static [f64],
    ) -> Result<Self, prometheus::Error> {
        let labels = label.into_iter().map(str::to_string).collect();
        let desc = Desc::new(name.to_string(), help.to_string(), labels, HashMap::new())?;
        let summary = Summary { desc, label, quantiles, observed: Arc::default() };
        if label.is_none() {
            summary.observed.lock().insert(String::new(), Observed::default());
        }
        Ok(summary)
    }

    /// Adds an observation for a value of the label, which is empty without one.
    pub(crate) fn observe(&self, label: &str, value: f64) {
        let mut observed = self.observed.lock();
        let observed = match observed.get_mut(label) {
            Some(known) => known,
            None => observed.entry(label.to_string()).or_default(),
        };
        observed.count += 1;
        observed.sum += value;
        if observed.last.len() == KEPT {
            observed.last.pop_front();
        }
        observed.last.push_back(value);
    }

    /// Removes the observations of a value of the label.
    pub(crate) fn remove(&self, label: &str) {
        self.observed.lock().remove(label);
    }

    fn metric(&self, label: &str, observed: &Observed) -> Metric {
        let mut sorted: Vec<f64> = observed.last.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        let quantile = |rank: f64| {
            let at = (rank * sorted.len() as f64).ceil() as usize;
            let mut quantile = Quantile::default();
            quantile.set_quantile(rank);
            quantile.set_value(sorted.get(at.saturating_sub(1)).copied().unwrap_or(f64::NAN));
            quantile
        };
        let mut summary = SummaryProto::default();
        summary.set_sample_count(observed.count);
        summary.set_sample_sum(observed.sum);
        summary.set_quantile(self.quantiles.iter().copied().map(quantile).collect());
        let mut metric = Metric::default();
        if let Some(name) = self.label {
            let mut pair = LabelPair::default();
            pair.set_name(name.to_string());
            pair.set_value(label.to_string());
            metric.set_label(vec![pair]);
        }
        metric.set_summary(summary);
        metric
    }
}

impl Collector for Summary {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let observed = self.observed.lock();
        let mut labels: Vec<&String> = observed.keys().collect();
        labels.sort();
        if labels.is_empty() {
            return Vec::new();
        }
        let mut family = MetricFamily::default();
        family.set_name(self.desc.fq_name.clone());
        family.set_help(self.desc.help.clone());
        family.set_field_type(MetricType::SUMMARY);
        let metrics: Vec<Metric> =
            labels.into_iter().filter_map(|label| Some(self.metric(label, observed.get(label)?))).collect();
        family.set_metric(metrics);
        vec![family]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(summary: &Summary) -> String {
        prometheus::TextEncoder::new().encode_to_string(&summary.collect()).unwrap()
    }

    #[test]
    fn quantiles_are_those_of_the_last_observations() {
        let summary = Summary::new("s_seconds", "Help.", None, &[0.5, 0.9]).unwrap();
        (1..=10).for_each(|value| summary.observe("", f64::from(value)));
        let text = text(&summary);
        for line in [
            "s_seconds{quantile=\"0.5\"} 5\n",
            "s_seconds{quantile=\"0.9\"} 9\n",
            "s_seconds_sum 55\n",
            "s_seconds_count 10\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }

    #[test]
    fn each_value_of_the_label_has_quantiles_of_its_own() {
        let summary = Summary::new("s_seconds", "Help.", Some("to"), &[0.5]).unwrap();
        summary.observe("a", 1.0);
        summary.observe("b", 2.0);
        summary.remove("a");
        let text = text(&summary);
        assert!(text.contains("s_seconds{to=\"b\",quantile=\"0.5\"} 2\n"), "{text}");
    }

    #[test]
    fn the_number_of_kept_observations_is_bounded() {
        let summary = Summary::new("s_seconds", "Help.", None, &[0.5]).unwrap();
        (0..KEPT * 2).for_each(|value| summary.observe("", value as f64));
        assert_eq!(summary.observed.lock()[""].last.len(), KEPT);
        assert_eq!(summary.observed.lock()[""].count, 2 * KEPT as u64);
    }
}
