//! Predictions as rows of a set: key, prediction, score, probabilities.

use std::ffi::{c_char, c_int};
use std::io::Write;

use pgrx::pg_sys;
use pgrx::prelude::*;
use trails_model::Task;

use super::cache::Predictor;
use crate::error::{Result, TrailsError};
use crate::reader::columns::{Column, Values};

const COLUMNS: usize = 4;
/// Longest text of a double, and more than any integer's.
const NUMBER_TEXT: usize = 32;

extern "C-unwind" {
    // The bound version sets a jump buffer on every call; here one is set for a whole batch.
    #[link_name = "tuplestore_putvalues"]
    fn put_values(
        store: *mut pg_sys::Tuplestorestate,
        shape: pg_sys::TupleDesc,
        values: *const pg_sys::Datum,
        nulls: *const bool,
    );
    // What float8out calls, whatever extra_float_digits says; not among pgrx's bindings.
    fn double_to_shortest_decimal_bufn(number: f64, text: *mut c_char) -> c_int;
}

/// The shortest text that is read back as the same number.
pub fn number_text(number: f64, buffer: &mut [u8; NUMBER_TEXT]) -> &[u8] {
    // SAFETY: it writes at most 25 bytes, and says how many.
    let length = unsafe { double_to_shortest_decimal_bufn(number, buffer.as_mut_ptr().cast()) };
    &buffer[..length as usize]
}

pub fn number_string(number: f64) -> String {
    String::from_utf8_lossy(number_text(number, &mut [0; NUMBER_TEXT])).into_owned()
}

/// A value of variable length that is written anew for every row, aligned as the server expects.
struct Varlena(Vec<u64>);

impl Varlena {
    fn with_room(bytes: usize) -> Self {
        Self(vec![0; (pg_sys::VARHDRSZ + bytes).div_ceil(8)])
    }

    fn of_text(text: &[u8]) -> Self {
        let mut made = Self::with_room(text.len());
        made.set(text);
        made
    }

    /// There must be room.
    fn set(&mut self, text: &[u8]) {
        let length = pg_sys::VARHDRSZ + text.len();
        assert!(length <= self.0.len() * 8);
        // SAFETY: the words have room for header and text, as was just asserted, and are aligned for a header; the
        // text is not among them.
        unsafe {
            pgrx::set_varsize_4b(self.0.as_mut_ptr().cast(), length as i32);
            let data = self.0.as_mut_ptr().cast::<u8>().add(pg_sys::VARHDRSZ);
            std::ptr::copy_nonoverlapping(text.as_ptr(), data, text.len());
        }
    }

    fn grow(&mut self, bytes: usize) {
        let words = (pg_sys::VARHDRSZ + bytes).div_ceil(8);
        if self.0.len() < words {
            self.0.resize(words, 0);
        }
    }

    fn datum(&self) -> pg_sys::Datum {
        pg_sys::Datum::from(self.0.as_ptr())
    }
}

/// `float8[]` of a fixed length.
struct DoubleArray {
    words: Vec<u64>,
    length: usize,
}

impl DoubleArray {
    const HEADER: usize = 24;

    fn of_length(length: usize) -> Self {
        let mut words = vec![0u64; Self::HEADER / 8 + length];
        let bytes = words.len() * 8;
        // SAFETY: the header of an array of one dimension is 24 bytes: three words that are there, aligned; length and
        // lower bound come behind the struct.
        unsafe {
            let array = words.as_mut_ptr().cast::<pg_sys::ArrayType>();
            pgrx::set_varsize_4b(array.cast(), bytes as i32);
            (*array).ndim = 1;
            (*array).dataoffset = 0;
            (*array).elemtype = pg_sys::FLOAT8OID;
            let bounds = array.add(1).cast::<c_int>();
            bounds.write(length as c_int);
            bounds.add(1).write(1);
        }
        Self { words, length }
    }

    fn numbers(&mut self) -> &mut [f64] {
        // SAFETY: behind the header there are so many words; a double is as long and as aligned, and any bits are one.
        unsafe { std::slice::from_raw_parts_mut(self.words.as_mut_ptr().add(Self::HEADER / 8).cast(), self.length) }
    }

    fn datum(&self) -> pg_sys::Datum {
        pg_sys::Datum::from(self.words.as_ptr())
    }
}

/// Where the rows go: the calling function's result, or a store of their own that is thrown away.
enum Store {
    Result(*mut pg_sys::Tuplestorestate),
    Own(*mut pg_sys::Tuplestorestate),
}

pub struct PredictedRows<'a> {
    of: &'a Predictor,
    store: Store,
    shape: pg_sys::TupleDesc,
    labels: Vec<Varlena>,
    key: Varlena,
    number: Varlena,
    probabilities: DoubleArray,
    written: u64,
}

