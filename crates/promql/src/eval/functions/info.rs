//! `info()`: adds the labels of info series to the series that share their `instance` and `job`.

use std::collections::{BTreeMap, BTreeSet};

use pharos_model::labels::LabelsIter;
use pharos_model::{Labels, LabelsBuilder, METRIC_NAME, MatchOp, Matcher};

use super::labels::Seen;
use crate::error::QueryError;
use crate::eval::bitmap::Bitmap;
use crate::eval::cancellation::CancellationCheck;
use crate::eval::row::{Grid, Row};
use crate::eval::selector::{self, Field};
use crate::eval::{Eval, Outcome, Sink};
use crate::plan::{Call, Node, Reference, Selector, info_reference};

/// The labels by which series and their info series belong together.
const IDENTIFYING: [&str; 2] = ["instance", "job"];
/// The info metric that is meant when none is named.
const TARGET_INFO: &str = "target_info";

/// What an info series is found by: its name and the identifying labels' values.
type Key = [String; 3];

/// Evaluates `info(v)` or `info(v, {labels})`.
pub(super) fn evaluate(ev: &Eval<'_, '_>, call: &Call, grid: Grid, sink: Sink<'_>) -> Outcome {
    let mut base = ev.collect(&call.args[0], grid)?;
    let wanted = Wanted::of(call)?;
    let is_info = |labels: &Labels| wanted.names.iter().all(|m| m.matches(labels.metric_name()));
    let time = info_reference(&call.args[0]).unwrap_or_default();
    let infos = wanted.fetch(ev, base.rows.iter().map(|r| &r.labels).filter(|l| !is_info(l)), time, grid)?;
    let mut any = Bitmap::new(grid.len);
    base.rows.iter().for_each(|row| any.unite(&row.occupied()));
    let newest = newest(ev, &infos, &any)?;
    let names: BTreeSet<&str> = infos.iter().map(|row| row.labels.metric_name()).collect();
    let mut seen = Seen::default();
    let mut emit = |row: &mut Row| {
        seen.add(row)?;
        sink(row)
    };
    for row in &mut base.rows {
        ev.shared.check()?;
        if is_info(&row.labels) {
            emit(row)?;
            continue;
        }
        for (chosen, steps) in choices(row, &names, &newest) {
            let Some(labels) = wanted.enriched(&row.labels, &chosen, &infos)? else { continue };
            let mut out = row.clone();
            out.labels = labels;
            out.mask(&steps);
            emit(&mut out)?;
        }
    }
    Ok(())
}

/// Which info series and which of their labels are wanted.
struct Wanted {
    /// Matchers of the info metric's name.
    names: Vec<Matcher>,
    /// Matchers of its labels; only these labels are added when there are any.
    data: Vec<Matcher>,
}

impl Wanted {
    fn of(call: &Call) -> Outcome<Self> {
        let matchers = match call.args.get(1) {
            Some(Node::Selector(selector)) => selector.matchers.clone(),
            _ => vec![Matcher::equal(METRIC_NAME, TARGET_INFO)],
        };
        let (mut names, data): (Vec<_>, Vec<_>) = matchers.into_iter().partition(|m| m.name == METRIC_NAME);
        let positive = names.iter().any(|m| matches!(m.op, MatchOp::Equal | MatchOp::Regex));
        if names.is_empty() {
            names.push(Matcher::equal(METRIC_NAME, TARGET_INFO));
        } else if !positive {
            names.insert(0, matcher(MatchOp::Regex, METRIC_NAME, ".+_info".into())?);
        }
        Ok(Wanted { names, data })
    }

