//! Submitting a run, and taking it out of the queue again.

use pgrx::pg_sys;
use pgrx::prelude::*;
use serde::{Deserialize, Serialize};

use super::start::{self, Start};
use super::{jobs, pending, session};
use crate::error::{Result, TrailsError};
use crate::owner::{self, first};
use crate::reader::source::SourceColumn;
use crate::rows::FilteringRequest;
use crate::run_request::RunRequest;
use crate::selection::{self, Origin};
use crate::{catalog, settings, subtransaction};

/// What is asked of a run, as a row keeps it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Work {
    pub request: RunRequest,
    pub filtering: FilteringRequest,
}

/// Puts a run into the queue; returns its number. Mistakes that can be seen without reading a row are errors at once.
pub fn submit(work: Work) -> Result<i64> {
    let caller = owner::caller();
    work.request.check_budget()?;
    work.request.check_name()?;
    selection::check_writable()?;
    start::check()?;
    check_role(caller)?;
    check_queue(caller)?;
    catalog::keep_extension();
    let relations = selection::describe(&work.request, &Origin::Filtering(work.filtering.clone()))?;
    check_columns(work.request.source, &relations.wanted.source.name, &relations.wanted.columns())?;
    if let (Some(validation), Some((source, columns))) = (work.request.validation, &relations.validation) {
        check_columns(validation, &source.name, columns)?;
    }

    let run = catalog::draw_run()?;
    let text = json(&work)?;
    jobs::add(run, caller, &relations.wanted.source.name, &work.request, text, json(&session::captured())?)?;
    pending::at_commit(Start { run, role: caller });
    Ok(run)
}

fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|error| TrailsError::argument("the run cannot be written down").detail(error.to_string()))
}

/// Refuses a role that no worker can log in as.
fn check_role(role: pg_sys::Oid) -> Result<()> {
    // SAFETY: it reads a variable of the backend's one thread.
    if unsafe { pg_sys::InSecurityRestrictedOperation() } {
        let message = "a run cannot be submitted within a security-restricted operation";
        return Err(TrailsError::new(PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE, message)
            .hint("Submit it by a statement of its own, not by an index, a materialized view or the like."));
    }
    let query = "SELECT r.rolcanlogin FROM pg_catalog.pg_roles r WHERE r.oid OPERATOR(pg_catalog.=) $1";
    if first::<bool>(query, &[role.into()])? == Some(true) {
        return Ok(());
    }
    let name = owner::name_of(role);
    Err(TrailsError::new(
        PgSqlErrorCode::ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
        format!("role {name} may not log in, and a run in the background logs in as its role"),
    )
    .hint(
        "Submit it as a role that may, for instance after RESET ROLE; trails.model_selection runs it in this session.",
    ))
}

/// Refuses more runs than a role may have waiting. Those of transactions that are under way elsewhere are not seen: a lock
/// would have one wait for the other's end.
fn check_queue(role: pg_sys::Oid) -> Result<()> {
    let Some(most) = settings::max_queued_runs() else { return Ok(()) };
    let waiting = jobs::waiting(role)?;
    if waiting < most {
        return Ok(());
    }
    let (name, waiting) = (owner::name_of(role), if waiting == 1 { "1 run".into() } else { format!("{waiting} runs") });
    let message = format!("role {name} has {waiting} waiting, and may have no more than {most}");
    Err(TrailsError::new(PgSqlErrorCode::ERRCODE_CONFIGURATION_LIMIT_EXCEEDED, message).hint(
        "Submit it when some of them have begun, or take one out of the queue with trails.withdraw(run_id): SELECT run_id, \
         source, target, submitted FROM trails.background_runs WHERE state = 'queued' lists them. A superuser sets \
         trails.max_queued_runs.",
    ))
}

/// Refuses a caller who may not read what the run will read; views and row-level security are asked when it does.
fn check_columns(relation: pg_sys::Oid, name: &str, columns: &[SourceColumn]) -> Result<()> {
    let query = "SELECT pg_catalog.array_agg(c.name) FROM pg_catalog.unnest($2) AS c (name) \
        WHERE NOT pg_catalog.has_column_privilege($1, c.name, 'SELECT')";
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let lacking = first::<Vec<String>>(query, &[relation.into(), names.into()])?.unwrap_or_default();
    if lacking.is_empty() {
        return Ok(());
    }
    let message = format!("permission denied for {name}");
    Err(TrailsError::new(PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE, message)
        .detail(format!("You lack SELECT on {}.", lacking.join(", ")))
        .hint("Ask its owner for it, or name the features that you may read."))
}

/// Takes a run of the caller's, or of a role whose rights it has, out of the queue. False if it is not in it.
pub fn withdraw(run: i64) -> Result<bool> {
    check_primary("a run cannot be withdrawn on a standby")?;
    let Some(role) = jobs::waits_for(run)? else { return Ok(false) };
    if !may_end(owner::caller(), role) {
        return Ok(false);
    }
    // SAFETY: a variable of the transaction under way, read on the backend's one thread.
    if unsafe { pg_sys::XactReadOnly } {
        let message = "a run cannot be withdrawn in a read-only transaction";
        return Err(TrailsError::new(PgSqlErrorCode::ERRCODE_READ_ONLY_SQL_TRANSACTION, message)
            .hint("Begin one that may write."));
    }
    let withdrawn = match subtransaction::attempt(|| jobs::withdraw(run)) {
        // It has begun since the transaction's snapshot was taken.
        Err(error) if error.code == PgSqlErrorCode::ERRCODE_T_R_SERIALIZATION_FAILURE => false,
        done => done?,
    };
    if withdrawn {
        // Others move up, or this one stays if the transaction is rolled back.
        pending::at_end(Start { run, role });
    }
    Ok(withdrawn)
}

/// Refuses what a standby could not do, with `message`.
pub fn check_primary(message: &str) -> Result<()> {
    // SAFETY: it reads shared memory.
    if unsafe { pg_sys::RecoveryInProgress() } {
        return Err(TrailsError::new(PgSqlErrorCode::ERRCODE_READ_ONLY_SQL_TRANSACTION, message)
            .hint("Connect to the primary server, where it runs."));
    }
    Ok(())
}

/// Whether a role may end what another's worker does: as pg_terminate_backend has it.
fn may_end(caller: pg_sys::Oid, role: pg_sys::Oid) -> bool {
    let signals = pg_sys::Oid::from(pg_sys::ROLE_PG_SIGNAL_BACKEND);
    // SAFETY: looks into the server's caches, within the calling transaction.
    unsafe {
        pg_sys::has_privs_of_role(caller, role)
            || !pg_sys::superuser_arg(role) && pg_sys::has_privs_of_role(caller, signals)
    }
}
