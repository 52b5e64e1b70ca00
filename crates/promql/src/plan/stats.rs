//! Histograms of which only count and sum are needed: selectors below `histogram_count` and its like leave out buckets.
//!
//! As in Prometheus, counter resets between them are found while they are read, with buckets, and then remembered as
//! hints; that makes warnings of conflicting resets possible where there would be none otherwise.

use super::node::{Node, RangeInput};
use crate::functions::HistogramParts;
use crate::syntax::ast::BinaryOp;

/// The same plan with such selectors marked.
pub(super) fn mark(node: Node) -> Node {
    visit(node, false)
}

/// `wanted`: a function above needs count and sum only.
fn visit(mut node: Node, wanted: bool) -> Node {
    let wanted = match &mut node {
        // Below these, no selector is marked, whatever is further down.
        Node::Subquery(_) => return node,
        Node::Call(call) if call.func.histogram_parts() == Some(HistogramParts::Buckets) => return node,
        Node::Binary(b) if matches!(b.op, BinaryOp::TrimUpper | BinaryOp::TrimLower) => return node,
        Node::Range(call) => match &mut call.input {
            RangeInput::Subquery(_) => return node,
            RangeInput::Selector(s) => {
                s.selector.stats = wanted;
                wanted
            }
        },
        Node::Selector(s) => {
            s.stats = wanted;
            wanted
        }
        Node::Call(call) => wanted || call.func.histogram_parts() == Some(HistogramParts::CountAndSum),
        _ => wanted,
    };
    node.map_children(|child| visit(child, wanted))
}
