//! Owns what SQL is to the row modules: parameters in, rows out, and [`Tx`], the only thing through which a transaction's
//! closure reaches the store. The text is written once, in the subset that SQLite and PostgreSQL share, with `$1`
//! placeholders; a table states each column once, in [`table!`].

use std::fmt;

use strongroom_model::{
    AccountId, BackupId, BlobId, ClusterId, CopyId, EniId, HsmId, RegionId, RegionName, SubnetId, Timestamp, VpcId,
};

use crate::error::StoreError;

/// A value on its way into a statement. Booleans go as 0 and 1, timestamps as milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Param<'a> {
    /// NULL
    Null,
    /// BIGINT
    Int(i64),
    /// TEXT
    Text(&'a str),
    /// BLOB
    Blob(&'a [u8]),
}

/// A value of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// NULL
    Null,
    /// BIGINT
    Int(i64),
    /// TEXT
    Text(String),
    /// BLOB
    Blob(Vec<u8>),
}

/// A row of a result, its cells in the order of the statement.
#[derive(Clone, Debug, PartialEq)]
pub struct Row(Vec<Cell>);

impl Row {
    /// A row of these cells; for executors.
    pub fn new(cells: Vec<Cell>) -> Self {
        Self(cells)
    }

    /// The cell at an index, from 0. An index or a type that is not there is [`StoreError::Corrupt`].
    pub fn get<T: FromCell>(&self, index: usize) -> Result<T, StoreError> {
        let cell = self.0.get(index).cloned();
        let cell =
            cell.ok_or_else(|| StoreError::Corrupt(format!("a row of {} has no column {index}", self.0.len())))?;
        T::from_cell(cell).map_err(|e| StoreError::Corrupt(format!("column {index} {e}")))
    }

    /// The cells, one after the other.
    pub fn into_cells(self) -> std::vec::IntoIter<Cell> {
        self.0.into_iter()
    }
}

