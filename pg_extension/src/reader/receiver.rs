//! A DestReceiver that moves tuples straight into column buffers.
//!
//! It is called from the executor's inner loop, where a raised error would jump over Rust frames: nothing in
//! `receive` raises but what is fetched through guarded bindings; a bad cell is remembered and ends the query early.

use std::ffi::c_int;

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::cell::{self, Cell, Plain};
use super::columns::{Column, IdValues, Kind, Table, Values};
use super::direct::Direct;
use super::labels::Labels;
use super::numeric::{self, Odd};
use super::texts::{hash, Dictionary};

/// A cell that could not be read.
#[derive(Debug, Clone, PartialEq)]
pub struct BadCell {
    pub column: usize,
    /// Counted from 1, in the order the query returns them.
    pub row: u64,
    pub fault: Fault,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// Holds the beginning of the text.
    NotIdValue(String),
    Infinite(&'static str),
    TooLarge,
    /// A label that the type had not when reading began.
    UnknownLabel,
}

/// How the cells of one column are read, and what is known of the column beside its values.
pub struct Sink {
    cell: Cell,
    /// Where in a row of the query the cell is.
    place: usize,
    labels: Labels,
    /// None where spellings are not wanted.
    dictionary: Option<Dictionary>,
    /// A text column's other reading, as long as every cell has the form `id:value`.
    ids: Option<IdValues>,
}

impl Sink {
    pub fn new(cell: Cell, place: usize, labels: Labels, spelt: bool, kind: Option<Kind>) -> Self {
        let text = matches!(kind, None | Some(Kind::Text));
        Self {
            cell,
            place,
            labels,
            dictionary: (text && spelt).then(Dictionary::default),
            ids: kind.is_none().then(IdValues::default),
        }
    }

    #[inline]
    fn store(&mut self, column: &mut Column, datum: pg_sys::Datum) -> Result<(), Fault> {
        // Safety: the query's columns are of the cells' types.
        unsafe {
            match self.cell {
                Cell::Int4 => put_i32(column, datum.value() as i32),
                Cell::Float4 => {
                    let value = cell::float4(datum);
                    if !value.is_finite() {
                        return put_odd(column, value.is_nan(), value < 0.0);
                    }
                    if let Values::Float32(v) = &mut column.values {
                        v.push(value);
                    }
                }
                Cell::Int8 | Cell::Time => put_i64(column, datum.value() as i64),
                Cell::Int2 => put_i32(column, i32::from(datum.value() as i16)),
                Cell::Bool => put_i32(column, i32::from(datum.value() as u8 != 0)),
                Cell::Float8 => {
                    let value = cell::float8(datum);
                    if !value.is_finite() {
                        return put_odd(column, value.is_nan(), value < 0.0);
                    }
                    put_f64(column, value);
                }
                Cell::Numeric => match numeric::to_f64(&Plain::of(datum)) {
                    Ok(value) => put_f64(column, value),
                    Err(Odd::TooLarge) => return Err(Fault::TooLarge),
                    Err(Odd::NotANumber) => column.push_null(),
                    Err(Odd::Infinite { negative }) => return put_odd(column, false, negative),
                },
                Cell::Date => match cell::date(datum) {
                    Some(days) => put_i32(column, days),
                    None => column.push_null(),
                },
                Cell::Timestamp => match cell::timestamp(datum) {
                    Some(microseconds) => put_i64(column, microseconds),
                    None => column.push_null(),
                },
                Cell::Interval => match cell::interval(datum) {
                    Some(seconds) => put_f64(column, seconds),
                    None => column.push_null(),
                },
                Cell::Text => return self.put_text(column, &Plain::of(datum)),
                Cell::BlankPadded => return self.put_text(column, cell::without_padding(&Plain::of(datum))),
                Cell::Uuid => {
                    let text = cell::uuid_text(&*datum.cast_mut_ptr::<[u8; 16]>());
                    return self.put_text(column, &text);
                }
                Cell::Enum => {
                    let label = self.labels.find(datum.value() as u32).ok_or(Fault::UnknownLabel)?;
                    if let Some(dictionary) = &mut self.dictionary {
                        dictionary.add(label.hash, label.text.as_bytes());
                    }
                    put_hash(column, label.hash);
                }
            }
        }
        Ok(())
    }

    #[inline]
    fn put_text(&mut self, column: &mut Column, text: &[u8]) -> Result<(), Fault> {
        match &mut column.values {
            Values::IdValue(v) => {
                if !v.push(text) {
                    return Err(Fault::NotIdValue(beginning(text)));
                }
            }
            Values::Key { ends, bytes } => {
                bytes.extend_from_slice(text);
                ends.push(bytes.len() as u64);
            }
            _ => {
                let hash = match &mut self.dictionary {
                    Some(dictionary) => dictionary.add_text(text),
                    None => hash(text),
                };
                put_hash(column, hash);
                if self.ids.as_mut().is_some_and(|ids| !ids.push(text)) {
                    self.ids = None;
                }
            }
        }
        Ok(())
    }

    #[cold]
    fn store_null(&mut self, column: &mut Column) {
        column.push_null();
        if let Some(ids) = &mut self.ids {
            ids.push_null();
        }
    }

