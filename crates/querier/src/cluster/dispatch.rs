//! Sends the reads of a query to nodes: to another node when one fails or refuses, and to a second one when one is slow.
//!
//! Invariants: every part of a target is answered by exactly one node, unless the query accepts a partial response; a node
//! that failed within a read is not asked again within it; a read under a newer view starts over. A response names a newer view if
//! the epoch of a shard that it covers is higher there than in the query's view; the read is then repeated under that view.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::future::{BoxFuture, Either, FutureExt, select, try_join_all};
use parking_lot::Mutex;
use pharos_cluster::{Member, View};
use pharos_model::{Budget, ShardSet, TenantId, TimeRange};
use pharos_transport::Scope;
use pharos_transport::query::{NewerView, Read, ReadError, SourceRole};

use super::failure::{PriorFailures, ReadFailure, Unavailable};
use super::health::Latencies;
use super::node::Node;
use super::nodes::{Cluster, read_view};
use super::route::{self, Assignment, Excluded, Routes, Target};
use super::timing::{Phase, Timing};
use super::view_proof::{ViewProof, read_alike};
use crate::stale;

/// Longest wait for a node before another one is asked as well.
const MAX_HEDGE_DELAY: Duration = Duration::from_secs(2);
/// Longest wait for a newer view when every replica refuses under the query's own.
const NEWER_VIEW_TIMEOUT: Duration = Duration::from_secs(1);

/// Maximum number of views under which a read is dispatched while nodes keep naming newer ones.
const MAX_VIEWS: usize = 3;

/// Dispatches the reads of one query, and remembers what it learned about nodes on the way.
pub(crate) struct Dispatcher {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) tenant: TenantId,
    /// Whether unavailable data becomes a warning instead of an error.
    pub(crate) partial: bool,
    /// The view of the query; replaced by a newer one when every replica refuses under it, or when a node names a newer one.
    view: Mutex<View>,
    /// Proves that the view was current when the query began.
    proof: ViewProof,
    /// The newest view that a node has named.
    newer: NewerView,
    /// The newest version that a node has named and that did not reach this node in time.
    unreached: AtomicU64,
    /// Stores must know at least this version: it lists the blocks that ingesters rely on.
    min_store_version: AtomicU64,
    excluded: Mutex<Excluded>,
    /// Describes what was unavailable, for a partial response.
    warnings: Mutex<BTreeSet<String>>,
    /// Where the time goes, if that is measured.
    timing: OnceLock<Timing>,
    /// The key of a query that is known to be small, which asks as few nodes as possible.
    small: OnceLock<u64>,
}

/// The responses to a read, each with the node that gave it.
pub(crate) type Responses<T> = Vec<(Assignment, T)>;

impl Dispatcher {
    pub(crate) fn new(cluster: Arc<Cluster>, tenant: TenantId, view: View, proof: ViewProof, partial: bool) -> Self {
        let avoided = cluster.quarantine.nodes(cluster.parts.clock.monotonic());
        Dispatcher {
            cluster,
            tenant,
            partial,
            min_store_version: AtomicU64::new(view.version),
            view: Mutex::new(view),
            proof,
            newer: NewerView::default(),
            unreached: AtomicU64::new(0),
            excluded: Mutex::new(Excluded { avoided, ..Excluded::default() }),
            warnings: Mutex::default(),
            timing: OnceLock::new(),
            small: OnceLock::new(),
        }
    }

    /// Asks as few nodes as possible from now on. `key` is that of the query.
    pub(crate) fn ask_few_nodes(&self, key: u64) {
        self.small.get_or_init(|| key);
    }

    /// Measures where the time of the query goes from now on.
    pub(crate) fn measure(&self) {
        self.timing.get_or_init(|| Timing::new(self.cluster.parts.clock.clone()));
    }

    pub(crate) fn timing(&self) -> Option<&Timing> {
        self.timing.get()
    }

    /// Does a part of the query's work, which is measured if the query is.
    pub(crate) fn timed<T>(&self, phase: Phase, work: impl FnOnce() -> T) -> T {
        match self.timing() {
            Some(timing) => timing.timed(phase, work),
            None => work(),
        }
    }

