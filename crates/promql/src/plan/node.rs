//! The nodes of a plan. Only the start of a position is ever shown, so a node keeps byte offsets.

use pharos_model::Matcher;

use crate::functions::Function;
use crate::syntax::ast::{AggregateOp, BinaryOp, ValueType, VectorMatching};

/// Times are clamped to this many milliseconds around the epoch, so that arithmetic on them does not overflow.
pub(crate) const MAX_TIME: i64 = 1 << 58;

/// What a node yields at each step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number.
    Scalar,
    /// Series with a sample each.
    Vector,
    /// Series with samples of a range.
    Matrix,
    /// A string.
    Text,
}

/// A node of a plan.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// A constant.
    Number(f64),
    /// A string.
    Text(String),
    /// An instant vector selector.
    Selector(Selector),
    /// A range vector as the whole of an instant query.
    Matrix(RangeSelector),
    /// A subquery as the whole of an instant query.
    Subquery(Box<Subquery>),
    /// A function over a range vector.
    Range(Box<RangeCall>),
    /// Any other function.
    Call(Box<Call>),
    /// An aggregation.
    Aggregate(Box<Aggregate>),
    /// A binary operation.
    Binary(Box<Binary>),
    /// `-x`
    Negate(Box<Node>),
    /// A part that occurs several times. It is evaluated once if the result is small enough to be kept.
    Shared(Box<SharedNode>),
    /// A part whose value is known already.
    Precomputed(PrecomputedRef),
    /// A part whose value is the same at all steps. It is evaluated at the first step and repeated for the others.
    Invariant(Box<Node>),
}

/// The time that a selector looks at from a step: `@` replaces the step, then the offset is subtracted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Reference {
    /// The time of `@`, milliseconds.
    pub at: Option<i64>,
    /// The offset into the past, milliseconds.
    pub offset: i64,
}

impl Reference {
    /// The time to look at from step `t`.
    pub fn from(&self, t: i64) -> i64 {
        self.at.unwrap_or(t).saturating_sub(self.offset)
    }
}

/// An instant vector selector.
#[derive(Clone, Debug, PartialEq)]
pub struct Selector {
    /// The conditions on the series.
    pub matchers: Vec<Matcher>,
    /// The time to look at.
    pub time: Reference,
    /// Whether the selector is `anchored`.
    pub anchored: bool,
    /// Whether the selector is `smoothed`.
    pub smoothed: bool,
    /// Whether only the counts and sums of histograms are read.
    pub stats: bool,
    /// How many matchers, at the end of the list, were added from the other side of a join.
    pub implied: usize,
    /// The number of selectors of the plan that read the same samples, including this one.
    pub readers: usize,
    /// Byte offset in the query.
    pub pos: usize,
}

/// A range vector selector.
#[derive(Clone, Debug, PartialEq)]
pub struct RangeSelector {
    /// The series and the time to look at.
    pub selector: Selector,
    /// The length of the range, milliseconds.
    pub range: i64,
}

/// A subquery.
#[derive(Clone, Debug, PartialEq)]
pub struct Subquery {
    /// The expression that is evaluated at the steps of the subquery.
    pub expr: Node,
    /// The length of the range, milliseconds.
    pub range: i64,
    /// The step, milliseconds; 0 for the default of the engine.
    pub step: i64,
    /// The time to look at.
    pub time: Reference,
}

/// The range vector of a function.
#[derive(Clone, Debug, PartialEq)]
pub enum RangeInput {
    /// Stored samples.
    Selector(RangeSelector),
    /// The values of an expression.
    Subquery(Subquery),
}

impl RangeInput {
    /// The length of the range, milliseconds.
    pub fn range(&self) -> i64 {
        match self {
            RangeInput::Selector(s) => s.range,
            RangeInput::Subquery(s) => s.range,
        }
    }

    /// The time to look at.
    pub fn time(&self) -> Reference {
        match self {
            RangeInput::Selector(s) => s.selector.time,
            RangeInput::Subquery(s) => s.time,
        }
    }
}

