//! What an epoch of training costs on a table, architecture by architecture; nothing is recorded.

use crate::catalog;
use crate::clock::Clock;
use crate::error::Result;
use crate::interrupts::ClientWatch;
use crate::protocol::{self, ProfileResult};
use crate::rows::FilteringRequest;
use crate::run::Begun;
use crate::run_request::RunRequest;
use crate::selection::{self, Origin};

/// Architectures that are profiled where nobody names any.
const DEFAULT_ARCHITECTURES: usize = 5;
const DEFAULT_TFMEM: &str = "expressflow";
const DEFAULT_BATCH_SIZE: i32 = 32;

/// Times the training of `architectures`, or of the first candidates of filtering.
pub fn run(request: &RunRequest, architectures: Option<Vec<String>>) -> Result<ProfileResult> {
    let origin = match architectures {
        Some(architectures) => Origin::Named(architectures),
        None => Origin::Filtering(FilteringRequest {
            space: request.space.clone(),
            tfmem: DEFAULT_TFMEM.to_owned(),
            n: None,
            k: None,
            batch_size: DEFAULT_BATCH_SIZE,
            seed: request.seed,
            sampler: None,
        }),
    };
    let relations = selection::describe(request, &origin)?;
    catalog::keep_extension();
    let watch = ClientWatch::start();
    let Begun { rows, mut refinement, .. } = Begun::new(request, relations, Clock::start(), None)?;
    let chosen: Vec<String> = match &origin {
        Origin::Filtering(scoring) => {
            let found = rows.shortlist(scoring, None)?.candidates.into_iter();
            found.take(DEFAULT_ARCHITECTURES).map(|(architecture, _)| architecture).collect()
        }
        Origin::Named(architectures) | Origin::Retrained { architectures, .. } => {
            request.check_architectures(architectures)?
        }
        Origin::Checkpoint(_) => Vec::new(),
    };
    drop(rows);
    let architectures: Vec<&str> = chosen.iter().map(String::as_str).collect();
    let profiled = refinement.profile(protocol::ProfileRequest {
        space: &request.space,
        architectures: &architectures,
        options: &request.options(),
    })?;
    watch.stop();
    Ok(profiled)
}
