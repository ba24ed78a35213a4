//! What changes rows of the registry: storing, deploying, rolling back, dropping, granting. Who may do what is decided as
//! the caller; the rows are written as their tables' owner.

use pgrx::datum::DatumWithOid;
use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::error::{shown, Result, TrailsError};
use crate::owner::{acting, caller, check_writable, first, is_superuser, name_of, written};
use crate::subtransaction;

/// A version of a model that the caller may change; its name is locked until the end of the transaction.
pub struct Own {
    id: i64,
    owner: pg_sys::Oid,
    pub name: String,
    pub version: i32,
}

/// What deploying or rolling back came to.
pub struct Deployed {
    pub name: String,
    pub version: i32,
    pub replaced: Option<i32>,
}

const OWN: &str = "SELECT m.model_id, m.owner::pg_catalog.oid, m.name, m.version FROM trails.find_model($1) m";

impl Own {
    /// The model that a name means, which must be the caller's; superusers may change everybody's.
    pub fn find(model: &str) -> Result<Self> {
        let found = Spi::connect(|client| -> Result<Self> {
            let rows = client.select(OWN, Some(1), &[model.into()])?.first();
            let missing = || gone(model);
            Ok(Self {
                id: rows.get(1)?.ok_or_else(missing)?,
                owner: rows.get(2)?.ok_or_else(missing)?,
                name: rows.get(3)?.ok_or_else(missing)?,
                version: rows.get(4)?.ok_or_else(missing)?,
            })
        })?;
        if found.owner != caller() && !is_superuser(caller()) {
            let message = format!("the model \"{}\" belongs to {}", shown(model), name_of(found.owner));
            return Err(TrailsError::new(PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE, message)
                .hint("Only its owner, or a superuser, may change it."));
        }
        check_writable("a model cannot be changed")?;
        lock(found.owner, &found.name)?;
        // Once more: another session may have changed it while this one waited.
        let there = "SELECT m.model_id FROM trails.models m WHERE m.model_id OPERATOR(pg_catalog.=) $1";
        acting(|| first::<i64>(there, &[found.id.into()]))?.ok_or_else(|| gone(model))?;
        Ok(found)
    }

    fn of_name(&self) -> [DatumWithOid<'_>; 2] {
        [self.owner.into(), self.name.as_str().into()]
    }

    fn deployed(&self) -> Result<Option<i64>> {
        let query = "SELECT m.model_id FROM trails.models m WHERE m.owner OPERATOR(pg_catalog.=) $1 \
                     AND m.name OPERATOR(pg_catalog.=) $2 AND m.state OPERATOR(pg_catalog.=) 'deployed'";
        first(query, &self.of_name())
    }
}

/// Locks a name of the caller's, before a model is stored that is deployed at once: whoever waits for a version that is not
/// finished must not hold the name.
pub fn lock_own(name: &str) -> Result<()> {
    lock(caller(), name)
}

/// Waits until no other transaction deploys models of that name. No lock of this kind can be taken from SQL, so
/// that nobody else can hold one.
fn lock(owner: pg_sys::Oid, name: &str) -> Result<()> {
    let query = "SELECT 'trails.models'::pg_catalog.regclass::pg_catalog.oid";
    let registry = first::<pg_sys::Oid>(query, &[])?.unwrap_or(pg_sys::InvalidOid);
    let hash = xxhash_rust::xxh3::xxh3_64(format!("{}/{name}", owner.to_u32()).as_bytes());
    let (object, part) = (pg_sys::Oid::from(hash as u32), (hash >> 32) as u16);
    // SAFETY: within the calling transaction, which releases the lock; the object need not be one.
    unsafe { pg_sys::LockDatabaseObject(registry, object, part, pg_sys::ExclusiveLock as pg_sys::LOCKMODE) };
    Ok(())
}

fn gone(model: &str) -> TrailsError {
    let message = format!("the model \"{}\" has just been dropped", shown(model));
    TrailsError::new(PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT, message)
}