impl<'a> PredictedRows<'a> {
    /// The result of a function that returns a set of such rows, kept within `work_mem` or on disk.
    ///
    /// # Safety
    /// `fcinfo` is of the call under way.
    pub unsafe fn result_of(fcinfo: pg_sys::FunctionCallInfo, of: &'a Predictor) -> Result<Self> {
        // SAFETY: the call is under way, by the caller's promise. The server's function refuses a call that expects no set,
        // and otherwise makes store and descriptor, which live as long as the statement's query.
        let (store, shape, columns) = unsafe {
            pg_sys::InitMaterializedSRF(fcinfo, 0);
            let info = (*fcinfo).resultinfo.cast::<pg_sys::ReturnSetInfo>();
            ((*info).setResult, (*info).setDesc, (*(*info).setDesc).natts as usize)
        };
        if columns != COLUMNS {
            return Err(TrailsError::new(PgSqlErrorCode::ERRCODE_INTERNAL_ERROR, "the result has not four columns"));
        }
        Ok(Self::new(of, Store::Result(store), shape))
    }

    /// Rows that are written and thrown away.
    pub fn discarded(of: &'a Predictor) -> Self {
        // SAFETY: descriptor and store are made here, in the memory context of the statement; every column of the
        // descriptor is filled in. `drop` ends the store.
        unsafe {
            let shape = pg_sys::CreateTemplateTupleDesc(COLUMNS as c_int);
            let types = [pg_sys::TEXTOID, pg_sys::TEXTOID, pg_sys::FLOAT8OID, pg_sys::FLOAT8ARRAYOID];
            for (place, type_oid) in types.into_iter().enumerate() {
                let number = place as pg_sys::AttrNumber + 1;
                pg_sys::TupleDescInitEntry(shape, number, c"column".as_ptr(), type_oid, -1, 0);
            }
            Self::new(of, Store::Own(pg_sys::tuplestore_begin_heap(false, false, pg_sys::work_mem)), shape)
        }
    }

    fn new(of: &'a Predictor, store: Store, shape: pg_sys::TupleDesc) -> Self {
        Self {
            of,
            store,
            shape,
            labels: of.model.classes().iter().map(|label| Varlena::of_text(label.as_bytes())).collect(),
            key: Varlena::with_room(NUMBER_TEXT),
            number: Varlena::with_room(NUMBER_TEXT),
            probabilities: DoubleArray::of_length(of.model.classes().len()),
            written: 0,
        }
    }

    /// Writes one row for every row of outputs; without a key column the rows are numbered.
    pub fn write(&mut self, outputs: &[f32], keys: Option<&Column>) -> Result<()> {
        let rows = outputs.len() / self.of.model.outputs();
        let keys = match keys.map(|column| &column.values) {
            None => None,
            Some(Values::Key { ends, bytes }) if ends.len() == rows => Some((ends.as_slice(), bytes.as_slice())),
            Some(_) => return Err(TrailsError::new(PgSqlErrorCode::ERRCODE_INTERNAL_ERROR, "keys are missing")),
        };
        if let Some((ends, _)) = keys {
            let begins = std::iter::once(0).chain(ends.iter().copied());
            let longest = ends.iter().zip(begins).map(|(end, begin)| end - begin).max();
            self.key.grow(longest.unwrap_or(0) as usize);
        }
        // SAFETY: store and descriptor are alive, as `result_of` and `discarded` say; the store copies the values,
        // which are of the descriptor's types, before the next row is written over them.
        let mut put = || unsafe {
            let mut begin = 0;
            for (row, outputs) in outputs.chunks_exact(self.of.model.outputs()).enumerate() {
                self.written += 1;
                match keys {
                    Some((ends, bytes)) => {
                        let end = ends[row] as usize;
                        self.key.set(&bytes[begin..end]);
                        begin = end;
                    }
                    None => {
                        let mut buffer = [0; NUMBER_TEXT];
                        let mut left = &mut buffer[..];
                        let _ = write!(left, "{}", self.written);
                        let length = NUMBER_TEXT - left.len();
                        self.key.set(&buffer[..length]);
                    }
                }
                let outcome = self.of.outcome(outputs, self.probabilities.numbers());
                let regression = self.of.model.task() == Task::Regression;
                let prediction = if regression {
                    self.number.set(number_text(outcome.score, &mut [0; NUMBER_TEXT]));
                    self.number.datum()
                } else {
                    self.labels[outcome.class].datum()
                };
                let score = pg_sys::Datum::from(outcome.score.to_bits());
                let values = [self.key.datum(), prediction, score, self.probabilities.datum()];
                let nulls = [false, false, false, regression];
                let (Store::Result(store) | Store::Own(store)) = self.store;
                put_values(store, self.shape, values.as_ptr(), nulls.as_ptr());
            }
        };
        // SAFETY: nothing in there has a destructor that an error of the server, a full disk say, would jump over.
        unsafe { pg_sys::ffi::pg_guard_ffi_boundary(&mut put) };
        Ok(())
    }
}

impl Drop for PredictedRows<'_> {
    fn drop(&mut self) {
        // After an error its memory and its file go with the transaction.
        if let Store::Own(store) = self.store {
            if !std::thread::panicking() {
                // SAFETY: `discarded` made the store for these rows alone, and it is ended once.
                unsafe { pg_sys::tuplestore_end(store) };
            }
        }
    }
}
