//! What a running statement tells its client, as the setting `trails.progress` allows.

use crate::protocol::Plan;
use crate::settings::{self, Progress};
use crate::{tell, watching};

/// A phase has begun or ended.
pub fn phase(message: &str) {
    if settings::progress() != Progress::Off {
        tell::notice(message);
    }
}

/// Training has moved on.
pub fn epochs(done: f64, total: f64, best: Option<String>) {
    if settings::progress() == Progress::Epochs {
        let best = best.map_or(String::new(), |best| format!(", best {best}"));
        tell::notice(&format!("progress: {done:.1}/{total:.1} epochs{best}"));
    }
}

/// Scoring networks one after another has moved on; nothing in all where the time decides how many.
pub fn scored(done: f64, total: f64) {
    watching::run::scored(done as i64);
    if settings::progress() == Progress::Epochs {
        let of = if total > 0.0 { format!("/{total:.0}") } else { String::new() };
        tell::notice(&format!("progress: {done:.0}{of} architectures scored"));
    }
}

/// A validation metric as a person reads it.
pub fn metric(name: &str, value: f64) -> String {
    let shown = match name {
        "auc" => "AUC",
        "r2" => "R2",
        other => other,
    };
    format!("validation {shown} {value:.4}")
}

/// Which rows are held out, where a column said so by its groups or by its time.
pub fn held_out(told: &serde_json::Value) {
    let rows = |name: &str| told[name].as_i64().unwrap_or_default();
    let column = told["column"].as_str().unwrap_or_default();
    let which = match told["how"].as_str() {
        Some("group_by") => {
            let groups = rows("training_groups") + rows("validation_groups");
            format!("{} of {groups} groups by \"{column}\"", rows("validation_groups"))
        }
        Some("time_by") => {
            let from = &told["from"];
            let from = from.as_str().map_or_else(|| from.to_string(), str::to_owned);
            format!("the latest rows by \"{column}\", from {from} on")
        }
        _ => return,
    };
    let all = rows("training_rows") + rows("validation_rows");
    phase(&format!("held out: {which}, {} of {all} rows", rows("validation_rows")));
}

/// How the refinement process will spend its time.
pub fn plan(plan: &Plan) {
    let number = |name: &str, value: Option<i64>| value.map(|v| format!("{name} = {v}"));
    let numbers = [
        number("n", Some(plan.n).filter(|n| *n > 0)),
        number("k", plan.k.map(i64::from)),
        number("u", plan.u.map(i64::from)),
    ];
    phase(&format!(
        "plan: {}; refinement takes {:.1} s at {:.2} s an epoch",
        numbers.into_iter().flatten().collect::<Vec<_>>().join(", "),
        plan.refinement_seconds,
        plan.epoch_seconds
    ));
}
