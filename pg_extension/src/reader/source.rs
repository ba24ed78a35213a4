//! What can be read from a relation: its columns, their types, its primary key.

use std::collections::HashSet;
use std::ffi::CStr;

use pgrx::pg_sys;
use pgrx::prelude::*;
use pgrx::spi::{quote_identifier, quote_qualified_identifier};

use trails_model::{Family, Reading};

use super::cell::{cell_of, Cell, READABLE_TYPES};
use super::columns::{Column, Kind};
use super::memory::{no_memory, Exhausted};
use super::named::{altered, NamedRelation};
use super::opened::{name_of, Opened};
use super::query::Query;
use super::readings::kind_of;
use crate::error::{Result, TrailsError};
use crate::{deadline, installed, settings};

/// The most columns that are learnt from.
const MOST_FEATURES: usize = 1_000;

/// A column that the reader can read.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceColumn {
    pub name: String,
    pub type_name: String,
    /// The type itself, or what the domain is over.
    pub base_type: pg_sys::Oid,
    pub cell: Cell,
    /// What it is read as; None for a text, which is found to be `id:value` or not.
    pub kind: Option<Kind>,
    /// How its texts are read, where that is known before; `kind` is what they are read as.
    pub reading: Option<Reading>,
    /// Whether it is learnt from.
    pub feature: bool,
    /// As a query lists it.
    expression: String,
}

impl SourceColumn {
    /// The same column, read as `kind`.
    pub fn read_as(&self, kind: Kind) -> Self {
        Self { kind: Some(kind), ..self.clone() }
    }

    /// The same column, its texts read in a way that is known before.
    pub fn read_with(&self, reading: Reading) -> Self {
        Self { kind: Some(kind_of(reading)), reading: Some(reading), ..self.clone() }
    }

    /// The same column, as it turned out to be when it was read.
    pub fn read_like(&self, column: &Column) -> Self {
        Self { kind: Some(column.kind()), reading: column.reading(), ..self.clone() }
    }

    /// A column of texts that stays one; it says nothing of the form of the other columns then.
    pub fn kept_text(self) -> Self {
        self.read_as(Kind::Text).aside()
    }

    /// The same column, of which nothing is learnt.
    pub fn aside(self) -> Self {
        Self { feature: false, ..self }
    }

    /// A column that holds nothing but NULLs, for whoever wants one of the family.
    pub fn of_nulls(column: &RelationColumn, family: &str) -> Self {
        let kind = match Family::named(family) {
            Some(Family::Boolean) => Kind::Boolean,
            Some(Family::Integer) => Kind::Int64,
            Some(Family::Number) => Kind::Float64,
            Some(Family::IdValue) => Kind::IdValue,
            Some(Family::Date) => Kind::Date,
            Some(Family::Timestamp) => Kind::Timestamp,
            Some(Family::Time) => Kind::Time,
            Some(Family::Interval) => Kind::Interval,
            Some(Family::Text) | None => Kind::Text,
        };
        Self {
            name: column.name.clone(),
            type_name: column.type_name.clone(),
            base_type: column.base_type,
            cell: Cell::Text,
            kind: Some(kind),
            reading: None,
            feature: false,
            expression: quote_identifier(&column.name),
        }
    }

    /// Whether it can be read as columns of a family are, or as one that the family takes for its own, and what kind it
    /// then is. Texts may be so by a reading.
    pub fn in_family(&self, family: &str, reading: Option<Reading>) -> Option<Self> {
        let kind = match (self.kind, reading) {
            (Some(kind), _) => kind,
            (None, Some(reading)) => return Some(self.read_with(reading)),
            (None, None) if family == Kind::IdValue.family() => Kind::IdValue,
            (None, None) => Kind::Text,
        };
        let families = Family::named(family).zip(Family::named(kind.family()));
        families.is_some_and(|(wanted, own)| wanted.takes(own)).then(|| self.read_as(kind))
    }
}

/// Any column of a relation.
#[derive(Debug, Clone)]
pub struct RelationColumn {
    pub name: String,
    /// As the catalogue numbers it.
    pub number: i16,
    pub type_name: String,
    pub base_type: pg_sys::Oid,
    /// None for a type that the reader does not read.
    pub cell: Option<Cell>,
    pub in_primary_key: bool,
}

