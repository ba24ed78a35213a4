//! Trails: picks and trains a deep model for a table, in SQL, within a time budget.
//!
//! This crate knows PostgreSQL and nothing of models; the Python package `trails` knows models and nothing of
//! PostgreSQL. `api` is the SQL surface, `reader` turns a query into typed columns, `python` is the one bridge to the
//! package, `child` runs the refinement process and `refinement` talks with it. `prediction` needs no interpreter: the crate
//! `trails_model` reads models and computes.

use pgrx::prelude::*;

mod api;
mod background;
mod budget;
mod candidate;
mod catalog;
mod child;
mod clock;
mod deadline;
mod drifting;
mod encoding;
mod epoch_costs;
mod error;
mod explaining;
mod filtering;
mod identity;
mod installed;
mod interrupts;
mod judging;
mod latency;
mod leaderboard;
mod limits;
mod lines;
mod lock_wait;
mod models;
mod outcome;
mod owner;
mod pictures;
mod prediction;
mod progress;
mod protocol;
mod purge;
mod python;
mod random;
mod read_only;
mod reader;
mod reading_speed;
mod record;
mod refinement;
mod registry;
mod reserve;
mod resume;
mod retraining;
mod rows;
mod run;
mod run_request;
mod run_so_far;
mod selection;
mod settings;
mod shared;
mod sqlstate;
mod subtransaction;
mod tell;
mod unregistered;
mod watching;

pg_module_magic!(name, version);

extension_sql_file!("../../sql/install/catalogue.sql", name = "catalogue", bootstrap);
extension_sql_file!("../../sql/install/tfmem.sql", name = "tfmem_type", requires = ["catalogue"]);
extension_sql_file!("../../sql/install/models.sql", name = "models", requires = ["catalogue"]);
extension_sql_file!("../../sql/install/jobs.sql", name = "jobs", requires = ["catalogue"]);
extension_sql_file!("../../sql/install/background_runs.sql", name = "background_runs", requires = ["jobs", job_state]);
extension_sql_file!("../../sql/install/recipe.sql", name = "recipe", requires = ["models"]);
extension_sql_file!("../../sql/install/rights.sql", name = "rights", finalize);

#[pg_guard]
pub extern "C-unwind" fn _PG_init() {
    settings::define();
}
