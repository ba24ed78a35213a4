//! Pictures of a relation, some drawn at random in one pass, and the classes that all of them have.
//!
//! A picture is fetched and copied only if it is drawn: what most rows of a large table hold is a pointer to one. Drawn is by
//! a reservoir (Vitter's algorithm R), so that every row is as likely whatever the relation is, and memory is that of the
//! pictures drawn.

use std::collections::HashSet;
use std::ffi::c_int;

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::array::{numbers_of, NullAmongNumbers};
use super::cell::{self, Cell, Plain};
use super::labels::Labels;
use super::memory::{no_memory, Exhausted, Memory};
use super::named::NamedRelation;
use super::order::ScanOrder;
use super::query::{PlannedQuery, Query};
use super::receiver::key_of;
use super::source::{Source, SourceColumn};
use crate::error::{Result as Outcome, TrailsError};
use crate::random::Random;
use crate::{deadline, reserve, settings, sqlstate};

/// Bytes of a picture: those of 256 x 256 pixels as an array of double precision are 1.5 million.
const LONGEST_PICTURE: usize = 1 << 21;
/// Values of the target that are classes, and bytes of one of them. Those of ImageNet are 1,000.
const MOST_CLASSES: usize = 10_000;
const LONGEST_LABEL: usize = 1_000;

/// What a column holds pictures as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Bytes,
    Int16,
    Int32,
    Float32,
    Float64,
}

impl Form {
    /// None for a type that holds no pictures.
    pub fn of(base_type: pg_sys::Oid) -> Option<Self> {
        Some(match base_type {
            pg_sys::BYTEAOID => Self::Bytes,
            pg_sys::INT2ARRAYOID => Self::Int16,
            pg_sys::INT4ARRAYOID => Self::Int32,
            pg_sys::FLOAT4ARRAYOID => Self::Float32,
            pg_sys::FLOAT8ARRAYOID => Self::Float64,
            _ => return None,
        })
    }

    /// As NumPy names the numbers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Int16 => "int16",
            Self::Int32 => "int32",
            Self::Float32 => "float32",
            Self::Float64 => "float64",
        }
    }

    /// Bytes of a number.
    fn width(self) -> usize {
        match self {
            Self::Bytes => 1,
            Self::Int16 => 2,
            Self::Int32 | Self::Float32 => 4,
            Self::Float64 => 8,
        }
    }
}

/// What the target says of a picture.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Label {
    Number(i64),
    Text(Vec<u8>),
}

impl Label {
    /// Whether pictures can be of classes that a column of these cells names.
    pub fn can_be(cell: Cell) -> bool {
        matches!(cell, Cell::Bool | Cell::Int2 | Cell::Int4 | Cell::Int8 | Cell::Text | Cell::BlankPadded | Cell::Enum)
    }

    /// # Safety
    /// The datum is of the column's type, which `can_be` takes, and not NULL.
    unsafe fn of(column: &SourceColumn, labels: &Labels, datum: pg_sys::Datum) -> Result<Self, Fault> {
        // SAFETY: the caller's promise. A text's size is known without fetching it.
        let label = unsafe {
            match column.cell {
                Cell::Text if size_of(datum) > LONGEST_LABEL => return Err(Fault::LabelTooLong),
                Cell::Bool => Self::Number(i64::from(datum.value() as u8 != 0)),
                Cell::Int2 => Self::Number(i64::from(datum.value() as i16)),
                Cell::Int4 => Self::Number(i64::from(datum.value() as i32)),
                Cell::Int8 => Self::Number(datum.value() as i64),
                Cell::Text => Self::Text(Plain::of(datum).to_vec()),
                Cell::BlankPadded => Self::Text(cell::without_padding(&Plain::of(datum)).to_vec()),
                // One that was added since is spelt by the type's own function, whose memory is the statement's.
                _ => Self::Text(match labels.find(datum.value() as u32) {
                    Some(label) => label.text.clone().into_bytes(),
                    None => cell::as_text(column.base_type, datum).into_bytes(),
                }),
            }
        };
        match &label {
            Self::Text(text) if text.len() > LONGEST_LABEL => Err(Fault::LabelTooLong),
            _ => Ok(label),
        }
    }
}