impl RelationColumn {
    /// For hints: how a column of the family is made of this one.
    pub fn conversion_to(&self, family: &str) -> String {
        let (type_oid, name) = match Family::named(family) {
            Some(Family::Boolean) => (pg_sys::BOOLOID, "boolean"),
            Some(Family::Integer) => (pg_sys::INT8OID, "bigint"),
            Some(Family::Number) => (pg_sys::FLOAT8OID, "double precision"),
            Some(Family::Text) => (pg_sys::TEXTOID, "text"),
            Some(Family::Date) => (pg_sys::DATEOID, "date"),
            Some(Family::Timestamp) => (pg_sys::TIMESTAMPOID, "timestamp"),
            Some(Family::Time) => (pg_sys::TIMEOID, "time"),
            Some(Family::Interval) => (pg_sys::INTERVALOID, "interval"),
            Some(Family::IdValue) | None => {
                return "Give texts of the form id:value, such as 5381:1, in a view or in the row.".into();
            }
        };
        let mut function = pg_sys::InvalidOid;
        // SAFETY: looks into the server's caches, within the calling transaction; the one result is written to this
        // frame.
        let path = unsafe {
            let explicit = pg_sys::CoercionContext::COERCION_EXPLICIT;
            pg_sys::find_coercion_pathway(type_oid, self.base_type, explicit, &mut function)
        };
        if path == pg_sys::CoercionPathType::COERCION_PATH_NONE {
            return format!("There is no cast to {name}: give a view or a row that converts it.");
        }
        format!("Write CAST({} AS {name}) in a view or in the row.", quote_identifier(&self.name))
    }
}

/// A table, view, materialised view, foreign or partitioned table.
#[derive(Debug, Clone)]
pub struct Source {
    /// Schema-qualified and quoted.
    pub name: String,
    pub columns: Vec<RelationColumn>,
    of: NamedRelation,
    /// Whether its rows are stored as they are returned.
    stored: bool,
    /// About how many there are, where every row is one that is read.
    rows: Option<f64>,
}

impl Source {
    /// Locks the relation as whoever reads it does, until the transaction ends, and looks it up. In this order: nobody
    /// else can alter it then, and what the server's caches hold of it is what a query will find, whatever the
    /// snapshot of the calling statement.
    pub fn describe(relation: pg_sys::Oid) -> Result<Self> {
        installed::check()?;
        // The lock may be another session's for as long as it likes.
        let meant = name_of(relation);
        let opened = deadline::keep(&meant, || Ok(Opened::locked(relation)))?;
        let Some(opened) = opened else {
            return Err(TrailsError::new(
                PgSqlErrorCode::ERRCODE_UNDEFINED_TABLE,
                format!("there is no relation with OID {}", relation.to_u32()),
            )
            .hint("If it was dropped and made anew meanwhile, run the statement again."));
        };
        let (form, shape) = (opened.form(), opened.shape());
        // SAFETY: a look into the server's caches; what is not found is null.
        let schema = unsafe { pg_sys::get_namespace_name(form.relnamespace) };
        if schema.is_null() {
            return Err(TrailsError::new(PgSqlErrorCode::ERRCODE_INVALID_SCHEMA_NAME, "the relation has no schema"));
        }
        // SAFETY: both end in NUL bytes: a copy in the memory context of the statement, and a name of the open
        // relation.
        let (schema, table) = unsafe { (CStr::from_ptr(schema), CStr::from_ptr(form.relname.data.as_ptr())) };
        let name = quote_qualified_identifier(schema.to_string_lossy(), table.to_string_lossy());
        // Whoever wrote the old name may mean the relation that has it now.
        if name_of(relation) != meant {
            return Err(altered(&meant).detail(format!("It is called {name} now.")));
        }
        let kind = form.relkind as u8;
        if !b"rpvmf".contains(&kind) {
            return Err(TrailsError::new(
                PgSqlErrorCode::ERRCODE_WRONG_OBJECT_TYPE,
                format!("{name} is not a table or view"),
            ));
        }
        let key = opened.primary_key();
        let mut computed = false;
        // SAFETY: columns that have not been dropped have types, which are looked up in the server's caches; the texts
        // end in NUL bytes, and are copied.
        let columns = shape.iter().filter(|attribute| !attribute.attisdropped).map(|attribute| unsafe {
            computed |= attribute.attgenerated as u8 == b'v';
            let base_type = pg_sys::getBaseType(attribute.atttypid);
            let shown = pg_sys::format_type_with_typemod(attribute.atttypid, attribute.atttypmod);
            RelationColumn {
                name: CStr::from_ptr(attribute.attname.data.as_ptr()).to_string_lossy().into_owned(),
                number: attribute.attnum,
                type_name: CStr::from_ptr(shown).to_string_lossy().into_owned(),
                base_type,
                cell: cell_of(base_type),
                in_primary_key: key.contains(&attribute.attnum),
            }
        });
        let columns: Vec<RelationColumn> = columns.collect();
        let of = NamedRelation { relation, schema: schema.to_owned(), table: table.to_owned(), shown: name.clone() };
        let in_pages = b"rm".contains(&kind);
        let rows = if in_pages { opened.rows() } else { None };
        Ok(Self { name, columns, of, stored: !computed && in_pages, rows })
    }

