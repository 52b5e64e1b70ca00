//! Values of PromQL, as queries return them.

use std::sync::Arc;

use pharos_model::{Histogram, Labels};

/// A value of PromQL.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// The evaluation time in milliseconds, and a number.
    Scalar(i64, f64),
    /// The evaluation time in milliseconds, and a string.
    String(i64, String),
    /// One sample for each series, at one time. The order is arbitrary unless the query sorts, or selects with `topk`.
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

/// The sample of a series in an instant vector.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorSample {
    /// The labels of the series.
    pub labels: Labels,
    /// The evaluation time, milliseconds.
    pub t: i64,
    /// A float or a histogram.
    pub value: SampleValue,
}

/// The samples of a series in a matrix. Times ascend in both lists.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct MatrixSeries {
    /// The labels of the series.
    pub labels: Labels,
    /// Times in milliseconds and floats.
    pub floats: Vec<(i64, f64)>,
    /// Times in milliseconds and native histograms.
    pub histograms: Vec<(i64, Arc<Histogram>)>,
}

impl MatrixSeries {
    /// The number of samples of both kinds.
    pub fn len(&self) -> usize {
        self.floats.len() + self.histograms.len()
    }

    /// Whether it holds no sample.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
