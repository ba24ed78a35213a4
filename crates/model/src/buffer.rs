//! Floats that begin at a cache line, so that no vector lies across two of them.

use crate::error::Result;
use crate::memory::{filled, resize};

/// Floats in a cache line; rows of weights and activations are padded to whole ones.
pub const LINE: usize = 16;

#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; LINE]);

const _: () = assert!(std::mem::size_of::<Line>() == LINE * std::mem::size_of::<f32>());

#[derive(Debug, Default)]
pub struct Floats(Vec<Line>);

impl Floats {
    /// Zeros, at least `len` of them.
    pub fn zeros(len: usize) -> Result<Self> {
        Ok(Self(filled(Line([0.0; LINE]), len.div_ceil(LINE))?))
    }

    /// Room for `len` floats; those that were there already keep their values.
    pub fn grow(&mut self, len: usize) -> Result<()> {
        if self.0.len() * LINE < len {
            resize(&mut self.0, len.div_ceil(LINE), Line([0.0; LINE]))?;
        }
        Ok(())
    }

    pub fn bytes(&self) -> usize {
        std::mem::size_of_val(&self.0[..])
    }
}

impl std::ops::Deref for Floats {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: a line is sixteen floats without padding (64 bytes, which its alignment divides).
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), self.0.len() * LINE) }
    }
}

impl std::ops::DerefMut for Floats {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as above, and borrowed for as long.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), self.0.len() * LINE) }
    }
}

/// Length of a padded row.
pub fn padded(len: usize) -> usize {
    len.next_multiple_of(LINE)
}
