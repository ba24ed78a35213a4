//! `trails.model_selection`

use std::ffi::CStr;

use pgrx::datum::Interval;
use pgrx::pg_sys;
use pgrx::prelude::*;

use super::{name_text, required};
use crate::error::Result;
use crate::protocol::Trained;
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
    tfmem text DEFAULT 'expressflow',
    k integer DEFAULT NULL,
    u integer DEFAULT NULL,
    seed bigint DEFAULT 1
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
    'ranks every architecture of a space without training, trains the best within the budget, returns the leaderboard';
"#, requires = ["catalogue"])]
fn model_selection(
    source: Option<pg_sys::Oid>,
    target: Option<&CStr>,
    budget: Option<Interval>,
    features: Option<Array<&CStr>>,
    validation: Option<pg_sys::Oid>,
    space: Option<String>,
    tfmem: Option<String>,
    k: Option<i32>,
    u: Option<i32>,
    seed: Option<i64>,
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
            features: features.map(|f| f.iter().flatten().map(name_text).collect()),
            validation,
            space: required(space, "space")?,
            tfmem: required(tfmem, "tfmem")?,
            k,
            u,
            seed: required(seed, "seed")?,
        })
    };
    let rows = asked().and_then(|asked| selection::run(&asked)).unwrap_or_else(|error| error.raise());
    let row = |(place, t): (usize, Trained)| {
        (place as i32 + 1, t.architecture, t.score, t.validation_auc, t.epochs, t.parameters, t.seconds)
    };
    TableIterator::new(rows.into_iter().enumerate().map(row))
}
