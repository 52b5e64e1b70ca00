//! Flushes windows into blocks, and marks samples that other replicas have put into blocks. Follows the steps of
//! `pharos_ingester::flush` and uses its real decisions ([`FlushPolicy`], [`WindowBlocks`]). The process may crash
//! after any step.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use pharos_cluster::{BlockEntry, Command, CutId, Refusal, Response, View};
use pharos_ingester::flush::coverage::WindowBlocks;
use pharos_ingester::flush::policy::{self, Blocks, FlushPolicy, Now, Waiting};
use pharos_model::{BlockDigest, ShardDigest, ShardSet};

use super::bugs::Bug;
use super::env::{Env, Ms};
use super::head::Cut;
use super::ingester::{Ingester, OnDurable, Then};
use super::messages::Timer;
use super::samples::{SampleId, SampleSet};
use super::unmatched::{self, Unmatched};
use super::{GRACE, TENANT, WINDOW_MS};

/// The flush state of an ingester.
#[derive(Default)]
pub struct Flush {
    waiting: Waiting,
    /// When each block was first seen.
    seen: BTreeMap<String, Duration>,
    queue: VecDeque<Action>,
    step: Step,
    not_before: Ms,
    backoff: Ms,
    /// Uploaded blocks whose commit is undecided, by start of the window.
    pending_commits: BTreeMap<i64, PendingCommit>,
    /// Windows whose samples differ from their blocks.
    pub unmatched: Unmatched,
}

/// A step of a round.
#[derive(Clone, Debug)]
enum Action {
    /// Flush the shards of a window that this ingester leads.
    Flush { window: i64 },
    /// Free the flushed samples of some shards of a window.
    Drop { window: i64, shards: ShardSet },
    /// Compare shards of a window that others lead with blocks.
    Compare { window: i64 },
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
    Cut { view: View, cut: Cut, kind: Kind, left: Parts },
    /// The block is being uploaded.
    Uploading { number: u64, view: View, cut: Cut, entry: BlockEntry, kind: Kind, left: Parts },
    /// The commit was sent to meta.
    Committing { view: View, window: i64, block: PendingCommit, left: Parts },
}

/// The kind of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Main,
    Delta,
    /// A delta block of samples that no block has, by a replica.
    Difference,
}

/// Notes new blocks and returns when the newest one of each shard and window was seen.
fn note_blocks(seen: &mut BTreeMap<String, Duration>, view: &View, now: Duration) -> Blocks {
    let mut blocks = Blocks::new();
    for block in view.catalogue.tenant(TENANT).into_iter().flat_map(|t| &t.blocks) {
        let since = *seen.entry(block.id.clone()).or_insert(now);
        for shard in &block.shards {
            let known = blocks.entry((block.window_start, *shard)).or_default();
            known.newest_seen = known.newest_seen.max(Some(since));
        }
    }
    blocks
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
    let now = Now { wall_ms: env.now_ms(), monotonic: Duration::from_millis(env.now) };
    policy::note_waiting(&mut node.flush.waiting, now.monotonic, &windows);
    let blocks = note_blocks(&mut node.flush.seen, &node.view, now.monotonic);
    let policy = FlushPolicy::new(GRACE);
    let drops = policy.drops(now.monotonic, &windows, &blocks).into_iter();
    let flushes = policy.flushes(now, &windows, &node.led(), &blocks, &node.flush.waiting).into_iter();
    let compared = unmatched::due(node, env).into_iter();
    node.flush.queue = drops
        .map(|(window, shards)| Action::Drop { window, shards })
        .chain(flushes.map(|window| Action::Flush { window }))
        .chain(compared.map(|window| Action::Compare { window }))
        .collect();
    next(node, env);
}

