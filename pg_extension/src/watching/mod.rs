//! Watching a statement from other sessions while it runs, and ending it before its time.
//!
//! `words` and `layout` are what is shared, `area` the file that it lies in, `run` what a running statement writes there,
//! `seen` what others read, `stopping` how they end it.

mod area;
mod layout;
pub mod run;
pub mod seen;
pub mod stopping;
mod words;

pub use layout::Phase;
