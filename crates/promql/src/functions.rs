//! The functions of PromQL: names, arguments and results, as data. The parser checks calls against this table; the
//! evaluator holds one kernel for each.

use crate::parser::ast::ValueType;

/// A function's signature.
#[derive(Debug, PartialEq)]
pub struct Function {
    /// Its name.
    pub name: &'static str,
    /// The types of its arguments; see `variadic`.
    pub args: &'static [ValueType],
    /// 0: exactly `args`; n > 0: the last argument is optional and may be repeated up to n times; -1: without bound.
    pub variadic: i32,
    /// The type of its result.
    pub returns: ValueType,
    /// Whether Prometheus has it behind a feature flag.
    pub experimental: bool,
}
