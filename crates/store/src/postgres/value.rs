//! Owns how parameters go to PostgreSQL and cells come from it. PostgreSQL says of each parameter and column what it is;
//! strongroom knows integers, texts and bytes.

use std::error::Error;

use ::postgres::types::private::BytesMut;
use ::postgres::types::{IsNull, ToSql, Type, to_sql_checked};

use crate::error::StoreError;
use crate::sql::{Cell, Param, Row};

impl ToSql for Param<'_> {
    fn to_sql(&self, r#type: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match (self, r#type) {
            (Param::Null, _) => Ok(IsNull::Yes),
            (Param::Int(n), &Type::INT4) => i32::try_from(*n)?.to_sql(r#type, out),
            (Param::Int(n), &Type::INT8) => n.to_sql(r#type, out),
            (Param::Text(text), &(Type::TEXT | Type::VARCHAR)) => text.to_sql(r#type, out),
            (Param::Blob(bytes), &Type::BYTEA) => bytes.to_sql(r#type, out),
            _ => Err(format!("a parameter is wanted as {type}, which it is not").into()),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// The cells of a row.
pub(super) fn row(row: &::postgres::Row) -> Result<Row, StoreError> {
    let cells = row.columns().iter().enumerate().map(|(at, column)| {
        let cell = match *column.type_() {
            Type::INT8 => row.try_get::<_, Option<i64>>(at).map(|n| n.map(Cell::Int)),
            Type::INT4 => row.try_get::<_, Option<i32>>(at).map(|n| n.map(|n| Cell::Int(n.into()))),
            Type::BOOL => row.try_get::<_, Option<bool>>(at).map(|is| is.map(|is| Cell::Int(is.into()))),
            Type::BYTEA => row.try_get::<_, Option<Vec<u8>>>(at).map(|bytes| bytes.map(Cell::Blob)),
            _ => row.try_get::<_, Option<String>>(at).map(|text| text.map(Cell::Text)),
        };
        cell.map(|cell| cell.unwrap_or(Cell::Null)).map_err(StoreError::from)
    });
    Ok(Row::new(cells.collect::<Result<_, _>>()?))
}
