//! The plan of a run: its size, its themes and its faults, drawn from the seed before it starts.

use pharos_testkit::Rng;

use crate::env::Ms;
use crate::network::Weather;
use crate::objects::ObjectFaults;
use crate::{CHAOS_FROM_MS, CHAOS_UNTIL_MS};

/// What a run is about, besides crashes and cut links.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Themes {
    pub(crate) deletions: bool,
    /// Several values for one timestamp.
    pub(crate) conflicts: bool,
    /// Wall clocks that step.
    pub(crate) clocks: bool,
    /// Bits that flip in logs.
    pub(crate) damage: bool,
    /// Windows that change their width.
    pub(crate) widths: bool,
    /// Restores of an export of the cluster state.
    pub(crate) restore: bool,
    /// A compactor that collects garbage soon.
    pub(crate) garbage: bool,
    /// Commands that are applied again, or whose answers are lost.
    pub(crate) commands: bool,
    /// Wiped disks.
    pub(crate) wipes: bool,
    /// What ingesters say about their completeness.
    pub(crate) reads: bool,
    /// Nothing happens but the death of one node of three copies, so every write is to be acknowledged soon.
    pub(crate) one_death: bool,
}

/// A fault. Durations are in virtual milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// A node loses its power, or only its process.
    Crash {
        power: bool,
        after: Ms,
    },
    /// A node stops in order.
    Stop {
        after: Ms,
    },
    /// A node comes back with an empty disk.
    Wipe {
        after: Ms,
    },
    /// A node comes back with a flipped bit in its log.
    Flip {
        after: Ms,
    },
    /// All nodes lose their power at once.
    Blackout {
        after: Ms,
    },
    /// A node loses all links, or only those to or from some others.
    Isolate {
        some: bool,
        time: Ms,
    },
    /// What meta sends to a node takes long.
    LateViews {
        delay: Ms,
        time: Ms,
    },
    MetaAway {
        time: Ms,
    },
    Objects {
        faults: ObjectFaults,
        time: Ms,
    },
    FullDisk {
        time: Ms,
    },
    SlowDisk {
        sync: Ms,
        time: Ms,
    },
    /// The wall clock of a node is wrong for a while.
    Clock {
        by: i64,
        time: Ms,
    },
    /// All nodes are restarted with another width, one after the other.
    Width {
        to: i64,
    },
    Restore,
    /// A node joins.
    Add,
    Drain,
    /// The leader of a shard changes.
    Lead,
    Weather(Weather),
}

/// The plan of a run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) copies: u32,
    pub(crate) nodes: usize,
    pub(crate) themes: Themes,
    /// Ascending by time.
    pub(crate) faults: Vec<(Ms, Fault)>,
}

impl Plan {
    pub(crate) fn new(rng: &mut Rng, is_enabled: impl Fn(&str) -> bool, needed: Option<&str>) -> Plan {
        if rng.chance(80) && is_enabled("one death") && needed.is_none() {
            return Plan::of_one_death(rng);
        }
        let copies = [1, 2, 3, 3][rng.below(4) as usize];
        let nodes = (copies as usize + rng.below(2) as usize).max(2);
        let mut theme =
            |name: &str, per_mille: u64| (rng.chance(per_mille) && is_enabled(name)) || needed == Some(name);
        let themes = Themes {
            deletions: theme("deletions", 400),
            conflicts: theme("conflicts", 400),
            clocks: theme("clocks", 300),
            damage: theme("damage", 250) && copies > 1,
            widths: theme("widths", 150),
            restore: theme("restore", 150),
            garbage: theme("garbage", 300),
            commands: theme("commands", 400),
            wipes: theme("wipes", 400) && copies > 1,
            reads: theme("reads", 1000),
            one_death: false,
        };
        let mut plan = Plan { copies, nodes, themes, faults: Vec::new() };
        for _ in 0..rng.between(2, 9) {
            plan.add(rng, plain);
        }
        plan.add_themes(rng);
        plan.faults.sort_by_key(|(at, _)| *at);
        plan
    }