/// Bytes of a value once it is fetched.
///
/// # Safety
/// The datum is of variable length, and not NULL.
unsafe fn size_of(datum: pg_sys::Datum) -> usize {
    // SAFETY: the caller's promise.
    unsafe { pg_sys::toast_raw_datum_size(datum) }.saturating_sub(pg_sys::VARHDRSZ)
}

/// One picture that was drawn.
#[derive(Debug)]
pub struct DrawnPicture {
    pub bytes: Vec<u8>,
    /// Of the array that it is; empty where it is bytes.
    pub shape: Vec<i32>,
    pub label: Label,
    /// As errors name it: its number and its primary key, such as `3 (id = 7)`.
    pub row: String,
}

/// What one pass found.
#[derive(Debug)]
pub struct Drawn {
    pub pictures: Vec<DrawnPicture>,
    /// Of all pictures, in order.
    pub classes: Vec<Label>,
    /// Pictures that have a label.
    pub labelled: u64,
    /// Rows whose label is NULL, and rows with a label whose picture is.
    pub unlabelled: u64,
    pub empty: u64,
}

/// Why a row ends the reading.
enum Fault {
    TooLong(usize),
    NullAmongNumbers,
    LabelTooLong,
    TooManyClasses,
    Exhausted(Exhausted),
}

impl From<Exhausted> for Fault {
    fn from(exhausted: Exhausted) -> Self {
        Self::Exhausted(exhausted)
    }
}

impl From<NullAmongNumbers> for Fault {
    fn from(_: NullAmongNumbers) -> Self {
        Self::NullAmongNumbers
    }
}

#[repr(C)]
struct Reservoir {
    // The executor sees only this part, so it comes first.
    destination: pg_sys::DestReceiver,
    of: NamedRelation,
    form: Form,
    picture: SourceColumn,
    label: SourceColumn,
    /// Of the label's type, if it is an enum.
    labels: Labels,
    places: [usize; 2],
    key: Vec<(String, usize)>,
    /// Cells of a row that are looked at.
    width: usize,
    /// The descriptor of the last row, whose columns are known to be of these types.
    known: pg_sys::TupleDesc,
    wanted: usize,
    random: Random,
    seen: u64,
    classes: HashSet<Label>,
    memory: Memory,
    drawn: Drawn,
    bad: Option<(Fault, String)>,
}

/// Draws `wanted` pictures, or all if there are fewer, and looks at every label, in the snapshot of the calling statement.
/// Which are drawn depends on the seed and on the order in which rows are stored.
pub fn draw(
    source: &Source,
    picture: &SourceColumn,
    form: Form,
    label: &SourceColumn,
    wanted: usize,
    seed: i64,
) -> Outcome<Drawn> {
    reserve::fill();
    let query = source.select(&[picture.clone(), label.clone()]);
    let labels = Labels::of_column(label)?;
    let mut reservoir = Reservoir::new(&query, picture, form, label, labels, wanted, seed);
    let destination = std::ptr::from_mut(reservoir.as_mut()).cast();
    let run = || {
        Spi::connect(|_| {
            let plan = PlannedQuery::of(&query, 0)?;
            let _moment = plan.moment()?;
            let _order = ScanOrder::start();
            let options = pg_sys::SPIExecuteOptions {
                read_only: true,
                must_return_tuples: true,
                dest: destination,
                ..Default::default()
            };
            // SAFETY: within an SPI connection, with a plan that was just made in it; the destination is the reservoir, which
            // is boxed and outlives the query.
            let status = unsafe { pg_sys::SPI_execute_plan_extended(plan.plan, &options) };
            Spi::check_status(status).map(|_| ()).map_err(TrailsError::from)
        })
    };
    deadline::keep(&source.name, || sqlstate::kept(run))?;
    if let Some((fault, row)) = &reservoir.bad {
        return Err(reservoir.error_of(fault, row, &source.name));
    }
    let Reservoir { mut drawn, classes, .. } = *reservoir;
    drawn.classes = classes.into_iter().collect();
    drawn.classes.sort_unstable();
    Ok(drawn)
}

