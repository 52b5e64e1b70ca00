//! Asks whoever can answer: another node when one fails or refuses, a second one beside a slow one.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt, try_join_all};
use parking_lot::Mutex;
use pharos_cluster::View;
use pharos_model::{SelectError, ShardSet, TenantId, TimeRange};
use pharos_transport::query::{AskError, AskedView, SourceRole};
use pharos_transport::{Completeness, Scope};

use super::Cluster;
use super::health::Latencies;
use super::node::Node;
use super::route::{self, Assignment, Excluded, Routes, Target};

/// No node is given more time before another is asked beside it.
const MOST_PATIENCE: Duration = Duration::from_secs(2);
/// How long a query waits for a newer view when nobody answers under its own.
const NEWER_VIEW: Duration = Duration::from_secs(1);

/// What a query knows while it asks.
pub(crate) struct Asking {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) tenant: TenantId,
    /// Whether what is missing is only told.
    pub(crate) partial: bool,
    /// The view of the query; a newer one when nobody answers under it.
    view: Mutex<View>,
    /// The version that stores must know at least: that under which ingesters have said what they have.
    blocks: Mutex<u64>,
    excluded: Mutex<Excluded>,
    /// What could not be asked.
    warnings: Mutex<BTreeSet<String>>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum NoAnswer {
    /// The query's own fault, or its end.
    Failed(AskError),
    /// Nobody could be asked for this.
    Missing(Missing),
}

/// What nobody answers for, and why the last one didn't.
#[derive(Debug, Default)]
pub(crate) struct Missing {
    shards: ShardSet,
    time: Option<TimeRange>,
    before: Before,
}

/// Why those who were asked before gave no answer.
#[derive(Clone, Debug, Default)]
struct Before {
    /// What the last one said.
    reason: Option<String>,
    /// Whether a newer view may help.
    was_refused: bool,
    /// What those have, together, who have less than the plan counts on.
    behind: Option<Completeness>,
}

impl Before {
    /// And one more.
    fn and(&self, error: &AskError) -> Self {
        Before {
            reason: Some(error.to_string()),
            was_refused: matches!(error, AskError::Refused(_)),
            behind: self.behind_with(error),
        }
    }

    fn behind_with(&self, error: &AskError) -> Option<Completeness> {
        let AskError::Refused(refused) = error else { return self.behind };
        match (self.behind, refused.complete) {
            (Some(known), Some(complete)) => Some(known.and(complete)),
            (known, complete) => known.or(complete),
        }
    }
}

impl NoAnswer {
    /// What those have who could have answered if the plan had counted on less. None when there is nobody of the kind.
    pub(crate) fn behind(&self) -> Option<Completeness> {
        match self {
            NoAnswer::Missing(missing) => missing.before.behind,
            NoAnswer::Failed(_) => None,
        }
    }

    /// Together with why another node gave none.
    fn beside(mut self, error: &AskError) -> Self {
        if let NoAnswer::Missing(missing) = &mut self {
            missing.before.behind = missing.before.behind_with(error);
        }
        self
    }
}

impl Missing {
    fn text(&self) -> String {
        let what = match self.time {
            Some(range) => format!("the blocks from {} to {} have no store that can answer", range.start, range.end),
            None if self.shards.len() == 1 => format!("shard {} has no replica that can answer", self.shards),
            None => format!("shards {} have no replica that can answer", self.shards),
        };
        match &self.before.reason {
            Some(reason) => format!("{what}: {reason}"),
            None => what,
        }
    }
}

impl From<NoAnswer> for SelectError {
    fn from(none: NoAnswer) -> Self {
        match none {
            NoAnswer::Failed(error) => error.into_select(),
            NoAnswer::Missing(missing) => SelectError::Storage(missing.text()),
        }
    }
}

/// A question to one node about a target.
pub(crate) type Question<T> = Arc<dyn Fn(Node, Scope, Target) -> BoxFuture<'static, Result<T, AskError>> + Send + Sync>;

/// Answers, each with whom it is from.
pub(crate) type Answers<T> = Vec<(Assignment, T)>;

/// What all attempts of a question share.
struct Attempt<T> {
    asking: Arc<Asking>,
    question: Question<T>,
    latencies: fn(&Cluster) -> &Latencies,
}

impl<T> Clone for Attempt<T> {
    fn clone(&self) -> Self {
        Attempt { asking: self.asking.clone(), question: self.question.clone(), latencies: self.latencies }
    }
}

impl Asking {
    pub(crate) fn new(cluster: Arc<Cluster>, tenant: TenantId, view: View, partial: bool) -> Self {
        let avoided = cluster.unwell.now(cluster.parts.clock.monotonic());
        Asking {
            cluster,
            tenant,
            partial,
            blocks: Mutex::new(view.version),
            view: Mutex::new(view),
            excluded: Mutex::new(Excluded { avoided, ..Excluded::default() }),
            warnings: Mutex::default(),
        }
    }

