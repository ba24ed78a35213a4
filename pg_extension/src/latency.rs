//! Filtering one architecture at a time with a fresh batch for each, as the published latency study does it.

use std::collections::TryReserveError;
use std::io::Read;
use std::ops::Range;
use std::time::Instant;

use numpy::{PyArray1, PyArrayMethods};
use pgrx::pg_sys;
use pgrx::prelude::*;
use pgrx::spi::quote_identifier;
use pyo3::exceptions::PyMemoryError;
use pyo3::intern;
use pyo3::prelude::*;

use crate::error::{shown, Result, TrailsError};
use crate::interrupts::ClientWatch;
use crate::python;
use crate::reader::columns::{Column, Table, Values};
use crate::reader::query::Query;
use crate::reader::source::{Source, SourceColumn};
use crate::reader::{Batches, Kind};

/// The target in every published table.
const TARGET: &str = "label";
/// Bytes of a configuration file; the published ones have some hundred.
const LONGEST_CONFIG: u64 = 1 << 20;

/// Seconds by what they were spent on.
#[derive(Debug, Clone, Default)]
pub struct Breakdown {
    pub initialisation: f64,
    pub retrieval: f64,
    pub preprocessing: f64,
    pub scoring: f64,
    pub total: f64,
}

/// Scores `n` seeded random architectures of the configured space on batches of `dataset`'s training table.
pub fn run(n: i32, dataset: &str, batch_size: i32, config: Option<&str>) -> Result<Breakdown> {
    let began = Instant::now();
    for (name, value) in [("n", n), ("batch_size", batch_size)] {
        if value < 1 {
            return Err(TrailsError::argument(format!("{name} must be at least 1, not {value}")));
        }
    }
    let config = config.map(read_config).transpose()?;
    let source = Source::describe(training_table(dataset)?)?;
    let key = source.integer_key().ok_or_else(|| {
        TrailsError::argument(format!("{} has no primary key of one integer column", source.name))
            .hint("Batches are read along the primary key: ALTER TABLE ... ADD PRIMARY KEY (id).")
    })?;
    // The study is of the whole table: nothing is left out of it.
    if let Some((name, _)) = source.unreadable(Some(TARGET)).first() {
        source.readable(name)?;
    }
    let features: Vec<SourceColumn> =
        source.features(None, Some(TARGET))?.iter().map(|c| as_published(c, &source)).collect::<Result<_>>()?;
    let watch = ClientWatch::start();
    let initialisation = Instant::now();
    let scorer = Scorer::new(config.as_deref(), n, features.len())?;
    let initialised = initialisation.elapsed().as_secs_f64();
    let target = if scorer.needs_target { Some(published_target(&source)?) } else { None };
    let columns: Vec<SourceColumn> = features.iter().chain(&target).cloned().collect();
    let mut rows = Cycle::new(batch_query(&source, &key, &columns, scorer.needs_target), columns, &source.name);
    let mut spent = Breakdown { initialisation: initialised, ..Breakdown::default() };
    for place in 0..n {
        let retrieval = Instant::now();
        let (table, batch) = rows.next(batch_size as usize)?;
        spent.retrieval += retrieval.elapsed().as_secs_f64();
        let preprocessing = Instant::now();
        let (initialised, scored) = scorer.score(place, table, batch)?;
        // All that is neither of these gets the batch into the shape that is scored.
        spent.preprocessing += preprocessing.elapsed().as_secs_f64() - initialised - scored;
        spent.initialisation += initialised;
        spent.scoring += scored;
    }
    watch.stop();
    Ok(Breakdown { total: began.elapsed().as_secs_f64(), ..spent })
}

/// The study's features are ids: integers, or texts of the form `id:value`.
fn as_published(column: &SourceColumn, source: &Source) -> Result<SourceColumn> {
    match column.kind {
        Some(Kind::Boolean | Kind::Int32 | Kind::Int64) => Ok(column.clone()),
        None => Ok(column.read_as(Kind::IdValue)),
        Some(_) => Err(TrailsError::new(
            PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            format!("column \"{}\" of {} has type {}, which holds no ids", column.name, source.name, column.type_name),
        )
        .hint("The latency study reads integers, booleans and text of the form id:value.")),
    }
}

