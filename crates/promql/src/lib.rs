//! PromQL: lexer, parser, printer, planner and a columnar evaluator over its own [`Querier`] trait.

pub mod annotations;
pub mod engine;
mod eval;
pub mod explain;
pub mod fragment;
pub mod functions;
pub mod parser;
pub mod plan;
pub mod promqltest;
pub mod quantile;
pub mod querier;
pub mod stats;

pub use engine::{Engine, EngineOptions, QueryError, QueryOptions, QueryOutput};
pub use eval::{MatrixSeries, SampleValue, Value, VectorSample};
pub use explain::{Explanation, OperatorStats, PlanNode};
pub use querier::Querier;
pub use stats::{QueryStats, Timings};
