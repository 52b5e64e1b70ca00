//! Decomposition of a query into fragments that run where the samples are.
//!
//! The series of a query may be spread over several nodes, each series whole on one of them. A fragment is a
//! subexpression that treats each series by itself, or an aggregation over such a subexpression that decomposes.
//! [`decompose`] finds the fragments of an expression. Every node evaluates the fragment's [`Decomposition::partials`] over
//! the series it holds ([`evaluate`]), and [`Combine::apply`] combines the answers.
//!
//! How close the combined value is to that of a single process, with `u = 2^-53` and `S` the sum:
//!
//! | operation | outcome |
//! |---|---|
//! | `count`, `group`, `count_values` | equal |
//! | `min`, `max` | equal, except for the sign of a zero |
//! | `topk`, `bottomk` | equal; not combined when series at the edge of the selection have equal values |
//! | `sum` | both are compensated: at most `u (sum of \|partial sums\| + 2 \|S\|)` apart, so two units in the last place for values of one sign |
//! | `avg` | as `sum`, plus `u` for each of two divisions; sums that overflow are infinite |
//! | `stddev`, `stdvar` | a relative `4 u (series + nodes)` |
//! | sums of native histograms | as `sum`, for each bucket |
//!
//! A group that mixes floats and histograms is never combined, because a single process would look at all samples of the
//! group together. [`Combine::apply`] reports that, and the caller evaluates the fragment on fetched series instead.
//! `quantile`, `limitk`, `limit_ratio` and averages of histograms do not decompose.

mod combine;
mod decompose;
mod execute;
mod query;
mod value;

pub use decompose::decompose;
pub use execute::evaluate;
pub use query::{QueryFragment, of_query};
pub use value::{FragmentValue, Precomputed, from_result, to_result};

use std::fmt;

use crate::syntax::ast::{Expr, Pos};

/// How a fragment is evaluated on several nodes. Its times are those of the query.
#[derive(Clone, Debug, PartialEq)]
pub struct Decomposition {
    /// The fragment's position in the query.
    pub pos: Pos,
    /// The fragment itself, for an evaluator that has all series.
    pub whole: Expr,
    /// The expressions each node evaluates over the series it holds. They travel as text: `to_string()`.
    pub partials: Vec<Expr>,
    /// How the nodes' answers are combined.
    pub combine: Combine,
}

/// How the answers of several nodes become the value of a fragment.
#[derive(Clone, Debug, PartialEq)]
pub enum Combine {
    /// Concatenates the series of all nodes.
    Concatenate,
    /// Adds up equal series; for `count` and `count_values`.
    Add,
    /// Adds up equal series with compensation. The partials are sums, and the counts that tell where a sum is missing.
    Sum,
    /// Takes the smallest of equal series.
    Min,
    /// Takes the largest of equal series.
    Max,
    /// Takes any of equal series, all of which are one.
    Any,
    /// Divides sums by counts, which are the two partials.
    Mean,
    /// Merges counts, means and variances, which are the three partials.
    Variance {
        /// Whether to return the square root, for `stddev`.
        deviation: bool,
    },
    /// Selects the `k` largest or smallest series of each group.
    Select {
        /// The number of series per group.
        k: usize,
        /// Whether to select the largest.
        largest: bool,
        /// The sorted labels that define a group, or that are ignored when `without` is set.
        grouping: Vec<String>,
        /// Whether `grouping` lists the labels to ignore.
        without: bool,
    },
}

impl fmt::Display for Combine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Combine::Concatenate => f.write_str("side by side"),
            Combine::Add => f.write_str("add"),
            Combine::Sum => f.write_str("sum"),
            Combine::Min => f.write_str("min"),
            Combine::Max => f.write_str("max"),
            Combine::Any => f.write_str("any"),
            Combine::Mean => f.write_str("mean"),
            Combine::Variance { .. } => f.write_str("variance"),
            Combine::Select { k, largest, .. } => write!(f, "{} {k}", if *largest { "largest" } else { "smallest" }),
        }
    }
}

#[cfg(test)]
mod tests;
