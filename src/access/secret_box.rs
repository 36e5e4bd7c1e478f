//! The box that secrets lie in until their one look: XChaCha20-Poly1305, bound to the request it belongs to.
//!
//! The key is a file of its own beside the database, so that a copy of the database alone opens nothing. It is made once
//! and never overwritten: with another key, the secrets that wait could not be opened any more.

use std::{
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};

use crate::{ids::KeyRequestId, random::RandomSource, secrets::Secret};

/// Bytes of the key.
const KEY_BYTES: usize = 32;
/// Bytes of the nonce: long enough to be drawn at random.
const NONCE_BYTES: usize = 24;
/// The first byte of every box, should there ever be another kind.
const VERSION: u8 = 1;
/// Bytes of the key file that are read: the key in hex and some white space.
const MAX_FILE_BYTES: u64 = 256;

/// Why a box or its key can not be used.
#[derive(Debug, thiserror::Error)]
pub enum BoxError {
    /// The file can not be read or made.
    #[error("the key file {path} can not be used: {source}. bursar's user needs to read it and to write its folder")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Others could read the key.
    #[error(
        "the key file {path} can be read by others (mode {mode:o}). If nobody has, run `chmod 600 {path}`; the file was not used"
    )]
    ReadableByOthers {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The content is no key.
    #[error(
        "the key file {path} does not hold a key (64 hexadecimal digits). Restore it from a backup; if there is none, move it away: a new one is made, and the secrets that nobody has looked at yet are lost"
    )]
    NotAKey {
        /// The file.
        path: PathBuf,
    },
    /// The box was changed, belongs to another request, or was closed with another key.
    #[error(
        "the stored secret can not be opened: it was changed, or the key file is not the one that it was stored with. Revoke this request and ask again"
    )]
    DoesNotOpen,
    /// The cipher refused.
    #[error("the secret could not be encrypted")]
    DoesNotClose,
}

/// The key that closes and opens boxes. It is wiped from memory when dropped, and its Debug shows nothing.
pub struct BoxKey(XChaCha20Poly1305);

impl std::fmt::Debug for BoxKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BoxKey(…)")
    }
}

impl BoxKey {
    /// Reads the key file, or makes it if there is none. Two processes that make it at once end up with the same one.
    pub fn load_or_create(path: &Path, random: &dyn RandomSource) -> Result<Self, BoxError> {
        let failed = |source| BoxError::File { path: path.to_owned(), source };
        match File::open(path) {
            Ok(file) => return Self::read(path, file),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let draft = folder.join(format!(".{}.{}", random.hex(8), "key-draft"));
        let made = write_draft(&draft, &Secret::new(random.hex(KEY_BYTES)))
            // A link, and not a rename: it never takes the place of a file that is there.
            .and_then(|()| match fs::hard_link(&draft, path) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
                Ok(()) | Err(_) => Ok(()),
            });
        let removed = fs::remove_file(&draft);
        made.map_err(failed)?;
        removed.and_then(|()| File::open(folder)?.sync_all()).map_err(failed)?;
        Self::read(path, File::open(path).map_err(failed)?)
    }

    fn read(path: &Path, file: File) -> Result<Self, BoxError> {
        let failed = |source| BoxError::File { path: path.to_owned(), source };
        let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(BoxError::ReadableByOthers { path: path.to_owned(), mode });
        }
        let mut text = Vec::new();
        file.take(MAX_FILE_BYTES).read_to_end(&mut text).map_err(failed)?;
        let text = Secret::new(String::from_utf8_lossy(&text));
        let bytes = from_hex(text.expose().trim()).ok_or_else(|| BoxError::NotAKey { path: path.to_owned() })?;
        Ok(Self(XChaCha20Poly1305::new(&bytes.into())))
    }

    /// Closes a secret into a box that opens for this request only.
    pub fn seal(&self, request: KeyRequestId, secret: &Secret, random: &dyn RandomSource) -> Result<Vec<u8>, BoxError> {
        let mut nonce = [0_u8; NONCE_BYTES];
        random.fill(&mut nonce);
        let bound = bound_to(request);
        let payload = Payload { msg: secret.expose().as_bytes(), aad: bound.as_bytes() };
        let closed = self.0.encrypt(&XNonce::from(nonce), payload).map_err(|_| BoxError::DoesNotClose)?;
        let mut boxed = vec![VERSION];
        boxed.extend_from_slice(&nonce);
        boxed.extend_from_slice(&closed);
        Ok(boxed)
    }

    /// Opens the box of a request.
    pub fn open(&self, request: KeyRequestId, boxed: &[u8]) -> Result<Secret, BoxError> {
        let (nonce, closed) = match boxed.split_first() {
            Some((&VERSION, rest)) => rest.split_first_chunk::<NONCE_BYTES>().ok_or(BoxError::DoesNotOpen)?,
            _ => return Err(BoxError::DoesNotOpen),
        };
        let bound = bound_to(request);
        let payload = Payload { msg: closed, aad: bound.as_bytes() };
        let open = self.0.decrypt(&XNonce::from(*nonce), payload).map_err(|_| BoxError::DoesNotOpen)?;
        String::from_utf8(open).map(Secret::new).map_err(|_| BoxError::DoesNotOpen)
    }
}

