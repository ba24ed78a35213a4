//! A DestReceiver that moves tuples straight into column buffers.
//!
//! It is called from the executor's inner loop, where a raised error would jump over Rust frames: nothing in
//! `receive` raises, a bad cell is remembered and ends the query early.

use std::ffi::c_int;

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::columns::Table;

/// How the cells of one column are stored by PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cell {
    Bool,
    Int2,
    Int4,
    Int8,
    IdValueText,
}

/// A cell that could not be read.
#[derive(Debug, Clone, PartialEq)]
pub struct BadCell {
    pub column: usize,
    /// Counted from 1, in the order the query returns them.
    pub row: u64,
    pub text: String,
}

#[repr(C)]
pub struct Receiver {
    // The executor sees only this part, so it comes first.
    destination: pg_sys::DestReceiver,
    cells: Vec<Cell>,
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
    /// The table's columns are empty and as many as the cells.
    pub fn new(table: Table, cells: Vec<Cell>, target: Option<usize>) -> Box<Self> {
        let destination = pg_sys::DestReceiver {
            receiveSlot: Some(receive),
            rStartup: Some(startup),
            rShutdown: Some(nothing),
            rDestroy: Some(nothing),
            // Any destination that SPI takes for "rows go somewhere".
            mydest: pg_sys::CommandDest::DestTuplestore,
        };
        Box::new(Self { destination, cells, target, seen: 0, table, bad: None })
    }

    pub fn as_destination(&mut self) -> *mut pg_sys::DestReceiver {
        std::ptr::from_mut(self).cast()
    }

    #[inline]
    unsafe fn store(&mut self, values: *const pg_sys::Datum, nulls: *const bool) -> bool {
        self.seen += 1;
        if let Some(target) = self.target {
            if *nulls.add(target) {
                self.table.unusable += 1;
                return true;
            }
        }
        for (index, cell) in self.cells.iter().enumerate() {
            let column = self.table.columns.get_unchecked_mut(index);
            if *nulls.add(index) {
                column.push_null();
                continue;
            }
            let datum = *values.add(index);
            match cell {
                Cell::Int4 => column.push_i32(datum.value() as i32),
                Cell::Int2 => column.push_i32(i32::from(datum.value() as i16)),
                Cell::Bool => column.push_i32(i32::from(datum.value() as u8 != 0)),
                Cell::Int8 => column.push_i64(datum.value() as i64),
                Cell::IdValueText => {
                    let text = plain_text(datum.cast_mut_ptr());
                    if !text.is_some_and(|text| column.push_id_value(text)) {
                        let shown = text.map_or("(a long text)".into(), |t| {
                            String::from_utf8_lossy(&t[..t.len().min(40)]).into_owned()
                        });
                        self.bad = Some(BadCell { column: index, row: self.seen, text: shown });
                        return false;
                    }
                }
            }
        }
        self.table.rows += 1;
        true
    }
}

/// The bytes of a text that is stored plainly; None for one that is compressed or out of line, which is far too
/// long to be an `id:value`.
unsafe fn plain_text<'a>(datum: *mut pg_sys::varlena) -> Option<&'a [u8]> {
    if pgrx::varatt_is_1b_e(datum) || pgrx::varatt_is_4b_c(datum) {
        return None;
    }
    Some(std::slice::from_raw_parts(pgrx::vardata_any(datum).cast(), pgrx::varsize_any_exhdr(datum)))
}

#[pg_guard]
unsafe extern "C-unwind" fn receive(slot: *mut pg_sys::TupleTableSlot, this: *mut pg_sys::DestReceiver) -> bool {
    let receiver = &mut *this.cast::<Receiver>();
    let wanted = receiver.cells.len();
    if ((*slot).tts_nvalid as usize) < wanted {
        slot_getsomeattrs_int(slot, wanted as c_int);
    }
    receiver.store((*slot).tts_values, (*slot).tts_isnull)
}

#[pg_guard]
unsafe extern "C-unwind" fn startup(this: *mut pg_sys::DestReceiver, _operation: c_int, shape: pg_sys::TupleDesc) {
    let receiver = &*this.cast::<Receiver>();
    if ((*shape).natts as usize) < receiver.cells.len() {
        error!("the query returns {} columns, {} were expected", (*shape).natts, receiver.cells.len());
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn nothing(_this: *mut pg_sys::DestReceiver) {}
