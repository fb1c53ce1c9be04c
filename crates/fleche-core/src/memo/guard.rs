//! The guard against arguments without a stable encoding: equal arguments would get different keys, or different ones
//! the same.

use std::time::Instant;

use super::{Arguments, Codec, Recheck};
use crate::{
    cache::{Cache, Skip},
    function::{Function, Warning},
    panics::contain,
};

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
    pub fn check<A: ?Sized>(&mut self, codec: Codec<A>, value: &A, equal: Option<fn(&A, &A) -> bool>) {
        let at = self.at;
        self.at += 1;
        if let (None, Some(encoded)) = (&self.failed, self.encoded.get(at)) {
            self.failed = checked(|| (codec.check)(encoded, value, equal)).err().map(|why| (at, why));
        }
    }

    /// Runs the guard over a call's arguments. If it fails, that is counted and said once a function.
    pub(super) fn passes(
        function: &'static Function,
        cache: &Cache,
        arguments: &Arguments,
        check: impl FnOnce(&mut Guard<'_>),
    ) -> bool {
        let started = Instant::now();
        let failed = in_full(arguments, |arguments| {
            let mut guard = Guard { encoded: arguments.iter().collect(), at: 0, failed: None };
            check(&mut guard);
            guard.failed
        });
        function.check_took(started.elapsed());
        report(function, cache, failed)
    }
}

/// As [`Guard::passes`], from the encodings alone.
pub(super) fn recheck(function: &'static Function, cache: &Cache, arguments: &Arguments, checks: &[Recheck]) -> bool {
    let started = Instant::now();
    let failed = in_full(arguments, |arguments| {
        let mut results = checks.iter().zip(arguments.iter()).enumerate();
        results.find_map(|(at, (check, encoded))| Some((at, checked(|| check(encoded)).err()?)))
    });
    function.check_took(started.elapsed());
    report(function, cache, failed)
}

/// What the check says. An argument of a type whose own code panics amid it does not pass.
fn checked(check: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    contain(check).unwrap_or_else(|panic| Err(format!("what its type does to decode, encode or compare it {panic}")))
}

/// Which of the arguments fails, and why, where all stand there encoded.
fn in_full(
    arguments: &Arguments,
    check: impl FnOnce(&Arguments) -> Option<(usize, String)>,
) -> Option<(usize, String)> {
    match arguments.filled() {
        Ok(None) => check(arguments),
        Ok(Some(filled)) => check(&filled),
        Err((at, error)) => Some((at, error.to_string())),
    }
}

fn report(function: &'static Function, cache: &Cache, failed: Option<(usize, String)>) -> bool {
    let Some((at, why)) = failed else { return true };
    function.stop_recording();
    cache.counters().skipped(Skip::ArgumentNotStable);
    if function.warns(Warning::ArgumentNotStable) {
        let mut keyed = function.definition.parameters.iter().filter(|parameter| !parameter.ignored);
        let argument = keyed.nth(at).map_or("?", |parameter| parameter.name);
        crate::log::warn!(
            function = function.name(),
            argument,
            "calls are not recorded from now on, for the argument `{argument}`: {why}"
        );
    }
    false
}
