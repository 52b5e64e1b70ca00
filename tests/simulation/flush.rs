//! Flushes windows into blocks, and marks samples that other replicas have put into blocks. Follows the steps of
//! `pharos_ingester::flush` and uses its real decisions ([`FlushPolicy`], [`WindowBlocks`]). The process may crash
//! after any step.

use std::collections::{BTreeMap, VecDeque};

use pharos_cluster::{BlockEntry, Command, CutId, Refusal, Response, View};
use pharos_ingester::flush::coverage::WindowBlocks;
use pharos_ingester::flush::policy::{self, Action, Committed, FlushPolicy, Waiting};
use pharos_model::{BlockDigest, ShardDigest, ShardSet};

use super::bugs::Bug;
use super::env::{Env, Ms};
use super::head::Cut;
use super::ingester::{Ingester, OnDurable, Then};
use super::messages::Timer;
use super::samples::SampleId;
use super::unmatched::{self, Unmatched};
use super::{GRACE, TENANT, WINDOW_MS};

/// The flush state of an ingester.
#[derive(Default)]
pub struct Flush {
    waiting: Waiting,
    queue: VecDeque<Action>,
    step: Step,
    not_before: Ms,
    backoff: Ms,
    /// Uploaded blocks whose commit is undecided, by start of the window.
    pending_commits: BTreeMap<i64, PendingCommit>,
    /// Windows whose samples differ from their blocks.
    pub unmatched: Unmatched,
}

/// An uploaded block whose commit may or may not have taken effect.
struct PendingCommit {
    command: Command,
    number: u32,
    shards: ShardSet,
}

/// The parts of a window that are shipped in order. Each has its shards, and whether its block is a delta.
type Parts = VecDeque<(ShardSet, bool)>;

#[derive(Default)]
enum Step {
    #[default]
    Idle,
    /// The commit of an earlier block is being retried.
    Deciding { window: i64, block: PendingCommit },
    /// The cut is not durable yet. `left` are the parts of the window that follow.
    Cut { view: View, cut: Cut, delta: bool, left: Parts },
    /// The block is being uploaded.
    Uploading { number: u64, view: View, cut: Cut, entry: BlockEntry, left: Parts },
    /// The commit was sent to meta.
    Committing { view: View, window: i64, block: PendingCommit, left: Parts },
}

