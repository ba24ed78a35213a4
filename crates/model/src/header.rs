//! The JSON half of a model: what it predicts, which columns it reads, how each field is encoded.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use crate::columns::Family;
use crate::error::{fail, Error, Result};
use crate::json::{check_extent, check_length, check_texts, text_of, Object};
use crate::operations::OperationHeader;
use crate::reading::Reading;

const FORMAT: &str = "trails.model";
/// The first has layers, one behind the other; the second says in `operations` what is computed.
const VERSIONS: [u64; 2] = [1, 2];

const MOST_FIELDS: usize = 1 << 14;
const MOST_CLASSES: usize = 1_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    Binary,
    Multiclass,
    Regression,
}

/// A column that a source must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    pub name: String,
    pub family: Family,
    /// How its texts are read, where it was a column of texts.
    pub reading: Option<Reading>,
}

/// The column that is predicted. Mean and standard deviation of a regression's training rows, else 0 and 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    pub name: String,
    pub family: Family,
    pub mean: f64,
    pub std: f64,
    /// None where the number itself is learnt.
    pub scale: Option<LogScale>,
}

/// The logarithm of a number that is not below 0 is what was learnt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LogScale {
    /// Added to the number before its logarithm is taken.
    pub shift: f64,
    /// No prediction is greater.
    pub most: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Value,
    Month,
    Weekday,
    Hour,
}

impl Part {
    const ALL: [Self; 4] = [Self::Value, Self::Month, Self::Weekday, Self::Hour];

    pub fn name(self) -> &'static str {
        match self {
            Part::Value => "value",
            Part::Month => "month",
            Part::Weekday => "weekday",
            Part::Hour => "hour",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Categories,
    Bins,
    Scaled,
    Interpolated,
}

impl Encoding {
    const ALL: [Self; 4] = [Self::Categories, Self::Bins, Self::Scaled, Self::Interpolated];

    pub fn name(self) -> &'static str {
        match self {
            Encoding::Categories => "categories",
            Encoding::Bins => "bins",
            Encoding::Scaled => "scaled",
            Encoding::Interpolated => "interpolated",
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct FieldHeader {
    pub column: String,
    pub family: Family,
    pub reading: Option<Reading>,
    pub part: Part,
    pub encoding: Encoding,
    pub first: u64,
    pub slots: u64,
    pub buckets: u64,
    pub scale: f64,
    pub mean: f64,
    pub std: f64,
}

/// Of the entries that prediction has no use for, metrics and how it was trained, it is checked that they are there.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    pub task: Task,
    pub architecture: String,
    pub embedding: u64,
    pub target: Target,
    /// None of a regression.
    pub classes: Vec<String>,
    pub columns: Vec<Input>,
    pub fields: Vec<FieldHeader>,
    /// Of every field the place of its column.
    pub column_of: Vec<usize>,
    /// None of version 1.
    pub operations: Option<Vec<OperationHeader>>,
}

impl Header {
    pub fn parse(text: &str) -> Result<Self> {
        check_extent(text)?;
        let malformed =
            |error: serde_json::Error| Error::Invalid(format!("the model's header cannot be read: {error}"));
        let value: Value = serde_json::from_str(text).map_err(malformed)?;
        check_texts(&value)?;
        let whole = Object::of(&value, "the header")?;
        // The version first: another one may differ in everything else.
        let (format, version) = (whole.text("format")?, whole.whole("version")?);
        if format != FORMAT || !VERSIONS.contains(&version) {
            let [first, last] = VERSIONS;
            fail!("the model is of format {format} {version}, and this release reads {FORMAT} {first} and {last}");
        }
        let (metrics, _) = (whole.object("metrics")?, whole.object("training")?);
        for name in metrics.entries.keys() {
            check_length(name)?;
            metrics.number(name)?;
        }
        let target = whole.object("target")?;
        let mut header = Self {
            task: whole.one_of("task", &[Task::Binary, Task::Multiclass, Task::Regression], Task::name)?,
            architecture: whole.text("architecture")?,
            embedding: whole.whole("embedding")?,
            target: Target {
                name: target.text("name")?,
                family: target.family()?,
                mean: target.number("mean")?,
                std: target.deviation()?,
                scale: target.scale(version)?,
            },
            classes: whole.classes()?,
            columns: whole.each("columns", |column| {
                Ok(Input { name: column.text("name")?, family: column.family()?, reading: None })
            })?,
            fields: whole.each("fields", FieldHeader::read)?,
            column_of: Vec::new(),
            operations: match version {
                1 => None,
                _ => Some(whole.each("operations", OperationHeader::read)?),
            },
        };
        header.check()?;
        Ok(header)
    }

    /// Numbers that the network puts out for a row.
    pub fn outputs(&self) -> usize {
        match self.task {
            Task::Multiclass => self.classes.len(),
            Task::Binary | Task::Regression => 1,
        }
    }