    pub(crate) fn proof(&self) -> &ViewProof {
        &self.proof
    }

    /// Waits until the view is proved to be current, or known not to be. Switches to the view that is proved if it is newer.
    pub(crate) async fn settle(&self) {
        let Ok(proved) = self.proof.settle().await else { return };
        let mut view = self.view.lock();
        if (proved.incarnation, proved.version) > (view.incarnation, view.version) {
            *view = proved;
            self.excluded.lock().shards.clear();
        }
    }

    /// Whether reads that began under `used` count, now that the proof is settled. `was_failed` says whether it was known then that
    /// there is none.
    fn counts(&self, used: &View, was_failed: bool) -> bool {
        // Shards without replicas were taken for empty.
        let may_lack_shards = || used.shards.iter().any(|shard| shard.epoch == 0);
        let is_failure_new = !was_failed && self.proof.failure().is_some();
        read_alike(self.tenant.as_str(), used, &self.view()) && !(is_failure_new && may_lack_shards())
    }

    pub(crate) fn view(&self) -> View {
        self.view.lock().clone()
    }

    /// What the response may lack: samples since the view was last current, and what was unavailable for a partial response.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let stale = self.proof.failure().map(stale::warning);
        stale.into_iter().chain(self.warnings.lock().iter().cloned()).collect()
    }

    /// Requires stores to know this version of the view.
    pub(crate) fn require_store_version(&self, version: u64) {
        self.min_store_version.fetch_max(version, Ordering::Relaxed);
    }

    /// Ranks a node last for a while, in this query and in others, because it failed or was slower than another.
    pub(crate) fn quarantine(&self, node: &str) {
        self.cluster.quarantine.add(node, self.cluster.parts.clock.monotonic());
        self.excluded.lock().avoided.insert(node.to_string());
    }

    /// The nodes that this query does not ask, or asks last.
    pub(crate) fn excluded(&self) -> Excluded {
        self.excluded.lock().clone()
    }

    /// The nodes that a target goes to if none of them fails.
    pub(crate) fn routes(&self, target: &Target) -> Routes {
        self.route(target, &self.excluded())
    }

    /// Whether there are nodes for all of a target besides the excluded ones.
    pub(super) fn has_route(&self, target: &Target, excluded: &Excluded) -> bool {
        self.route(target, excluded).is_complete()
    }

    fn route(&self, target: &Target, excluded: &Excluded) -> Routes {
        let view = self.view();
        let route = || route::route(&view, self.tenant.as_str(), &self.cluster.parts.identity, target, excluded);
        if self.proof.failure().is_some() {
            // Unplaced shards may have been placed and written to since.
            let mut routes = route();
            routes.missing_shards = routes.missing_shards.union(&routes.unplaced_shards);
            return routes;
        }
        let Target::Shards(shards) = target else { return route() };
        if shards.len() != view.shards.len() || *excluded != Excluded::default() {
            return route();
        }
        let few =
            self.small.get().and_then(|key| route::fewest_nodes(&view, &self.cluster.parts.identity, shards, *key));
        if let Some(assignments) = few {
            return Routes { assignments, ..Routes::default() };
        }
        let (version, known) = ((view.incarnation, view.version), &self.cluster.routes);
        if let Some((_, assignments)) = known.get(&self.tenant).filter(|(of, _)| *of == version) {
            return Routes { assignments: assignments.to_vec(), ..Routes::default() };
        }
        let routes = route();
        if routes.is_complete() {
            known.insert(&self.tenant, (version, routes.assignments.as_slice().into()));
        }
        routes
    }

    /// Records in a partial response that data is missing. In any other, that is the failure.
    fn omit(&self, unavailable: Unavailable, is_partial: bool) -> Result<(), ReadFailure> {
        if !is_partial {
            return Err(ReadFailure::Unavailable(unavailable));
        }
        self.cluster.parts.metrics.missing.inc();
        self.warnings.lock().insert(unavailable.text());
        Ok(())
    }

    /// Switches to a newer view if a node has named one and it reaches this node soon.
    async fn follow_named_view(&self) -> bool {
        let named = self.newer.version();
        if named <= self.view().version.max(self.unreached.load(Ordering::Relaxed)) {
            return false;
        }
        // Without contact to meta there is nothing to wait for, and the response carries a warning already.
        let timeout = if self.proof.failure().is_none() { NEWER_VIEW_TIMEOUT } else { Duration::ZERO };
        let is_reached = self.renew_view(named, timeout).await;
        if !is_reached {
            self.unreached.fetch_max(named, Ordering::Relaxed);
        }
        is_reached
    }

    /// Waits for a view of at least this version and switches to it. Returns false if it did not arrive in time.
    async fn renew_view(&self, version: u64, timeout: Duration) -> bool {
        let mut views = self.cluster.parts.views.clone();
        let newer = tokio::time::timeout(timeout, views.wait_for(|view| view.version >= version)).await;
        let Ok(Ok(newer)) = newer.map(|newer| newer.map(|view| view.clone())) else { return false };
        *self.view.lock() = newer;
        self.excluded.lock().shards.clear();
        true
    }

    /// Counts and logs a node's failure. A node that failed, rather than refused, is quarantined.
    pub(super) fn record_failure(&self, node: &str, error: &ReadError) {
        tracing::debug!(node, %error, "read failed; trying another node");
        let metrics = &self.cluster.parts.metrics;
        if matches!(error, ReadError::Refused(_)) {
            return metrics.refused.inc();
        }
        metrics.unanswered.inc();
        self.quarantine(node);
    }

    /// The role of a member that answers for a target, and the scope of the read.
    fn node(&self, member: &Member, target: &Target) -> (Node, Scope) {
        let view = self.view();
        let (role, shards) = match target {
            Target::Shards(shards) => (SourceRole::Ingester, Some(shards)),
            Target::Blocks(_) => (SourceRole::Store, None),
        };
        let mut read_view = read_view(&view, &self.tenant, shards.into_iter().flat_map(ShardSet::iter));
        read_view.version = read_view.version.max(self.min_store_version.load(Ordering::Relaxed));
        let scope = Scope { shards: shards.cloned().map(Arc::new), ..Scope::all(self.tenant.clone()) };
        (self.cluster.node(member, role, read_view, self.newer.clone()), scope)
    }
}

