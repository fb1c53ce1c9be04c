//! Tests which configuration files are trusted.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown, symlink},
    path::Path,
};

use fleche_core::{
    config::MAX_CONFIG_LEN,
    config::{CONFIG_FILE, CONFIG_VARIABLE, ConfigFile},
};
use nix::{sys::stat::Mode, unistd::mkfifo};
use tempfile::TempDir;

use super::{child::Child, support::logged};

const TEXT: &str = "root = true\n[cache.near]\nvalues = { type = \"void\" }\ncalls = { type = \"void\" }\n";
const FAR: &str = "root = true\n[cache.far]\nvalues = { type = \"void\" }\ncalls = { type = \"void\" }\n";
/// A user that is neither this one nor root.
const STRANGER: u32 = 54_321;

/// Creates a directory `near` inside one whose file names the cache `far`.
fn nested() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join(CONFIG_FILE), FAR).unwrap();
    fs::create_dir(directory.path().join("near")).unwrap();
    directory
}

fn set_mode(path: impl AsRef<Path>, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Asserts that the file in `near` is skipped with a warning that contains `says`, and that the search continues.
fn assert_skipped(directory: &TempDir, says: &str) {
    let near = directory.path().join("near");
    let (found, log) = logged(|| ConfigFile::find(&near).unwrap());
    assert_eq!(found.caches.keys().collect::<Vec<_>>(), ["far"], "{log}");
    assert_eq!(found.files, [directory.path().join(CONFIG_FILE)]);
    let file = near.join(CONFIG_FILE).display().to_string();
    assert!(log.contains(says) && log.contains(&file) && log.contains("is skipped"), "{log}");
    // The warning appears once.
    assert_eq!(logged(|| ConfigFile::find(&near).unwrap()).1, "");
}

fn assert_obeyed(directory: &TempDir) {
    let (found, log) = logged(|| ConfigFile::find(&directory.path().join("near")).unwrap());
    assert_eq!(found.caches.keys().collect::<Vec<_>>(), ["near"], "{log}");
    assert_eq!(log, "");
}

#[test]
fn file_of_another_user_is_skipped() {
    let directory = nested();
    let file = directory.path().join("near").join(CONFIG_FILE);
    fs::write(&file, TEXT).unwrap();
    assert_obeyed(&directory);
    if chown(&file, Some(STRANGER), None).is_ok() {
        assert_skipped(&directory, "belongs to user 54321");
    }
}

#[test]
fn file_in_a_directory_of_another_user_is_skipped() {
    let directory = nested();
    fs::write(directory.path().join("near").join(CONFIG_FILE), TEXT).unwrap();
    if chown(directory.path().join("near"), Some(STRANGER), None).is_ok() {
        assert_skipped(&directory, "belongs to user 54321");
    }
}

#[test]
fn file_writable_by_others_is_skipped() {
    let directory = nested();
    let file = directory.path().join("near").join(CONFIG_FILE);
    fs::write(&file, TEXT).unwrap();
    set_mode(&file, 0o666);
    assert_skipped(&directory, "chmod go-w");
    // A group that is not the user's own counts as having other members.
    let directory = nested();
    let file = directory.path().join("near").join(CONFIG_FILE);
    fs::write(&file, TEXT).unwrap();
    set_mode(&file, 0o664);
    if chown(&file, None, Some(STRANGER)).is_ok() {
        assert_skipped(&directory, "chmod go-w");
    }
}

#[test]
fn file_in_a_writable_directory_is_skipped_unless_it_is_sticky() {
    let directory = nested();
    let near = directory.path().join("near");
    fs::write(near.join(CONFIG_FILE), TEXT).unwrap();
    set_mode(&near, 0o777);
    assert_skipped(&directory, "can write to its directory");
    set_mode(&near, 0o1777);
    assert_obeyed(&directory);
    fs::hard_link(near.join(CONFIG_FILE), near.join("other")).unwrap();
    assert_skipped(&directory, "several hard links");
}

#[test]
fn link_to_a_file_that_others_can_replace_is_skipped() {
    let directory = nested();
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("mine.toml"), TEXT).unwrap();
    symlink(elsewhere.path().join("mine.toml"), directory.path().join("near").join(CONFIG_FILE)).unwrap();
    assert_obeyed(&directory);
    set_mode(elsewhere.path(), 0o777);
    assert_skipped(&directory, "can write to its directory");
}

#[test]
fn special_file_is_skipped_without_reading_it() {
    type Make = fn(&Path);
    let special: [(Make, &str); 4] = [
        (|path| mkfifo(path, Mode::S_IRWXU).unwrap(), "not a regular file"),
        (|path| symlink("/dev/zero", path).unwrap(), "not a regular file"),
        (|path| fs::create_dir(path).unwrap(), "not a regular file"),
        (|path| symlink(path, path).unwrap(), "cannot inspect it"),
    ];
    for (make, says) in special {
        let directory = nested();
        make(&directory.path().join("near").join(CONFIG_FILE));
        assert_skipped(&directory, says);
    }
}

#[test]
fn overlong_file_is_skipped_without_reading_it() {
    let directory = nested();
    let file = directory.path().join("near").join(CONFIG_FILE);
    let comment = "#".repeat(usize::try_from(MAX_CONFIG_LEN).unwrap() - TEXT.len());
    fs::write(&file, format!("{TEXT}{comment}")).unwrap();
    assert_obeyed(&directory);
    fs::File::options().write(true).open(&file).unwrap().set_len(1 << 40).unwrap();
    assert_skipped(&directory, "more than the limit of 1048576");
}

/// Returns the configuration that a process in `directory` finds with this value of `FLECHE_CONFIG`.
fn found_by_child(directory: &Path, named: &str) -> String {
    let said = Child::new("files", directory).env(CONFIG_VARIABLE, named).run();
    let word = if said.stdout.contains("found ") { "found" } else { "error" };
    said.after(word).to_owned()
}

#[test]
fn named_file_is_used_regardless_of_owner_without_a_search() {
    let directory = nested();
    let named = directory.path().join("named.toml");
    fs::write(&named, TEXT).unwrap();
    set_mode(&named, 0o666);
    let _ = chown(&named, Some(STRANGER), None);
    for spelling in ["named.toml", named.to_str().unwrap()] {
        assert_eq!(found_by_child(directory.path(), spelling), r#"["near"]"#);
    }
    assert_eq!(found_by_child(directory.path(), ""), r#"["far"]"#, "an empty value counts as not set");
}

#[test]
fn named_file_that_cannot_be_used_is_an_error() {
    let directory = nested();
    mkfifo(&directory.path().join("fifo"), Mode::S_IRWXU).unwrap();
    for (named, says) in
        [("missing.toml", "cannot be read"), ("fifo", "not a regular file"), ("/dev/zero", "not a regular file")]
    {
        let error = found_by_child(directory.path(), named);
        assert!(error.contains(says) && error.contains(named) && error.contains(CONFIG_VARIABLE), "{error}");
    }
}
