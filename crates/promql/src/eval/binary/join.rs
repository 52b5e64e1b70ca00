//! Operators between vectors. The "one" side is held in memory, by match group; the "many" side flows past it.

use std::collections::HashMap as LabelMap;
use std::collections::hash_map::Entry;

use hashbrown::HashMap;
use pharos_model::labels::LabelsIter;
use pharos_model::{Labels, LabelsBuilder};

use super::element::{self, Element, Outcomes, Value};
use super::{changes_metric, compares, left_first};
use crate::error::{QueryError, same_labels};
use crate::eval::bitmap::Bitmap;
use crate::eval::cancellation::CancellationCheck;
use crate::eval::row::{Grid, Row};
use crate::eval::shared::{Reservation, entry_bytes};
use crate::eval::vector_matching::{LabelFilter, RawLabels, without_metadata};
use crate::eval::{Eval, Outcome, Sink};
use crate::plan::Binary;
use crate::syntax::ast::Cardinality;

/// Labels that, like the name, identify the metric and are dropped when an operator changes it.
const METADATA: [&str; 2] = ["__type__", "__unit__"];

fn has_metadata(labels: &Labels) -> bool {
    METADATA.iter().any(|label| labels.get(label).is_some())
}

/// Whether a series that is missing on one side is replaced by a value.
fn is_filled(binary: &Binary) -> bool {
    binary.matching.fill_left.is_some() || binary.matching.fill_right.is_some()
}

/// Evaluates an operator between vectors.
pub(super) fn evaluate(ev: &Eval<'_, '_>, binary: &Binary, grid: Grid, sink: Sink<'_>) -> Outcome {
    let swapped = binary.matching.card == Cardinality::OneToMany;
    let (one, many) = if swapped { (&binary.lhs, &binary.rhs) } else { (&binary.rhs, &binary.lhs) };
    let filled = is_filled(binary);
    let (one, one_notes) = match ev.ahead(|| ev.collect(one, grid)) {
        Ok(collected) => collected,
        Err(error) if swapped => return Err(error),
        Err(error) => return Err(left_first(ev, many, grid, error)),
    };
    let mut one_notes = Some(one_notes);
    // The annotations of the left side come first.
    if let Some(notes) = one_notes.take_if(|_| swapped) {
        ev.note(|n| n.absorb(notes));
    }
    if one.rows.is_empty() && !filled {
        // Nothing can match, but the errors and annotations of the other side still count.
        ev.stream(many, grid, &mut |_| Ok(()))?;
        ev.note(|n| one_notes.into_iter().for_each(|notes| n.absorb(notes)));
        return Ok(());
    }
    let mut join = Join::new(ev, binary, &one.rows, swapped, grid)?;
    let mut many_steps = Bitmap::new(grid.len);
    ev.stream(many, grid, &mut |row| {
        many_steps.unite(&row.occupied());
        join.probe(ev, row, sink)
    })?;
    ev.note(|n| one_notes.into_iter().for_each(|notes| n.absorb(notes)));
    join.fill_many(ev, sink)?;
    join.check(&many_steps, filled)?;
    join.above.take().map_or(Ok(()), Err)?;
    join.outcomes.note(ev, binary);
    Ok(())
}

/// The series of the "one" side with the same match labels.
struct Group {
    rows: Vec<usize>,
    /// The steps at which any of the series has a sample.
    occupied: Bitmap,
    /// The steps at which the group was matched.
    matched: Bitmap,
}

struct Join<'a, 's, 'q> {
    /// The memory of everything below but the series of the "one" side.
    held: Reservation<'s, 'q>,
    binary: &'a Binary,
    /// Whether the "one" side is the left one.
    swapped: bool,
    grid: Grid,
    one: &'a [Row],
    filter: LabelFilter,
    groups: Vec<Group>,
    index: HashMap<Box<[u8]>, usize>,
    /// For each step, the first series of the "one" side that shares its group with another series, and the group. Empty when
    /// no step has one.
    duplicates: Vec<Option<(usize, usize)>>,
    /// The first step at which a group is matched more than once.
    ambiguous: Option<usize>,
    /// Whether two groups may have the same result: series of the "one" side have metadata labels, which are dropped, or missing
    /// series are filled in.
    may_clash: bool,
    /// By labels of the result, the group and its steps; kept only where groups may have the same result.
    claimed: LabelMap<Labels, (usize, Bitmap)>,
    /// The first step at which two groups have the same result.
    clash: Option<usize>,
    /// An error of the operator above. An error of this operator takes precedence.
    above: Option<QueryError>,
    /// The steps of the results of many-to-one matches, by group and labels.
    results: LabelMap<(usize, Labels), Bitmap>,
    outcomes: Outcomes,
    key: Vec<u8>,
    out: Row,
    check: CancellationCheck,
}

