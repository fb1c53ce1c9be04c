//! The files of the workspace that the rules check, and the complaints of the rules.

use std::{collections::BTreeMap, fs, io, path::Path};

/// The workspace's files: their paths from its root, with `/`, and their contents, which are empty for binary files.
pub(crate) struct Tree(BTreeMap<String, String>);

/// A violation of a rule.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Complaint {
    pub(crate) path: String,
    /// The line, counted from 1, or `None` if the complaint is about the whole file.
    pub(crate) line: Option<usize>,
    pub(crate) message: String,
}

impl Complaint {
    pub(crate) fn new(path: &str, line: impl Into<Option<usize>>, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: line.into(), message: message.into() }
    }
}

impl Tree {
    /// Reads all files except those in directories named `.git` and `target`.
    pub(crate) fn read(root: &Path) -> io::Result<Self> {
        let mut files = BTreeMap::new();
        let mut directories = vec![root.to_owned()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory)? {
                let (entry, path) = entry.map(|entry| (entry.file_type(), entry.path()))?;
                let name = path.file_name().unwrap_or_default();
                if name == ".git" || name == "target" {
                    continue;
                }
                if entry?.is_dir() {
                    directories.push(path);
                } else if let Ok(relative) = path.strip_prefix(root) {
                    let relative: Vec<_> = relative.iter().map(|part| part.to_string_lossy()).collect();
                    // Binary files, such as images, are included because links may lead to them.
                    files.insert(relative.join("/"), String::from_utf8(fs::read(&path)?).unwrap_or_default());
                }
            }
        }
        Ok(Self(files))
    }

    /// Returns the number of files.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the text of a file, or `None` if there is no such file.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.0.get(path).map(String::as_str)
    }

    /// Returns whether there is a file or directory with this path.
    pub(crate) fn has(&self, path: &str) -> bool {
        let inside = format!("{path}/");
        path.is_empty() || self.0.keys().any(|file| file == path || file.starts_with(&inside))
    }

    /// Returns the files whose paths have this ending, with their text.
    pub(crate) fn with_ending<'a>(&'a self, ending: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.iter().filter(move |(path, _)| path.ends_with(ending)).map(|(path, text)| (&**path, &**text))
    }

    /// Returns the files below a directory, with their text.
    pub(crate) fn below<'a>(&'a self, directory: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let files = self.0.iter().map(|(path, text)| (&**path, &**text));
        files.filter(move |(path, _)| path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/')))
    }

    /// Returns the manifests of the workspace's members, with their text.
    pub(crate) fn manifests(&self) -> impl Iterator<Item = (&str, &str)> {
        let is_member =
            |path: &str| path.starts_with("crates/") || path.starts_with("examples/") || path.starts_with("xtask/");
        self.with_ending("/Cargo.toml").filter(move |(path, _)| is_member(path))
    }
}

#[cfg(test)]
impl Tree {
    /// Creates a workspace of these files.
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        Self(files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tree_is_read_without_build_output() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("a/target")).unwrap();
        fs::write(directory.path().join("a/b.rs"), "//! b").unwrap();
        fs::write(directory.path().join("a/target/c.rs"), "c").unwrap();
        let tree = Tree::read(directory.path()).unwrap();
        assert_eq!(tree.len(), 1);
        assert_eq!(tree.text("a/b.rs"), Some("//! b"));
        assert!(tree.has("a") && tree.has("a/b.rs") && tree.has("") && !tree.has("a/target") && !tree.has("b"));
    }
}
