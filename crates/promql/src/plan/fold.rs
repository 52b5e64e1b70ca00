//! Constant folding: arithmetic between numbers, negated numbers and calls such as `pi()` become numbers.

use super::node::Node;
use crate::arithmetic::scalar_op;
use crate::functions::Kernel;

/// Folds the constants of a plan, from the leaves up.
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