/// An open transaction, lent to a closure. Object-safe, synchronous; an executor implements it.
pub trait Tx {
    /// Runs a statement without a result; the number of rows it changed.
    fn execute(&mut self, sql: &str, params: &[Param<'_>]) -> Result<u64, StoreError>;

    /// Runs a statement with a result; all of its rows.
    fn query(&mut self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, StoreError>;
}

impl dyn Tx + '_ {
    /// The first row of a result.
    pub fn query_opt(&mut self, sql: &str, params: &[Param<'_>]) -> Result<Option<Row>, StoreError> {
        Ok(self.query(sql, params)?.into_iter().next())
    }

    /// The first column of the first row; `None` if there is no row.
    pub fn query_value<T: FromCell>(&mut self, sql: &str, params: &[Param<'_>]) -> Result<Option<T>, StoreError> {
        self.query_opt(sql, params)?.map(|row| row.get(0)).transpose()
    }

    /// The first column of every row.
    pub fn query_column<T: FromCell>(&mut self, sql: &str, params: &[Param<'_>]) -> Result<Vec<T>, StoreError> {
        self.query(sql, params)?.iter().map(|row| row.get(0)).collect()
    }

    /// Runs an UPDATE or DELETE of at most one row: whether it changed it. The compare-and-set of every state edge.
    pub fn change(&mut self, sql: &str, params: &[Param<'_>]) -> Result<bool, StoreError> {
        Ok(self.execute(sql, params)? > 0)
    }

    /// The rows of a table; `rest` is all that follows FROM, such as `WHERE account = $1 LIMIT 5`.
    pub fn select<T: Table>(&mut self, rest: &str, params: &[Param<'_>]) -> Result<Vec<T>, StoreError> {
        self.query(&[T::SELECT, rest].concat(), params)?.into_iter().map(T::from_row).collect()
    }

    /// The first row of a [`select`](Self::select).
    pub fn select_one<T: Table>(&mut self, rest: &str, params: &[Param<'_>]) -> Result<Option<T>, StoreError> {
        Ok(self.select(rest, params)?.into_iter().next())
    }

    /// Inserts a row that must be new; otherwise [`StoreError::Conflict`].
    pub fn insert<T: Table>(&mut self, row: &T) -> Result<(), StoreError> {
        self.execute(&insert_text::<T>(""), &row.params()).map(drop)
    }

    /// Inserts a row unless one with any of its unique keys is there: whether it did.
    pub fn insert_new<T: Table>(&mut self, row: &T) -> Result<bool, StoreError> {
        self.change(&insert_text::<T>(" ON CONFLICT DO NOTHING"), &row.params())
    }
}

fn insert_text<T: Table>(rest: &str) -> String {
    let places: Vec<String> = (1..=T::COLUMNS.len()).map(|n| format!("${n}")).collect();
    format!("INSERT INTO {} ({}) VALUES ({}){rest}", T::NAME, T::COLUMNS.join(", "), places.join(", "))
}

/// A table by its row struct; implemented by [`table!`].
pub trait Table: Sized {
    /// The table's name.
    const NAME: &'static str;
    /// `SELECT a, b FROM t ` with all of its columns.
    const SELECT: &'static str;
    /// Its columns, in the order of the struct's fields.
    const COLUMNS: &'static [&'static str];
    /// Reads a row of all columns.
    fn from_row(row: Row) -> Result<Self, StoreError>;
    /// All columns as parameters.
    fn params(&self) -> Vec<Param<'_>>;
}

/// Declares a row: a struct whose fields are the columns of a table.
macro_rules! table {
    ($(#[$doc:meta])* $name:ident in $table:literal {
        $(#[$first_doc:meta])* $first:ident: $first_type:ty $(, $(#[$fdoc:meta])* $field:ident: $type:ty)* $(,)?
    }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct $name {
            $(#[$first_doc])* pub $first: $first_type,
            $($(#[$fdoc])* pub $field: $type,)*
        }

        impl $crate::sql::Table for $name {
            const NAME: &'static str = $table;
            const SELECT: &'static str =
                concat!("SELECT ", stringify!($first), $(", ", stringify!($field),)* " FROM ", $table, " ");
            const COLUMNS: &'static [&'static str] = &[stringify!($first), $(stringify!($field)),*];

            fn from_row(row: $crate::sql::Row) -> Result<Self, $crate::StoreError> {
                let mut cells = row.into_cells();
                Ok(Self {
                    $first: $crate::sql::column(&mut cells, $table, stringify!($first))?,
                    $($field: $crate::sql::column(&mut cells, $table, stringify!($field))?,)*
                })
            }

            fn params(&self) -> Vec<$crate::sql::Param<'_>> {
                vec![
                    $crate::sql::ToParam::param(&self.$first),
                    $($crate::sql::ToParam::param(&self.$field)),*
                ]
            }
        }
    };
}

/// The parameters of a statement, `$1` first, from values or references.
macro_rules! params {
    ($($value:expr),* $(,)?) => { &[$($crate::sql::ToParam::param(&$value)),*] };
}

/// The next cell, as a column of a table; for [`table!`].
pub(crate) fn column<T: FromCell>(
    cells: &mut impl Iterator<Item = Cell>,
    table: &str,
    name: &str,
) -> Result<T, StoreError> {
    let cell = cells.next().ok_or_else(|| StoreError::Corrupt(format!("{table}.{name} is not in the row")))?;
    T::from_cell(cell).map_err(|e| StoreError::Corrupt(format!("{table}.{name} {e}")))
}

/// A type that goes into a statement.
pub trait ToParam {
    /// The parameter, borrowing from `self`.
    fn param(&self) -> Param<'_>;
}

/// A type that comes out of a row.
pub trait FromCell: Sized {
    /// Reads the cell.
    fn from_cell(cell: Cell) -> Result<Self, Mismatch>;
}

/// A cell that is not of the type that was asked for. Made for every cell that is read, so it only notes what to say.
#[derive(Debug)]
pub struct Mismatch {
    found: Found,
    wanted: &'static str,
}

/// What a cell holds, never the content: rows may hold what does not belong into a log.
#[derive(Debug)]
enum Found {
    Null,
    Int(i64),
    Text(usize),
    Blob(usize),
}

impl Mismatch {
    fn new(found: &Cell, wanted: &'static str) -> Self {
        let found = match found {
            Cell::Null => Found::Null,
            Cell::Int(n) => Found::Int(*n),
            Cell::Text(text) => Found::Text(text.len()),
            Cell::Blob(bytes) => Found::Blob(bytes.len()),
        };
        Self { found, wanted }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("holds ")?;
        match self.found {
            Found::Null => f.write_str("NULL"),
            Found::Int(n) => write!(f, "the integer {n}"),
            Found::Text(length) => write!(f, "a text of {length} bytes"),
            Found::Blob(length) => write!(f, "{length} bytes"),
        }?;
        write!(f, ", not {}", self.wanted)
    }
}

impl<T: ToParam + ?Sized> ToParam for &T {
    fn param(&self) -> Param<'_> {
        (**self).param()
    }
}

impl<T: ToParam> ToParam for Option<T> {
    fn param(&self) -> Param<'_> {
        self.as_ref().map_or(Param::Null, ToParam::param)
    }
}

impl<T: FromCell> FromCell for Option<T> {
    fn from_cell(cell: Cell) -> Result<Self, Mismatch> {
        match cell {
            Cell::Null => Ok(None),
            cell => T::from_cell(cell).map(Some),
        }
    }
}

/// Implements both directions: how a value goes in, and how a matching cell comes out.
macro_rules! columns {
    ($($type:ty, $wanted:literal, $self:ident => $param:expr, $pattern:pat => $value:expr;)+) => {$(
        impl ToParam for $type {
            fn param(&$self) -> Param<'_> {
                $param
            }
        }
        impl FromCell for $type {
            fn from_cell(cell: Cell) -> Result<Self, Mismatch> {
                let mismatch = Mismatch::new(&cell, $wanted);
                let value = match cell {
                    $pattern => $value,
                    _ => None,
                };
                value.ok_or(mismatch)
            }
        }
    )+};
}

columns! {
    i64, "an integer", self => Param::Int(*self), Cell::Int(n) => Some(n);
    u32, "an integer from 0", self => Param::Int(i64::from(*self)), Cell::Int(n) => u32::try_from(n).ok();
    bool, "0 or 1", self => Param::Int(i64::from(*self)), Cell::Int(n @ 0..=1) => Some(n == 1);
    Timestamp, "milliseconds", self => Param::Int(self.millis()), Cell::Int(n) => Some(Timestamp::from_millis(n));
    String, "a text", self => Param::Text(self), Cell::Text(text) => Some(text);
    Vec<u8>, "bytes", self => Param::Blob(self), Cell::Blob(bytes) => Some(bytes);
    [u8; 32], "32 bytes", self => Param::Blob(self), Cell::Blob(bytes) => bytes.try_into().ok();
    [u8; 16], "16 bytes", self => Param::Blob(self), Cell::Blob(bytes) => bytes.try_into().ok();
}

impl ToParam for str {
    fn param(&self) -> Param<'_> {
        Param::Text(self)
    }
}

impl ToParam for [u8] {
    fn param(&self) -> Param<'_> {
        Param::Blob(self)
    }
}

macro_rules! id_columns {
    ($($name:ident),+) => {
        columns! { $($name, "an id", self => Param::Text(self.as_str()), Cell::Text(text) => Some($name::new(text));)+ }
    };
}
id_columns!(AccountId, BackupId, BlobId, ClusterId, CopyId, EniId, HsmId, RegionId, RegionName, SubnetId, VpcId);

/// Columns of the enums that `string_enum!` declares.
macro_rules! enum_columns {
    ($($name:ty),+ $(,)?) => {$(
        impl $crate::sql::ToParam for $name {
            fn param(&self) -> $crate::sql::Param<'_> {
                $crate::sql::Param::Text(self.as_str())
            }
        }
        impl $crate::sql::FromCell for $name {
            fn from_cell(cell: $crate::sql::Cell) -> Result<Self, $crate::sql::Mismatch> {
                $crate::sql::parsed(cell, stringify!($name), Self::parse)
            }
        }
    )+};
}

enum_columns! {
    strongroom_model::backup::BackupState,
    strongroom_model::cluster::ClusterState,
    strongroom_model::cluster::ClusterMode,
    strongroom_model::cluster::NetworkType,
    strongroom_model::copy::CopyState,
    strongroom_model::hsm::HsmState,
}

/// The value of an enum's text; for [`enum_columns!`].
pub(crate) fn parsed<T>(
    cell: Cell,
    wanted: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, Mismatch> {
    let value = match &cell {
        Cell::Text(text) => parse(text),
        _ => None,
    };
    value.ok_or_else(|| Mismatch::new(&cell, wanted))
}

/// The result of a transaction that is durable. Only an executor that has committed can make one, so that whoever answers
/// with it cannot answer early.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Committed<T>(T);

impl<T> Committed<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(value)
    }

    /// The value.
    pub fn into_inner(self) -> T {
        self.0
    }

    /// The value, borrowed.
    pub fn get(&self) -> &T {
        &self.0
    }

    /// Another value that follows from this one alone.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Committed<U> {
        Committed(f(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use strongroom_model::backup::BackupState;

    #[test]
    fn cells_are_read_by_type() {
        let row = Row::new(vec![Cell::Int(1), Cell::Text("READY".into()), Cell::Null, Cell::Blob(vec![7; 32])]);
        assert!(row.get::<bool>(0).unwrap());
        assert_eq!(row.get::<BackupState>(1).unwrap(), BackupState::Ready);
        assert_eq!(row.get::<Option<i64>>(2).unwrap(), None);
        assert_eq!(row.get::<[u8; 32]>(3).unwrap(), [7; 32]);
    }

    #[test]
    fn mismatch_names_column_and_types_but_no_content() {
        let row = Row::new(vec![Cell::Text("secret".into())]);
        let error = row.get::<i64>(0).unwrap_err().to_string();
        assert_eq!(error, "the store is damaged: column 0 holds a text of 6 bytes, not an integer");
        assert_eq!(row.get::<i64>(1).unwrap_err().to_string(), "the store is damaged: a row of 1 has no column 1");
        assert!(row.get::<BackupState>(0).is_err());
    }

    #[test]
    fn params_take_values_and_references() {
        fn check(params: &[Param<'_>]) {
            let id = Param::Text("backup-a");
            assert_eq!(params, [id, id, Param::Text("x"), Param::Text("y"), Param::Null, Param::Int(1), Param::Int(5)]);
        }
        let (id, text) = (BackupId::new("backup-a"), String::from("x"));
        check(params![id, &id, text, "y", None::<i64>, Some(true), Timestamp::from_millis(5)]);
    }
}
