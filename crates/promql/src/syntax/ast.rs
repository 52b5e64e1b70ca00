//! The syntax tree. Every node knows the bytes that it was read from.
//!
//! Matchers, offsets and `@` are on the vector selector also when it is the inside of a range selector, as in Prometheus.

use pharos_model::Matcher;

pub use super::operators::{AggregateOp, BinaryOp, DurationOp, ValueType};
use crate::functions::Function;

/// Byte offsets into the query, end excluded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Hash)]
pub struct Pos {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// `sum by (job) (x)`
    Aggregate(Box<Aggregate>),
    /// `a + on (x) b`
    Binary(Box<Binary>),
    /// `rate(x[5m])`
    Call(Call),
    /// `x[5m]`
    Matrix(Box<MatrixSelector>),
    /// `expr[30m:1m]`
    Subquery(Box<Subquery>),
    /// `1.5`, also a duration used as a number
    Number(NumberLiteral),
    /// `"text"`
    String(StringLiteral),
    /// `(expr)`
    Paren(Box<Paren>),
    /// `-expr`
    Unary(Box<Unary>),
    /// `x{a="b"}`
    Vector(Box<VectorSelector>),
    /// Arithmetic between durations: `5m * 2`, `step()`, where a duration is expected
    Duration(Box<DurationExpr>),
}

/// An aggregation.
#[derive(Clone, Debug, PartialEq)]
pub struct Aggregate {
    /// What it computes.
    pub op: AggregateOp,
    /// Of what.
    pub expr: Expr,
    /// `k`, the quantile, the ratio or the label name.
    pub param: Option<Expr>,
    /// Labels to keep, or to drop when `without`.
    pub grouping: Vec<String>,
    /// Whether `grouping` names labels to drop.
    pub without: bool,
    /// Where.
    pub pos: Pos,
}

/// How many series of one side meet one of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Cardinality {
    /// One to one.
    #[default]
    OneToOne,
    /// `group_left`
    ManyToOne,
    /// `group_right`
    OneToMany,
    /// `and`, `or`, `unless`
    ManyToMany,
}

/// How the sides of a binary operation are matched.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct VectorMatching {
    /// How many meet.
    pub card: Cardinality,
    /// The labels of `on` or `ignoring`.
    pub labels: Vec<String>,
    /// Whether `labels` are those of `on`.
    pub on: bool,
    /// Labels taken over from the "one" side.
    pub include: Vec<String>,
    /// `fill_left`/`fill`: the value of a series that is missing on the left.
    pub fill_left: Option<f64>,
    /// `fill_right`/`fill`: the value of a series that is missing on the right.
    pub fill_right: Option<f64>,
}

/// A binary operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Binary {
    /// The operator.
    pub op: BinaryOp,
    /// Left side.
    pub lhs: Expr,
    /// Right side.
    pub rhs: Expr,
    /// Present when both sides are vectors.
    pub matching: Option<VectorMatching>,
    /// Whether a comparison returns 0 or 1 instead of filtering.
    pub return_bool: bool,
    /// Where: from the left side's start to the right side's end.
    pub pos: Pos,
}

/// A function call.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The function that is called.
    pub func: Function,
    /// Its arguments.
    pub args: Vec<Expr>,
    /// Where.
    pub pos: Pos,
}

/// `start()` or `end()` behind `@`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AtPreprocessor {
    /// The first step of the query.
    Start,
    /// The last step of the query.
    End,
}

/// The modifiers that vector selectors and subqueries share.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct TimeModifiers {
    /// `offset 5m`, milliseconds, positive into the past.
    pub offset: i64,
    /// `offset` as an expression of durations, which the evaluator computes; `offset` is 0 then.
    pub offset_expr: Option<DurationExpr>,
    /// `@ 1603774568`, milliseconds.
    pub at: Option<i64>,
    /// `@ start()` or `@ end()`.
    pub at_preprocessor: Option<AtPreprocessor>,
}

/// An instant vector selector.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorSelector {
    /// The metric name as written before the braces, empty when there was none.
    pub name: String,
    /// All matchers, that of the name included (last, as Prometheus has it).
    pub matchers: Vec<Matcher>,
    /// Offset and `@`.
    pub time: TimeModifiers,
    /// `anchored` behind it.
    pub anchored: bool,
    /// `smoothed` behind it.
    pub smoothed: bool,
    /// Where.
    pub pos: Pos,
}

