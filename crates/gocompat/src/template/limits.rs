//! The limits of templates. Anybody may have written a template, so none of them may run away.

/// How deep actions may nest.
pub(super) const MAX_NESTING: usize = 100;
/// How deep templates may call each other.
pub(super) const MAX_CALLS: usize = 100;
/// How many nodes one execution may visit.
pub(super) const MAX_STEPS: usize = 1_000_000;
/// How many bytes one execution may write.
pub(super) const MAX_OUTPUT: usize = 1 << 20;
