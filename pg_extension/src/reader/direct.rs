//! Cells copied straight from tuples whose columns all have a fixed place.
//!
//! A tuple without NULLs, of columns of fixed width, has every cell at the same offset: nothing has to be taken apart.
//! That is half the time of reading such a table.

use pgrx::{pg_sys, PgTupleDesc};

use super::cell::Cell;
use super::columns::{Column, Values};
use super::memory::{Exhausted, Memory};

/// Rows that there is room for at first.
const FIRST_ROOM: usize = 4_096;
const EXPONENT_4: u32 = 0x7f80_0000;
const EXPONENT_8: u64 = 0x7ff0_0000_0000_0000;

/// What is copied, and which values are left to the long way because they are no plain ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Copy {
    Byte,
    Two,
    Four,
    Eight,
    /// Not finite.
    Float4,
    Float8,
    /// Infinite.
    Date,
    Timestamp,
}

impl Copy {
    /// None for what has no fixed width, or has to be computed.
    fn of(cell: Cell) -> Option<Self> {
        Some(match cell {
            Cell::Bool => Copy::Byte,
            Cell::Int2 => Copy::Two,
            Cell::Int4 => Copy::Four,
            Cell::Int8 | Cell::Time => Copy::Eight,
            Cell::Float4 => Copy::Float4,
            Cell::Float8 => Copy::Float8,
            Cell::Date => Copy::Date,
            Cell::Timestamp => Copy::Timestamp,
            _ => return None,
        })
    }
}

/// Where the cells of each column begin in tuples without NULLs, up to the first column that has no fixed width.
fn fixed_offsets(shape: &PgTupleDesc) -> Vec<usize> {
    let mut end = 0usize;
    let offsets = shape.iter().map_while(|attribute| {
        let width = usize::try_from(attribute.attlen).ok()?;
        let alignment = match attribute.attalign as u8 {
            b'c' => 1,
            b's' => 2,
            b'i' => 4,
            _ => 8,
        };
        let offset = end.next_multiple_of(alignment);
        end = offset + width;
        Some(offset)
    });
    offsets.collect()
}

struct Step {
    offset: usize,
    copy: Copy,
    /// Where the column's buffer begins.
    data: *mut u8,
}

/// Where the cells of a relation's tuples lie, and the columns that they go to.
pub struct Direct {
    steps: Vec<Step>,
    attributes: usize,
    /// Rows that every buffer has room for, and rows written; the columns know of them after `settle`.
    room: usize,
    rows: usize,
    /// Whether the buffers' places are known, and rows may have been written to them.
    open: bool,
    /// Rows that went the short way, and the long one.
    taken: usize,
    missed: usize,
    /// Why there is no room for the last row.
    pub exhausted: Option<Exhausted>,
}

impl Direct {
    /// None if a column of the shape has no fixed place.
    ///
    /// # Safety
    /// The shape is a valid descriptor.
    pub unsafe fn of(shape: pg_sys::TupleDesc, cells: impl Iterator<Item = (usize, Cell)>) -> Option<Self> {
        // SAFETY: the descriptor is valid, by the caller's promise; what is kept is a copy.
        let offsets = fixed_offsets(&unsafe { PgTupleDesc::from_pg_copy(shape) });
        let mut steps = Vec::new();
        let mut attributes = 0;
        for (place, cell) in cells {
            let copy = Copy::of(cell)?;
            steps.push(Step { offset: *offsets.get(place)?, copy, data: std::ptr::null_mut() });
            attributes = attributes.max(place + 1);
        }
        Some(Self { steps, attributes, room: 0, rows: 0, open: false, taken: 0, missed: 0, exhausted: None })
    }

    /// Whether so many rows need the long way that going to and fro costs more than the short way spares.
    pub fn in_vain(&self) -> bool {
        self.missed > 1_000 && self.missed > self.taken / 4
    }

    /// Takes the row over; false if that is to be done the long way.
    ///
    /// # Safety
    /// The slot holds a row of the shape; the columns are those of every call, and were not touched since `settle`.
    #[inline]
    pub unsafe fn take(
        &mut self,
        slot: *mut pg_sys::TupleTableSlot,
        columns: &mut [Column],
        memory: &mut Memory,
    ) -> bool {
        // SAFETY: the caller's promise.
        let taken = unsafe { self.copy(slot, columns, memory) };
        self.taken += usize::from(taken);
        self.missed += usize::from(!taken);
        taken
    }