/// Columns of a new row but for its owner, name and version, in the order of their parameters from $3 on.
pub struct NewModel<'a> {
    pub run: Option<i64>,
    pub task: String,
    pub architecture: String,
    pub source: Option<String>,
    pub relation: Option<String>,
    pub target: String,
    pub columns: String,
    pub classes: Option<Vec<String>>,
    pub encoder: String,
    pub metrics: String,
    pub weights: &'a [u8],
}

/// How often the next version of a name is looked for before other sessions that store models of it are blamed.
const ATTEMPTS: usize = 100;

/// Adds a row as the caller's next version of a name; returns the version. Sessions that store the same version at once
/// find that out, and the later one takes the next: one that has deployed the name, and is not finished, keeps nobody waiting.
pub fn insert(name: &str, model: NewModel<'_>) -> Result<i32> {
    let owner = caller();
    let arguments: Vec<DatumWithOid> = vec![
        owner.into(),
        name.into(),
        model.run.into(),
        model.task.into(),
        model.architecture.into(),
        model.source.into(),
        model.relation.into(),
        model.target.into(),
        model.columns.into(),
        model.classes.into(),
        model.encoder.into(),
        model.metrics.into(),
        model.weights.into(),
    ];
    let statement = "INSERT INTO trails.models (owner, name, version, run_id, task, architecture, source, relation, \
            target, columns, classes, encoder, metrics, made_of, digest, weights) \
         SELECT $1, $2, COALESCE(pg_catalog.max(m.version), 0) OPERATOR(pg_catalog.+) 1, $3, $4, $5, $6, $7, \
            $8::pg_catalog.name, $9::pg_catalog.jsonb, $10, $11::pg_catalog.jsonb, $12::pg_catalog.jsonb, \
            (SELECT pg_catalog.jsonb_strip_nulls(pg_catalog.to_jsonb(r) OPERATOR(pg_catalog.-) \
                ARRAY['owner', 'relation', 'validation_relation']) \
             FROM trails.runs r WHERE r.run_id OPERATOR(pg_catalog.=) $3), \
            pg_catalog.sha256($13), $13 \
         FROM trails.models m WHERE m.owner OPERATOR(pg_catalog.=) $1 AND m.name OPERATOR(pg_catalog.=) $2 \
         ON CONFLICT DO NOTHING RETURNING version";
    for _ in 0..ATTEMPTS {
        pgrx::check_for_interrupts!();
        if let Some(version) = acting(|| first(statement, &arguments))? {
            return Ok(version);
        }
    }
    Err(TrailsError::new(
        PgSqlErrorCode::ERRCODE_T_R_SERIALIZATION_FAILURE,
        format!("other sessions kept storing versions of \"{name}\""),
    )
    .hint("Try again, or store it under another name."))
}

/// Refuses a threshold that is no probability, or for a model that does not predict two classes.
pub fn check_threshold(task: &str, threshold: f64) -> Result<()> {
    if task != "binary" {
        return Err(TrailsError::argument("a threshold tells two classes apart, and the model does not predict two")
            .hint("Leave threshold out."));
    }
    if !(0.0..=1.0).contains(&threshold) {
        return Err(TrailsError::argument(format!("a threshold is a probability from 0 to 1, not {threshold}"))
            .hint("trails.best_threshold finds one."));
    }
    Ok(())
}

/// Whether a name says which version it means; a role's name before it may hold anything.
fn names_version(model: &str) -> bool {
    model.rsplit('/').next().is_some_and(|name| name.contains('@'))
}

/// Changes which version is deployed. A transaction with one snapshot for all does not see what others have deployed since.
fn deploying(work: impl FnOnce() -> Result<Deployed>) -> Result<Deployed> {
    subtransaction::attempt(|| acting(work)).map_err(|error| match error.code {
        PgSqlErrorCode::ERRCODE_UNIQUE_VIOLATION => TrailsError::new(
            PgSqlErrorCode::ERRCODE_T_R_SERIALIZATION_FAILURE,
            "another session has deployed a version of the model meanwhile",
        )
        .hint("Run the transaction again."),
        _ => error,
    })
}

