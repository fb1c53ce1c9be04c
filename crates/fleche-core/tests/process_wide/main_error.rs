//! The message that a program prints when its `main` returns an error.

use std::{env, process::Command};

use fleche_core::FileContent;

const CHILD: &str = "FLECHE_TEST_MAIN_ERROR";

/// Fails in the child process of the test below, with the conversion that `main` uses; succeeds in the parent process.
#[test]
fn failing_program() -> fleche_core::Result<()> {
    if env::var_os(CHILD).is_some() {
        FileContent::new("no/such/file").digest()?;
    }
    Ok(())
}

#[test]
fn error_returned_from_main_is_printed_with_its_cause() {
    let mut child = Command::new(env::current_exe().unwrap());
    child.args(["--exact", "main_error::failing_program", "--nocapture"]).env(CHILD, "1");
    let output = child.output().unwrap();
    assert!(!output.status.success());
    let printed = String::from_utf8(output.stderr).unwrap();
    let message = printed.lines().find_map(|line| line.strip_prefix("Error: ")).unwrap_or_default();
    assert!(message.starts_with("cannot read ") && message.contains("no/such/file: "), "{printed}");
    assert_eq!(message.matches("no/such/file").count(), 1, "{printed}");
}
