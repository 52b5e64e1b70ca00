//! The syntax tree. Every node knows its position in the query.
//!
//! As in Prometheus, the matchers, the offset and the `@` of a range selector are those of the vector selector inside it.

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
    /// The operator.
    pub op: AggregateOp,
    /// The aggregated expression.
    pub expr: Expr,
    /// `k`, the quantile, the ratio or the label name.
    pub param: Option<Expr>,
    /// The labels of `by` or `without`.
    pub grouping: Vec<String>,
    /// Whether `grouping` names the labels that are dropped.
    pub without: bool,
    /// Position in the query.
    pub pos: Pos,
}

/// How many series of one side may match one of the other.
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
    /// How many series may match.
    pub card: Cardinality,
    /// The labels of `on` or `ignoring`.
    pub labels: Vec<String>,
    /// Whether `labels` belongs to `on` rather than `ignoring`.
    pub on: bool,
    /// The labels of `group_left` or `group_right`, which are taken from the "one" side.
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
    /// Position in the query, from the start of the left side to the end of the right side.
    pub pos: Pos,
}

/// A function call.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The function that is called.
    pub func: Function,
    /// The arguments.
    pub args: Vec<Expr>,
    /// Position in the query.
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
    /// The offset as an expression of durations, which the planner evaluates; `offset` is 0 then.
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
    /// All matchers. The matcher of the metric name comes last, as in Prometheus.
    pub matchers: Vec<Matcher>,
    /// The offset and the time of `@`.
    pub time: TimeModifiers,
    /// Whether the selector is `anchored`.
    pub anchored: bool,
    /// Whether the selector is `smoothed`.
    pub smoothed: bool,
    /// Position in the query.
    pub pos: Pos,
}

/// A range vector selector.
#[derive(Clone, Debug, PartialEq)]
pub struct MatrixSelector {
    /// The series, with the offset and the time of `@`.
    pub selector: VectorSelector,
    /// The range, milliseconds; 0 when `range_expr` is present.
    pub range: i64,
    /// The range as an expression of durations.
    pub range_expr: Option<DurationExpr>,
    /// Position in the query, from the start of the selector to the end of the modifiers.
    pub pos: Pos,
}

/// A subquery.
#[derive(Clone, Debug, PartialEq)]
pub struct Subquery {
    /// The expression that is evaluated at the steps of the subquery.
    pub expr: Expr,
    /// The range, milliseconds; 0 when `range_expr` is present.
    pub range: i64,
    /// The range as an expression of durations.
    pub range_expr: Option<DurationExpr>,
    /// The step, milliseconds; 0 for the default step.
    pub step: i64,
    /// The step as an expression of durations.
    pub step_expr: Option<DurationExpr>,
    /// The offset and the time of `@`.
    pub time: TimeModifiers,
    /// Position in the query.
    pub pos: Pos,
}

/// A number.
#[derive(Clone, Debug, PartialEq)]
pub struct NumberLiteral {
    /// The value; seconds if it was written as a duration.
    pub value: f64,
    /// Whether the number was written as a duration, such as `5m`.
    pub duration: bool,
    /// Position in the query.
    pub pos: Pos,
}

/// A string.
#[derive(Clone, Debug, PartialEq)]
pub struct StringLiteral {
    /// The text without quotes and escapes. Bytes that are not UTF-8 are replaced by U+FFFD.
    pub value: String,
    /// The exact bytes, if they are not UTF-8.
    pub bytes: Option<Box<[u8]>>,
    /// Position in the query.
    pub pos: Pos,
}

/// An expression in parentheses.
#[derive(Clone, Debug, PartialEq)]
pub struct Paren {
    /// The expression inside the parentheses.
    pub expr: Expr,
    /// Position in the query, including the parentheses.
    pub pos: Pos,
}

/// `+expr` or `-expr`.
#[derive(Clone, Debug, PartialEq)]
pub struct Unary {
    /// Whether the sign is a minus.
    pub minus: bool,
    /// The operand.
    pub expr: Expr,
    /// Position in the query.
    pub pos: Pos,
}

/// Arithmetic between durations, where a duration is expected (experimental in Prometheus).
#[derive(Clone, Debug, PartialEq)]
pub struct DurationExpr {
    /// The operator.
    pub op: DurationOp,
    /// The left side; `None` for unary operators and for `step()`.
    pub lhs: Option<Box<Expr>>,
    /// The right side; `None` for `step()`.
    pub rhs: Option<Box<Expr>>,
    /// Whether the expression was written in parentheses.
    pub wrapped: bool,
    /// Position in the query.
    pub pos: Pos,
}

impl Expr {
    /// The position of the expression in the query.
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

    /// The type of the value.
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