/// A read on behalf of a query, which is sent to every node that has a part of the response.
#[derive(Clone)]
pub(crate) struct ClusterRead<R> {
    dispatcher: Arc<Dispatcher>,
    read: R,
    budget: Arc<Budget>,
    /// Replicas must have all samples from this timestamp on.
    required_from: Option<i64>,
    latencies: fn(&Cluster) -> &Latencies,
}

impl<R: Read> ClusterRead<R> {
    pub(crate) fn new(dispatcher: &Arc<Dispatcher>, read: R, budget: &Arc<Budget>) -> Self {
        ClusterRead {
            dispatcher: dispatcher.clone(),
            read,
            budget: budget.clone(),
            required_from: None,
            latencies: |cluster| &cluster.selections,
        }
    }

    /// Requires that replicas have all samples from a timestamp on, if there is one.
    pub(crate) fn requiring_from(self, required_from: Option<i64>) -> Self {
        ClusterRead { required_from, ..self }
    }

    /// Compares the time that nodes take with other latencies than those of selections.
    pub(crate) fn compared_with(self, latencies: fn(&Cluster) -> &Latencies) -> Self {
        ClusterRead { latencies, ..self }
    }

    pub(crate) fn dispatcher(&self) -> &Arc<Dispatcher> {
        &self.dispatcher
    }

    /// Reads targets, while the view of the query is proved to be current. Every part of every target is in exactly one response,
    /// unless the query accepts a partial one. Repeats the read if the view was not current, or if a node names a newer one that
    /// reaches this node soon.
    pub(crate) async fn targets(&self, targets: Vec<Target>) -> Result<Responses<R::Found>, ReadFailure> {
        let mut views = 0;
        loop {
            views += 1;
            let dispatcher = &self.dispatcher;
            let (used, was_failed) = (dispatcher.view(), dispatcher.proof.failure().is_some());
            let each = targets.iter().map(|target| self.whole_target(target.clone()));
            let responses = match select(pin!(try_join_all(each)), pin!(dispatcher.settle())).await {
                Either::Left((responses, settling)) => {
                    settling.await;
                    responses
                }
                Either::Right(((), reading)) if dispatcher.counts(&used, was_failed) => reading.await,
                Either::Right(_) => continue,
            };
            if views < MAX_VIEWS && !dispatcher.counts(&used, was_failed) {
                continue;
            }
            let responses = responses?;
            if views >= MAX_VIEWS || !dispatcher.follow_named_view().await {
                return Ok(responses.into_iter().flatten().collect());
            }
        }
    }

