//! Files as arguments: they are sent by path, and identified by their content.

use std::{fs, path::PathBuf};

use fleche_core::{ExecutorExt, FileContent, JobError, fleche, wrap_executor};

use super::common::{files, memory, pool, result, wait_for};

#[allow(clippy::needless_pass_by_value)] // Submitted functions own their arguments.
fn text_of(file: FileContent) -> String {
    fs::read_to_string(file).unwrap()
}

#[fleche]
#[allow(clippy::needless_pass_by_value)] // Submitted functions own their arguments.
fn letters(file: FileContent) -> usize {
    fs::read_to_string(file).unwrap().len()
}

#[fleche]
fn letters_of_two(files: &[FileContent]) -> usize {
    files.iter().map(|file| letters(file.clone())).sum()
}

fn written(directory: &tempfile::TempDir, name: &str, text: &str) -> FileContent {
    let path = directory.path().join(name);
    fs::write(&path, text).unwrap();
    path.into()
}

#[test]
fn file_reaches_the_worker() {
    let directory = tempfile::tempdir().unwrap();
    let file = written(&directory, "a.txt", "abc");
    assert_eq!(result(pool(1).submit(text_of, (file,))).as_deref(), Ok("abc"));
}

#[test]
fn call_with_a_file_is_recorded_under_the_key_of_every_process() {
    let directory = tempfile::tempdir().unwrap();
    let file = written(&directory, "a.txt", "abc");
    for cache in [memory(), files(directory.path())] {
        let _active = cache.enter();
        let pool = wrap_executor(pool(1));
        assert_eq!(result(pool.submit(letters, (file.clone(),))), Ok(3));
        assert_eq!(letters::load(file.clone()).unwrap(), Some(3));
        assert!(pool.submit(letters, (file.clone(),)).is_done());
    }
}

#[test]
fn bound_call_carries_its_files() {
    let directory = tempfile::tempdir().unwrap();
    let both = [written(&directory, "a.txt", "abc"), written(&directory, "b.txt", "de")];
    let _active = memory().enter();
    let call = letters_of_two::bind(&both);
    assert_eq!(call.key(), Some(letters_of_two::key(&both)));
    assert_eq!(result(pool(1).run(call)), Ok(5));
    assert_eq!(letters::load(both[1].clone()).unwrap(), Some(2));
}

#[test]
fn file_whose_name_is_not_utf8_reaches_the_worker() {
    use std::os::unix::ffi::OsStrExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(std::ffi::OsStr::from_bytes(b"\xff.txt"));
    fs::write(&path, "abc").unwrap();
    assert_eq!(result(pool(1).submit(text_of, (FileContent::new(path),))).as_deref(), Ok("abc"));
}

#[test]
fn store_whose_directory_is_not_utf8_is_shared_with_workers() {
    use std::os::unix::ffi::OsStrExt;
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join(std::ffi::OsStr::from_bytes(b"a\nb \xff"));
    let file = written(&directory, "a.txt", "abc");
    let cache = files(&root);
    let _active = cache.enter();
    let pool = wrap_executor(pool(1));
    assert_eq!(result(pool.submit(letters, (file.clone(),))), Ok(3));
    assert_eq!(letters::load(file.clone()).unwrap(), Some(3));
    let named = root.join("a.txt");
    fs::write(&named, "abcd").unwrap();
    let call = letters::bind(FileContent::new(named));
    let text = serde_json::to_string(&call).unwrap();
    let read: fleche_core::BoundCall<usize> = serde_json::from_str(&text).unwrap();
    assert_eq!(read.key(), call.key());
    assert_eq!(result(pool.run(read)), Ok(4));
}

#[test]
fn file_changed_before_its_call_starts_is_named_and_no_body_runs() {
    let directory = tempfile::tempdir().unwrap();
    for (name, change) in [("changed.txt", true), ("removed.txt", false)] {
        let (file, gate) = (written(&directory, name, "before"), directory.path().join(format!("{name}.gate")));
        let pool = pool(1);
        let busy = pool.submit(wait_for, (gate.clone(),));
        let late = pool.submit(text_of, (file.clone(),));
        if change {
            fs::write(&file, "after").unwrap();
        } else {
            fs::remove_file(&file).unwrap();
        }
        fs::write(gate, "").unwrap();
        result(busy).unwrap();
        match result(late) {
            Err(JobError::Rejected { why }) => {
                let says = if change { "has changed" } else { "cannot be read" };
                assert!(why.contains(name) && why.contains(says), "{why}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn relative_path_is_resolved_in_the_submitters_directory() {
    use fleche_core::executor::Resources;
    let directory = tempfile::tempdir_in(".").unwrap();
    let relative = PathBuf::from(directory.path().file_name().unwrap()).join("a.txt");
    fs::write(&relative, "abc").unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let pool = pool(1);
    let there = pool.with(Resources::new().working_dir(elsewhere.path()));
    assert_eq!(result(there.submit(text_of, (FileContent::new(relative),))).as_deref(), Ok("abc"));
}
