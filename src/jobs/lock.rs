//! The lock on the data directory: on SQLite one process acts at a time (design 2.4), and a dead one holds nothing.

use std::{
    fs::{File, TryLockError},
    io::Write as _,
    path::{Path, PathBuf},
};

use crate::store::StoreError;

/// What a server writes into the file: it carries out requests, and other holders of the lock do not.
const SERVED: &str = "serve\n";

/// Held as long as the value lives; the operating system frees it when the process dies, however it dies.
#[derive(Debug)]
pub struct DataLock {
    _file: File,
}

impl DataLock {
    /// Takes the lock for a command; None while another process has it.
    pub fn try_take(data_dir: &Path) -> Result<Option<Self>, StoreError> {
        Self::take(data_dir, "")
    }

    /// Takes the lock for a server, which carries out the requests of commands; None while another process has it.
    pub fn try_serve(data_dir: &Path) -> Result<Option<Self>, StoreError> {
        Self::take(data_dir, SERVED)
    }

    fn take(data_dir: &Path, mark: &str) -> Result<Option<Self>, StoreError> {
        let path = path(data_dir);
        let not_writable = |error: std::io::Error| StoreError::NotWritable(format!("{}: {error}", path.display()));
        std::fs::create_dir_all(data_dir).map_err(not_writable)?;
        let mut file = File::options().create(true).truncate(false).write(true).open(&path).map_err(not_writable)?;
        match file.try_lock() {
            Ok(()) => {
                // A server that died has left its mark.
                file.set_len(0).and_then(|()| file.write_all(mark.as_bytes())).map_err(not_writable)?;
                Ok(Some(Self { _file: file }))
            }
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(not_writable(error)),
        }
    }
}

fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("bursar.lock")
}

/// Whether a server holds the lock: only that one carries out requests.
pub fn is_served(data_dir: &Path) -> bool {
    let is_marked = std::fs::read_to_string(path(data_dir)).is_ok_and(|text| text == SERVED);
    // What a server that died wrote stands there until somebody takes the lock.
    is_marked && matches!(DataLock::try_take(data_dir), Ok(None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_can_not_have_it_and_it_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let first = DataLock::try_take(folder.path()).unwrap();
        assert!(first.is_some());
        assert!(DataLock::try_take(folder.path()).unwrap().is_none());
        drop(first);
        assert!(DataLock::try_take(folder.path()).unwrap().is_some());
    }

    #[test]
    fn only_a_server_that_lives_is_asked() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!is_served(folder.path()));
        let command = DataLock::try_take(folder.path()).unwrap();
        assert!(command.is_some() && !is_served(folder.path()));
        drop(command);
        let server = DataLock::try_serve(folder.path()).unwrap();
        assert!(server.is_some() && is_served(folder.path()));
        drop(server);
        assert!(!is_served(folder.path()), "its mark is still there, and it is not");
        let command = DataLock::try_take(folder.path()).unwrap();
        assert!(command.is_some() && !is_served(folder.path()));
    }
}