/// A range vector selector.
#[derive(Clone, Debug, PartialEq)]
pub struct MatrixSelector {
    /// Which series, with offset and `@`.
    pub selector: VectorSelector,
    /// The range, milliseconds; 0 when `range_expr` is present.
    pub range: i64,
    /// The range as an expression of durations.
    pub range_expr: Option<DurationExpr>,
    /// Where, from the selector's start to the end of the modifiers.
    pub pos: Pos,
}

/// A subquery.
#[derive(Clone, Debug, PartialEq)]
pub struct Subquery {
    /// Of what.
    pub expr: Expr,
    /// The range, milliseconds; 0 when `range_expr` is present.
    pub range: i64,
    /// The range as an expression of durations.
    pub range_expr: Option<DurationExpr>,
    /// The step, milliseconds, 0 for the default one.
    pub step: i64,
    /// The step as an expression of durations.
    pub step_expr: Option<DurationExpr>,
    /// Offset and `@`.
    pub time: TimeModifiers,
    /// Where.
    pub pos: Pos,
}

/// A number.
#[derive(Clone, Debug, PartialEq)]
pub struct NumberLiteral {
    /// Its value; of a duration, seconds.
    pub value: f64,
    /// Whether it was written as a duration (`5m`).
    pub duration: bool,
    /// Where.
    pub pos: Pos,
}

/// A string.
#[derive(Clone, Debug, PartialEq)]
pub struct StringLiteral {
    /// Its value, without quotes and escapes; bytes that are no UTF-8 are replaced by U+FFFD.
    pub value: String,
    /// The exact bytes, only when they are no UTF-8.
    pub bytes: Option<Box<[u8]>>,
    /// Where.
    pub pos: Pos,
}

/// An expression in parentheses.
#[derive(Clone, Debug, PartialEq)]
pub struct Paren {
    /// What is inside.
    pub expr: Expr,
    /// Where, parentheses included.
    pub pos: Pos,
}

/// `+expr` or `-expr`.
#[derive(Clone, Debug, PartialEq)]
pub struct Unary {
    /// Whether it negates.
    pub minus: bool,
    /// Of what.
    pub expr: Expr,
    /// Where.
    pub pos: Pos,
}

/// Arithmetic between durations, where a duration is expected (experimental in Prometheus).
#[derive(Clone, Debug, PartialEq)]
pub struct DurationExpr {
    /// The operator.
    pub op: DurationOp,
    /// Left side; none for unary operators and `step()`.
    pub lhs: Option<Box<Expr>>,
    /// Right side; none for `step()`.
    pub rhs: Option<Box<Expr>>,
    /// Whether it was written in parentheses.
    pub wrapped: bool,
    /// Where.
    pub pos: Pos,
}

impl Expr {
    /// Where the expression is in the query.
    pub fn pos(&self) -> Pos {
        match self {
            Expr::Aggregate(e) => e.pos,
            Expr::Binary(e) => e.pos,
            Expr::Call(e) => e.pos,
            Expr::Matrix(e) => e.pos,
            Expr::Subquery(e) => e.pos,
            Expr::Number(e) => e.pos,
            Expr::String(e) => e.pos,
            Expr::Paren(e) => e.pos,
            Expr::Unary(e) => e.pos,
            Expr::Vector(e) => e.pos,
            Expr::Duration(e) => e.pos,
        }
    }

    /// The type of its value.
    pub fn value_type(&self) -> ValueType {
        match self {
            Expr::Aggregate(_) | Expr::Vector(_) => ValueType::Vector,
            Expr::Call(e) => e.func.returns(),
            Expr::Matrix(_) | Expr::Subquery(_) => ValueType::Matrix,
            Expr::Number(_) | Expr::Duration(_) => ValueType::Scalar,
            Expr::String(_) => ValueType::String,
            Expr::Paren(e) => e.expr.value_type(),
            Expr::Unary(e) => e.expr.value_type(),
            Expr::Binary(e) => match (e.lhs.value_type(), e.rhs.value_type()) {
                (ValueType::Scalar, ValueType::Scalar) => ValueType::Scalar,
                _ => ValueType::Vector,
            },
        }
    }
}
