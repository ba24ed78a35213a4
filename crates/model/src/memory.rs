//! Memory whose size others decide: that it cannot be had is an error, where `Vec` would end the process.

use crate::error::{Error, Result};

/// Room for exactly so many more.
pub fn reserve<T>(values: &mut Vec<T>, more: usize) -> Result<()> {
    values.try_reserve_exact(more).map_err(|_| Error::Memory(more.saturating_mul(std::mem::size_of::<T>())))
}

/// An empty vector with room for `len`.
pub fn with_room<T>(len: usize) -> Result<Vec<T>> {
    let mut values = Vec::new();
    reserve(&mut values, len)?;
    Ok(values)
}

/// `len` values; those that were there already are kept.
pub fn resize<T: Clone>(values: &mut Vec<T>, len: usize, value: T) -> Result<()> {
    reserve(values, len.saturating_sub(values.len()))?;
    values.resize(len, value);
    Ok(())
}

/// `len` times the value.
pub fn filled<T: Clone>(value: T, len: usize) -> Result<Vec<T>> {
    let mut values = Vec::new();
    resize(&mut values, len, value)?;
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_there_is_not_is_an_error() {
        assert_eq!(filled(1u64, 1 << 58), Err(Error::Memory(1 << 61)));
        assert_eq!(filled(1u64, usize::MAX), Err(Error::Memory(usize::MAX)));
        assert_eq!(filled(7u8, 3), Ok(vec![7, 7, 7]));
        let mut values = vec![1, 2, 3];
        resize(&mut values, 2, 0).unwrap();
        assert_eq!(values, [1, 2]);
    }
}
