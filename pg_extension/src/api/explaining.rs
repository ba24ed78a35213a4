//! `trails.feature_importance`, `trails.explain`, `trails.partial_dependence`

use std::ffi::CStr;

use pgrx::datum::Interval;
use pgrx::pg_sys;
use pgrx::prelude::*;

use super::{name_text, required, seconds_of, texts_of};
use crate::error::Result;
use crate::explaining::contributions::{self, Line};
use crate::explaining::dependence::{self, Point};
use crate::explaining::importance::{self, Importance, Measuring};
use crate::judging::labelled::Asked;

#[allow(clippy::too_many_arguments, clippy::type_complexity)]
#[pg_extern(sql = r#"
CREATE FUNCTION feature_importance(
    model pg_catalog.text,
    source pg_catalog.regclass,
    target pg_catalog.name DEFAULT NULL,
    metric pg_catalog.text DEFAULT NULL,
    repeats integer DEFAULT 3,
    sample_rows integer DEFAULT 5000,
    seed bigint DEFAULT 1,
    budget interval DEFAULT '10 s'
) RETURNS TABLE (
    rank integer,
    feature pg_catalog.text,
    importance double precision,
    deviation double precision,
    repeats integer,
    baseline double precision
) LANGUAGE c STABLE PARALLEL UNSAFE AS '@MODULE_PATHNAME@', '@FUNCTION_NAME@';
COMMENT ON FUNCTION feature_importance IS
    'how much worse a model does on a table or view when the cells of a column are shuffled among the rows, column by column';
"#, requires = ["models"])]
fn feature_importance(
    model: Option<&str>,
    source: Option<pg_sys::Oid>,
    target: Option<&CStr>,
    metric: Option<&str>,
    repeats: Option<i32>,
    sample_rows: Option<i32>,
    seed: Option<i64>,
    budget: Option<Interval>,
) -> TableIterator<
    'static,
    (
        name!(rank, i32),
        name!(feature, String),
        name!(importance, Option<f64>),
        name!(deviation, Option<f64>),
        name!(repeats, i32),
        name!(baseline, f64),
    ),
> {
    let measured = || -> Result<Vec<Importance>> {
        let target = target.map(name_text);
        let source = required(source, "source")?;
        let how = Measuring {
            metric,
            repeats: required(repeats, "repeats")?,
            sample_rows: required(sample_rows, "sample_rows")?,
            seed: required(seed, "seed")?,
            budget: seconds_of(budget)?,
        };
        importance::importance(&Asked { model, source, target: target.as_deref(), weight: None }, &how)
    };
    let found = measured().unwrap_or_else(|error| error.raise());
    let row = |(rank, found): (i32, Importance)| {
        let Importance { feature, importance, deviation, repeats, baseline } = found;
        (rank, feature, importance, deviation, repeats, baseline)
    };
    TableIterator::new((1..).zip(found).map(row))
}

#[allow(clippy::too_many_arguments, clippy::type_complexity)]
#[pg_extern(sql = r#"
CREATE FUNCTION explain(
    model pg_catalog.text,
    source pg_catalog.regclass,
    top integer DEFAULT 5,
    keys pg_catalog.text[] DEFAULT NULL,
    background pg_catalog.regclass DEFAULT NULL,
    samples integer DEFAULT 64,
    seed bigint DEFAULT 1
) RETURNS TABLE (
    key pg_catalog.text,
    prediction pg_catalog.text,
    score double precision,
    baseline double precision,
    feature pg_catalog.text,
    value pg_catalog.text,
    contribution double precision,
    residual double precision
) LANGUAGE c STABLE PARALLEL UNSAFE AS '@MODULE_PATHNAME@', '@FUNCTION_NAME@';
COMMENT ON FUNCTION explain IS
    'what each column of a row adds to its score, against the mean score of rows of the background; keys NULL: of every row';
"#, requires = ["models"])]
fn explain(
    model: Option<&str>,
    source: Option<pg_sys::Oid>,
    top: Option<i32>,
    keys: Option<Array<&str>>,
    background: Option<pg_sys::Oid>,
    samples: Option<i32>,
    seed: Option<i64>,
) -> TableIterator<
    'static,
    (
        name!(key, String),
        name!(prediction, String),
        name!(score, f64),
        name!(baseline, f64),
        name!(feature, String),
        name!(value, Option<String>),
        name!(contribution, f64),
        name!(residual, f64),
    ),
> {
    let explained = || {
        contributions::explain(&contributions::Wanted {
            model,
            source: required(source, "source")?,
            top,
            keys: keys.map(|keys| texts_of(keys, "keys")).transpose()?,
            background,
            samples: required(samples, "samples")?,
            seed: required(seed, "seed")?,
        })
    };
    let (found, of) = explained().unwrap_or_else(|error| error.raise());
    let row = |line: Line| {
        let Line { key, prediction, score, baseline, feature, value, contribution, residual } = line;
        (key, prediction, score, baseline, feature, value, contribution, residual)
    };
    TableIterator::new(found.lines(of).map(row))
}

#[allow(clippy::type_complexity)]
#[pg_extern(sql = r#"
CREATE FUNCTION partial_dependence(
    model pg_catalog.text,
    source pg_catalog.regclass,
    feature pg_catalog.name,
    points integer DEFAULT 20,
    sample_rows integer DEFAULT 5000,
    seed bigint DEFAULT 1
) RETURNS TABLE (
    value pg_catalog.text,
    class pg_catalog.text,
    score double precision,
    deviation double precision,
    rows bigint
) LANGUAGE c STABLE PARALLEL UNSAFE AS '@MODULE_PATHNAME@', '@FUNCTION_NAME@';
COMMENT ON FUNCTION partial_dependence IS
    'what a model says on average of the rows of a table or view where a column has the same value in each, value by value';
"#, requires = ["models"])]
fn partial_dependence(
    model: Option<&str>,
    source: Option<pg_sys::Oid>,
    feature: Option<&CStr>,
    points: Option<i32>,
    sample_rows: Option<i32>,
    seed: Option<i64>,
) -> TableIterator<
    'static,
    (
        name!(value, Option<String>),
        name!(class, Option<String>),
        name!(score, f64),
        name!(deviation, f64),
        name!(rows, i64),
    ),
> {
    let computed = || {
        dependence::partial_dependence(&dependence::Wanted {
            model,
            source: required(source, "source")?,
            feature: name_text(required(feature, "feature")?),
            points: required(points, "points")?,
            sample_rows: required(sample_rows, "sample_rows")?,
            seed: required(seed, "seed")?,
        })
    };
    let points = computed().unwrap_or_else(|error| error.raise());
    let row = |Point { value, class, score, deviation, rows }| (value, class, score, deviation, rows);
    TableIterator::new(points.into_iter().map(row))
}
