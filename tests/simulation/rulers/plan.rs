//! The plan of a run: how many rulers there are, and what goes wrong when.

use pharos_testkit::Rng;

use crate::env::Ms;
use crate::network::Weather;
use crate::{CHAOS_FROM_MS, CHAOS_UNTIL_MS};

/// A fault. Durations are in virtual milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// A ruler dies.
    Crash {
        after: Ms,
    },
    /// A ruler stops in order.
    Stop {
        after: Ms,
    },
    /// A ruler drains, and takes groups again later.
    Drain {
        time: Ms,
    },
    /// Another ruler joins.
    Add,
    /// A ruler and meta do not hear each other, or only one of them the other.
    Isolate {
        hears: bool,
        is_heard: bool,
        time: Ms,
    },
    /// Views reach a ruler late.
    LateViews {
        delay: Ms,
        time: Ms,
    },
    /// Meta has no leader.
    MetaAway {
        time: Ms,
    },
    Weather(Weather),
    /// A ruler's wall clock steps, for good.
    Clock {
        by: i64,
    },
    /// A ruler reads changed rules.
    Reload,
}

/// The plan of a run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) rulers: usize,
    /// Ascending by time.
    pub(crate) faults: Vec<(Ms, Fault)>,
}

impl Plan {
    pub(crate) fn new(rng: &mut Rng) -> Plan {
        let rulers = rng.between(1, 4) as usize;
        let faults = rng.between(2, 10);
        // In half of the runs nobody is ever cut off, so that every slot counts.
        let is_calm = rng.chance(500);
        let fault = |rng: &mut Rng| if is_calm { calm(rng) } else { any(rng) };
        let mut faults: Vec<(Ms, Fault)> =
            (0..faults).map(|_| (rng.between(CHAOS_FROM_MS, CHAOS_UNTIL_MS - 2000), fault(rng))).collect();
        faults.sort_by_key(|(at, _)| *at);
        Plan { rulers, faults }
    }
}

fn calm(rng: &mut Rng) -> Fault {
    match rng.below(100) {
        0..25 => Fault::Crash { after: rng.between(200, 20_000) },
        25..45 => Fault::Stop { after: rng.between(200, 20_000) },
        45..60 => Fault::Drain { time: rng.between(200, 20_000) },
        60..75 => Fault::Add,
        75..90 => {
            let by = rng.between(200, 40_000) as i64;
            Fault::Clock { by: if rng.chance(500) { by } else { -by } }
        }
        _ => Fault::Reload,
    }
}

fn any(rng: &mut Rng) -> Fault {
    let time = rng.between(1000, 15_000);
    match rng.below(100) {
        0..20 => {
            let (hears, is_heard) = [(false, false), (false, true), (true, false)][rng.below(3) as usize];
            Fault::Isolate { hears, is_heard, time }
        }
        20..35 => Fault::LateViews { delay: rng.between(100, 3000), time },
        35..45 => Fault::MetaAway { time: rng.between(200, 8000) },
        45..55 => {
            Fault::Weather(Weather { loses: rng.below(40), delays: rng.below(200), longest: rng.between(10, 3000) })
        }
        _ => calm(rng),
    }
}
