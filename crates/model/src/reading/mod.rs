//! Numbers, dates and times that are stored as text: in which forms they are recognised, and what each text says.
//!
//! The same rules are written once more in Python (`trails.table.readings`), and tests compare the two text by text. They
//! depend on no locale.

mod blanks;
mod forms;
mod moments;
mod numerals;
mod poll;
#[cfg(test)]
mod tests;

pub use forms::{Reading, Said};
pub use poll::{enough, is_missing, Chosen, Poll};
