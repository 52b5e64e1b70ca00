//! Requests to the server whose history is replayed.

use std::collections::BTreeMap;
use std::time::Duration;

use pharos_model::Labels;
use pharos_promql::{SampleValue, VectorSample};
use pharos_transport::prometheus as wire;
use prost::Message;
use serde::Deserialize;
use url::Url;

/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(300);
/// Samples of one write.
const SAMPLES_PER_WRITE: usize = 10_000;

/// A client of one server, for one tenant. Its methods block.
pub(super) struct Client {
    runtime: tokio::runtime::Runtime,
    http: reqwest::Client,
    server: Url,
    tenant: Option<String>,
}

#[derive(Deserialize)]
struct Envelope {
    data: Option<Data>,
    error: Option<String>,
    #[serde(default)]
    warnings: Vec<String>,
}

#[derive(Deserialize)]
struct Data {
    result: serde_json::Value,
    #[serde(rename = "resultType")]
    kind: String,
}

#[derive(Deserialize)]
struct Series {
    #[serde(default)]
    metric: BTreeMap<String, String>,
    #[serde(default)]
    values: Vec<(f64, String)>,
    value: Option<(f64, String)>,
    histogram: Option<serde_json::Value>,
    #[serde(default)]
    histograms: Vec<serde_json::Value>,
}

impl Client {
    pub(super) fn new(server: &Url, tenant: Option<&str>) -> Result<Self, String> {
        let failed = |error: &dyn std::fmt::Display| format!("cannot create the HTTP client: {error}");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        // An error means that the process has a provider already.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().connect_timeout(Duration::from_secs(5)).timeout(TIMEOUT).build();
        Ok(Client {
            runtime: runtime.map_err(|error| failed(&error))?,
            http: http.map_err(|error| failed(&error))?,
            server: server.clone(),
            tenant: tenant.map(str::to_string),
        })
    }

    /// The samples of an expression at each step of a range, in milliseconds.
    pub(super) fn range(
        &self,
        text: &str,
        from_ms: i64,
        to_ms: i64,
        step_ms: i64,
    ) -> Result<Vec<VectorSample>, String> {
        let parameters = [
            ("query", text.to_string()),
            ("start", seconds(from_ms)),
            ("end", seconds(to_ms)),
            ("step", seconds(step_ms)),
        ];
        self.query("query_range", &parameters)
    }

    /// The samples of an expression at a time, milliseconds.
    pub(super) fn instant(&self, text: &str, t_ms: i64) -> Result<Vec<VectorSample>, String> {
        self.query("query", &[("query", text.to_string()), ("time", seconds(t_ms))])
    }

    fn query(&self, path: &str, parameters: &[(&str, String)]) -> Result<Vec<VectorSample>, String> {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(parameters);
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let body = self.post(&format!("api/v1/{path}"), &headers, form.finish().into_bytes())?;
        let envelope: Envelope = serde_json::from_slice(&body).map_err(|error| self.failed(error))?;
        let data = envelope.data.ok_or_else(|| envelope.error.unwrap_or_else(|| "no data".into()))?;
        // A result that may lack samples would resolve alerts.
        match envelope.warnings.into_iter().find(|warning| warning.starts_with("as of ") || warning.contains("missing"))
        {
            Some(warning) => Err(format!("the result may be incomplete: {warning}")),
            None => samples(data),
        }
    }

    /// Writes samples.
    pub(super) fn write(&self, samples: &[VectorSample]) -> Result<(), String> {
        for part in samples.chunks(SAMPLES_PER_WRITE) {
            let mut series: BTreeMap<&Labels, Vec<wire::Sample>> = BTreeMap::new();
            for sample in part {
                if let SampleValue::Float(value) = sample.value {
                    series.entry(&sample.labels).or_default().push(wire::Sample { value, timestamp: sample.t });
                }
            }
            let timeseries = series.into_iter().map(|(labels, samples)| wire::TimeSeries {
                labels: labels.iter().map(|(n, v)| wire::Label { name: n.into(), value: v.into() }).collect(),
                samples,
                ..wire::TimeSeries::default()
            });
            let request = wire::WriteRequest { timeseries: timeseries.collect(), ..wire::WriteRequest::default() };
            let body = snap::raw::Encoder::new().compress_vec(&request.encode_to_vec());
            let headers = [
                ("content-type", "application/x-protobuf"),
                ("content-encoding", "snappy"),
                ("x-prometheus-remote-write-version", "0.1.0"),
            ];
            let written = self.post("api/v1/write", &headers, body.map_err(|error| error.to_string())?);
            written.map_err(|error| format!("writing recorded samples: {error}"))?;
        }
        Ok(())
    }