impl Reservoir {
    fn new(
        query: &Query,
        picture: &SourceColumn,
        form: Form,
        label: &SourceColumn,
        labels: Labels,
        wanted: usize,
        seed: i64,
    ) -> Box<Self> {
        let destination = pg_sys::DestReceiver {
            receiveSlot: Some(receive),
            rStartup: Some(startup),
            rShutdown: Some(nothing),
            rDestroy: Some(nothing),
            // Any destination that SPI takes for "rows go somewhere".
            mydest: pg_sys::CommandDest::DestTuplestore,
        };
        let places = [query.places[0], query.places[1]];
        let drawn = Drawn { pictures: Vec::new(), classes: Vec::new(), labelled: 0, unlabelled: 0, empty: 0 };
        Box::new(Self {
            destination,
            of: query.of.clone(),
            form,
            picture: picture.clone(),
            label: label.clone(),
            labels,
            places,
            key: query.key.clone(),
            // With the key, so that an error of the server while it is told finds nothing to jump over.
            width: query.key.iter().map(|(_, place)| *place).chain(places).max().unwrap_or(0) + 1,
            known: std::ptr::null_mut(),
            wanted,
            random: Random::new(seed),
            seen: 0,
            classes: HashSet::new(),
            memory: Memory::new(0, settings::reading_memory_limit()),
            drawn,
            bad: None,
        })
    }

    /// Refuses rows whose columns are not of the types that they were described with; nothing of a row is read before.
    ///
    /// # Safety
    /// The shape is a valid descriptor.
    #[cold]
    unsafe fn meet(&mut self, shape: pg_sys::TupleDesc) -> Outcome<()> {
        self.of.check()?;
        for (column, place) in [&self.picture, &self.label].into_iter().zip(self.places) {
            // SAFETY: the caller's promise.
            unsafe { self.of.check_type(shape, place, column.base_type, &column.name)? };
        }
        self.known = shape;
        Ok(())
    }

    /// Takes one row.
    ///
    /// # Safety
    /// The slot holds a row that `meet` knows, taken apart up to the width.
    unsafe fn take(&mut self, slot: *mut pg_sys::TupleTableSlot) -> Result<(), Fault> {
        self.seen += 1;
        // SAFETY: the row has as many columns, by the caller's promise.
        let [(picture, no_picture), (label, no_label)] =
            self.places.map(|place| unsafe { (*(*slot).tts_values.add(place), *(*slot).tts_isnull.add(place)) });
        if no_label {
            self.drawn.unlabelled += 1;
            return Ok(());
        }
        if no_picture {
            self.drawn.empty += 1;
            return Ok(());
        }
        // SAFETY: of the type that it was described with, and not NULL.
        let label = unsafe { Label::of(&self.label, &self.labels, label)? };
        if !self.classes.contains(&label) {
            if self.classes.len() == MOST_CLASSES {
                return Err(Fault::TooManyClasses);
            }
            self.classes.insert(label.clone());
        }
        let place = match self.drawn.pictures.len() {
            drawn if drawn < self.wanted => drawn,
            _ => self.random.below(self.drawn.labelled as usize + 1),
        };
        self.drawn.labelled += 1;
        if place < self.wanted {
            // SAFETY: the same of the picture.
            let (bytes, shape) = unsafe { self.fetch(picture)? };
            // SAFETY: the slot holds a row.
            let row = unsafe { self.row_of(slot) };
            let picture = DrawnPicture { bytes, shape, label, row };
            match self.drawn.pictures.get_mut(place) {
                Some(other) => {
                    self.memory.release(other.bytes.capacity());
                    *other = picture;
                }
                None => self.drawn.pictures.push(picture),
            }
        }
        Ok(())
    }

    /// A copy of a picture's bytes, or of its numbers with the shape of their array.
    ///
    /// # Safety
    /// The datum is of the column's type, and not NULL.
    unsafe fn fetch(&mut self, datum: pg_sys::Datum) -> Result<(Vec<u8>, Vec<i32>), Fault> {
        // SAFETY: of variable length, by the caller's promise.
        let size = unsafe { size_of(datum) };
        if size > LONGEST_PICTURE {
            return Err(Fault::TooLong(size));
        }
        // SAFETY: the same; it lives for as long as the row, and what is returned is a copy.
        let plain = unsafe { Plain::of(datum) };
        let (numbers, shape) = match self.form {
            Form::Bytes => (&*plain, Vec::new()),
            form => numbers_of(&plain, form.width())?,
        };
        let mut bytes = Vec::new();
        self.memory.reserve(&mut bytes, numbers.len())?;
        bytes.extend_from_slice(numbers);
        Ok((bytes, shape))
    }

