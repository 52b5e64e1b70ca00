//! What a query returns.

use std::sync::Arc;

use pharos_model::{Histogram, Labels};

/// A value of PromQL.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A number and the time it was computed for, milliseconds.
    Scalar(i64, f64),
    /// A string and the time it was computed for, milliseconds.
    String(i64, String),
    /// One sample a series at one time. `sort` and `topk` give it an order, otherwise it has none.
    Vector(Vec<VectorSample>),
    /// Samples over time, sorted by labels.
    Matrix(Vec<MatrixSeries>),
}

/// A float or a histogram.
#[derive(Clone, Debug, PartialEq)]
pub enum SampleValue {
    /// A float.
    Float(f64),
    /// A native histogram.
    Histogram(Arc<Histogram>),
}

/// One series' sample in an instant vector.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorSample {
    /// The series.
    pub labels: Labels,
    /// The evaluation's time, milliseconds.
    pub t: i64,
    /// Its value.
    pub value: SampleValue,
}

/// One series' samples in a matrix; times ascend in both lists.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct MatrixSeries {
    /// The series.
    pub labels: Labels,
    /// Times in milliseconds and floats.
    pub floats: Vec<(i64, f64)>,
    /// Times in milliseconds and native histograms.
    pub histograms: Vec<(i64, Arc<Histogram>)>,
}

impl MatrixSeries {
    /// The number of samples.
    pub fn len(&self) -> usize {
        self.floats.len() + self.histograms.len()
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
