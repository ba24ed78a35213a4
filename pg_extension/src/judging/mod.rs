//! Judging a model on rows whose target is known: in this process, as the caller, without an interpreter.
//!
//! `labelled` reads the rows and predicts; `answers` finds out which class a cell of the target is. `tallies` counts what is
//! counted row by row, `ranking` keeps what must be looked at in order, and `curve` goes through it, and adds up the
//! `calibration_error` on its way; `collector` has all of them, and `report` is what the functions of SQL return.

mod answers;
mod calibration_error;
pub mod collector;
mod curve;
pub mod labelled;
mod ranking;
pub mod report;
mod tallies;
