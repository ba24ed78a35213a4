//! Models that are kept: a blob is read by the package, which knows what is in it, and by what will predict with it.

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::error::{shown, Result, TrailsError};
use crate::reader::Kind;
use crate::registry::{self, NewModel};
use crate::{installed, python};

const LONGEST_NAME: usize = 200;

/// What a blob says of itself; the JSON texts are columns and fields as objects, and metrics.
#[derive(FromPyObject)]
struct ModelDescription {
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
    if name.is_empty() || name.chars().count() > LONGEST_NAME || name.contains(['/', '@']) {
        return Err(TrailsError::argument(format!("a model cannot be called \"{}\"", shown(name))).hint(
            "A name has 1 to 200 characters, and neither / nor @: owner/name is another role's model, name@3 a version.",
        ));
    }
    Ok(())
}

/// The relation that a model was trained on.
pub struct Trained {
    /// Its qualified name.
    pub source: String,
    /// What it is, whatever it is called: see `identity`.
    pub relation: Option<String>,
}

/// Keeps a model as the next version of its name; returns name and version.
pub fn store(name: &str, run: Option<i64>, on: Option<Trained>, weights: &[u8]) -> Result<String> {
    installed::check()?;
    check_name(name)?;
    // What predicts must be able to read it.
    let pause = || {
        pgrx::check_for_interrupts!();
    };
    trails_model::Model::parse_for(weights, trails_model::Kernels::best(), &pause)
        .map_err(|error| TrailsError::argument("the model cannot be read").detail(format!("{error}.")))?;
    let described = describe(weights)?;
    let (source, relation) = on.map_or((None, None), |on| (Some(on.source), on.relation));
    let model = NewModel {
        run,
        task: described.task,
        architecture: described.architecture,
        source,
        relation,
        target: described.target,
        columns: described.columns,
        classes: described.classes,
        encoder: described.fields,
        metrics: described.metrics,
        weights,
    };
    Ok(format!("{name}@{}", registry::insert(name, model)?))
}

/// The columns that a model was trained with: name, and what texts were to it; None for those whose texts it reads, and that
/// are none.
pub fn forms(weights: &[u8]) -> Result<Vec<(String, Option<Kind>)>> {
    let pause = || {
        pgrx::check_for_interrupts!();
    };
    let model = trails_model::Model::parse_for(weights, trails_model::Kernels::best(), &pause)
        .map_err(|error| TrailsError::argument("the model cannot be read").detail(format!("{error}.")))?;
    let form = |family| match family {
        trails_model::Family::Text => Some(Kind::Text),
        trails_model::Family::IdValue => Some(Kind::IdValue),
        _ => None,
    };
    Ok(model.columns().iter().map(|input| (input.name.clone(), form(input.family))).collect())
}

fn describe(weights: &[u8]) -> Result<ModelDescription> {
    python::call(|bridge| {
        let blob = PyBytes::new(bridge.py(), weights);
        bridge.call_method1("describe_model", (blob,))?.extract()
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
    fn names_that_would_name_a_version_or_an_owner_are_refused() {
        for name in ["", "a@1", "@0", "a@", "a@b", "alice/churn", "/", &"x".repeat(201)] {
            assert!(check_name(name).is_err(), "{name}");
        }
        for name in ["a", "a b", "a\\b", "ä\"' ;", &"x".repeat(200)] {
            assert!(check_name(name).is_ok(), "{name}");
        }
    }
}