fn published_target(source: &Source) -> Result<SourceColumn> {
    let target = source.target(TARGET)?;
    if matches!(target.kind, Some(Kind::Boolean | Kind::Int32 | Kind::Int64)) {
        return Ok(target);
    }
    Err(TrailsError::new(
        PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
        format!(
            "target \"{TARGET}\" of {} has type {}; it must be an integer or boolean",
            source.name, target.type_name
        ),
    ))
}

/// `NAME_train` in the search path, else `NAME` itself.
fn training_table(dataset: &str) -> Result<pg_sys::Oid> {
    for name in [format!("{dataset}_train"), dataset.to_owned()] {
        let query = "SELECT pg_catalog.to_regclass($1)::pg_catalog.oid";
        let found = Spi::connect(|client| {
            client.select(query, Some(1), &[quote_identifier(&name).into()])?.first().get_one::<pg_sys::Oid>()
        });
        if let Ok(Some(oid)) = found {
            return Ok(oid);
        }
    }
    let dataset = shown(dataset);
    Err(TrailsError::new(
        PgSqlErrorCode::ERRCODE_UNDEFINED_TABLE,
        format!("there is no table \"{dataset}_train\" in the search path"),
    )
    .hint(format!("Load it, for example with: python -m trails load {dataset}")))
}

/// The text of a configuration file on the server, for roles that may read server files.
fn read_config(path: &str) -> Result<String> {
    // SAFETY: looks into variables and caches of the backend's one thread, within the calling transaction.
    let allowed =
        unsafe { pg_sys::has_privs_of_role(pg_sys::GetUserId(), pg_sys::Oid::from(pg_sys::ROLE_PG_READ_SERVER_FILES)) };
    if !allowed {
        return Err(TrailsError::new(
            PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
            "permission denied to read a configuration file on the server",
        )
        .hint("Only roles with the privileges of pg_read_server_files may name one; pass NULL to use the settings."));
    }
    let missing = |error: std::io::Error| {
        TrailsError::new(
            PgSqlErrorCode::ERRCODE_UNDEFINED_FILE,
            format!("could not read the configuration file \"{}\": {error}", shown(path)),
        )
    };
    // A device or a pipe may have no end, and opening one may wait for ever.
    if !std::fs::metadata(path).map_err(missing)?.is_file() {
        return Err(TrailsError::new(
            PgSqlErrorCode::ERRCODE_WRONG_OBJECT_TYPE,
            format!("\"{}\" is no regular file", shown(path)),
        )
        .hint("A configuration is an INI file; pass NULL to use the settings."));
    }
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(missing)?;
    file.take(LONGEST_CONFIG + 1).read_to_string(&mut text).map_err(missing)?;
    if text.len() as u64 > LONGEST_CONFIG {
        return Err(TrailsError::argument(format!("the configuration file \"{}\" is too long", shown(path)))
            .hint(format!("A configuration has at most {LONGEST_CONFIG} bytes.")));
    }
    Ok(text)
}

/// Rows along the key. Rows without a target are passed over where it is needed.
fn batch_query(source: &Source, key: &SourceColumn, columns: &[SourceColumn], needs_target: bool) -> Query {
    let query = source.query(columns);
    let labelled =
        if needs_target { format!(" WHERE {} IS NOT NULL", quote_identifier(TARGET)) } else { String::new() };
    Query { sql: format!("{}{labelled} ORDER BY {}", query.sql, quote_identifier(&key.name)), ..query }
}

/// Rows that are read at a time, if that is at least one batch: many small fetches cost more than one.
const READ_AHEAD: usize = 2_048;

/// Batches of one query, from the beginning again after the last whole one.
struct Cycle {
    query: Query,
    columns: Vec<SourceColumn>,
    name: String,
    open: Option<Batches>,
    /// Rows of the open query's table that were given out.
    given: usize,
}

impl Cycle {
    fn new(query: Query, columns: Vec<SourceColumn>, name: &str) -> Self {
        Self { query, columns, name: name.to_owned(), open: None, given: 0 }
    }

    /// The next `size` rows, and where they are in a table; all there are where there are fewer.
    fn next(&mut self, size: usize) -> Result<(&Table, Range<usize>)> {
        let whole = self.open.as_ref().is_some_and(|open| self.given + size <= open.table().rows);
        if !whole {
            self.read(size)?;
        }
        let table = self.open.as_ref().expect("rows have just been read").table();
        let batch = self.given..table.rows.min(self.given + size);
        self.given = batch.end;
        Ok((table, batch))
    }

