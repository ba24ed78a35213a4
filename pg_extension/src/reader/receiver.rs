//! A DestReceiver that moves tuples straight into column buffers.
//!
//! It is called from the executor's inner loop, where a raised error would jump over Rust frames: nothing in
//! `receive` raises but what is fetched through guarded bindings; a bad cell is remembered and ends the query early.

use std::ffi::c_int;

use pgrx::prelude::*;
use pgrx::{pg_sys, PgTupleDesc};

use super::cell;
use super::columns::{BadlyRead, Column, Table};
use super::direct::Direct;
use super::fault::BadCell;
use super::memory::{Exhausted, Memory};
use super::named::NamedRelation;
use super::published::is_published;
use super::readings::Tally;
use super::sink::{beginning, Sink};
use crate::error::{Result as Outcome, TrailsError};

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
    /// What the query reads, until it is known to be that; None for rows that are of no query.
    of: Option<NamedRelation>,
    /// Whether the query's name was looked up again.
    met: bool,
    /// The descriptor of the last row, whose columns are known to be of the sinks' types, and all such descriptors.
    known: pg_sys::TupleDesc,
    met_before: Vec<pg_sys::TupleDesc>,
    /// Names and places of the primary key, where the query returns it.
    key: Vec<(String, usize)>,
    seen: u64,
    pub memory: Memory,
    pub table: Table,
    pub bad: Option<BadCell>,
}

extern "C-unwind" {
    // The bound version sets a jump buffer on every call, which costs more than reading the tuple.
    fn slot_getsomeattrs_int(slot: *mut pg_sys::TupleTableSlot, attnum: c_int);
}

impl Receiver {
    /// The table's columns are empty and as many as the sinks.
    pub fn new(
        table: Table,
        sinks: Vec<Sink>,
        target: Option<usize>,
        of: Option<NamedRelation>,
        key: Vec<(String, usize)>,
        memory: Memory,
    ) -> Box<Self> {
        let destination = pg_sys::DestReceiver {
            receiveSlot: Some(receive),
            rStartup: Some(startup),
            rShutdown: Some(nothing),
            rDestroy: Some(nothing),
            // Any destination that SPI takes for "rows go somewhere".
            mydest: pg_sys::CommandDest::DestTuplestore,
        };
        let width = sinks.iter().map(|sink| sink.place + 1).max().unwrap_or(0);
        Box::new(Self {
            destination,
            sinks,
            direct: None,
            width,
            target,
            of,
            met: false,
            known: std::ptr::null_mut(),
            met_before: Vec::new(),
            key,
            seen: 0,
            memory,
            table,
            bad: None,
        })
    }

    pub fn as_destination(&mut self) -> *mut pg_sys::DestReceiver {
        std::ptr::from_mut(self).cast()
    }

    /// Forgets the rows, and keeps their memory for the next ones.
    pub fn clear(&mut self) {
        let held = self.table.bytes();
        self.table.rows = 0;
        self.table.columns.iter_mut().for_each(Column::clear);
        self.memory.release(held - self.table.bytes());
    }

    /// To be called after the last row.
    pub fn complete(&mut self) -> Result<(), Exhausted> {
        self.leave_direct();
        let pause = || {
            pgrx::check_for_interrupts!();
        };
        let published = self.is_published(&pause)?;
        for (sink, column) in self.sinks.iter_mut().zip(&mut self.table.columns) {
            pause();
            sink.complete(&mut self.memory, column, published, &pause)?;
        }
        let badly = self.sinks.iter().map(Sink::badly_read).enumerate().filter_map(|(column, badly)| {
            badly.map(|(reading, Tally { present, read })| BadlyRead { column, reading, present, read })
        });
        self.table.badly_read = badly.collect();
        Ok(())
    }