    /// Reads a target from nodes other than the excluded ones.
    pub(crate) async fn elsewhere(
        &self,
        target: Target,
        excluded: Excluded,
    ) -> Result<Responses<R::Found>, ReadFailure> {
        self.spread(target, excluded, PriorFailures::default(), false).await
    }

    /// Reads a whole target, a second time under a newer view if there is one. Replicas that have less than the plan relies on
    /// fail the read even when the query accepts a partial response, because another plan may be complete.
    async fn whole_target(&self, target: Target) -> Result<Responses<R::Found>, ReadFailure> {
        let dispatcher = &self.dispatcher;
        let excluded = dispatcher.excluded();
        match self.spread(target.clone(), excluded, PriorFailures::default(), false).await {
            Err(failure) if failure.behind().is_some() => Err(failure),
            Err(ReadFailure::Unavailable(unavailable))
                if unavailable.prior.was_refused
                    && dispatcher.renew_view(dispatcher.view().version + 1, NEWER_VIEW_TIMEOUT).await =>
            {
                self.spread(target, dispatcher.excluded(), PriorFailures::default(), dispatcher.partial).await
            }
            Err(ReadFailure::Unavailable(unavailable)) if dispatcher.partial => {
                let prior = PriorFailures { was_refused: false, ..unavailable.prior };
                self.spread(target, dispatcher.excluded(), prior, true).await
            }
            outcome => outcome,
        }
    }

