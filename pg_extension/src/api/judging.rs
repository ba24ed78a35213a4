//! `trails.evaluate`, `trails.confusion_matrix`, `trails.threshold_curve`, `trails.best_threshold`

use std::ffi::CStr;

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::{name_text, required};
use crate::error::Result;
use crate::judging::labelled::Asked;
use crate::judging::report::{self, Chosen, ConfusedRows, Measured, Step};

/// Calls `work` with what was asked for; the target's name is kept for as long as that takes.
fn judged<T>(
    model: Option<&str>,
    source: Option<pg_sys::Oid>,
    target: Option<&CStr>,
    weight: Option<&CStr>,
    work: impl FnOnce(&Asked<'_>) -> Result<T>,
) -> T {
    let (target, weight) = (target.map(name_text), weight.map(name_text));
    let asked = || {
        let source = required(source, "source")?;
        work(&Asked { model, source, target: target.as_deref(), weight: weight.as_deref() })
    };
    asked().unwrap_or_else(|error| error.raise())
}

#[pg_extern(sql = r#"
CREATE FUNCTION evaluate(
    model pg_catalog.text,
    source pg_catalog.regclass,
    target pg_catalog.name DEFAULT NULL,
    threshold double precision DEFAULT NULL,
    weight pg_catalog.name DEFAULT NULL
) RETURNS TABLE (
    metric pg_catalog.text,
    class pg_catalog.text,
    value double precision,
    rows bigint
) LANGUAGE c STABLE PARALLEL UNSAFE AS '@MODULE_PATHNAME@', '@FUNCTION_NAME@';
COMMENT ON FUNCTION evaluate IS
    'how well a model does on the rows of a table or view whose target is known; model NULL: the one deployed for source and target';
"#, requires = ["models"])]
#[allow(clippy::type_complexity)]
fn evaluate(
    model: Option<&str>,
    source: Option<pg_sys::Oid>,
    target: Option<&CStr>,
    threshold: Option<f64>,
    weight: Option<&CStr>,
) -> TableIterator<
    'static,
    (name!(metric, &'static str), name!(class, Option<String>), name!(value, Option<f64>), name!(rows, i64)),
> {
    let measured = judged(model, source, target, weight, |asked| report::evaluate(asked, threshold));
    let row = |Measured { metric, class, value, rows }| (metric, class, value, rows as i64);
    TableIterator::new(measured.into_iter().map(row))
}

#[pg_extern(sql = r#"
CREATE FUNCTION confusion_matrix(
    model pg_catalog.text,
    source pg_catalog.regclass,
    target pg_catalog.name DEFAULT NULL,
    threshold double precision DEFAULT NULL
) RETURNS TABLE (
    actual pg_catalog.text,
    predicted pg_catalog.text,
    rows bigint,
    share double precision
) LANGUAGE c STABLE PARALLEL UNSAFE AS '@MODULE_PATHNAME@', '@FUNCTION_NAME@';
COMMENT ON FUNCTION confusion_matrix IS
    'how many rows of each class a model takes for which, of a table or view whose target is known';
"#, requires = ["models"])]
#[allow(clippy::type_complexity)]
fn confusion_matrix(
    model: Option<&str>,
    source: Option<pg_sys::Oid>,
    target: Option<&CStr>,
    threshold: Option<f64>,
) -> TableIterator<
    'static,
    (name!(actual, String), name!(predicted, String), name!(rows, i64), name!(share, Option<f64>)),
> {
    let cells = judged(model, source, target, None, |asked| report::confusion_matrix(asked, threshold));
    let row = |ConfusedRows { actual, predicted, rows, share }| (actual, predicted, rows as i64, share);
    TableIterator::new(cells.into_iter().map(row))
}

#[pg_extern(sql = r#"
CREATE FUNCTION threshold_curve(
    model pg_catalog.text,
    source pg_catalog.regclass,
    target pg_catalog.name DEFAULT NULL,
    points integer DEFAULT 100
) RETURNS TABLE (
    threshold double precision,
    recall double precision,
    "precision" double precision,
    false_positive_rate double precision,
    f1 double precision,
    true_positives bigint,
    false_positives bigint,
    true_negatives bigint,
    false_negatives bigint
) LANGUAGE c STABLE PARALLEL UNSAFE AS '@MODULE_PATHNAME@', '@FUNCTION_NAME@';
COMMENT ON FUNCTION threshold_curve IS
    'what thresholds of a model of two classes come to on the rows of a table or view, the largest first';
"#, requires = ["models"])]
#[allow(clippy::type_complexity)]
fn threshold_curve(
    model: Option<&str>,
    source: Option<pg_sys::Oid>,
    target: Option<&CStr>,
    points: Option<i32>,
) -> TableIterator<
    'static,
    (
        name!(threshold, f64),
        name!(recall, Option<f64>),
        name!(precision, Option<f64>),
        name!(false_positive_rate, Option<f64>),
        name!(f1, Option<f64>),
        name!(true_positives, i64),
        name!(false_positives, i64),
        name!(true_negatives, i64),
        name!(false_negatives, i64),
    ),
> {
    let steps = judged(model, source, target, None, |asked| report::threshold_curve(asked, points));
    let row = |Step { threshold, counts, .. }| {
        let whole = |rows: f64| rows as i64;
        (
            threshold,
            counts.recall(),
            counts.precision(),
            counts.false_positive_rate(),
            counts.f1(),
            whole(counts.true_positives),
            whole(counts.false_positives),
            whole(counts.true_negatives),
            whole(counts.false_negatives),
        )
    };
    TableIterator::new(steps.into_iter().map(row))
}

#[pg_extern(sql = r#"
CREATE FUNCTION best_threshold(
    model pg_catalog.text,
    source pg_catalog.regclass,
    target pg_catalog.name DEFAULT NULL,
    metric pg_catalog.text DEFAULT 'f1'
) RETURNS TABLE (
    threshold double precision,
    value double precision,
    recall double precision,
    "precision" double precision
) LANGUAGE c STABLE PARALLEL UNSAFE AS '@MODULE_PATHNAME@', '@FUNCTION_NAME@';
COMMENT ON FUNCTION best_threshold IS
    'the threshold at which a model of two classes does best on the rows of a table or view: by f1, accuracy, balanced_accuracy or mcc';
"#, requires = ["models"])]
#[allow(clippy::type_complexity)]
fn best_threshold(
    model: Option<&str>,
    source: Option<pg_sys::Oid>,
    target: Option<&CStr>,
    metric: Option<&str>,
) -> TableIterator<
    'static,
    (name!(threshold, f64), name!(value, f64), name!(recall, Option<f64>), name!(precision, Option<f64>)),
> {
    let best = |asked: &Asked<'_>| report::best_threshold(asked, required(metric, "metric")?);
    let Chosen { threshold, value, counts } = judged(model, source, target, None, best);
    TableIterator::once((threshold, value, counts.recall(), counts.precision()))
}
