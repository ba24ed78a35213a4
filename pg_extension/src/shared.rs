//! Columns in memory that the refinement process maps, too: there is one copy of them, for both.

use std::ffi::c_void;
use std::fs::File;
use std::os::fd::AsRawFd;

use numpy::ndarray::ArrayView1;
use numpy::{Element, PyArray1};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::error::{Result, TrailsError};
use crate::python::ArrayColumn;
use crate::reader::columns::Table;
use crate::reader::layout::{self, TableLayout};
use crate::reader::texts;
use crate::reader::{self, Kind};

/// A memory file, mapped: what is written here stays here, and what the process was given it keeps.
#[pyclass(frozen)]
struct Mapping {
    begin: usize,
    length: usize,
}

impl Mapping {
    fn of(file: &File) -> std::io::Result<Self> {
        let length = file.metadata()?.len() as usize;
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_NORESERVE);
        // SAFETY: a new mapping, at a place that the system chooses; the file is open.
        let begin = unsafe { libc::mmap(std::ptr::null_mut(), length, protection, flags, file.as_raw_fd(), 0) };
        if begin == libc::MAP_FAILED {
            return Err(std::io::Error::last_os_error());
        }
        Ok(Self { begin: begin as usize, length })
    }

    /// So many numbers from a place on; None where they would lie outside, or not aligned.
    fn numbers<T: Element + Copy>(&self, offset: u64, count: usize) -> Option<&[T]> {
        let offset = usize::try_from(offset).ok()?;
        let end = offset.checked_add(count.checked_mul(size_of::<T>())?)?;
        if end > self.length || !offset.is_multiple_of(align_of::<T>()) {
            return None;
        }
        // SAFETY: it lies within the mapping, which lives as long as `self`, aligned, and any bits are a number. What the file
        // holds was written before it was mapped, and the refinement process maps it for reading alone.
        Some(unsafe { std::slice::from_raw_parts((self.begin + offset) as *const T, count) })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is of this length, and this is the last that has its address: slices borrow it, and
        // arrays keep it.
        unsafe { libc::munmap(self.begin as *mut c_void, self.length) };
    }
}

/// A table that has been moved to a memory file.
pub struct Shared {
    /// Where its columns lie.
    pub layout: TableLayout,
    mapping: Mapping,
}

impl Shared {
    /// Moves a table to a file, column by column, each of which is let go of before the next one is written. `origin`
    /// names in errors where it is from.
    pub fn of(table: Table, file: &File, descriptor: i32, origin: &str) -> Result<Self> {
        let rows = table.rows as u64;
        let told = |error: std::io::Error| match error.raw_os_error() {
            Some(libc::ENOMEM | libc::ENOSPC | libc::EFBIG) => {
                reader::no_memory(reader::memory::Exhausted::System, origin, rows, 0)
            }
            _ => TrailsError::from(error),
        };
        let layout = layout::move_to(table, file, descriptor, || {
            pgrx::check_for_interrupts!();
        })
        .map_err(told)?;
        let mapping = Mapping::of(file).map_err(told)?;
        Ok(Self { layout, mapping })
    }

    /// Of the memory file.
    pub fn bytes(&self) -> usize {
        self.mapping.length
    }

    /// Hashes and texts of a text column, as far as they are known.
    pub fn spellings(&self, place: usize) -> Vec<(i64, String)> {
        let Some(texts) = &self.layout.columns[place].texts else { return Vec::new() };
        let read = || -> Option<Vec<(i64, String)>> {
            let hashes = self.mapping.numbers::<i64>(texts.hashes, texts.count)?;
            let ends = self.mapping.numbers::<u32>(texts.ends, texts.count)?;
            let bytes = self.mapping.numbers::<u8>(texts.bytes, ends.last().map_or(0, |&end| end as usize))?;
            Some(texts::spellings(hashes, ends, bytes))
        };
        read().unwrap_or_default()
    }

    /// The columns as NumPy's, without a copy. The memory is theirs from then on.
    pub fn arrays(self, py: Python<'_>) -> PyResult<Vec<ArrayColumn<'_>>> {
        let Self { layout, mapping } = self;
        let owner = Bound::new(py, mapping)?;
        let rows = layout.rows;
        let arrays = layout.columns.into_iter().map(|column| {
            let at = column.offset;
            let data = match column.kind {
                Kind::Boolean | Kind::Int32 | Kind::Date | Kind::IdValue => view::<i32>(&owner, at, rows)?,
                Kind::Int64 | Kind::Timestamp | Kind::Time | Kind::Text => view::<i64>(&owner, at, rows)?,
                Kind::Float32 => view::<f32>(&owner, at, rows)?,
                Kind::Float64 | Kind::Interval => view::<f64>(&owner, at, rows)?,
                Kind::Key => return Err(PyValueError::new_err("keys are not learnt from")),
            };
            let nulls = column.nulls.map(|at| view::<u8>(&owner, at, rows)).transpose()?;
            let values = column.values.map(|at| view::<f32>(&owner, at, rows)).transpose()?;
            let reading = column.reading;
            Ok(ArrayColumn { name: column.name, kind: column.kind.name(), data, nulls, values, reading })
        });
        arrays.collect()
    }
}

/// An array over mapped memory, which lives as long as any of its arrays does.
fn view<'py, T: Element + Copy>(owner: &Bound<'py, Mapping>, offset: u64, rows: usize) -> PyResult<Bound<'py, PyAny>> {
    let outside = || PyValueError::new_err("a column lies outside its memory");
    let numbers = ArrayView1::from(owner.get().numbers::<T>(offset, rows).ok_or_else(outside)?);
    // SAFETY: the array keeps `owner`, and so the mapping, for as long as it lives; Rust has no reference to what NumPy may
    // write to.
    unsafe { Ok(PyArray1::borrow_from_array(&numbers, owner.clone().into_any()).into_any()) }
}
