//! Tests of results with each kind of error that a worker returns.

use std::{error::Error, fmt, num::ParseIntError};

use fleche_core::{ExecutorExt, JobError, fleche, job::RemoteError};

use super::common::{memory, pool, result};

/// A custom error that does not implement the traits of serde.
#[derive(Debug)]
enum Fault {
    Here(ParseIntError),
    Elsewhere(RemoteError),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Here(_) => f.write_str("no number"),
            Self::Elsewhere(error) => error.fmt(f),
        }
    }
}

impl Error for Fault {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Here(error) => Some(error),
            Self::Elsewhere(error) => error.source(),
        }
    }
}

impl From<RemoteError> for Fault {
    fn from(error: RemoteError) -> Self {
        Self::Elsewhere(error)
    }
}

#[fleche]
fn with_own(text: &str) -> Result<i64, Fault> {
    text.parse().map_err(Fault::Here)
}

#[fleche]
fn with_box(text: &str) -> Result<i64, Box<dyn Error>> {
    Ok(text.parse()?)
}

#[fleche]
fn with_shared_box(text: &str) -> Result<i64, Box<dyn Error + Send + Sync>> {
    Ok(text.parse()?)
}

#[fleche]
fn with_foreign(text: &str) -> Result<i64, ParseIntError> {
    text.parse()
}

#[fleche]
fn with_text(text: &str) -> Result<i64, String> {
    text.parse().map_err(|_| "no number".to_owned())
}

#[test]
fn custom_error_is_returned_as_text_with_its_sources() {
    let _active = memory().enter();
    let pool = pool(1);
    assert_eq!(result(pool.run(with_own::bind("7"))).unwrap().unwrap(), 7);
    let error = result(pool.run(with_own::bind("x"))).unwrap().unwrap_err();
    assert!(matches!(error, Fault::Elsewhere(_)));
    assert_eq!(error.to_string(), "no number");
    assert_eq!(error.source().unwrap().to_string(), "invalid digit found in string");
}

#[test]
fn boxed_errors_are_returned_as_text() {
    let _active = memory().enter();
    let pool = pool(1);
    assert_eq!(result(pool.run(with_box::bind("7"))).unwrap().unwrap(), 7);
    let error = result(pool.run(with_box::bind("x"))).unwrap().unwrap_err();
    assert_eq!(error.to_string(), "invalid digit found in string");
    let error = result(pool.run(with_shared_box::bind("x"))).unwrap().unwrap_err();
    assert_eq!(error.to_string(), "invalid digit found in string");
}

#[test]
fn serializable_error_is_returned_unchanged() {
    let _active = memory().enter();
    assert_eq!(result(pool(1).run(with_text::bind("x"))), Ok(Err("no number".to_owned())));
}

#[test]
fn error_that_cannot_be_sent_is_refused_before_any_body_runs() {
    let _active = memory().enter();
    let pool = pool(1);
    match result(pool.run(with_foreign::bind("7"))) {
        Err(JobError::Rejected { why }) => assert!(why.contains("From<RemoteError>"), "{why}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(pool.stats().received, 0);
}
