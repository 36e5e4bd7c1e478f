//! Opening the database, transactions, migrations: the file in which SQLite and PostgreSQL differ.
//!
//! | SQLite | PostgreSQL | why |
//! |---|---|---|
//! | one writer connection, `begin immediate` | one pool | SQLite has one write lock; taking it at once avoids upgrades that fail |
//! | WAL, `synchronous = full` | the server's settings | a committed charge survives a power cut |
//! | migrations under a lock file | under an advisory lock (sqlx) | SQLite has no advisory locks |

use std::{
    fs::{File, OpenOptions},
    io::ErrorKind,
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use sqlx::{
    PgPool, Postgres, Sqlite, SqlitePool, Transaction,
    migrate::{MigrateError, Migrator},
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use super::crash;
use crate::secrets::Secret;

static SQLITE_MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");
static POSTGRES_MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// How long a writer waits for another process that holds SQLite's write lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(15);
/// A process that stands still in the middle of a transaction that writes keeps its locks, the one on the lease among them: PostgreSQL takes
/// them away within a minute, less than a lease lasts by default. Who reads for somebody slow may take longer.
const POSTGRES_BEGIN: &str = "begin; set local idle_in_transaction_session_timeout = '60s'";
/// How long opening a connection may take before the database counts as unreachable.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database answered with an error that no variant below names.
    #[error("the database refused: {0}")]
    Database(sqlx::Error),
    /// A row with the same unique key is there already.
    #[error("it exists already ({0})")]
    Exists(String),
    /// The database can not be reached.
    #[error("the database can not be reached: {0}. Is it running, and is [store] url right?")]
    Unreachable(String),
    /// The disk is full, or the file or folder can not be written.
    #[error(
        "the database can not be written: {0}. Free some space, or give bursar's user write access to the data directory"
    )]
    NotWritable(String),
    /// The database was made by a newer bursar.
    #[error(
        "the database was written by a newer bursar (it has migration {0}, which this one does not know). Run the newer version; nothing was changed"
    )]
    Newer(i64),
    /// A migration failed or was changed after it had run.
    #[error(
        "the database could not be brought up to date: {0}. Nothing of that step was kept; restore a backup or report this"
    )]
    Migration(String),
    /// The file is not a database or is damaged.
    #[error("the database file is damaged or not a database: {0}. Restore the last backup (docs/backup.md)")]
    Damaged(String),
    /// A stored value makes no sense.
    #[error("the database holds a value that makes no sense: {0}")]
    Nonsense(String),
    /// Something that was asked for by name or id is not there.
    #[error("{0}")]
    Missing(String),
    /// The file that the copy was to go to.
    #[error("{0}")]
    Target(String),
    /// The run that wrote had been cut off: nothing of the transaction is kept.
    #[error(
        "this process stood still for too long, and another one may have taken over: what it was about to store is not stored"
    )]
    TakenOver,
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(database) => {
                let code = database.code().unwrap_or_default().into_owned();
                let message = database.message().to_owned();
                if database.is_unique_violation() {
                    return Self::Exists(message);
                }
                // SQLite: 8 read-only, 13 full, 14 can not open, 10 I/O, 11 corrupt, 26 not a database (low byte of the code).
                // PostgreSQL: class 53 is out of resources, 25006 a read-only transaction.
                let primary = code.parse::<i64>().ok().map(|number| number & 0xff);
                match (database.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some(), primary, code.as_str()) {
                    (true, Some(8 | 10 | 13 | 14), _) | (false, _, "53100" | "25006") => Self::NotWritable(message),
                    (true, Some(11 | 26), _) => Self::Damaged(message),
                    // Ended by PostgreSQL, since this process stood still in the middle of it.
                    (false, _, "25P03") => Self::TakenOver,
                    _ => Self::Database(error),
                }
            }
            sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::Tls(_) => {
                Self::Unreachable(error.to_string())
            }
            _ => Self::Database(error),
        }
    }
}

impl StoreError {
    /// The same with the name of the file that it is about.
    fn of_file(self, file: &str) -> Self {
        match self {
            Self::NotWritable(why) => Self::NotWritable(format!("{file}: {why}")),
            Self::Damaged(why) => Self::Damaged(format!("{file}: {why}")),
            other => other,
        }
    }
}

/// Where the data is kept.
#[derive(Debug, Clone)]
pub struct StoreSettings {
    /// Folder of SQLite's file and of the lock files.
    pub data_dir: PathBuf,
    /// `postgres://…`, `sqlite:FILE`, or empty for `bursar.db` in the data directory.
    pub url: Secret,
    /// Connections to PostgreSQL, or readers of SQLite.
    pub max_connections: u32,
}

/// The open database.
#[derive(Debug, Clone)]
pub enum Store {
    /// The embedded default.
    Sqlite {
        /// The only connection that writes.
        writer: SqlitePool,
        /// Connections that may only read.
        reader: SqlitePool,
        /// The database file.
        file: PathBuf,
    },
    /// For more than one replica.
    Postgres(PgPool),
}

