//! Hits of the hot tier, and what is kept there.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use super::{Arguments, plan::ResultCodec};
use crate::{
    cache::{Cache, HotKey},
    call::CallKey,
    function::Function,
    job,
};

/// Arguments of more bytes are told apart by the call's key, which is their digest.
const IN_FULL: usize = 4096;
/// Results of more bytes are not copied when they are computed, but when they are first read.
const AT_ONCE: usize = 64 << 10;

/// A result of the hot tier, for calls whose arguments stand there in full.
pub(super) fn get_in_full<T: 'static>(
    function: &'static Function,
    codec: ResultCodec<T>,
    cache: &Cache,
    arguments: &Arguments,
) -> Option<T> {
    let encoded = arguments.encoded()?;
    if encoded.len() > IN_FULL || !is_on(function, cache) {
        return None;
    }
    get(codec, cache, &HotKey::new(address(function), encoded))
}

/// The same for all other calls.
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
    get(codec, cache, &by_digest(function, key))
}

fn get<T: 'static>(codec: ResultCodec<T>, cache: &Cache, key: &HotKey<'_>) -> Option<T> {
    // A clone that panics is no reason to fail a call that the stores can answer.
    let copy = |value: &T| catch_unwind(AssertUnwindSafe(|| (codec.clone)(value))).ok();
    let value = cache.hot().get(key, |value| copy(value.downcast_ref()?))?;
    cache.counters().hit();
    Some(value)
}

/// Keeps a result of so many encoded bytes that was read from the stores, as they were when the generation was this.
pub(super) fn keep_read<T: Send + Sync + 'static>(
    function: &'static Function,
    codec: ResultCodec<T>,
    cache: &Cache,
    (arguments, key): (&Arguments, &CallKey),
    (value, bytes): (&T, usize),
    generation: u64,
) {
    if is_on(function, cache) && cache.hot().takes(bytes) {
        let Ok(copy) = job::catch(|| (codec.clone)(value)) else { return };
        let copy: Arc<dyn Any + Send + Sync> = Arc::new(copy);
        match arguments.encoded() {
            Some(encoded) if encoded.len() <= IN_FULL => {
                cache.hot().keep(&HotKey::new(address(function), encoded), copy, bytes, generation);
            }
            _ => cache.hot().keep(&by_digest(function, key), copy, bytes, generation),
        }
    }
}

/// As [`keep_read`], of a result that was just recorded; one that is large waits until it is read.
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
    function.definition.hot && cache.hot().is_on()
}

fn address(function: &'static Function) -> usize {
    std::ptr::from_ref(function).addr()
}

/// No function is at such an address, so that no arguments in full can be taken for a digest.
fn by_digest<'a>(function: &'static Function, key: &'a CallKey) -> HotKey<'a> {
    HotKey::new(address(function) | 1, key.digest().as_bytes())
}
