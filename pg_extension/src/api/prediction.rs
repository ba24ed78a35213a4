//! `trails.predict`, `trails.predict_score`, `trails.predict_probabilities`, `trails.profile_prediction`, `trails.encoding`

use std::ffi::CStr;

use pgrx::pg_sys;
use pgrx::prelude::*;
use trails_model::FieldDescription;

use super::{name_text, required};
use crate::error::Result;
use crate::prediction::one_row::Predicted;
use crate::prediction::profile::MedianPhase;
use crate::prediction::relation::Asked;
use crate::prediction::{self, one_row, profile, relation};

// Unsafe in parallel workers: a view may call anything. The second one is for literals, which would fit a record as well
// as a regclass; text comes before both.
#[pg_extern(sql = r#"
CREATE FUNCTION predict(
    model pg_catalog.text,
    source pg_catalog.regclass,
    target pg_catalog.name DEFAULT NULL
) RETURNS TABLE (
    key pg_catalog.text,
    prediction pg_catalog.text,
    score double precision,
    probabilities double precision[]
) LANGUAGE c STABLE PARALLEL UNSAFE AS '@MODULE_PATHNAME@', '@FUNCTION_NAME@';
COMMENT ON FUNCTION predict(pg_catalog.text, pg_catalog.regclass, pg_catalog.name) IS
    'predictions for every row of a table or view, by primary key or else by number; model NULL: the one deployed for source and target';

CREATE FUNCTION predict(
    model pg_catalog.text,
    source pg_catalog.text,
    target pg_catalog.name DEFAULT NULL
) RETURNS TABLE (
    key pg_catalog.text,
    prediction pg_catalog.text,
    score double precision,
    probabilities double precision[]
) LANGUAGE sql STABLE PARALLEL UNSAFE
    BEGIN ATOMIC
        SELECT p.key, p.prediction, p.score, p.probabilities
        FROM trails.predict(predict.model, CAST(predict.source AS pg_catalog.regclass), predict.target) p;
    END;
COMMENT ON FUNCTION predict(pg_catalog.text, pg_catalog.text, pg_catalog.name) IS 'the same for a table or view that is named by a text';
"#, requires = ["models"])]
fn predict_relation(
    model: Option<&str>,
    source: Option<pg_sys::Oid>,
    target: Option<&CStr>,
    fcinfo: pg_sys::FunctionCallInfo,
) {
    let predicted = || -> Result<()> {
        let target = target.map(name_text);
        let asked = Asked { model, source: required(source, "source")?, target: target.as_deref() };
        // SAFETY: pgrx hands over the call under way, and the function is declared to return a set of predictions.
        unsafe { relation::predict(&asked, fcinfo) }
    };
    predicted().unwrap_or_else(|error| error.raise())
}

// Safe in parallel workers: all that they read is the registry, and each worker keeps models of its own.
#[pg_extern(sql = r#"
CREATE FUNCTION predict(model pg_catalog.text, "row" pg_catalog.record) RETURNS pg_catalog.text
    LANGUAGE c STABLE PARALLEL SAFE COST 100 AS '@MODULE_PATHNAME@', '@FUNCTION_NAME@';
COMMENT ON FUNCTION predict(pg_catalog.text, pg_catalog.record) IS 'the predicted class of one row, or the number as text';
"#, requires = ["models"])]
fn predict_record(model: Option<&str>, fcinfo: pg_sys::FunctionCallInfo) -> Option<String> {
    // SAFETY: pgrx hands over the call under way, whose second argument is declared as a record.
    let predicted = || unsafe { one_row::predict(required(model, "model")?, fcinfo, |predicted| predicted.text()) };
    predicted().unwrap_or_else(|error| error.raise())
}

#[pg_extern(sql = r#"
CREATE FUNCTION predict_score(model pg_catalog.text, "row" pg_catalog.record) RETURNS double precision
    LANGUAGE c STABLE PARALLEL SAFE COST 100 AS '@MODULE_PATHNAME@', '@FUNCTION_NAME@';
COMMENT ON FUNCTION predict_score IS
    'for one row the probability of the positive of two classes, or of the predicted one of several, or the number';
"#, requires = ["models"])]
fn predict_score(model: Option<&str>, fcinfo: pg_sys::FunctionCallInfo) -> Option<f64> {
    // SAFETY: as for `predict_record`.
    let predicted = || unsafe { one_row::predict(required(model, "model")?, fcinfo, |predicted| predicted.score()) };
    predicted().unwrap_or_else(|error| error.raise())
}

#[pg_extern(sql = r#"
CREATE FUNCTION predict_probabilities(model pg_catalog.text, "row" pg_catalog.record) RETURNS double precision[]
    LANGUAGE c STABLE PARALLEL SAFE COST 100 AS '@MODULE_PATHNAME@', '@FUNCTION_NAME@';