    /// Columns of a row that is of no relation; `name` says in errors where it is from.
    pub fn of_row(name: &str, columns: Vec<RelationColumn>) -> Self {
        let of = NamedRelation { shown: name.to_owned(), ..NamedRelation::default() };
        Self { name: name.to_owned(), columns, of, stored: false, rows: None }
    }

    /// Refuses at once what is much too large for the memory that reading may take. Of a table whose every row is read
    /// the server knows about how many there are; a view shows as it is read. `held` is in use already.
    pub fn check_size(&self, columns: &[SourceColumn], held: usize) -> Result<()> {
        /// The estimate goes wrong by dead rows that were not yet counted off.
        const CLEARLY: f64 = 2.0;
        let Some(rows) = self.rows else { return Ok(()) };
        let width: usize = columns.iter().map(|column| column.kind.unwrap_or(Kind::Text).width()).sum();
        let (needed, limit) = (rows * width as f64, settings::reading_memory_limit());
        if held as f64 + needed <= CLEARLY * limit as f64 {
            return Ok(());
        }
        let error = no_memory(Exhausted::Limit, &self.name, 0, held);
        Err(error.detail(format!(
            "About {rows:.0} rows of {} columns would take {:.0} MB.",
            columns.len(),
            needed / f64::from(1 << 20)
        )))
    }

    pub fn find(&self, name: &str) -> Result<&RelationColumn> {
        self.columns.iter().find(|c| c.name == name).ok_or_else(|| {
            let known: Vec<String> = self.columns.iter().map(|c| quote_identifier(&c.name)).collect();
            TrailsError::new(
                PgSqlErrorCode::ERRCODE_UNDEFINED_COLUMN,
                format!("column \"{name}\" of {} does not exist", self.name),
            )
            .hint(format!("Its columns are {}.", known.join(", ")))
        })
    }

    /// The named column, which must be of a type that the reader reads.
    pub fn readable(&self, name: &str) -> Result<SourceColumn> {
        let column = self.find(name)?;
        let cell = column.cell.ok_or_else(|| {
            TrailsError::new(
                PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
                format!(
                    "column \"{name}\" of {} has type {}, which cannot be learned from",
                    self.name, column.type_name
                ),
            )
            .hint(format!(
                "Trails reads {READABLE_TYPES}. \
                 Name the columns to learn from with features => ARRAY[...], or give a view that converts it."
            ))
        })?;
        Ok(SourceColumn {
            name: column.name.clone(),
            type_name: column.type_name.clone(),
            base_type: column.base_type,
            cell,
            kind: cell.kind(),
            reading: None,
            feature: true,
            expression: quote_identifier(&column.name),
        })
    }

    /// The named column, as it is where no features are named: the primary key is none.
    pub fn as_learnt(&self, name: &str) -> Result<SourceColumn> {
        let column = self.readable(name)?;
        Ok(if self.find(name)?.in_primary_key { column.aside() } else { column })
    }

    /// All columns that can be read.
    pub fn all_as_learnt(&self) -> Result<Vec<SourceColumn>> {
        self.columns.iter().filter(|c| c.cell.is_some()).map(|c| self.as_learnt(&c.name)).collect()
    }

