//! How windows become blocks: [`FlushPolicy`] decides, the steps are those of `pharos_ingester::flush`, and any of them may
//! be the last one before the process dies.

use std::collections::{BTreeMap, VecDeque};

use pharos_ingester::flush::policy::{self, Action, Committed, FlushPolicy, Waiting};
use pharos_meta::{BlockEntry, CatalogueCommand, Command, CutId, Refusal, Response};
use pharos_model::ShardSet;

use super::bugs::Bug;
use super::env::{Env, Ms};
use super::head::Cut;
use super::ingester::{Ingester, OnDurable, Then};
use super::invariants;
use super::messages::Timer;
use super::samples::SampleId;
use super::{GRACE, TENANT, WINDOW_MS};

/// What an ingester has under way.
#[derive(Default)]
pub struct Flush {
    waiting: Waiting,
    queue: VecDeque<Action>,
    step: Step,
    not_before: Ms,
    backoff: Ms,
}

#[derive(Default)]
enum Step {
    #[default]
    Idle,
    /// The cut is not durable yet.
    Cut(Cut),
    /// Blocks are uploaded, one after the other.
    Uploading { number: u64, cut: Cut, blocks: Vec<Made>, at: usize },
    /// The catalogue was asked.
    Committing { cut: Cut },
}

/// A block that is on its way.
#[derive(Clone)]
struct Made {
    entry: BlockEntry,
    ids: Vec<SampleId>,
}

/// When a block was made, milliseconds since the epoch; its name begins with it, as a ULID does.
fn made_ms(block: &BlockEntry) -> i64 {
    block.id.get(..13).and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// The live blocks of a window.
fn blocks_of<'a>(node: &'a Ingester, window: i64) -> impl Iterator<Item = &'a BlockEntry> + 'a {
    let of_tenant = node.view.catalogue.tenant(TENANT).into_iter().flat_map(|t| &t.blocks);
    of_tenant.map(|block| &**block).filter(move |block| block.window_start == window)
}

fn committed_at(node: &Ingester) -> Committed {
    let mut newest = Committed::new();
    for block in node.view.catalogue.tenant(TENANT).into_iter().flat_map(|t| &t.blocks) {
        for shard in &block.shards {
            let entry = newest.entry((block.window_start, *shard)).or_insert(i64::MIN);
            *entry = made_ms(block).max(*entry);
        }
    }
    newest
}

/// What is done every second.
pub fn round(node: &mut Ingester, env: &mut Env) {
    mark_as_follower(node, env);
    if !matches!(node.flush.step, Step::Idle) || !node.flush.queue.is_empty() || env.now < node.flush.not_before {
        return;
    }
    let windows = node.head.windows(&env.samples);
    policy::note_waiting(&mut node.flush.waiting, env.now_ms(), &windows);
    let policy = FlushPolicy::new(WINDOW_MS, GRACE);
    let due = policy.decide(env.now_ms(), &windows, &node.led(), &committed_at(node), &node.flush.waiting);
    node.flush.queue = due.into();
    next(node, env);
}

fn next(node: &mut Ingester, env: &mut Env) {
    while let Some(action) = node.flush.queue.pop_front() {
        match action {
            Action::Drop { window, shards } => drop_window(node, env, window, shards),
            Action::Flush { window } => {
                if make_up_for_a_crash(node, env, window) {
                    continue;
                }
                let led = node.led();
                let cut = node.head.cut(window, &led, env.now_ms(), &env.samples);
                env.note(&[140, cut.number.into()], || format!("{} cuts {cut:?}", node.identity));
                node.flush.step = Step::Cut(cut);
                let position = node.head.end();
                return node.when_durable(env, position, OnDurable::Cut);
            }
        }
    }
}

fn drop_window(node: &mut Ingester, env: &mut Env, window: i64, shards: ShardSet) {
    let gone = node.head.drop_flushed(window, shards, &env.samples);
    env.note(&[141, gone.len() as u64], || format!("{} drops {gone:?} of window {window}", node.identity));
    env.count("drops");
    env.dropped.push((node.identity.clone(), gone));
}

/// What a committed block of this node holds is marked, although the node does not know: it died in between.
fn make_up_for_a_crash(node: &mut Ingester, env: &mut Env, window: i64) -> bool {
    let windows = node.head.windows(&env.samples);
    let known = windows.iter().find(|w| w.start == window);
    let mut marks: Vec<(u32, ShardSet)> = Vec::new();
    for block in blocks_of(node, window) {
        let Some(cut) = block.cut.as_ref().filter(|cut| cut.ingester == node.identity) else { continue };
        let unmarked = |shard: &u32| known.map_or(0, |w| w.flushed(*shard)) < cut.number;
        let shards: ShardSet = block.shards.iter().copied().filter(unmarked).collect();
        if !shards.is_empty() {
            marks.push((cut.number, shards));
        }
    }
    let made_up = !marks.is_empty();
    for (number, shards) in marks {
        env.note(&[142, number.into()], || format!("{} makes up for cut {number} of window {window}", node.identity));
        node.head.mark_flushed(window, number, shards, &env.samples);
    }
    made_up
}

/// A cut is in the log: its blocks are written and uploaded.
pub fn cut_is_durable(node: &mut Ingester, env: &mut Env) {
    let Step::Cut(cut) = std::mem::take(&mut node.flush.step) else { return };
    let blocks = write_blocks(node, env, &cut);
    if blocks.is_empty() {
        node.head.mark_flushed(cut.window, cut.number, cut.shards, &env.samples);
        return next(node, env);
    }
    upload(node, env, cut, blocks, 0);
}

