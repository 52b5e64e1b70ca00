//! The limits of templates. Anybody may have written a template, so none of them may run away.

/// How deep actions may nest.
pub(super) const MAX_NESTING: usize = 100;
/// How deep templates may call each other.
pub(super) const MAX_CALLS: usize = 100;

/// The limits of one execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many nodes it may visit.
    pub steps: usize,
    /// How many bytes it may write.
    pub output: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { steps: 1_000_000, output: 1 << 20 }
    }
}