    /// After the last row: what the column turned out to be.
    fn complete(&mut self, column: &mut Column) {
        column.complete();
        // A column of NULLs alone has no form.
        if let Some(ids) = self.ids.take().filter(|ids| column.null_rows() < ids.ids.len()) {
            column.values = Values::IdValue(ids);
        } else if let Values::Text { texts, .. } = &mut column.values {
            *texts = self.dictionary.as_mut().map(Dictionary::take).unwrap_or_default();
        }
    }
}

#[inline]
fn put_i32(column: &mut Column, value: i32) {
    if let Values::Int32(v) | Values::Boolean(v) | Values::Date(v) = &mut column.values {
        v.push(value);
    }
}

#[inline]
fn put_i64(column: &mut Column, value: i64) {
    if let Values::Int64(v) | Values::Timestamp(v) | Values::Time(v) = &mut column.values {
        v.push(value);
    }
}

#[inline]
fn put_f64(column: &mut Column, value: f64) {
    if let Values::Float64(v) | Values::Interval(v) = &mut column.values {
        v.push(value);
    }
}

#[inline]
fn put_hash(column: &mut Column, hash: i64) {
    if let Values::Text { hashes, .. } = &mut column.values {
        hashes.push(hash);
    }
}

#[cold]
fn put_odd(column: &mut Column, nan: bool, negative: bool) -> Result<(), Fault> {
    if !nan {
        return Err(Fault::Infinite(if negative { "-Infinity" } else { "Infinity" }));
    }
    column.push_null();
    Ok(())
}

fn beginning(text: &[u8]) -> String {
    let shown: String = String::from_utf8_lossy(&text[..text.len().min(160)]).chars().take(40).collect();
    if shown.len() < text.len() {
        shown + "..."
    } else {
        shown
    }
}

#[repr(C)]
pub struct Receiver {
    // The executor sees only this part, so it comes first.
    destination: pg_sys::DestReceiver,
    sinks: Vec<Sink>,
    /// The short way, for relations that it is open to.
    direct: Option<Direct>,
    /// Cells of a row that are looked at: up to the last that is wanted.
    width: usize,
    target: Option<usize>,
    seen: u64,
    pub table: Table,
    pub bad: Option<BadCell>,
}

extern "C-unwind" {
    // The bound version sets a jump buffer on every call, which costs more than reading the tuple.
    fn slot_getsomeattrs_int(slot: *mut pg_sys::TupleTableSlot, attnum: c_int);
}

impl Receiver {
    /// The table's columns are empty and as many as the sinks.
    pub fn new(table: Table, sinks: Vec<Sink>, target: Option<usize>) -> Box<Self> {
        let destination = pg_sys::DestReceiver {
            receiveSlot: Some(receive),
            rStartup: Some(startup),
            rShutdown: Some(nothing),
            rDestroy: Some(nothing),
            // Any destination that SPI takes for "rows go somewhere".
            mydest: pg_sys::CommandDest::DestTuplestore,
        };
        let width = sinks.iter().map(|sink| sink.place + 1).max().unwrap_or(0);
        Box::new(Self { destination, sinks, direct: None, width, target, seen: 0, table, bad: None })
    }

    pub fn as_destination(&mut self) -> *mut pg_sys::DestReceiver {
        std::ptr::from_mut(self).cast()
    }

    /// Forgets the rows, and keeps their memory for the next ones.
    pub fn clear(&mut self) {
        self.table.rows = 0;
        self.table.columns.iter_mut().for_each(Column::clear);
    }

    /// To be called after the last row.
    pub fn complete(&mut self) {
        self.leave_direct();
        for (sink, column) in self.sinks.iter_mut().zip(&mut self.table.columns) {
            sink.complete(column);
        }
    }

    /// Columns are written to directly, or as `store` does it, but not both.
    fn leave_direct(&mut self) {
        if let Some(direct) = &mut self.direct {
            // Safety: there is one table.
            unsafe { direct.settle(&mut self.table.columns) };
        }
    }

    /// Takes one row; false ends the query, and `bad` tells why.
    ///
    /// # Safety
    /// Both point to so many values that every sink's place is among them, each of its sink's type.
    #[inline]
    pub unsafe fn store(&mut self, values: *const pg_sys::Datum, nulls: *const bool) -> bool {
        self.seen += 1;
        if let Some(target) = self.target {
            let Sink { cell, place, .. } = self.sinks[target];
            if *nulls.add(place) || cell.counts_as_null(*values.add(place)) {
                self.table.unusable += 1;
                return true;
            }
        }
        for (index, (sink, column)) in self.sinks.iter_mut().zip(&mut self.table.columns).enumerate() {
            if *nulls.add(sink.place) {
                sink.store_null(column);
            } else if let Err(fault) = sink.store(column, *values.add(sink.place)) {
                self.bad = Some(BadCell { column: index, row: self.seen, fault });
                return false;
            }
        }
        self.table.rows += 1;
        true
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn receive(slot: *mut pg_sys::TupleTableSlot, this: *mut pg_sys::DestReceiver) -> bool {
    let receiver = &mut *this.cast::<Receiver>();
    if let Some(direct) = &mut receiver.direct {
        if direct.take(slot, &mut receiver.table.columns) {
            // Without NULLs and odd numbers it has a target.
            receiver.seen += 1;
            receiver.table.rows += 1;
            return true;
        }
        let in_vain = direct.in_vain();
        receiver.leave_direct();
        if in_vain {
            receiver.direct = None;
        }
    }
    if ((*slot).tts_nvalid as usize) < receiver.width {
        slot_getsomeattrs_int(slot, receiver.width as c_int);
    }
    receiver.store((*slot).tts_values, (*slot).tts_isnull)
}

#[pg_guard]
unsafe extern "C-unwind" fn startup(this: *mut pg_sys::DestReceiver, _operation: c_int, shape: pg_sys::TupleDesc) {
    let receiver = &mut *this.cast::<Receiver>();
    if ((*shape).natts as usize) < receiver.width {
        error!("the query returns {} columns, {} were expected", (*shape).natts, receiver.width);
    }
    receiver.direct = Direct::of(shape, receiver.sinks.iter().map(|sink| (sink.place, sink.cell)));
}

#[pg_guard]
unsafe extern "C-unwind" fn nothing(_this: *mut pg_sys::DestReceiver) {}
