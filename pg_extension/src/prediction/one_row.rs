//! The prediction for one row, handed in as a record.
//!
//! What can be found out once is found out once: the model and the places of its columns are kept with the call's
//! FmgrInfo. A statement's calls share that; a loop in PL/pgSQL may keep it for the whole transaction, and so the snapshot
//! in which the model was looked up is kept with it.

use std::collections::HashMap;

use pgrx::prelude::*;
use pgrx::{pg_sys, PgMemoryContexts, PgTupleDesc};
use trails_model::{Encoded, Family, Input, Model, Outcome, Task, Workspace};

use super::cache::{model_of, Predictor};
use super::fault::error_of;
use super::inputs::data_of;
use super::predicted_rows::number_string;
use super::stored::WantedModel;
use crate::error::{Result, TrailsError};
use crate::reader::source::{RelationColumn, Source, SourceColumn};
use crate::reader::{cell_of, RowReader};

/// Names that one call site has used, of which there is nearly always one.
const MOST_MODELS: usize = 16;

/// What was seen when the models were looked up: equal only if the registry has not changed for this role since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    role: pg_sys::Oid,
    xmin: u32,
    xmax: u32,
    command: u32,
    completed: u64,
    /// What a subtransaction has done is undone with it, and nothing else here tells that.
    subtransaction: u32,
}

impl Seen {
    fn now() -> Self {
        // SAFETY: variables of the backend's one thread. The active snapshot, where there is one, stays active until
        // the calling statement ends, and is only read here.
        unsafe {
            let role = pg_sys::GetUserId();
            let subtransaction = pg_sys::GetCurrentSubTransactionId();
            if !pg_sys::ActiveSnapshotSet() {
                return Self { role, xmin: 0, xmax: 0, command: 0, completed: 0, subtransaction };
            }
            let snapshot = &*pg_sys::GetActiveSnapshot();
            Self {
                role,
                xmin: snapshot.xmin.into_inner(),
                xmax: snapshot.xmax.into_inner(),
                command: snapshot.curcid,
                completed: snapshot.snapXactCompletionCount,
                subtransaction,
            }
        }
    }
}

/// A type of rows, and where the model's columns are in it.
struct Shape {
    /// The server's number for the type as it is now: altering the type makes another one of it.
    identifier: u64,
    reader: RowReader,
    places: Vec<usize>,
    /// Of each of the model's columns the error that anything but NULL is: NULL alone, without a type, is of type text.
    nulls_only: Vec<Option<TrailsError>>,
    /// Of the whole row, and of the model's columns.
    cells: (Vec<pg_sys::Datum>, Vec<bool>),
    wanted: (Vec<pg_sys::Datum>, Vec<bool>),
}

/// A model at one call site, with memory that every call uses again.
struct Prepared {
    name: String,
    of: Predictor,
    shape: Option<Shape>,
    encoded: Encoded,
    workspace: Workspace,
    outputs: Vec<f32>,
    probabilities: Vec<f64>,
}

struct CallSite {
    seen: Seen,
    prepared: Vec<Prepared>,
}

/// A prediction for one row, and the model that it is from.
pub struct Predicted<'a> {
    model: &'a Model,
    outcome: Outcome,
    pub probabilities: &'a [f64],
}

impl Predicted<'_> {
    /// The label of the predicted class, or the number.
    pub fn text(&self) -> String {
        match self.model.task() {
            Task::Regression => number_string(self.outcome.score),
            _ => self.model.classes()[self.outcome.class].clone(),
        }
    }

    pub fn score(&self) -> f64 {
        self.outcome.score
    }
}

