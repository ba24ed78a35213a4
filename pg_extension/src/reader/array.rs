//! Arrays of numbers as PostgreSQL stores them. Knows nothing of the server but that.

/// An array holds one.
#[derive(Debug, PartialEq)]
pub struct NullAmongNumbers;

/// Bytes of the header of a value of variable length, before what is passed here.
const HEADER: usize = 4;
/// What data begins at a multiple of, as the server calls it.
const MAXALIGN: usize = 8;

/// The numbers of an array, one after the other, and its shape: `value` is what follows the header, `width` the bytes of
/// a number. What is not as an array should be, which no server writes, has no numbers.
pub fn numbers_of(value: &[u8], width: usize) -> Result<(&[u8], Vec<i32>), NullAmongNumbers> {
    let whole =
        |place: usize| value.get(4 * place..4 * place + 4).map(|b| i32::from_ne_bytes([b[0], b[1], b[2], b[3]]));
    let (Some(dimensions), Some(data)) = (whole(0), whole(1)) else { return Ok((&[], Vec::new())) };
    let dimensions = usize::try_from(dimensions).unwrap_or(0);
    // The element's type comes third, then the length of every dimension, then where each begins.
    let shape: Vec<i32> = (0..dimensions).map_while(|d| whole(3 + d)).collect();
    let count = shape.iter().try_fold(1usize, |product, n| product.checked_mul(usize::try_from(*n).ok()?));
    let count = if dimensions == 0 { 0 } else { count.unwrap_or(0) };
    let ends = HEADER + 12 + 8 * dimensions;
    let begin = match usize::try_from(data).unwrap_or(0) {
        0 => ends.next_multiple_of(MAXALIGN),
        begin => {
            // A bitmap lies in between: 1 where there is a number.
            let there = |n: usize| value.get(ends - HEADER + n / 8).is_some_and(|byte| byte >> (n % 8) & 1 == 1);
            if !(0..count).all(there) {
                return Err(NullAmongNumbers);
            }
            begin
        }
    };
    let numbers = begin.checked_sub(HEADER).and_then(|begin| value.get(begin..begin + count * width));
    Ok((numbers.unwrap_or_default(), shape))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What follows the header of an array of int2.
    fn stored(shape: &[i32], numbers: &[i16], bitmap: Option<&[u8]>) -> Vec<u8> {
        let bitmap_bytes = bitmap.map_or(0, <[u8]>::len);
        let begin = (16 + 8 * shape.len() + bitmap_bytes).next_multiple_of(8);
        let data = if bitmap.is_some() { begin as i32 } else { 0 };
        let mut value: Vec<u8> = [shape.len() as i32, data, 21].iter().flat_map(|n| n.to_ne_bytes()).collect();
        value.extend(shape.iter().flat_map(|n| n.to_ne_bytes()));
        value.extend(shape.iter().flat_map(|_| 1i32.to_ne_bytes()));
        value.extend(bitmap.unwrap_or_default());
        value.resize(begin - 4, 0);
        value.extend(numbers.iter().flat_map(|n| n.to_ne_bytes()));
        value
    }

    fn bytes(numbers: &[i16]) -> Vec<u8> {
        numbers.iter().flat_map(|n| n.to_ne_bytes()).collect()
    }

    #[test]
    fn numbers_come_with_their_shape() {
        for shape in [vec![6], vec![3, 2], vec![1, 2, 3]] {
            let value = stored(&shape, &[1, 2, 3, 4, 5, -6], None);
            assert_eq!(numbers_of(&value, 2), Ok((&bytes(&[1, 2, 3, 4, 5, -6])[..], shape)));
        }
        assert_eq!(numbers_of(&stored(&[], &[], None), 2), Ok((&[][..], vec![])));
    }

    #[test]
    fn a_null_is_found_and_a_bitmap_without_one_is_passed_over() {
        assert_eq!(numbers_of(&stored(&[3], &[1, 2], Some(&[0b101])), 2), Err(NullAmongNumbers));
        let whole = stored(&[3], &[1, 2, 3], Some(&[0b111]));
        assert_eq!(numbers_of(&whole, 2), Ok((&bytes(&[1, 2, 3])[..], vec![3])));
    }

    #[test]
    fn what_is_no_array_has_no_numbers() {
        let value = stored(&[6], &[1, 2, 3, 4, 5, 6], None);
        for length in 0..value.len() {
            assert_eq!(numbers_of(&value[..length], 2).map(|(numbers, _)| numbers.len()), Ok(0));
        }
        assert_eq!(numbers_of(&stored(&[i32::MAX, i32::MAX, i32::MAX], &[], None), 8).map(|n| n.0.len()), Ok(0));
    }
}
