//! Looking up results in the hot tier, and keeping results there.

use std::{any::Any, mem::needs_drop, sync::Arc};

use super::{arguments::Arguments, result_kind::ResultCodec, scalar_key::ScalarKey};
use crate::{
    cache::{self, Cache, EncodedKey, SharedTier, TierKey},
    call::CallKey,
    function::Function,
    runtime::panics::{Contained, contain},
};

/// The maximum length, in bytes, of arguments that are keys themselves. Longer ones are found by the call key instead.
const IN_FULL: usize = 4096;
/// The maximum size, in bytes, of results that enter the hot tier when they are computed. Larger ones enter it when
/// they are first read.
const AT_ONCE: usize = 64 << 10;

/// Returns a result of the hot tier with this id from the thread-local tier, by scalar key, if it is there.
#[inline]
pub(super) fn get_scalar<T: 'static>(
    function: &'static Function,
    codec: ResultCodec<T>,
    tier: u64,
    scalar: &ScalarKey,
) -> Option<T> {
    let key = scalar_tier_key(function, scalar);
    cache::get_thread_local(tier, SharedTier::generation(), &key, |value| copy(codec, value))
}

/// Like [`get_scalar`], by the encoded arguments. If the arguments are due to be checked, marks them and returns `None`.
#[inline]
pub(super) fn get_thread_local<T: 'static>(
    function: &'static Function,
    codec: ResultCodec<T>,
    tier: u64,
    arguments: &mut Arguments,
) -> Option<T> {
    let mut is_due = false;
    let key = TierKey::Encoded(in_full(function, arguments)?);
    let found = cache::get_thread_local_unless_due(tier, SharedTier::generation(), &key, &mut is_due, |value| {
        copy(codec, value)
    });
    if is_due {
        arguments.be_checked();
    }
    found
}

/// Returns a result from the shared tier, by the encoded arguments, if it is there.
pub(super) fn get_shared<T: 'static>(
    function: &'static Function,
    codec: ResultCodec<T>,
    cache: &Cache,
    arguments: &Arguments,
) -> Option<T> {
    let key = in_full(function, arguments).filter(|_| is_on(function, cache))?;
    cache.hot().get_shared(cache.counters(), (key, near(key, function, arguments)), |value| copy(codec, value))
}

/// Returns a result from the thread-local or the shared tier, by the encoded arguments, if it is there.
pub(super) fn get_in_full<T: 'static>(
    function: &'static Function,
    codec: ResultCodec<T>,
    cache: &Cache,
    arguments: &mut Arguments,
) -> Option<T> {
    let tier = cache.hot().id().filter(|_| function.definition.hot)?;
    get_thread_local(function, codec, tier, arguments).or_else(|| get_shared(function, codec, cache, arguments))
}

/// Returns a result from the thread-local or the shared tier, if it is there, by the call key, for arguments too long to
/// be kept in full.
pub(super) fn get_by_digest<T: 'static>(
    function: &'static Function,
    codec: ResultCodec<T>,
    cache: &Cache,
    arguments: &Arguments,
    key: &CallKey,
) -> Option<T> {
    if arguments.len() <= IN_FULL || !is_on(function, cache) {
        return None;
    }
    cache.hot().get(cache.counters(), by_digest(function, key), |value| copy(codec, value))
}

#[inline]
fn copy<T: 'static>(codec: ResultCodec<T>, value: &(dyn Any + Send + Sync)) -> Option<T> {
    let value = if needs_drop::<T>() { &**value.downcast_ref::<Contained<T>>()? } else { value.downcast_ref()? };
    match codec.copy {
        Some(copy) => Some(copy(value)),
        None => cloned(codec, value),
    }
}

/// Returns a clone, or `None` if cloning panics: the stores can still answer the call.
#[inline(never)]
fn cloned<T>(codec: ResultCodec<T>, value: &T) -> Option<T> {
    contain(|| (codec.clone)(value)).ok()
}

/// Keeps a result that was read from the stores, given with the size of its encoding. `generation` was read before the
/// result.
pub(super) fn keep_read<T: Send + Sync + 'static>(
    function: &'static Function,
    codec: ResultCodec<T>,
    cache: &Cache,
    (arguments, key): (&Arguments, &CallKey),
    (value, bytes): (&T, usize),
    generation: u64,
) {
    if is_on(function, cache) && cache.hot().fits(bytes) {
        let Ok(copy) = contain(|| (codec.clone)(value)) else { return };
        let copy: Arc<dyn Any + Send + Sync> =
            if needs_drop::<T>() { Arc::new(Contained::new(copy)) } else { Arc::new(copy) };
        let key = in_full(function, arguments).unwrap_or_else(|| by_digest(function, key));
        let near = near(key, function, arguments);
        cache.hot().insert(cache.counters(), (key, near), (copy, bytes), generation);
    }
}

/// Like [`keep_read`], for a result that was just recorded, unless it is large.
pub(super) fn keep_recorded<T: Send + Sync + 'static>(
    function: &'static Function,
    codec: ResultCodec<T>,
    cache: &Cache,
    call: (&Arguments, &CallKey),
    (value, bytes): (&T, usize),
    generation: u64,
) {
    if bytes <= AT_ONCE {
        keep_read(function, codec, cache, call, (value, bytes), generation);
    }
}

fn is_on(function: &Function, cache: &Cache) -> bool {
    // A refusal of the function empties the hot tier. It is checked after the generation was read, so that nothing is kept
    // after the emptying.
    function.definition.hot && cache.hot().is_on() && function.refusal().is_none()
}

/// Returns the key made of the encoded arguments, if they are not too long.
#[inline]
fn in_full<'a>(function: &'static Function, arguments: &'a Arguments) -> Option<EncodedKey<'a>> {
    let encoded = arguments.encoded().filter(|encoded| encoded.len() <= IN_FULL)?;
    Some(EncodedKey::new(address(function), encoded))
}

/// Returns the call's key in the thread-local tier: the scalar key if there is one.
fn near<'a>(key: EncodedKey<'a>, function: &'static Function, arguments: &'a Arguments) -> TierKey<'a> {
    arguments.scalar_key().map_or(TierKey::Encoded(key), |scalar| scalar_tier_key(function, scalar))
}

#[inline]
fn scalar_tier_key<'a>(function: &'static Function, scalar: &'a ScalarKey) -> TierKey<'a> {
    TierKey::Scalar { function: address(function), words: scalar.words(), hash: scalar.hash() }
}

#[inline]
fn address(function: &'static Function) -> usize {
    std::ptr::from_ref(function).addr()
}

/// Returns the key made of the call key. Its function address is odd, as no function's is, so it differs from all keys made of
/// encoded arguments.
fn by_digest<'a>(function: &'static Function, key: &'a CallKey) -> EncodedKey<'a> {
    EncodedKey::new(address(function) | 1, key.digest().as_bytes())
}
