//! The rows that filtering looks at: read as the caller, checked, and held by the interpreter.

use std::collections::HashMap;

use numpy::{PyArray1, PyArrayMethods};
use pgrx::{pg_sys, PgSqlErrorCode};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use serde::{Deserialize, Serialize};

use crate::error::{Result, TrailsError};
use crate::python::ArrayColumn;
use crate::reader;
use crate::reader::columns::{BadlyRead, Column, Form, Table, Values};
use crate::reader::source::{Source, SourceColumn};
use crate::reader::texts::spellings;
use crate::reader::Kind;
use crate::run_request::ByColumns;
use crate::shared::Shared;
use crate::{progress, python, settings};

/// The columns of a relation that a run is about, all of them known to be there and readable.
#[derive(Debug, Clone)]
pub struct ChosenColumns {
    pub source: Source,
    pub features: Vec<SourceColumn>,
    pub by: ByColumns,
    /// Columns that say something of the rows and are no features.
    pub aside: Vec<SourceColumn>,
    pub target: Option<SourceColumn>,
    /// Columns that are not learnt from, which nobody named as features: name and reason.
    pub left_out: Vec<(String, String)>,
}

/// What was looked up of relations, once `check` has refused names and numbers.
///
/// Where both have something to say, the check has: of a table of pictures, which has no column to learn from, it says
/// that the space is not for tables.
pub fn checked<T>(described: Result<T>, check: impl FnOnce() -> Result<()>) -> Result<T> {
    match &described {
        Err(fault) if fault.code != PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE => {}
        _ => check()?,
    }
    described
}

impl ChosenColumns {
    /// Looks names and types up; nothing of the relation is read.
    pub fn describe(
        source: pg_sys::Oid,
        target: Option<&str>,
        named: Option<&[String]>,
        by: &ByColumns,
        options: Option<&serde_json::Value>,
    ) -> Result<Self> {
        let source = Source::describe(source)?;
        let target_column = target.map(|name| source.target(name)).transpose()?;
        let is = |role: &Option<String>, name: &str| role.as_deref() == Some(name);
        if let Some(target) = target.filter(|target| by.names().contains(target)) {
            let what = if is(&by.weight, target) { "say what rows count for" } else { "say which rows are held out" };
            return Err(TrailsError::argument(format!("the target cannot {what}")));
        }
        let mut left_out = if named.is_none() { source.unreadable(target) } else { Vec::new() };
        let mut features = source.features(named, target)?;
        if let Some(weight) = by.weight.as_deref().filter(|weight| named.is_some_and(|n| n.iter().any(|f| f == weight)))
        {
            return Err(TrailsError::argument(format!("the weight \"{weight}\" is among the features"))
                .hint("Leave it out of features; what a row counts for is not known of rows to predict."));
        }
        features.retain(|column| {
            let name = column.name.as_str();
            if is(&by.split, name) {
                return false;
            }
            let reason = if is(&by.weight, name) {
                "it says what a row counts for"
            } else if (is(&by.group_by, name) || is(&by.time_by, name)) && named.is_none() {
                "it says which rows are held out; features may name it"
            } else {
                return true;
            };
            left_out.push((name.to_owned(), reason.to_owned()));
            false
        });
        let missing = by.names().into_iter().filter(|name| !features.iter().any(|column| column.name == *name));
        // Groups and splits are labels, whatever they look like; a weight that is stored as text is none, here as where a model
        // is judged.
        let is_label = |name: &str| [&by.group_by, &by.split, &by.weight].into_iter().any(|role| is(role, name));
        let aside: Vec<SourceColumn> = missing
            .map(|name| if is_label(name) { source.target(name) } else { source.readable(name) })
            .map(|column| column.map(SourceColumn::aside))
            .collect::<Result<_>>()?;
        tell_left_out(&left_out);
        let as_said = |column: SourceColumn| match column.kind {
            None if is(&by.group_by, &column.name) => column.kept_text(),
            _ => as_options_say(column, options),
        };
        let features = features.into_iter().map(as_said).collect();
        Ok(Self { source, features, by: by.clone(), aside, target: target_column, left_out })
    }