/// One block for the shards that have no main block yet, and one for late samples of the others.
fn write_blocks(node: &mut Ingester, env: &mut Env, cut: &Cut) -> Vec<Made> {
    let covered: ShardSet = blocks_of(node, cut.window)
        .filter(|block| !block.delta)
        .flat_map(|block| block.shards.iter().copied())
        .collect();
    let mut by_kind: BTreeMap<bool, Vec<SampleId>> = BTreeMap::new();
    for id in &cut.ids {
        by_kind.entry(covered.contains(env.samples.get(*id).shard)).or_default().push(*id);
    }
    let of_cut = |(delta, ids): (bool, Vec<SampleId>)| {
        let times = || ids.iter().map(|id| env.samples.get(*id).t);
        let shards: ShardSet = ids.iter().map(|id| env.samples.get(*id).shard).collect();
        let shards = match delta {
            true => shards,
            // A main block covers what has no samples, too.
            false => cut.shards.difference(&covered),
        };
        let entry = BlockEntry {
            digests: Vec::new(),
            id: String::new(),
            window_start: cut.window,
            window_end: cut.window + WINDOW_MS,
            min_t: times().min().unwrap_or(cut.window),
            max_t: times().max().unwrap_or(cut.window),
            shards: shards.iter().collect(),
            delta,
            sequence: 0,
            bytes: 1,
            series: 1,
            samples: ids.len() as u64,
            resolution_ms: 0,
            cut: Some(CutId { ingester: node.identity.clone(), number: cut.number }),
            meta: String::new(),
        };
        Made { entry, ids }
    };
    let mut made: Vec<Made> = by_kind.into_iter().map(of_cut).collect();
    for block in &mut made {
        block.entry.id = format!("{:013}{}x{}", env.now_ms(), node.identity, env.number());
    }
    made
}

fn upload(node: &mut Ingester, env: &mut Env, cut: Cut, blocks: Vec<Made>, at: usize) {
    let number = env.number();
    let after = env.objects.upload_time();
    env.wake(node.me, after, Timer::Uploaded(number));
    node.flush.step = Step::Uploading { number, cut, blocks, at };
}

/// An upload has ended.
pub fn uploaded(node: &mut Ingester, env: &mut Env, upload_number: u64) {
    let (cut, blocks, at) = match std::mem::take(&mut node.flush.step) {
        Step::Uploading { number, cut, blocks, at } if number == upload_number => (cut, blocks, at),
        other => {
            node.flush.step = other;
            return;
        }
    };
    if !env.objects.put(env.now, &blocks[at].entry.id, &blocks[at].ids) {
        env.count("uploads that failed");
        return fail(node, env);
    }
    if at + 1 < blocks.len() {
        return upload(node, env, cut, blocks, at + 1);
    }
    if env.has(Bug::DropBeforeCommit) {
        node.head.mark_flushed(cut.window, cut.number, cut.shards.clone(), &env.samples);
        drop_window(node, env, cut.window, cut.shards.clone());
    }
    let blocks = blocks.into_iter().map(|block| block.entry).collect();
    let command = CatalogueCommand::CommitBlocks { tenant: TENANT.into(), blocks, boundary: None };
    node.proposals.propose(env, node.me, Command::Catalogue(command), Then::Committed);
    node.flush.step = Step::Committing { cut };
}

/// The catalogue has answered, or nobody did.
pub fn committed(node: &mut Ingester, env: &mut Env, result: Option<Result<Response, Refusal>>) {
    let Step::Committing { cut } = std::mem::take(&mut node.flush.step) else { return };
    match result {
        Some(Ok(_)) => {
            env.count("windows shipped");
            node.flush.backoff = 0;
            node.head.mark_flushed(cut.window, cut.number, cut.shards, &env.samples);
            next(node, env);
        }
        refused => {
            env.count(if refused.is_some() { "commits refused" } else { "commits not answered" });
            fail(node, env);
        }
    }
}

/// It is tried again, later.
fn fail(node: &mut Ingester, env: &mut Env) {
    let flush = &mut node.flush;
    flush.queue.clear();
    flush.backoff = (flush.backoff * 2).clamp(1000, 60_000);
    flush.not_before = env.now + flush.backoff;
}

/// A replica that does not ship a shard takes its samples of a window as flushed when the blocks hold all of them.
fn mark_as_follower(node: &mut Ingester, env: &mut Env) {
    invariants::objects_exist(env, &node.view);
    let led = node.led();
    for window in node.head.windows(&env.samples) {
        for shard in window.unflushed().difference(&led).iter() {
            let ids = node.head.unflushed(window.start, &ShardSet::of(shard), &env.samples);
            let blocks: Vec<&BlockEntry> =
                blocks_of(node, window.start).filter(|block| block.shards.contains(&shard)).collect();
            let in_blocks =
                |id: &SampleId| blocks.iter().any(|b| env.objects.get(&b.id).is_some_and(|s| s.contains(*id)));
            let all_there = env.has(Bug::MarkWithoutComparing) || ids.iter().all(in_blocks);
            if blocks.is_empty() || !all_there {
                continue;
            }
            let cut = node.head.cut(window.start, &ShardSet::of(shard), env.now_ms(), &env.samples);
            env.note(&[143, cut.number.into()], || format!("{} finds {:?} in blocks", node.identity, cut.ids));
            node.head.mark_flushed(window.start, cut.number, cut.shards, &env.samples);
        }
    }
}
