//! The guard against arguments without a stable encoding: equal arguments would get different keys, or different ones
//! the same.

use std::{borrow::Borrow, time::Instant};

use serde::{Serialize, de::DeserializeOwned};

use super::{Arguments, Owned};
use crate::{
    cache::{Cache, Skip},
    encoding::stability::{self, Unstable},
    function::{Function, Warning},
};

/// Checks one argument from its encoding alone.
pub type Check = fn(&[u8]) -> Result<(), Unstable>;

/// The check of a parameter that has or lends this type.
pub const fn check_of<A>() -> Check
where
    A: Owned + ?Sized,
    A::Owned: Serialize + DeserializeOwned,
{
    |encoded| stability::check::<A::Owned>(encoded).map(drop)
}

/// Checks the arguments of one call, one after the other.
#[derive(Debug)]
pub struct Guard<'a> {
    encoded: Vec<&'a [u8]>,
    at: usize,
    /// The first argument that failed, and why.
    failed: Option<(usize, String)>,
}

impl Guard<'_> {
    /// Checks the next argument: its encoding decodes, encodes again to the same bytes whatever the order of entries,
    /// and means a value that equals the original, where the type can compare.
    pub fn check<A>(&mut self, value: &A, equal: Option<fn(&A, &A) -> bool>)
    where
        A: Owned + ?Sized,
        A::Owned: Serialize + DeserializeOwned,
    {
        let at = self.at;
        self.at += 1;
        if self.failed.is_some() {
            return;
        }
        let failed = match self.encoded.get(at).map(|encoded| stability::check::<A::Owned>(encoded)) {
            Some(Ok(decoded)) => {
                // A value that does not equal itself (NaN) says nothing.
                let lost = equal.is_some_and(|equal| equal(value, value) && !equal(value, decoded.borrow()));
                lost.then(|| {
                    "what its encoding means is not equal to it, so two different values may encode alike (a field \
                     that is skipped, say); encode everything that equality looks at, or leave it out of the type"
                        .to_owned()
                })
            }
            Some(Err(unstable)) => Some(unstable.to_string()),
            None => None,
        };
        self.failed = failed.map(|why| (at, why));
    }

    /// Runs the guard over a call's arguments. If it fails, that is counted and said once a function.
    pub(super) fn passes(
        function: &'static Function,
        cache: &Cache,
        arguments: &Arguments,
        check: impl FnOnce(&mut Guard<'_>),
    ) -> bool {
        let started = Instant::now();
        let mut guard = Guard { encoded: arguments.iter().collect(), at: 0, failed: None };
        check(&mut guard);
        function.check_took(started.elapsed());
        report(function, cache, guard.failed)
    }
}

/// As [`Guard::passes`], from the encodings alone.
pub(super) fn recheck(function: &'static Function, cache: &Cache, arguments: &Arguments, checks: &[Check]) -> bool {
    let started = Instant::now();
    let mut results = checks.iter().zip(arguments.iter()).enumerate();
    let failed = results.find_map(|(at, (check, encoded))| Some((at, check(encoded).err()?.to_string())));
    function.check_took(started.elapsed());
    report(function, cache, failed)
}

fn report(function: &'static Function, cache: &Cache, failed: Option<(usize, String)>) -> bool {
    let Some((at, why)) = failed else { return true };
    cache.counters().skipped(Skip::ArgumentNotStable);
    if function.warns(Warning::ArgumentNotStable) {
        let mut keyed = function.definition.parameters.iter().filter(|parameter| !parameter.ignored);
        let argument = keyed.nth(at).map_or("?", |parameter| parameter.name);
        tracing::warn!(function = function.name(), argument, "the argument `{argument}` is not recorded: {why}");
    }
    false
}