/// Deploys a version of the caller's in place of `replaced`, or of none; None if another one is deployed by now.
pub fn deploy_instead(model: &str, replaced: Option<i32>) -> Result<Option<Deployed>> {
    let query = "SELECT m.version FROM trails.models m WHERE m.owner OPERATOR(pg_catalog.=) $1 \
                 AND m.name OPERATOR(pg_catalog.=) $2 AND m.state OPERATOR(pg_catalog.=) 'deployed'";
    let chosen = Own::find(model)?;
    let now = acting(|| first::<i32>(query, &chosen.of_name()))?;
    match now == replaced {
        // The name is locked until the transaction ends.
        true => deploy(model, None).map(Some),
        false => Ok(None),
    }
}

/// Deploys a version, or the latest if none is named; with a threshold, if one is given, in place of what it had.
pub fn deploy(model: &str, threshold: Option<f64>) -> Result<Deployed> {
    let mut chosen = Own::find(model)?;
    deploying(|| {
        if !names_version(model) {
            let latest = "SELECT m.model_id FROM trails.models m WHERE m.owner OPERATOR(pg_catalog.=) $1 \
                 AND m.name OPERATOR(pg_catalog.=) $2 ORDER BY m.version DESC LIMIT 1";
            chosen.id = first(latest, &chosen.of_name())?.ok_or_else(|| gone(model))?;
        }
        if let Some(threshold) = threshold {
            let task = "SELECT m.task FROM trails.models m WHERE m.model_id OPERATOR(pg_catalog.=) $1";
            check_threshold(&first::<String>(task, &[chosen.id.into()])?.ok_or_else(|| gone(model))?, threshold)?;
        }
        let replaced = archive(&chosen, false)?;
        let statement = "UPDATE trails.models m SET state = 'deployed', deployed = pg_catalog.clock_timestamp(), \
                         threshold = COALESCE($2, m.threshold) \
                         WHERE m.model_id OPERATOR(pg_catalog.=) $1 RETURNING m.version";
        let version = first(statement, &[chosen.id.into(), threshold.into()])?.ok_or_else(|| gone(model))?;
        Ok(Deployed { name: chosen.name.clone(), version, replaced })
    })
}

/// Archives the version that is deployed, unless it is `chosen` itself; returns which one it was. One that is rolled back
/// leaves the history, so that another rollback goes further back.
fn archive(chosen: &Own, rolled_back: bool) -> Result<Option<i32>> {
    let statement =
        "UPDATE trails.models m SET state = 'archived', deployed = CASE WHEN $4 THEN NULL ELSE m.deployed END \
                     WHERE m.owner OPERATOR(pg_catalog.=) $1 AND m.name OPERATOR(pg_catalog.=) $2 \
                       AND m.state OPERATOR(pg_catalog.=) 'deployed' AND m.model_id OPERATOR(pg_catalog.<>) $3 \
                     RETURNING m.version";
    let [owner, name] = chosen.of_name();
    first(statement, &[owner, name, chosen.id.into(), rolled_back.into()])
}

/// Deploys the version that was deployed before the present one.
pub fn rollback(name: &str) -> Result<Deployed> {
    let not_in_state = |message: String, hint: &str| {
        TrailsError::new(PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, message).hint(hint)
    };
    let mut chosen = Own::find(name)?;
    deploying(|| {
        if chosen.deployed()? != Some(chosen.id) {
            let message = format!("no version of \"{}\" is deployed", shown(name));
            return Err(not_in_state(message, "trails.deploy(model) deploys one."));
        }
        let earlier = "SELECT m.model_id FROM trails.models m WHERE m.owner OPERATOR(pg_catalog.=) $1 \
             AND m.name OPERATOR(pg_catalog.=) $2 AND m.deployed IS NOT NULL \
             AND m.model_id OPERATOR(pg_catalog.<>) $3 ORDER BY m.deployed DESC LIMIT 1";
        let [owner, of] = chosen.of_name();
        let Some(earlier) = first(earlier, &[owner, of, chosen.id.into()])? else {
            let message = format!("no version of \"{}\" was deployed before version {}", shown(name), chosen.version);
            return Err(not_in_state(message, "trails.deploy('name@version') deploys any version."));
        };
        chosen.id = earlier;
        let replaced = archive(&chosen, true)?;
        let statement = "UPDATE trails.models m SET state = 'deployed' \
                         WHERE m.model_id OPERATOR(pg_catalog.=) $1 RETURNING m.version";
        let version = first(statement, &[chosen.id.into()])?.ok_or_else(|| gone(name))?;
        Ok(Deployed { name: chosen.name.clone(), version, replaced })
    })
}

