//! Whether a folder is on a file system of this machine. SQLite's locks do not hold on network file systems, so that two
//! processes could write at once and damage the database (design rule 14). Pure.

use std::path::{Path, PathBuf};

/// File systems that other machines may change too.
const SHARED: [&str; 18] = [
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "fuse.sshfs",
    "9p",
    "ceph",
    "fuse.ceph",
    "fuse.ceph-fuse",
    "glusterfs",
    "fuse.glusterfs",
    "afs",
    "lustre",
    "gfs2",
    "ocfs2",
    "beegfs",
    "fuse.s3fs",
];

/// A mounted file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where it is mounted.
    pub point: PathBuf,
    /// Its kind, such as `ext4`.
    pub kind: String,
}

/// Whether `path` (absolute, without links) is on a local file system, by the text of `/proc/mounts`. None: the text says
/// nothing about it. Err: the network file system that it is on.
pub fn local_file_system(mounts_text: &str, path: &Path) -> Option<Result<Mount, Mount>> {
    let mut found: Option<Mount> = None;
    for line in mounts_text.lines() {
        let mut fields = line.split(' ').skip(1);
        let (Some(point), Some(kind)) = (fields.next(), fields.next()) else { continue };
        let point = PathBuf::from(unescaped(point));
        // A later mount on the same point hides the earlier one.
        let deeper = found.as_ref().is_none_or(|f| point.components().count() >= f.point.components().count());
        if path.starts_with(&point) && deeper {
            found = Some(Mount { point, kind: kind.to_owned() });
        }
    }
    found.map(|mount| if SHARED.contains(&mount.kind.as_str()) { Err(mount) } else { Ok(mount) })
}

/// A space, tab, line break or backslash in a path stands there as a backslash and three octal digits.
fn unescaped(field: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(field.to_owned(), |text, (code, letter)| text.replace(code, letter))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
proc /proc proc rw,nosuid 0 0
/dev/sda1 / ext4 rw,relatime 0 0
tmpfs /run tmpfs rw 0 0
files.example.com:/export /srv nfs4 rw,vers=4.2 0 0
//files.example.com/share /mnt/a\\040share cifs rw 0 0
/dev/sdb1 /srv/local xfs rw 0 0
host /shared 9p rw,trans=virtio 0 0
alice@example.com:/ /mnt/ssh fuse.sshfs rw 0 0
/dev/sdc1 /twice ext4 rw 0 0
files.example.com:/twice /twice nfs rw 0 0
half a";

    fn kind(path: &str) -> Result<String, String> {
        match local_file_system(MOUNTS, Path::new(path)).unwrap() {
            Ok(mount) => Ok(mount.kind),
            Err(mount) => Err(mount.kind),
        }
    }

    #[test]
    fn the_deepest_mount_decides() {
        assert_eq!(kind("/var/lib/bursar"), Ok("ext4".to_owned()));
        assert_eq!(kind("/srv/bursar"), Err("nfs4".to_owned()));
        assert_eq!(kind("/srv/local/bursar"), Ok("xfs".to_owned()));
        assert_eq!(kind("/srvlocal"), Ok("ext4".to_owned()), "not below /srv though it begins alike");
        assert_eq!(kind("/shared/bursar"), Err("9p".to_owned()));
        assert_eq!(kind("/mnt/ssh"), Err("fuse.sshfs".to_owned()));
    }

    #[test]
    fn a_space_in_the_path_and_a_mount_on_a_mount_are_seen() {
        assert_eq!(kind("/mnt/a share/bursar"), Err("cifs".to_owned()));
        assert_eq!(kind("/twice/bursar"), Err("nfs".to_owned()));
    }

    #[test]
    fn nothing_is_said_without_a_mount() {
        assert_eq!(local_file_system("", Path::new("/var/lib/bursar")), None);
        assert_eq!(local_file_system("garbage", Path::new("/var/lib/bursar")), None);
    }
}
