//! How the windows of all tenants are laid out and numbered. Every segment of the log begins with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::RwLock;

use super::schedule::WindowSchedule;

/// The schedule of windows, and the greatest generation that any window has had.
#[derive(Debug)]
pub(crate) struct WindowPlan {
    schedule: RwLock<Arc<WindowSchedule>>,
    newest_generation: AtomicU32,
}

impl WindowPlan {
    pub(crate) fn new(schedule: WindowSchedule) -> Self {
        WindowPlan { schedule: RwLock::new(Arc::new(schedule)), newest_generation: AtomicU32::new(0) }
    }

    pub(crate) fn schedule(&self) -> Arc<WindowSchedule> {
        self.schedule.read().clone()
    }

    pub(crate) fn set_schedule(&self, schedule: Arc<WindowSchedule>) {
        *self.schedule.write() = schedule;
    }

    /// Notes that a window has had a generation.
    pub(crate) fn note_generation(&self, generation: u32) {
        self.newest_generation.fetch_max(generation, Ordering::Relaxed);
    }

    /// The greatest generation of any window so far.
    pub(crate) fn newest_generation(&self) -> u32 {
        self.newest_generation.load(Ordering::Relaxed)
    }

    /// The first generation of a window that begins now. It is not below any that a window had before, whatever the clock
    /// says.
    pub(crate) fn first_generation(&self, now_ms: i64) -> u32 {
        // The upper half of the numbers is left for cuts.
        let seconds = u32::try_from((now_ms / 1000).max(0)).unwrap_or(u32::MAX).min(u32::MAX / 2);
        self.newest_generation.fetch_max(seconds, Ordering::Relaxed).max(seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> WindowPlan {
        WindowPlan::new(WindowSchedule::new(100))
    }

    #[test]
    fn the_first_generation_is_the_time_in_seconds() {
        assert_eq!(plan().first_generation(1_700_000_000_999), 1_700_000_000);
    }

    #[test]
    fn the_first_generation_leaves_room_for_cuts() {
        assert_eq!(plan().first_generation(-1), 0);
        assert_eq!(plan().first_generation(i64::MIN), 0);
        assert_eq!(plan().first_generation(i64::MAX), u32::MAX / 2);
    }

    #[test]
    fn the_first_generation_never_goes_back() {
        let plan = plan();
        assert_eq!(plan.first_generation(9_000), 9);
        assert_eq!(plan.first_generation(5_000), 9);
        plan.note_generation(20);
        plan.note_generation(12);
        assert_eq!(plan.first_generation(5_000), 20);
        assert_eq!(plan.newest_generation(), 20);
    }
}
