//! What is the same is done once: equal aggregations are marked as shared, and so are selectors that read
//! the same samples.
//!
//! Sharing is never more than a mark: each place keeps what it needs to be evaluated by itself, should the shared result
//! be too large to be kept.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use super::node::{Binary, Node, PrecomputedRef, RangeCall, RangeInput, RangeSelector, Selector, SharedNode};
use crate::annotations::{self, NOWHERE};
use crate::syntax::ast::{BinaryOp, VectorMatching};

/// Larger plans are left as they are: looking for equal parts takes the square of their size, and would cost more than
/// it can save.
const MAX_NODES: usize = 300;
/// The same for the length of a plan that is written out, bytes.
const MAX_BYTES: usize = 1 << 20;
/// The steps of the query.
const GRID: &str = "";

/// The same plan with equal parts marked.
pub(super) fn share(node: Node) -> Node {
    if node.size() > MAX_NODES || format!("{node:?}").len() > MAX_BYTES {
        return node;
    }
    let mut seen = HashMap::new();
    count(&node, GRID, &mut seen);
    let mut shared = Vec::new();
    let mut node = mark(node, GRID, &seen, &mut shared);
    let (mut readings, mut evaluated) = (HashMap::new(), HashSet::new());
    selectors(&mut node, &mut |part| match part {
        // Only the first of equal parts is evaluated.
        Part::Shared(id) => evaluated.insert(id),
        Part::Selector(selector, range) => {
            *readings.entry(reading(selector, range)).or_insert(0) += 1;
            true
        }
    });
    selectors(&mut node, &mut |part| {
        if let Part::Selector(selector, range) = part {
            selector.readers = readings.get(&reading(selector, range)).copied().unwrap_or(1);
        }
        true
    });
    node
}

/// The same for several plans that are evaluated one after the other.
pub(super) fn share_all(nodes: Vec<Node>) -> Vec<Node> {
    let count = nodes.len();
    let pair = |rest: Node, node: Node| {
        let (op, matching) = (BinaryOp::Or, VectorMatching::default());
        let kind = Binary::kind_of(&node, &rest);
        Node::Binary(Box::new(Binary { op, lhs: node, rhs: rest, matching, return_bool: false, kind, pos: 0 }))
    };
    let Some(mut rest) = nodes.into_iter().rev().reduce(pair).map(share) else { return Vec::new() };
    let mut shared = Vec::with_capacity(count);
    for _ in 1..count {
        let Node::Binary(both) = rest else { break };
        shared.push(both.lhs);
        rest = both.rhs;
    }
    shared.push(rest);
    shared
}

/// Whether the result of a node is worth keeping: it costs more to compute than to keep.
fn is_worth_sharing(node: &Node) -> bool {
    let costly = match node {
        Node::Aggregate(_) => true,
        Node::Range(call) => matches!(call.input, RangeInput::Subquery(_)),
        _ => false,
    };
    costly && node.reads_samples()
}

/// What makes two nodes equal: all but where they are in the query, and the steps at which they are evaluated. Parts must
/// have equal distances, so that places of annotations can be moved from one to the other.
fn identity(node: &Node, grid: &str) -> Option<String> {
    is_worth_sharing(node).then(|| format!("{grid} {:?}", node.clone().moved(-(place(node) as isize))))
}

/// The steps of a node's first child, of those of the node itself. All other children have the steps of the node.
fn grid_below<'g>(node: &Node, grid: &'g str) -> Cow<'g, str> {
    let subquery = match node {
        Node::Subquery(subquery) => subquery,
        Node::Range(call) => match &call.input {
            RangeInput::Subquery(subquery) => subquery,
            RangeInput::Selector(_) => return grid.into(),
        },
        _ => return grid.into(),
    };
    // A fixed time is the same whatever is around it.
    let around = if subquery.time.at.is_some() { GRID } else { grid };
    format!("{around}/{}:{} {:?}", subquery.range, subquery.step, subquery.time).into()
}

/// Where a node is in the query: its own place, or, where it has none, that of the first of its parts that has one.
fn place(node: &Node) -> usize {
    let own = match node {
        Node::Aggregate(a) => a.pos,
        Node::Selector(s) => s.pos,
        Node::Matrix(m) => m.selector.pos,
        Node::Call(call) => call.pos,
        Node::Binary(b) => b.pos,
        Node::Range(call) => match &call.input {
            RangeInput::Selector(matrix) => matrix.selector.pos,
            RangeInput::Subquery(_) => NOWHERE,
        },
        _ => NOWHERE,
    };
    match own {
        NOWHERE => node.children().into_iter().map(place).find(|pos| *pos != NOWHERE).unwrap_or(NOWHERE),
        own => own,
    }
}

