//! Walks through plans.

use super::node::{Kind, Node, RangeInput};

impl Node {
    /// Replaces each child of the node by what `f` makes of it.
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

    /// The children of the node, in the order in which [`Node::map_children`] visits them.
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

    /// The same children as those of [`Node::children`], to be changed.
    pub(crate) fn children_mut(&mut self) -> Vec<&mut Node> {
        match self {
            Node::Subquery(s) => vec![&mut s.expr],
            Node::Range(call) => {
                let inner = match &mut call.input {
                    RangeInput::Subquery(s) => Some(&mut s.expr),
                    RangeInput::Selector(_) => None,
                };
                inner.into_iter().chain(&mut call.args).collect()
            }
            Node::Call(call) => call.args.iter_mut().collect(),
            Node::Aggregate(a) => std::iter::once(&mut a.expr).chain(&mut a.param).collect(),
            Node::Binary(b) => vec![&mut b.lhs, &mut b.rhs],
            Node::Negate(inner) | Node::Invariant(inner) => vec![inner],
            Node::Shared(shared) => vec![&mut shared.expr],
            Node::Number(_) | Node::Text(_) | Node::Selector(_) | Node::Matrix(_) | Node::Precomputed(_) => Vec::new(),
        }
    }

    /// The number of nodes of the plan.
    pub(crate) fn size(&self) -> usize {
        1 + self.children().into_iter().map(Node::size).sum::<usize>()
    }

    /// Whether the plan reads stored samples.
    pub(crate) fn reads_samples(&self) -> bool {
        match self {
            Node::Selector(_) | Node::Matrix(_) | Node::Precomputed(_) => true,
            Node::Range(call) if matches!(call.input, RangeInput::Selector(_)) => true,
            other => other.children().into_iter().any(Node::reads_samples),
        }
    }

    /// Whether the node yields a number at each step.
    pub(crate) fn is_scalar(&self) -> bool {
        self.kind() == Kind::Scalar
    }
}
