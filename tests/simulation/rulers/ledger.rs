//! What was evaluated when and by whom, as the writes of rules show it, and what must hold of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use pharos_model::{Labels, TenantId, WriteBatch, WriteError, WriteOutcome, is_stale_nan};
use pharos_promql::syntax::ast::Expr;
use pharos_promql::{SampleValue, VectorSample};
use pharos_ruler::{RuleEngine, RuleWork};
use pharos_rules::{QueryFailure, RuleQueries};
use pharos_transport::Ingest;

use super::{GROUPS, interval_ms};
use crate::BASE_MS;
use crate::env::{Env, Ms};
use crate::network::Process;

/// How long before a slot somebody has to be fit to evaluate it, and how long after it at most somebody decides about it.
const BEFORE_MS: Ms = 300;
const AFTER_MS: Ms = 1300;

/// Why the owners of a moment may err.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Excuse {
    /// A ruler neither knows the newest assignment nor hears from meta: groups may be evaluated twice, or not at all.
    pub(crate) lags: bool,
    /// An owner has died or could not say that it leaves: its groups are not evaluated until the others know.
    pub(crate) lacks: bool,
}

/// All evaluations of a run.
#[derive(Clone)]
pub(crate) struct Ledger {
    env: Env,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// Who evaluated a group for a slot, by group and time of the slot.
    evaluated: BTreeMap<(usize, i64), Vec<String>>,
    excuses: BTreeMap<Ms, Excuse>,
    /// The slots that rulers counted as missed, by group.
    missed: BTreeMap<usize, u64>,
}

/// The name of the series that a group writes.
fn series(group: usize) -> String {
    format!("g{group}:up")
}

/// The group of a query or a series that names its series.
fn group_of(text: &str) -> Option<usize> {
    let end = text.find(":up")?;
    let start = text[..end].rfind('g')? + 1;
    text[start..end].parse().ok()
}

impl Ledger {
    pub(crate) fn new(env: Env) -> Self {
        Ledger { env, state: Arc::default() }
    }

    /// Notes what excuses the present moment.
    pub(crate) fn excuse(&self, excuse: Excuse) {
        self.state.lock().excuses.insert(self.env.now(), excuse);
    }

    /// Notes that a ruler has counted slots of a group as missed.
    pub(crate) fn missed(&self, group: usize, slots: u64) {
        *self.state.lock().missed.entry(group).or_default() += slots;
    }

    /// The last slot up to a time for which a group was evaluated.
    fn newest(&self, group: usize, at_ms: i64) -> Option<i64> {
        let state = self.state.lock();
        state.evaluated.range((group, i64::MIN)..=(group, at_ms)).next_back().map(|((_, t), _)| *t)
    }

    fn wrote(&self, by: &str, group: usize, t: i64) {
        self.env.count("evaluations", 1);
        self.env.note(format!("{by} evaluates {group} for {}", t - BASE_MS));
        let mut state = self.state.lock();
        let evaluated = state.evaluated.entry((group, t)).or_default();
        evaluated.push(by.to_string());
        let by = evaluated.clone();
        if by.len() > 1 && !state.is_excused(t, |excuse| excuse.lags) {
            self.env.violated(format!("group {group} is evaluated twice for {}, by {by:?}", t - BASE_MS));
        }
    }