/// Predicts for the record that is the call's second argument, and hands the prediction on; None for a NULL.
///
/// # Safety
/// `fcinfo` is of the call under way, whose second argument is of type record.
pub unsafe fn predict<T>(
    model: &str,
    fcinfo: pg_sys::FunctionCallInfo,
    use_it: impl FnOnce(&Predicted<'_>) -> T,
) -> Result<Option<T>> {
    // SAFETY: the call is under way, by the caller's promise, and has a second argument.
    let Some(record) = (unsafe { pgrx::fcinfo::pg_getarg_datum(fcinfo, 1) }) else { return Ok(None) };
    // SAFETY: the same; the site is borrowed for this call alone, in which nothing else asks for it.
    let site = unsafe { call_site(fcinfo) };
    let prepared = site.prepared(model)?;
    // SAFETY: the argument is a record, by the caller's promise.
    unsafe { prepared.predict(record)? };
    let outcome = prepared.of.outcome(&prepared.outputs, &mut prepared.probabilities);
    Ok(Some(use_it(&Predicted { model: &prepared.of.model, outcome, probabilities: &prepared.probabilities })))
}

/// What is kept where the function is called.
///
/// # Safety
/// `fcinfo` is of the call under way, and what is returned is not used beyond it, nor asked for twice.
unsafe fn call_site<'a>(fcinfo: pg_sys::FunctionCallInfo) -> &'a mut CallSite {
    // SAFETY: a function's `fn_extra` is its own; nothing but what is put there here is ever in it. It lives in the memory
    // context of the FmgrInfo, which drops it with itself.
    unsafe {
        let function = &mut *(*fcinfo).flinfo;
        if function.fn_extra.is_null() {
            let site = CallSite { seen: Seen::now(), prepared: Vec::new() };
            function.fn_extra = PgMemoryContexts::For(function.fn_mcxt).leak_and_drop_on_delete(site).cast();
        }
        &mut *function.fn_extra.cast()
    }
}

impl CallSite {
    fn prepared(&mut self, name: &str) -> Result<&mut Prepared> {
        let seen = Seen::now();
        if seen != self.seen {
            self.prepared.clear();
            self.seen = seen;
        }
        let place = match self.prepared.iter().position(|prepared| prepared.name == name) {
            Some(place) => place,
            None => {
                let of = model_of(&WantedModel::named(name))?;
                if self.prepared.len() == MOST_MODELS {
                    self.prepared.remove(0);
                }
                self.prepared.push(Prepared {
                    name: name.to_owned(),
                    shape: None,
                    encoded: Encoded::default(),
                    workspace: Workspace::default(),
                    outputs: Vec::new(),
                    probabilities: vec![0.0; of.model.classes().len()],
                    of,
                });
                self.prepared.len() - 1
            }
        };
        Ok(&mut self.prepared[place])
    }
}

impl Prepared {
    /// # Safety
    /// The datum is a record, and lives until this returns.
    unsafe fn predict(&mut self, record: pg_sys::Datum) -> Result<()> {
        // SAFETY: a record is of variable length, and in full begins with this header, which says of which type the row is.
        // The descriptor of that type is counted, and so there, until it is given back.
        let header = unsafe {
            let header = pg_sys::pg_detoast_datum(record.cast_mut_ptr()).cast::<pg_sys::HeapTupleHeaderData>();
            let (type_oid, typmod) = ((*header).t_choice.t_datum.datum_typeid, (*header).t_choice.t_datum.datum_typmod);
            let shape_of_row = pg_sys::lookup_rowtype_tupdesc(type_oid, typmod);
            let identifier = pg_sys::assign_record_type_identifier(type_oid, typmod);
            let read = self.read(header, identifier, shape_of_row);
            if (*shape_of_row).tdrefcount >= 0 {
                pg_sys::DecrTupleDescRefCount(shape_of_row);
            }
            read?;
            header
        };
        self.of.model.forward(&self.encoded, &mut self.workspace, &mut self.outputs).map_err(error_of)?;
        if header.cast() != record.cast_mut_ptr::<pg_sys::HeapTupleHeaderData>() {
            // SAFETY: it is a copy that was made above, and nothing read from it is used any more.
            unsafe { pg_sys::pfree(header.cast()) };
        }
        Ok(())
    }

    /// # Safety
    /// The header is of a row of the shape, which is the one with that identifier.
    unsafe fn read(
        &mut self,
        header: *mut pg_sys::HeapTupleHeaderData,
        identifier: u64,
        tuple_shape: pg_sys::TupleDesc,
    ) -> Result<()> {
        if self.shape.as_ref().is_none_or(|shape| shape.identifier != identifier) {
            // SAFETY: the caller's promise.
            self.shape = Some(unsafe { Shape::find(&self.of.model, identifier, tuple_shape)? });
        }
        let Some(shape) = &mut self.shape else { unreachable!("it has just been set") };
        // SAFETY: the row is of this shape, whose number of columns the cells have: `find` made them for a type of the same
        // identifier.
        unsafe {
            let mut tuple = pg_sys::HeapTupleData {
                t_len: pgrx::varsize_4b(header.cast()) as u32,
                t_data: header,
                ..Default::default()
            };
            pg_sys::heap_deform_tuple(&mut tuple, tuple_shape, shape.cells.0.as_mut_ptr(), shape.cells.1.as_mut_ptr());
        }
        for (place, cell) in shape.places.iter().enumerate() {
            shape.wanted.0[place] = shape.cells.0[*cell];
            shape.wanted.1[place] = shape.cells.1[*cell];
            if let (Some(error), false) = (&shape.nulls_only[place], shape.cells.1[*cell]) {
                return Err(error.clone());
            }
        }
        // SAFETY: the cells are those of the columns that the reader was made for, in their order; where a column takes
        // nothing but NULL, that is what it is.
        let table = unsafe { shape.reader.read(&shape.wanted.0, &shape.wanted.1)? };
        let encoded = self.of.model.encode(1, |place| data_of(&table.columns[place]), &mut self.encoded);
        encoded.map_err(error_of)
    }
}

fn ambiguous(name: &str) -> TrailsError {
    TrailsError::new(
        PgSqlErrorCode::ERRCODE_AMBIGUOUS_COLUMN,
        format!("the row has more than one column \"{name}\", which the model reads"),
    )
    .hint("List the columns instead of writing *, or give all but one of them another name.")
}

/// The column that a model reads of a row, and the error that a value in it is, if only NULL is possible.
fn row_column(source: &Source, input: &Input) -> Result<(SourceColumn, Option<TrailsError>)> {
    let column = source.find(&input.name)?;
    let family = input.family.name();
    let literal = match column.base_type {
        pg_sys::UNKNOWNOID => true,
        pg_sys::TEXTOID => input.reading.is_none() && !matches!(input.family, Family::Text | Family::IdValue),
        _ => false,
    };
    if literal {
        return Ok((SourceColumn::of_nulls(column, family), Some(source.mismatch(column, family))));
    }
    Ok((source.for_model(&input.name, family, input.reading)?, None))
}

impl Shape {
    /// # Safety
    /// The descriptor is valid.
    unsafe fn find(model: &Model, identifier: u64, tuple_shape: pg_sys::TupleDesc) -> Result<Self> {
        // SAFETY: the caller's promise; what is kept is a copy.
        let attributes = unsafe { PgTupleDesc::from_pg_copy(tuple_shape) };
        let count = attributes.len();
        let mut columns = Vec::with_capacity(count);
        let mut places: HashMap<String, Option<usize>> = HashMap::new();
        for (place, attribute) in attributes.iter().enumerate() {
            if attribute.attisdropped {
                continue;
            }
            let name = pgrx::name_data_to_str(&attribute.attname).to_owned();
            // SAFETY: looks into the server's caches, for the type of a column that has not been dropped; the text ends in a
            // NUL byte, and is copied.
            let (type_name, base_type) = unsafe {
                let text = pg_sys::format_type_with_typemod(attribute.atttypid, attribute.atttypmod);
                let text = std::ffi::CStr::from_ptr(text).to_string_lossy().into_owned();
                (text, pg_sys::getBaseType(attribute.atttypid))
            };
            columns.push(RelationColumn {
                name: name.clone(),
                number: attribute.attnum,
                type_name,
                base_type,
                cell: cell_of(base_type),
                in_primary_key: false,
            });
            // A row may have two columns of one name: that matters where the model reads it.
            places.entry(name).and_modify(|found| *found = None).or_insert(Some(place));
        }
        let source = Source::of_row("the row", columns);
        let (mut found, mut nulls_only, mut found_at) = (Vec::new(), Vec::new(), Vec::new());
        for input in model.columns() {
            let place = places.get(&input.name).copied().flatten();
            if place.is_none() && places.contains_key(&input.name) {
                return Err(ambiguous(&input.name));
            }
            let (column, error) = row_column(&source, input)?;
            found.push(column);
            nulls_only.push(error);
            found_at.extend(place);
        }
        Ok(Self {
            identifier,
            reader: RowReader::new(&found, &source.name)?,
            places: found_at,
            nulls_only,
            cells: (vec![pg_sys::Datum::null(); count], vec![true; count]),
            wanted: (vec![pg_sys::Datum::null(); found.len()], vec![true; found.len()]),
        })
    }
}