/// Counts equal nodes; not those inside of a node that is equal to an earlier one, which are never evaluated.
fn count(node: &Node, grid: &str, seen: &mut HashMap<String, usize>) {
    if let Some(identity) = identity(node, grid) {
        let times = seen.entry(identity).or_insert(0);
        *times += 1;
        if *times > 1 {
            return;
        }
    }
    let below = grid_below(node, grid);
    for (at, child) in node.children().into_iter().enumerate() {
        count(child, if at == 0 { &below } else { grid }, seen);
    }
}

fn mark(node: Node, grid: &str, seen: &HashMap<String, usize>, shared: &mut Vec<String>) -> Node {
    let identity = identity(&node, grid).filter(|i| seen.get(i).is_some_and(|n| *n > 1));
    let place = place(&node);
    let uses = identity.as_ref().map_or(0, |identity| seen[identity]);
    let id = identity.map(|identity| match shared.iter().position(|s| *s == identity) {
        Some(known) => known,
        None => {
            shared.push(identity);
            shared.len() - 1
        }
    });
    let (below, mut at) = (grid_below(&node, grid), 0);
    let expr = node.map_children(|child| {
        at += 1;
        mark(child, if at == 1 { &below } else { grid }, seen, shared)
    });
    match id {
        Some(id) => Node::Shared(Box::new(SharedNode { id, uses, pos: place, expr })),
        None => expr,
    }
}

/// What is visited on the way through a plan.
enum Part<'a> {
    /// A selector, with the length of its range.
    Selector(&'a mut Selector, Option<i64>),
    /// A shared part, by its number.
    Shared(usize),
}

/// Visits all selectors and shared parts; not what is inside those for which `visit` is false.
fn selectors(node: &mut Node, visit: &mut impl FnMut(Part<'_>) -> bool) {
    match node {
        Node::Selector(selector) => {
            visit(Part::Selector(selector, None));
        }
        Node::Matrix(RangeSelector { selector, range }) => {
            visit(Part::Selector(selector, Some(*range)));
        }
        Node::Range(call) => {
            let RangeCall { input, args, .. } = &mut **call;
            match input {
                RangeInput::Selector(matrix) => {
                    visit(Part::Selector(&mut matrix.selector, Some(matrix.range)));
                }
                RangeInput::Subquery(subquery) => selectors(&mut subquery.expr, visit),
            }
            args.iter_mut().for_each(|arg| selectors(arg, visit));
        }
        Node::Subquery(subquery) => selectors(&mut subquery.expr, visit),
        Node::Call(call) => call.args.iter_mut().for_each(|arg| selectors(arg, visit)),
        Node::Aggregate(a) => {
            selectors(&mut a.expr, visit);
            a.param.iter_mut().for_each(|param| selectors(param, visit));
        }
        Node::Binary(binary) => {
            selectors(&mut binary.lhs, visit);
            selectors(&mut binary.rhs, visit);
        }
        Node::Negate(inner) | Node::Invariant(inner) => selectors(inner, visit),
        Node::Shared(shared) => {
            if visit(Part::Shared(shared.id)) {
                selectors(&mut shared.expr, visit);
            }
        }
        Node::Number(_) | Node::Text(_) | Node::Precomputed(_) => {}
    }
}

/// What makes two selectors read the same samples, when they are evaluated over the same steps.
fn reading(selector: &Selector, range: Option<i64>) -> String {
    let mut matchers: Vec<String> = selector.matchers.iter().map(|m| m.to_string()).collect();
    matchers.sort_unstable();
    let extended = (selector.anchored, selector.smoothed);
    format!("{matchers:?} {range:?} {:?} {extended:?}", selector.time)
}

impl Node {
    /// The same node at another place in the query.
    fn moved(self, by: isize) -> Node {
        let at = |pos: usize| annotations::moved(pos, by);
        let node = match self {
            Node::Selector(s) => Node::Selector(Selector { pos: at(s.pos), ..s }),
            Node::Matrix(mut m) => {
                m.selector.pos = at(m.selector.pos);
                Node::Matrix(m)
            }
            Node::Range(mut call) => {
                call.pos = at(call.pos);
                if let RangeInput::Selector(m) = &mut call.input {
                    m.selector.pos = at(m.selector.pos);
                }
                Node::Range(call)
            }
            Node::Call(mut call) => {
                call.pos = at(call.pos);
                call.arg_pos.iter_mut().for_each(|pos| *pos = at(*pos));
                Node::Call(call)
            }
            Node::Aggregate(mut a) => {
                (a.pos, a.expr_pos) = (at(a.pos), at(a.expr_pos));
                if a.param.is_some() {
                    a.param_pos = at(a.param_pos);
                }
                Node::Aggregate(a)
            }
            Node::Binary(mut b) => {
                b.pos = at(b.pos);
                Node::Binary(b)
            }
            Node::Precomputed(precomputed) => {
                Node::Precomputed(PrecomputedRef { pos: at(precomputed.pos), ..precomputed })
            }
            other => other,
        };
        node.map_children(|child| child.moved(by))
    }
}

#[cfg(test)]
mod tests;
