//! Which paths are allowed, and errors that name them.

use std::ffi::OsStr;
use std::io;
use std::path::{Component, Path};

/// The names along a relative path; none for the root.
pub(super) fn names(path: &Path) -> io::Result<Vec<&OsStr>> {
    path.components()
        .map(|component| match component {
            Component::Normal(name) => Ok(name),
            _ => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "path {}: expected plain names below the root, without \"..\", \".\" or a leading \"/\"",
                    path.display()
                ),
            )),
        })
        .collect()
}

/// The names of the directory and the last name. The root has none.
pub(super) fn split(path: &Path) -> io::Result<(Vec<&OsStr>, &OsStr)> {
    let mut names = names(path)?;
    let last = names
        .pop()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "expected a name, found the root"))?;
    Ok((names, last))
}

/// `error` with what was tried on which path.
pub(super) fn named(error: impl Into<io::Error>, what: &str, path: &Path) -> io::Error {
    let error = error.into();
    io::Error::new(error.kind(), format!("{what} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_below_the_root_are_allowed() {
        assert_eq!(names(Path::new("")).unwrap().len(), 0);
        assert_eq!(names(Path::new("a/b")).unwrap(), ["a", "b"]);
        for bad in ["..", "/a", "a/../../b", "."] {
            assert_eq!(names(Path::new(bad)).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{bad}");
        }
    }
}