    fn post(&self, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Result<Vec<u8>, String> {
        let mut url = self.server.clone();
        url.set_path(&format!("{}/{path}", self.server.path().trim_end_matches('/')));
        let mut request = self.http.post(url).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(tenant) = &self.tenant {
            request = request.header("x-scope-orgid", tenant);
        }
        self.runtime.block_on(async {
            let answer = request.send().await.map_err(|error| self.failed(error.without_url()))?;
            let status = answer.status();
            let body = answer.bytes().await.map_err(|error| self.failed(error.without_url()))?;
            if status.is_success() {
                return Ok(body.to_vec());
            }
            let reason = serde_json::from_slice::<Envelope>(&body).ok().and_then(|answer| answer.error);
            let text = || String::from_utf8_lossy(&body).trim().chars().take(500).collect::<String>();
            Err(format!("{} answered {status}: {}", self.server, reason.unwrap_or_else(text)))
        })
    }

    fn failed(&self, error: impl std::fmt::Display) -> String {
        format!("no usable answer from {}: {error}", self.server)
    }
}

/// Milliseconds as the API takes times and durations.
fn seconds(ms: i64) -> String {
    format!("{}.{:03}", ms.div_euclid(1000), ms.rem_euclid(1000))
}

/// The samples of a result.
fn samples(data: Data) -> Result<Vec<VectorSample>, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("unexpected result of a query: {error}");
    let series: Vec<Series> = match data.kind.as_str() {
        "scalar" => {
            let value = serde_json::from_value(data.result).map_err(|error| wrong(&error))?;
            let metric = BTreeMap::new();
            vec![Series { metric, values: Vec::new(), value: Some(value), histogram: None, histograms: Vec::new() }]
        }
        "vector" | "matrix" => serde_json::from_value(data.result).map_err(|error| wrong(&error))?,
        other => return Err(format!("rule result is not a vector or scalar: {other}")),
    };
    let mut samples = Vec::new();
    for series in series {
        if series.histogram.is_some() || !series.histograms.is_empty() {
            return Err("native histograms cannot be replayed: the API does not show them completely".into());
        }
        let labels = Labels::from_pairs(&series.metric);
        for (at, value) in series.values.iter().chain(&series.value) {
            let t = (at * 1000.0).round() as i64;
            let value = value.parse().map_err(|error| wrong(&error))?;
            samples.push(VectorSample { labels: labels.clone(), t, value: SampleValue::Float(value) });
        }
    }
    Ok(samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(result: serde_json::Value, kind: &str) -> Result<Vec<(String, i64, f64)>, String> {
        let read = samples(Data { result, kind: kind.into() })?;
        let plain = |sample: VectorSample| match sample.value {
            SampleValue::Float(value) => (sample.labels.to_string(), sample.t, value),
            SampleValue::Histogram(_) => panic!("no histograms"),
        };
        Ok(read.into_iter().map(plain).collect())
    }

    #[test]
    fn results_of_every_kind_are_read() {
        let matrix = serde_json::json!([{"metric": {"a": "b"}, "values": [[1.5, "2"], [2, "+Inf"]]}]);
        let expected = vec![(r#"{a="b"}"#.into(), 1500, 2.0), (r#"{a="b"}"#.into(), 2000, f64::INFINITY)];
        assert_eq!(read(matrix, "matrix"), Ok(expected));
        let vector = serde_json::json!([{"metric": {}, "value": [1, "7"]}]);
        assert_eq!(read(vector, "vector"), Ok(vec![("{}".into(), 1000, 7.0)]));
        assert_eq!(read(serde_json::json!([3, "1"]), "scalar"), Ok(vec![("{}".into(), 3000, 1.0)]));
    }

    #[test]
    fn other_results_are_errors() {
        assert!(read(serde_json::json!([1, "x"]), "string").unwrap_err().contains("not a vector or scalar"));
        let histogram = serde_json::json!([{"metric": {}, "histogram": [1, {}]}]);
        assert!(read(histogram, "vector").unwrap_err().contains("native histograms"));
        assert!(read(serde_json::json!([{"values": [[1, "x"]]}]), "matrix").is_err());
        assert!(read(serde_json::json!({"a": 1}), "matrix").is_err());
    }

    #[test]
    fn times_are_written_in_seconds() {
        assert_eq!(seconds(1_700_000_000_125), "1700000000.125");
        assert_eq!(seconds(15_000), "15.000");
    }
}
