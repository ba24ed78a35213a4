//! Rows of `trails.jobs`: written as the table's owner, whoever calls.

use pgrx::datum::DatumWithOid;
use pgrx::pg_sys;
use pgrx::prelude::*;

use super::latest;
use super::session::Settings;
use super::start::Start;
use crate::error::{sqlstate_of, Result, TrailsError};
use crate::owner::{acting, first, written};
use crate::run_request::RunRequest;

/// A new row, which waits for its turn.
pub fn add(
    run: i64,
    owner: pg_sys::Oid,
    source: &str,
    request: &RunRequest,
    work: String,
    settings: String,
) -> Result<()> {
    let statement = "INSERT INTO trails.jobs (run_id, owner, source, target, budget, model, request, settings) \
         VALUES ($1, $2, $3, $4::pg_catalog.name, pg_catalog.make_interval(secs => $5), $6, $7::pg_catalog.jsonb, \
            $8::pg_catalog.jsonb)";
    let arguments: [DatumWithOid; 8] = [
        run.into(),
        owner.into(),
        source.into(),
        request.target.as_str().into(),
        request.budget.into(),
        request.name.as_deref().into(),
        work.into(),
        settings.into(),
    ];
    acting(|| written(statement, &arguments)).map(|_| ())
}

/// Workers that may have been started for a run in vain before it holds up nobody: others may take its turn.
const IN_VAIN: i32 = 2;

/// Whether a run is among the first `room` that wait. One that another session is about to withdraw does not count, nor
/// one whose workers do not come, and neither holds up anybody.
pub fn is_next(run: i64, room: Option<i64>) -> Result<bool> {
    let query = "SELECT EXISTS (SELECT FROM (SELECT n.run_id FROM trails.jobs n \
            WHERE n.state OPERATOR(pg_catalog.=) 'queued' AND (n.run_id OPERATOR(pg_catalog.=) $1 \
               OR $2 IS NOT NULL AND n.offers OPERATOR(pg_catalog.<) $3) ORDER BY n.run_id LIMIT $2 FOR UPDATE SKIP LOCKED) n WHERE n.run_id OPERATOR(pg_catalog.=) $1)";
    acting(|| first::<bool>(query, &[run.into(), room.into(), IN_VAIN.into()])).map(|found| found == Some(true))
}

/// A run begins: what is asked of it, and how its session is set.
pub fn begin(run: i64) -> Result<Option<(String, Settings)>> {
    // Settings may hold what is nobody's to read later on.
    let statement = "UPDATE trails.jobs j SET state = 'running', started = pg_catalog.clock_timestamp(), \
            pid = pg_catalog.pg_backend_pid(), offered = NULL, settings = '{}' \
         FROM (SELECT o.run_id, o.settings FROM trails.jobs o WHERE o.run_id OPERATOR(pg_catalog.=) $1 \
            AND o.state OPERATOR(pg_catalog.=) 'queued' FOR UPDATE) o \
         WHERE j.run_id OPERATOR(pg_catalog.=) o.run_id RETURNING j.request::pg_catalog.text, o.settings::pg_catalog.text";
    let unreadable =
        |error: serde_json::Error| TrailsError::data("a row of trails.jobs cannot be read").detail(error.to_string());
    acting(|| {
        Spi::connect_mut(|client| {
            let rows = client.update(statement, Some(1), &[run.into()])?;
            if rows.is_empty() {
                return Ok(None);
            }
            let row = rows.first();
            let settings: String = row.get(2)?.unwrap_or_default();
            Ok(Some((row.get(1)?.unwrap_or_default(), serde_json::from_str(&settings).map_err(unreadable)?)))
        })
    })
}

/// How a run ended. Sessions that listen are told when the transaction is committed: of the run and its state alone,
/// because any role may listen.
pub struct End<'a> {
    pub state: &'a str,
    /// Name and version of the model that was kept.
    pub model: Option<&'a str>,
    /// What ended it, or cut it.
    pub fault: Option<&'a TrailsError>,
}

/// What becomes of a row that another session has locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Locked {
    /// It is waited for: nobody else writes what there is to write.
    Wait,
    /// It is left as it is: somebody comes by again.
    Skip,
}