    /// Reads at least one batch.
    fn read(&mut self, size: usize) -> Result<()> {
        let rows = size * (READ_AHEAD / size).max(1);
        self.given = 0;
        // What is left at the end of the relation may be less than a batch.
        let whole = match &mut self.open {
            Some(batches) => batches.next(rows)?.is_some_and(|table| table.rows >= size),
            None => false,
        };
        if !whole {
            // The old one is closed before the new one is opened.
            self.open = None;
            let mut batches = Batches::open_for_first_rows(&self.query, &self.columns)?;
            if batches.next(rows)?.is_none() {
                return Err(TrailsError::data(format!("{} is empty", self.name)));
            }
            self.open = Some(batches);
        }
        Ok(())
    }
}

/// The configured metric, which takes one architecture and one batch at a time.
struct Scorer {
    scorer: python::Held,
    needs_target: bool,
}

impl Scorer {
    fn new(config: Option<&str>, n: i32, fields: usize) -> Result<Self> {
        python::call(|bridge| {
            let scorer = bridge.call_method1("latency_scorer", (config, n, fields))?;
            let needs_target = scorer.getattr("needs_target")?.extract()?;
            Ok(Self { scorer: python::Held::new(scorer), needs_target })
        })
    }

    /// Seconds of initialisation and scoring. The batch's columns are the features and, where it is needed, the target.
    fn score(&self, place: i32, table: &Table, batch: Range<usize>) -> Result<(f64, f64)> {
        let (features, target) = match self.needs_target {
            true => table.columns.split_at(table.columns.len() - 1),
            false => (table.columns.as_slice(), [].as_slice()),
        };
        let exhausted = |_| PyMemoryError::new_err(format!("{} rows of {} ids", batch.len(), features.len()));
        python::call(|bridge| {
            let py = bridge.py();
            let ids = PyArray1::from_vec(py, ids_of(features, &batch).map_err(exhausted)?);
            let ids = ids.reshape([batch.len(), features.len()])?;
            let labels = match target {
                [] => None,
                target => Some(PyArray1::from_vec(py, ids_of(target, &batch).map_err(exhausted)?)),
            };
            let seconds = self.scorer.bind(py).call_method1(intern!(py, "score"), (place, ids, labels))?;
            let (initialisation, _, scoring): (f64, f64, f64) = seconds.extract()?;
            Ok((initialisation, scoring))
        })
    }
}

/// Row by row.
fn ids_of(columns: &[Column], rows: &Range<usize>) -> std::result::Result<Vec<i64>, TryReserveError> {
    fn put<T: Copy + Into<i64>>(ids: &mut [i64], values: &[T], place: usize, width: usize) {
        for (id, value) in ids.iter_mut().skip(place).step_by(width).zip(values) {
            *id = (*value).into();
        }
    }
    let width = columns.len();
    let mut ids = Vec::new();
    ids.try_reserve_exact(rows.len() * width)?;
    ids.resize(rows.len() * width, 0);
    for (place, column) in columns.iter().enumerate() {
        match &column.values {
            Values::Boolean(v) | Values::Int32(v) => put(&mut ids, &v[rows.clone()], place, width),
            Values::Int64(v) => put(&mut ids, &v[rows.clone()], place, width),
            Values::IdValue(v) => put(&mut ids, &v.ids[rows.clone()], place, width),
            _ => unreachable!("only columns that hold ids are read"),
        }
    }
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_lie_row_by_row_whatever_their_type() {
        let column =
            |values| Column { name: "c".into(), values, nulls: None, form: crate::reader::columns::Form::AsItIs };
        let ids = crate::reader::columns::IdValues { ids: vec![7, 8], values: None };
        let columns =
            [column(Values::Int32(vec![1, 2])), column(Values::Int64(vec![-3, 4])), column(Values::IdValue(ids))];
        assert_eq!(ids_of(&columns, &(0..2)).unwrap(), vec![1, -3, 7, 2, 4, 8]);
        assert_eq!(ids_of(&columns, &(1..2)).unwrap(), vec![2, 4, 8]);
        assert_eq!(ids_of(&columns[..0], &(0..2)).unwrap(), Vec::<i64>::new());
    }
}
