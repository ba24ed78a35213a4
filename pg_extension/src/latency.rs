//! Filtering one architecture at a time with a fresh batch for each, as the published latency study does it.

use std::time::Instant;

use pgrx::pg_sys;
use pgrx::prelude::*;
use pgrx::spi::quote_identifier;
use pyo3::prelude::*;

use crate::error::{Result, TrailsError};
use crate::interrupts::ClientWatch;
use crate::python;
use crate::reader::columns::{Table, Values};
use crate::reader::source::{Source, SourceColumn};
use crate::reader::{Kind, Prepared};

/// The target in every published table.
const TARGET: &str = "label";

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
    let features: Vec<SourceColumn> =
        source.features(None, Some(TARGET))?.iter().map(|c| as_published(c, &source)).collect::<Result<_>>()?;
    let watch = ClientWatch::start();
    let initialisation = Instant::now();
    let scorer = Scorer::new(config.as_deref(), n, features.len())?;
    let initialised = initialisation.elapsed().as_secs_f64();
    let target = if scorer.needs_target { Some(published_target(&source)?) } else { None };
    let columns: Vec<SourceColumn> = std::iter::once(&key).chain(&features).chain(&target).cloned().collect();
    let query = batch_query(&source, &columns, scorer.needs_target);
    let breakdown = Spi::connect(|_| -> Result<Breakdown> {
        let prepared = Prepared::new(&query, 2, &columns, &source.name)?;
        let mut spent = Breakdown { initialisation: initialised, ..Breakdown::default() };
        let mut last = i64::MIN;
        for place in 0..n {
            let retrieval = Instant::now();
            let batch = next_batch(&prepared, &mut last, i64::from(batch_size), &source.name)?;
            spent.retrieval += retrieval.elapsed().as_secs_f64();
            let (initialisation, preprocessing, scoring) = scorer.score(place, batch)?;
            spent.initialisation += initialisation;
            spent.preprocessing += preprocessing;
            spent.scoring += scoring;
            pgrx::check_for_interrupts!();
        }
        Ok(spent)
    })?;
    watch.stop();
    Ok(Breakdown { total: began.elapsed().as_secs_f64(), ..breakdown })
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
        let found = Spi::connect(|client| {
            client
                .select("SELECT pg_catalog.to_regclass($1)::oid", Some(1), &[quote_identifier(&name).into()])?
                .first()
                .get_one::<pg_sys::Oid>()
        });
        if let Ok(Some(oid)) = found {
            return Ok(oid);
        }
    }
    Err(TrailsError::new(
        PgSqlErrorCode::ERRCODE_UNDEFINED_TABLE,
        format!("there is no table \"{dataset}_train\" in the search path"),
    )
    .hint(format!("Load it, for example with: python -m trails load {dataset}")))
}

/// The text of a configuration file on the server, for roles that may read server files.
fn read_config(path: &str) -> Result<String> {
    let allowed =
        unsafe { pg_sys::has_privs_of_role(pg_sys::GetUserId(), pg_sys::Oid::from(pg_sys::ROLE_PG_READ_SERVER_FILES)) };
    if !allowed {
        return Err(TrailsError::new(
            PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
            "permission denied to read a configuration file on the server",
        )
        .hint("Only roles with the privileges of pg_read_server_files may name one; pass NULL to use the settings."));
    }
    std::fs::read_to_string(path).map_err(|error| {
        TrailsError::new(
            PgSqlErrorCode::ERRCODE_UNDEFINED_FILE,
            format!("could not read the configuration file \"{path}\": {error}"),
        )
    })
}

/// Rows along the key, which is the first column; $1 is the last one seen, $2 how many. Rows without a target are passed
/// over where it is needed.
fn batch_query(source: &Source, columns: &[SourceColumn], needs_target: bool) -> String {
    let key = quote_identifier(&columns[0].name);
    let labelled = if needs_target { format!(" AND {} IS NOT NULL", quote_identifier(TARGET)) } else { String::new() };
    format!("{} WHERE {key} OPERATOR(pg_catalog.>) $1{labelled} ORDER BY {key} LIMIT $2", source.select(columns))
}

/// The next rows along the key, from the beginning again after the last.
fn next_batch(prepared: &Prepared<'_>, last: &mut i64, size: i64, name: &str) -> Result<Table> {
    let mut batch = prepared.read(&[*last, size])?;
    if (batch.rows as i64) < size && *last != i64::MIN {
        batch = prepared.read(&[i64::MIN, size])?;
    }
    *last = match batch.columns[0].values {
        Values::Int32(ref keys) => keys.last().map(|k| i64::from(*k)),
        Values::Int64(ref keys) => keys.last().copied(),
        _ => None,
    }
    .ok_or_else(|| TrailsError::data(format!("{name} is empty")))?;
    Ok(batch)
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

    /// Seconds of initialisation, preprocessing and scoring. The batch's columns are the key, the features and, where
    /// it is needed, the target.
    fn score(&self, place: i32, mut batch: Table) -> Result<(f64, f64, f64)> {
        python::call(|bridge| {
            let py = bridge.py();
            let target = if self.needs_target { batch.columns.pop() } else { None };
            let target = target.map(|column| python::array(py, column)).transpose()?;
            let features = python::arrays(py, batch.columns.split_off(1))?;
            self.scorer.bind(py).call_method1("score", (place, features, target))?.extract()
        })
    }
}
