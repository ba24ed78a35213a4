//! The registry's rows: a blob is read by the package, which knows what is in it, and written as the caller.

use pgrx::datum::DatumWithOid;
use pgrx::prelude::*;
use pyo3::types::{PyAnyMethods, PyBytes};

use crate::error::{Result, TrailsError};
use crate::python;

const LONGEST_NAME: usize = 200;

/// What a blob says of itself; the JSON texts are columns and fields as objects, and metrics.
struct Described {
    task: String,
    architecture: String,
    target: String,
    columns: String,
    classes: Option<Vec<String>>,
    fields: String,
    metrics: String,
}

/// Refuses a name that no model can have, before anything is trained for it.
pub fn check_name(name: &str) -> Result<()> {
    let digits = name.rsplit_once('@').is_some_and(|(_, v)| !v.is_empty() && v.bytes().all(|b| b.is_ascii_digit()));
    if name.is_empty() || name.chars().count() > LONGEST_NAME || digits {
        return Err(TrailsError::argument(format!("a model cannot be called \"{name}\""))
            .hint("A name has 1 to 200 characters and does not end in @ and a number, which names a version."));
    }
    Ok(())
}

/// How often the next version of a name is looked for before other sessions that keep models of it are blamed.
const ATTEMPTS: usize = 100;

/// Keeps a model as the next version of its name; returns name and version. No lock is taken that another role could
/// hold: sessions that store the same version at once find that out, and the later one takes the next.
pub fn store(name: &str, run: Option<i64>, source: Option<&str>, weights: &[u8]) -> Result<String> {
    check_name(name)?;
    let described = describe(weights)?;
    let arguments: Vec<DatumWithOid> = vec![
        name.into(),
        run.into(),
        described.task.into(),
        described.architecture.into(),
        source.into(),
        described.target.into(),
        described.columns.into(),
        described.classes.into(),
        described.fields.into(),
        described.metrics.into(),
        weights.into(),
    ];
    for _ in 0..ATTEMPTS {
        pgrx::check_for_interrupts!();
        let version = Spi::connect_mut(|client| -> Result<Option<i32>> {
            let stored = client.update(
                "INSERT INTO trails.models \
                    (name, version, run_id, task, architecture, source, target, columns, classes, encoder, metrics, \
                     digest, weights) \
                 SELECT $1, COALESCE(pg_catalog.max(m.version), 0) OPERATOR(pg_catalog.+) 1, $2, $3, $4, $5, \
                    $6::pg_catalog.name, $7::pg_catalog.jsonb, $8, $9::pg_catalog.jsonb, $10::pg_catalog.jsonb, \
                    pg_catalog.sha256($11), $11 \
                 FROM trails.models m \
                 WHERE m.owner OPERATOR(pg_catalog.=) CURRENT_USER AND m.name OPERATOR(pg_catalog.=) $1 \
                 ON CONFLICT DO NOTHING RETURNING version",
                Some(1),
                &arguments,
            )?;
            Ok(if stored.is_empty() { None } else { stored.first().get_one::<i32>()? })
        })?;
        if let Some(version) = version {
            return Ok(format!("{name}@{version}"));
        }
    }
    Err(TrailsError::new(
        PgSqlErrorCode::ERRCODE_T_R_SERIALIZATION_FAILURE,
        format!("other sessions kept storing versions of \"{name}\""),
    )
    .hint("Try again, or store it under another name."))
}

fn describe(weights: &[u8]) -> Result<Described> {
    python::call(|bridge| {
        let blob = PyBytes::new(bridge.py(), weights);
        type Parts = (String, String, String, String, Option<Vec<String>>, String, String);
        let parts: Parts = bridge.call_method1("describe_model", (blob,))?.extract()?;
        let (task, architecture, target, columns, classes, fields, metrics) = parts;
        Ok(Described { task, architecture, target, columns, classes, fields, metrics })
    })
}

/// The model in a format that other programs read.
pub fn convert(weights: &[u8], format: &str) -> Result<Vec<u8>> {
    python::call(|bridge| {
        let blob = PyBytes::new(bridge.py(), weights);
        bridge.call_method1("export_model", (blob, format))?.extract()
    })
}

#[cfg(test)]
mod tests {
    use super::check_name;

    #[test]
    fn names_that_would_name_a_version_are_refused() {
        for name in ["", "a@1", "@0", &"x".repeat(201)] {
            assert!(check_name(name).is_err(), "{name}");
        }
        for name in ["a", "a@", "a@b", "1@2x", "ä\"' ;", &"x".repeat(200)] {
            assert!(check_name(name).is_ok(), "{name}");
        }
    }
}