/// What a box is bound to: a box moved to another row does not open.
fn bound_to(request: KeyRequestId) -> String {
    format!("key-request:{request}")
}

fn write_draft(path: &Path, key: &Secret) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(key.expose().as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()
}

fn from_hex(text: &str) -> Option<[u8; KEY_BYTES]> {
    if text.len() != KEY_BYTES * 2 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut key = [0_u8; KEY_BYTES];
    for (place, digits) in key.iter_mut().zip(text.as_bytes().chunks(2)) {
        *place = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SeededRandom;

    fn request() -> KeyRequestId {
        KeyRequestId::new(7)
    }

    #[test]
    fn a_box_opens_for_its_own_request_only() {
        let folder = tempfile::tempdir().unwrap();
        let random = SeededRandom::new(1);
        let key = BoxKey::load_or_create(&folder.path().join("box.key"), &random).unwrap();
        let boxed = key.seal(request(), &Secret::new("EXAMPLE-SECRET"), &random).unwrap();
        assert_eq!(key.open(request(), &boxed).unwrap().expose(), "EXAMPLE-SECRET");
        assert!(matches!(key.open(KeyRequestId::new(8), &boxed), Err(BoxError::DoesNotOpen)));
        assert!(!boxed.windows(7).any(|part| part == b"EXAMPLE"));
        assert_ne!(boxed, key.seal(request(), &Secret::new("EXAMPLE-SECRET"), &random).unwrap(), "a nonce came twice");
    }

    #[test]
    fn a_box_changed_anywhere_or_cut_does_not_open() {
        let folder = tempfile::tempdir().unwrap();
        let random = SeededRandom::new(1);
        let key = BoxKey::load_or_create(&folder.path().join("box.key"), &random).unwrap();
        let boxed = key.seal(request(), &Secret::new("EXAMPLE-SECRET"), &random).unwrap();
        for place in 0..boxed.len() {
            let mut changed = boxed.clone();
            changed[place] ^= 1;
            assert!(key.open(request(), &changed).is_err(), "byte {place}");
            assert!(key.open(request(), &boxed[..place]).is_err(), "cut at {place}");
        }
    }

    #[test]
    fn the_key_is_made_once_readable_by_nobody_else_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("box.key");
        let random = SeededRandom::new(1);
        let first = BoxKey::load_or_create(&path, &random).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let boxed = first.seal(request(), &Secret::new("x"), &random).unwrap();
        let again = BoxKey::load_or_create(&path, &random).unwrap();
        assert_eq!(again.open(request(), &boxed).unwrap().expose(), "x");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "the draft is left behind");
        assert_eq!(format!("{first:?}"), "BoxKey(…)");
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("box.key");
        BoxKey::load_or_create(&path, &SeededRandom::new(1)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let text = BoxKey::load_or_create(&path, &SeededRandom::new(1)).unwrap_err().to_string();
        assert!(text.contains("mode 640") && text.contains("chmod 600"), "{text}");
    }

    #[test]
    fn a_malformed_key_is_refused_and_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("box.key");
        for content in ["", "not a key", &"g".repeat(64), &"a".repeat(63), &"a".repeat(65), "+f".repeat(32).as_str()] {
            let _ = fs::remove_file(&path);
            write_draft(&path, &Secret::new(content)).unwrap();
            let error = BoxKey::load_or_create(&path, &SeededRandom::new(1)).unwrap_err();
            assert!(matches!(error, BoxError::NotAKey { .. }), "{content}: {error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), format!("{content}\n"));
        }
    }
}