impl<'a, 's, 'q> Join<'a, 's, 'q> {
    fn new(ev: &Eval<'s, 'q>, binary: &'a Binary, one: &'a [Row], swapped: bool, grid: Grid) -> Outcome<Self> {
        let mut join = Join {
            held: ev.reserve(),
            binary,
            swapped,
            grid,
            one,
            filter: LabelFilter::of(&binary.matching),
            groups: Vec::new(),
            index: HashMap::new(),
            duplicates: Vec::new(),
            ambiguous: None,
            may_clash: is_filled(binary) || one.iter().any(|row| has_metadata(&row.labels)),
            claimed: LabelMap::new(),
            clash: None,
            above: None,
            results: LabelMap::new(),
            outcomes: Outcomes::default(),
            key: Vec::new(),
            out: Row::default(),
            check: CancellationCheck::default(),
        };
        join.held.grow(Row::bytes_over(grid.len), 0)?;
        for (at, row) in one.iter().enumerate() {
            join.check.row(ev, grid.len)?;
            join.build(at, row)?;
        }
        Ok(join)
    }

    fn find(&mut self, labels: &Labels) -> Option<usize> {
        self.key.clear();
        self.filter.append(RawLabels::of(labels), &mut self.key);
        self.index.get(&self.key[..]).copied()
    }

    fn add_group(&mut self) -> Outcome<usize> {
        let group = self.groups.len();
        self.held
            .grow(entry_bytes::<Box<[u8]>, usize>() + self.key.len() + 2 * Bitmap::bytes_over(self.grid.len), 0)?;
        self.index.insert(self.key.as_slice().into(), group);
        let steps = Bitmap::new(self.grid.len);
        self.held.push(&mut self.groups, Group { rows: Vec::new(), occupied: steps.clone(), matched: steps })?;
        Ok(group)
    }

    /// Adds a series of the "one" side.
    fn build(&mut self, at: usize, row: &Row) -> Outcome {
        let group = match self.find(&row.labels) {
            Some(group) => group,
            None => self.add_group()?,
        };
        let steps = row.occupied();
        let known = &mut self.groups[group];
        if known.occupied.intersects(&steps) {
            self.held.resize(&mut self.duplicates, self.grid.len, None)?;
            for step in steps.iter().filter(|step| known.occupied.get(*step)) {
                self.duplicates[step].get_or_insert((at, group));
            }
        }
        known.occupied.unite(&steps);
        self.held.push(&mut known.rows, at)
    }

    /// Fails when a match was not unique. As in Prometheus, the first step with an error determines which.
    fn check(&self, many_steps: &Bitmap, filled: bool) -> Outcome {
        let counts = |(step, found): (usize, &Option<(usize, usize)>)| {
            found.filter(|_| filled || many_steps.get(step)).map(|(at, group)| (step, at, group))
        };
        let duplicate = self.duplicates.iter().enumerate().find_map(counts);
        let others = duplicate.map(|(step, ..)| step).into_iter().chain(self.ambiguous).min();
        if self.clash.is_some_and(|clash| others.is_none_or(|other| clash < other)) {
            return Err(same_labels());
        }
        let ambiguous = self.ambiguous.filter(|step| duplicate.is_none_or(|(other, ..)| *step < other));
        if ambiguous.is_some() {
            let reason = match self.binary.matching.card {
                Cardinality::OneToOne => "many-to-one matching must be explicit (group_left/group_right)",
                _ => "grouping labels must ensure unique matches",
            };
            return Err(QueryError::Execution(format!("multiple matches for labels: {reason}")));
        }
        let Some((step, at, group)) = duplicate else { return Ok(()) };
        let mut same_group = self.groups[group].rows.iter();
        let before = same_group.find(|row| self.one[**row].occupied().get(step)).copied().unwrap_or(at);
        let side = if self.swapped { "left" } else { "right" };
        let group = self.filter.apply(&self.one[at].labels);
        let mut pair = [before, at].map(|at| self.one[at].labels.to_string());
        pair.sort_unstable();
        let [first, second] = pair;
        Err(QueryError::Execution(format!(
            "found duplicate series for the match group {group} on the {side} hand-side of the operation: [{first}, {second}];many-to-many matching not allowed: matching labels must be unique on one side"
        )))
    }