    pub(crate) fn view(&self) -> View {
        self.view.lock().clone()
    }

    /// What could not be asked, for a partial answer.
    pub(crate) fn warnings(&self) -> Vec<String> {
        self.warnings.lock().iter().cloned().collect()
    }

    /// Stores must know this version of the view.
    pub(crate) fn needs_blocks_of(&self, version: u64) {
        let mut blocks = self.blocks.lock();
        *blocks = (*blocks).max(version);
    }

    /// A node gave no answer, or was slower than another: it comes last for a while.
    pub(crate) fn avoid(&self, node: &str) {
        self.cluster.unwell.add(node, self.cluster.parts.clock.monotonic());
        self.excluded.lock().avoided.insert(node.to_string());
    }

    /// Whom this query does not ask.
    pub(crate) fn excluded(&self) -> Excluded {
        self.excluded.lock().clone()
    }

    /// Who is asked for a target, if everyone answers.
    pub(crate) fn routes(&self, target: &Target) -> Routes {
        self.route(target, &self.excluded())
    }

    fn route(&self, target: &Target, excluded: &Excluded) -> Routes {
        let view = self.view();
        route::route(&view, self.tenant.as_str(), &self.cluster.parts.identity, target, excluded)
    }

    /// Asks a question about targets. Every target is answered, by one node each part of it, unless the query may be partial.
    pub(crate) async fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        targets: Vec<Target>,
        latencies: fn(&Cluster) -> &Latencies,
        question: Question<T>,
    ) -> Result<Answers<T>, NoAnswer> {
        let attempt = Attempt { asking: self.clone(), question, latencies };
        let each = targets.into_iter().map(|target| {
            let attempt = attempt.clone();
            async move { attempt.target(target).await }
        });
        Ok(try_join_all(each).await?.into_iter().flatten().collect())
    }

    /// As [`Asking::ask`], without those that are excluded; for those who have an answer that broke off.
    pub(crate) async fn ask_others<T: Send + 'static>(
        self: &Arc<Self>,
        target: Target,
        latencies: fn(&Cluster) -> &Latencies,
        question: Question<T>,
        excluded: Excluded,
    ) -> Result<Answers<T>, NoAnswer> {
        let attempt = Attempt { asking: self.clone(), question, latencies };
        attempt.spread(target, excluded, Before::default(), false).await
    }

    /// Waits a little for a newer view than the query's, and takes it.
    async fn renew_view(&self) -> bool {
        let version = self.view().version;
        let mut views = self.cluster.parts.views.clone();
        let newer = tokio::time::timeout(NEWER_VIEW, views.wait_for(|view| view.version > version)).await;
        let Ok(Ok(newer)) = newer.map(|newer| newer.map(|view| view.clone())) else { return false };
        *self.view.lock() = newer;
        self.excluded.lock().shards.clear();
        true
    }
}

