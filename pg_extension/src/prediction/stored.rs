//! The rows of `trails.models`: which one a name means, and its blob. Everything is read as the caller, in the snapshot
//! of the calling statement, so that row-level security decides and what was just deployed or dropped is right at once.

use std::cell::Cell;
use std::ffi::{c_char, c_int, CStr};
use std::thread::LocalKey;

use pgrx::pg_sys;
use pgrx::prelude::*;
use trails_model::{digest, Error, Kernels, Model};

use super::fault::error_of;
use crate::error::{shown, Result, TrailsError};
use crate::installed;
use crate::owner::caller;

/// What a caller named: a model, or the table and target whose deployed model is meant.
#[derive(Debug, Clone, Copy)]
pub struct WantedModel<'a> {
    pub model: Option<&'a str>,
    pub source: Option<pg_sys::Oid>,
    pub target: Option<&'a str>,
}

impl<'a> WantedModel<'a> {
    pub fn named(model: &'a str) -> Self {
        Self { model: Some(model), source: None, target: None }
    }
}

/// A row of the registry.
#[derive(Debug, Clone)]
pub struct StoredModel {
    pub model_id: i64,
    pub digest: [u8; 32],
    pub name: String,
    pub version: i32,
    /// That two classes are told apart at, where one was deployed with the version.
    pub threshold: Option<f64>,
}

/// Prepared once in a session, because planning would take longer than the rest of a single prediction.
type KeptPlan = Cell<pg_sys::SPIPlanPtr>;

thread_local! {
    static OWN: KeptPlan = const { Cell::new(std::ptr::null_mut()) };
    static ANY: KeptPlan = const { Cell::new(std::ptr::null_mut()) };
    static WEIGHTS: KeptPlan = const { Cell::new(std::ptr::null_mut()) };
}

/// The caller's own model of a name comes before any other's: for that one an index lookup is enough.
const OWN_QUERY: &CStr = c"SELECT m.model_id, m.digest, m.name, m.version, m.threshold FROM trails.models m \
    WHERE m.owner OPERATOR(pg_catalog.=) $3 AND m.name OPERATOR(pg_catalog.=) $1 \
      AND ($2 IS NULL OR m.version OPERATOR(pg_catalog.=) $2) \
    ORDER BY (m.state OPERATOR(pg_catalog.=) 'deployed') DESC, m.version DESC LIMIT 1";
/// All rules, and all complaints.
const ANY_QUERY: &CStr =
    c"SELECT m.model_id, m.digest, m.name, m.version, m.threshold FROM trails.find_model($1, $2::pg_catalog.regclass, $3::pg_catalog.name) m";
const WEIGHTS_QUERY: &CStr = c"SELECT m.weights FROM trails.models m WHERE m.model_id OPERATOR(pg_catalog.=) $1";

/// Bytes of a role's name, a model's and a version, and more: a search through megabytes cannot be cancelled.
const LONGEST: usize = 2_000;

/// Which model is meant; an error with a hint if there is none, or if the caller may not use it.
pub fn find(wanted: &WantedModel<'_>) -> Result<StoredModel> {
    installed::check()?;
    if let Some(model) = wanted.model.filter(|model| model.len() > LONGEST) {
        return Err(missing(model));
    }
    Spi::connect(|_| {
        if let Some(model) = wanted.model {
            let (name, version) = parse_name(model);
            if let Some(version) = version {
                let arguments = [
                    (pg_sys::TEXTOID, name.into_datum()),
                    (pg_sys::INT4OID, version.into_datum()),
                    (pg_sys::OIDOID, caller().into_datum()),
                ];
                if let Some(found) = first_row(&OWN, OWN_QUERY, &arguments, found_in)? {
                    return found;
                }
            }
        }
        let arguments = [
            (pg_sys::TEXTOID, wanted.model.into_datum()),
            (pg_sys::OIDOID, wanted.source.into_datum()),
            (pg_sys::TEXTOID, wanted.target.into_datum()),
        ];
        let found = first_row(&ANY, ANY_QUERY, &arguments, found_in)?;
        found.unwrap_or_else(|| Err(missing(wanted.model.unwrap_or_default())))
    })
}

/// The whole model, compared with its digest and checked.
pub fn read(found: &StoredModel) -> Result<Model> {
    let parsed = |row: &Row| {
        let weights = row.get(1).ok_or_else(|| missing(&found.name))?;
        // SAFETY: a bytea of the row that was just fetched, in the SPI connection's memory, as a copy of it is that was out
        // of line; both outlive what is read here.
        let weights = unsafe {
            let plain = pg_sys::pg_detoast_datum_packed(weights.cast_mut_ptr());
            std::slice::from_raw_parts(pgrx::vardata_any(plain).cast(), pgrx::varsize_any_exhdr(plain))
        };
        // It unwinds if the statement has been cancelled.
        let pause = || {
            pgrx::check_for_interrupts!();
        };
        if digest(weights, &pause) != found.digest {
            return Err(corrupted(found, "Their SHA-256 is not the one that was stored with them."));
        }
        Model::parse_for(weights, Kernels::best(), &pause).map_err(|error| match error {
            Error::Memory(_) => error_of(error),
            error => corrupted(found, &format!("{error}.")),
        })
    };
    Spi::connect(|_| {
        let arguments = [(pg_sys::INT8OID, found.model_id.into_datum())];
        let model = first_row(&WEIGHTS, WEIGHTS_QUERY, &arguments, parsed)?;
        model.unwrap_or_else(|| Err(missing(&found.name)))
    })
}