fn next(node: &mut Ingester, env: &mut Env) {
    node.flush.step = Step::Idle;
    while let Some(action) = node.flush.queue.pop_front() {
        match action {
            Action::Drop { window, ref shards } => drop_window(node, env, window, shards.clone()),
            Action::Flush { window } | Action::Compare { window } => {
                match node.flush.pending_commits.remove(&window) {
                    Some(block) => {
                        let command = block.command.clone();
                        node.flush.step = Step::Deciding { window, block };
                        node.proposals.propose(env, node.me, command, Then::Committed);
                    }
                    None if matches!(action, Action::Flush { .. }) => flush_window(node, env, window),
                    None => {
                        if !compare_window(node, env, window) {
                            return fail(node, env);
                        }
                    }
                }
                if !matches!(node.flush.step, Step::Idle) {
                    return;
                }
            }
        }
    }
    node.flush.backoff = 0;
}

/// Compares the samples of a window with blocks, marks those that blocks have and begins to ship the others. Returns
/// false if a block cannot be read.
fn compare_window(node: &mut Ingester, env: &mut Env, window: i64) -> bool {
    let view = node.view.clone();
    let Some((number, shards)) = unmatched::due_shards(node, env, &view, window) else { return true };
    let Some(info) = node.head.window(window, &env.samples) else { return true };
    let blocks = WindowBlocks::of(view.catalogue.tenant(TENANT), &info);
    let mut listed = SampleSet::default();
    for block in blocks.iter() {
        match env.objects.read(env.now, &block.id) {
            Some(samples) => listed.add_all(samples),
            None => return false,
        }
    }
    let mut ids = node.head.unflushed_below(window, &shards, number, &env.samples);
    ids.retain(|id| !listed.contains(*id));
    unmatched::forget(node, window);
    env.note(&[144, number.into()], || {
        format!("{} compares {shards} below {number} of {window}: {ids:?}", node.identity)
    });
    if ids.is_empty() {
        env.count("marks by reading blocks");
        node.head.mark_flushed(window, number, shards, &env.samples);
        return true;
    }
    env.count("differences shipped");
    let cut = Cut { window, number, shards, ids };
    node.flush.step = Step::Cut { view, cut, kind: Kind::Difference, left: Parts::new() };
    let position = node.head.end();
    node.when_durable(env, position, OnDurable::Cut);
    true
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
    let kind = if delta { Kind::Delta } else { Kind::Main };
    node.flush.step = Step::Cut { view, cut, kind, left: parts };
    let position = node.head.end();
    node.when_durable(env, position, OnDurable::Cut);
}

/// Writes the block of a durable cut and starts its upload.
pub fn cut_is_durable(node: &mut Ingester, env: &mut Env) {
    let Step::Cut { view, cut, kind, left } = std::mem::take(&mut node.flush.step) else { return };
    if cut.ids.is_empty() {
        node.head.mark_flushed(cut.window, cut.number, cut.shards, &env.samples);
        return ship(node, env, view, cut.window, left);
    }
    let entry = write_block(node, env, &cut, kind != Kind::Main);
    let number = env.number();
    let after = env.objects.upload_time();
    env.wake(node.me, after, Timer::Uploaded(number));
    node.flush.step = Step::Uploading { number, view, cut, entry, kind, left };
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
        bytes: 1,
        series: 1,
        samples: cut.ids.len() as u64,
        cut: Some(CutId { ingester: node.identity.clone(), number: cut.number }),
        digests: digests.into_iter().map(|(shard, held)| BlockDigest { shard, held, whole: None }).collect(),
        ..BlockEntry::default()
    }
}

/// Handles the end of an upload: proposes the commit of the block, or backs off if the upload failed.
pub fn uploaded(node: &mut Ingester, env: &mut Env, upload_number: u64) {
    let (view, cut, entry, kind, left) = match std::mem::take(&mut node.flush.step) {
        Step::Uploading { number, view, cut, entry, kind, left } if number == upload_number => {
            (view, cut, entry, kind, left)
        }
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
        as_replica: kind == Kind::Difference,
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
