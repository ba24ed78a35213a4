//! What can be wrong with a model, or with the columns that it is given.

use std::fmt;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// What was given is not as it should be: a sentence for people, without a full stop.
    Invalid(String),
    /// A value that has no counterpart in the type that it is taken for; also a sentence.
    OutOfRange(String),
    /// So many bytes could not be had.
    Memory(usize),
}

pub type Result<T> = std::result::Result<T, Error>;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Invalid(sentence) | Error::OutOfRange(sentence) => f.write_str(sentence),
            Error::Memory(bytes) => write!(f, "{bytes} bytes of memory could not be had"),
        }
    }
}

impl std::error::Error for Error {}

/// `Err` with a formatted sentence.
macro_rules! fail {
    ($($part:tt)*) => { return Err($crate::error::Error::Invalid(format!($($part)*))) };
}
pub(crate) use fail;
