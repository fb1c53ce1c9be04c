//! Tests where warnings go: to a `tracing` subscriber if there is one, else to standard error.

use std::{env, process::Command};

use fleche_core::spi::log;

/// The environment variable that selects the task of a child process of this test binary; not set in an ordinary test run.
const CHILD: &str = "FLECHE_TEST_LOG_CHILD";

#[test]
fn child_process() {
    match env::var(CHILD).as_deref() {
        Ok("plain") => emit(),
        Ok("subscriber") => tracing::subscriber::with_default(tracing_subscriber::registry(), emit),
        Ok("held") => {
            let _held = std::io::stderr().lock();
            std::thread::spawn(emit).join().unwrap();
        }
        _ => {}
    }
}

fn emit() {
    for number in [1, 1, 2] {
        log::warn!(number, function = "f", "a message\nof two lines");
    }
    log::error!("an error");
    log::error!("{}", "ä".repeat(5_000));
    for number in 0..20 {
        log::warn!("message {number}");
    }
}

fn stderr_of_child(kind: &str, level: Option<&str>) -> Vec<String> {
    let mut child = Command::new(env::current_exe().unwrap());
    child.args(["--exact", "log::child_process", "--nocapture"]).env(CHILD, kind).env_remove("FLECHE_LOG");
    child.envs(level.map(|level| ("FLECHE_LOG", level)));
    let output = child.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stderr)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .filter(|line| line.starts_with("fleche"))
        .collect()
}

#[test]
fn each_message_is_printed_once_without_a_subscriber() {
    let lines = stderr_of_child("plain", None);
    assert_eq!(lines[0], "fleche: warning: a message of two lines (number: 1, function: f)");
    assert_eq!(lines[1], "fleche: warning: a message of two lines (number: 2, function: f)");
    assert_eq!(lines[2], "fleche: error: an error");
    assert!(lines[3].ends_with("ä…") && lines[3].len() < 1_100, "{}", lines[3].len());
    assert_eq!(lines[4], "fleche: warning: message 0");
}

#[test]
fn call_site_prints_a_bounded_number_of_lines() {
    let lines = stderr_of_child("plain", None);
    assert_eq!(lines.len(), 4 + log::LINES_PER_CALLSITE + 1);
    assert_eq!(lines.last().unwrap(), "fleche: warning: further messages of this kind are not shown");
}

#[test]
fn nothing_is_printed_with_a_subscriber() {
    assert_eq!(stderr_of_child("subscriber", None), [""; 0]);
}

#[test]
fn fleche_log_suppresses_messages() {
    assert_eq!(stderr_of_child("plain", Some("off")), [""; 0]);
    let errors = stderr_of_child("plain", Some("error"));
    assert_eq!(errors.len(), 2);
    assert_eq!(errors[0], "fleche: error: an error");
}

#[test]
fn message_is_printed_while_stderr_is_locked() {
    assert!(!stderr_of_child("held", None).is_empty());
}