    /// The features, then columns that are none, then the target.
    pub fn columns(&self) -> Vec<SourceColumn> {
        self.features.iter().chain(&self.aside).chain(&self.target).cloned().collect()
    }

    /// Features whose texts a model knows in a form keep it, so that it can be compared with on the same rows: by name and
    /// family.
    pub fn keep_forms(&mut self, known: &[(String, Option<Kind>)]) {
        let all_ids = known.iter().all(|(_, kind)| *kind == Some(Kind::IdValue));
        for column in self.features.iter_mut().filter(|column| column.kind.is_none()) {
            match known.iter().find(|(name, _)| *name == column.name) {
                Some((_, Some(Kind::Text))) => *column = column.clone().kept_text(),
                // Where all are of ids, the table is found to be of the published form, or not to be any more.
                Some((_, Some(Kind::IdValue))) if !all_ids => *column = column.read_as(Kind::IdValue),
                _ => {}
            }
        }
    }

    /// Reads the rows; `options` says whether the caller may give options, which notices then name.
    pub fn read(&self, options: bool) -> Result<Table> {
        progress::phase(&format!("reading {}", self.source.name));
        let table = read(&self.source, &self.columns(), self.target.as_ref().map(|t| t.name.as_str()), 0)?;
        table.columns.iter().take(self.features.len()).for_each(|column| tell_form(column, options));
        Ok(table)
    }
}

/// Reads `columns`, of which the last is the target if there is one; a relation without a usable row is an error.
/// `held` are the bytes of tables that the statement holds already.
pub fn read(source: &Source, columns: &[SourceColumn], target: Option<&str>, held: usize) -> Result<Table> {
    let place = target.map(|_| columns.len() - 1);
    let table = reader::read(source, columns, place, held)?;
    if table.rows > 0 {
        return Ok(table);
    }
    Err(match table.unusable {
        0 => TrailsError::data(format!("{} is empty", source.name)),
        rows => TrailsError::data(format!("{} has no row with a target", source.name))
            .detail(format!("\"{}\" is NULL in all {rows} rows.", target.unwrap_or_default())),
    })
}

/// What is said of a column of texts: that it stays one, or is one of ids. Whether it can be is Python's to check.
fn as_options_say(column: SourceColumn, options: Option<&serde_json::Value>) -> SourceColumn {
    let named = |option: &str| {
        let names = options.and_then(|options| options.get(option)).and_then(|names| names.as_array());
        names.is_some_and(|names| names.iter().any(|name| name.as_str() == Some(&column.name)))
    };
    match column.kind {
        None if named("texts") => column.kept_text(),
        None if named("id_values") => column.read_as(Kind::IdValue),
        _ => column,
    }
}

/// Tells the client what a column of texts turned out to be, and which of the `options` says something else.
fn tell_form(column: &Column, options: bool) {
    let name = &column.name;
    // As it stands in a JSON text.
    let quoted = serde_json::Value::from(name.as_str());
    let option = |name: &str, what: &str| match options {
        true => format!("; the option {{\"{name}\": [{quoted}]}} {what}"),
        false => String::new(),
    };
    match column.form {
        Form::AsItIs => {}
        Form::Read { reading, unread } => {
            let rest = match unread {
                0 => String::new(),
                rows => format!(", {rows} rows hold something else and count as NULL"),
            };
            progress::phase(&format!(
                "feature \"{name}\" is text and read as {}{rest}{}",
                reading.name(),
                option("texts", "keeps it text"),
            ));
        }
        Form::AmbiguousDates => progress::phase(&format!(
            "feature \"{name}\" is learnt as text: its dates could be day/month/year or month/day/year; \
             a view with to_date says which"
        )),
        Form::LikeIds => progress::phase(&format!(
            "feature \"{name}\" is learnt as text: it looks like id:value, and not all features do{}",
            option("id_values", "makes ids of it"),
        )),
    }
}