    /// The target column. A text is a label, whatever it looks like.
    pub fn target(&self, name: &str) -> Result<SourceColumn> {
        let column = self.readable(name)?;
        let kind = column.kind.unwrap_or(Kind::Text);
        Ok(column.read_as(kind).aside())
    }

    /// The named column as one that a model was trained with, which was of the family `family`.
    pub fn for_model(&self, name: &str, family: &str, reading: Option<Reading>) -> Result<SourceColumn> {
        let column = self.find(name)?;
        let readable = self.readable(name).map_err(|error| error.hint(column.conversion_to(family)))?;
        readable.in_family(family, reading).ok_or_else(|| self.mismatch(column, family))
    }

    /// The error that a column of another family is.
    pub fn mismatch(&self, column: &RelationColumn, family: &str) -> TrailsError {
        TrailsError::new(
            PgSqlErrorCode::ERRCODE_DATATYPE_MISMATCH,
            format!(
                "column \"{}\" has type {} in {}, and the model was trained with {family}",
                column.name, column.type_name, self.name
            ),
        )
        .hint(column.conversion_to(family))
    }

    /// Columns that would be learnt from if they were of a type that can be, with the reason.
    pub fn unreadable(&self, target: Option<&str>) -> Vec<(String, String)> {
        let columns = self.candidates(target).filter(|column| column.cell.is_none());
        columns.map(|c| (c.name.clone(), format!("type {} cannot be learned from", c.type_name))).collect()
    }

    /// All columns but the target and the primary key.
    fn candidates<'a>(&'a self, target: Option<&'a str>) -> impl Iterator<Item = &'a RelationColumn> {
        self.columns.iter().filter(move |c| target != Some(c.name.as_str()) && !c.in_primary_key)
    }

    /// The columns to learn from: those named, else all that can be read but the target, if there is one, and the primary
    /// key.
    pub fn features(&self, named: Option<&[String]>, target: Option<&str>) -> Result<Vec<SourceColumn>> {
        let names: Vec<String> = match named {
            Some(names) => names.to_vec(),
            None => self.candidates(target).filter(|c| c.cell.is_some()).map(|c| c.name.clone()).collect(),
        };
        if names.is_empty() {
            return Err(TrailsError::argument(format!("{} has no column to learn from", self.name))
                .detail(
                    "Every column is the target, part of the primary key, or of a type that cannot be learned from.",
                )
                .hint(format!("Give a view with other columns: Trails reads {READABLE_TYPES}.")));
        }
        if names.len() > MOST_FEATURES {
            return Err(TrailsError::new(
                PgSqlErrorCode::ERRCODE_TOO_MANY_COLUMNS,
                format!("{} columns are too many to learn from: {MOST_FEATURES} are possible", names.len()),
            )
            .hint("Name the columns to learn from with features => ARRAY[...]."));
        }
        check_features(&names, target)?;
        names.iter().map(|name| self.readable(name)).collect()
    }

    /// The primary key, when it is one integer column.
    pub fn integer_key(&self) -> Option<SourceColumn> {
        let mut key = self.columns.iter().filter(|c| c.in_primary_key);
        match (key.next(), key.next()) {
            (Some(c), None) if matches!(c.cell, Some(Cell::Int2 | Cell::Int4 | Cell::Int8)) => {
                self.readable(&c.name).ok()
            }
            _ => None,
        }
    }

    /// The primary key as one text: its value, or the text of all its columns' row; None without a primary key.
    pub fn key_text(&self) -> Option<SourceColumn> {
        let names: Vec<String> =
            self.columns.iter().filter(|c| c.in_primary_key).map(|c| quote_identifier(&c.name)).collect();
        let value = match names.as_slice() {
            [] => return None,
            [name] => name.clone(),
            names => format!("ROW({})", names.join(", ")),
        };
        Some(SourceColumn {
            name: "key".into(),
            type_name: "text".into(),
            base_type: pg_sys::TEXTOID,
            cell: Cell::Text,
            kind: Some(Kind::Key),
            reading: None,
            feature: false,
            expression: format!("CAST({value} AS pg_catalog.text)"),
        })
    }

