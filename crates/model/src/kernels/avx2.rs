//! The loops for x86-64 with AVX2 and FMA: eight floats a vector, two multiply-adds a cycle.

use std::arch::x86_64::*;

use super::block::{Sum, Tile, PANEL};

const WIDTH: usize = 8;

/// # Safety
/// See `Kernels::tile`.
pub unsafe fn tile(rows: usize, tile: &Tile) {
    // SAFETY: the caller's promise.
    unsafe {
        match rows {
            1 => few_rows::<1>(tile),
            2 => few_rows::<2>(tile),
            3 => few_rows::<3>(tile),
            4 => few_rows::<4>(tile),
            5 => few_rows::<5>(tile),
            _ => few_rows::<6>(tile),
        }
    }
}

#[target_feature(enable = "avx2,fma")]
unsafe fn few_rows<const ROWS: usize>(tile: &Tile) {
    // SAFETY: every address lies within what the caller promised for ROWS rows.
    unsafe {
        let mut sums = [[_mm256_setzero_ps(); 2]; ROWS];
        for (row, sums) in sums.iter_mut().enumerate() {
            let start = tile.start.add(row * tile.start_stride);
            *sums = [_mm256_loadu_ps(start), _mm256_loadu_ps(start.add(WIDTH))];
        }
        let mut panel = tile.panel;
        let mut x = tile.x;
        for _ in 0..tile.inputs {
            let (low, high) = (_mm256_load_ps(panel), _mm256_load_ps(panel.add(WIDTH)));
            for (row, sums) in sums.iter_mut().enumerate() {
                let input = _mm256_broadcast_ss(&*x.add(row * tile.x_stride));
                sums[0] = _mm256_fmadd_ps(input, low, sums[0]);
                sums[1] = _mm256_fmadd_ps(input, high, sums[1]);
            }
            panel = panel.add(PANEL);
            x = x.add(1);
        }
        for (row, sums) in sums.iter().enumerate() {
            store(*sums, tile, row);
        }
    }
}

/// A single row has too few sums in one panel to hide the latency of a multiply-add, so it takes four panels at once. Each
/// sum is added up in the same order as among other rows, so that its digits are the same.
///
/// # Safety
/// See `Kernels::row`.
#[target_feature(enable = "avx2,fma")]
pub unsafe fn row(tile: &Tile, panels: usize) {
    const AT_ONCE: usize = 4;
    let mut panel = 0;
    // SAFETY: the caller has promised that many panels, and as much of `start` and `out`.
    unsafe {
        while panel + AT_ONCE <= panels {
            panels_at_once::<AT_ONCE>(tile, panel);
            panel += AT_ONCE;
        }
        while panel < panels {
            panels_at_once::<1>(tile, panel);
            panel += 1;
        }
    }
}

#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn panels_at_once<const PANELS: usize>(tile: &Tile, first: usize) {
    // SAFETY: see `row`.
    unsafe {
        let start = tile.start.add(first * PANEL);
        let weights = tile.panel.add(first * PANEL * tile.inputs);
        let mut sums = [[_mm256_setzero_ps(); 2]; PANELS];
        for (panel, sums) in sums.iter_mut().enumerate() {
            let start = start.add(panel * PANEL);
            *sums = [_mm256_loadu_ps(start), _mm256_loadu_ps(start.add(WIDTH))];
        }
        for place in 0..tile.inputs {
            let input = _mm256_broadcast_ss(&*tile.x.add(place));
            for (panel, sums) in sums.iter_mut().enumerate() {
                let weights = weights.add((panel * tile.inputs + place) * PANEL);
                sums[0] = _mm256_fmadd_ps(input, _mm256_load_ps(weights), sums[0]);
                sums[1] = _mm256_fmadd_ps(input, _mm256_load_ps(weights.add(WIDTH)), sums[1]);
            }
        }
        for (panel, sums) in sums.iter().enumerate() {
            let out = tile.out.add((first + panel) * PANEL);
            _mm256_storeu_ps(out, rectified(sums[0], tile.relu));
            _mm256_storeu_ps(out.add(WIDTH), rectified(sums[1], tile.relu));
        }
    }
}

#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn store(sums: [__m256; 2], tile: &Tile, row: usize) {
    // SAFETY: the caller has promised this row of `out`.
    unsafe {
        let out = tile.out.add(row * tile.out_stride);
        _mm256_storeu_ps(out, rectified(sums[0], tile.relu));
        _mm256_storeu_ps(out.add(WIDTH), rectified(sums[1], tile.relu));
    }
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn rectified(x: __m256, relu: bool) -> __m256 {
    if relu {
        _mm256_max_ps(x, _mm256_setzero_ps())
    } else {
        x
    }
}

/// # Safety
/// See `Kernels::sum`.
#[target_feature(enable = "avx2,fma")]
pub unsafe fn sum(sum: &Sum<'_>) {
    const WIDE: usize = 8;
    let mut place = 0;
    // SAFETY: `place` stays below `width`, to which every row is valid.
    unsafe {
        while place + WIDE * WIDTH <= sum.width {
            columns::<WIDE>(sum, place);
            place += WIDE * WIDTH;
        }
        while place < sum.width {
            columns::<2>(sum, place);
            place += 2 * WIDTH;
        }
    }
}

#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn columns<const VECTORS: usize>(sum: &Sum<'_>, place: usize) {
    // SAFETY: see `sum`.
    unsafe {
        let mut sums = [_mm256_setzero_ps(); VECTORS];
        for (vector, s) in sums.iter_mut().enumerate() {
            *s = _mm256_loadu_ps(sum.start.add(place + vector * WIDTH));
        }
        if sum.factors.is_empty() {
            for row in sum.rows {
                for (vector, s) in sums.iter_mut().enumerate() {
                    *s = _mm256_add_ps(*s, _mm256_load_ps(row.add(place + vector * WIDTH)));
                }
            }
        } else {
            for (row, factor) in sum.rows.iter().zip(sum.factors) {
                let factor = _mm256_set1_ps(*factor);
                for (vector, s) in sums.iter_mut().enumerate() {
                    *s = _mm256_fmadd_ps(factor, _mm256_load_ps(row.add(place + vector * WIDTH)), *s);
                }
            }
        }
        for (vector, s) in sums.iter().enumerate() {
            _mm256_storeu_ps(sum.out.add(place + vector * WIDTH), rectified(*s, sum.relu));
        }
    }
}

/// # Safety
/// See `Kernels::dot`.
#[target_feature(enable = "avx2,fma")]
pub unsafe fn dot(x: *const f32, y: *const f32, len: usize) -> f32 {
    let mut sums = [_mm256_setzero_ps(); 2];
    // SAFETY: `len` is a multiple of two vectors, and both rows are that long.
    unsafe {
        for place in (0..len).step_by(2 * WIDTH) {
            for (half, sum) in sums.iter_mut().enumerate() {
                let place = place + half * WIDTH;
                *sum = _mm256_fmadd_ps(_mm256_load_ps(x.add(place)), _mm256_load_ps(y.add(place)), *sum);
            }
        }
    }
    let sum = _mm256_add_ps(sums[0], sums[1]);
    let sum = _mm_add_ps(_mm256_castps256_ps128(sum), _mm256_extractf128_ps::<1>(sum));
    let sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
    _mm_cvtss_f32(_mm_add_ss(sum, _mm_movehdup_ps(sum)))
}
