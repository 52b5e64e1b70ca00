//! An allocator that ends the process when it holds more than any input may make it hold: memory is bounded on input.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// More than every limit that the targets set.
const LIMIT: usize = 512 << 20;

struct Bounded(AtomicUsize);

#[global_allocator]
static ALLOCATOR: Bounded = Bounded(AtomicUsize::new(0));

impl Bounded {
    fn take(&self, bytes: usize) {
        let held = self.0.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if held > LIMIT {
            // Aborting keeps the input, which both drivers have saved by then or save now.
            std::process::abort();
        }
    }
}

// SAFETY: all memory is the system allocator's; this only counts.
unsafe impl GlobalAlloc for Bounded {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.take(layout.size());
        // SAFETY: the caller's layout.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        self.take(layout.size());
        // SAFETY: the caller's layout.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        self.0.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: it came from the system allocator with this layout.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        self.take(size);
        self.0.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: it came from the system allocator with this layout.
        unsafe { System.realloc(memory, layout, size) }
    }
}
