//! Executors that a configuration file names, opened in a worker process.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use fleche_core::{
    Error, ExecutorExt, Resources,
    executor::{Executor, ExecutorConfig},
    executor_named,
};
use fleche_exec::ThreadPoolConfig;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::common::{pool, result};

/// Opens the executor twice and submits to it. Returns its configuration, the result, and whether it is one executor.
#[allow(clippy::needless_pass_by_value)] // Submitted functions own their arguments.
fn use_named(name: String) -> Result<(String, i64, bool), String> {
    let open = || executor_named(&name).map_err(|error| error.report().to_string());
    let (first, second) = (open()?, open()?);
    let config = serde_json::to_string(&first.config()).unwrap();
    let doubled = first.submit(|x: i64| 2 * x, (21,)).result().map_err(|error| error.to_string())?;
    Ok((config, doubled, Arc::ptr_eq(first.inner(), second.inner())))
}

fn with_file(text: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("fleche.toml"), format!("root = true\n{text}")).unwrap();
    directory
}

/// Runs [`use_named`] in a worker process whose working directory is this one.
fn use_in_worker(directory: &Path, name: &str) -> Result<(String, i64, bool), String> {
    let pool = pool(1);
    let there = pool.with(Resources::new().working_dir(directory));
    result(there.submit(use_named, (name.to_owned(),))).unwrap()
}

/// The configuration of an executor that is opened by another name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Renamed {
    name: String,
}

#[typetag::serde(name = "renamed")]
impl ExecutorConfig for Renamed {
    fn open(&self) -> fleche_core::Result<Arc<dyn Executor>> {
        Ok(executor_named(&self.name)?.inner().clone())
    }
}

/// The configuration of an executor with a directory, which its error shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Placed {
    directory: PathBuf,
}

#[typetag::serde(name = "placed")]
impl ExecutorConfig for Placed {
    fn open(&self) -> fleche_core::Result<Arc<dyn Executor>> {
        Err(Error::Config { place: "placed".to_owned(), why: format!("in <{}>", self.directory.display()) })
    }

    fn resolve(&mut self, directory: &Path) {
        self.directory = directory.join(&self.directory);
    }
}

#[test]
fn relative_paths_are_in_the_directory_of_the_file_and_tilde_is_the_home_directory() {
    let home = std::env::home_dir().unwrap();
    for (setting, expected) in [("jobs", None), ("~/jobs", Some(home.join("jobs"))), ("/jobs", Some("/jobs".into()))] {
        let directory = with_file(&format!("[executor.there]\ntype = \"placed\"\ndirectory = \"{setting}\"\n"));
        let expected = expected.unwrap_or_else(|| directory.path().join("jobs"));
        let error = use_in_worker(directory.path(), "there").unwrap_err();
        assert!(error.contains(&format!("<{}>", expected.display())), "{error}");
    }
    let directory = with_file(
        "[executor.there]\ntype = \"placed\"\ndirectory = \"~other/jobs\"\n[executor.small]\ntype = \"serial\"\n",
    );
    let error = use_in_worker(directory.path(), "there").unwrap_err();
    assert!(error.contains("`[executor.there]`") && error.contains("`~other/jobs`"), "{error}");
    // The other executors of the file can be used.
    assert!(use_in_worker(directory.path(), "small").is_ok());
}

/// Opens an executor by the name in each of two directories, and returns whether both are one executor.
#[allow(clippy::needless_pass_by_value)] // Submitted functions own their arguments.
fn are_one(name: String, directories: [PathBuf; 2]) -> bool {
    let [first, second] = directories.map(|directory| {
        std::env::set_current_dir(directory).unwrap();
        executor_named(&name).unwrap()
    });
    Arc::ptr_eq(first.inner(), second.inner())
}

#[test]
fn equal_settings_in_two_files_open_two_executors() {
    // Their relative paths would lead to different directories.
    let directories = [(); 2].map(|()| with_file("[executor.small]\ntype = \"serial\"\n"));
    let [one, other] = directories.each_ref().map(|directory| directory.path().to_owned());
    for (second, expected) in [(&one, true), (&other, false)] {
        let directories = [one.clone(), second.clone()];
        assert_eq!(result(pool(1).submit(are_one, ("small".to_owned(), directories))), Ok(expected));
    }
}

#[test]
fn executor_may_open_another_one_by_name() {
    let directory = with_file("[executor.outer]\ntype = \"renamed\"\nname = \"serial\"\n");
    let used = use_in_worker(directory.path(), "outer");
    assert_eq!(used, Ok((r#"{"type":"serial"}"#.to_owned(), 42, true)));
}

#[test]
fn same_name_opens_the_configured_executor_once() {
    let directory = with_file("[executor.small]\ntype = \"threads\"\nthreads = 2\n");
    let used = use_in_worker(directory.path(), "small");
    assert_eq!(used, Ok((r#"{"type":"threads","threads":2}"#.to_owned(), 42, true)));
}

#[test]
fn linked_type_is_a_name_unless_a_file_defines_it() {
    let directory = with_file("");
    let used = use_in_worker(directory.path(), "threads");
    let per_core = serde_json::to_string::<dyn fleche_core::executor::ExecutorConfig>(&ThreadPoolConfig::default());
    assert_eq!(used, Ok((per_core.unwrap(), 42, true)));
    let directory = with_file("[executor.threads]\ntype = \"serial\"\n");
    let used = use_in_worker(directory.path(), "threads");
    assert_eq!(used, Ok((r#"{"type":"serial"}"#.to_owned(), 42, true)));
}

#[test]
fn executor_opens_although_a_cache_in_the_file_has_an_unlinked_store() {
    let directory = with_file(
        "[cache.study]\nvalues = { type = \"unlinked\" }\ncalls = { type = \"unlinked\" }\n\
         [executor.small]\ntype = \"serial\"\n",
    );
    let used = use_in_worker(directory.path(), "small");
    assert_eq!(used, Ok((r#"{"type":"serial"}"#.to_owned(), 42, true)));
}

#[test]
fn unknown_name_lists_known_names() {
    let directory = with_file("[executor.cluster]\ntype = \"serial\"\n");
    let error = use_in_worker(directory.path(), "clustr").unwrap_err();
    for part in ["`clustr`; did you mean `cluster`?", "`processes`", "`serial`", "`threads`"] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn unusable_settings_are_reported_with_file_and_table() {
    for (settings, why) in [
        ("type = \"proceses\"", "did you mean `processes`?"),
        ("threads = 2", "`type` is missing"),
        ("type = \"threads\"\nthreds = 2", "`threds`"),
        ("type = \"threads\"\nthreads = \"two\"", "\"two\""),
        ("type = \"threads\"\nthreads = 0", "a pool of 0 threads"),
    ] {
        let directory = with_file(&format!("[executor.cluster]\n{settings}\n"));
        let error = use_in_worker(directory.path(), "cluster").unwrap_err();
        let place = format!("{}, `[executor.cluster]`: ", directory.path().join("fleche.toml").display());
        assert!(error.starts_with(&place) && error.contains(why), "{error}");
    }
}
