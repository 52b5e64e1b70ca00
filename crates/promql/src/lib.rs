//! PromQL: lexer, parser, printer, planner and a columnar evaluator over its own [`Querier`] trait.

pub mod functions;
pub mod parser;
pub mod quantile;
pub mod querier;

pub use querier::Querier;