    /// The named column as it is stored, for whoever reads its type in a way of its own.
    pub fn stored(&self, name: &str) -> Result<SourceColumn> {
        let column = self.find(name)?;
        Ok(SourceColumn {
            name: column.name.clone(),
            type_name: column.type_name.clone(),
            base_type: column.base_type,
            cell: Cell::Text,
            kind: Some(Kind::Text),
            reading: None,
            feature: false,
            expression: quote_identifier(&column.name),
        })
    }

    /// The named column as the server spells it.
    pub fn text(&self, name: &str) -> Result<SourceColumn> {
        let column = self.find(name)?;
        Ok(SourceColumn {
            name: column.name.clone(),
            type_name: "text".into(),
            base_type: pg_sys::TEXTOID,
            cell: Cell::Text,
            kind: Some(Kind::Key),
            reading: None,
            feature: false,
            expression: format!("CAST({} AS pg_catalog.text)", quote_identifier(&column.name)),
        })
    }

    /// A query for `columns`. Where the caller may read the whole table, it asks for whole rows, which come as they are
    /// stored; columns picked from them would be copied into rows of their own first, and take twice the time.
    pub fn query(&self, columns: &[SourceColumn]) -> Query {
        let all: Vec<String> = self.columns.iter().map(|c| quote_identifier(&c.name)).collect();
        let place = |column: &SourceColumn| all.iter().position(|listed| *listed == column.expression);
        match columns.iter().map(place).collect::<Option<Vec<usize>>>() {
            Some(places) if self.stored && self.permitted() => {
                let keys = self.columns.iter().enumerate().filter(|(_, column)| column.in_primary_key);
                let key = keys.map(|(place, column)| (column.name.clone(), place)).collect();
                Query { sql: format!("SELECT {} FROM {}", all.join(", "), self.name), places, of: self.of.clone(), key }
            }
            _ => self.select(columns),
        }
    }

    fn permitted(&self) -> bool {
        let rights = pg_sys::ACL_SELECT.into();
        // SAFETY: a look into the server's caches. The relation is locked, so that it is there.
        unsafe {
            pg_sys::pg_class_aclcheck(self.of.relation, pg_sys::GetUserId(), rights) == pg_sys::AclResult::ACLCHECK_OK
        }
    }

    /// `SELECT columns FROM relation`, every name quoted by PostgreSQL; with the primary key where the caller may read it.
    pub fn select(&self, columns: &[SourceColumn]) -> Query {
        let mut list: Vec<String> = columns.iter().map(|c| c.expression.clone()).collect();
        let mut key = Vec::new();
        if let Some(place) = columns.iter().position(|column| column.kind == Some(Kind::Key)) {
            key.push((columns[place].name.clone(), place));
        } else if self.columns.iter().filter(|c| c.in_primary_key).all(|c| self.readable_by_caller(c)) {
            for column in self.columns.iter().filter(|c| c.in_primary_key) {
                key.push((column.name.clone(), list.len()));
                list.push(quote_identifier(&column.name));
            }
        }
        Query {
            sql: format!("SELECT {} FROM {}", list.join(", "), self.name),
            places: (0..columns.len()).collect(),
            of: self.of.clone(),
            key,
        }
    }

    fn readable_by_caller(&self, column: &RelationColumn) -> bool {
        let rights = pg_sys::ACL_SELECT.into();
        // SAFETY: as in `permitted`; the column is one of the relation's.
        self.permitted()
            || unsafe {
                pg_sys::pg_attribute_aclcheck(self.of.relation, column.number, pg_sys::GetUserId(), rights)
                    == pg_sys::AclResult::ACLCHECK_OK
            }
    }
}

/// Refuses features of which one is the target, or named twice.
pub fn check_features(names: &[String], target: Option<&str>) -> Result<()> {
    let mut seen = HashSet::new();
    for name in names {
        if target == Some(name.as_str()) {
            return Err(TrailsError::argument(format!("the target \"{name}\" is among the features"))
                .hint("Leave it out of features; a model that is shown the answer learns nothing."));
        }
        if !seen.insert(name) {
            return Err(TrailsError::argument(format!("feature \"{name}\" is named twice")));
        }
    }
    Ok(())
}