    /// Whether the rows are of the form of the published datasets. Where no target is named, one of the columns may be it.
    fn is_published(&mut self, pause: &dyn Fn()) -> Result<bool, Exhausted> {
        // Where all kinds are known before, nothing is to be found out.
        if !self.sinks.iter().any(Sink::may_be_ids) {
            return Ok(false);
        }
        let Self { sinks, table, memory, target, .. } = self;
        let features = sinks.iter().zip(&table.columns).filter(|(sink, _)| sink.feature);
        let features = features.map(|(sink, column)| (sink.ids(column), column));
        is_published(features, usize::from(target.is_none()), memory, pause)
    }

    /// Columns are written to directly, or as `store` does it, but not both.
    fn leave_direct(&mut self) {
        if let Some(direct) = &mut self.direct {
            // SAFETY: there is one table, whose columns `take` is called with.
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
            // SAFETY: the place is among the values, one of its cell's type, by the caller's promise.
            if unsafe { *nulls.add(place) || cell.counts_as_null(*values.add(place)) } {
                self.table.unusable += 1;
                return true;
            }
        }
        for (index, (sink, column)) in self.sinks.iter_mut().zip(&mut self.table.columns).enumerate() {
            // SAFETY: the same.
            let (null, value) = unsafe { (*nulls.add(sink.place), *values.add(sink.place)) };
            let taken = match null {
                true => sink.store_null(&mut self.memory, column),
                // SAFETY: it is of the sink's type, by the caller's promise, and not NULL.
                false => unsafe { sink.store(column, value, &mut self.memory) },
            };
            if let Err(fault) = taken {
                self.bad = Some(BadCell { column: index, row: self.seen, key: None, fault });
                return false;
            }
        }
        self.table.rows += 1;
        true
    }
}

impl Receiver {
    /// Compares the columns of rows with the types that are expected of them; nothing of a row is read before. The rows
    /// of a query have the descriptor that its start announced, or those of partitions and of tables that inherit.
    ///
    /// # Safety
    /// The shape is a valid descriptor.
    #[cold]
    unsafe fn meet(&mut self, shape: pg_sys::TupleDesc) -> Outcome<()> {
        if self.met_before.contains(&shape) {
            self.known = shape;
            return Ok(());
        }
        let Some(of) = &self.of else {
            return Err(TrailsError::new(PgSqlErrorCode::ERRCODE_INTERNAL_ERROR, "rows of no query were received"));
        };
        if !self.met {
            of.check()?;
            self.met = true;
        }
        for sink in &self.sinks {
            // SAFETY: the caller's promise.
            unsafe { of.check_type(shape, sink.place, sink.described, &sink.name)? };
        }
        self.known = shape;
        self.met_before.push(shape);
        Ok(())
    }

    /// The primary key of a row that holds a bad cell.
    ///
    /// # Safety
    /// The slot holds a row.
    #[cold]
    unsafe fn tell_key(&mut self, slot: *mut pg_sys::TupleTableSlot) {
        if let Some(bad) = &mut self.bad {
            // SAFETY: the caller's promise.
            bad.key = unsafe { key_of(slot, &self.key) };
        }
    }
}

/// A row's primary key for a person, such as `id = 7`, of its columns' names and places; None without one.
///
/// # Safety
/// The slot holds a row.
pub unsafe fn key_of(slot: *mut pg_sys::TupleTableSlot, key: &[(String, usize)]) -> Option<String> {
    let last = key.iter().map(|(_, place)| place + 1).max()?;
    // SAFETY: the slot's descriptor is valid as long as its row is.
    let shape = unsafe { PgTupleDesc::from_pg_unchecked((*slot).tts_tupleDescriptor) };
    if shape.len() < last {
        return None;
    }
    // SAFETY: the row has as many columns. An error would jump over these frames, and nothing in them needs its destructor:
    // the descriptor is borrowed.
    unsafe { take_apart(slot, last) };
    let of_each = key.iter().map(|(name, place)| {
        // SAFETY: the row was taken apart up to the last of these places, and `last` is no more than it has columns.
        let (null, value) = unsafe { (*(*slot).tts_isnull.add(*place), *(*slot).tts_values.add(*place)) };
        let text = match shape.get(*place) {
            // SAFETY: the descriptor says of which type the value is.
            Some(attribute) if !null => unsafe { cell::as_text(attribute.atttypid, value) },
            _ => "NULL".to_owned(),
        };
        format!("{name} = {}", beginning(text.as_bytes()))
    });
    Some(of_each.collect::<Vec<_>>().join(", "))
}