    /// # Safety
    /// As for `take`.
    #[inline]
    unsafe fn copy(&mut self, slot: *mut pg_sys::TupleTableSlot, columns: &mut [Column], memory: &mut Memory) -> bool {
        // SAFETY: a slot of this kind is a HeapTupleTableSlot, whose tuple, where it has one, lies in a pinned page or in
        // memory of the slot's, at least until the slot is given another row.
        let cells = unsafe {
            if (*slot).tts_ops != &raw const pg_sys::TTSOpsBufferHeapTuple {
                return false;
            }
            let tuple = (*slot.cast::<pg_sys::HeapTupleTableSlot>()).tuple;
            if tuple.is_null() {
                return false;
            }
            let header = (*tuple).t_data;
            let stored = usize::from((*header).t_infomask2) & pg_sys::HEAP_NATTS_MASK as usize;
            if u32::from((*header).t_infomask) & pg_sys::HEAP_HASNULL != 0 || stored < self.attributes {
                return false;
            }
            header.cast::<u8>().add(usize::from((*header).t_hoff))
        };
        if !self.open || self.rows == self.room {
            // SAFETY: the caller's promise.
            if let Err(exhausted) = unsafe { self.make_room(columns, memory) } {
                self.exhausted = Some(exhausted);
                return false;
            }
        }
        // SAFETY: the tuple is of the shape, by the caller's promise, without NULLs, and has all columns that are wanted: each
        // cell lies at its step's offset, with its width. `make_room` has found every buffer and room for a row, and a
        // step's copy is of the type that its column holds.
        unsafe {
            for step in &self.steps {
                let from = cells.add(step.offset);
                match step.copy {
                    Copy::Four => self.put(step, from.cast::<i32>().read_unaligned()),
                    Copy::Float4 => {
                        let bits = from.cast::<u32>().read_unaligned();
                        if bits & EXPONENT_4 == EXPONENT_4 {
                            return false;
                        }
                        self.put(step, bits);
                    }
                    Copy::Eight => self.put(step, from.cast::<i64>().read_unaligned()),
                    Copy::Float8 => {
                        let bits = from.cast::<u64>().read_unaligned();
                        if bits & EXPONENT_8 == EXPONENT_8 {
                            return false;
                        }
                        self.put(step, bits);
                    }
                    Copy::Byte => self.put(step, i32::from(*from != 0)),
                    Copy::Two => self.put(step, i32::from(from.cast::<i16>().read_unaligned())),
                    Copy::Date => {
                        let days = from.cast::<i32>().read_unaligned();
                        if days == i32::MIN || days == i32::MAX {
                            return false;
                        }
                        self.put(step, days);
                    }
                    Copy::Timestamp => {
                        let microseconds = from.cast::<i64>().read_unaligned();
                        if microseconds == i64::MIN || microseconds == i64::MAX {
                            return false;
                        }
                        self.put(step, microseconds);
                    }
                }
            }
        }
        self.rows += 1;
        true
    }

    /// # Safety
    /// There is room for a row more, and the step's column holds values of this type.
    #[inline]
    unsafe fn put<T>(&self, step: &Step, value: T) {
        // SAFETY: the caller's promise; a `Vec`'s buffer is aligned for what it holds.
        unsafe { step.data.cast::<T>().add(self.rows).write(value) };
    }

    /// Finds every buffer's place, and the rows that it has room for.
    ///
    /// # Safety
    /// As for `settle`.
    #[cold]
    unsafe fn make_room(&mut self, columns: &mut [Column], memory: &mut Memory) -> Result<(), Exhausted> {
        // SAFETY: the caller's promise.
        unsafe { self.settle(columns) };
        self.rows = columns.first().map_or(0, Column::len);
        self.room = usize::MAX;
        for (step, column) in self.steps.iter_mut().zip(columns) {
            let (data, room) = buffer_of(column, memory)?;
            step.data = data;
            self.room = self.room.min(room);
        }
        self.open = true;
        Ok(())
    }

    /// Lets the columns know of their rows. Afterwards others may write to them, until `take` is called again.
    ///
    /// # Safety
    /// The columns are those that `take` was called with.
    pub unsafe fn settle(&mut self, columns: &mut [Column]) {
        if std::mem::take(&mut self.open) {
            // SAFETY: so many rows were written to the buffer of every step's column, and there is a step for each.
            columns.iter_mut().for_each(|column| unsafe { set_length(column, self.rows) });
        }
    }
}

/// The beginning of a column's buffer and the rows it has room for, which are more than it has.
fn buffer_of(column: &mut Column, memory: &mut Memory) -> Result<(*mut u8, usize), Exhausted> {
    fn of<T>(values: &mut Vec<T>, memory: &mut Memory) -> Result<(*mut u8, usize), Exhausted> {
        if values.capacity() == 0 {
            memory.grow(values, FIRST_ROOM).or_else(|_| memory.grow(values, 1))?;
        } else if values.len() == values.capacity() {
            memory.grow(values, 1)?;
        }
        Ok((values.as_mut_ptr().cast(), values.capacity()))
    }
    match &mut column.values {
        Values::Boolean(v) | Values::Int32(v) | Values::Date(v) => of(v, memory),
        Values::Int64(v) | Values::Timestamp(v) | Values::Time(v) => of(v, memory),
        Values::Float32(v) => of(v, memory),
        Values::Float64(v) => of(v, memory),
        _ => unreachable!("there is no step for such a column"),
    }
}

/// # Safety
/// So many rows were written to the column's buffer.
unsafe fn set_length(column: &mut Column, rows: usize) {
    // SAFETY: the caller's promise: so many values are there, within the buffer's room.
    unsafe {
        match &mut column.values {
            Values::Boolean(v) | Values::Int32(v) | Values::Date(v) => v.set_len(rows),
            Values::Int64(v) | Values::Timestamp(v) | Values::Time(v) => v.set_len(rows),
            Values::Float32(v) => v.set_len(rows),
            Values::Float64(v) => v.set_len(rows),
            _ => unreachable!("there is no step for such a column"),
        }
    }
}