    fn check(&mut self) -> Result<()> {
        let classes = self.classes.len();
        match self.task {
            Task::Binary if classes != 2 => fail!("a binary model has {classes} classes"),
            Task::Multiclass if !(2..=MOST_CLASSES).contains(&classes) => {
                fail!("a multi-class model has {classes} classes")
            }
            Task::Regression if classes != 0 => fail!("a regression has {classes} classes"),
            _ => {}
        }
        if self.target.scale.is_some() && self.task != Task::Regression {
            fail!("a model of the task {} has a target with a scale", self.task.name());
        }
        if let Some(twice) = first_twice(self.classes.iter().map(String::as_str)) {
            fail!("the model has the class \"{twice}\" twice");
        }
        if let Some(twice) = first_twice(self.columns.iter().map(|input| input.name.as_str())) {
            fail!("the model names column \"{twice}\" twice");
        }
        if !(1..=MOST_FIELDS).contains(&self.fields.len()) {
            fail!("the model has {} fields, and 1 to {MOST_FIELDS} are possible", self.fields.len());
        }
        if self.operations.is_none() && self.fields.iter().any(|field| field.encoding == Encoding::Interpolated) {
            fail!("the model has a field that is interpolated, which there is not in version 1");
        }
        // In order of first use, no column without a field, and all fields of a column of its kind.
        let places: HashMap<&str, usize> =
            self.columns.iter().enumerate().map(|(place, input)| (input.name.as_str(), place)).collect();
        let mut readings = vec![None; self.columns.len()];
        let mut used = 0;
        let mut column_of = Vec::with_capacity(self.fields.len());
        for field in &self.fields {
            match places.get(field.column.as_str()) {
                Some(&place) if place <= used => used = used.max(place + 1),
                _ => fail!("the model's columns are not those that its fields read, in the order in which they do"),
            }
            let place = places[field.column.as_str()];
            if self.columns[place].family != field.family {
                fail!("the fields of column \"{}\" differ in kind", field.column);
            }
            readings[place].get_or_insert(field.reading);
            if readings[place] != Some(field.reading) {
                fail!("the fields of column \"{}\" differ in how its texts are read", field.column);
            }
            column_of.push(place);
        }
        if used != self.columns.len() {
            fail!("the model's columns are not those that its fields read");
        }
        drop(places);
        for (input, reading) in self.columns.iter_mut().zip(readings) {
            input.reading = reading.flatten();
        }
        self.column_of = column_of;
        Ok(())
    }
}

impl Task {
    pub fn name(self) -> &'static str {
        match self {
            Task::Binary => "binary",
            Task::Multiclass => "multiclass",
            Task::Regression => "regression",
        }
    }
}

impl FieldHeader {
    fn read(field: &Object<'_>) -> Result<Self> {
        let family = field.family()?;
        // What an earlier release wrote has none.
        let reading = match field.entries.get("reading") {
            None => None,
            Some(_) => Some(field.one_of("reading", &Reading::ALL, Reading::name)?),
        };
        if let Some(reading) = reading.filter(|reading| reading.family() != family) {
            fail!("texts that are read as {} are no {}", reading.name(), family.name());
        }
        Ok(Self {
            column: field.text("column")?,
            family,
            reading,
            part: field.one_of("part", &Part::ALL, Part::name)?,
            encoding: field.one_of("encoding", &Encoding::ALL, Encoding::name)?,
            first: field.whole("first")?,
            slots: field.whole("slots")?,
            buckets: field.whole("buckets")?,
            scale: field.number("scale")?,
            mean: field.number("mean")?,
            std: field.deviation()?,
        })
    }
}

impl Object<'_> {
    fn family(&self) -> Result<Family> {
        self.one_of("kind", &Family::ALL, Family::name)
    }

    /// Of a target. Version 1 has none: what its header says there was never looked at.
    fn scale(&self, version: u64) -> Result<Option<LogScale>> {
        if version == 1 || !self.entries.contains_key("scale") {
            return Ok(None);
        }
        self.one_of("scale", &["log"], |name| name)?;
        let (shift, most) = (self.number("shift")?, self.number("most")?);
        if !(shift > 0.0 && most > 0.0) {
            fail!("the target's logarithm has the shift {shift}, and predictions of at most {most}");
        }
        Ok(Some(LogScale { shift, most }))
    }

    fn classes(&self) -> Result<Vec<String>> {
        match self.entry("classes")? {
            Value::Null => Ok(Vec::new()),
            _ => self.list("classes")?.iter().map(|label| text_of(label, "classes")).collect(),
        }
    }
}

fn first_twice<'a>(names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let mut seen = HashSet::new();
    names.into_iter().find(|name| !seen.insert(*name))
}
