//! What can be wrong with a model, or with the columns that it is given.

use std::fmt;

/// A sentence for people, without a full stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(pub String);

pub type Result<T> = std::result::Result<T, Error>;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

/// `Err` with a formatted sentence.
macro_rules! fail {
    ($($part:tt)*) => { return Err($crate::error::Error(format!($($part)*))) };
}
pub(crate) use fail;
