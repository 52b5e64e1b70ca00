//! The plan of faults: drawn from the seed before the run starts, applied as virtual time passes.

use super::env::Ms;
use super::{CHAOS_FROM_MS, CHAOS_UNTIL_MS};
use pharos_testkit::Rng;

/// The kind of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Faults of all kinds occur.
    Chaos,
    /// One ingester dies, and nothing else fails.
    OneDeath,
    /// Ingesters join and drain over a slightly unreliable network.
    Scaling,
    /// Disks are lost while other ingesters pause and join.
    LostDisks,
}

/// A fault that a plan schedules. Durations are in virtual milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An ingester crashes and restarts after a while.
    CrashIngester { after: Ms },
    /// An ingester dies forever.
    KillIngester,
    /// An ingester crashes and restarts with an empty disk.
    WipeIngester { after: Ms },
    /// An ingester pauses.
    PauseIngester { time: Ms },
    /// An agent crashes and restarts after a while.
    CrashAgent { after: Ms },
    /// An agent pauses.
    PauseAgent { time: Ms },
    /// A node loses its links to all others.
    Isolate { ingester: bool, time: Ms },
    /// An ingester loses some of its links, each in one direction.
    CutSome { time: Ms },
    /// Only the newest ingester receives new views.
    LateViews { time: Ms },
    /// Meta has no leader for a while.
    MetaAway { time: Ms },
    /// The object store rejects all uploads for a while.
    ObjectsAway { time: Ms },
    /// The disk of an ingester is slow for a while.
    SlowDisk { time: Ms },
    /// An ingester starts to drain.
    Drain,
    /// A draining ingester becomes active again.
    StopDraining,
    /// A new ingester joins.
    AddIngester,
    /// The rates of lost, repeated and delayed messages change.
    Weather { loses: u64, repeats: u64, delays: u64, longest: Ms },
}

/// The plan of a run: its size and its faults.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Number of copies of each shard.
    pub copies: u32,
    /// Number of ingesters at the start.
    pub ingesters: usize,
    /// Number of agents, which is fixed.
    pub agents: usize,
    /// The faults and their times, in ascending order.
    pub faults: Vec<(Ms, Fault)>,
    /// Whether every write must be acknowledged within one timeout.
    pub promises_latency: bool,
}

impl Plan {
    /// Draws a plan.
    pub fn new(rng: &mut Rng) -> Self {
        let kind = match rng.below(100) {
            0..64 => Kind::Chaos,
            64..76 => Kind::OneDeath,
            76..90 => Kind::Scaling,
            _ => Kind::LostDisks,
        };
        let copies =
            if matches!(kind, Kind::OneDeath | Kind::LostDisks) { 3 } else { [1, 2, 3, 3, 3][rng.below(5) as usize] };
        let ingesters = (copies as usize + rng.below(3) as usize).max(2);
        let mut plan = Plan { copies, ingesters, agents: 2, faults: Vec::new(), promises_latency: false };
        match kind {
            Kind::Chaos => plan.chaos(rng),
            Kind::OneDeath => plan.one_death(rng),
            Kind::Scaling => plan.scaling(rng),
            Kind::LostDisks => plan.lost_disks(rng),
        }
        plan.faults.sort_by_key(|(at, _)| *at);
        plan
    }

    fn chaos(&mut self, rng: &mut Rng) {
        for _ in 0..rng.between(4, 16) {
            let at = rng.between(CHAOS_FROM_MS, CHAOS_UNTIL_MS);
            self.faults.push((at, fault(rng)));
        }
        for _ in 0..rng.between(0, 4) {
            let at = rng.between(CHAOS_FROM_MS / 2, CHAOS_UNTIL_MS);
            self.faults.push((at, weather(rng)));
        }
    }

    fn one_death(&mut self, rng: &mut Rng) {
        self.promises_latency = true;
        // In half of the runs, the ingester dies while a new one is catching up.
        if rng.chance(500) {
            let at = rng.between(CHAOS_FROM_MS, CHAOS_FROM_MS + 5000);
            self.faults.push((at, Fault::AddIngester));
            self.faults.push((at + rng.between(100, 4000), Fault::KillIngester));
        } else {
            self.faults.push((rng.between(CHAOS_FROM_MS, CHAOS_UNTIL_MS), Fault::KillIngester));
        }
    }

    fn lost_disks(&mut self, rng: &mut Rng) {
        self.ingesters = self.ingesters.max(4);
        for _ in 0..3 {
            let at = rng.between(CHAOS_FROM_MS, CHAOS_UNTIL_MS);
            let after = rng.between(200, 6000);
            self.faults.push((at, Fault::WipeIngester { after }));
            // A pause at the time of its return raises epochs.
            self.faults.push((at + after, Fault::PauseIngester { time: rng.between(3000, 6000) }));
            self.faults.push((at + after / 2, Fault::AddIngester));
        }
        let weather = Fault::Weather { loses: rng.below(150), repeats: 20, delays: 200, longest: 3000 };
        self.faults.push((1000, weather));
    }

    fn scaling(&mut self, rng: &mut Rng) {
        for _ in 0..rng.between(2, 6) {
            let at = rng.between(CHAOS_FROM_MS, CHAOS_UNTIL_MS);
            let what = [Fault::AddIngester, Fault::Drain, Fault::Drain, Fault::StopDraining];
            let what = what[rng.below(4) as usize];
            self.faults.push((at, what));
            if what == Fault::AddIngester && rng.chance(500) {
                let time = rng.between(500, 5000);
                self.faults.push((at + rng.between(0, 700), Fault::LateViews { time }));
            }
        }
        let after = rng.between(500, 20_000);
        self.faults.push((rng.between(CHAOS_FROM_MS, CHAOS_UNTIL_MS), Fault::CrashIngester { after }));
        let weather = Fault::Weather { loses: rng.below(10), repeats: rng.below(20), delays: 20, longest: 500 };
        self.faults.push((1000, weather));
    }
}

fn fault(rng: &mut Rng) -> Fault {
    let short = rng.between(200, 4000);
    let long = rng.between(1000, 25_000);
    match rng.below(100) {
        0..22 => Fault::CrashIngester { after: if rng.chance(500) { short } else { long } },
        22..26 => Fault::KillIngester,
        26..32 => Fault::WipeIngester { after: if rng.chance(500) { short } else { long } },
        32..42 => Fault::PauseIngester { time: long },
        42..48 => Fault::CrashAgent { after: short },
        48..52 => Fault::PauseAgent { time: long },
        52..64 => Fault::Isolate { ingester: rng.chance(750), time: long },
        64..72 => Fault::CutSome { time: long },
        72..74 => Fault::LateViews { time: rng.between(500, 5000) },
        74..78 => Fault::MetaAway { time: rng.between(500, 12_000) },
        78..84 => Fault::ObjectsAway { time: long },
        84..88 => Fault::SlowDisk { time: long },
        88..92 => Fault::Drain,
        92..94 => Fault::StopDraining,
        _ => Fault::AddIngester,
    }
}

fn weather(rng: &mut Rng) -> Fault {
    let (loses, repeats, delays) = (rng.below(60), rng.below(60), rng.below(200));
    Fault::Weather { loses, repeats, delays, longest: rng.between(50, 6000) }
}
