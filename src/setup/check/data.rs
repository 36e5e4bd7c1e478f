//! The data directory and the database. Nothing is made and nothing is brought up to date here: a check run as another
//! user must leave no files of its own, and one run with a newer program no newer tables.

use std::{
    collections::BTreeSet,
    io::{ErrorKind, Write as _},
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use sqlx::{
    ConnectOptions, Connection,
    migrate::{Migrate, MigrateError, Migrator},
    postgres::PgConnectOptions,
    sqlite::SqliteConnectOptions,
};

use super::{Area, CheckReport, Line, local_file_system};
use crate::{
    config::{Config, Database},
    jobs::app,
    store::{Store, StoreError, policy, runs},
};

static SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");
static POSTGRES: Migrator = sqlx::migrate!("migrations/postgres");

const AREA: Area = Area::Data;
/// The table in which sqlx notes what has run.
const MIGRATIONS_TABLE: &str = "_sqlx_migrations";
/// How long a PostgreSQL server may take to take a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// The setting with the address of the cloud that the data is of.
const CLOUD: &str = "cloudstack.url";

pub(super) async fn look(config: &Config, report: &mut CheckReport) {
    directory(&config.store.data_dir, report);
    let folders = match &config.store.database {
        Database::Sqlite(file) => [Some(config.store.data_dir.as_path()), file.parent()],
        Database::Postgres(_) => [Some(config.store.data_dir.as_path()), None],
    };
    match std::fs::read_to_string("/proc/mounts") {
        Ok(mounts) => file_systems(&mounts, &folders, report),
        Err(error) => {
            report.add(Line::not_checked(AREA, "file system", format!("/proc/mounts can not be read ({error})")));
        }
    }
    database(config, report).await;
}

fn directory(folder: &Path, report: &mut CheckReport) {
    let (name, shown) = ("data directory", folder.display());
    let make = format!("make it for bursar's user: install -d -o bursar -g bursar -m 0750 {shown}");
    // The name is this process's own, so that two checks do not meet.
    let probe = folder.join(format!(".bursar-check-{}", std::process::id()));
    let written = std::fs::OpenOptions::new().write(true).create_new(true).open(&probe).and_then(|mut file| {
        file.write_all(b"bursar check")?;
        file.sync_all()
    });
    let removed = std::fs::remove_file(&probe);
    match written.and(removed) {
        Ok(()) => report.add(Line::good(AREA, name, format!("{shown} can be written"))),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            report.add(Line::warning(AREA, name, format!("{shown} does not exist yet")).with_way_out(make));
        }
        Err(error) => {
            let line = Line::bad(AREA, name, format!("{shown} can not be written ({error})"));
            report.add(line.with_way_out("free some space, or give bursar's user write access to it"));
        }
    }
}

fn file_systems(mounts: &str, folders: &[Option<&Path>], report: &mut CheckReport) {
    let name = "file system";
    let mut kinds: Vec<String> = Vec::new();
    let mut unknown: Option<PathBuf> = None;
    for folder in folders.iter().flatten() {
        let real = nearest_existing(folder);
        match local_file_system(mounts, &real) {
            Some(Ok(mount)) => kinds.push(mount.kind),
            Some(Err(mount)) => {
                let (shown, kind, point) = (folder.display(), mount.kind, mount.point.display());
                let text = format!(
                    "{shown} is on {kind} (mounted at {point}), where file locks do not hold: two processes could damage \
                     the database"
                );
                report.add(
                    Line::bad(AREA, name, text)
                        .with_way_out("move it to a local disk ([store] data_dir), or use PostgreSQL ([store] url)"),
                );
                return;
            }
            None => unknown = Some(real),
        }
    }
    kinds.dedup();
    match unknown {
        None => report.add(Line::good(AREA, name, format!("local ({})", kinds.join(", ")))),
        Some(path) => report.add(Line::not_checked(AREA, name, format!("no mount is known for {}", path.display()))),
    }
}

/// The path with links resolved, or the part of it that exists.
fn nearest_existing(path: &Path) -> PathBuf {
    path.ancestors().find_map(|part| part.canonicalize().ok()).unwrap_or_else(|| path.to_owned())
}

