//! How a restored backup is noticed: a file beside the data remembers how far the database had come.
//!
//! After each run the file notes the database's own id and its highest run. A database that knows fewer runs than the file was
//! put back to an earlier time: what bursar did since is not in it, so nothing is enforced, neither way, until an
//! administrator has looked at the differences. A file that is missing or can not be read says so and holds up nothing: the
//! cloud's own log is the second witness (see [`super::guards`]).

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::switches;
use crate::{
    random::RandomSource,
    store::{Store, StoreError, Tx, operations as rows, runs},
    time::Timestamp,
};

/// The file's name in the data directory.
const FILE: &str = "highest-run.json";
/// A file longer than this was not written by bursar.
const MAX_BYTES: u64 = 4_096;

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// The database's own id.
    pub instance: String,
    /// The highest run that it knew.
    pub run: i64,
}

/// How file and database fit together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fit {
    /// They do.
    Well,
    /// There is no file: a new data directory, or a new machine.
    NoMarker,
    /// The file can not be read.
    Unreadable(String),
    /// The file is of another database.
    OtherDatabase,
    /// The database is older than the file: a backup was restored.
    Older {
        /// The highest run that the file knows.
        noted: i64,
        /// The highest run that the database knows.
        known: i64,
    },
}

/// Compares a file with a database.
pub fn compare(marker: Result<Option<Marker>, String>, instance: Option<&str>, known: i64) -> Fit {
    match marker {
        Err(why) => Fit::Unreadable(why),
        Ok(None) => Fit::NoMarker,
        Ok(Some(marker)) if instance.is_some_and(|instance| instance != marker.instance) => Fit::OtherDatabase,
        // A database without an id is from before the first file, or empty: older in any case.
        Ok(Some(marker)) if known < marker.run => Fit::Older { noted: marker.run, known },
        Ok(Some(_)) if instance.is_none() => Fit::OtherDatabase,
        Ok(Some(_)) => Fit::Well,
    }
}

fn path(data_dir: &Path) -> PathBuf {
    data_dir.join(FILE)
}

fn read(data_dir: &Path) -> Result<Option<Marker>, String> {
    let path = path(data_dir);
    match std::fs::metadata(&path) {
        Ok(found) if found.len() > MAX_BYTES => return Err(format!("{} is too long", path.display())),
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{}: {error}", path.display())),
    }
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_str(&text).map(Some).map_err(|error| format!("{}: {error}", path.display()))
}

/// Looks before a run starts. A restored backup is noted in the database, where every replica sees it.
pub async fn look(store: &Store, data_dir: &Path, now: Timestamp) -> Result<Fit, StoreError> {
    let mut tx = store.read().await?;
    let known = rows::newest_run(&mut tx).await?;
    let instance = runs::find_setting(&mut tx, switches::INSTANCE).await?;
    tx.commit().await?;
    let fit = compare(read(data_dir), instance.as_deref(), known);
    match &fit {
        Fit::Well => {}
        Fit::NoMarker if instance.is_none() => {}
        Fit::NoMarker => tracing::warn!(
            "the data directory has no {FILE}: whether a backup was restored is only told by CloudStack's own log of events"
        ),
        Fit::Unreadable(why) => {
            tracing::warn!(%why, "whether a backup was restored can not be told; the file is written anew after this run");
        }
        Fit::OtherDatabase => tracing::warn!("{FILE} is of another database; it is written anew after this run"),
        Fit::Older { noted, known } => {
            let why = format!(
                "a backup was restored: the database knows runs up to {known}, and bursar had come to run {noted} before. What it \
                 did since, and what was paid since, is not in it"
            );
            let mut tx = store.begin().await?;
            note_unconfirmed(&mut tx, &why, now).await?;
            tx.commit().await?;
        }
    }
    Ok(fit)
}