impl<T: Send + 'static> Attempt<T> {
    /// Answers for a whole target; once more under a newer view when nodes know one. When nodes have less than the plan counts
    /// on, the asker needs another plan, also for a partial answer.
    async fn target(&self, target: Target) -> Result<Answers<T>, NoAnswer> {
        let asking = &self.asking;
        match self.spread(target.clone(), asking.excluded(), Before::default(), false).await {
            Err(none) if none.behind().is_some() => Err(none),
            Err(NoAnswer::Missing(missing)) if missing.before.was_refused && asking.renew_view().await => {
                self.spread(target, asking.excluded(), Before::default(), asking.partial).await
            }
            Err(NoAnswer::Missing(missing)) if asking.partial => {
                let before = Before { was_refused: false, ..missing.before };
                self.spread(target, asking.excluded(), before, true).await
            }
            outcome => outcome,
        }
    }

    /// Asks all that a target goes to.
    fn spread(
        &self,
        target: Target,
        excluded: Excluded,
        before: Before,
        partial: bool,
    ) -> BoxFuture<'static, Result<Answers<T>, NoAnswer>> {
        let attempt = self.clone();
        async move {
            let routes = attempt.asking.route(&target, &excluded);
            if !routes.is_whole() {
                let missing = Missing { shards: routes.missing, time: routes.missing_time, before: before.clone() };
                if !partial || before.behind.is_some() {
                    return Err(NoAnswer::Missing(missing));
                }
                attempt.asking.cluster.parts.metrics.missing.inc();
                attempt.asking.warnings.lock().insert(missing.text());
            }
            let each = routes.assignments.into_iter().map(|a| attempt.one(a, excluded.clone(), &before, partial));
            Ok(try_join_all(each).await?.into_iter().flatten().collect())
        }
        .boxed()
    }

    /// Asks one node, and others if that leads to nothing.
    async fn one(
        &self,
        assignment: Assignment,
        excluded: Excluded,
        before: &Before,
        partial: bool,
    ) -> Result<Answers<T>, NoAnswer> {
        let clock = &self.asking.cluster.parts.clock;
        let latencies = (self.latencies)(&self.asking.cluster);
        let metrics = &self.asking.cluster.parts.metrics;
        metrics.asked.inc();
        let Assignment { member, target } = &assignment;
        let (node, scope) = self.asking.node(member, target);
        let is_local = matches!(node, Node::Local(_));
        let started = clock.monotonic();
        let mut primary = (self.question)(node, scope, target.clone());
        let others = excluded.and(&member.id);
        let patience = latencies.p95().clamp(latencies.least, MOST_PATIENCE);
        let can_hedge = || !is_local && self.asking.route(target, &others).is_whole();
        let in_time = match tokio::time::timeout(patience, &mut primary).await {
            Ok(answered) => answered,
            Err(_) if can_hedge() => {
                metrics.hedged.inc();
                let beside = self.spread(target.clone(), others.clone(), before.clone(), false);
                match futures::future::select(primary, beside).await {
                    futures::future::Either::Left((Ok(answer), _)) => Ok(answer),
                    futures::future::Either::Left((Err(error), beside)) if error.is_of_the_node() => {
                        self.asking.gave_none(&member.id, &error);
                        return beside.await.map_err(|none| none.beside(&error));
                    }
                    futures::future::Either::Left((Err(error), _)) => Err(error),
                    futures::future::Either::Right((Ok(answers), _)) => {
                        metrics.overtaken.inc();
                        self.asking.avoid(&member.id);
                        return Ok(answers);
                    }
                    futures::future::Either::Right((Err(none), primary)) => {
                        self.of_the_slow(&member.id, primary, none).await?
                    }
                }
            }
            Err(_) => primary.await,
        };
        match in_time {
            Ok(answer) => {
                latencies.add(clock.monotonic().saturating_sub(started));
                Ok(vec![(assignment, answer)])
            }
            Err(error) if error.is_of_the_node() => {
                self.asking.gave_none(&member.id, &error);
                let excluded = without(&excluded, &assignment, &error);
                self.spread(assignment.target, excluded, before.and(&error), partial).await
            }
            Err(error) => Err(NoAnswer::Failed(error)),
        }
    }
}

impl<T> Attempt<T> {
    /// The answer of a slow node when others have none. It has all the time that the query has, unless another plan can do
    /// without it.
    async fn of_the_slow(
        &self,
        node: &str,
        answer: impl Future<Output = Result<T, AskError>>,
        none: NoAnswer,
    ) -> Result<Result<T, AskError>, NoAnswer> {
        if none.behind().is_none() {
            return Ok(answer.await);
        }
        let answered = tokio::time::timeout(MOST_PATIENCE, answer).await;
        answered.map_err(|_| {
            self.asking.avoid(node);
            none
        })
    }
}

/// Whom not to ask after a node gave no answer: not for the shards that it refused, or not at all.
fn without(excluded: &Excluded, assignment: &Assignment, error: &AskError) -> Excluded {
    let node = &assignment.member.id;
    match (error, &assignment.target) {
        (AskError::Refused(refused), Target::Shards(asked)) if !refused.shards.intersection(asked).is_empty() => {
            let mut excluded = excluded.clone();
            excluded.shards.extend(refused.shards.iter().map(|shard| (node.clone(), shard)));
            excluded
        }
        _ => excluded.and(node),
    }
}

impl Asking {
    /// Remembers that a node gave no answer, so that this query and others do not begin with it.
    fn gave_none(&self, node: &str, error: &AskError) {
        tracing::debug!(node, %error, "a node gave no answer");
        let metrics = &self.cluster.parts.metrics;
        if matches!(error, AskError::Refused(_)) {
            return metrics.refused.inc();
        }
        metrics.unanswered.inc();
        self.avoid(node);
    }

    /// The role of a member that answers for a target, and what it is asked about.
    fn node(&self, member: &pharos_cluster::Member, target: &Target) -> (Node, Scope) {
        let view = self.view();
        let (role, shards) = match target {
            Target::Shards(shards) => (SourceRole::Ingester, Some(shards)),
            Target::Time(_) => (SourceRole::Store, None),
        };
        let epoch = |shard: u32| (shard, view.epoch(shard));
        let epochs = shards.into_iter().flat_map(|shards| shards.iter().map(epoch)).collect();
        let version = *self.blocks.lock();
        let asked = AskedView { incarnation: view.incarnation, version: view.version.max(version), epochs };
        let scope = Scope { shards: shards.cloned().map(Arc::new), ..Scope::all(self.tenant.clone()) };
        (self.cluster.node(member, role, asked), scope)
    }
}
