//! Decomposition of a query into fragments that run where the samples are.
//!
//! The series of a query may be spread over several nodes, each series whole on one of them. A fragment is a
//! subexpression that treats each series by itself, or an aggregation over such a subexpression whose partial values can be
//! merged. [`decompose`] finds the fragments of an expression. Every node evaluates [`Decomposition::partial`] over the series it
//! holds ([`evaluate`]), and [`Combine::apply`] merges the answers.
//!
//! The merged value equals that of a single process to the bit, wherever the series lie:
//!
//! | operation | merged by | not merged if |
//! |---|---|---|
//! | `count`, `count_values` | adding counts | |
//! | `group` | taking any | |
//! | `min`, `max` | taking the extreme of the partial values | zeros of both signs are extreme, because the first one decides |
//! | `topk`, `bottomk` | selecting from the partial selections | equal values decide what is selected, or in which order |
//! | `sum` | adding compensated sums and their rounding errors | the order of the terms may change the sum, see `eval/sums.rs` |
//!
//! Groups are in the order of their first series, as in a single process.
//!
//! Instead of answers that cannot be merged, nodes send the values of the argument ([`Decomposition::argument`]), and the caller
//! aggregates them in the order of series. Sums of native histograms always take this path. `avg`, `stddev`, `stdvar`,
//! `quantile`, `limitk` and `limit_ratio` depend on the order of series or round in that order, so only their argument is a
//! fragment.

mod combine;
mod decompose;
mod execute;
mod query;
mod value;

pub use decompose::decompose;
pub use execute::evaluate;
pub use query::{QueryFragment, of_query};
pub use value::{FragmentValue, Precomputed};

use std::fmt;

use crate::syntax::ast::{Expr, Pos};

/// How a fragment is evaluated on several nodes. Its times are those of the query.
#[derive(Clone, Debug, PartialEq)]
pub struct Decomposition {
    /// The fragment's position in the query.
    pub pos: Pos,
    /// The fragment itself, for an evaluator that has all series.
    pub whole: Expr,
    /// What each node evaluates over the series it holds.
    pub partial: Expr,
    /// How the nodes' answers are combined.
    pub combine: Combine,
}

impl Decomposition {
    /// What the fragment aggregates: an expression that treats each series by itself.
    pub fn argument(&self) -> Option<&Expr> {
        match (&self.combine, inside(&self.whole)) {
            (Combine::Concatenate, _) => None,
            (_, Expr::Aggregate(aggregate)) => Some(&aggregate.expr),
            _ => None,
        }
    }
}

/// The expression without the parentheses around it.
fn inside(expr: &Expr) -> &Expr {
    match expr {
        Expr::Paren(paren) => inside(&paren.expr),
        other => other,
    }
}

/// How the answers of several nodes become the value of a fragment.
#[derive(Clone, Debug, PartialEq)]
pub enum Combine {
    /// Concatenates the series of all nodes.
    Concatenate,
    /// Adds up equal series; for `count` and `count_values`.
    Add,
    /// Adds up partial sums of equal series.
    Sum,
    /// Takes the smallest of equal series.
    Min,
    /// Takes the largest of equal series.
    Max,
    /// Takes any of equal series, whose values are all 1.
    Any,
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
            Combine::Select { k, largest, .. } => write!(f, "{} {k}", if *largest { "largest" } else { "smallest" }),
        }
    }
}

#[cfg(test)]
mod tests;
