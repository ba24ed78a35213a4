//! The loops in plain Rust, which compilers turn into whatever vectors there are.

use super::block::{Sum, Tile, PANEL};

/// # Safety
/// See `Kernels::tile`.
pub unsafe fn tile(rows: usize, tile: &Tile) {
    for row in 0..rows {
        // SAFETY: the caller's promise holds for every row below `rows`; `start` is read before `out` is written.
        let (x, start, out) = unsafe {
            let x = std::slice::from_raw_parts(tile.x.add(row * tile.x_stride), tile.inputs);
            (x, tile.start.add(row * tile.start_stride).cast::<[f32; PANEL]>(), tile.out.add(row * tile.out_stride))
        };
        // SAFETY: see above.
        let mut sums = unsafe { start.read() };
        for (place, x) in x.iter().enumerate() {
            // SAFETY: the panel has a row of this width for every input.
            let weights = unsafe { &*tile.panel.add(place * PANEL).cast::<[f32; PANEL]>() };
            for (sum, weight) in sums.iter_mut().zip(weights) {
                *sum += x * weight;
            }
        }
        if tile.relu {
            sums.iter_mut().for_each(|sum| *sum = sum.max(0.0));
        }
        // SAFETY: there is room for a panel's width in every row of the output.
        unsafe { out.cast::<[f32; PANEL]>().write(sums) };
    }
}

/// # Safety
/// See `Kernels::row`.
pub unsafe fn row(whole: &Tile, panels: usize) {
    for panel in 0..panels {
        // SAFETY: the caller has promised that many panels, and as much of `start` and `out`.
        unsafe {
            let part = Tile {
                panel: whole.panel.add(panel * PANEL * whole.inputs),
                start: whole.start.add(panel * PANEL),
                out: whole.out.add(panel * PANEL),
                ..*whole
            };
            tile(1, &part);
        }
    }
}

/// # Safety
/// See `Kernels::sum`.
pub unsafe fn sum(sum: &Sum<'_>) {
    for place in (0..sum.width).step_by(PANEL) {
        // SAFETY: `width` is a multiple of a panel, and every row is as long.
        let mut sums = unsafe { sum.start.add(place).cast::<[f32; PANEL]>().read() };
        for (number, row) in sum.rows.iter().enumerate() {
            // SAFETY: every row that is added is as wide as the start.
            let row = unsafe { &*row.add(place).cast::<[f32; PANEL]>() };
            let factor = sum.factors.get(number).copied().unwrap_or(1.0);
            for (sum, x) in sums.iter_mut().zip(row) {
                *sum += factor * x;
            }
        }
        if sum.relu {
            sums.iter_mut().for_each(|sum| *sum = sum.max(0.0));
        }
        // SAFETY: the output is as wide as the start.
        unsafe { sum.out.add(place).cast::<[f32; PANEL]>().write(sums) };
    }
}

/// # Safety
/// See `Kernels::dot`.
pub unsafe fn dot(x: *const f32, y: *const f32, len: usize) -> f32 {
    // SAFETY: both rows are that long.
    let (x, y) = unsafe { (std::slice::from_raw_parts(x, len), std::slice::from_raw_parts(y, len)) };
    let mut sums = [0.0f32; PANEL];
    for (x, y) in x.chunks_exact(PANEL).zip(y.chunks_exact(PANEL)) {
        for (sum, (x, y)) in sums.iter_mut().zip(x.iter().zip(y)) {
            *sum += x * y;
        }
    }
    sums.iter().sum()
}
