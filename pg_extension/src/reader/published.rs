//! The form of the published datasets: every feature is a text `id:value`.

use super::columns::{Column, Values};
use super::memory::{Exhausted, Memory};

/// Comparisons after which the caller may look for a cancel.
const PART: usize = 1 << 20;

/// What the texts of a column could be, as far as the column alone tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ids {
    /// It is empty, and could be any.
    Any,
    Are,
    /// All are times of day, which look like ids, and are such beside columns of ids.
    Times,
    Not,
}

/// Whether all features are of that form, but for so many `others`: `9:00` or `3:1` in a single column says little.
pub fn is_published<'a>(
    features: impl Iterator<Item = (Ids, &'a Column)>,
    others: usize,
    memory: &mut Memory,
    pause: &dyn Fn(),
) -> Result<bool, Exhausted> {
    let (mut any, mut found) = (false, 0);
    let mut in_doubt = Vec::new();
    for (ids, column) in features {
        any |= ids == Ids::Are;
        if ids == Ids::Not {
            match &column.values {
                Values::Int32(_) | Values::Int64(_) => in_doubt.push(column),
                _ => found += 1,
            }
        }
    }
    for column in in_doubt {
        if !any || found > others {
            break;
        }
        found += usize::from(!says_nothing(column, memory, pause)?);
    }
    Ok(any && found <= others)
}

/// Whether a column of whole numbers is never learnt from: it is the same, or different, in every row, as a key is that a
/// view or a copy of a table has.
fn says_nothing(column: &Column, memory: &mut Memory, pause: &dyn Fn()) -> Result<bool, Exhausted> {
    if column.null_rows() > 0 {
        return Ok(false);
    }
    match &column.values {
        Values::Int32(values) => same_or_different(values, memory, pause),
        Values::Int64(values) => same_or_different(values, memory, pause),
        _ => Ok(false),
    }
}

fn same_or_different<T: Ord + Copy>(values: &[T], memory: &mut Memory, pause: &dyn Fn()) -> Result<bool, Exhausted> {
    // The beginning of a column that is learnt from shows that it is.
    const FIRST_LOOK: usize = 2_000;
    if values.len() < 2 {
        return Ok(false);
    }
    let rises = |values: &[T]| values.is_sorted_by(|one, next| one < next);
    let falls = |values: &[T]| values.is_sorted_by(|one, next| one > next);
    for end in [FIRST_LOOK.min(values.len()), values.len()] {
        let part = &values[..end];
        if part.iter().all(|value| *value == part[0]) || rises(part) || falls(part) {
            continue;
        }
        let mut ordered = Vec::new();
        memory.reserve(&mut ordered, end)?;
        ordered.extend_from_slice(part);
        let mut compared = 0_usize;
        ordered.sort_unstable_by(|one, other| {
            compared += 1;
            if compared.is_multiple_of(PART) {
                pause();
            }
            one.cmp(other)
        });
        memory.release(super::memory::bytes_of(&ordered));
        if !rises(&ordered) {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::super::columns::Kind;
    use super::*;

    const FREE: Memory = Memory::unlimited();

    fn whole(values: Vec<i32>) -> Column {
        Column { values: Values::Int32(values), ..Column::new("id", Kind::Int32) }
    }

    fn published(columns: &[(Ids, &Column)], others: usize) -> bool {
        is_published(columns.iter().copied(), others, &mut FREE.clone(), &|| ()).unwrap()
    }

    #[test]
    fn a_key_without_a_constraint_says_nothing() {
        let texts = Column::new("a", Kind::Text);
        let mixed: Vec<i32> = (0..5_000).map(|n| n * 7_919 % 5_003).collect();
        let late: Vec<i32> = mixed.iter().copied().chain([mixed[0]]).collect();
        for (values, wanted) in [
            (vec![3, 3, 3], true),
            (vec![1, 2, 4], true),
            (vec![4, 2, 1], true),
            (vec![2, 4, 1], true),
            (mixed, true),
            (late, false),
            (vec![1, 2, 2], false),
            (vec![1], false),
        ] {
            let column = whole(values);
            assert_eq!(published(&[(Ids::Not, &column), (Ids::Are, &texts)], 0), wanted, "{column:?}");
            assert!(published(&[(Ids::Not, &column), (Ids::Are, &texts)], 1));
            assert!(!published(&[(Ids::Not, &column), (Ids::Not, &texts)], 1), "no column is of ids");
        }
        let mut absent = whole(vec![1, 2, 3]);
        absent.push_null(&mut FREE.clone()).unwrap();
        absent.complete(&mut FREE.clone()).unwrap();
        assert!(!published(&[(Ids::Not, &absent), (Ids::Are, &texts)], 0), "a key is never NULL");
    }

    #[test]
    fn times_beside_ids_are_ids() {
        let column = Column::new("a", Kind::Text);
        assert!(published(&[(Ids::Times, &column), (Ids::Are, &column), (Ids::Any, &column)], 0));
        assert!(!published(&[(Ids::Times, &column), (Ids::Any, &column)], 0), "times alone are times");
        assert!(!published(&[(Ids::Times, &column), (Ids::Are, &column), (Ids::Not, &column)], 0));
    }

    #[test]
    fn memory_that_is_not_to_be_had_is_an_error() {
        let (texts, key) = (Column::new("a", Kind::Text), whole(vec![5, 1, 3]));
        let features = [(Ids::Are, &texts), (Ids::Not, &key)];
        let refused = is_published(features.into_iter(), 0, &mut Memory::new(0, 4), &|| ());
        assert_eq!(refused, Err(Exhausted::Limit));
    }
}
