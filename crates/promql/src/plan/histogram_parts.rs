//! Dropping the buckets of native histograms: selectors below `histogram_count` and its like read count and sum only.
//!
//! As in Prometheus, counter resets between histograms are detected with buckets while they are read, and remembered as
//! hints. Warnings about conflicting resets are therefore possible where there would be none otherwise.

use super::node::{Node, RangeInput};
use crate::functions::HistogramParts;
use crate::syntax::ast::BinaryOp;

/// Marks the selectors of which only count and sum are read.
pub(super) fn mark(node: Node) -> Node {
    visit(node, false)
}

/// `stats_only`: a function above reads count and sum only.
fn visit(mut node: Node, stats_only: bool) -> Node {
    let stats_only = match &mut node {
        // No selector below these is marked.
        Node::Subquery(_) => return node,
        Node::Call(call) if call.func.histogram_parts() == Some(HistogramParts::Buckets) => return node,
        Node::Binary(b) if matches!(b.op, BinaryOp::TrimUpper | BinaryOp::TrimLower) => return node,
        Node::Range(call) => match &mut call.input {
            RangeInput::Subquery(_) => return node,
            RangeInput::Selector(s) => {
                s.selector.stats = stats_only;
                stats_only
            }
        },
        Node::Selector(s) => {
            s.stats = stats_only;
            stats_only
        }
        Node::Call(call) => stats_only || call.func.histogram_parts() == Some(HistogramParts::CountAndSum),
        _ => stats_only,
    };
    node.map_children(|child| visit(child, stats_only))
}
