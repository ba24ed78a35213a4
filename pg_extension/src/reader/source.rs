//! What can be read from a relation: its columns, their types, its primary key.

use pgrx::pg_sys;
use pgrx::prelude::*;
use pgrx::spi::{quote_identifier, quote_qualified_identifier};

use super::cell::{cell_of, Cell, READABLE_TYPES};
use super::columns::Kind;
use crate::error::{Result, TrailsError};

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
    /// As a query lists it.
    expression: String,
}

impl SourceColumn {
    /// The same column, read as `kind`.
    pub fn read_as(&self, kind: Kind) -> Self {
        Self { kind: Some(kind), ..self.clone() }
    }

    /// Whether it can be read as columns of a family are, and what kind it then is.
    pub fn in_family(&self, family: &str) -> Option<Self> {
        let kind = match self.kind {
            Some(kind) => kind,
            None if family == Kind::IdValue.family() => Kind::IdValue,
            None => Kind::Text,
        };
        (kind.family() == family).then(|| self.read_as(kind))
    }
}

/// Any column of a relation.
#[derive(Debug, Clone)]
pub struct RelationColumn {
    pub name: String,
    pub type_name: String,
    pub base_type: pg_sys::Oid,
    /// None for a type that the reader does not read.
    pub cell: Option<Cell>,
    pub in_primary_key: bool,
}

/// A table, view, materialised view, foreign or partitioned table.
#[derive(Debug, Clone)]
pub struct Source {
    /// Schema-qualified and quoted.
    pub name: String,
    pub columns: Vec<RelationColumn>,
    /// The relation, if its rows are stored as they are returned.
    pub whole_rows: Option<pg_sys::Oid>,
}

/// A query, and where in its rows each wanted column is.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    pub sql: String,
    pub places: Vec<usize>,
}

impl Source {
    /// Looks the relation up in the system catalogue.
    pub fn describe(relation: pg_sys::Oid) -> Result<Self> {
        // Spi's own shortcuts take a transaction id, which a standby has none of.
        let found = Spi::connect(|client| {
            client
                .select(
                    "SELECT n.nspname::pg_catalog.text, c.relname::pg_catalog.text, c.relkind::pg_catalog.text \
                     FROM pg_catalog.pg_class c \
                     JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace \
                     WHERE c.oid OPERATOR(pg_catalog.=) $1",
                    Some(1),
                    &[relation.into()],
                )?
                .first()
                .get_three::<String, String, String>()
        });
        let Ok((Some(schema), Some(table), Some(kind))) = found else {
            return Err(TrailsError::new(
                PgSqlErrorCode::ERRCODE_UNDEFINED_TABLE,
                format!("there is no relation with OID {}", relation.to_u32()),
            ));
        };
        let name = quote_qualified_identifier(&schema, &table);
        if !["r", "p", "v", "m", "f"].contains(&kind.as_str()) {
            return Err(TrailsError::new(
                PgSqlErrorCode::ERRCODE_WRONG_OBJECT_TYPE,
                format!("{name} is not a table or view"),
            ));
        }
        let mut computed = false;
        let columns = Spi::connect(|client| -> Result<Vec<RelationColumn>> {
            let rows = client.select(
                "SELECT a.attname::pg_catalog.text, a.atttypid, pg_catalog.format_type(a.atttypid, a.atttypmod), \
                        COALESCE(i.indisprimary, false), a.attgenerated OPERATOR(pg_catalog.=) 'v' \
                 FROM pg_catalog.pg_attribute a LEFT JOIN pg_catalog.pg_index i \
                   ON i.indrelid OPERATOR(pg_catalog.=) a.attrelid AND i.indisprimary \
                  AND a.attnum OPERATOR(pg_catalog.=) ANY (i.indkey::pg_catalog.int2[]) \
                 WHERE a.attrelid OPERATOR(pg_catalog.=) $1 AND a.attnum OPERATOR(pg_catalog.>) 0 \
                   AND NOT a.attisdropped ORDER BY a.attnum",
                None,
                &[relation.into()],
            )?;
            rows.map(|row| {
                let type_oid = row.get::<pg_sys::Oid>(2)?.unwrap_or(pg_sys::InvalidOid);
                computed |= row.get::<bool>(5)?.unwrap_or(false);
                Ok(RelationColumn {
                    name: row.get::<String>(1)?.unwrap_or_default(),
                    type_name: row.get::<String>(3)?.unwrap_or_default(),
                    base_type: unsafe { pg_sys::getBaseType(type_oid) },
                    cell: cell_of(unsafe { pg_sys::getBaseType(type_oid) }),
                    in_primary_key: row.get::<bool>(4)?.unwrap_or(false),
                })
            })
            .collect()
        })?;
        let stored = !computed && ["r", "m"].contains(&kind.as_str());
        Ok(Self { name, columns, whole_rows: stored.then_some(relation) })
    }