    /// Checks the slots between two times: each is evaluated, and none twice, unless that is excused. Returns whether nothing
    /// had to be excused but for deaths.
    pub(crate) fn check(&self, from: i64, to: i64) {
        let state = self.state.lock();
        let is_calm = state.excuses.values().all(|excuse| !excuse.lags);
        for group in 0..GROUPS {
            let of_group = || state.evaluated.range((group, from)..=(group, to)).map(|((_, t), _)| *t);
            let slots: BTreeSet<i64> = of_group().collect();
            let Some(first) = slots.first().copied() else {
                return self.env.violated(format!("group {group} is never evaluated"));
            };
            let interval_ms = interval_ms(group);
            if let Some(odd) = slots.iter().find(|slot| (*slot - first) % interval_ms != 0) {
                return self.env.violated(format!(
                    "group {group} is evaluated for {}, which is not one of its slots",
                    odd - BASE_MS
                ));
            }
            let offset = first.rem_euclid(interval_ms);
            let expected = (from - from.rem_euclid(interval_ms) + offset..=to).step_by(interval_ms as usize);
            let gaps: Vec<i64> = expected.filter(|slot| *slot >= from && !slots.contains(slot)).collect();
            let is_excused = |slot: i64| state.is_excused(slot, |excuse| excuse.lags || excuse.lacks);
            if let Some(gap) = gaps.iter().find(|slot| !is_excused(**slot)) {
                return self.env.violated(format!("nobody evaluates group {group} for {}", gap - BASE_MS));
            }
            self.env.count("missed evaluations", gaps.len() as u64);
            let counted = state.missed.get(&group).copied().unwrap_or(0);
            if is_calm && counted != gaps.len() as u64 {
                let gaps: Vec<i64> = gaps.iter().map(|slot| slot - BASE_MS).collect();
                return self.env.violated(format!("group {group} misses {gaps:?}, but {counted} are counted"));
            }
        }
    }
}

impl State {
    fn is_excused(&self, slot: i64, is_excuse: impl Fn(&Excuse) -> bool) -> bool {
        let at = (slot - BASE_MS).max(0) as Ms;
        self.excuses.range(at.saturating_sub(BEFORE_MS)..=at + AFTER_MS).any(|(_, excuse)| is_excuse(excuse))
    }
}

/// Takes what one process writes and answers its queries.
pub(crate) struct Store {
    pub(crate) ledger: Ledger,
    pub(crate) process: Process,
    /// Whether the series of rules are found.
    pub(crate) is_blind: bool,
}

impl Store {
    async fn reach(&self) -> Result<(), String> {
        let env = &self.ledger.env;
        env.sleep(env.between(1, 40)).await;
        if self.process.has_ended() { Err("the process has ended".into()) } else { Ok(()) }
    }
}

#[async_trait]
impl Ingest for Store {
    async fn append(&self, _: &TenantId, batch: &WriteBatch) -> Result<WriteOutcome, WriteError> {
        self.reach().await.map_err(WriteError::Unavailable)?;
        for series in batch.series() {
            let name = Labels::from_canonical(batch.labels_of(series)).map(|labels| labels.metric_name().to_string());
            let group = name.ok().and_then(|name| group_of(&name));
            for sample in batch.samples_of(series) {
                match group {
                    Some(group) if !is_stale_nan(sample.v) => self.ledger.wrote(&self.process.name, group, sample.t),
                    _ => self.ledger.env.violated(format!("{} ends the series of a rule", self.process.name)),
                }
            }
        }
        Ok(WriteOutcome::default())
    }
}

#[async_trait]
impl RuleEngine for Store {
    async fn run(&self, _: &TenantId, work: RuleWork) -> Result<(), QueryFailure> {
        self.reach().await.map_err(|reason| QueryFailure { reason, is_temporary: true })?;
        work(self);
        Ok(())
    }
}

impl RuleQueries for Store {
    fn query(
        &self,
        _: &Expr,
        text: &str,
        t_ms: i64,
        lookback_ms: Option<i64>,
    ) -> Result<Vec<VectorSample>, QueryFailure> {
        let sample = |name: &str, value: f64| VectorSample {
            labels: Labels::from_pairs([("__name__", name)]),
            t: t_ms,
            value: SampleValue::Float(value),
        };
        let Some(group) = group_of(text) else { return Ok(vec![sample("up", 1.0)]) };
        let oldest = t_ms.saturating_sub(lookback_ms.unwrap_or(0));
        let newest = self.ledger.newest(group, t_ms).filter(|newest| *newest >= oldest && !self.is_blind);
        Ok(newest.map(|newest| sample(&series(group), newest as f64 / 1000.0)).into_iter().collect())
    }
}