/// Deletes a version, or all of a name; returns how many. What was granted ends with the last one.
pub fn drop(model: &str, all_versions: bool) -> Result<usize> {
    let chosen = Own::find(model)?;
    acting(|| {
        let count = "SELECT pg_catalog.count(*) FROM trails.models m \
             WHERE m.owner OPERATOR(pg_catalog.=) $1 AND m.name OPERATOR(pg_catalog.=) $2";
        let versions = first::<i64>(count, &chosen.of_name())?.unwrap_or_default();
        if !all_versions && !names_version(model) && versions > 1 {
            let message = format!("the model \"{}\" has several versions", shown(model));
            return Err(TrailsError::new(PgSqlErrorCode::ERRCODE_AMBIGUOUS_PARAMETER, message).hint(format!(
                "Say which, such as '{}@{}', or all_versions => true.",
                shown(model),
                chosen.version
            )));
        }
        let statement = "DELETE FROM trails.models m WHERE m.owner OPERATOR(pg_catalog.=) $1 \
             AND m.name OPERATOR(pg_catalog.=) $2 AND ($3 OR m.model_id OPERATOR(pg_catalog.=) $4)";
        let [owner, name] = chosen.of_name();
        written(statement, &[owner, name, all_versions.into(), chosen.id.into()])
    })
}

/// A role, or no role for `public`, which statements are given as NULL.
fn grantee_of(name: &str) -> Result<pg_sys::Oid> {
    if name == "public" {
        return Ok(pg_sys::InvalidOid);
    }
    let missing = || {
        TrailsError::new(PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT, format!("role \"{name}\" does not exist"))
            .hint("SELECT rolname FROM pg_roles shows those there are.")
    };
    let text = std::ffi::CString::new(name).map_err(|_| missing())?;
    // SAFETY: the name ends in a NUL byte and is read only; a role that is missing is no error.
    let role = unsafe { pg_sys::get_role_oid(text.as_ptr(), true) };
    if role == pg_sys::InvalidOid {
        return Err(missing());
    }
    Ok(role)
}

/// Lets a role, or public, predict with all versions of a model.
pub fn grant(name: &str, grantee: &str) -> Result<()> {
    let (chosen, grantee) = (Own::find(name)?, grantee_of(grantee)?);
    let statement = "INSERT INTO trails.model_grants (owner, name, grantee) \
         VALUES ($1, $2, COALESCE($3, CAST(0 AS pg_catalog.oid))) ON CONFLICT DO NOTHING";
    let [owner, of] = chosen.of_name();
    acting(|| written(statement, &[owner, of, grantee.into()])).map(|_| ())
}

/// Takes back what was granted; false if nothing was.
pub fn revoke(name: &str, grantee: &str) -> Result<bool> {
    let (chosen, grantee) = (Own::find(name)?, grantee_of(grantee)?);
    let statement = "DELETE FROM trails.model_grants g WHERE g.owner OPERATOR(pg_catalog.=) $1 \
         AND g.name OPERATOR(pg_catalog.=) $2 AND g.grantee OPERATOR(pg_catalog.=) COALESCE($3, CAST(0 AS pg_catalog.oid))";
    let [owner, of] = chosen.of_name();
    acting(|| written(statement, &[owner, of, grantee.into()])).map(|rows| rows > 0)
}