    fn find(&self, name: &str) -> Result<&RelationColumn> {
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
            expression: quote_identifier(&column.name),
        })
    }

    /// The target column. A text is a label, whatever it looks like.
    pub fn target(&self, name: &str) -> Result<SourceColumn> {
        let column = self.readable(name)?;
        let kind = column.kind.unwrap_or(Kind::Text);
        Ok(column.read_as(kind))
    }

    /// The named column as one that a model was trained with, which was of the family `family`.
    pub fn for_model(&self, name: &str, family: &str) -> Result<SourceColumn> {
        let column = self.readable(name)?;
        column.in_family(family).ok_or_else(|| {
            TrailsError::new(
                PgSqlErrorCode::ERRCODE_DATATYPE_MISMATCH,
                format!(
                    "column \"{name}\" has type {} in {}, and the model was trained with {family}",
                    column.type_name, self.name
                ),
            )
        })
    }

    /// The columns to learn from: those named, else all but the target, if there is one, and the primary key.
    pub fn features(&self, named: Option<&[String]>, target: Option<&str>) -> Result<Vec<SourceColumn>> {
        let names: Vec<String> = match named {
            Some(names) => names.to_vec(),
            None => {
                let is_target = |c: &&RelationColumn| target == Some(c.name.as_str());
                self.columns.iter().filter(|c| !is_target(c) && !c.in_primary_key).map(|c| c.name.clone()).collect()
            }
        };
        if names.is_empty() {
            return Err(TrailsError::argument(format!("{} has no column to learn from", self.name))
                .hint("Every column is the target or part of the primary key."));
        }
        if names.len() > MOST_FEATURES {
            return Err(TrailsError::new(
                PgSqlErrorCode::ERRCODE_TOO_MANY_COLUMNS,
                format!("{} columns are too many to learn from: {MOST_FEATURES} are possible", names.len()),
            )
            .hint("Name the columns to learn from with features => ARRAY[...]."));
        }
        for (place, name) in names.iter().enumerate() {
            if target == Some(name.as_str()) {
                return Err(TrailsError::argument(format!("the target \"{name}\" is among the features"))
                    .hint("Leave it out of features; a model that is shown the answer learns nothing."));
            }
            if names[..place].contains(name) {
                return Err(TrailsError::argument(format!("feature \"{name}\" is named twice")));
            }
        }
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
            expression: format!("CAST({value} AS pg_catalog.text)"),
        })
    }

    /// A query for `columns`. Where the caller may read the whole table, it asks for whole rows, which come as they are
    /// stored; columns picked from them would be copied into rows of their own first, and take twice the time.
    pub fn query(&self, columns: &[SourceColumn]) -> Query {
        let permitted = |relation| unsafe {
            let rights = pg_sys::ACL_SELECT.into();
            pg_sys::pg_class_aclcheck(relation, pg_sys::GetUserId(), rights) == pg_sys::AclResult::ACLCHECK_OK
        };
        let all: Vec<String> = self.columns.iter().map(|c| quote_identifier(&c.name)).collect();
        let place = |column: &SourceColumn| all.iter().position(|listed| *listed == column.expression);
        match columns.iter().map(place).collect::<Option<Vec<usize>>>() {
            Some(places) if self.whole_rows.is_some_and(permitted) => {
                Query { sql: format!("SELECT {} FROM {}", all.join(", "), self.name), places }
            }
            _ => Query { sql: self.select(columns), places: (0..columns.len()).collect() },
        }
    }

    /// `SELECT columns FROM relation`, every name quoted by PostgreSQL.
    pub fn select(&self, columns: &[SourceColumn]) -> String {
        let list: Vec<&str> = columns.iter().map(|c| c.expression.as_str()).collect();
        format!("SELECT {} FROM {}", list.join(", "), self.name)
    }
}
