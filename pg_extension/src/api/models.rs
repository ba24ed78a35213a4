//! What keeps, changes, gives out and takes in models; what finds them is SQL, in sql/install/models.sql

use std::ffi::CStr;

use pgrx::prelude::*;

use super::{name_text, required};
use crate::error::{Result, TrailsError};
use crate::models::Trained;
use crate::registry::{self, Deployed};
use crate::{identity, models, owner, unregistered};

/// A model that must be named.
fn named<'a>(model: Option<&'a str>, argument: &str) -> Result<&'a str> {
    let hint =
        |error: TrailsError| error.hint("SELECT name, version, state FROM trails.models shows those that you may use.");
    required(model, argument).map_err(hint)
}

#[pg_extern(sql = r#"
CREATE FUNCTION deploy(model pg_catalog.text, threshold double precision DEFAULT NULL)
    RETURNS TABLE (name pg_catalog.text, version integer, replaced integer)
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS '@MODULE_PATHNAME@', '@FUNCTION_NAME@';
COMMENT ON FUNCTION deploy IS
    'makes a version, the latest if none is named, the one that predictions by the model''s name use from now on; with a threshold from which two classes are told apart';
"#, requires = ["models"])]
fn deploy(
    model: Option<&str>,
    threshold: Option<f64>,
) -> TableIterator<'static, (name!(name, String), name!(version, i32), name!(replaced, Option<i32>))> {
    let deployed = || -> Result<Deployed> { registry::deploy(named(model, "model")?, threshold) };
    let Deployed { name, version, replaced } = deployed().unwrap_or_else(|error| error.raise());
    TableIterator::once((name, version, replaced))
}

#[pg_extern(sql = r#"
CREATE FUNCTION rollback(name pg_catalog.text) RETURNS TABLE (version integer, replaced integer)
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS '@MODULE_PATHNAME@', '@FUNCTION_NAME@';
COMMENT ON FUNCTION rollback IS 'deploys the version that was deployed before the present one';
"#, requires = ["models"])]
fn rollback(name: Option<&str>) -> TableIterator<'static, (name!(version, i32), name!(replaced, Option<i32>))> {
    let deployed = || -> Result<Deployed> { registry::rollback(named(name, "name")?) };
    let Deployed { version, replaced, .. } = deployed().unwrap_or_else(|error| error.raise());
    TableIterator::once((version, replaced))
}

#[pg_extern(sql = r#"
CREATE FUNCTION drop_model(model pg_catalog.text, all_versions boolean DEFAULT false) RETURNS integer
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS '@MODULE_PATHNAME@', '@FUNCTION_NAME@';
COMMENT ON FUNCTION drop_model IS 'deletes a model, or all versions of it; returns how many';
"#, requires = ["models"])]
fn drop_model(model: Option<&str>, all_versions: Option<bool>) -> i32 {
    let dropped = || -> Result<usize> {
        let hint = |error: TrailsError| error.hint("true drops every version of a model, false the one that is named.");
        registry::drop(named(model, "model")?, required(all_versions, "all_versions").map_err(hint)?)
    };
    dropped().unwrap_or_else(|error| error.raise()) as i32
}

#[pg_extern(sql = r#"
CREATE FUNCTION grant_model(name pg_catalog.text, grantee pg_catalog.name) RETURNS pg_catalog.void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS '@MODULE_PATHNAME@', '@FUNCTION_NAME@';
COMMENT ON FUNCTION grant_model IS 'lets a role, or public, predict with all versions of a model; it needs trails_user too';
"#, requires = ["models"])]
fn grant_model(name: Option<&str>, grantee: Option<&CStr>) {
    let granted = || -> Result<()> { registry::grant(named(name, "name")?, &name_text(required(grantee, "grantee")?)) };
    granted().unwrap_or_else(|error| error.raise())
}

#[pg_extern(sql = r#"
CREATE FUNCTION revoke_model(name pg_catalog.text, grantee pg_catalog.name) RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS '@MODULE_PATHNAME@', '@FUNCTION_NAME@';
COMMENT ON FUNCTION revoke_model IS 'takes back what trails.grant_model granted; false if nothing was';
"#, requires = ["models"])]
fn revoke_model(name: Option<&str>, grantee: Option<&CStr>) -> bool {
    let revoked =
        || -> Result<bool> { registry::revoke(named(name, "name")?, &name_text(required(grantee, "grantee")?)) };
    revoked().unwrap_or_else(|error| error.raise())
}

#[pg_extern(sql = r#"
CREATE FUNCTION relation_identity(source pg_catalog.regclass) RETURNS pg_catalog.text
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS '@MODULE_PATHNAME@', '@FUNCTION_NAME@';
COMMENT ON FUNCTION relation_identity IS 'what tells a relation from all others, in any database: cluster, database and OID';
"#)]
fn relation_identity(source: pg_sys::Oid) -> String {
    identity::of(source)
}

#[pg_extern(sql = r#"
CREATE FUNCTION relation_exists(identity pg_catalog.text) RETURNS boolean
    LANGUAGE c STABLE PARALLEL SAFE AS '@MODULE_PATHNAME@', '@FUNCTION_NAME@';
COMMENT ON FUNCTION relation_exists IS 'whether a relation of that identity is in this database';
"#)]
fn relation_exists(identity: Option<&str>) -> bool {
    identity.is_some_and(|identity| identity::relation(identity).is_some())
}

#[pg_extern(sql = r#"
CREATE FUNCTION convert_model(weights pg_catalog.bytea, format pg_catalog.text) RETURNS pg_catalog.bytea
    LANGUAGE c STABLE PARALLEL UNSAFE AS '@MODULE_PATHNAME@', '@FUNCTION_NAME@';
COMMENT ON FUNCTION convert_model IS 'a model''s weights in another format; what trails.export_model calls';

CREATE FUNCTION export_model(model pg_catalog.text, format pg_catalog.text DEFAULT 'safetensors') RETURNS pg_catalog.bytea
    LANGUAGE sql STABLE PARALLEL UNSAFE
    BEGIN ATOMIC
        SELECT trails.convert_model(trails.checked_weights(m), format) FROM trails.find_model(COALESCE(model, '')) m;
    END;
COMMENT ON FUNCTION export_model IS 'a model as a file''s content: safetensors, with the encoder in its header; onnx, which takes a table''s columns; or onnx_encoded';
"#, requires = ["models"])]
fn convert_model(weights: Option<&[u8]>, format: Option<&str>) -> Vec<u8> {
    let converted =
        || -> Result<Vec<u8>> { models::convert(required(weights, "weights")?, required(format, "format")?) };
    converted().unwrap_or_else(|error| error.raise())
}

#[pg_extern(sql = r#"
CREATE FUNCTION import_model(
    name pg_catalog.text,
    weights pg_catalog.bytea,
    source pg_catalog.regclass DEFAULT NULL,
    deploy boolean DEFAULT false
) RETURNS pg_catalog.text LANGUAGE c VOLATILE PARALLEL UNSAFE AS '@MODULE_PATHNAME@', '@FUNCTION_NAME@';
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
        owner::check_writable("a model cannot be imported")?;
        let described = source.map(crate::reader::source::Source::describe).transpose()?;
        let on = described
            .zip(source)
            .map(|(described, source)| Trained { source: described.name, relation: Some(identity::of(source)) });
        let deploy = required(deploy, "deploy")?;
        if deploy {
            registry::lock_own(name)?;
        }
        let model = models::store(name, None, on, weights)?;
        if deploy {
            registry::deploy(&model, None)?;
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