    /// Matches a series of the "many" side.
    fn probe(&mut self, ev: &Eval<'_, '_>, row: &mut Row, sink: Sink<'_>) -> Outcome {
        self.check.row(ev, self.grid.len)?;
        let found = self.find(&row.labels);
        let mut rest = row.occupied();
        if let Some(group) = found {
            for at in 0..self.groups[group].rows.len() {
                if rest.is_empty() {
                    break;
                }
                self.check.samples(ev, self.grid.len)?;
                let one = &self.one[self.groups[group].rows[at]];
                let mut steps = one.occupied();
                steps.intersect(&rest);
                if !steps.is_empty() {
                    rest.subtract(&steps);
                    self.combine(group, row, one, steps, sink)?;
                }
            }
        }
        let Some(value) = self.binary.matching.fill_right.filter(|_| !rest.is_empty()) else { return Ok(()) };
        let group = match found {
            Some(group) => group,
            None => self.add_group()?,
        };
        let other = self.filler(&row.labels, value, &rest);
        self.combine(group, row, &other, rest, sink)
    }

    /// Matches the unmatched steps of the "one" side with the fill value.
    fn fill_many(&mut self, ev: &Eval<'_, '_>, sink: Sink<'_>) -> Outcome {
        let Some(value) = self.binary.matching.fill_left else { return Ok(()) };
        for group in 0..self.groups.len() {
            for at in 0..self.groups[group].rows.len() {
                self.check.row(ev, self.grid.len)?;
                let one = &self.one[self.groups[group].rows[at]];
                let mut steps = one.occupied();
                steps.subtract(&self.groups[group].matched);
                if !steps.is_empty() {
                    let other = self.filler(&one.labels, value, &steps);
                    self.combine(group, &other, one, steps, sink)?;
                }
            }
        }
        Ok(())
    }

    /// A series with a constant value and the match labels of another series.
    fn filler(&self, labels: &Labels, value: f64, steps: &Bitmap) -> Row {
        let mut row = Row::default();
        row.reset(&self.filter.apply(labels), self.grid.len);
        row.values.fill(value);
        row.present = steps.clone();
        row
    }

    /// Applies the operator at `steps`, where both sides have a sample.
    fn combine(&mut self, group: usize, many: &Row, one: &Row, mut steps: Bitmap, sink: Sink<'_>) -> Outcome {
        let labels = self.result_labels(&many.labels, &one.labels);
        let mut out = std::mem::take(&mut self.out);
        out.reset(&labels, self.grid.len);
        out.drop_name = self.binary.return_bool;
        let (l, r) = if self.swapped { (one, many) } else { (many, one) };
        if l.hists.is_empty() && r.hists.is_empty() {
            self.floats(l, r, &mut steps, &mut out);
        } else {
            self.samples(l, r, &mut steps, &mut out);
        }
        self.detect_clash(group, &many.labels, &out)?;
        self.detect_ambiguity(group, labels, &steps)?;
        // A query that fails anyway needs no more results, only the first of its errors.
        let useless = out.is_empty() || self.ambiguous.is_some() || self.above.is_some();
        let mut passed_on = if useless { Ok(()) } else { sink(&mut out) };
        if let Err(QueryError::Execution(_)) = &passed_on {
            self.above = std::mem::replace(&mut passed_on, Ok(())).err();
        }
        self.out = out;
        passed_on
    }

