//! Common subexpression elimination: equal aggregations are marked as shared, and so are selectors that read the same
//! samples.
//!
//! Sharing is only a mark. Each place keeps what it needs to be evaluated by itself, in case the shared result is too
//! large to be kept.

mod identity;

use std::collections::HashSet;

use self::identity::{Reading, place, same};
use super::node::{Node, RangeCall, RangeInput, RangeSelector, Reference, Selector, SharedNode, Subquery};

/// Larger plans are left as they are: the search takes the square of their size, which would cost more than sharing can
/// save.
const MAX_NODES: usize = 300;

/// Marks the equal parts of a plan.
pub(super) fn share(node: Node) -> Node {
    let mut nodes = [node];
    share_in(&mut nodes);
    let [node] = nodes;
    node
}

fn share_in(nodes: &mut [Node]) {
    if nodes.iter().map(Node::size).sum::<usize>() > MAX_NODES {
        return;
    }
    let Groups { of_nodes, uses, .. } = Groups::of(nodes);
    let mut marking = Marking { groups: of_nodes, uses, next: 0, ids: Vec::new() };
    for node in nodes.iter_mut() {
        *node = marking.mark(std::mem::replace(node, Node::Number(0.0)));
    }
    count_readers(nodes);
}

/// The steps at which a part is evaluated: those of the query, as the subqueries around the part change them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct StepGrid(Vec<SubqueryWindow>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SubqueryWindow {
    range: i64,
    step: i64,
    time: Reference,
}

impl StepGrid {
    /// The steps of the inside of a subquery.
    fn inside(&self, subquery: &Subquery) -> StepGrid {
        let window = SubqueryWindow { range: subquery.range, step: subquery.step, time: subquery.time };
        // With a fixed time, the steps are the same whatever is around the subquery.
        let around = if subquery.time.at.is_some() { &[][..] } else { &self.0[..] };
        StepGrid(around.iter().copied().chain([window]).collect())
    }

    /// The steps of each child of a node. Only the inside of a subquery has other steps than the node.
    fn of_children(&self, node: &Node) -> impl Fn(usize) -> StepGrid {
        let subquery = match node {
            Node::Subquery(subquery) => Some(&**subquery),
            Node::Range(call) => match &call.input {
                RangeInput::Subquery(subquery) => Some(subquery),
                RangeInput::Selector(_) => None,
            },
            _ => None,
        };
        let same = self.clone();
        let first = subquery.map_or_else(|| self.clone(), |subquery| self.inside(subquery));
        move |child| if child == 0 { first.clone() } else { same.clone() }
    }
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

/// The nodes of plans, sorted into groups of equal ones.
#[derive(Default)]
struct Groups<'p> {
    /// One node of each group.
    members: Vec<Member<'p>>,
    /// How many nodes of each group are evaluated if each group is evaluated once.
    uses: Vec<usize>,
    /// The group of each node, if it is worth sharing, in the order of a walk that visits parents first.
    of_nodes: Vec<Option<usize>>,
}

struct Member<'p> {
    node: &'p Node,
    grid: StepGrid,
    size: usize,
}

impl<'p> Groups<'p> {
    fn of(nodes: &'p [Node]) -> Self {
        let mut groups = Groups::default();
        nodes.iter().for_each(|node| groups.visit(node, &StepGrid::default(), true));
        groups
    }

    /// `evaluated`: whether no node around this one is equal to an earlier one, which would be evaluated in its place.
    fn visit(&mut self, node: &'p Node, grid: &StepGrid, mut evaluated: bool) {
        let group = is_worth_sharing(node).then(|| self.group_of(node, grid));
        self.of_nodes.push(group);
        if let Some(group) = group.filter(|_| evaluated) {
            self.uses[group] += 1;
            evaluated = self.uses[group] == 1;
        }
        let grids = grid.of_children(node);
        for (at, child) in node.children().into_iter().enumerate() {
            self.visit(child, &grids(at), evaluated);
        }
    }