/// Writes an end over the state `from`. Nothing is written where the row says something else.
pub fn end(run: i64, from: &str, locked: Locked, end: &End<'_>) -> Result<()> {
    let statement = format!(
        "UPDATE trails.jobs j SET state = $3, finished = pg_catalog.clock_timestamp(), settings = '{{}}', \
            model = COALESCE($4, j.model), sqlstate = $5, message = $6, detail = $7, hint = $8 \
         FROM (SELECT o.run_id FROM trails.jobs o WHERE o.run_id OPERATOR(pg_catalog.=) $1 \
            AND o.state OPERATOR(pg_catalog.=) $2 FOR UPDATE{}) o \
         WHERE j.run_id OPERATOR(pg_catalog.=) o.run_id RETURNING j.run_id",
        if locked == Locked::Skip { " SKIP LOCKED" } else { "" }
    );
    let fault = end.fault;
    let arguments: [DatumWithOid; 8] = [
        run.into(),
        from.into(),
        end.state.into(),
        end.model.into(),
        fault.map(|fault| sqlstate_of(fault.code)).into(),
        fault.map(|fault| fault.message.as_str()).into(),
        fault.and_then(|fault| fault.detail.as_deref()).into(),
        fault.and_then(|fault| fault.hint.as_deref()).into(),
    ];
    acting(|| {
        if first::<i64>(&statement, &arguments)?.is_some() {
            tell(run, end.state)?;
        }
        Ok(())
    })
}

/// Tells sessions that listen, when the transaction is committed.
fn tell(run: i64, state: &str) -> Result<()> {
    let told = serde_json::json!({ "run": run, "state": state }).to_string();
    written("SELECT pg_catalog.pg_notify('trails', $1)", &[told.into()]).map(|_| ())
}

/// Who submitted a run that waits, as the transaction's snapshot has it.
pub fn waits_for(run: i64) -> Result<Option<pg_sys::Oid>> {
    let query = "SELECT j.owner::pg_catalog.oid FROM trails.jobs j WHERE j.run_id OPERATOR(pg_catalog.=) $1 \
        AND j.state OPERATOR(pg_catalog.=) 'queued'";
    acting(|| first(query, &[run.into()]))
}

/// How many runs of a role wait at this moment, those that this transaction has submitted included.
pub fn waiting(role: pg_sys::Oid) -> Result<i64> {
    let query = c"SELECT pg_catalog.count(*) FROM trails.jobs j \
        WHERE j.owner::pg_catalog.oid OPERATOR(pg_catalog.=) $1 AND j.state OPERATOR(pg_catalog.=) 'queued'";
    let found = acting(|| latest::rows(query, [(pg_sys::OIDOID, role.into())], |row| row.get(1)))?;
    Ok(found.into_iter().flatten().next().unwrap_or_default())
}

/// Takes a run out of the queue; false if it is not in it any more, or another session is about to change that.
pub fn withdraw(run: i64) -> Result<bool> {
    let statement = "UPDATE trails.jobs j SET state = 'cancelled', finished = pg_catalog.clock_timestamp(), \
            settings = '{}', sqlstate = '57014', message = 'the run was withdrawn before it had begun' \
         FROM (SELECT o.run_id FROM trails.jobs o WHERE o.run_id OPERATOR(pg_catalog.=) $1 \
            AND o.state OPERATOR(pg_catalog.=) 'queued' FOR UPDATE SKIP LOCKED) o \
         WHERE j.run_id OPERATOR(pg_catalog.=) o.run_id RETURNING j.run_id";
    acting(|| {
        let withdrawn = first::<i64>(statement, &[run.into()])?.is_some();
        if withdrawn {
            tell(run, "cancelled")?;
        }
        Ok(withdrawn)
    })
}

/// Runs whose rows say, at this moment, that they are running.
pub fn running() -> Result<Vec<i64>> {
    let query = c"SELECT j.run_id FROM trails.jobs j WHERE j.state OPERATOR(pg_catalog.=) 'running'";
    acting(|| latest::rows(query, [], |row| row.get(1).unwrap_or_default()))
}