/// Holds up enforcement, both ways, until an administrator has confirmed. The first reason stands.
pub async fn note_unconfirmed(tx: &mut Tx, why: &str, now: Timestamp) -> Result<(), StoreError> {
    if runs::find_setting(tx, switches::UNCONFIRMED).await?.is_some_and(|text| !text.is_empty()) {
        return Ok(());
    }
    tracing::error!(%why, "nothing is enforced until an administrator has looked: `bursar enforce differences`");
    runs::put_setting(tx, switches::UNCONFIRMED, why, now).await?;
    let line = runs::AuditLine {
        at_ms: now.as_ms(),
        actor: "bursar".to_owned(),
        action: "enforce.held".to_owned(),
        subject: "enforcement".to_owned(),
        answer: Some(why.to_owned()),
        ..runs::AuditLine::default()
    };
    runs::write_audit(tx, &line).await?;
    super::tell::administrators(
        tx,
        &format!("unconfirmed-{}", now.as_seconds()),
        "unconfirmed",
        "Nothing is enforced until you have looked",
        &format!("{why}. Look at `bursar enforce differences`, then say `bursar enforce confirm`."),
        now,
    )
    .await
}

/// Why nothing is enforced until an administrator has confirmed, if so.
pub async fn find_unconfirmed(tx: &mut Tx) -> Result<Option<String>, StoreError> {
    Ok(runs::find_setting(tx, switches::UNCONFIRMED).await?.filter(|text| !text.is_empty()))
}

/// Writes the file after a run, unless an administrator has still to confirm: a second look must find the same.
pub async fn write(
    store: &Store,
    data_dir: &Path,
    random: &dyn RandomSource,
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut tx = store.begin().await?;
    if find_unconfirmed(&mut tx).await?.is_some() {
        return Ok(());
    }
    let instance = if let Some(instance) = runs::find_setting(&mut tx, switches::INSTANCE).await? {
        instance
    } else {
        let made = random.uuid().to_string();
        runs::put_setting(&mut tx, switches::INSTANCE, &made, now).await?;
        made
    };
    let run = rows::newest_run(&mut tx).await?;
    tx.commit().await?;
    if let Err(error) = put(data_dir, &Marker { instance, run }) {
        tracing::warn!(%error, "{FILE} could not be written: a restored backup may go unnoticed");
    }
    Ok(())
}

/// Whole or not at all: a file cut in the middle could not be read.
fn put(data_dir: &Path, marker: &Marker) -> std::io::Result<()> {
    let text = serde_json::to_string(marker).map_err(std::io::Error::other)?;
    let whole = path(data_dir);
    let part = data_dir.join(format!("{FILE}.{}", std::process::id()));
    std::fs::write(&part, text)?;
    std::fs::rename(&part, &whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marker(run: i64) -> Marker {
        Marker { instance: "this".to_owned(), run }
    }

    #[test]
    fn a_database_that_knows_fewer_runs_than_the_file_is_a_restored_one() {
        assert_eq!(compare(Ok(Some(marker(7))), Some("this"), 7), Fit::Well);
        assert_eq!(compare(Ok(Some(marker(7))), Some("this"), 9), Fit::Well);
        assert_eq!(compare(Ok(Some(marker(7))), Some("this"), 6), Fit::Older { noted: 7, known: 6 });
        assert_eq!(
            compare(Ok(Some(marker(7))), None, 0),
            Fit::Older { noted: 7, known: 0 },
            "from before the first file"
        );
        assert_eq!(compare(Ok(Some(marker(7))), Some("other"), 2), Fit::OtherDatabase);
        assert_eq!(compare(Ok(None), Some("this"), 2), Fit::NoMarker);
        assert_eq!(compare(Err("torn".to_owned()), Some("this"), 2), Fit::Unreadable("torn".to_owned()));
    }

    #[test]
    fn the_file_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()), Ok(None));
        let written = Marker { instance: "this".to_owned(), run: 12 };
        put(folder.path(), &written).unwrap();
        assert_eq!(read(folder.path()), Ok(Some(written)));
        std::fs::write(path(folder.path()), "{").unwrap();
        assert!(read(folder.path()).is_err());
    }
}
