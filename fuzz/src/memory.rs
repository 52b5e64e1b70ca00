//! An allocator that aborts the process when an input makes it use too much memory.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The memory limit in bytes, above every limit that a target sets.
const MAX_BYTES: usize = 512 << 20;

struct Bounded(AtomicUsize);

#[global_allocator]
static ALLOCATOR: Bounded = Bounded(AtomicUsize::new(0));

impl Bounded {
    fn take(&self, bytes: usize) {
        let held = self.0.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if held > MAX_BYTES {
            // Both drivers keep the input: one has saved it by now, the other saves it on an abort.
            std::process::abort();
        }
    }
}

// SAFETY: all memory comes from the system allocator; this only counts bytes.
unsafe impl GlobalAlloc for Bounded {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.take(layout.size());
        // SAFETY: the layout is passed on from the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        self.take(layout.size());
        // SAFETY: the layout is passed on from the caller.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        self.0.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the memory came from the system allocator with this layout.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        self.take(size);
        self.0.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the memory came from the system allocator with this layout.
        unsafe { System.realloc(memory, layout, size) }
    }
}