/// How far a database is behind or ahead of this program.
enum Standing {
    Empty,
    Current,
    Behind(usize),
    Newer(i64),
    Broken(String),
}

async fn database(config: &Config, report: &mut CheckReport) {
    let name = "database";
    let kind = match &config.store.database {
        Database::Sqlite(file) => format!("SQLite, {}", file.display()),
        Database::Postgres(_) => "PostgreSQL".to_owned(),
    };
    let standing = match &config.store.database {
        Database::Sqlite(file) if !file.exists() => {
            report.add(Line::good(AREA, name, format!("{kind}: none yet, the first start makes it")));
            return;
        }
        Database::Sqlite(file) => sqlite(file).await,
        Database::Postgres(url) => postgres(url.expose()).await,
    };
    match standing {
        Ok(Standing::Empty) => {
            report.add(Line::good(AREA, name, format!("{kind}: empty yet, the first start fills it")));
        }
        Ok(Standing::Current) => {
            report.add(Line::good(AREA, name, format!("{kind}: opens, and its tables are of this version")));
            cloud_of_the_data(config, report).await;
            classes(config, report).await;
        }
        Ok(Standing::Behind(steps)) => {
            let line = Line::warning(AREA, name, format!("{kind}: of an older version, {steps} steps behind"));
            report.add(line.with_way_out("take a backup (`bursar backup`); the next start brings it up to date"));
        }
        Ok(Standing::Newer(version)) => {
            let line = Line::bad(AREA, name, format!("{kind}: {}", StoreError::Newer(version)));
            report.add(line.with_way_out("install the newer bursar again; going back needs the backup taken before"));
        }
        Ok(Standing::Broken(why)) => {
            let line = Line::bad(AREA, name, format!("{kind}: {why}"));
            report.add(line.with_way_out("restore the last backup (docs/backup.md)"));
        }
        Err(error) => {
            let line = Line::bad(AREA, name, format!("{kind}: {error}"));
            report.add(line.with_way_out("see [store] in the configuration"));
        }
    }
}

async fn sqlite(file: &Path) -> Result<Standing, StoreError> {
    let options = SqliteConnectOptions::new().filename(file).read_only(true).create_if_missing(false);
    let mut connection = options.connect().await?;
    let applied =
        connection.list_applied_migrations(MIGRATIONS_TABLE).await.map(|list| list.iter().map(|m| m.version).collect());
    let _ = connection.close().await;
    Ok(judge(&SQLITE, applied))
}

async fn postgres(url: &str) -> Result<Standing, StoreError> {
    let options = PgConnectOptions::from_str(url)
        .map_err(|_| StoreError::Unreachable("the PostgreSQL URL can not be read".to_owned()))?;
    let mut connection = tokio::time::timeout(CONNECT_TIMEOUT, options.connect())
        .await
        .map_err(|_| StoreError::Unreachable("no answer within 15 seconds".to_owned()))?
        .map_err(|error| StoreError::Unreachable(error.to_string()))?;
    let applied =
        connection.list_applied_migrations(MIGRATIONS_TABLE).await.map(|list| list.iter().map(|m| m.version).collect());
    let _ = connection.close().await;
    Ok(judge(&POSTGRES, applied))
}

fn judge(known: &Migrator, applied: Result<Vec<i64>, MigrateError>) -> Standing {
    let applied = match applied {
        Ok(applied) => applied,
        Err(error) => {
            let text = match error {
                MigrateError::Execute(error) => StoreError::from(error).to_string(),
                other => other.to_string(),
            };
            // Neither database gives the missing table a variant of its own here.
            return if text.contains("no such table") || text.contains("does not exist") {
                Standing::Empty
            } else {
                Standing::Broken(text)
            };
        }
    };
    if let Some(newer) = applied.iter().copied().find(|version| !known.version_exists(*version)) {
        return Standing::Newer(newer);
    }
    match known.iter().filter(|migration| !applied.contains(&migration.version)).count() {
        0 => Standing::Current,
        _ if applied.is_empty() => Standing::Empty,
        steps => Standing::Behind(steps),
    }
}

