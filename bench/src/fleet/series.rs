//! A series and the shape of its values.

/// Label pairs, sorted by name, with the metric name as `__name__`.
pub(crate) type Labels = Vec<(String, String)>;

/// A series of a host.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) labels: Labels,
    shape: Shape,
    seed: u64,
}

/// How the values of a series change from step to step.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape {
    /// A counter of whole events.
    Events {
        /// Average increase per step.
        per_step: u64,
    },
    /// A counter of seconds with two decimals.
    Seconds,
    /// Part of a histogram: the counters that share all labels but `le` increase together, this one by `share` parts.
    Observations { per_step: u64, share: u64 },
    /// A gauge of bytes that wanders around `around` in pages of 4 KiB.
    Bytes { around: u64 },
    /// A gauge between 1 and 6 with two decimals.
    Load,
    /// A value that never changes.
    Fixed(f64),
}

impl Series {
    /// A series with these labels, in any order.
    pub(crate) fn new(mut labels: Labels, shape: Shape) -> Self {
        labels.sort();
        // Buckets of a histogram get one seed, so that they stay cumulative.
        let shares_its_seed = matches!(shape, Shape::Observations { .. });
        let counts = |name: &str| !(shares_its_seed && matches!(name, "__name__" | "le"));
        let seed = labels.iter().filter(|(name, _)| counts(name)).fold(0, |seed, (name, value)| {
            let bytes = name.bytes().chain([0]).chain(value.bytes()).chain([0]);
            bytes.fold(seed, |seed, byte| scramble(seed ^ u64::from(byte)))
        });
        Series { labels, shape, seed }
    }

    /// The value of a label; empty when the series does not have it.
    pub(crate) fn label(&self, name: &str) -> &str {
        self.labels.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// The value at a step.
    pub(crate) fn value(&self, step: u64) -> f64 {
        let noise = scramble(self.seed.wrapping_add(scramble(step)));
        match self.shape {
            Shape::Events { per_step } => self.count(step, per_step, noise) as f64,
            Shape::Observations { per_step, share } => (self.count(step, per_step, noise) * share) as f64,
            Shape::Seconds => self.count(step, 100 + self.seed % 1200, noise) as f64 / 100.0,
            Shape::Bytes { around } => {
                let wandering = (self.wave(step, 40.0) * 0.1 + 1.0) * around as f64;
                let pages = (wandering as u64 + noise % (around / 50 + 1)) / 4096;
                (pages * 4096) as f64
            }
            Shape::Load => {
                let level = self.wave(step, 25.0) * 2.0 + 3.5 + (noise % 1000) as f64 / 2000.0;
                (level * 100.0).round() / 100.0
            }
            Shape::Fixed(value) => value,
        }
    }

    /// A counter that grows by `per_step` a step on average. Jitter below `per_step` keeps it from ever decreasing.
    fn count(&self, step: u64, per_step: u64, noise: u64) -> u64 {
        self.seed % 1_000_000 + step * per_step + noise % per_step.max(1)
    }

    /// A slow wave between -1 and 1 with a phase of its own.
    fn wave(&self, step: u64, slowness: f64) -> f64 {
        (step as f64 / slowness + (self.seed % 100) as f64).sin()
    }
}

/// The finalizer of SplitMix64: spreads a small change of the input over all bits.
pub(crate) fn scramble(mut bits: u64) -> u64 {
    bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
