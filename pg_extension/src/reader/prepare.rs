//! What a query's rows are received with.

use super::columns::{Column, Kind, Table};
use super::labels::Labels;
use super::memory::Memory;
use super::query::Query;
use super::receiver::Receiver;
use super::sink::Sink;
use super::source::SourceColumn;
use crate::error::Result;
use crate::{reserve, settings};

/// Whether it is wanted how texts are spelt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spelling {
    Kept,
    Forgotten,
    /// Of the column at this place alone.
    Of(usize),
}

/// A receiver for a query, or for rows that are of none and have the columns in their order.
pub fn receiver_for(
    columns: &[SourceColumn],
    query: Option<&Query>,
    target: Option<usize>,
    spelling: Spelling,
    held: usize,
) -> Result<Box<Receiver>> {
    reserve::fill();
    let mut sinks = Vec::with_capacity(columns.len());
    for (index, column) in columns.iter().enumerate() {
        let place = query.map_or(index, |query| query.places[index]);
        let labels = Labels::of_column(column)?;
        let spelt = spelling == Spelling::Kept || spelling == Spelling::Of(index);
        sinks.push(Sink::new(column, place, labels, spelt));
    }
    let columns = columns.iter().map(|c| Column::new(&c.name, c.kind.unwrap_or(Kind::Text))).collect();
    let memory = Memory::new(held, settings::reading_memory_limit());
    let (of, key) = query.map(|query| (query.of.clone(), query.key.clone())).unzip();
    Ok(Receiver::new(Table { columns, ..Table::default() }, sinks, target, of, key.unwrap_or_default(), memory))
}