/// A function over a range vector.
#[derive(Clone, Debug, PartialEq)]
pub struct RangeCall {
    /// The function that is called.
    pub func: Function,
    /// The range vector.
    pub input: RangeInput,
    /// The other arguments, all scalars.
    pub args: Vec<Node>,
    /// Byte offset of the first argument.
    pub pos: usize,
}

/// A function without a range vector among its arguments.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The function that is called.
    pub func: Function,
    /// The arguments.
    pub args: Vec<Node>,
    /// The byte offsets of the arguments.
    pub arg_pos: Vec<usize>,
    /// Whether the first argument has a sign. A plus leaves no other trace in the plan, yet functions that look at how the
    /// argument is written do not take a selector with a sign for a selector.
    pub signed: bool,
    /// Byte offset of the call.
    pub pos: usize,
}

/// An aggregation.
#[derive(Clone, Debug, PartialEq)]
pub struct Aggregate {
    /// The operator.
    pub op: AggregateOp,
    /// The series that are aggregated.
    pub expr: Node,
    /// `k`, the quantile, the ratio or the label.
    pub param: Option<Node>,
    /// The labels of `by` or `without`, sorted and without duplicates.
    pub grouping: Vec<String>,
    /// Whether `grouping` names the labels that are dropped.
    pub without: bool,
    /// Byte offset of the aggregation.
    pub pos: usize,
    /// Byte offset of the aggregated expression.
    pub expr_pos: usize,
    /// Byte offset of the parameter.
    pub param_pos: usize,
}

/// A binary operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Binary {
    /// The operator.
    pub op: BinaryOp,
    /// Left side.
    pub lhs: Node,
    /// Right side.
    pub rhs: Node,
    /// How the series of two vectors are matched.
    pub matching: VectorMatching,
    /// Whether a comparison yields 0 or 1.
    pub return_bool: bool,
    /// What the operation yields. It follows from the sides, and is stored because deriving it at each level of a chain
    /// would take the square of its length.
    pub kind: Kind,
    /// Byte offset.
    pub pos: usize,
}

impl Binary {
    /// What an operation on these sides yields.
    pub fn kind_of(lhs: &Node, rhs: &Node) -> Kind {
        match (lhs.kind(), rhs.kind()) {
            (Kind::Scalar, Kind::Scalar) => Kind::Scalar,
            _ => Kind::Vector,
        }
    }
}

/// A part that occurs several times.
#[derive(Clone, Debug, PartialEq)]
pub struct SharedNode {
    /// The identifier that equal parts have in common.
    pub id: usize,
    /// The number of equal parts that are evaluated.
    pub uses: usize,
    /// Byte offset of this part.
    pub pos: usize,
    /// The part itself.
    pub expr: Node,
}

/// A part whose value is known already.
#[derive(Clone, Debug, PartialEq)]
pub struct PrecomputedRef {
    /// Which of those that are given.
    pub index: usize,
    /// Byte offset in the query.
    pub pos: usize,
    /// Whether its value is the same at all steps.
    pub is_invariant: bool,
}

impl Node {
    /// What the node yields. The work does not depend on the size of the plan: only signs and marks are looked through.
    pub fn kind(&self) -> Kind {
        match self {
            Node::Number(_) => Kind::Scalar,
            Node::Text(_) => Kind::Text,
            Node::Selector(_) | Node::Range(_) | Node::Aggregate(_) | Node::Precomputed(_) => Kind::Vector,
            Node::Matrix(_) | Node::Subquery(_) => Kind::Matrix,
            Node::Call(call) => match call.func.returns() {
                ValueType::Scalar => Kind::Scalar,
                ValueType::String => Kind::Text,
                ValueType::Vector => Kind::Vector,
                ValueType::Matrix => Kind::Matrix,
            },
            Node::Binary(b) => b.kind,
            Node::Negate(inner) | Node::Invariant(inner) => inner.kind(),
            Node::Shared(shared) => shared.expr.kind(),
        }
    }
}