/// Returns the creation time of a block in milliseconds since the epoch. As in a ULID, the id starts with it.
fn made_ms(block: &BlockEntry) -> i64 {
    block.id.get(..13).and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

fn committed_at(view: &View) -> Committed {
    let mut newest = Committed::new();
    for block in view.catalogue.tenant(TENANT).into_iter().flat_map(|t| &t.blocks) {
        for shard in &block.shards {
            let entry = newest.entry((block.window_start, *shard)).or_insert(i64::MIN);
            *entry = made_ms(block).max(*entry);
        }
    }
    newest
}

/// Runs the periodic round, unless a flush is in progress or backing off.
pub fn round(node: &mut Ingester, env: &mut Env) {
    if !matches!(node.flush.step, Step::Idle) || env.now < node.flush.not_before {
        return;
    }
    for window in node.head.windows(&env.samples).iter().filter(|w| w.unflushed_samples > 0).map(|w| w.start) {
        reconcile(node, env, window);
    }
    unmatched::note(node, env);
    let windows = node.head.windows(&env.samples);
    policy::note_waiting(&mut node.flush.waiting, env.now_ms(), &windows);
    let policy = FlushPolicy::new(WINDOW_MS, GRACE);
    let due = policy.decide(env.now_ms(), &windows, &node.led(), &committed_at(&node.view), &node.flush.waiting);
    node.flush.queue = due.into();
    next(node, env);
}

fn next(node: &mut Ingester, env: &mut Env) {
    node.flush.step = Step::Idle;
    while let Some(action) = node.flush.queue.pop_front() {
        match action {
            Action::Drop { window, shards } => drop_window(node, env, window, shards),
            Action::Flush { window } => {
                match node.flush.pending_commits.remove(&window) {
                    Some(block) => {
                        let command = block.command.clone();
                        node.flush.step = Step::Deciding { window, block };
                        node.proposals.propose(env, node.me, command, Then::Committed);
                    }
                    None => flush_window(node, env, window),
                }
                if !matches!(node.flush.step, Step::Idle) {
                    return;
                }
            }
        }
    }
    node.flush.backoff = 0;
    unmatched::resolve(node, env);
}

fn drop_window(node: &mut Ingester, env: &mut Env, window: i64, shards: ShardSet) {
    let gone = node.head.drop_flushed(window, shards, &env.samples);
    env.note(&[141, gone.len() as u64], || format!("{} drops {gone:?} of window {window}", node.identity));
    env.count("drops");
    env.dropped.push((node.identity.clone(), gone));
}

/// Marks the samples of a window that are in blocks already, no matter which ingester made them.
fn reconcile(node: &mut Ingester, env: &mut Env, start: i64) {
    let view = node.view.clone();
    let Some(info) = node.head.window(start, &env.samples) else { return };
    let blocks = WindowBlocks::of(view.catalogue.tenant(TENANT), &info);
    let mut marks: Vec<(u32, ShardSet)> = Vec::new();
    for block in blocks.iter() {
        let Some(cut) = block.cut.as_ref().filter(|cut| cut.ingester == node.identity) else { continue };
        let held = block.shards.iter().copied().collect::<ShardSet>().intersection(&info.unflushed());
        let shards: ShardSet = held.iter().filter(|shard| info.flushed_cut(*shard) < cut.number).collect();
        if !shards.is_empty() {
            env.count("marks made up for");
            marks.push((cut.number, shards));
        }
    }
    let thoughtless = env.has(Bug::MarkWithoutComparing) && !blocks.is_empty();
    let candidates: ShardSet =
        info.shards.iter().filter(|held| thoughtless || blocks.may_cover(held)).map(|held| held.shard).collect();
    if !candidates.is_empty() {
        let (number, digests) = node.head.digest(start, &candidates, env.now_ms(), &env.samples);
        let is_covered = |shard: u32, held| thoughtless || blocks.cover(shard, held).is_some();
        let covered: ShardSet =
            digests.into_iter().filter(|(shard, held)| is_covered(*shard, *held)).map(|(shard, _)| shard).collect();
        marks.push((number, covered));
    }
    for (number, shards) in marks.into_iter().filter(|(_, shards)| !shards.is_empty()) {
        env.count("marks by comparing");
        env.note(&[142, number.into()], || {
            format!("{} finds {shards} below {number} of {start} in blocks", node.identity)
        });
        node.head.mark_flushed(start, number, shards, &env.samples);
    }
}

/// Ships the unflushed samples of a window in the shards that this ingester leads.
fn flush_window(node: &mut Ingester, env: &mut Env, window: i64) {
    reconcile(node, env, window);
    let view = node.view.clone();
    let Some(info) = node.head.window(window, &env.samples) else { return };
    // A shard has one main block per window. Later samples go into a delta block.
    let covered = WindowBlocks::of(view.catalogue.tenant(TENANT), &info).covered();
    let (led, unflushed) = (node.led(), info.unflushed());
    let (main, late) = (led.difference(&covered), unflushed.intersection(&led).intersection(&covered));
    let mut parts = Parts::new();
    if !unflushed.is_disjoint(&main) {
        parts.push_back((main, false));
    }
    if !late.is_empty() {
        parts.push_back((late, true));
    }
    ship(node, env, view, window, parts);
}

fn ship(node: &mut Ingester, env: &mut Env, view: View, window: i64, mut parts: Parts) {
    let Some((shards, delta)) = parts.pop_front() else { return next(node, env) };
    let cut = node.head.cut(window, &shards, env.now_ms(), &env.samples);
    env.note(&[140, cut.number.into()], || format!("{} cuts {cut:?}", node.identity));
    node.flush.step = Step::Cut { view, cut, delta, left: parts };
    let position = node.head.end();
    node.when_durable(env, position, OnDurable::Cut);
}

/// Writes the block of a durable cut and starts its upload.
pub fn cut_is_durable(node: &mut Ingester, env: &mut Env) {
    let Step::Cut { view, cut, delta, left } = std::mem::take(&mut node.flush.step) else { return };
    if cut.ids.is_empty() {
        node.head.mark_flushed(cut.window, cut.number, cut.shards, &env.samples);
        return ship(node, env, view, cut.window, left);
    }
    let entry = write_block(node, env, &cut, delta);
    let number = env.number();
    let after = env.objects.upload_time();
    env.wake(node.me, after, Timer::Uploaded(number));
    node.flush.step = Step::Uploading { number, view, cut, entry, left };
}

fn write_block(node: &Ingester, env: &mut Env, cut: &Cut, delta: bool) -> BlockEntry {
    let mut digests: BTreeMap<u32, ShardDigest> = BTreeMap::new();
    for id in &cut.ids {
        let sample = env.samples.get(*id);
        digests.entry(sample.shard).or_default().add(sample.series_hash(), sample.t, 0);
    }
    let times = |ids: &[SampleId]| ids.iter().map(|id| env.samples.get(*id).t).collect::<Vec<_>>();
    let times = times(&cut.ids);
    BlockEntry {
        id: format!("{:013}{}x{}", env.now_ms(), node.identity, env.number()),
        window_start: cut.window,
        window_end: cut.window + WINDOW_MS,
        min_t: times.iter().copied().min().unwrap_or(cut.window),
        max_t: times.iter().copied().max().unwrap_or(cut.window),
        shards: cut.shards.iter().collect(),
        delta,
        sequence: 0,
        bytes: 1,
        series: 1,
        samples: cut.ids.len() as u64,
        resolution_ms: 0,
        cut: Some(CutId { ingester: node.identity.clone(), number: cut.number }),
        digests: digests.into_iter().map(|(shard, held)| BlockDigest { shard, held, whole: None }).collect(),
        deletions_seen: None,
        meta: String::new(),
    }
}

/// Handles the end of an upload: proposes the commit of the block, or backs off if the upload failed.
pub fn uploaded(node: &mut Ingester, env: &mut Env, upload_number: u64) {
    let (view, cut, entry, left) = match std::mem::take(&mut node.flush.step) {
        Step::Uploading { number, view, cut, entry, left } if number == upload_number => (view, cut, entry, left),
        other => {
            node.flush.step = other;
            return;
        }
    };
    if !env.objects.put(env.now, &entry.id, &cut.ids) {
        env.count("uploads that failed");
        return fail(node, env);
    }
    if env.has(Bug::DropBeforeCommit) {
        node.head.mark_flushed(cut.window, cut.number, cut.shards.clone(), &env.samples);
        drop_window(node, env, cut.window, cut.shards.clone());
    }
    let command = Command::ShipBlocks {
        node: node.identity.clone(),
        cut: cut.shards.iter().map(|shard| (shard, view.epoch(shard))).collect(),
        tenant: TENANT.into(),
        blocks: vec![entry],
        deletions: 0,
        as_replica: false,
    };
    let block = PendingCommit { command: command.clone(), number: cut.number, shards: cut.shards };
    node.flush.step = Step::Committing { view, window: cut.window, block, left };
    node.proposals.propose(env, node.me, command, Then::Committed);
}

/// Handles the result of a commit. Without a result, meta did not answer, and the commit will be retried.
pub fn committed(node: &mut Ingester, env: &mut Env, result: Option<Result<Response, Refusal>>) {
    let (window, block, then) = match std::mem::take(&mut node.flush.step) {
        Step::Committing { view, window, block, left } => (window, block, Some((view, left))),
        Step::Deciding { window, block } => (window, block, None),
        other => {
            node.flush.step = other;
            return;
        }
    };
    match result {
        Some(Ok(_)) => {
            env.count("blocks shipped");
            node.head.mark_flushed(window, block.number, block.shards, &env.samples);
        }
        Some(Err(_)) => env.count("blocks refused"),
        None => {
            env.count("commits not answered");
            node.flush.pending_commits.insert(window, block);
            return fail(node, env);
        }
    }
    match then {
        Some((view, left)) => ship(node, env, view, window, left),
        None => {
            flush_window(node, env, window);
            if matches!(node.flush.step, Step::Idle) {
                next(node, env);
            }
        }
    }
}

/// Clears the queue and delays the next round with exponential backoff.
fn fail(node: &mut Ingester, env: &mut Env) {
    let flush = &mut node.flush;
    flush.queue.clear();
    flush.backoff = (flush.backoff * 2).clamp(1000, 60_000);
    flush.not_before = env.now + flush.backoff;
}