fn tell_left_out(features: &[(String, String)]) {
    for (name, reason) in features {
        progress::phase(&format!("feature \"{name}\" is left out: {reason}"));
    }
}

/// Says which columns of texts hold something else than those of the training rows.
pub fn warn_of_unread(relation: &str, table: &Table) {
    for badly in &table.badly_read {
        let (column, BadlyRead { reading, present, read, .. }) = (&table.columns[badly.column].name, badly);
        TrailsError::warning(format!(
            "column \"{column}\" of {relation} is read as {} like that of the training rows, and only {read} of its {present} \
             texts can be",
            reading.name(),
        ))
        .detail("The others count as NULL.")
        .hint("Give a view in which both tables write it in the same way.")
        .warn();
    }
}

pub fn warn_of_unusable(rows: u64) {
    if rows > 0 {
        warn(format!("{rows} rows have no target and were left out"));
    }
}

fn warn(message: String) {
    TrailsError::warning(message).warn();
}

/// Which relation is looked at, and which columns of it.
#[derive(Debug, Clone)]
pub struct FilteredRelation {
    pub source: pg_sys::Oid,
    pub target: Option<String>,
    pub features: Option<Vec<String>>,
}

/// What is asked of filtering, whichever way its scores are used.
#[derive(Debug, Clone, IntoPyObjectRef, Serialize, Deserialize)]
pub struct FilteringRequest {
    pub space: String,
    pub tfmem: String,
    /// Architectures to score; None leaves it to the metric.
    pub n: Option<i32>,
    /// Architectures to return, or to train; None leaves it to whoever uses the scores.
    pub k: Option<i32>,
    pub batch_size: i32,
    pub seed: i64,
    pub sampler: Option<String>,
}

impl FilteringRequest {
    /// Refuses names and numbers that no run could use, before anything is read or started.
    pub fn check(&self, target: bool) -> Result<()> {
        python::call(|bridge| bridge.call_method1("check_filtering", (self, target)).map(|_| ()))
    }

    /// How many pictures are wanted, names and numbers checked; None where the space is not of networks for pictures.
    pub fn pictures_wanted(&self) -> Result<Option<usize>> {
        python::call(|bridge| bridge.call_method1("pictures_wanted", (self,))?.extract())
    }
}

/// The columns that Python takes over.
#[derive(IntoPyObject)]
struct TrainingRowsArguments<'py> {
    features: Vec<ArrayColumn<'py>>,
    target: Option<ArrayColumn<'py>>,
    aside: Vec<ArrayColumn<'py>>,
    split: Option<String>,
    group_by: Option<String>,
    time_by: Option<String>,
    weight: Option<String>,
    task: Option<String>,
    metric: Option<String>,
    options: Option<String>,
    seed: Option<i64>,
    /// Hashes and texts of target and split column by name, as far as they are known.
    spellings: HashMap<String, Vec<(i64, String)>>,
}

/// Architectures that refinement may choose from, best score first.
pub struct Offered {
    pub candidates: Vec<(String, f64)>,
    pub scored: i64,
    pub failed: i64,
    pub seconds: f64,
}

#[derive(FromPyObject)]
struct Shortlist<'py> {
    architectures: Bound<'py, PyList>,
    scores: Bound<'py, PyArray1<f64>>,
    scored: i64,
    failed: i64,
    seconds: f64,
    notices: Vec<String>,
}

#[derive(FromPyObject)]
struct Ranking<'py> {
    architectures: Bound<'py, PyList>,
    scored: i64,
    failed: i64,
    notices: Vec<String>,
}

/// What is known of one of the best architectures.
#[derive(FromPyObject)]
pub struct RankedArchitecture {
    pub architecture: String,
    pub score: f64,
    /// By metric.
    pub scores: Vec<(String, f64)>,
    pub parameters: i64,
    pub flops: i64,
    pub seconds: f64,
}

/// What a metric costs alone.
#[derive(FromPyObject)]
pub struct MetricCost {
    pub tfmem: String,
    pub route: String,
    pub architectures: i64,
    pub seconds: f64,
}

