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
        // SAFETY: a new private mapping touches no memory of anybody's.
        let map = || unsafe { libc::mmap(std::ptr::null_mut(), KEPT, protection, flags, -1, 0) };
        let mut kept = map();
        // What earlier statements have freed may still be the allocator's.
        #[cfg(target_env = "gnu")]
        // SAFETY: malloc_trim may be called at any time; it gives back what nobody uses.
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
    // SAFETY: it is a mapping of this length, which `fill` made; swapped out, it is unmapped once, and nobody has its address.
    !kept.is_null() && unsafe { libc::munmap(kept, KEPT) } == 0
}

// SAFETY: the system's allocator does all of it; what is given back before a second try is no memory of its own. Nothing
// here unwinds or allocates.
unsafe impl GlobalAlloc for WithReserve {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises of the layout are those that the system's allocator asks for.
        let alloc = || unsafe { System.alloc(layout) };
        let found = alloc();
        if found.is_null() && give(layout.size()) {
            return alloc();
        }
        found
    }

    #[inline]
    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: every block is the system's, and the caller hands back one of this layout.
        unsafe { System.dealloc(place, layout) };
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as in `alloc`.
        let alloc = || unsafe { System.alloc_zeroed(layout) };
        let found = alloc();
        if found.is_null() && give(layout.size()) {
            return alloc();
        }
        found
    }

    #[inline]
    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: every block is the system's. One that could not be moved is still there, so that it may be tried again.
        let realloc = || unsafe { System.realloc(place, layout, size) };
        let found = realloc();
        if found.is_null() && give(size) {
            return realloc();
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