    /// Applies the operator to columns of floats. Steps at which it is undefined are removed from `steps`.
    fn floats(&mut self, l: &Row, r: &Row, steps: &mut Bitmap, out: &mut Row) {
        let op = self.binary.op;
        out.values.copy_from_slice(&l.values);
        if compares(op) {
            let truth = element::comparison(op);
            for step in steps.iter() {
                let keep = truth(l.values[step], r.values[step]);
                if self.binary.return_bool {
                    out.put(step, f64::from(u8::from(keep)));
                } else if keep {
                    out.present.set(step);
                }
            }
        } else if changes_metric(op) {
            element::arithmetic(op, &mut out.values, &r.values, false);
            out.present = steps.clone();
        } else {
            steps.iter().for_each(|step| self.outcomes.incompatible(step, "float", "float"));
            steps.reset(self.grid.len);
        }
    }

    /// Applies the operator sample by sample.
    fn samples(&mut self, l: &Row, r: &Row, steps: &mut Bitmap, out: &mut Row) {
        let wanted = std::mem::replace(steps, Bitmap::new(self.grid.len));
        fn at(row: &Row, step: usize) -> Element<'_> {
            match row.hist(step) {
                Some(h) => Element::Hist(h),
                None => Element::Float(row.values[step]),
            }
        }
        for step in wanted.iter() {
            let Some((value, keep)) = self.outcomes.apply(self.binary.op, step, at(l, step), at(r, step)) else {
                continue;
            };
            steps.set(step);
            match value {
                _ if self.binary.return_bool => out.put(step, f64::from(u8::from(keep))),
                _ if !keep => {}
                Value::Float(value) => out.put(step, value),
                Value::Hist(h) => out.hists.push((step as u32, h)),
            }
        }
    }

    /// Detects two groups with the same result at a step. That is possible if dropped labels take part in the match. For an
    /// instant query, the end of the query checks this.
    fn detect_clash(&mut self, group: usize, many: &Labels, out: &Row) -> Outcome {
        if self.grid.instant || !(self.may_clash || has_metadata(many)) {
            return Ok(());
        }
        let steps = out.occupied();
        match self.claimed.get_mut(&out.labels) {
            Some((other, before)) => {
                if *other != group && before.intersects(&steps) {
                    let first = steps.iter().find(|step| before.get(*step));
                    self.clash = self.clash.into_iter().chain(first).min();
                }
                before.unite(&steps);
            }
            None => {
                let entry = entry_bytes::<Labels, (usize, Bitmap)>();
                self.held.grow(entry + out.labels.as_bytes().len() + Bitmap::bytes_over(self.grid.len), 0)?;
                self.claimed.insert(out.labels.clone(), (group, steps));
            }
        }
        Ok(())
    }

    /// Detects two matches of a group with the same result at a step.
    fn detect_ambiguity(&mut self, group: usize, labels: Labels, steps: &Bitmap) -> Outcome {
        let matched = &mut self.groups[group].matched;
        let taken = if self.binary.matching.card == Cardinality::OneToOne {
            &mut *matched
        } else {
            match self.results.entry((group, labels)) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => {
                    let entry = entry_bytes::<(usize, Labels), Bitmap>();
                    self.held.grow(entry + new.key().1.as_bytes().len() + Bitmap::bytes_over(self.grid.len), 0)?;
                    new.insert(Bitmap::new(self.grid.len))
                }
            }
        };
        if taken.intersects(steps) {
            let first = steps.iter().find(|step| taken.get(*step));
            self.ambiguous = self.ambiguous.into_iter().chain(first).min();
        }
        taken.unite(steps);
        matched.unite(steps);
        Ok(())
    }

    fn result_labels(&self, many: &Labels, one: &Labels) -> Labels {
        let matching = &self.binary.matching;
        let base = if changes_metric(self.binary.op) { without_metadata(many) } else { many.clone() };
        let named = |name: &str| matching.labels.iter().any(|l| l == name);
        let base = match (matching.card, matching.on) {
            (Cardinality::OneToOne, true) => base.without(|name| !named(name)),
            (Cardinality::OneToOne, false) if !matching.labels.is_empty() => base.without(named),
            _ => base,
        };
        if matching.include.is_empty() {
            return base;
        }
        let mut builder = LabelsBuilder::default();
        LabelsIter::over(base.as_bytes()).for_each(|(name, value)| {
            builder.set(name, value);
        });
        for name in &matching.include {
            builder.set(name, one.get(name).unwrap_or(""));
        }
        builder.build()
    }
}
