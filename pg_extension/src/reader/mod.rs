//! From a query to typed column buffers, as the caller: rights and row-level security apply.
//!
//! `source` says which columns a relation has and writes the `query`; `whole`, `batches` run it into a `receiver`, which puts
//! every cell into the buffers of `columns`, with `readings` for texts that are numbers or dates; `layout` moves these to memory that another process maps. `pictures` draws some
//! of a column of pictures, and reads arrays with `array`.

mod array;
mod batches;
mod cell;
pub mod columns;
pub mod describe;
mod direct;
mod fault;
mod idvalue;
mod labels;
pub mod layout;
pub mod memory;
mod named;
mod numeric;
mod opened;
pub mod order;
pub mod pictures;
mod prepare;
mod published;
pub mod query;
mod readings;
mod receiver;
mod sink;
pub mod source;
pub mod texts;
mod whole;

pub use batches::{Batches, RowReader};
pub use cell::{cell_of, Cell};
pub use columns::Kind;
pub use memory::no_memory;
pub use whole::read;
