//! What a model goes by: in this process, as the caller, without an interpreter.
//!
//! `sample` draws rows of a relation and keeps them encoded; rows that are put together of these, column by column, are what
//! all three go by: `importance` shuffles a column, `contributions` lets a row's columns come in one after the other, and
//! `dependence` gives a column the same value everywhere.

pub mod contributions;
pub mod dependence;
pub mod importance;
mod mixture;
mod sample;