/// A transaction on either database. Dropped without [`Tx::commit`], it leaves nothing behind.
#[derive(Debug)]
pub enum Tx {
    /// On SQLite.
    Sqlite(Transaction<'static, Sqlite>),
    /// On PostgreSQL.
    Postgres(Transaction<'static, Postgres>),
}

impl Tx {
    /// Makes the changes last.
    pub async fn commit(self) -> Result<(), StoreError> {
        let counted = crash::before_commit().await;
        match self {
            Self::Sqlite(tx) => tx.commit().await?,
            Self::Postgres(tx) => tx.commit().await?,
        }
        crash::after_commit(counted).await;
        Ok(())
    }
}

impl Store {
    /// Opens the database, makes it if it is SQLite and missing, and brings it up to date.
    pub async fn open(settings: &StoreSettings) -> Result<Self, StoreError> {
        let url = settings.url.expose();
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            let options = PgConnectOptions::from_str(url)
                .map_err(|_| StoreError::Unreachable("the PostgreSQL URL can not be read".to_owned()))?;
            let pool = PgPoolOptions::new()
                .max_connections(settings.max_connections)
                .acquire_timeout(CONNECT_TIMEOUT)
                .connect_with(options)
                .await
                .map_err(|error| StoreError::Unreachable(error.to_string()))?;
            POSTGRES_MIGRATIONS.run(&pool).await.map_err(migration_error)?;
            return Ok(Self::Postgres(pool));
        }
        let file = match url.strip_prefix("sqlite:") {
            Some(path) => PathBuf::from(path.trim_start_matches("//")),
            None => settings.data_dir.join("bursar.db"),
        };
        let folder = file.parent().map(PathBuf::from).unwrap_or_default();
        let shown = file.display().to_string();
        if !folder.as_os_str().is_empty() {
            std::fs::create_dir_all(&folder)
                .map_err(|error| StoreError::NotWritable(format!("{}: {error}", folder.display())))?;
        }
        // Held while the migrations run, so that two processes starting together take turns.
        let lock = File::create(folder.join("migrate.lock"))
            .map_err(|error| StoreError::NotWritable(format!("{}: {error}", folder.display())))?;
        lock.lock().map_err(|error| StoreError::NotWritable(format!("{}: {error}", folder.display())))?;
        // Names, usage and balances of every tenant are in it: SQLite would make it by the umask, readable to all. The files
        // beside it take its mode.
        match private_file().open(&file) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(StoreError::NotWritable(format!("{shown}: {error}")));
            }
            _ => {}
        }
        let options = SqliteConnectOptions::new()
            .filename(&file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            .pragma("cache_size", "-65536")
            .optimize_on_close(true, None);
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .connect_with(options.clone())
            .await
            .map_err(|error| StoreError::from(error).of_file(&shown))?;
        SQLITE_MIGRATIONS.run(&writer).await.map_err(|error| migration_error(error).of_file(&shown))?;
        let reader = SqlitePoolOptions::new()
            .max_connections(settings.max_connections.max(2))
            .connect_lazy_with(options.read_only(true).create_if_missing(false));
        Ok(Self::Sqlite { writer, reader, file })
    }

    /// A transaction that writes.
    pub async fn begin(&self) -> Result<Tx, StoreError> {
        Ok(match self {
            Self::Sqlite { writer, .. } => Tx::Sqlite(writer.begin_with("begin immediate").await?),
            Self::Postgres(pool) => Tx::Postgres(pool.begin_with(POSTGRES_BEGIN).await?),
        })
    }

    /// A transaction that reads one consistent state.
    pub async fn read(&self) -> Result<Tx, StoreError> {
        Ok(match self {
            Self::Sqlite { reader, .. } => Tx::Sqlite(reader.begin().await?),
            Self::Postgres(pool) => {
                Tx::Postgres(pool.begin_with("begin isolation level repeatable read read only").await?)
            }
        })
    }

    /// "SQLite" or "PostgreSQL".
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Sqlite { .. } => "SQLite",
            Self::Postgres(_) => "PostgreSQL",
        }
    }

    /// Copies the whole SQLite database into a new file while everything goes on.
    /// PostgreSQL is backed up with its own tools; asking for it here is refused with the way to do it.
    pub async fn backup(&self, target: &std::path::Path) -> Result<(), StoreError> {
        match self {
            Self::Sqlite { writer, .. } => {
                let refused = |error: std::io::Error| match error.kind() {
                    ErrorKind::AlreadyExists => {
                        StoreError::Target(format!("{} is there already; name a new file", target.display()))
                    }
                    _ => StoreError::Target(format!("{} can not be written ({error})", target.display())),
                };
                // Made here and empty, so that nobody else can read it at any time: SQLite would make it by the umask.
                let copy = private_file().open(target).map_err(refused)?;
                let shown = target.display().to_string();
                let copied = sqlx::query("vacuum into $1").bind(shown).execute(writer).await.map_err(StoreError::from);
                let done = copied.and_then(|_| copy.sync_all().map_err(refused));
                if done.is_err() {
                    // Half a copy would be taken for a whole one. That it can not be removed changes nothing about that.
                    let _ = std::fs::remove_file(target);
                }
                done
            }
            Self::Postgres(_) => Err(StoreError::Missing(
                "PostgreSQL is backed up with its own tools: pg_dump --format=custom --file=bursar.dump DATABASE (docs/backup.md)".to_owned(),
            )),
        }
    }

    /// Closes every connection; SQLite's log is folded into the file.
    pub async fn close(&self) {
        match self {
            Self::Sqlite { writer, reader, .. } => {
                reader.close().await;
                writer.close().await;
            }
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

/// How a file that only its owner reads is made.
fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    options
}

fn migration_error(error: MigrateError) -> StoreError {
    match error {
        MigrateError::VersionMissing(version) | MigrateError::VersionTooNew(version, _) => StoreError::Newer(version),
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => match StoreError::from(error) {
            StoreError::Database(error) => StoreError::Migration(error.to_string()),
            other => other,
        },
        other => StoreError::Migration(other.to_string()),
    }
}