/// Makes the first cells of a row ready to be read.
///
/// # Safety
/// The slot holds a row of at least so many columns; an error may leave by longjmp.
#[inline]
unsafe fn take_apart(slot: *mut pg_sys::TupleTableSlot, width: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        if ((*slot).tts_nvalid as usize) < width {
            slot_getsomeattrs_int(slot, width as c_int);
        }
    }
}

/// # Safety
/// To be called by the executor alone: with a row, and the destination of a receiver.
#[pg_guard]
unsafe extern "C-unwind" fn receive(slot: *mut pg_sys::TupleTableSlot, this: *mut pg_sys::DestReceiver) -> bool {
    // SAFETY: the destination is the first field of a receiver, whose layout is C's; while the query runs the executor alone
    // has it.
    let receiver = unsafe { &mut *this.cast::<Receiver>() };
    // SAFETY: the slot holds a row, and so has a valid descriptor.
    unsafe {
        let shape = (*slot).tts_tupleDescriptor;
        if shape != receiver.known {
            receiver.meet(shape).unwrap_or_else(|error| error.raise());
        }
    }
    if let Some(direct) = &mut receiver.direct {
        // SAFETY: `direct` is of the descriptor that the start announced, in which tuples of the slot's kind are stored; the
        // columns are those of every call, and `leave_direct` settles them before others write.
        if unsafe { direct.take(slot, &mut receiver.table.columns, &mut receiver.memory) } {
            // Without NULLs and odd numbers it has a target.
            receiver.seen += 1;
            receiver.table.rows += 1;
            return true;
        }
        if let Some(exhausted) = direct.exhausted {
            receiver.seen += 1;
            receiver.leave_direct();
            receiver.bad = Some(BadCell { column: 0, row: receiver.seen, key: None, fault: exhausted.into() });
            return false;
        }
        let in_vain = direct.in_vain();
        receiver.leave_direct();
        if in_vain {
            receiver.direct = None;
        }
    }
    // SAFETY: `meet` found every sink's place in the descriptor, with its type, and so up to the width; nothing alive here
    // has a destructor that an error of the server would jump over.
    unsafe {
        take_apart(slot, receiver.width);
        let taken = receiver.store((*slot).tts_values, (*slot).tts_isnull);
        if !taken {
            receiver.tell_key(slot);
        }
        taken
    }
}

/// # Safety
/// To be called by the executor alone: with the destination of a receiver, and the descriptor of the rows to come.
#[pg_guard]
unsafe extern "C-unwind" fn startup(this: *mut pg_sys::DestReceiver, _operation: c_int, shape: pg_sys::TupleDesc) {
    // SAFETY: as in `receive`.
    let receiver = unsafe { &mut *this.cast::<Receiver>() };
    // A descriptor of an earlier fetch may have been freed, and another be in its place.
    receiver.known = std::ptr::null_mut();
    receiver.met_before.clear();
    let cells = receiver.sinks.iter().map(|sink| (sink.place, sink.cell)).collect::<Vec<_>>();
    // SAFETY: the descriptor is the query's, and valid while it runs.
    unsafe {
        receiver.meet(shape).unwrap_or_else(|error| error.raise());
        receiver.direct = Direct::of(shape, cells.into_iter());
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn nothing(_this: *mut pg_sys::DestReceiver) {}
