//! Filtering on pictures: a column of them is found, some are drawn as the caller, and the refinement process scores networks
//! on these. What the networks are, and what a picture is, is the package's to say.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;

use pgrx::prelude::*;
use pgrx::spi::quote_identifier;

use crate::clock::Clock;
use crate::deadline::Deadline;
use crate::error::{Result, TrailsError};
use crate::interrupts::ClientWatch;
use crate::limits::{LEAST_TO_TRY, SMALLEST_BUDGET};
use crate::protocol::{CellRow, CellsAsked, CellsRequest, PictureLayout, PicturesLayout};
use crate::reader::pictures::{draw, Drawn, Form, Label};
use crate::reader::source::{check_features, RelationColumn, Source, SourceColumn};
use crate::refinement::Refinement;
use crate::rows::{self, FilteredRelation, FilteringRequest, RankedArchitecture};
use crate::watching::{run as watched, Phase};
use crate::{budget, progress, settings};

/// For hints.
const PICTURE_TYPES: &str = "bytea, smallint[], integer[], real[] and double precision[]";

/// A column of pictures, and one that says of which class each is.
struct PictureColumns {
    source: Source,
    picture: SourceColumn,
    form: Form,
    label: SourceColumn,
}

impl PictureColumns {
    /// Looks names and types up; nothing of the relation is read.
    fn describe(relation: &FilteredRelation) -> Result<Self> {
        let FilteredRelation { source, target, features } = relation;
        let target = target.as_deref().ok_or_else(|| {
            TrailsError::argument("networks for pictures need a target")
                .hint("Name the column of classes: a network has as many outputs as there are.")
        })?;
        let source = Source::describe(*source)?;
        let column = source.find(target)?;
        if !column.cell.is_some_and(Label::can_be) {
            return Err(TrailsError::new(
                PgSqlErrorCode::ERRCODE_DATATYPE_MISMATCH,
                format!("target \"{target}\" of {} has type {}, which names no classes", source.name, column.type_name),
            )
            .hint("Classes of pictures are integers, texts, booleans or an enum: give a view that converts it."));
        }
        let label = source.target(target)?;
        let (name, form) = picture_column(&source, target, features.as_deref())?;
        let picture = source.stored(&name)?;
        Ok(Self { source, picture, form, label })
    }
}

/// The one column of pictures among those named, or else among all but the target and the primary key.
fn picture_column(source: &Source, target: &str, named: Option<&[String]>) -> Result<(String, Form)> {
    check_features(named.unwrap_or_default(), Some(target))?;
    let candidates: Vec<&RelationColumn> = match named {
        Some(names) => names.iter().map(|name| source.find(name)).collect::<Result<_>>()?,
        None => source.columns.iter().filter(|c| c.name != target && !c.in_primary_key).collect(),
    };
    let holds = |column: &&RelationColumn| Form::of(column.base_type).map(|form| (column.name.clone(), form));
    let found: Vec<(String, Form)> = candidates.iter().filter_map(holds).collect();
    let others: Vec<String> =
        candidates.iter().filter(|column| holds(column).is_none()).map(|c| quote_identifier(&c.name)).collect();
    match found.as_slice() {
        [one] => {
            if !others.is_empty() {
                progress::phase(&format!(
                    "left out, because networks for pictures read these alone: {}",
                    others.join(", ")
                ));
            }
            Ok(one.clone())
        }
        [] => Err(TrailsError::argument(format!("{} has no column of pictures", source.name))
            .detail(format!("Looked at: {}.", if others.is_empty() { "none".into() } else { others.join(", ") }))
            .hint(format!("Pictures are read of columns of type {PICTURE_TYPES}."))),
        several => {
            let names: Vec<String> = several.iter().map(|(name, _)| quote_identifier(name)).collect();
            Err(TrailsError::new(
                PgSqlErrorCode::ERRCODE_AMBIGUOUS_COLUMN,
                format!("{} has {} columns that may hold pictures: {}", source.name, names.len(), names.join(", ")),
            )
            .hint("Name the one with features => ARRAY[...]."))
        }
    }
}

