//! The lock on the data directory: on SQLite one process acts at a time (design 2.4), and a dead one holds nothing.

use std::{
    fs::{File, TryLockError},
    path::Path,
};

use crate::store::StoreError;

/// Held as long as the value lives; the operating system frees it when the process dies, however it dies.
#[derive(Debug)]
pub struct DataLock {
    _file: File,
}

impl DataLock {
    /// Takes the lock; None while another process has it.
    pub fn try_take(data_dir: &Path) -> Result<Option<Self>, StoreError> {
        let path = data_dir.join("bursar.lock");
        let not_writable = |error: std::io::Error| StoreError::NotWritable(format!("{}: {error}", path.display()));
        std::fs::create_dir_all(data_dir).map_err(not_writable)?;
        let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(not_writable)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(not_writable(error)),
        }
    }
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
}
