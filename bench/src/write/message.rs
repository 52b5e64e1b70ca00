//! The messages of remote write 1.0.

use prost::Message;

use super::plan::Batch;
use crate::error::Error;
use crate::fleet::Series;
use crate::timeline::Timeline;

/// `prometheus.WriteRequest`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<TimeSeries>,
}

/// `prometheus.TimeSeries`.
#[derive(Clone, PartialEq, Message)]
struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
}

/// `prometheus.Label`.
#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

/// `prometheus.Sample`.
#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    /// Milliseconds.
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

/// The labels of a series as messages, made once for all requests.
pub(super) struct WireLabels(Vec<Label>);

impl WireLabels {
    pub(super) fn of(series: &Series) -> Self {
        let label = |(name, value): &(String, String)| Label { name: name.clone(), value: value.clone() };
        WireLabels(series.labels.iter().map(label).collect())
    }
}

impl WriteRequest {
    /// The samples of a batch. `labels` are those of `fleet`, in its order.
    pub(super) fn new(fleet: &[Series], labels: &[WireLabels], timeline: &Timeline, batch: &Batch) -> Self {
        let sample =
            |series: &Series, step| Sample { value: series.value(step), timestamp: timeline.timestamp_ms(step) };
        let timeseries =
            fleet[batch.series.clone()].iter().zip(&labels[batch.series.clone()]).map(|(series, labels)| {
                let samples = batch.steps.clone().map(|step| sample(series, step)).collect();
                TimeSeries { labels: labels.0.clone(), samples }
            });
        WriteRequest { timeseries: timeseries.collect() }
    }

    /// The body of the request: the message as a snappy block.
    pub(super) fn compressed(&self) -> Result<Vec<u8>, Error> {
        Ok(snap::raw::Encoder::new().compress_vec(&self.encode_to_vec())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet;

    #[test]
    fn a_request_holds_the_samples_of_its_batch() {
        let fleet = fleet::host(0);
        let labels: Vec<_> = fleet.iter().map(WireLabels::of).collect();
        let timeline = Timeline::ending_at(150, 15, 10);
        let batch = Batch { series: 3..5, steps: 2..4 };
        let body = WriteRequest::new(&fleet, &labels, &timeline, &batch).compressed().unwrap();

        let message = snap::raw::Decoder::new().decompress_vec(&body).unwrap();
        let request = WriteRequest::decode(message.as_slice()).unwrap();
        assert_eq!(request.timeseries.len(), 2);
        let first = &request.timeseries[0];
        let names: Vec<_> = first.labels.iter().map(|label| (label.name.clone(), label.value.clone())).collect();
        assert_eq!(names, fleet[3].labels);
        let samples: Vec<_> = first.samples.iter().map(|sample| (sample.timestamp, sample.value)).collect();
        assert_eq!(samples, [(45_000, fleet[3].value(2)), (60_000, fleet[3].value(3))]);
    }
}