COMMENT ON FUNCTION predict_probabilities IS
    'for one row the probability of each class, in the order of trails.models.classes; NULL for regression';
"#, requires = ["models"])]
fn predict_probabilities(model: Option<&str>, fcinfo: pg_sys::FunctionCallInfo) -> Option<Vec<f64>> {
    let of_each =
        |predicted: &Predicted<'_>| (!predicted.probabilities.is_empty()).then(|| predicted.probabilities.to_vec());
    // SAFETY: as for `predict_record`.
    let predicted = || unsafe { one_row::predict(required(model, "model")?, fcinfo, of_each) };
    predicted().unwrap_or_else(|error| error.raise()).flatten()
}

#[pg_extern(sql = r#"
CREATE FUNCTION profile_prediction(
    model pg_catalog.text,
    source pg_catalog.regclass,
    repeats integer DEFAULT 1
) RETURNS TABLE (
    phase pg_catalog.text,
    rows bigint,
    seconds double precision,
    rows_per_second double precision
) LANGUAGE c VOLATILE PARALLEL UNSAFE AS '@MODULE_PATHNAME@', '@FUNCTION_NAME@';
COMMENT ON FUNCTION profile_prediction IS
    'predicts for a table or view and tells the seconds of each phase, medians of as many repeats; the model is read anew each time';
"#, requires = ["models"])]
#[allow(clippy::type_complexity)]
fn profile_prediction(
    model: Option<&str>,
    source: Option<pg_sys::Oid>,
    repeats: Option<i32>,
) -> TableIterator<
    'static,
    (name!(phase, &'static str), name!(rows, i64), name!(seconds, f64), name!(rows_per_second, Option<f64>)),
> {
    let profiled =
        || profile::profile(required(model, "model")?, required(source, "source")?, required(repeats, "repeats")?);
    let phases = profiled().unwrap_or_else(|error| error.raise());
    let row = |MedianPhase { name, rows, seconds }| {
        // The time that loading takes has nothing to do with rows.
        let rate = (name != "load" && seconds > 0.0).then(|| rows as f64 / seconds);
        (name, rows as i64, seconds, rate)
    };
    TableIterator::new(phases.into_iter().map(row))
}

#[pg_extern(sql = r#"
CREATE FUNCTION encoding(model pg_catalog.text) RETURNS TABLE (
    field integer,
    column_name pg_catalog.text,
    kind pg_catalog.text,
    part pg_catalog.text,
    encoding pg_catalog.text,
    first_row bigint,
    embedding_rows bigint,
    categories bigint,
    buckets bigint,
    examples pg_catalog.text[],
    edges double precision[],
    scale double precision,
    mean double precision,
    std double precision,
    reading pg_catalog.text
) LANGUAGE c STABLE PARALLEL SAFE AS '@MODULE_PATHNAME@', '@FUNCTION_NAME@';
COMMENT ON FUNCTION encoding IS
    'how a model encodes its columns: the categories, bins or scale of every field, and its rows of the embedding';
"#, requires = ["models"])]
#[allow(clippy::type_complexity)]
fn encoding(
    model: Option<&str>,
) -> TableIterator<
    'static,
    (
        name!(field, i32),
        name!(column_name, String),
        name!(kind, &'static str),
        name!(part, &'static str),
        name!(encoding, &'static str),
        name!(first_row, i64),
        name!(embedding_rows, i64),
        name!(categories, Option<i64>),
        name!(buckets, Option<i64>),
        name!(examples, Option<Vec<String>>),
        name!(edges, Option<Vec<f64>>),
        name!(scale, Option<f64>),
        name!(mean, Option<f64>),
        name!(std, Option<f64>),
        name!(reading, Option<&'static str>),
    ),
> {
    let described = || prediction::encoding(required(model, "model")?);
    let fields = described().unwrap_or_else(|error| error.raise());
    // What an encoding has not is NULL.
    let row = |(place, field): (usize, FieldDescription)| {
        let (categories, bins, scaled) =
            (field.encoding == "categories", field.encoding == "bins", field.encoding == "scaled");
        (
            place as i32 + 1,
            field.column,
            field.kind,
            field.part,
            field.encoding,
            field.first as i64,
            field.slots as i64,
            categories.then_some(field.categories as i64),
            categories.then_some(field.buckets as i64),
            categories.then_some(field.examples),
            (bins || field.encoding == "interpolated").then_some(field.edges),
            (field.kind == "idvalue").then_some(field.scale),
            scaled.then_some(field.mean),
            scaled.then_some(field.std),
            field.reading,
        )
    };
    TableIterator::new(fields.into_iter().enumerate().map(row))
}
