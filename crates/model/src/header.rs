//! The JSON half of a model: what it predicts, which columns it reads, how each field is encoded.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use crate::columns::Family;
use crate::error::{fail, Error, Result};

const FORMAT: &str = "trails.model";
const VERSION: u64 = 1;

/// Bytes of the JSON text, values in it (about: commas and opening brackets outside of texts), and how deep they nest.
const MOST_BYTES: usize = 16 << 20;
const MOST_VALUES: usize = 1 << 18;
const DEEPEST: usize = 32;
/// Bytes of one text that prediction reads, such as a name or a label: every predicted row holds a label.
pub const LONGEST_TEXT: usize = 1_000;
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
}

/// The column that is predicted. Mean and standard deviation of a regression's training rows, else 0 and 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    pub name: String,
    pub family: Family,
    pub mean: f64,
    pub std: f64,
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
}

impl Encoding {
    const ALL: [Self; 3] = [Self::Categories, Self::Bins, Self::Scaled];

    pub fn name(self) -> &'static str {
        match self {
            Encoding::Categories => "categories",
            Encoding::Bins => "bins",
            Encoding::Scaled => "scaled",
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct FieldHeader {
    pub column: String,
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
        if format != FORMAT || version != VERSION {
            fail!("the model is of format {format} {version}, and this release reads {FORMAT} {VERSION}");
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
            },
            classes: whole.classes()?,
            columns: whole
                .each("columns", |column| Ok(Input { name: column.text("name")?, family: column.family()? }))?,
            fields: whole.each("fields", FieldHeader::read)?,
            column_of: Vec::new(),
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
        if let Some(twice) = first_twice(self.classes.iter().map(String::as_str)) {
            fail!("the model has the class \"{twice}\" twice");
        }
        if let Some(twice) = first_twice(self.columns.iter().map(|input| input.name.as_str())) {
            fail!("the model names column \"{twice}\" twice");
        }
        if !(1..=MOST_FIELDS).contains(&self.fields.len()) {
            fail!("the model has {} fields, and 1 to {MOST_FIELDS} are possible", self.fields.len());
        }
        // In order of first use, no column without a field, and all fields of a column of its kind.
        let places: HashMap<&str, usize> =
            self.columns.iter().enumerate().map(|(place, input)| (input.name.as_str(), place)).collect();
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
            column_of.push(place);
        }
        if used != self.columns.len() {
            fail!("the model's columns are not those that its fields read");
        }
        self.column_of = column_of;
        Ok(())
    }
}

impl Task {
    fn name(self) -> &'static str {
        match self {
            Task::Binary => "binary",
            Task::Multiclass => "multiclass",
            Task::Regression => "regression",
        }
    }
}

impl FieldHeader {
    fn read(field: &Object<'_>) -> Result<Self> {
        Ok(Self {
            column: field.text("column")?,
            family: field.family()?,
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

/// An object of the header, whose entries are of the types that are asked for.
struct Object<'a> {
    entries: &'a Map<String, Value>,
}

impl<'a> Object<'a> {
    fn of(value: &'a Value, what: &str) -> Result<Self> {
        match value {
            Value::Object(entries) => Ok(Self { entries }),
            _ => fail!("{what} is no JSON object"),
        }
    }

    fn entry(&self, name: &str) -> Result<&'a Value> {
        match self.entries.get(name) {
            Some(value) => Ok(value),
            None => fail!("the model's header has no \"{name}\""),
        }
    }

    fn object(&self, name: &str) -> Result<Self> {
        Self::of(self.entry(name)?, name)
    }

    fn list(&self, name: &str) -> Result<&'a [Value]> {
        match self.entry(name)? {
            Value::Array(values) => Ok(values),
            _ => fail!("\"{name}\" of the model's header is no list"),
        }
    }

    fn each<T>(&self, name: &str, read: impl Fn(&Self) -> Result<T>) -> Result<Vec<T>> {
        self.list(name)?.iter().map(|value| read(&Self::of(value, name)?)).collect()
    }

    fn text(&self, name: &str) -> Result<String> {
        text_of(self.entry(name)?, name)
    }

    /// A number without sign, point and exponent, of at most 64 bits.
    fn whole(&self, name: &str) -> Result<u64> {
        match self.entry(name)?.as_u64() {
            Some(number) => Ok(number),
            None => fail!("\"{name}\" of the model's header is no whole number"),
        }
    }

    /// JSON has finite numbers only.
    fn number(&self, name: &str) -> Result<f64> {
        match self.entry(name)?.as_f64() {
            Some(number) if number.is_finite() => Ok(number),
            _ => fail!("\"{name}\" of the model's header is no number"),
        }
    }

    fn deviation(&self) -> Result<f64> {
        match self.number("std")? {
            std if std > 0.0 => Ok(std),
            std => fail!("a standard deviation of the model's header is {std}"),
        }
    }

    fn one_of<T: Copy>(&self, name: &str, all: &[T], name_of: impl Fn(T) -> &'static str) -> Result<T> {
        let given = self.text(name)?;
        match all.iter().find(|one| name_of(**one) == given) {
            Some(one) => Ok(*one),
            None => fail!("the model's header has the {name} \"{given}\", which there is not"),
        }
    }

    fn family(&self) -> Result<Family> {
        self.one_of("kind", &Family::ALL, Family::name)
    }

    fn classes(&self) -> Result<Vec<String>> {
        match self.entry("classes")? {
            Value::Null => Ok(Vec::new()),
            _ => self.list("classes")?.iter().map(|label| text_of(label, "classes")).collect(),
        }
    }
}

fn text_of(value: &Value, name: &str) -> Result<String> {
    match value {
        Value::String(text) => {
            check_length(text)?;
            Ok(text.clone())
        }
        _ => fail!("\"{name}\" of the model's header is no text"),
    }
}

fn check_length(text: &str) -> Result<()> {
    if text.len() > LONGEST_TEXT {
        fail!("a text of the model is {} bytes long, and {LONGEST_TEXT} are possible", text.len());
    }
    Ok(())
}

fn first_twice<'a>(names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let mut seen = HashSet::new();
    names.into_iter().find(|name| !seen.insert(*name))
}

/// Refuses, before it is taken apart, a text that would take much memory or a deep stack.
fn check_extent(text: &str) -> Result<()> {
    if text.len() > MOST_BYTES {
        fail!("the model's header is {} bytes long, and {MOST_BYTES} are possible", text.len());
    }
    let (mut depth, mut values) = (0usize, 0usize);
    let (mut quoted, mut escaped) = (false, false);
    for byte in text.bytes() {
        if quoted {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => quoted = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => quoted = true,
            b',' => values += 1,
            b'[' | b'{' => {
                values += 1;
                depth += 1;
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEEPEST {
            fail!("the model's header nests more than {DEEPEST} deep");
        }
        if values > MOST_VALUES {
            fail!("the model's header holds more than {MOST_VALUES} values");
        }
    }
    Ok(())
}

/// No text of the server holds a NUL character. The recursion is as deep as `DEEPEST`.
fn check_texts(value: &Value) -> Result<()> {
    let whole = |text: &str| match text.contains('\0') {
        true => fail!("a text of the model's header holds a NUL character"),
        false => Ok(()),
    };
    match value {
        Value::String(text) => whole(text),
        Value::Array(values) => values.iter().try_for_each(check_texts),
        Value::Object(entries) => entries.iter().try_for_each(|(name, value)| {
            whole(name)?;
            check_texts(value)
        }),
        _ => Ok(()),
    }
}