/// What is to be learnt of the rows.
#[derive(Default)]
pub struct Learning<'a> {
    pub task: Option<&'a str>,
    /// By which candidates are compared.
    pub metric: Option<&'a str>,
    /// JSON of training options.
    pub options: Option<String>,
    /// What refinement draws held-out rows with, if it does.
    pub seed: Option<i64>,
}

/// Training rows whose buffers have become NumPy's, without the features that cannot help.
pub struct TrainingRows {
    rows: python::Held,
    /// Name and reason.
    pub left_out: Vec<(String, String)>,
    /// Features that are left.
    pub features: Vec<String>,
}

/// What `ChosenColumns::read` has read: in memory of this process alone, or of the refinement process, too.
pub enum ReadColumns {
    Own(Table),
    Shared(Shared),
}

impl ReadColumns {
    fn arrays(self, py: Python<'_>) -> PyResult<Vec<ArrayColumn<'_>>> {
        match self {
            Self::Own(table) => table.columns.into_iter().map(|column| python::array(py, column)).collect(),
            Self::Shared(shared) => shared.arrays(py),
        }
    }

    /// Hashes and texts of a text column, as far as they are known.
    fn spellings(&self, place: usize) -> Vec<(i64, String)> {
        match self {
            Self::Own(table) => match &table.columns[place].values {
                Values::Text { texts, .. } => spellings(&texts.hashes, &texts.ends, &texts.bytes),
                _ => Vec::new(),
            },
            Self::Shared(shared) => shared.spellings(place),
        }
    }
}

impl TrainingRows {
    /// Takes over what `ChosenColumns::read` has read. A target that cannot be learnt, and a table without a feature that can
    /// help, are errors. Rows that refinement will hold out are not looked at.
    pub fn take(chosen: &ChosenColumns, columns: ReadColumns, learning: Learning<'_>) -> Result<Self> {
        // Columns that are no features come after these, and the target is the last one.
        let spelt = chosen.aside.iter().chain(&chosen.target).zip(chosen.features.len()..).filter(|(column, _)| {
            chosen.by.split.as_ref() == Some(&column.name)
                || chosen.target.as_ref().is_some_and(|t| t.name == column.name)
        });
        let spellings: HashMap<String, Vec<(i64, String)>> =
            spelt.map(|(column, place)| (column.name.clone(), columns.spellings(place))).collect();
        let Learning { task, metric, options, seed } = learning;
        let (task, metric) = (task.map(str::to_owned), metric.map(str::to_owned));
        let ByColumns { split, group_by, time_by, weight } = chosen.by.clone();
        let (rows, left_out) = python::call(move |bridge| {
            let py = bridge.py();
            let mut columns = columns.arrays(py)?;
            let target = chosen.target.as_ref().and_then(|_| columns.pop());
            let aside = columns.split_off(columns.len() - chosen.aside.len());
            let arguments = TrainingRowsArguments {
                features: columns,
                target,
                aside,
                split,
                group_by,
                time_by,
                weight,
                task,
                metric,
                options,
                seed,
                spellings,
            };
            let rows = bridge.call_method1("training_rows", (arguments, python::check(py)?))?;
            let left_out: Vec<(String, String)> = rows.call_method0("left_out")?.extract()?;
            Ok((python::Held::new(rows), left_out))
        })?;
        tell_left_out(&left_out);
        let left_out: Vec<_> = chosen.left_out.iter().cloned().chain(left_out).collect();
        let kept = |name: &String| !left_out.iter().any(|(n, _)| n == name);
        let features: Vec<String> = chosen.features.iter().map(|c| c.name.clone()).filter(kept).collect();
        if features.is_empty() {
            return Err(TrailsError::data(format!("no column of {} can help to predict", chosen.source.name))
                .detail("Every feature is constant or different in every row.")
                .hint("Add columns that several rows have in common; NOTICEs name what is wrong with each."));
        }
        Ok(Self { rows, left_out, features })
    }

