//! Memory kept back for the moment when the system has no more.
//!
//! What grows with the rows asks before it grows (`reader::memory`). But the many small things between, a name, a message,
//! the error that says that memory ran out, cannot ask: a failed allocation of theirs would abort the process and
//! with it every session of the server. They get what was kept back, and whatever asks is refused from then on.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

/// Address space alone, as long as nobody writes to it.
const KEPT: usize = 8 << 20;
/// Larger ones than these are for those who ask.
const LARGEST: usize = 1 << 20;

static RESERVE: AtomicPtr<libc::c_void> = AtomicPtr::new(std::ptr::null_mut());
static SPENT: AtomicBool = AtomicBool::new(false);

struct WithReserve;

#[global_allocator]
static ALLOCATOR: WithReserve = WithReserve;

/// Keeps memory back again, if what was kept has been given out. To be called when a reading begins.
pub fn fill() {
    if RESERVE.load(Ordering::Relaxed).is_null() {
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        let map = || unsafe { libc::mmap(std::ptr::null_mut(), KEPT, protection, flags, -1, 0) };
        let mut kept = map();
        // What earlier statements have freed may still be the allocator's.
        #[cfg(target_env = "gnu")]
        if kept == libc::MAP_FAILED && unsafe { libc::malloc_trim(0) } != 0 {
            kept = map();
        }
        if kept != libc::MAP_FAILED {
            RESERVE.store(kept, Ordering::Relaxed);
            SPENT.store(false, Ordering::Relaxed);
        }
    }
}

/// Whether the system had no more memory, and what was kept back is in use.
pub fn is_spent() -> bool {
    SPENT.load(Ordering::Relaxed)
}

/// False if there is nothing to give.
#[cold]
fn give(size: usize) -> bool {
    if size > LARGEST {
        return false;
    }
    SPENT.store(true, Ordering::Relaxed);
    let kept = RESERVE.swap(std::ptr::null_mut(), Ordering::Relaxed);
    !kept.is_null() && unsafe { libc::munmap(kept, KEPT) } == 0
}

unsafe impl GlobalAlloc for WithReserve {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let found = System.alloc(layout);
        if found.is_null() && give(layout.size()) {
            return System.alloc(layout);
        }
        found
    }

    #[inline]
    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        System.dealloc(place, layout);
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let found = System.alloc_zeroed(layout);
        if found.is_null() && give(layout.size()) {
            return System.alloc_zeroed(layout);
        }
        found
    }

    #[inline]
    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let found = System.realloc(place, layout, size);
        if found.is_null() && give(size) {
            return System.realloc(place, layout, size);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_back_is_given_once_and_for_small_things_alone() {
        fill();
        assert!(!is_spent() && !give(LARGEST + 1) && !is_spent());
        assert!(give(100) && is_spent());
        assert!(!give(100));
        fill();
        assert!(!is_spent());
    }
}
