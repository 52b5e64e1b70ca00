//! PromQL: lexer, parser, printer, planner and a columnar evaluator over its own [`Querier`] trait.

#![forbid(unsafe_code)]

pub mod annotations;
mod arithmetic;
mod civil;
mod engine;
mod error;
mod eval;
mod explain;
mod explanation;
pub mod fragment;
pub mod functions;
mod options;
mod output;
pub mod plan;
pub mod promqltest;
pub mod quantile;
mod querier;
mod stats;
pub mod syntax;

pub use engine::Engine;
pub use error::QueryError;
pub use eval::{MatrixSeries, SampleValue, Value, VectorSample};
pub use explanation::{Explanation, OperatorStats, PlanNode};
pub use options::{EngineOptions, QueryOptions};
pub use output::QueryOutput;
pub use querier::Querier;
pub use stats::{QueryStats, Timings};
