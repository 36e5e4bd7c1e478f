//! The configuration that init leads to, as a file that only its owner reads.

use std::{
    fmt::Write as _,
    io::{ErrorKind, Write as _},
    path::{Path, PathBuf},
};

use url::Url;

use crate::{cloudstack::KeyPair, jobs::app::Role, secrets::Secret};

/// Owner reads and writes, nobody else anything: key pairs are in it.
const MODE: u32 = 0o600;

/// Why the file could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// A file is there already.
    #[error("{} is there already and is not overwritten: name another file, or move it away", .0.display())]
    Exists(PathBuf),
    /// The folder or the file can not be written.
    #[error("{} can not be written ({error})", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
}

/// Whether [`write_config`] will be able to write. Asked before key pairs are made, which are seen only once.
pub fn check_config_path(path: &Path) -> Result<(), WriteError> {
    drop(create(path)?);
    std::fs::remove_file(path).map_err(|error| WriteError::Io { path: path.to_owned(), error })
}

/// Writes the configuration into a new file of mode 0600. What is there is never overwritten.
pub fn write_config(path: &Path, text: &Secret) -> Result<(), WriteError> {
    let mut file = create(path)?;
    file.write_all(text.expose().as_bytes()).and_then(|()| file.sync_all()).map_err(|error| {
        // Half a configuration would be taken for a whole one.
        let _ = std::fs::remove_file(path);
        WriteError::Io { path: path.to_owned(), error }
    })
}

fn create(path: &Path) -> Result<std::fs::File, WriteError> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(MODE);
    }
    options.open(path).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => WriteError::Exists(path.to_owned()),
        _ => WriteError::Io { path: path.to_owned(), error },
    })
}

pub(super) fn config_text(url: &Url, ca_file: Option<&Path>, pairs: &[(Role, KeyPair)]) -> Secret {
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let mut text = String::from(
        "# Written by `bursar init`. It holds secret keys: keep it readable by bursar's user only.\n\
         # `bursar config print` shows every other setting with its default; `bursar check` looks at all of it.\n\n\
         [cloudstack]\n",
    );
    let _ = writeln!(text, "url = {}", quoted(url.as_str()));
    if let Some(ca_file) = ca_file {
        let _ = writeln!(text, "ca_file = {}", quoted(&ca_file.display().to_string()));
    }
    for (role, pair) in pairs {
        let _ = writeln!(text, "\n[cloudstack.{}]", role.section());
        let _ = writeln!(text, "api_key = {}", quoted(pair.api_key.expose()));
        let _ = writeln!(text, "secret_key = {}", quoted(pair.secret_key.expose()));
    }
    Secret::new(text)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_file_is_its_owners_alone_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bursar.toml");
        check_config_path(&path).unwrap();
        assert!(!path.exists(), "looking leaves nothing behind");
        write_config(&path, &Secret::new("a = 1\n")).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        assert!(matches!(write_config(&path, &Secret::new("b = 2\n")), Err(WriteError::Exists(_))));
        assert!(matches!(check_config_path(&path), Err(WriteError::Exists(_))));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a = 1\n");
        assert!(matches!(check_config_path(&folder.path().join("no/bursar.toml")), Err(WriteError::Io { .. })));
    }
}