    fn group_of(&mut self, node: &'p Node, grid: &StepGrid) -> usize {
        let size = node.size();
        let equal = |m: &Member<'_>| m.size == size && m.grid == *grid && same(m.node, node);
        self.members.iter().position(equal).unwrap_or_else(|| {
            self.members.push(Member { node, grid: grid.clone(), size });
            self.uses.push(0);
            self.members.len() - 1
        })
    }
}

/// Wraps the nodes of groups that are used more than once, in the same walk as that of [`Groups`].
struct Marking {
    groups: Vec<Option<usize>>,
    uses: Vec<usize>,
    /// The next node of the walk.
    next: usize,
    /// The groups that have an identifier, in the order of their identifiers.
    ids: Vec<usize>,
}

impl Marking {
    fn mark(&mut self, node: Node) -> Node {
        let group = self.groups.get(self.next).copied().flatten().filter(|group| self.uses[*group] > 1);
        self.next += 1;
        let shared = group.map(|group| (self.id_of(group), self.uses[group], place(&node)));
        let expr = node.map_children(|child| self.mark(child));
        match shared {
            Some((id, uses, pos)) => Node::Shared(Box::new(SharedNode { id, uses, pos, expr })),
            None => expr,
        }
    }

    fn id_of(&mut self, group: usize) -> usize {
        self.ids.iter().position(|known| *known == group).unwrap_or_else(|| {
            self.ids.push(group);
            self.ids.len() - 1
        })
    }
}

/// Tells each selector how many selectors read the same samples.
fn count_readers(nodes: &mut [Node]) {
    let mut readings: Vec<(Reading, usize)> = Vec::new();
    let mut evaluated = HashSet::new();
    let mut count = |part: Visited<'_>| match part {
        // Only the first of equal parts is evaluated.
        Visited::Shared(id) => evaluated.insert(id),
        Visited::Selector(selector, range) => {
            let reading = Reading::of(selector, range);
            match readings.iter_mut().find(|(known, _)| *known == reading) {
                Some((_, readers)) => *readers += 1,
                None => readings.push((reading, 1)),
            }
            true
        }
    };
    nodes.iter_mut().for_each(|node| visit_selectors(node, &mut count));
    let mut note = |part: Visited<'_>| {
        if let Visited::Selector(selector, range) = part {
            let reading = Reading::of(selector, range);
            selector.readers = readings.iter().find(|(known, _)| *known == reading).map_or(1, |(_, readers)| *readers);
        }
        true
    };
    nodes.iter_mut().for_each(|node| visit_selectors(node, &mut note));
}

/// What is met on the way through a plan.
enum Visited<'a> {
    /// A selector, with the length of its range.
    Selector(&'a mut Selector, Option<i64>),
    /// A shared part, by its identifier.
    Shared(usize),
}

/// Visits all selectors and shared parts, but not the inside of a shared part for which `visit` returns false.
fn visit_selectors(node: &mut Node, visit: &mut impl FnMut(Visited<'_>) -> bool) {
    match node {
        Node::Selector(selector) => {
            visit(Visited::Selector(selector, None));
        }
        Node::Matrix(RangeSelector { selector, range }) => {
            visit(Visited::Selector(selector, Some(*range)));
        }
        Node::Range(call) => {
            let RangeCall { input, args, .. } = &mut **call;
            match input {
                RangeInput::Selector(matrix) => {
                    visit(Visited::Selector(&mut matrix.selector, Some(matrix.range)));
                }
                RangeInput::Subquery(subquery) => visit_selectors(&mut subquery.expr, visit),
            }
            args.iter_mut().for_each(|arg| visit_selectors(arg, visit));
        }
        Node::Shared(shared) => {
            if visit(Visited::Shared(shared.id)) {
                visit_selectors(&mut shared.expr, visit);
            }
        }
        other => other.children_mut().into_iter().for_each(|child| visit_selectors(child, visit)),
    }
}

#[cfg(test)]
mod tests;
