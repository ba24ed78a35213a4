//! The loops that all the time goes into, once portably and once for processors with AVX2 and FMA.
//!
//! Callers check every length once a block (`layer`, `network`); the loops themselves check nothing.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod block;
mod portable;

pub use block::{Sum, Tile, GROUP, PANEL, TILE};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loops {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
}

/// Which loops this processor runs. There is no other way to one than those below, so that whoever holds one with AVX2
/// has a processor with AVX2: code that it has not would be undefined behaviour, reachable from safe code.
///
/// ```compile_fail,E0599
/// let loops = trails_model::Kernels::Avx2;
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Kernels(Loops);

impl std::fmt::Debug for Kernels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl Kernels {
    /// Those that every processor has.
    pub const fn portable() -> Self {
        Self(Loops::Portable)
    }

    /// The fastest that the processor has.
    pub fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            return Self(Loops::Avx2);
        }
        Self::portable()
    }

    /// One tile of `rows` rows, 1 to `TILE`.
    ///
    /// # Safety
    /// Every address that `Tile` names for that many rows is valid.
    #[inline]
    pub unsafe fn tile(self, rows: usize, tile: &Tile) {
        debug_assert!((1..=TILE).contains(&rows));
        // SAFETY: the caller's promise, and AVX2 was found.
        unsafe {
            match self.0 {
                Loops::Portable => portable::tile(rows, tile),
                #[cfg(target_arch = "x86_64")]
                Loops::Avx2 => avx2::tile(rows, tile),
            }
        }
    }

    /// One row with `panels` panels, which lie one after the other, as do what the sums start from and where they go.
    ///
    /// # Safety
    /// As for `tile`, for all panels.
    #[inline]
    pub unsafe fn row(self, tile: &Tile, panels: usize) {
        // SAFETY: the caller's promise, and AVX2 was found.
        unsafe {
            match self.0 {
                Loops::Portable => portable::row(tile, panels),
                #[cfg(target_arch = "x86_64")]
                Loops::Avx2 => avx2::row(tile, panels),
            }
        }
    }

    /// Adds up rows.
    ///
    /// # Safety
    /// As for `tile`; each row holds `width` floats, at a cache line, and so do `start` and `out`.
    #[inline]
    pub unsafe fn sum(self, sum: &Sum<'_>) {
        // SAFETY: the caller's promise, and AVX2 was found.
        unsafe {
            match self.0 {
                Loops::Portable => portable::sum(sum),
                #[cfg(target_arch = "x86_64")]
                Loops::Avx2 => avx2::sum(sum),
            }
        }
    }

    /// The inner product of two rows of `len` floats, a multiple of a line.
    ///
    /// # Safety
    /// As for `tile`; both rows begin at a cache line.
    #[inline]
    pub unsafe fn dot(self, x: *const f32, y: *const f32, len: usize) -> f32 {
        // SAFETY: the caller's promise, and AVX2 was found.
        unsafe {
            match self.0 {
                Loops::Portable => portable::dot(x, y, len),
                #[cfg(target_arch = "x86_64")]
                Loops::Avx2 => avx2::dot(x, y, len),
            }
        }
    }
}