    /// Reads a target from all nodes that it is routed to.
    fn spread(
        &self,
        target: Target,
        excluded: Excluded,
        prior: PriorFailures,
        partial: bool,
    ) -> BoxFuture<'static, Result<Responses<R::Found>, ReadFailure>> {
        let attempt = self.clone();
        async move {
            let routes = attempt.dispatcher.route(&target, &excluded);
            if !routes.is_complete() {
                let unavailable =
                    Unavailable { shards: routes.missing_shards, time: routes.missing_time, prior: prior.clone() };
                attempt.dispatcher.omit(unavailable, partial && prior.behind.is_none())?;
            }
            let assignments = routes.assignments.into_iter();
            let each = assignments.map(|a| attempt.one_node(a, excluded.clone(), &prior, partial));
            Ok(try_join_all(each).await?.into_iter().flatten().collect())
        }
        .boxed()
    }

    /// Reads from one node, and from others if it fails.
    async fn one_node(
        &self,
        assignment: Assignment,
        excluded: Excluded,
        prior: &PriorFailures,
        partial: bool,
    ) -> Result<Responses<R::Found>, ReadFailure> {
        let clock = &self.dispatcher.cluster.parts.clock;
        let latencies = (self.latencies)(&self.dispatcher.cluster);
        let started = clock.monotonic();
        let first = match self.hedged(&assignment, &excluded, prior, latencies).await? {
            Hedged::First(first) => first,
            Hedged::Others(responses) => return Ok(responses),
        };
        match first {
            Ok(response) => {
                latencies.add(clock.monotonic().saturating_sub(started));
                Ok(vec![(assignment, response)])
            }
            Err(error) if error.is_retryable() => {
                self.dispatcher.record_failure(&assignment.member.id, &error);
                let excluded = excluding(&excluded, &assignment, &error);
                self.spread(assignment.target, excluded, prior.with(&error), partial).await
            }
            Err(error) if error.is_permanent() && self.dispatcher.partial => {
                let unavailable = Unavailable::of(assignment.target, prior.with(&error));
                self.dispatcher.omit(unavailable, partial).map(|()| Vec::new())
            }
            Err(error) => Err(ReadFailure::Fatal(error)),
        }
    }

    /// Reads from one node, and from others beside it once it takes longer than 95 of 100 reads do.
    async fn hedged(
        &self,
        Assignment { member, target }: &Assignment,
        excluded: &Excluded,
        prior: &PriorFailures,
        latencies: &Latencies,
    ) -> Result<Hedged<R::Found>, ReadFailure> {
        let dispatcher = &self.dispatcher;
        let metrics = &dispatcher.cluster.parts.metrics;
        metrics.asked.inc();
        let (node, scope) = dispatcher.node(member, target);
        let is_local = matches!(node, Node::Local(_));
        let scope = scope.requiring_from(self.required_from.filter(|_| matches!(target, Target::Shards(_))));
        let read = self.read.clone().of_part(target.clip(TimeRange::ALL));
        let account = dispatcher.timing().map(|_| self.budget.part());
        let reading = node.read(scope, read, account.clone().unwrap_or_else(|| self.budget.clone()));
        let mut first = async {
            let waiting = dispatcher.timing().map(|timing| timing.waiting(&member.id, target, account));
            let response = reading.await;
            if let (Some(waiting), Ok(_)) = (waiting, &response) {
                waiting.used();
            }
            response
        }
        .boxed();
        let started = dispatcher.cluster.parts.clock.monotonic();
        let others = excluded.and(&member.id);
        let hedge_delay = latencies.p95().clamp(latencies.floor, MAX_HEDGE_DELAY);
        let can_hedge = || !is_local && dispatcher.has_route(target, &others);
        match tokio::time::timeout(hedge_delay, &mut first).await {
            Ok(response) => return Ok(Hedged::First(response)),
            Err(_) if can_hedge() => metrics.hedged.inc(),
            Err(_) => return Ok(Hedged::First(first.await)),
        }
        let hedge = self.spread(target.clone(), others, prior.clone(), false);
        match select(first, hedge).await {
            Either::Left((Err(error), hedge)) if error.is_retryable() => {
                dispatcher.record_failure(&member.id, &error);
                hedge.await.map(Hedged::Others).map_err(|failure| failure.and(&error))
            }
            Either::Left((response, _)) => Ok(Hedged::First(response)),
            Either::Right((Ok(responses), _)) => {
                metrics.overtaken.inc();
                dispatcher.quarantine(&member.id);
                // It would have taken even longer.
                latencies.add(dispatcher.cluster.parts.clock.monotonic().saturating_sub(started));
                Ok(Hedged::Others(responses))
            }
            Either::Right((Err(ReadFailure::Fatal(error)), _)) => Err(ReadFailure::Fatal(error)),
            Either::Right((Err(failure), first)) => {
                self.await_slow_node(&member.id, first, failure).await.map(Hedged::First)
            }
        }
    }

    /// Waits for a slow node after the others failed. It has all the time that the query has, unless another plan can do
    /// without it.
    async fn await_slow_node(
        &self,
        node: &str,
        response: impl Future<Output = Result<R::Found, ReadError>>,
        failure: ReadFailure,
    ) -> Result<Result<R::Found, ReadError>, ReadFailure> {
        if failure.behind().is_none() {
            return Ok(response.await);
        }
        tokio::time::timeout(MAX_HEDGE_DELAY, response).await.map_err(|_| {
            self.dispatcher.quarantine(node);
            failure
        })
    }
}

/// Who answered a hedged read.
enum Hedged<T> {
    /// The node that was asked first, with its response or its error.
    First(Result<T, ReadError>),
    /// The nodes that were asked beside it.
    Others(Responses<T>),
}

/// Excludes a node that failed: for the shards that it refused, or altogether.
fn excluding(excluded: &Excluded, assignment: &Assignment, error: &ReadError) -> Excluded {
    let node = &assignment.member.id;
    match (error, &assignment.target) {
        (ReadError::Refused(refused), Target::Shards(asked)) if !refused.shards.intersection(asked).is_empty() => {
            let mut excluded = excluded.clone();
            excluded.shards.extend(refused.shards.iter().map(|shard| (node.clone(), shard)));
            excluded
        }
        _ => excluded.and(node),
    }
}
