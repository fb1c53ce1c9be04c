//! Tests of the `FLECHE` environment variable.

use std::{
    fs,
    path::{Path, PathBuf},
};

use fleche_core::config::CONFIG_FILE;
use tempfile::TempDir;

use super::child::{Child, Said};

/// Creates a directory whose configuration names a file store, with or without a hot tier.
fn configured(hot: bool) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let text = format!(
        "root = true\n[cache.mine]\nhot = {}\nvalues = {{ type = \"file\", root = \"values\" }}\ncalls = {{ type = \
         \"file\", root = \"calls\" }}\n",
        if hot { "\"1 MiB\"" } else { "0" }
    );
    fs::write(directory.path().join(CONFIG_FILE), text).unwrap();
    directory
}

fn run(directory: &TempDir, mode: &str) -> Said {
    Child::new("call", directory.path()).env("FLECHE", mode).run()
}

/// Returns the paths and contents of the files in the call store.
fn stored(directory: &TempDir) -> Vec<(PathBuf, Vec<u8>)> {
    fn add(files: &mut Vec<(PathBuf, Vec<u8>)>, directory: &Path) {
        for entry in fs::read_dir(directory).into_iter().flatten().map(Result::unwrap) {
            match fs::read(entry.path()) {
                Ok(bytes) => files.push((entry.path(), bytes)),
                Err(_) => add(files, &entry.path()),
            }
        }
    }
    let mut files = Vec::new();
    add(&mut files, &directory.path().join("calls"));
    files.sort();
    files
}

#[test]
fn off_runs_every_call_and_touches_no_store() {
    let directory = configured(true);
    let said = run(&directory, "off");
    assert_eq!((said.bodies(), said.messages()), (2, vec![]));
    assert_eq!(stored(&directory), []);
    assert_eq!(run(&directory, "").bodies(), 1);
    let before = stored(&directory);
    assert_eq!(run(&directory, "off").bodies(), 2);
    assert_eq!(stored(&directory), before);
    assert!(Child::new("environment", directory.path()).env("FLECHE", "off").run().after("found").contains("Void"));
}

#[test]
fn readonly_serves_hits_and_writes_nothing() {
    let directory = configured(true);
    let said = run(&directory, "readonly");
    assert_eq!((said.bodies(), said.messages()), (2, vec![]));
    assert_eq!(run(&directory, "").bodies(), 1);
    let before = stored(&directory);
    let said = run(&directory, "readonly");
    assert_eq!((said.bodies(), said.messages()), (0, vec![]));
    let evict = |mode| Child::new("evict", directory.path()).env("FLECHE", mode).run();
    assert!(evict("readonly").after("error").contains("read only"));
    assert_eq!(stored(&directory), before);
    assert_eq!(evict("").after("evicted"), "true");
}

#[test]
fn refresh_computes_each_call_once_and_replaces_its_record() {
    for hot in [true, false] {
        let directory = configured(hot);
        assert_eq!(run(&directory, "").bodies(), 1);
        let before = stored(&directory);
        let said = run(&directory, "refresh");
        assert_eq!((said.bodies(), said.messages()), (1, vec![]), "{hot}");
        let after = stored(&directory);
        let paths = |files: &[(PathBuf, Vec<u8>)]| files.iter().map(|(path, _)| path.clone()).collect::<Vec<_>>();
        assert_eq!(paths(&before), paths(&after));
        assert_ne!(before, after, "the record must be replaced");
        assert_eq!(run(&directory, "").bodies(), 0);
        assert_eq!(run(&directory, "refresh").bodies(), 1, "another run must refresh again");
    }
}

#[test]
fn unknown_mode_is_reported_once_and_has_no_effect() {
    let directory = configured(true);
    let said = run(&directory, "refesh");
    assert_eq!((said.bodies(), said.messages().len()), (1, 1), "{}", said.stderr);
    let message = said.messages()[0];
    assert!(message.starts_with("fleche: error: ") && message.contains("refesh"), "{message}");
    assert!(["`off`", "`readonly`", "`refresh`"].iter().all(|mode| message.contains(mode)), "{message}");
    assert_eq!(run(&directory, "").bodies(), 0);
}