fn missing(name: &str) -> TrailsError {
    TrailsError::new(PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT, format!("there is no model \"{}\"", shown(name)))
        .hint("SELECT name, version, state FROM trails.models shows those that you may use.")
}

fn corrupted(found: &StoredModel, detail: &str) -> TrailsError {
    let message = format!("the weights of model \"{}\" version {} are corrupted", found.name, found.version);
    TrailsError::new(PgSqlErrorCode::ERRCODE_DATA_CORRUPTED, message)
        .detail(detail)
        .hint("Restore the row from a backup, or train the model again.")
}

/// Name and version; a version of None within Some stands for any. None for a version that no row can have.
fn parse_name(model: &str) -> (&str, Option<Option<i32>>) {
    match model.rsplit_once('@') {
        Some((name, digits)) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
            (name, digits.parse().ok().map(Some))
        }
        _ => (model, Some(None)),
    }
}

/// The one row that a query returned.
struct Row {
    tuple: pg_sys::HeapTuple,
    shape: pg_sys::TupleDesc,
}

impl Row {
    fn get(&self, column: c_int) -> Option<pg_sys::Datum> {
        let mut is_null = false;
        // SAFETY: the row is of the SPI connection under way, and the shape is its descriptor; a column that there is
        // not is NULL.
        let datum = unsafe { pg_sys::SPI_getbinval(self.tuple, self.shape, column, &mut is_null) };
        (!is_null).then_some(datum)
    }
}

fn found_in(row: &Row) -> Result<StoredModel> {
    // SAFETY: the query selects a text there, which is not NULL; what is returned is a copy.
    let name: Option<String> = row.get(3).and_then(|datum| unsafe { String::from_datum(datum, false) });
    // SAFETY: the same of a bytea.
    let digest: Option<Vec<u8>> = row.get(2).and_then(|datum| unsafe { Vec::from_datum(datum, false) });
    let mut found = StoredModel {
        model_id: row.get(1).map_or(0, |datum| datum.value() as i64),
        digest: [0; 32],
        name: name.unwrap_or_default(),
        version: row.get(4).map_or(0, |datum| datum.value() as i32),
        threshold: row.get(5).map(|datum| f64::from_bits(datum.value() as u64)),
    };
    match digest.unwrap_or_default().try_into() {
        Ok(digest) => found.digest = digest,
        Err(_) => return Err(corrupted(&found, "Their digest is not a SHA-256.")),
    }
    Ok(found)
}

/// Runs a kept plan, which is made now if this is the first time, and hands its first row on. Within an SPI connection.
fn first_row<T>(
    plan: &'static LocalKey<KeptPlan>,
    query: &CStr,
    arguments: &[(pg_sys::Oid, Option<pg_sys::Datum>)],
    use_row: impl FnOnce(&Row) -> T,
) -> Result<Option<T>> {
    let mut values = [pg_sys::Datum::null(); 3];
    let mut nulls = [b'n' as c_char; 3];
    for (place, (_, value)) in arguments.iter().enumerate() {
        if let Some(value) = value {
            (values[place], nulls[place]) = (*value, b' ' as c_char);
        }
    }
    // SAFETY: within an SPI connection. There are as many types, values and signs of NULL as the query has parameters;
    // a kept plan lives as long as the session, and is kept for this query alone.
    let status = unsafe {
        let mut kept = plan.get();
        if kept.is_null() {
            let mut types: Vec<pg_sys::Oid> = arguments.iter().map(|(type_oid, _)| *type_oid).collect();
            kept = pg_sys::SPI_prepare(query.as_ptr(), types.len() as c_int, types.as_mut_ptr());
            if kept.is_null() || pg_sys::SPI_keepplan(kept) != 0 {
                return Err(TrailsError::new(PgSqlErrorCode::ERRCODE_INTERNAL_ERROR, "the query cannot be prepared"));
            }
            plan.set(kept);
        }
        // Read-only: in the caller's snapshot, and allowed in a parallel worker.
        pg_sys::SPI_execute_plan(kept, values.as_mut_ptr(), nulls.as_ptr(), true, 1)
    };
    Spi::check_status(status)?;
    // SAFETY: the table is of the query that has just run, and has a row; it is looked at before another query runs,
    // because `use_row` is done with it here.
    unsafe {
        let table = pg_sys::SPI_tuptable;
        if table.is_null() || pg_sys::SPI_processed == 0 {
            return Ok(None);
        }
        Ok(Some(use_row(&Row { tuple: *(*table).vals, shape: (*table).tupdesc })))
    }
}

#[cfg(test)]
mod tests {
    use super::parse_name;

    #[test]
    fn a_name_may_end_in_a_version() {
        assert_eq!(parse_name("churn"), ("churn", Some(None)));
        assert_eq!(parse_name("churn@3"), ("churn", Some(Some(3))));
        assert_eq!(parse_name("a@1@22"), ("a@1", Some(Some(22))));
        assert_eq!(parse_name("a@b"), ("a@b", Some(None)));
        assert_eq!(parse_name("a@"), ("a@", Some(None)));
        assert_eq!(parse_name("a@99999999999"), ("a", None));
    }
}
