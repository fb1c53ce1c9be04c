//! `Tree`: the files of the workspace, as the rules see them.

use std::{collections::BTreeMap, fs, io, path::Path};

/// The workspace's files: paths relative to its root, with `/`; contents of those that are text.
pub(crate) struct Tree(BTreeMap<String, String>);

/// What a rule objects to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Complaint {
    pub(crate) path: String,
    /// From 1; `None` where it concerns the whole file.
    pub(crate) line: Option<usize>,
    pub(crate) message: String,
}

impl Complaint {
    pub(crate) fn new(path: &str, line: impl Into<Option<usize>>, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: line.into(), message: message.into() }
    }
}

impl Tree {
    /// Reads everything but what git and cargo keep for themselves.
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
                    // What is no text (an image, say) is there for links to lead to.
                    files.insert(relative.join("/"), String::from_utf8(fs::read(&path)?).unwrap_or_default());
                }
            }
        }
        Ok(Self(files))
    }

    /// How many files there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The text of a file.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.0.get(path).map(String::as_str)
    }

    /// Whether there is a file or directory of this path.
    pub(crate) fn has(&self, path: &str) -> bool {
        let inside = format!("{path}/");
        path.is_empty() || self.0.keys().any(|file| file == path || file.starts_with(&inside))
    }

    /// Files whose names end so, with their text.
    pub(crate) fn with_ending<'a>(&'a self, ending: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.iter().filter(move |(path, _)| path.ends_with(ending)).map(|(path, text)| (&**path, &**text))
    }

    /// The files below a directory.
    pub(crate) fn below<'a>(&'a self, directory: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let files = self.0.iter().map(|(path, text)| (&**path, &**text));
        files.filter(move |(path, _)| path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/')))
    }

    /// The manifests of the workspace's members.
    pub(crate) fn manifests(&self) -> impl Iterator<Item = (&str, &str)> {
        let is_member =
            |path: &str| path.starts_with("crates/") || path.starts_with("examples/") || path.starts_with("xtask/");
        self.with_ending("/Cargo.toml").filter(move |(path, _)| is_member(path))
    }
}

#[cfg(test)]
impl Tree {
    /// A workspace of these files.
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        Self(files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_read_without_what_cargo_builds() {
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
