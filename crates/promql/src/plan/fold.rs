//! Constant folding: arithmetic between numbers, negated numbers and `pi()` become numbers.

use super::node::{Kind, Node, RangeInput};
use crate::arithmetic::scalar_op;
use crate::functions::Kernel;

/// The same plan with constants folded.
pub(super) fn fold(node: Node) -> Node {
    match node.map_children(fold) {
        Node::Negate(inner) => match *inner {
            Node::Number(value) => Node::Number(-value),
            inner => Node::Negate(Box::new(inner)),
        },
        Node::Binary(binary) => match (&binary.lhs, &binary.rhs) {
            (Node::Number(l), Node::Number(r)) => match scalar_op(binary.op, *l, *r) {
                Some(value) => Node::Number(value),
                None => Node::Binary(binary),
            },
            _ => Node::Binary(binary),
        },
        Node::Call(call) => match call.func.kernel() {
            Kernel::Constant(value) => Node::Number(value),
            _ => Node::Call(call),
        },
        other => other,
    }
}

impl Node {
    /// The same node with `f` applied to each of its children.
    pub(crate) fn map_children(self, mut f: impl FnMut(Node) -> Node) -> Node {
        match self {
            Node::Subquery(mut s) => {
                s.expr = f(s.expr);
                Node::Subquery(s)
            }
            Node::Range(mut call) => {
                if let RangeInput::Subquery(s) = &mut call.input {
                    s.expr = f(std::mem::replace(&mut s.expr, Node::Number(0.0)));
                }
                call.args = call.args.into_iter().map(f).collect();
                Node::Range(call)
            }
            Node::Call(mut call) => {
                call.args = call.args.into_iter().map(f).collect();
                Node::Call(call)
            }
            Node::Aggregate(mut a) => {
                a.expr = f(a.expr);
                a.param = a.param.map(f);
                Node::Aggregate(a)
            }
            Node::Binary(mut b) => {
                b.lhs = f(b.lhs);
                b.rhs = f(b.rhs);
                Node::Binary(b)
            }
            Node::Negate(inner) => Node::Negate(Box::new(f(*inner))),
            Node::Invariant(inner) => Node::Invariant(Box::new(f(*inner))),
            Node::Shared(mut shared) => {
                shared.expr = f(shared.expr);
                Node::Shared(shared)
            }
            leaf @ (Node::Number(_) | Node::Text(_) | Node::Selector(_) | Node::Matrix(_) | Node::Precomputed(_)) => {
                leaf
            }
        }
    }

    /// The node's children.
    pub(crate) fn children(&self) -> Vec<&Node> {
        match self {
            Node::Subquery(s) => vec![&s.expr],
            Node::Range(call) => {
                let inner = match &call.input {
                    RangeInput::Subquery(s) => Some(&s.expr),
                    RangeInput::Selector(_) => None,
                };
                inner.into_iter().chain(&call.args).collect()
            }
            Node::Call(call) => call.args.iter().collect(),
            Node::Aggregate(a) => std::iter::once(&a.expr).chain(&a.param).collect(),
            Node::Binary(b) => vec![&b.lhs, &b.rhs],
            Node::Negate(inner) | Node::Invariant(inner) => vec![inner],
            Node::Shared(shared) => vec![&shared.expr],
            Node::Number(_) | Node::Text(_) | Node::Selector(_) | Node::Matrix(_) | Node::Precomputed(_) => Vec::new(),
        }
    }

    /// The number of nodes.
    pub(crate) fn size(&self) -> usize {
        1 + self.children().into_iter().map(Node::size).sum::<usize>()
    }

    /// Whether stored samples are read anywhere below.
    pub(crate) fn reads_samples(&self) -> bool {
        match self {
            Node::Selector(_) | Node::Matrix(_) | Node::Precomputed(_) => true,
            Node::Range(call) if matches!(call.input, RangeInput::Selector(_)) => true,
            other => other.children().into_iter().any(Node::reads_samples),
        }
    }

    /// Whether the node yields a number.
    pub(crate) fn is_scalar(&self) -> bool {
        self.kind() == Kind::Scalar
    }
}