    /// # Safety
    /// The slot holds a row.
    unsafe fn row_of(&self, slot: *mut pg_sys::TupleTableSlot) -> String {
        // SAFETY: the caller's promise.
        match unsafe { key_of(slot, &self.key) } {
            Some(key) => format!("{} ({key})", self.seen),
            None => self.seen.to_string(),
        }
    }

    fn error_of(&self, fault: &Fault, row: &str, origin: &str) -> TrailsError {
        let column = |column: &SourceColumn| format!("column \"{}\" of {origin}", column.name);
        let error = |code, message: String| TrailsError::new(code, message).detail(format!("It is row {row}."));
        match fault {
            Fault::TooLong(size) => error(
                PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
                format!(
                    "{} holds a picture of {:.1} MB, and {:.0} MB are the most",
                    column(&self.picture),
                    *size as f64 / MEGABYTE,
                    LONGEST_PICTURE as f64 / MEGABYTE
                ),
            )
            .hint("Cells are scored on small pictures, such as 32 x 32 pixels: scale them down before."),
            Fault::NullAmongNumbers => error(
                PgSqlErrorCode::ERRCODE_NULL_VALUE_NOT_ALLOWED,
                format!("{} holds an array with NULLs, which is no picture", column(&self.picture)),
            )
            .hint("Mend it, or leave it out: a NULL in its place is passed over."),
            Fault::LabelTooLong => error(
                PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
                format!(
                    "{} holds a text of more than {LONGEST_LABEL} bytes, which names no class",
                    column(&self.label)
                ),
            )
            .hint("Name the column of classes as the target."),
            Fault::TooManyClasses => TrailsError::new(
                PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
                format!("{} has more than {MOST_CLASSES} different values, which are no classes", column(&self.label)),
            )
            .hint("Name the column of classes as the target."),
            Fault::Exhausted(exhausted) => no_memory(*exhausted, origin, self.seen - 1, self.memory.held()),
        }
    }
}

const MEGABYTE: f64 = (1 << 20) as f64;

/// # Safety
/// To be called by the executor alone: with a row, and the destination of a reservoir.
#[pg_guard]
unsafe extern "C-unwind" fn receive(slot: *mut pg_sys::TupleTableSlot, this: *mut pg_sys::DestReceiver) -> bool {
    // SAFETY: the destination is the first field of a reservoir, whose layout is C's; while the query runs the executor
    // alone has it.
    let reservoir = unsafe { &mut *this.cast::<Reservoir>() };
    // SAFETY: the slot holds a row, and so has a valid descriptor; `meet` finds the columns in it before any is read. The
    // bound function is guarded: what it raises unwinds up to the executor.
    unsafe {
        let shape = (*slot).tts_tupleDescriptor;
        if shape != reservoir.known {
            reservoir.meet(shape).unwrap_or_else(|error| error.raise());
        }
        if ((*slot).tts_nvalid as usize) < reservoir.width {
            pg_sys::slot_getsomeattrs_int(slot, reservoir.width as c_int);
        }
        match reservoir.take(slot) {
            Ok(()) => true,
            Err(fault) => {
                reservoir.bad = Some((fault, reservoir.row_of(slot)));
                false
            }
        }
    }
}

/// # Safety
/// To be called by the executor alone: with the destination of a reservoir, and the descriptor of the rows to come.
#[pg_guard]
unsafe extern "C-unwind" fn startup(this: *mut pg_sys::DestReceiver, _operation: c_int, shape: pg_sys::TupleDesc) {
    // SAFETY: as in `receive`; the descriptor is the query's, and valid while it runs.
    unsafe { (*this.cast::<Reservoir>()).meet(shape).unwrap_or_else(|error| error.raise()) };
}

#[pg_guard]
unsafe extern "C-unwind" fn nothing(_this: *mut pg_sys::DestReceiver) {}
