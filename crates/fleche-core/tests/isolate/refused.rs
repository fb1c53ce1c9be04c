//! Calls that cannot be isolated.

use std::fs;

use fleche_core::fleche;

use super::process::{alone_with, panic_of};
use crate::support::{Runs, memory};

#[test]
fn call_panics_without_running_if_no_directory_can_be_created() {
    static RUNS: Runs = Runs::new();
    #[fleche(isolate)]
    fn nowhere(x: i64) -> i64 {
        RUNS.count();
        x
    }
    let prepare = |command: &mut std::process::Command, directory: &std::path::Path| {
        let file = directory.join("file");
        fs::write(&file, "").unwrap();
        command.env("XDG_CACHE_HOME", &file).env("TMPDIR", &file);
    };
    alone_with("refused::call_panics_without_running_if_no_directory_can_be_created", prepare, || {
        let cache = memory();
        let payload = panic_of(|| cache.scope(|| nowhere(1)));
        let message = payload.downcast::<String>().unwrap();
        assert!(message.contains("XDG_CACHE_HOME") && message.contains("did not run"), "{message}");
        assert_eq!(RUNS.take(), 0);
        assert!(!cache.contains(&nowhere::key(1)).unwrap());
    });
}