/// The best of a space on pictures, of which `wanted` are drawn; scored until the end of the budget, if there is one.
pub fn rank(
    relation: &FilteredRelation,
    asked: &FilteringRequest,
    wanted: usize,
    budget: Option<f64>,
    clock: Clock,
) -> Result<Vec<RankedArchitecture>> {
    check_budget(budget)?;
    let deadline = Deadline::of(budget, clock.began);
    let columns = PictureColumns::describe(relation)?;
    watched::source(&columns.source.name);
    watched::phase(Phase::Reading);
    let watch = ClientWatch::start();
    let limit = budget.map(|budget| (clock.began, budget));
    let mut process = Refinement::start(&settings::virtualenv()?, limit, None)?;
    let drawn = read(&columns, wanted, asked.seed)?;
    drop(deadline);
    let (file, descriptor) = process.columns().0;
    let layout = lay_out(drawn, columns.form, file, descriptor)?;
    let began = clock.seconds();
    watched::phase(Phase::Filtering);
    let scored = process.score(CellsRequest {
        filtering: CellsAsked {
            space: &asked.space,
            tfmem: &asked.tfmem,
            n: asked.n,
            k: asked.k,
            batch_size: asked.batch_size,
            seed: asked.seed,
            sampler: asked.sampler.as_deref(),
        },
        deadline: budget.map(|budget| budget::deadline(clock.monotonic_start(), budget)),
        threads: settings::refinement_threads(),
        memory_limit: settings::refinement_memory_limit(),
        column: &format!("column \"{}\" of {}", columns.picture.name, columns.source.name),
        pictures: &layout,
    })?;
    let best: Vec<RankedArchitecture> = scored.rows.into_iter().map(ranked).collect();
    let first = best.first().map(|best| (best.architecture.as_str(), best.score));
    rows::tell(asked, scored.scored, scored.failed, clock.seconds() - began, first, &scored.notices);
    watch.stop();
    Ok(best)
}

fn check_budget(budget: Option<f64>) -> Result<()> {
    match budget {
        Some(budget) if budget < SMALLEST_BUDGET => Err(TrailsError::new(
            PgSqlErrorCode::ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
            format!("a budget of {budget} s is too small to score networks for pictures"),
        )
        .hint(format!(
            "Starting the process that does it alone takes seconds: begin with budget => '{LEAST_TO_TRY} s'."
        ))),
        _ => Ok(()),
    }
}

/// Draws pictures; a relation with none, or with pictures of one class, is an error.
fn read(columns: &PictureColumns, wanted: usize, seed: i64) -> Result<Drawn> {
    let PictureColumns { source, picture, form, label } = columns;
    progress::phase(&format!("reading {}", source.name));
    let drawn = draw(source, picture, *form, label, wanted, seed)?;
    rows::warn_of_unusable(drawn.unlabelled);
    if drawn.empty > 0 {
        TrailsError::warning(format!("{} rows have no picture and were left out", drawn.empty)).warn();
    }
    let classes = drawn.classes.len();
    if classes == 0 {
        return Err(TrailsError::data(format!("{} has no row with a picture and a class", source.name))
            .hint("Pictures are scored with the classes that the target names."));
    }
    if classes == 1 {
        return Err(TrailsError::data(format!("the target \"{}\" of {} has one class only", label.name, source.name))
            .hint("Networks tell classes apart: there must be two."));
    }
    progress::phase(&format!(
        "{} of {} pictures of {classes} classes were drawn",
        drawn.pictures.len(),
        drawn.labelled
    ));
    Ok(drawn)
}

/// Moves pictures to memory that the process maps.
fn lay_out(drawn: Drawn, form: Form, file: &File, descriptor: i32) -> Result<PicturesLayout> {
    let classes = drawn.classes.len();
    let numbers: HashMap<Label, usize> = drawn.classes.into_iter().zip(0..).collect();
    let mut end = 0;
    let mut places = Vec::with_capacity(drawn.pictures.len());
    for picture in drawn.pictures {
        file.write_all_at(&picture.bytes, end)?;
        let (length, label) = (picture.bytes.len() as u64, numbers[&picture.label]);
        places.push(PictureLayout { offset: end, length, shape: picture.shape, label, row: picture.row });
        end += length;
        pgrx::check_for_interrupts!();
    }
    Ok(PicturesLayout { fd: descriptor, form: form.name(), classes, drawn: places })
}

fn ranked(row: CellRow) -> RankedArchitecture {
    let CellRow { architecture, score, scores, parameters, flops, seconds } = row;
    let number = |score: Option<f64>| score.unwrap_or(f64::NAN);
    let scores = scores.into_iter().map(|(metric, score)| (metric, number(score))).collect();
    RankedArchitecture { architecture, score: number(score), scores, parameters, flops, seconds }
}
