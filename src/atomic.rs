//! Whole files: written so that a reader sees the old content or the new one and nothing
//! between, whatever kills the process or the machine.

use crate::error::{Error, IoContext, Result};
use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// What temporary siblings are called; only ever seen after a kill.
const PREFIX: &str = ".lra-";
const SUFFIX: &str = ".tmp";

/// Replaces `path` with what `write` produces: temporary sibling, write, fsync, rename,
/// fsync the folder. On any failure the old file is untouched and the temporary is gone.
///
/// What stands at `path` must be a regular file, a link to one, or nothing: a rename would
/// replace a device node or a named pipe by a file. A link stays, its target is replaced.
pub fn write_atomic(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<()> {
    let mut file = Pending::create(path)?;
    write(&mut file).at("write", path)?;
    file.commit()
}

/// Replaces `path` with a JSON document. Its folder must be there.
pub(crate) fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<()> {
    let mut text = serde_json::to_vec_pretty(value).map_err(io::Error::from).at("write", path)?;
    text.push(b'\n');
    write_atomic(path, |out| out.write_all(&text))
}

/// Makes the folder of a file that someone asked for.
pub(crate) fn make_folder_of(path: &Path) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.map_or(Ok(()), fs::create_dir_all).at("create the folder of", path)
}

/// A file that is being written and takes its place at [`Pending::commit`], as
/// [`write_atomic`] says. Dropped before, it leaves nothing.
pub struct Pending {
    out: BufWriter<tempfile::NamedTempFile>,
    path: PathBuf,
    target: PathBuf,
    folder: PathBuf,
}

impl Pending {
    pub fn create(path: &Path) -> Result<Self> {
        let target = target(path)?;
        let folder = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let mut builder = tempfile::Builder::new();
        builder.prefix(PREFIX).suffix(SUFFIX);
        // Without this the file would be readable by its owner alone; the umask still applies.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let temporary = builder.tempfile_in(folder).at("create a file beside", path)?;
        let folder = folder.to_path_buf();
        let out = BufWriter::with_capacity(1 << 16, temporary);
        Ok(Self { out, path: path.to_path_buf(), target, folder })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn commit(self) -> Result<()> {
        let Self { out, path, target, folder } = self;
        let temporary = out.into_inner().map_err(|e| e.into_error()).at("write", &path)?;
        temporary.as_file().sync_all().at("write", &path)?;
        temporary.persist(&target).map_err(|failed| failed.error).at("replace", &path)?;
        sync_folder(&folder).at("write the folder of", &path)
    }
}

impl Write for Pending {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// The file to replace: `path`, or what it links to.
fn target(path: &Path) -> Result<PathBuf> {
    let kind = match fs::symlink_metadata(path) {
        Ok(found) => found.file_type(),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(path.to_path_buf()),
        Err(e) => return Err(e).at("look at", path),
    };
    let target = match kind.is_symlink() {
        true => fs::canonicalize(path).at("follow the link", path)?,
        false => path.to_path_buf(),
    };
    regular(&target)?;
    Ok(target)
}

fn regular(path: &Path) -> Result<()> {
    match fs::metadata(path).at("look at", path)?.is_file() {
        true => Ok(()),
        false => Err(Error::Io {
            action: "use",
            path: path.to_path_buf(),
            source: io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"),
        }),
    }
}

/// The bytes of a regular file; a device or a pipe, which may never end, is refused.
pub(crate) fn read_whole(path: &Path) -> Result<Vec<u8>> {
    regular(path)?;
    fs::read(path).at("read", path)
}

/// A rename is on disk only once its folder is.
#[cfg(unix)]
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    match fs::File::open(folder)?.sync_all() {
        // Some network and FUSE file systems cannot sync a folder; nothing better exists there.
        Err(e) if matches!(e.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => {
            Ok(())
        }
        result => result,
    }
}

#[cfg(not(unix))]
pub(crate) fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Whether a file of this name is a temporary that a kill left behind.
pub(crate) fn is_leftover(name: &std::ffi::OsStr) -> bool {
    name.to_str().is_some_and(|name| name.starts_with(PREFIX) && name.ends_with(SUFFIX))
}

/// Removes temporaries that a killed process left in `folder`. Only for a folder that no
/// other process is writing to.
pub(crate) fn remove_leftovers(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).at("list", folder)? {
        let entry = entry.at("list", folder)?;
        if is_leftover(&entry.file_name()) {
            fs::remove_file(entry.path()).at("remove", entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let list = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            list.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn replaces_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("-a\n😀.json");
        for text in ["one", "two"] {
            write_atomic(&path, |out| out.write_all(text.as_bytes())).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
            assert_eq!(names(folder.path()).len(), 1);
        }
    }

    #[test]
    fn a_failed_write_keeps_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "old").unwrap();
        let failed = write_atomic(&path, |out| {
            out.write_all(b"half of the new")?;
            Err(io::Error::other("disk on fire"))
        });
        let message = failed.unwrap_err().to_string();
        assert!(message.contains("disk on fire") && message.contains('a'), "{message}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(names(folder.path()), ["a"]);
    }

    #[test]
    fn only_regular_files_are_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        fs::create_dir(&inner).unwrap();
        let refused = |path: &Path| {
            let error = write_atomic(path, |out| out.write_all(b"x")).unwrap_err();
            assert_eq!(error.exit_code(), 10);
            assert!(error.to_string().contains("not a regular file"), "{error}");
        };
        refused(&inner);
        #[cfg(unix)]
        {
            let socket = folder.path().join("socket");
            let _bound = std::os::unix::net::UnixListener::bind(&socket).unwrap();
            refused(&socket);
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_and_its_target_changes() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        fs::write(&real, "old").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        write_atomic(&link, |out| out.write_all(b"new")).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&real).unwrap(), "new");
        // Not the 0600 of temporary files: others may read results as the umask allows.
        let plain = folder.path().join("plain");
        fs::write(&plain, "").unwrap();
        let mode = |p: &Path| fs::metadata(p).unwrap().permissions().mode();
        assert_eq!(mode(&real), mode(&plain));
    }

    #[test]
    fn leftovers_go_and_others_stay() {
        let folder = tempfile::tempdir().unwrap();
        for name in [".lra-abc.tmp", "notes.tmp", ".lra-notes"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        remove_leftovers(folder.path()).unwrap();
        assert_eq!(names(folder.path()), [".lra-notes", "notes.tmp"]);
    }
}
