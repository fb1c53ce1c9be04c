//! The guard against arguments without a stable encoding: equal arguments could get different keys, or different arguments
//! the same key.

use std::{any::Any, time::Instant};

use super::{
    arguments::Arguments,
    codec::{Codec, Recheck},
    events,
};
use crate::{
    cache::{Cache, SkipReason},
    context::{self, Binding},
    function::{Function, Warning},
    runtime::panics::contain,
};

/// Checks the arguments of one call, one after the other.
#[derive(Debug)]
pub struct StabilityCheck<'a> {
    encoded: Vec<&'a [u8]>,
    at: usize,
    /// The first argument that failed, and the reason.
    failed: Option<(usize, String)>,
}

impl StabilityCheck<'_> {
    /// Checks the next argument: its encoding must decode, encoding the decoded value must give the same bytes regardless of the
    /// order of entries, and the decoded value must equal the original, if the type has `==`.
    pub fn check<A: ?Sized>(&mut self, codec: Codec<A>, value: &A, equal: Option<fn(&A, &A) -> bool>) {
        let at = self.at;
        self.at += 1;
        if let (None, Some(encoded)) = (&self.failed, self.encoded.get(at)) {
            self.failed = checked(|| (codec.check)(encoded, value, equal)).err().map(|why| (at, why));
        }
    }

    /// Runs the guard over a call's arguments. A failure is counted, and logged once per function.
    pub(super) fn passes(
        function: &'static Function,
        cache: &Cache,
        arguments: &Arguments,
        check: impl FnOnce(&mut StabilityCheck<'_>),
    ) -> bool {
        let started = Instant::now();
        let failed = in_full(arguments, |arguments| {
            let mut guard = StabilityCheck { encoded: arguments.iter().collect(), at: 0, failed: None };
            check(&mut guard);
            guard.failed
        });
        function.check_took(started.elapsed());
        report(function, cache, failed)
    }
}

/// Returns whether a result that was found may be served: the arguments are not due to be checked, or they pass. This detects
/// a field that the encoding omits and that differs from the recorded call's.
pub(super) fn vouches(
    function: &'static Function,
    cache: &Cache,
    arguments: &Arguments,
    check: impl FnOnce(&mut StabilityCheck<'_>),
) -> bool {
    !is_due(function, arguments) || StabilityCheck::passes(function, cache, arguments, check)
}

/// A function that checks submitted arguments, which are a tuple of the memoized function's arguments.
pub type CheckSubmitted = fn(&dyn Any, &mut StabilityCheck<'_>);

/// Like [`vouches`], for a hit that is served before the call reaches an executor.
pub(crate) fn vouches_for_submitted(
    function: &'static Function,
    cache: &Cache,
    arguments: &Arguments,
    submitted: &dyn Any,
) -> bool {
    let check = submitted_check(function);
    check.is_none_or(|check| vouches(function, cache, arguments, |guard| check(submitted, guard)))
}

/// Like [`check_bound`], for a call that is encoded as a whole to leave the process.
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

/// Checks the arguments of a bound call, if they are due to be checked. A bound call holds the encoded arguments.
pub(crate) fn check_bound(
    function: &'static Function,
    cache: &Cache,
    arguments: &Arguments,
    check: impl FnOnce(&mut StabilityCheck<'_>),
) {
    report(function, cache, check_all(function, arguments, check));
}

/// Checks the arguments that are part of the key, given all arguments of the function, if they are due to be checked.
fn check_all(
    function: &'static Function,
    arguments: &Arguments,
    check: impl FnOnce(&mut StabilityCheck<'_>),
) -> Option<(usize, String)> {
    if function.refusal().is_some() || !function.binding_is_checked() {
        return None;
    }
    let parameters = function.definition.parameters.iter();
    let keyed = parameters.zip(arguments.iter()).filter(|(parameter, _)| !parameter.ignored);
    let mut guard = StabilityCheck { encoded: keyed.map(|(_, encoded)| encoded).collect(), at: 0, failed: None };
    check(&mut guard);
    guard.failed
}

/// Counts a hit. Returns whether the arguments must be checked before it is served. Arguments of simple types never are.
pub(super) fn is_due(function: &Function, arguments: &Arguments) -> bool {
    arguments.is_due() || arguments.scalar_key().is_none() && function.hit_is_checked()
}

/// Checks the arguments as [`StabilityCheck::passes`] does, but from the encodings alone.
pub(super) fn recheck(function: &'static Function, cache: &Cache, arguments: &Arguments, checks: &[Recheck]) -> bool {
    let started = Instant::now();
    let failed = in_full(arguments, |arguments| {
        let mut results = checks.iter().zip(arguments.iter()).enumerate();
        results.find_map(|(at, (check, encoded))| Some((at, checked(|| check(encoded)).err()?)))
    });
    function.check_took(started.elapsed());
    report(function, cache, failed)
}

/// Runs the check. An argument whose own code panics does not pass.
fn checked(check: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    contain(check).unwrap_or_else(|panic| Err(format!("decoding, encoding or comparing it {panic}")))
}

/// Runs the check with all arguments encoded in full. Returns the position of the argument that fails, and the reason.
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
    events::skip(function, cache, None, SkipReason::ArgumentNotStable);
    if function.warns(Warning::ArgumentNotStable) {
        let mut keyed = function.definition.parameters.iter().filter(|parameter| !parameter.ignored);
        let argument = keyed.nth(at).map_or("?", |parameter| parameter.name);
        crate::runtime::log::warn!(
            function = function.name(),
            argument,
            "calls of this function are no longer recorded, because of the argument `{argument}`: {why}"
        );
    }
    false
}
