//! `trails.describe_columns`

use pgrx::prelude::*;
use pgrx::{pg_sys, Array};

use super::{features_of, required};
use crate::error::Result;
use crate::reader::describe::{self, DescribedColumn};

#[pg_extern(sql = r#"
CREATE FUNCTION describe_columns(
    source pg_catalog.regclass,
    features pg_catalog.name[] DEFAULT NULL
) RETURNS TABLE (
    column_name pg_catalog.text,
    type pg_catalog.text,
    kind pg_catalog.text,
    rows bigint,
    nulls bigint,
    distinct_texts bigint,
    minimum pg_catalog.text,
    maximum pg_catalog.text,
    reading pg_catalog.text
) LANGUAGE c VOLATILE PARALLEL UNSAFE AS '@MODULE_PATHNAME@', '@FUNCTION_NAME@';
COMMENT ON FUNCTION describe_columns IS
    'what Trails sees in a relation: every column, what it is read as (NULL: it cannot be read), and what it holds';
"#)]
#[allow(clippy::type_complexity)]
fn describe_columns(
    source: Option<pg_sys::Oid>,
    features: Option<Array<&std::ffi::CStr>>,
) -> TableIterator<
    'static,
    (
        name!(column_name, String),
        name!(type, String),
        name!(kind, Option<String>),
        name!(rows, Option<i64>),
        name!(nulls, Option<i64>),
        name!(distinct_texts, Option<i64>),
        name!(minimum, Option<String>),
        name!(maximum, Option<String>),
        name!(reading, Option<&'static str>),
    ),
> {
    let describe = || -> Result<Vec<DescribedColumn>> {
        let named = features_of(features)?;
        describe::run(required(source, "source")?, named.as_deref())
    };
    let columns = describe().unwrap_or_else(|error| error.raise());
    TableIterator::new(columns.into_iter().map(|c| {
        (
            c.name,
            c.type_name,
            c.kind.map(str::to_owned),
            c.rows,
            c.nulls,
            c.distinct_texts,
            c.range.clone().map(|range| range.0),
            c.range.map(|range| range.1),
            c.reading,
        )
    }))
}
