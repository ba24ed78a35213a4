//! The JSON half of a model: what it predicts, which columns it reads, how each field is encoded.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::columns::Family;
use crate::error::{fail, Error, Result};

const FORMAT: &str = "trails.model";
const VERSION: u32 = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    Binary,
    Multiclass,
    Regression,
}

/// A column that a source must have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    pub name: String,
    #[serde(rename = "kind")]
    pub family: Family,
}

/// The column that is predicted. Mean and standard deviation of a regression's training rows, else 0 and 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Target {
    pub name: String,
    #[serde(rename = "kind")]
    pub family: Family,
    pub mean: f64,
    pub std: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    Value,
    Month,
    Weekday,
    Hour,
}

impl Part {
    pub fn name(self) -> &'static str {
        match self {
            Part::Value => "value",
            Part::Month => "month",
            Part::Weekday => "weekday",
            Part::Hour => "hour",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    Categories,
    Bins,
    Scaled,
}

impl Encoding {
    pub fn name(self) -> &'static str {
        match self {
            Encoding::Categories => "categories",
            Encoding::Bins => "bins",
            Encoding::Scaled => "scaled",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FieldHeader {
    pub column: String,
    #[serde(rename = "kind")]
    pub family: Family,
    pub part: Part,
    pub encoding: Encoding,
    pub first: u64,
    pub slots: u64,
    pub buckets: u64,
    pub scale: f64,
    pub mean: f64,
    pub std: f64,
}

/// Entries that prediction has no use for (metrics, how it was trained) are passed over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    pub format: String,
    pub version: u32,
    pub task: Task,
    pub architecture: String,
    pub embedding: usize,
    pub target: Target,
    pub classes: Option<Vec<String>>,
    pub columns: Vec<Input>,
    pub fields: Vec<FieldHeader>,
}

impl Header {
    pub fn parse(text: &str) -> Result<Self> {
        // The version first: another one may differ in everything else.
        #[derive(Deserialize)]
        struct Begin {
            format: String,
            version: u32,
        }
        let malformed = |error: serde_json::Error| Error(format!("the model's header cannot be read: {error}"));
        let begin: Begin = serde_json::from_str(text).map_err(malformed)?;
        if begin.format != FORMAT || begin.version != VERSION {
            fail!(
                "the model is of format {} {}, and this release reads {FORMAT} {VERSION}",
                begin.format,
                begin.version
            );
        }
        let header: Self = serde_json::from_str(text).map_err(malformed)?;
        header.check()?;
        Ok(header)
    }

    /// Numbers that the network puts out for a row.
    pub fn outputs(&self) -> usize {
        match self.task {
            Task::Multiclass => self.classes.as_ref().map_or(0, Vec::len),
            Task::Binary | Task::Regression => 1,
        }
    }

    fn check(&self) -> Result<()> {
        let classes = self.classes.as_ref().map_or(0, Vec::len);
        match self.task {
            Task::Binary if classes != 2 => fail!("a binary model has {classes} classes"),
            Task::Multiclass if classes < 2 => fail!("a multi-class model has {classes} classes"),
            Task::Regression if classes != 0 => fail!("a regression has {classes} classes"),
            _ => {}
        }
        if !self.target.mean.is_finite() || !self.target.std.is_finite() {
            fail!("mean or standard deviation of the target is not finite");
        }
        let mut names = HashSet::new();
        for input in &self.columns {
            if !names.insert(input.name.as_str()) {
                fail!("the model names column \"{}\" twice", input.name);
            }
        }
        // In order of first use, and no column without a field.
        let mut used: Vec<Input> = Vec::new();
        let mut known = HashSet::new();
        for field in &self.fields {
            if known.insert(field.column.as_str()) {
                used.push(Input { name: field.column.clone(), family: field.family });
            }
        }
        if used != self.columns {
            fail!("the model's columns are not those that its fields read");
        }
        Ok(())
    }

    /// Place of a field's column; families of all its fields must agree with the column's.
    pub fn column_of(&self, field: &FieldHeader) -> Result<usize> {
        let Some(place) = self.columns.iter().position(|c| c.name == field.column) else {
            fail!("a field reads column \"{}\", which the model does not name", field.column)
        };
        if self.columns[place].family != field.family {
            fail!("the fields of column \"{}\" differ in kind", field.column);
        }
        Ok(place)
    }
}