/// Runs that wait for a role that no worker can be: run and why.
pub fn barred() -> Result<Vec<(i64, String)>> {
    let query = "SELECT j.run_id, CASE WHEN r.oid IS NULL THEN 'its role was dropped' \
            WHEN NOT r.rolcanlogin THEN pg_catalog.format('role %I may not log in', r.rolname) \
            ELSE pg_catalog.format('role %I may not connect to the database', r.rolname) END \
         FROM trails.jobs j LEFT JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) j.owner::pg_catalog.oid \
         WHERE j.state OPERATOR(pg_catalog.=) 'queued' AND (r.oid IS NULL OR NOT r.rolcanlogin OR NOT \
            pg_catalog.has_database_privilege(r.oid, pg_catalog.current_database(), 'CONNECT'))";
    acting(|| {
        Spi::connect_mut(|client| {
            let rows = client.update(query, None, &[])?;
            rows.map(|row| Ok((row.get(1)?.unwrap_or_default(), row.get(2)?.unwrap_or_default()))).collect()
        })
    })
}

/// Of the first `room` runs that wait, those that no worker was started for in the last two seconds; one will be. As many
/// whose workers did not come are offered again, beside them.
pub fn offer(room: Option<i64>) -> Result<Vec<Start>> {
    let mut starts = offered(room, false)?;
    starts.extend(offered(room, true)?);
    starts.sort_by_key(|start| start.run);
    Ok(starts)
}

fn offered(room: Option<i64>, in_vain: bool) -> Result<Vec<Start>> {
    let statement = "UPDATE trails.jobs j SET offered = pg_catalog.clock_timestamp(), \
            offers = j.offers OPERATOR(pg_catalog.+) 1 \
         FROM (SELECT o.run_id FROM trails.jobs o WHERE o.state OPERATOR(pg_catalog.=) 'queued' \
            AND (o.offers OPERATOR(pg_catalog.>=) $2) OPERATOR(pg_catalog.=) $3 ORDER BY o.run_id LIMIT $1 FOR UPDATE SKIP LOCKED) o \
         WHERE j.run_id OPERATOR(pg_catalog.=) o.run_id AND (j.offered IS NULL OR j.offered OPERATOR(pg_catalog.<) \
            (pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) pg_catalog.make_interval(secs => 2))) \
         RETURNING j.run_id, j.owner::pg_catalog.oid";
    acting(|| {
        Spi::connect_mut(|client| {
            let rows = client.update(statement, None, &[room.into(), IN_VAIN.into(), in_vain.into()])?;
            rows.map(|row| {
                Ok(Start { run: row.get(1)?.unwrap_or_default(), role: row.get(2)?.unwrap_or(pg_sys::InvalidOid) })
            })
            .collect()
        })
    })
}

/// Runs that wait, and for which workers were started again and again, of which none has come so far as to begin.
pub fn offered_in_vain(most: i32) -> Result<Vec<i64>> {
    let query = "SELECT j.run_id FROM trails.jobs j WHERE j.state OPERATOR(pg_catalog.=) 'queued' \
        AND j.offers OPERATOR(pg_catalog.>=) $1";
    numbers(query, &[most.into()])
}

/// A worker has come, and it is not the run's turn yet; or none could be started at all.
pub fn take_back(run: i64, came: bool) -> Result<()> {
    let statement = "UPDATE trails.jobs j SET offered = NULL, \
            offers = CASE WHEN $2 THEN 0 ELSE j.offers OPERATOR(pg_catalog.-) 1 END \
         FROM (SELECT o.run_id FROM trails.jobs o WHERE o.run_id OPERATOR(pg_catalog.=) $1 \
            AND o.state OPERATOR(pg_catalog.=) 'queued' FOR UPDATE SKIP LOCKED) o \
         WHERE j.run_id OPERATOR(pg_catalog.=) o.run_id";
    acting(|| written(statement, &[run.into(), came.into()])).map(|_| ())
}

fn numbers(query: &str, arguments: &[DatumWithOid<'_>]) -> Result<Vec<i64>> {
    acting(|| {
        Spi::connect_mut(|client| {
            let rows = client.update(query, None, arguments)?;
            rows.map(|row| Ok(row.get(1)?.unwrap_or_default())).collect()
        })
    })
}
