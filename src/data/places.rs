//! Where official files are looked for, and where prepared data is kept.
//!
//! | what | first that is set |
//! |---|---|
//! | official files | `--data-dir`, `LRA_DATA` |
//! | cache | `LRA_CACHE`, `$XDG_CACHE_HOME/lra`, `$HOME/.cache/lra`, `./.lra-cache` |
//!
//! Official files that are in no named folder are fetched into `downloads/` of the cache.

use crate::error::{Error, Result};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Where data is looked for and where prepared data is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// Folder with the official files, or their archive (`--data-dir` or `LRA_DATA`), if any
    /// was given.
    pub official: Option<PathBuf>,
    /// Prepared data of all tasks (`LRA_CACHE`, or the platform's cache folder).
    pub cache: PathBuf,
}

/// The places of this process. A folder that was named and is not there is an error.
pub fn places(data_dir: Option<&Path>) -> Result<Places> {
    resolve(data_dir, |name| std::env::var_os(name))
}

fn resolve(data_dir: Option<&Path>, env: impl Fn(&str) -> Option<OsString>) -> Result<Places> {
    // An empty variable counts as unset, as in a shell's ${NAME:-...}.
    let env = |name| env(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let official = match data_dir {
        Some(folder) => Some((folder.to_path_buf(), "--data-dir")),
        None => env("LRA_DATA").map(|folder| (folder, "LRA_DATA")),
    };
    if let Some((folder, by)) = &official
        && !folder.exists()
    {
        return Err(Error::usage(format!(
            "{by} names {}, which does not exist; give the folder that holds the official files, \
             or their archive",
            folder.display()
        )));
    }
    let cache = env("LRA_CACHE")
        .or_else(|| env("XDG_CACHE_HOME").map(|folder| folder.join("lra")))
        .or_else(|| env("HOME").map(|folder| folder.join(".cache").join("lra")))
        .unwrap_or_else(|| PathBuf::from(".lra-cache"));
    Ok(Places { official: official.map(|(folder, _)| folder), cache })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with<'a>(set: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<OsString> + 'a {
        |name| set.iter().find(|(n, _)| *n == name).map(|(_, value)| OsString::from(value))
    }

    #[test]
    fn the_first_that_is_set_decides() {
        let cache = |set: &[_]| resolve(None, with(set)).unwrap().cache;
        assert_eq!(cache(&[]), Path::new(".lra-cache"));
        assert_eq!(cache(&[("HOME", "/h")]), Path::new("/h/.cache/lra"));
        assert_eq!(cache(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x")]), Path::new("/x/lra"));
        assert_eq!(cache(&[("XDG_CACHE_HOME", "/x"), ("LRA_CACHE", "/c")]), Path::new("/c"));
        assert_eq!(cache(&[("HOME", "/h"), ("LRA_CACHE", "")]), Path::new("/h/.cache/lra"));

        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let set = [("LRA_DATA", b.path().to_str().unwrap())];
        let official = |dir| resolve(dir, with(&set)).unwrap().official.unwrap();
        assert_eq!(official(Some(a.path())), a.path());
        assert_eq!(official(None), b.path());
        assert_eq!(resolve(None, with(&[])).unwrap().official, None);
    }

    #[test]
    fn a_folder_that_is_not_there_is_named_with_what_named_it() {
        let missing = Path::new("/no/such/folder");
        let by_flag = resolve(Some(missing), with(&[])).unwrap_err();
        let by_env = resolve(None, with(&[("LRA_DATA", "/no/such/folder")])).unwrap_err();
        for (error, by) in [(by_flag, "--data-dir"), (by_env, "LRA_DATA")] {
            let text = error.to_string();
            assert_eq!(error.exit_code(), 2);
            assert!(text.contains(by) && text.contains("/no/such/folder"), "{text}");
        }
    }
}