/// Whether there is a database with the tables of this version, so that opening it changes nothing.
pub(super) async fn is_current(config: &Config) -> bool {
    let standing = match &config.store.database {
        Database::Sqlite(file) if !file.exists() => return false,
        Database::Sqlite(file) => sqlite(file).await,
        Database::Postgres(url) => postgres(url.expose()).await,
    };
    matches!(standing, Ok(Standing::Current))
}

/// Data of one cloud must not be mixed with another's. Only asked of a database that opening does not change.
async fn cloud_of_the_data(config: &Config, report: &mut CheckReport) {
    let name = "cloud of the data";
    let Some(url) = &config.cloudstack.url else { return };
    let stored = async {
        let store = Store::open(&app::store_settings(config)).await?;
        let mut tx = store.read().await?;
        let stored = runs::find_setting(&mut tx, CLOUD).await;
        drop(tx);
        store.close().await;
        stored
    };
    match stored.await {
        Ok(Some(stored)) if stored != url.as_str() => {
            let text = format!("the data is of the cloud at {stored}, and bursar is configured for {url}");
            report.add(
                Line::bad(AREA, name, text).with_way_out("correct [cloudstack] url, or use another [store] data_dir"),
            );
        }
        Ok(Some(stored)) => report.add(Line::good(AREA, name, stored)),
        Ok(None) => report.add(Line::good(AREA, name, "none yet")),
        Err(error) => {
            report.add(Line::bad(AREA, name, error.to_string()).with_way_out("see [store] in the configuration"));
        }
    }
}

/// Classes of payers that the configuration does not know: nobody of them is taken a step down. Only asked of a database that opening does
/// not change.
async fn classes(config: &Config, report: &mut CheckReport) {
    let name = "classes";
    let given = async {
        let store = Store::open(&app::store_settings(config)).await?;
        let mut tx = store.read().await?;
        let given = policy::list_classes(&mut tx).await;
        drop(tx);
        store.close().await;
        given
    };
    match given.await {
        Ok(given) => {
            let unknown: BTreeSet<String> =
                given.into_values().filter(|class| !config.policy.classes.contains_key(class)).collect();
            if !unknown.is_empty() {
                let list = unknown.into_iter().collect::<Vec<_>>().join(", ");
                let text = format!("payers are of classes that the configuration has no section for: {list}");
                report.add(Line::bad(AREA, name, text).with_way_out(
                    "nobody of them is taken a step down until there is one ([class.NAME]); `bursar policy list` shows who they are",
                ));
            }
        }
        Err(error) => {
            report.add(Line::bad(AREA, name, error.to_string()).with_way_out("see [store] in the configuration"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::report::Verdict;

    #[test]
    fn a_network_file_system_is_refused_with_the_way_out() {
        let folder = tempfile::tempdir().unwrap();
        let mut report = CheckReport::default();
        let missing_yet = folder.path().join("not/yet");
        file_systems("server:/x / nfs4 rw 0 0", &[Some(&missing_yet), None], &mut report);
        assert_eq!(report.lines[0].verdict, Verdict::Bad);
        assert!(report.lines[0].text.contains("nfs4"), "{:?}", report.lines);
        assert!(report.lines[0].way_out.as_ref().unwrap().contains("PostgreSQL"));
    }

    #[test]
    fn a_database_is_empty_current_behind_or_newer() {
        let all: Vec<i64> = SQLITE.iter().map(|migration| migration.version).collect();
        assert!(matches!(judge(&SQLITE, Ok(all.clone())), Standing::Current));
        assert!(matches!(judge(&SQLITE, Ok(Vec::new())), Standing::Empty));
        let newer = all.iter().copied().chain([9_999_999]).collect();
        assert!(matches!(judge(&SQLITE, Ok(newer)), Standing::Newer(9_999_999)));
        let missing = MigrateError::Execute(sqlx::Error::Protocol("no such table: _sqlx_migrations".to_owned()));
        assert!(matches!(judge(&SQLITE, Err(missing)), Standing::Empty));
    }
}
