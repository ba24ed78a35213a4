//! `trails.benchmark_filtering_latency_in_db`, `trails.benchmark_reading`

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::required;
use crate::error::Result;
use crate::latency::{self, Breakdown};
use crate::reading_speed::{self, Reading, Way};

#[pg_extern(sql = r#"
CREATE FUNCTION benchmark_filtering_latency_in_db(
    n integer,
    dataset pg_catalog.text,
    batch_size integer DEFAULT 64,
    config pg_catalog.text DEFAULT NULL
) RETURNS TABLE (
    models integer,
    initialisation_seconds double precision,
    retrieval_seconds double precision,
    preprocessing_seconds double precision,
    scoring_seconds double precision,
    total_seconds double precision
) LANGUAGE c VOLATILE PARALLEL UNSAFE AS '@MODULE_PATHNAME@', '@FUNCTION_NAME@';
COMMENT ON FUNCTION benchmark_filtering_latency_in_db IS
    'scores n architectures one after another, each on a fresh batch of DATASET_train, and tells where the time went';
"#)]
#[allow(clippy::type_complexity)]
fn benchmark_filtering_latency_in_db(
    n: Option<i32>,
    dataset: Option<String>,
    batch_size: Option<i32>,
    config: Option<String>,
) -> TableIterator<
    'static,
    (
        name!(models, i32),
        name!(initialisation_seconds, f64),
        name!(retrieval_seconds, f64),
        name!(preprocessing_seconds, f64),
        name!(scoring_seconds, f64),
        name!(total_seconds, f64),
    ),
> {
    let measure = || -> Result<(i32, Breakdown)> {
        let n = required(n, "n")?;
        let dataset = required(dataset, "dataset")?;
        let spent = latency::run(n, &dataset, required(batch_size, "batch_size")?, config.as_deref())?;
        Ok((n, spent))
    };
    let (n, spent) = measure().unwrap_or_else(|error| error.raise());
    TableIterator::once((n, spent.initialisation, spent.retrieval, spent.preprocessing, spent.scoring, spent.total))
}

#[pg_extern(sql = r#"
CREATE FUNCTION benchmark_reading(
    source pg_catalog.regclass,
    repeats integer DEFAULT 1,
    reader pg_catalog.text DEFAULT 'receiver'
) RETURNS TABLE (
    rows bigint,
    columns integer,
    seconds double precision,
    checksum bigint
) LANGUAGE c VOLATILE PARALLEL UNSAFE AS '@MODULE_PATHNAME@', '@FUNCTION_NAME@';
COMMENT ON FUNCTION benchmark_reading IS
    'reads every column that Trails can read into NumPy arrays, as often as asked, and tells the seconds of each time and a checksum of all cells; reader: receiver, batches, or rows for pgrx''s own way';
"#)]
#[allow(clippy::type_complexity)]
fn benchmark_reading(
    source: Option<pg_sys::Oid>,
    repeats: Option<i32>,
    reader: Option<String>,
) -> TableIterator<'static, (name!(rows, i64), name!(columns, i32), name!(seconds, f64), name!(checksum, i64))> {
    let measure = || -> Result<Vec<Reading>> {
        let way = Way::parse(&required(reader, "reader")?)?;
        reading_speed::run(required(source, "source")?, required(repeats, "repeats")?, way)
    };
    let readings = measure().unwrap_or_else(|error| error.raise());
    TableIterator::new(readings.into_iter().map(|r| (r.rows, r.columns, r.seconds, r.checksum)))
}
