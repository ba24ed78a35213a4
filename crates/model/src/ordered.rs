//! Where a number lies among others in order: edges of bins, or knots.

/// How many of the sorted edges are at most x: a binary search without jumps that the processor could guess wrongly.
#[inline]
pub fn below(edges: &[f64], x: f64) -> u32 {
    let (mut first, mut left) = (0, edges.len());
    while left > 1 {
        let half = left / 2;
        first += if edges[first + half - 1] <= x { half } else { 0 };
        left -= half;
    }
    (first + usize::from(left == 1 && edges[first] <= x)) as u32
}

/// The last knot that is at most x, or the first one, and how much of the way to the next one x lies behind it.
#[inline]
pub fn between(knots: &[f64], x: f64) -> (u32, f32) {
    match below(knots, x) as usize {
        0 => (0, 0.0),
        all if all == knots.len() => (all as u32 - 1, 0.0),
        above => {
            let (low, high) = (knots[above - 1], knots[above]);
            (above as u32 - 1, ((x - low) / (high - low)) as f32)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{below, between};

    #[test]
    fn a_value_that_equals_an_edge_lies_above_it() {
        let edges = [-2.0, 0.0, 0.5, 3.0, 8.0, 8.5, 9.0];
        for many in 0..=edges.len() {
            for x in [f64::NEG_INFINITY, -2.0, -1.0, 0.0, -0.0, 0.25, 0.5, 2.0, 3.0, 8.0, 8.6, 9.0, f64::INFINITY] {
                let plainly = edges[..many].iter().filter(|e| **e <= x).count();
                assert_eq!(below(&edges[..many], x) as usize, plainly, "{x} among {many}");
            }
        }
    }

    #[test]
    fn a_number_lies_between_two_knots_or_at_an_end() {
        let knots = [-1e308, 0.0, 0.5, 2.0];
        for (x, wanted) in [
            (f64::NEG_INFINITY, (0, 0.0)),
            (-1.1e308, (0, 0.0)),
            (-5e307, (0, 0.5)),
            (0.0, (1, 0.0)),
            (0.125, (1, 0.25)),
            (1.25, (2, 0.5)),
            (2.0, (3, 0.0)),
            (f64::INFINITY, (3, 0.0)),
        ] {
            assert_eq!(between(&knots, x), wanted, "{x}");
            assert_eq!(between(&[0.25], x), (0, 0.0), "{x}");
        }
    }

    #[test]
    fn edges_in_disorder_do_no_harm() {
        for x in [-1.0, 0.5, 7.0, f64::NAN] {
            assert!(below(&[3.0, f64::NAN, -1.0, 2.0], x) <= 4);
        }
    }
}
