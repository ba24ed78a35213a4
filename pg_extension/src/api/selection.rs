//! `trails.model_selection`

use std::ffi::CStr;

use pgrx::datum::Interval;
use pgrx::pg_sys;
use pgrx::prelude::*;

use super::{metrics_of, name_text, names_of, required};
use crate::error::Result;
use crate::protocol::Trained;
use crate::rows::Scoring;
use crate::selection::{self, Asked};

#[allow(clippy::too_many_arguments, clippy::type_complexity)]
#[pg_extern(sql = r#"
CREATE FUNCTION model_selection(
    source regclass,
    target name,
    budget interval DEFAULT '60 s',
    features name[] DEFAULT NULL,
    validation regclass DEFAULT NULL,
    space text DEFAULT 'mlp4x20',
    tfmem tfmem DEFAULT 'expressflow',
    n integer DEFAULT NULL,
    k integer DEFAULT NULL,
    u integer DEFAULT NULL,
    seed bigint DEFAULT 1,
    batch_size integer DEFAULT 32
) RETURNS TABLE (
    rank integer,
    architecture text,
    score double precision,
    validation_auc double precision,
    epochs integer,
    parameters bigint,
    seconds double precision
) LANGUAGE c VOLATILE PARALLEL UNSAFE AS '@MODULE_PATHNAME@', '@FUNCTION_NAME@';
COMMENT ON FUNCTION model_selection IS
    'ranks the architectures of a space without training, trains the best within the budget, returns the leaderboard';
"#, requires = ["catalogue", "tfmem_type"])]
fn model_selection(
    source: Option<pg_sys::Oid>,
    target: Option<&CStr>,
    budget: Option<Interval>,
    features: Option<Array<&CStr>>,
    validation: Option<pg_sys::Oid>,
    space: Option<String>,
    tfmem: Option<String>,
    n: Option<i32>,
    k: Option<i32>,
    u: Option<i32>,
    seed: Option<i64>,
    batch_size: Option<i32>,
) -> TableIterator<
    'static,
    (
        name!(rank, i32),
        name!(architecture, String),
        name!(score, f64),
        name!(validation_auc, f64),
        name!(epochs, i32),
        name!(parameters, Option<i64>),
        name!(seconds, f64),
    ),
> {
    let asked = || -> Result<Asked> {
        Ok(Asked {
            source: required(source, "source")?,
            target: name_text(required(target, "target")?),
            budget: required(budget, "budget")?.as_micros() as f64 / 1e6,
            features: features.map(names_of),
            validation,
            scoring: Scoring {
                space: required(space, "space")?,
                tfmem: metrics_of(tfmem)?,
                n,
                batch_size: required(batch_size, "batch_size")?,
                seed: required(seed, "seed")?,
            },
            k,
            u,
        })
    };
    let rows = asked().and_then(|asked| selection::run(&asked)).unwrap_or_else(|error| error.raise());
    let row = |(place, t): (usize, Trained)| {
        (place as i32 + 1, t.architecture, t.score, t.validation_auc, t.epochs, t.parameters, t.seconds)
    };
    TableIterator::new(rows.into_iter().enumerate().map(row))
}
