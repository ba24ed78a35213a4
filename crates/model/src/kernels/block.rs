//! What one call of a loop works on.

/// Outputs in a panel of weights: two vectors of eight.
pub const PANEL: usize = 16;
/// Rows that one pass over a panel serves: 6 x 2 sums fit in sixteen registers, with two for weights and one for inputs.
pub const TILE: usize = 6;
/// Fields whose rows are summed in one pass.
pub const GROUP: usize = 32;

/// A matrix product of a few rows with one panel of weights, plus what the sums start from.
pub struct Tile {
    /// Rows of inputs, this far apart.
    pub x: *const f32,
    pub x_stride: usize,
    pub inputs: usize,
    /// [inputs, PANEL], at a cache line.
    pub panel: *const f32,
    /// What the sums start from: PANEL numbers a row, this far apart; 0 for the same ones in every row.
    pub start: *const f32,
    pub start_stride: usize,
    /// Where the sums go; may be `start`.
    pub out: *mut f32,
    pub out_stride: usize,
    /// Negative sums become 0.
    pub relu: bool,
}

/// Rows of one table that are added up into one row of `width` floats.
pub struct Sum<'a> {
    pub rows: &'a [*const f32],
    /// What each row is multiplied by; empty where all are 1.
    pub factors: &'a [f32],
    /// What the sums start from; may be `out`.
    pub start: *const f32,
    pub out: *mut f32,
    /// A multiple of a line.
    pub width: usize,
    pub relu: bool,
}