    /// What refinement is offered; `seconds` is what scoring may take where `n` is not given, None for no limit.
    pub fn shortlist(&self, asked: &FilteringRequest, seconds: Option<f64>) -> Result<Offered> {
        tell_less();
        let (mut offered, notices) = python::call(|bridge| {
            let py = bridge.py();
            let arguments = (asked, seconds, settings::filtering_threads(), python::check(py)?, python::told(py)?);
            let found: Shortlist<'_> = self.rows.bind(py).call_method1("shortlist", arguments)?.extract()?;
            let names = python::extract_all::<String>(&found.architectures)?;
            let candidates = names.into_iter().zip(found.scores.to_vec()?).collect();
            let Shortlist { scored, failed, seconds, notices, .. } = found;
            Ok((Offered { candidates, scored, failed, seconds }, notices))
        })?;
        let best = offered.candidates.first().map(|(architecture, score)| (architecture.as_str(), *score));
        tell(asked, offered.scored, offered.failed, offered.seconds, best, &notices);
        // A failed score says nothing of its architecture, so that training it would be a blind guess.
        offered.candidates.retain(|(_, score)| score.is_finite());
        if offered.candidates.is_empty() {
            return Err(TrailsError::data(format!("every score by {} failed", asked.tfmem))
                .detail(format!("{} architectures were scored, and no score is finite.", offered.scored))
                .hint("Try another metric, or another batch_size."));
        }
        Ok(offered)
    }

    /// The best `k`, best first.
    pub fn rank(&self, asked: &FilteringRequest) -> Result<Vec<RankedArchitecture>> {
        tell_less();
        let began = std::time::Instant::now();
        let (best, scored, failed, notices) = python::call(|bridge| {
            let py = bridge.py();
            let arguments = (asked, settings::filtering_threads(), python::check(py)?, python::told(py)?);
            let found: Ranking<'_> = self.rows.bind(py).call_method1("rank", arguments)?.extract()?;
            let best = python::extract_all::<RankedArchitecture>(&found.architectures)?;
            Ok((best, found.scored, found.failed, found.notices))
        })?;
        let first = best.first().map(|best| (best.architecture.as_str(), best.score));
        tell(asked, scored, failed, began.elapsed().as_secs_f64(), first, &notices);
        Ok(best)
    }

    /// What candidates are ranked by, of a model that was trained before, on the rows that are held out of these; None where
    /// it cannot be said.
    pub fn metric_of(&self, weights: &[u8], metric: Option<&str>) -> Result<Option<f64>> {
        python::call(|bridge| {
            let py = bridge.py();
            let arguments = (PyBytes::new(py, weights), metric, python::check(py)?);
            self.rows.bind(py).call_method1("metric_of", arguments)?.extract()
        })
    }

    /// What scoring costs on these rows, by metric and route.
    pub fn costs(&self, asked: &FilteringRequest) -> Result<Vec<MetricCost>> {
        python::call(|bridge| {
            let py = bridge.py();
            let arguments = (asked, settings::filtering_threads(), python::check(py)?);
            self.rows.bind(py).call_method1("costs", arguments)?.extract()
        })
    }
}

/// Tells the client that filtering gets less than was asked for.
fn tell_less() {
    settings::less_for_filtering().iter().for_each(|less| progress::phase(less));
}

/// Tells the client what scoring came to.
pub fn tell(
    asked: &FilteringRequest,
    scored: i64,
    failed: i64,
    seconds: f64,
    best: Option<(&str, f64)>,
    notices: &[String],
) {
    for notice in notices {
        progress::phase(notice);
    }
    if failed > 0 {
        warn(format!("{failed} of {scored} scores failed (not finite); these architectures rank last"));
    }
    progress::phase(&format!(
        "filtering: {scored} architectures scored by {} in {seconds:.2} s, the best is {}",
        asked.tfmem,
        best.filter(|(_, score)| score.is_finite()).map_or("none", |(architecture, _)| architecture),
    ));
}
