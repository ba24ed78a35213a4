//! Reads a trained model and predicts with it. Knows nothing of PostgreSQL, and needs no Python.
//!
//! A model is one safetensors blob, which the Python package writes (`trails.model.store`): weights, the encoder that
//! turns a table's columns into rows of an embedding table, and what predictions mean. `Model::parse` checks all of it, by
//! the rules of docs/model_format.md, and the Python package refuses what is refused here; `encode` and `forward` then
//! fail on no data of the model's kinds.
//!
//! - `blob`, `header`, `json`: the two halves of the file
//! - `field`, `slots`, `lookup`, `ordered`, `calendar`, `encoder`: columns to ids
//! - `reading`: numbers and dates that are stored as text
//! - `operations`, `program`, `plan`: what is computed, with what, in which order
//! - `network`, `leading`, `vectors`, `layer`, `kernels`: ids to outputs
//! - `drift`: ids of many rows beside those of training
//! - `outcome`: outputs to classes, probabilities, numbers
//! - `memory`, `buffer`: what grows with a model or a batch

mod blob;
mod buffer;
mod calendar;
mod columns;
mod describe;
mod drift;
mod encoder;
mod error;
mod field;
mod header;
mod json;
mod kernels;
mod layer;
mod leading;
mod lookup;
mod memory;
mod model;
mod network;
mod operations;
mod ordered;
mod outcome;
mod plan;
mod program;
pub mod reading;
mod slots;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod textbook;
mod vectors;

pub use blob::{digest, Pause};
pub use columns::{ColumnData, Data, Family};
pub use describe::FieldDescription;
pub use drift::{Drift, Drifted};
pub use encoder::{Encoded, Picked};
pub use error::Error;
pub use header::{Input, Target, Task};
pub use kernels::Kernels;
pub use model::{Exchange, Model};
pub use network::Workspace;
pub use outcome::Outcome;
pub use reading::Reading;