    /// The info series that share identifying labels with any of `series`; values are times of samples.
    fn fetch<'l>(
        &self,
        ev: &Eval<'_, '_>,
        series: impl Iterator<Item = &'l Labels>,
        time: Reference,
        grid: Grid,
    ) -> Outcome<Vec<Row>> {
        let mut patterns: BTreeMap<[bool; 2], [BTreeSet<String>; 2]> = BTreeMap::new();
        let mut check = CancellationCheck::default();
        for labels in series {
            check.row(ev, grid.len)?;
            let values = IDENTIFYING.map(|name| labels.get(name).unwrap_or("").to_string());
            let present = [!values[0].is_empty(), !values[1].is_empty()];
            if present == [false, false] {
                continue;
            }
            let sets = patterns.entry(present).or_default();
            sets.iter_mut().zip(values).for_each(|(set, value)| {
                set.insert(value);
            });
        }
        let mut rows = Vec::new();
        let mut reservation = ev.reserve();
        for (present, values) in patterns {
            let mut matchers = Vec::new();
            for ((name, present), values) in IDENTIFYING.iter().zip(present).zip(values) {
                let escaped: Vec<String> = values.iter().map(|v| regex::escape(v)).collect();
                matchers.push(if present {
                    matcher(MatchOp::Regex, name, escaped.join("|"))?
                } else {
                    Matcher::equal(*name, "")
                });
            }
            matchers.extend(self.data.iter().chain(&self.names).cloned());
            let selector = Selector {
                matchers,
                time,
                anchored: false,
                smoothed: false,
                stats: false,
                implied: 0,
                readers: 1,
                pos: 0,
            };
            selector::instant(ev, &selector, grid, Field::Milliseconds, &mut |row| {
                let row = std::mem::take(row);
                reservation.grow(row.bytes(), row.samples())?;
                rows.push(row);
                Ok(())
            })?;
        }
        Ok(rows)
    }

    /// The labels of a series with those of its info series; nothing when it lacks an info series that it must have.
    fn enriched(&self, base: &Labels, chosen: &[usize], infos: &[Row]) -> Outcome<Option<Labels>> {
        if chosen.is_empty() {
            let optional = self.data.iter().all(Matcher::matches_empty);
            return Ok(optional.then(|| base.clone()));
        }
        let mut added = LabelsBuilder::default();
        for &info in chosen {
            for (name, value) in LabelsIter::over(infos[info].labels.as_bytes()) {
                let unwanted = !self.data.is_empty() && !self.data.iter().any(|m| m.name == name);
                if name == METRIC_NAME || unwanted {
                    continue;
                }
                if !matches!(added.get(name), "") && added.get(name) != value {
                    return Err(QueryError::Execution(format!("conflicting label: {name}")));
                }
                if base.get(name).is_none() {
                    added.set(name, value);
                }
            }
        }
        let mut labels = LabelsBuilder::from_labels(base);
        added.iter().for_each(|(name, value)| {
            labels.set(name, value);
        });
        Ok(Some(labels.build()))
    }
}

fn matcher(op: MatchOp, name: &str, value: String) -> Outcome<Matcher> {
    Matcher::new(op, name, value).map_err(|e| QueryError::Execution(e.to_string()))
}

fn key(name: &str, labels: &Labels) -> Key {
    let value = |name| labels.get(name).unwrap_or("").to_string();
    [name.to_string(), value(IDENTIFYING[0]), value(IDENTIFYING[1])]
}

/// For each key and step, the info series with the newest sample. Two that are equally new are an error, and so are histograms.
fn newest(ev: &Eval<'_, '_>, infos: &[Row], any: &Bitmap) -> Outcome<BTreeMap<Key, Vec<Option<usize>>>> {
    let mut check = CancellationCheck::default();
    let mut best: BTreeMap<Key, Vec<Option<usize>>> = BTreeMap::new();
    for (at, row) in infos.iter().enumerate() {
        check.row(ev, any.len())?;
        if row.hists.iter().any(|(step, _)| any.get(*step as usize)) {
            let reason = format!("this should be an info metric, with float samples: {}", row.labels);
            return Err(QueryError::Execution(reason));
        }
        let of_key = best.entry(key(row.labels.metric_name(), &row.labels)).or_insert_with(|| vec![None; any.len()]);
        for step in row.present.iter().filter(|step| any.get(*step)) {
            let t = row.values[step];
            match of_key[step].map(|before| (before, infos[before].values[step])) {
                Some((before, before_t)) if before_t == t => {
                    return Err(QueryError::Execution(format!(
                        "found duplicate series for info metric: existing {} @ {t}, new {} @ {t}",
                        infos[before].labels, row.labels
                    )));
                }
                Some((_, before_t)) if before_t > t => {}
                _ => of_key[step] = Some(at),
            }
        }
    }
    Ok(best)
}

/// The steps of a series by the info series that belong to it then.
fn choices(
    row: &Row,
    names: &BTreeSet<&str>,
    newest: &BTreeMap<Key, Vec<Option<usize>>>,
) -> BTreeMap<Vec<usize>, Bitmap> {
    let candidates: Vec<_> = names.iter().filter_map(|name| newest.get(&key(name, &row.labels))).collect();
    let mut by_choice: BTreeMap<Vec<usize>, Bitmap> = BTreeMap::new();
    let occupied = row.occupied();
    for step in occupied.iter() {
        let chosen: Vec<usize> = candidates.iter().filter_map(|best| best[step]).collect();
        by_choice.entry(chosen).or_insert_with(|| Bitmap::new(occupied.len())).set(step);
    }
    by_choice
}
