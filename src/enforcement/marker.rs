//! How a restored backup is noticed: a file beside the data remembers how far the database had come.
//!
//! After each run the file notes the database's own id and its highest run. A database that knows fewer runs than the file was
//! put back to an earlier time: what bursar did since is not in it, so nothing is taken and nothing given back until an
//! administrator has looked at the differences. A file that is missing or can not be read says so and holds up nothing: the
//! cloud's own log is the second witness (see [`super::guards`]).
//!
//! Replicas have a file each. Once an administrator has confirmed, the database goes on under a new id and remembers the former
//! ones: the other files are of a former id, so they hold up nothing and are written anew. A file knows the former ids too: a database that
//! still goes by one of them is from before the confirmation.

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
/// The setting with the ids that this database went by before, newest first.
const FORMER: &str = "store.former-instances";
/// So many of them are remembered.
const MOST_FORMER: usize = 20;

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// The database's own id.
    pub instance: String,
    /// The highest run that it knew.
    pub run: i64,
    /// Ids that the database went by before.
    #[serde(default)]
    pub former: Vec<String>,
}

/// What the database says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Own {
    /// Its id; None before the first file was written.
    instance: Option<String>,
    /// Ids that it went by before.
    former: Vec<String>,
}

impl Own {
    async fn read(tx: &mut Tx) -> Result<Self, StoreError> {
        let former = runs::find_setting(tx, FORMER).await?.unwrap_or_default();
        Ok(Self {
            instance: runs::find_setting(tx, switches::INSTANCE).await?,
            former: former.split_whitespace().map(str::to_owned).collect(),
        })
    }
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
fn compare(marker: Result<Option<Marker>, String>, own: &Own, known: i64) -> Fit {
    let marker = match marker {
        Err(why) => return Fit::Unreadable(why),
        Ok(None) => return Fit::NoMarker,
        Ok(Some(marker)) => marker,
    };
    let older = Fit::Older { noted: marker.run, known };
    match &own.instance {
        // From before an administrator confirmed, which the file has seen.
        Some(instance) if marker.former.contains(instance) => older,
        // Another replica's file from before the confirmation is of another state as well: it was looked at.
        Some(instance) if *instance != marker.instance => Fit::OtherDatabase,
        // A database without an id is from before the first file, or empty: older in any case.
        _ if known < marker.run => older,
        None => Fit::OtherDatabase,
        Some(_) => Fit::Well,
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
    // The file first: what another process adds to both in between makes the database the newer one.
    let marker = read(data_dir);
    let mut tx = store.read().await?;
    let known = rows::newest_run(&mut tx).await?;
    let own = Own::read(&mut tx).await?;
    tx.commit().await?;
    let fit = compare(marker, &own, known);
    match &fit {
        Fit::Well => {}
        Fit::NoMarker if own.instance.is_none() => {}
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
            // Somebody may have confirmed meanwhile, through another replica.
            if Own::read(&mut tx).await? == own {
                note_unconfirmed(&mut tx, &why, now).await?;
            }
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

/// Gives the database a new id where an administrator is about to confirm: the files of other replicas, which have seen more, are no
/// reason any more. Before the confirmation itself, so that no run between the two finds the reason again.
pub async fn renew(store: &Store, random: &dyn RandomSource, now: Timestamp) -> Result<(), StoreError> {
    let mut tx = store.begin().await?;
    if find_unconfirmed(&mut tx).await?.is_none() {
        return Ok(());
    }
    let own = Own::read(&mut tx).await?;
    let former: Vec<String> = own.instance.into_iter().chain(own.former).take(MOST_FORMER).collect();
    runs::put_setting(&mut tx, FORMER, &former.join(" "), now).await?;
    runs::put_setting(&mut tx, switches::INSTANCE, &random.uuid().to_string(), now).await?;
    tx.commit().await
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
    let Own { instance, former } = Own::read(&mut tx).await?;
    let instance = if let Some(instance) = instance {
        instance
    } else {
        let made = random.uuid().to_string();
        runs::put_setting(&mut tx, switches::INSTANCE, &made, now).await?;
        made
    };
    let run = rows::newest_run(&mut tx).await?;
    tx.commit().await?;
    if let Err(error) = put(data_dir, &Marker { instance, run, former }) {
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
        Marker { instance: "this".to_owned(), run, former: Vec::new() }
    }

    fn own(instance: &str, former: &[&str]) -> Own {
        Own { instance: Some(instance.to_owned()), former: former.iter().map(|former| (*former).to_owned()).collect() }
    }

    #[test]
    fn a_database_that_knows_fewer_runs_than_the_file_is_a_restored_one() {
        let this = own("this", &[]);
        assert_eq!(compare(Ok(Some(marker(7))), &this, 7), Fit::Well);
        assert_eq!(compare(Ok(Some(marker(7))), &this, 9), Fit::Well);
        assert_eq!(compare(Ok(Some(marker(7))), &this, 6), Fit::Older { noted: 7, known: 6 });
        assert_eq!(
            compare(Ok(Some(marker(7))), &Own::default(), 0),
            Fit::Older { noted: 7, known: 0 },
            "from before the first file"
        );
        assert_eq!(compare(Ok(Some(marker(7))), &own("other", &[]), 2), Fit::OtherDatabase);
        assert_eq!(compare(Ok(None), &this, 2), Fit::NoMarker);
        assert_eq!(compare(Err("torn".to_owned()), &this, 2), Fit::Unreadable("torn".to_owned()));
    }

    #[test]
    fn what_was_confirmed_is_no_gap_and_what_is_from_before_the_confirmation_is_one() {
        let confirmed = own("new", &["this"]);
        assert_eq!(compare(Ok(Some(marker(70))), &confirmed, 9), Fit::OtherDatabase, "another replica's file");
        let seen = Marker { instance: "new".to_owned(), run: 9, former: vec!["this".to_owned()] };
        assert_eq!(compare(Ok(Some(seen.clone())), &confirmed, 9), Fit::Well);
        assert_eq!(compare(Ok(Some(seen)), &own("this", &[]), 5), Fit::Older { noted: 9, known: 5 });
        let before = r#"{"instance":"this","run":7}"#;
        assert_eq!(serde_json::from_str::<Marker>(before).unwrap(), marker(7), "files of former versions");
    }

    #[test]
    fn the_file_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()), Ok(None));
        let written = marker(12);
        put(folder.path(), &written).unwrap();
        assert_eq!(read(folder.path()), Ok(Some(written)));
        std::fs::write(path(folder.path()), "{").unwrap();
        assert!(read(folder.path()).is_err());
    }
}
