//! Slots that every field's rows begin with: 0 for a category that it does not know, 1 for NULL, everything else from 2 on.

pub const UNKNOWN: u32 = 0;
pub const NULL: u32 = 1;
pub const FIRST_SLOT: u32 = 2;
