//! The store: SQLite or PostgreSQL behind one set of functions.
//!
//! Promises: every query is written once and checked against both drivers; every change happens in a transaction
//! that its caller commits; nobody holds a transaction across a call to CloudStack. Row structs stay in here.
//! What differs between the two databases stands in [`database`] and [`bulk`], each with its reason.

pub mod acting;
pub mod bulk;
pub mod cloud;
pub mod compaction;
pub mod corrections;
pub mod crash;
pub mod database;
pub mod enforcement;
pub mod explain;
pub mod export;
pub mod gateways;
pub mod grants;
pub mod keys;
pub mod leaving;
pub mod ledger;
pub mod links;
pub mod live;
pub mod mapping;
pub mod notice_wishes;
pub mod notify;
pub mod operations;
pub mod payers;
pub mod people;
pub mod policy;
pub mod profiles;
pub mod promo;
pub mod quota;
pub mod rating;
pub mod review;
pub mod runs;
pub mod sessions;
pub mod spending;
pub mod usage;

pub use database::{Store, StoreError, StoreSettings, Tx};

/// Runs a statement and gives the number of rows it touched.
macro_rules! exec {
    ($tx:expr, $sql:expr $(, $arg:expr)* $(,)?) => {
        match $tx {
            $crate::store::Tx::Sqlite(conn) => {
                sqlx::query($sql)$(.bind($arg))*.execute(&mut **conn).await.map(|done| done.rows_affected())
            }
            $crate::store::Tx::Postgres(conn) => {
                sqlx::query($sql)$(.bind($arg))*.execute(&mut **conn).await.map(|done| done.rows_affected())
            }
        }
        .map_err($crate::store::StoreError::from)
    };
}

/// Every row of a query.
macro_rules! all {
    ($tx:expr, $row:ty, $sql:expr $(, $arg:expr)* $(,)?) => {
        match $tx {
            $crate::store::Tx::Sqlite(conn) => {
                sqlx::query_as::<_, $row>($sql)$(.bind($arg))*.fetch_all(&mut **conn).await
            }
            $crate::store::Tx::Postgres(conn) => {
                sqlx::query_as::<_, $row>($sql)$(.bind($arg))*.fetch_all(&mut **conn).await
            }
        }
        .map_err($crate::store::StoreError::from)
    };
}

/// The one row of a query, or none.
macro_rules! maybe {
    ($tx:expr, $row:ty, $sql:expr $(, $arg:expr)* $(,)?) => {
        match $tx {
            $crate::store::Tx::Sqlite(conn) => {
                sqlx::query_as::<_, $row>($sql)$(.bind($arg))*.fetch_optional(&mut **conn).await
            }
            $crate::store::Tx::Postgres(conn) => {
                sqlx::query_as::<_, $row>($sql)$(.bind($arg))*.fetch_optional(&mut **conn).await
            }
        }
        .map_err($crate::store::StoreError::from)
    };
}

/// The one value of a query that always gives one.
macro_rules! scalar {
    ($tx:expr, $value:ty, $sql:expr $(, $arg:expr)* $(,)?) => {
        match $tx {
            $crate::store::Tx::Sqlite(conn) => {
                sqlx::query_scalar::<_, $value>($sql)$(.bind($arg))*.fetch_one(&mut **conn).await
            }
            $crate::store::Tx::Postgres(conn) => {
                sqlx::query_scalar::<_, $value>($sql)$(.bind($arg))*.fetch_one(&mut **conn).await
            }
        }
        .map_err($crate::store::StoreError::from)
    };
}

pub(crate) use {all, exec, maybe, scalar};
