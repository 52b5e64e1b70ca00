//! A fleet of hosts with metrics as a small production has them: a node exporter, an HTTP service and its runtime, and
//! the pods of a Kubernetes node.
//!
//! The value of a sample is a function of its series and its step, nothing else. Two servers therefore get the same data
//! in whatever order it is written, and a reader can compute what it must find.

mod host;
mod series;

pub(crate) use host::host;
pub(crate) use series::Series;
#[cfg(test)]
mod tests;
