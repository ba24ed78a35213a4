//! What can be read from a relation: its columns, their types, its primary key.

use pgrx::pg_sys;
use pgrx::prelude::*;
use pgrx::spi::{quote_identifier, quote_qualified_identifier};

use super::Cell;
use crate::error::{Result, TrailsError};

/// A column that the reader can read.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceColumn {
    pub name: String,
    pub type_name: String,
    pub cell: Cell,
}

/// Any column of a relation.
#[derive(Debug, Clone)]
pub struct RelationColumn {
    pub name: String,
    pub type_name: String,
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
}

fn cell_of(type_oid: pg_sys::Oid) -> Option<Cell> {
    match unsafe { pg_sys::getBaseType(type_oid) } {
        pg_sys::BOOLOID => Some(Cell::Bool),
        pg_sys::INT2OID => Some(Cell::Int2),
        pg_sys::INT4OID => Some(Cell::Int4),
        pg_sys::INT8OID => Some(Cell::Int8),
        pg_sys::TEXTOID | pg_sys::VARCHAROID => Some(Cell::IdValueText),
        _ => None,
    }
}

impl Source {
    /// Looks the relation up in the system catalogue.
    pub fn describe(relation: pg_sys::Oid) -> Result<Self> {
        let found = Spi::get_three_with_args::<String, String, String>(
            "SELECT n.nspname::text, c.relname::text, c.relkind::text FROM pg_catalog.pg_class c \
             JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace \
             WHERE c.oid OPERATOR(pg_catalog.=) $1",
            &[relation.into()],
        );
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
        let columns = Spi::connect(|client| -> Result<Vec<RelationColumn>> {
            let rows = client.select(
                "SELECT a.attname::text, a.atttypid, pg_catalog.format_type(a.atttypid, a.atttypmod), \
                        COALESCE(i.indisprimary, false) \
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
                Ok(RelationColumn {
                    name: row.get::<String>(1)?.unwrap_or_default(),
                    type_name: row.get::<String>(3)?.unwrap_or_default(),
                    cell: cell_of(type_oid),
                    in_primary_key: row.get::<bool>(4)?.unwrap_or(false),
                })
            })
            .collect()
        })?;
        Ok(Self { name, columns })
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
                    "column \"{name}\" of {} has type {}, which cannot be learned from yet",
                    self.name, column.type_name
                ),
            )
            .hint(
                "Integers, booleans and text of the form id:value can. \
                 Name the columns to learn from with features => ARRAY[...], or give a view that converts it.",
            )
        })?;
        Ok(SourceColumn { name: column.name.clone(), type_name: column.type_name.clone(), cell })
    }

    /// The target column, which must hold integers or booleans.
    pub fn target(&self, name: &str) -> Result<SourceColumn> {
        let column = self.find(name)?;
        match column.cell {
            Some(Cell::Bool | Cell::Int2 | Cell::Int4 | Cell::Int8) => self.readable(name),
            _ => Err(TrailsError::new(
                PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
                format!(
                    "target \"{name}\" of {} has type {}; it must be an integer or boolean column with two values",
                    self.name, column.type_name
                ),
            )),
        }
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

    /// `SELECT columns FROM relation`, every name quoted by PostgreSQL.
    pub fn select(&self, columns: &[SourceColumn]) -> String {
        let list: Vec<String> = columns.iter().map(|c| quote_identifier(&c.name)).collect();
        format!("SELECT {} FROM {}", list.join(", "), self.name)
    }
}
