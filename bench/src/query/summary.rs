//! What the runs of a query amount to.

use std::time::Duration;

use serde::Serialize;
use serde::ser::SerializeMap;

use crate::api::Row;
use crate::error::Error;

/// The timings and the result of a query.
#[derive(Debug)]
pub(super) struct Summary {
    name: String,
    /// Milliseconds of each timed run.
    times_ms: Vec<f64>,
    cpu_ms_per_run: f64,
    pub(super) content: Content,
    error: Option<String>,
}

/// The size of a result and the sum of its finite values: equal where two servers agree.
#[derive(Serialize, Debug, Default, PartialEq)]
pub(super) struct Content {
    series: usize,
    points: usize,
    sum: f64,
}

impl Content {
    pub(super) fn of(rows: &[Row]) -> Self {
        let values = || rows.iter().flat_map(Row::points).map(|(_, value)| value);
        Content { series: rows.len(), points: values().count(), sum: values().filter(|value| value.is_finite()).sum() }
    }
}

impl Summary {
    pub(super) fn new(name: &str) -> Self {
        let content = Content::default();
        Summary { name: name.to_string(), times_ms: Vec::new(), cpu_ms_per_run: 0.0, content, error: None }
    }

    /// Adds a timed run.
    pub(super) fn took(&mut self, time: Duration) {
        self.times_ms.push(time.as_secs_f64() * 1000.0);
        self.times_ms.sort_by(f64::total_cmp);
    }

    /// The server refused the query.
    pub(super) fn refused(&mut self, error: &Error) {
        self.error = Some(error.to_string());
    }

    /// Charges the server's CPU time to the runs.
    pub(super) fn set_cpu(&mut self, seconds: f64, runs: u32) {
        self.cpu_ms_per_run = seconds * 1000.0 / f64::from(runs.max(1));
    }
}

impl Serialize for Summary {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("name", &self.name)?;
        map.serialize_entry("p50_ms", &self.times_ms.get(self.times_ms.len() / 2))?;
        map.serialize_entry("min_ms", &self.times_ms.first())?;
        map.serialize_entry("max_ms", &self.times_ms.last())?;
        map.serialize_entry("server_cpu_ms_per_run", &self.cpu_ms_per_run)?;
        map.serialize_entry("series", &self.content.series)?;
        map.serialize_entry("points", &self.content.points)?;
        map.serialize_entry("sum", &self.content.sum)?;
        map.serialize_entry("error", &self.error)?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn printed(summary: &Summary) -> Value {
        serde_json::to_value(summary).unwrap()
    }

    #[test]
    fn times_are_ordered_whatever_the_order_of_the_runs() {
        let mut summary = Summary::new("q");
        for ms in [30, 10, 20] {
            summary.took(Duration::from_millis(ms));
        }
        let printed = printed(&summary);
        assert_eq!(printed["min_ms"], 10.0);
        assert_eq!(printed["p50_ms"], 20.0);
        assert_eq!(printed["max_ms"], 30.0);
    }

    #[test]
    fn a_query_without_runs_has_no_times() {
        let printed = printed(&Summary::new("q"));
        assert_eq!(printed["p50_ms"], Value::Null);
        assert_eq!(printed["error"], Value::Null);
    }

    #[test]
    fn cpu_time_is_charged_to_each_run() {
        let mut summary = Summary::new("q");
        summary.set_cpu(0.5, 5);
        assert_eq!(printed(&summary)["server_cpu_ms_per_run"], 100.0);
    }

    #[test]
    fn values_that_are_not_finite_count_as_points_but_not_in_the_sum() {
        let row = json!({"metric": {}, "values": [[1, "1"], [2, "NaN"], [3, "+Inf"], [4, "2.5"]]});
        let rows: Vec<Row> = vec![serde_json::from_value(row).unwrap()];
        assert_eq!(Content::of(&rows), Content { series: 1, points: 4, sum: 3.5 });
    }
}