    /// One node dies and does not return before all faults are repaired. In half of the runs another one is catching up.
    fn of_one_death(rng: &mut Rng) -> Plan {
        let themes = Themes { reads: true, one_death: true, ..Themes::default() };
        let mut plan = Plan { copies: 3, nodes: rng.between(3, 4) as usize, themes, faults: Vec::new() };
        let dies = rng.between(CHAOS_FROM_MS, CHAOS_UNTIL_MS - 20_000);
        if rng.chance(500) {
            plan.faults.push((dies - rng.between(100, 4000), Fault::Add));
        }
        plan.faults.push((dies, Fault::Crash { power: rng.chance(500), after: CHAOS_UNTIL_MS }));
        plan
    }

    fn add(&mut self, rng: &mut Rng, fault: impl FnOnce(&mut Rng) -> Fault) {
        let at = rng.between(CHAOS_FROM_MS, CHAOS_UNTIL_MS - 2000);
        let fault = fault(rng);
        self.faults.push((at, fault));
    }

    fn add_themes(&mut self, rng: &mut Rng) {
        let themes = self.themes;
        if themes.wipes {
            for _ in 0..rng.between(1, 2) {
                self.add(rng, |rng| Fault::Wipe { after: rng.between(200, 8000) });
            }
        }
        if themes.damage {
            for _ in 0..rng.between(1, 3) {
                self.add(rng, |rng| Fault::Flip { after: rng.between(200, 8000) });
            }
        }
        if themes.clocks {
            for _ in 0..rng.between(1, 3) {
                let by = |rng: &mut Rng| {
                    let by = rng.between(1000, 40_000) as i64;
                    if rng.chance(500) { by } else { -by }
                };
                self.add(rng, |rng| Fault::Clock { by: by(rng), time: rng.between(1000, 30_000) });
            }
        }
        if themes.widths {
            for _ in 0..rng.between(1, 2) {
                self.add(rng, |rng| Fault::Width { to: [10_000, 20_000, 40_000][rng.below(3) as usize] });
            }
        }
        if themes.restore {
            self.add(rng, |_| Fault::Restore);
        }
    }
}

fn plain(rng: &mut Rng) -> Fault {
    let short = rng.between(200, 4000);
    let long = rng.between(1000, 25_000);
    let any = if rng.chance(500) { short } else { long };
    match rng.below(100) {
        0..20 => Fault::Crash { power: rng.chance(600), after: any },
        20..28 => Fault::Stop { after: any },
        28..31 => Fault::Blackout { after: any },
        31..43 => Fault::Isolate { some: rng.chance(500), time: long },
        43..50 => Fault::LateViews { delay: rng.between(100, 2500), time: long },
        50..56 => Fault::MetaAway { time: short },
        56..68 => Fault::Objects { faults: objects(rng), time: long },
        68..72 => Fault::FullDisk { time: long },
        72..78 => Fault::SlowDisk { sync: rng.between(20, 3000), time: long },
        78..83 => Fault::Add,
        83..87 => Fault::Drain,
        87..93 => Fault::Lead,
        _ => Fault::Weather(Weather { loses: rng.below(60), delays: rng.below(200), longest: rng.between(10, 4000) }),
    }
}

fn objects(rng: &mut Rng) -> ObjectFaults {
    let all = ObjectFaults { delays: 500, longest: rng.between(10, 5000), ..ObjectFaults::default() };
    match rng.below(4) {
        0 => ObjectFaults { fails: 1000, ..all },
        1 => ObjectFaults { hangs: 1000, ..all },
        2 => ObjectFaults { loses_answers: 400, fails: 200, ..all },
        _ => ObjectFaults { hangs: 100, fails: 100, list_lag: rng.between(0, 10_000), ..all },
    }
}
