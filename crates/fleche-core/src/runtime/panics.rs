//! The only module that catches panics.
//!
//! A call must not fail, and no computed result may be lost, because of the cache. The cache therefore runs foreign code
//! through [`contain`] or [`carry`]: the implementations of `Serialize`, `Deserialize`, `PartialEq` and `Clone` of arguments
//! and results, kinds of metadata, and stores. It drops the caller's values that it owns with [`discard`] or as [`Contained`].
//! No lock is held while foreign code runs, because it may call memoized functions.
//!
//! A panic of a memoized body belongs to the caller: [`carry`] transfers it to the thread that waits for the result.

use std::{
    any::Any,
    cell::RefCell,
    fmt,
    ops::{Deref, DerefMut},
    panic::{self, AssertUnwindSafe},
    sync::{
        Once,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
};

thread_local! {
    /// The location of the last panic of this thread.
    static LOCATION: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// A panic that was caught and is not resumed.
#[derive(Debug)]
pub(crate) struct Panic {
    message: String,
}

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("panicked")?;
        if self.message.is_empty() { Ok(()) } else { write!(f, ": {}", self.message) }
    }
}

/// Runs foreign code for the cache. Costs nothing if it does not panic.
///
/// # Errors
/// Fails with the panic, which the panic hook has already printed with its location.
#[inline]
pub(crate) fn contain<R>(run: impl FnOnce() -> R) -> Result<R, Panic> {
    // State that the panic left inconsistent is dropped with the closure or no longer used by the caller.
    panic::catch_unwind(AssertUnwindSafe(run)).map_err(caught)
}

#[cold]
#[inline(never)]
fn caught(payload: Box<dyn Any + Send>) -> Panic {
    Panic { message: into_message(payload) }
}

/// Drops a value of the caller. A panic in its `Drop` is caught and logged.
pub(crate) fn discard<T>(value: T) {
    dropping(|| drop(value));
}

/// A value of the caller that the cache owns. A panic in its `Drop` is caught and logged, so it can be dropped on any thread,
/// even on one that is ending, and while another panic unwinds.
#[derive(Debug)]
// An `Option`, so that safe code can move the value out and drop it in place.
pub(crate) struct Contained<T>(Option<T>);

impl<T> Contained<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Some(value))
    }

    /// Returns the value, which is no longer protected.
    pub(crate) fn into_inner(mut self) -> T {
        self.0.take().unwrap_or_else(|| gone())
    }
}

impl<T> Deref for Contained<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.0.as_ref().unwrap_or_else(|| gone())
    }
}

impl<T> DerefMut for Contained<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().unwrap_or_else(|| gone())
    }
}

fn gone() -> ! {
    unreachable!("a contained value is taken out only when its container is consumed or dropped")
}

impl<T> Drop for Contained<T> {
    fn drop(&mut self) {
        if self.0.is_some() && std::mem::needs_drop::<T>() {
            dropping(|| self.0 = None);
        }
    }
}

fn dropping(run: impl FnOnce()) {
    // This may run while another panic unwinds, whose location must be kept.
    let before = if thread::panicking() { LOCATION.try_with(RefCell::take).ok() } else { None };
    let dropped = contain(run);
    if let Some(before) = before {
        let _ = LOCATION.try_with(|kept| kept.replace(before));
    }
    if let Err(panic) = dropped {
        crate::runtime::log::warn!("the `Drop` of an argument, a result or another value of a call {panic}");
    }
}

/// Whether the panic hook records locations.
static WATCHES: AtomicBool = AtomicBool::new(false);

/// Installs a panic hook that records the location, which only hooks can see, and then calls the earlier hook.
#[cold]
#[inline(never)]
fn watch_locations() {
    static WATCHING: Once = Once::new();
    // A panicking thread must not change the hook. The next caller changes it.
    if thread::panicking() {
        return;
    }
    WATCHING.call_once(|| {
        let earlier = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let location = info.location().map(ToString::to_string);
            // A thread that is ending cannot keep the location. The panic itself is still reported.
            let _ = LOCATION.try_with(|kept| kept.replace(location));
            earlier(info);
        }));
        WATCHES.store(true, Relaxed);
    });
}

