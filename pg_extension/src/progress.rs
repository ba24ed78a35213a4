//! What a running statement tells its client, as the setting `trails.progress` allows.

use pgrx::prelude::*;

use crate::settings::{self, Progress};

/// A phase has begun or ended.
pub fn phase(message: &str) {
    if settings::progress() != Progress::Off {
        notice!("{message}");
    }
}

/// Training has moved on.
pub fn epochs(done: f64, total: f64, best_auc: Option<f64>) {
    if settings::progress() == Progress::Epochs {
        match best_auc {
            Some(auc) => notice!("progress: {done:.1}/{total:.1} epochs, best validation AUC {auc:.4}"),
            None => notice!("progress: {done:.1}/{total:.1} epochs"),
        }
    }
}
