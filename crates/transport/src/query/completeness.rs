//! From when on a source has all samples.

/// The time of which a source has all samples, and the time that is in blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completeness {
    /// From this timestamp on the source has every sample of its scope, so that no other source has to be read for that time.
    /// `i64::MIN` for all time; `i64::MAX` for none, which is what a source says that cannot know.
    pub from: i64,
    /// All samples before this timestamp are in blocks. `i64::MAX` when all samples are.
    pub unflushed_from: i64,
    /// The version of the view that lists those blocks.
    pub version: u64,
}

impl Completeness {
    /// Nothing is promised: every other source has to be read, and the source may have samples that no block has.
    pub const UNKNOWN: Completeness = Completeness { from: i64::MAX, unflushed_from: i64::MIN, version: 0 };

    /// What two sources of different shards have together.
    pub fn and(self, other: Completeness) -> Self {
        Completeness {
            from: self.from.max(other.from),
            unflushed_from: self.unflushed_from.min(other.unflushed_from),
            version: self.version.max(other.version),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_sources_have_together_what_both_have() {
        let one = Completeness { from: 5, unflushed_from: 9, version: 2 };
        let other = Completeness { from: 7, unflushed_from: 8, version: 1 };
        assert_eq!(one.and(other), Completeness { from: 7, unflushed_from: 8, version: 2 });
    }

    #[test]
    fn together_with_an_unknown_source_nothing_is_promised() {
        let known = Completeness { from: 5, unflushed_from: 9, version: 2 };
        let together = known.and(Completeness::UNKNOWN);
        assert_eq!(together.from, i64::MAX);
        assert_eq!(together.unflushed_from, i64::MIN);
    }
}