/// A panic with its location, to be resumed on another thread.
pub(crate) struct CaughtPanic {
    payload: Box<dyn Any + Send>,
    location: Option<String>,
}

/// Runs the closure. A panic in it can be resumed on another thread, as if it had started there. Costs almost nothing if
/// nothing panics.
///
/// # Errors
/// Fails with the panic.
#[inline]
pub(crate) fn carry<R>(run: impl FnOnce() -> R) -> Result<R, CaughtPanic> {
    if !WATCHES.load(Relaxed) {
        watch_locations();
    }
    let before = Before::take();
    // State that a panic leaves inconsistent is dropped with the closure, or is the body's responsibility, as on any thread.
    match panic::catch_unwind(AssertUnwindSafe(run)) {
        Ok(result) => {
            before.put_back();
            Ok(result)
        }
        Err(payload) => Err(carried(payload, before)),
    }
}

#[cold]
#[inline(never)]
fn carried(payload: Box<dyn Any + Send>, before: Before) -> CaughtPanic {
    let location = LOCATION.try_with(|kept| kept.replace(before.0)).ok().flatten();
    CaughtPanic { payload, location }
}

/// The location of an earlier panic of this thread, which must be restored: the panic was caught by other code, or it is being
/// unwound now and is reported later.
struct Before(Option<String>);

impl Before {
    #[inline]
    fn take() -> Self {
        Self(if LOCATION.try_with(|kept| kept.borrow().is_some()) == Ok(true) { take_location() } else { None })
    }

    /// Restores the location. If there was none, a location recorded since is left in place: the next panic overwrites it.
    #[inline]
    fn put_back(self) {
        if self.0.is_some() {
            put_location_back(self.0);
        }
    }
}

#[cold]
#[inline(never)]
fn take_location() -> Option<String> {
    LOCATION.try_with(RefCell::take).ok().flatten()
}

#[cold]
#[inline(never)]
fn put_location_back(location: Option<String>) {
    let _ = LOCATION.try_with(|kept| kept.replace(location));
}

impl CaughtPanic {
    /// Creates a panic that was reported by another process.
    pub(crate) fn from_elsewhere(message: String, location: Option<String>) -> Self {
        Self { payload: Box::new(message), location }
    }

    /// Resumes the panic. The panic hook has already printed it and is not called again.
    pub(crate) fn go_on(self) -> ! {
        LOCATION.set(self.location);
        panic::resume_unwind(self.payload)
    }

    /// Returns the message and the location.
    pub(crate) fn into_text(self) -> (String, Option<String>) {
        (into_message(self.payload), self.location)
    }
}

/// Returns the message of a panic, or an empty string if it is not text. Drops the payload, which may panic again.
fn into_message(payload: Box<dyn Any + Send>) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let message = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or_default().to_owned();
    if let Err(again) = panic::catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        // Dropping the new payload might panic as well, without end.
        std::mem::forget(again);
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Panics(&'static str);

    impl Drop for Panics {
        fn drop(&mut self) {
            panic::panic_any(Panics(self.0));
        }
    }

    #[test]
    fn payload_whose_drop_panics_is_caught() {
        assert!(contain(|| panic::panic_any(Panics("again"))).is_err());
        let Err(carried) = carry(|| -> u8 { panic::panic_any(Panics("again")) }) else { panic!("no panic") };
        assert_eq!(carried.into_text().0, "");
    }

    #[test]
    fn drop_of_contained_value_may_panic_during_unwinding() {
        let Err(carried) = carry(|| -> u8 {
            let _contained = Contained::new(Panics("amid"));
            panic!("the first")
        }) else {
            panic!("no panic")
        };
        let (message, location) = carried.into_text();
        assert!(message == "the first" && location.is_some_and(|at| at.contains("panics.rs")), "{message}");
    }

    #[test]
    fn contained_value_is_returned_unchanged() {
        let kept = Contained::new(String::from("kept"));
        assert_eq!(*kept, "kept");
        assert_eq!(kept.into_inner(), "kept");
    }
}
