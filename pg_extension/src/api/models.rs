//! `trails.export_model`, `trails.import_model`, `trails.keep_model`; the rest of the registry is SQL, in sql/install/models.sql

use pgrx::prelude::*;

use super::required;
use crate::error::Result;
use crate::{models, unregistered};

#[pg_extern(sql = r#"
CREATE FUNCTION convert_model(weights bytea, format text) RETURNS bytea
    LANGUAGE c STABLE PARALLEL UNSAFE AS '@MODULE_PATHNAME@', '@FUNCTION_NAME@';
COMMENT ON FUNCTION convert_model IS 'a model''s weights in another format; what trails.export_model calls';

CREATE FUNCTION export_model(model text, format text DEFAULT 'safetensors') RETURNS bytea
    LANGUAGE sql STABLE PARALLEL UNSAFE
    BEGIN ATOMIC
        SELECT convert_model(checked_weights(m), format) FROM find_model(COALESCE(model, '')) m;
    END;
COMMENT ON FUNCTION export_model IS 'a model as a file''s content: safetensors, with the encoder in its header, or onnx';
"#, requires = ["models"])]
fn convert_model(weights: Option<&[u8]>, format: Option<&str>) -> Vec<u8> {
    let converted =
        || -> Result<Vec<u8>> { models::convert(required(weights, "weights")?, required(format, "format")?) };
    converted().unwrap_or_else(|error| error.raise())
}

#[pg_extern(sql = r#"
CREATE FUNCTION import_model(
    name text,
    weights bytea,
    source regclass DEFAULT NULL,
    deploy boolean DEFAULT false
) RETURNS text LANGUAGE c VOLATILE PARALLEL UNSAFE AS '@MODULE_PATHNAME@', '@FUNCTION_NAME@';
COMMENT ON FUNCTION import_model IS
    'takes a model in that trails.export_model gave out, as the next version of a name; for superusers and whom they grant it';
"#, requires = ["models"])]
fn import_model(
    name: Option<&str>,
    weights: Option<&[u8]>,
    source: Option<pg_sys::Oid>,
    deploy: Option<bool>,
) -> String {
    let imported = || -> Result<String> {
        let (name, weights) = (required(name, "name")?, required(weights, "weights")?);
        let source = source.map(crate::reader::source::Source::describe).transpose()?.map(|source| source.name);
        let model = models::store(name, None, source.as_deref(), weights)?;
        if required(deploy, "deploy")? {
            Spi::run_with_args("SELECT FROM trails.deploy($1)", &[model.clone().into()])?;
        }
        Ok(model)
    };
    imported().unwrap_or_else(|error| error.raise())
}

#[pg_extern(sql = r#"
CREATE FUNCTION keep_model(
    run bigint,
    name pg_catalog.text DEFAULT NULL
) RETURNS pg_catalog.text LANGUAGE c VOLATILE PARALLEL UNSAFE AS '@MODULE_PATHNAME@', '@FUNCTION_NAME@';
COMMENT ON FUNCTION keep_model IS
    'keeps the model of a run of yours that could not be kept when the run ended, without training it again';
"#, requires = ["models"])]
fn keep_model(run: Option<i64>, name: Option<&str>) -> String {
    let kept = || -> Result<String> { unregistered::keep(required(run, "run")?, name) };
    kept().unwrap_or_else(|error| error.raise())
}
