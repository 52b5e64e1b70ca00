//! The plan's nodes. Only the start of a position is ever shown, so a node keeps byte offsets.

use pharos_model::Matcher;

use crate::functions::Function;
use crate::syntax::ast::{AggregateOp, BinaryOp, ValueType, VectorMatching};

/// Times beyond this many milliseconds from the epoch are taken to be there, so that arithmetic has room.
pub(crate) const MAX_TIME: i64 = 1 << 58;

/// What a node yields a step.
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
    /// A part that occurs several times: evaluated once where the result is small enough to be kept.
    Shared(Box<SharedNode>),
    /// A part whose value is known already.
    Precomputed(PrecomputedRef),
    /// A part whose value is the same at all steps: evaluated at the first, repeated for the others.
    Invariant(Box<Node>),
}

/// The time that a selector looks at, seen from a step: `@` replaces the step, then the offset is subtracted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Reference {
    /// `@`, milliseconds.
    pub at: Option<i64>,
    /// Milliseconds into the past.
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
    /// Which series.
    pub matchers: Vec<Matcher>,
    /// When.
    pub time: Reference,
    /// `anchored`
    pub anchored: bool,
    /// `smoothed`
    pub smoothed: bool,
    /// Whether only count and sum of histograms are needed.
    pub stats: bool,
    /// How many of the matchers, the last ones, were found to hold by the other side of a join.
    pub implied: usize,
    /// How many selectors of the plan read the same samples, this one included.
    pub readers: usize,
    /// Byte offset in the query.
    pub pos: usize,
}

/// A range vector selector.
#[derive(Clone, Debug, PartialEq)]
pub struct RangeSelector {
    /// Which series.
    pub selector: Selector,
    /// How long, milliseconds.
    pub range: i64,
}

/// A subquery.
#[derive(Clone, Debug, PartialEq)]
pub struct Subquery {
    /// Of what.
    pub expr: Node,
    /// How long, milliseconds.
    pub range: i64,
    /// Its step, 0 for the engine's default.
    pub step: i64,
    /// When.
    pub time: Reference,
}

/// Where a range function's samples come from.
#[derive(Clone, Debug, PartialEq)]
pub enum RangeInput {
    /// Stored samples.
    Selector(RangeSelector),
    /// The values of an expression.
    Subquery(Subquery),
}

impl RangeInput {
    /// How long, milliseconds.
    pub fn range(&self) -> i64 {
        match self {
            RangeInput::Selector(s) => s.range,
            RangeInput::Subquery(s) => s.range,
        }
    }

    /// When.
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
    /// Which.
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
    /// Which.
    pub func: Function,
    /// The arguments.
    pub args: Vec<Node>,
    /// Their byte offsets.
    pub arg_pos: Vec<usize>,
    /// Whether the first argument has a sign: a plus leaves no other trace in the plan, yet a selector behind one is no
    /// selector to functions that look at the argument itself.
    pub signed: bool,
    /// Byte offset of the call.
    pub pos: usize,
}

/// An aggregation.
#[derive(Clone, Debug, PartialEq)]
pub struct Aggregate {
    /// Which.
    pub op: AggregateOp,
    /// Of what.
    pub expr: Node,
    /// `k`, the quantile, the ratio or the label.
    pub param: Option<Node>,
    /// Labels to keep or drop, sorted, each once.
    pub grouping: Vec<String>,
    /// Whether they are dropped.
    pub without: bool,
    /// Byte offset of the aggregation.
    pub pos: usize,
    /// Byte offset of what is aggregated.
    pub expr_pos: usize,
    /// Byte offset of the parameter.
    pub param_pos: usize,
}

/// A binary operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Binary {
    /// Which.
    pub op: BinaryOp,
    /// Left side.
    pub lhs: Node,
    /// Right side.
    pub rhs: Node,
    /// How series meet, when both sides are vectors.
    pub matching: VectorMatching,
    /// Whether a comparison yields 0 or 1.
    pub return_bool: bool,
    /// What it yields, which its sides say: kept, since asking them anew at each level of a chain takes the square of its
    /// length.
    pub kind: Kind,
    /// Byte offset.
    pub pos: usize,
}

impl Binary {
    /// What an operation of these sides yields.
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
    /// The same for equal parts.
    pub id: usize,
    /// How many there are.
    pub uses: usize,
    /// Byte offset of this one.
    pub pos: usize,
    /// What is evaluated.
    pub expr: Node,
}

/// A part whose value is known already.
#[derive(Clone, Debug, PartialEq)]
pub struct PrecomputedRef {
    /// Which of those that are given.
    pub index: usize,
    /// Byte offset in the query.
    pub pos: usize,
}

impl Node {
    /// What the node yields. Looks through signs and marks only, never at whole subtrees.
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
