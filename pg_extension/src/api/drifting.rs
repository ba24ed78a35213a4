//! `trails.drift`

use pgrx::pg_sys;
use pgrx::prelude::*;
use trails_model::Drifted;

use super::required;
use crate::drifting;
use crate::error::Result;

#[allow(clippy::type_complexity)]
#[pg_extern(sql = r#"
CREATE FUNCTION drift(
    model pg_catalog.text,
    source pg_catalog.regclass,
    threshold double precision DEFAULT 0.1
) RETURNS TABLE (
    feature pg_catalog.text,
    metric pg_catalog.text,
    value double precision,
    is_anomaly boolean,
    nulls_then double precision,
    nulls_now double precision,
    unknown_share double precision
) LANGUAGE c STABLE PARALLEL UNSAFE AS '@MODULE_PATHNAME@', '@FUNCTION_NAME@';
COMMENT ON FUNCTION drift IS
    'how far the rows of a table or view are from those that a model was trained on, column by column; model NULL: the one deployed for source';
"#, requires = ["models"])]
fn drift(
    model: Option<&str>,
    source: Option<pg_sys::Oid>,
    threshold: Option<f64>,
) -> TableIterator<
    'static,
    (
        name!(feature, String),
        name!(metric, &'static str),
        name!(value, f64),
        name!(is_anomaly, bool),
        name!(nulls_then, f64),
        name!(nulls_now, f64),
        name!(unknown_share, Option<f64>),
    ),
> {
    let found = || -> Result<(Vec<Drifted>, f64)> {
        let (source, threshold) = (required(source, "source")?, required(threshold, "threshold")?);
        Ok((drifting::drift(model, source, threshold)?, threshold))
    };
    let (found, threshold) = found().unwrap_or_else(|error| error.raise());
    TableIterator::new(found.into_iter().map(move |column| {
        let Drifted { column, metric, value, nulls_then, nulls_now, unknown } = column;
        (column, metric, value, value > threshold, nulls_then, nulls_now, unknown)
    }))
}
