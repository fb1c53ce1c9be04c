//! The guard against arguments without a stable encoding: equal arguments would get different keys, or different ones
//! the same.

use std::{any::Any, time::Instant};

use super::{Arguments, Codec, Recheck, events};
use crate::{
    cache::{Cache, Skip},
    context::{self, Binding},
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

/// Whether a result that was found may be served: unless it is due, nothing is checked; else the arguments pass. A field that
/// the encoding loses shows here, where it differs from what the recorded call had.
pub(super) fn vouches(
    function: &'static Function,
    cache: &Cache,
    arguments: &Arguments,
    check: impl FnOnce(&mut Guard<'_>),
) -> bool {
    !is_due(function, arguments) || Guard::passes(function, cache, arguments, check)
}

/// Checks arguments that were submitted, which are a tuple of the function's.
pub type CheckSubmitted = fn(&dyn Any, &mut Guard<'_>);

/// As [`vouches`], for a hit that is served before the call reaches an executor.
pub(crate) fn vouches_for_submitted(
    function: &'static Function,
    cache: &Cache,
    arguments: &Arguments,
    submitted: &dyn Any,
) -> bool {
    let check = submitted_check(function);
    check.is_none_or(|check| vouches(function, cache, arguments, |guard| check(submitted, guard)))
}

/// As [`check_bound`], of a call that is taken apart to leave the process: all its arguments are encoded.
pub(crate) fn check_taken_apart(
    function: &'static Function,
    binding: Option<&Binding>,
    arguments: &Arguments,
    submitted: &dyn Any,
) {
    if let Some(check) = submitted_check(function)
        && let failed @ Some(_) = check_all(function, arguments, |guard| check(submitted, guard))
    {
        match binding {
            Some(binding) => report(function, binding.cache(), failed),
            None => report(function, &context::active(), failed),
        };
    }
}

fn submitted_check(function: &'static Function) -> Option<&'static CheckSubmitted> {
    function.portable().and_then(|portable| portable.check?.downcast_ref())
}

/// Checks the arguments of a bound call, if this call is due to be checked: a bound call holds their encoding.
pub(crate) fn check_bound(
    function: &'static Function,
    cache: &Cache,
    arguments: &Arguments,
    check: impl FnOnce(&mut Guard<'_>),
) {
    report(function, cache, check_all(function, arguments, check));
}

/// Checks those of all a function's arguments that are part of the key, if this call is due.
fn check_all(
    function: &'static Function,
    arguments: &Arguments,
    check: impl FnOnce(&mut Guard<'_>),
) -> Option<(usize, String)> {
    if function.refusal().is_some() || !function.binding_is_checked() {
        return None;
    }
    let parameters = function.definition.parameters.iter();
    let keyed = parameters.zip(arguments.iter()).filter(|(parameter, _)| !parameter.ignored);
    let mut guard = Guard { encoded: keyed.map(|(_, encoded)| encoded).collect(), at: 0, failed: None };
    check(&mut guard);
    guard.failed
}

/// Counts a hit. Whether the arguments are due to be checked before it is served; those of simple types never are.
pub(super) fn is_due(function: &Function, arguments: &Arguments) -> bool {
    arguments.is_due() || arguments.quick().is_none() && function.hit_is_checked()
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

/// Returns the outcome of the check. An argument whose own code panics during the check does not pass.
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
    events::skip(function, cache, None, Skip::ArgumentNotStable);
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
