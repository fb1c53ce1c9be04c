//! The one place where panics are caught.
//!
//! A call must not fail because of the cache, and no computed result may be lost to it. The cache therefore runs the code
//! that types of arguments and results bring along (`Serialize`, `Deserialize`, `PartialEq`, `Clone`), kinds of metadata and
//! stores through [`contain`] or [`carry`], and drops what it owns of the caller's values with [`discard`] or as
//! [`Contained`]. No lock is held while such code runs, since it may call memoized functions.
//!
//! A panic of a memoized body is the caller's own. [`carry`] takes it to the thread that waits for the result.

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
    /// Where the last panic of this thread arose.
    static LOCATION: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// A panic that was caught and goes no further.
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

/// Runs foreign code for the cache. Costs nothing where it does not panic.
///
/// # Errors
/// The panic. The panic hook that is set has printed it, with its location.
#[inline]
pub(crate) fn contain<R>(run: impl FnOnce() -> R) -> Result<R, Panic> {
    // What the panic left half done is either gone with the closure or not used any more by the caller.
    panic::catch_unwind(AssertUnwindSafe(run)).map_err(caught)
}

#[cold]
#[inline(never)]
fn caught(payload: Box<dyn Any + Send>) -> Panic {
    Panic { message: into_message(payload) }
}

/// Drops a value of the caller's. A panic in that is logged and goes no further.
pub(crate) fn discard<T>(value: T) {
    dropping(|| drop(value));
}

/// A value of the caller's that the cache owns. A panic while it is dropped is logged and goes no further, so that it can be
/// dropped on any thread, by a thread that ends, and while another panic unwinds.
#[derive(Debug)]
// An option, since a value can be moved out of that, and dropped in place, by safe code.
pub(crate) struct Contained<T>(Option<T>);

impl<T> Contained<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Some(value))
    }

    /// The value, which is the caller's again.
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
    unreachable!("a contained value goes only with what contains it")
}

impl<T> Drop for Contained<T> {
    fn drop(&mut self) {
        if self.0.is_some() && std::mem::needs_drop::<T>() {
            dropping(|| self.0 = None);
        }
    }
}

fn dropping(run: impl FnOnce()) {
    // The location of a panic whose unwinding runs this.
    let before = if thread::panicking() { LOCATION.try_with(RefCell::take).ok() } else { None };
    let dropped = contain(run);
    if let Some(before) = before {
        let _ = LOCATION.try_with(|kept| kept.replace(before));
    }
    if let Err(panic) = dropped {
        crate::log::warn!("the `Drop` of an argument, of a result or of what else a call brings along {panic}");
    }
}

/// Whether the panic hook notes locations.
static WATCHES: AtomicBool = AtomicBool::new(false);

/// The location is known to the panic hook alone; one that notes it goes before the one that is set.
#[cold]
#[inline(never)]
fn watch_locations() {
    static WATCHING: Once = Once::new();
    // A thread that panics may not change the hook; the next one does.
    if thread::panicking() {
        return;
    }
    WATCHING.call_once(|| {
        let earlier = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let location = info.location().map(ToString::to_string);
            // A thread that is ending keeps no location. The panic itself is still reported.
            let _ = LOCATION.try_with(|kept| kept.replace(location));
            earlier(info);
        }));
        WATCHES.store(true, Relaxed);
    });
}

/// A panic with its location, on its way to another thread.
pub(crate) struct Carried {
    payload: Box<dyn Any + Send>,
    location: Option<String>,
}

/// Runs the closure; a panic in it can go on on another thread, the same as if it had arisen there. Costs next to nothing where
/// nothing panics.
#[inline]
pub(crate) fn carry<R>(run: impl FnOnce() -> R) -> Result<R, Carried> {
    if !WATCHES.load(Relaxed) {
        watch_locations();
    }
    let before = Before::take();
    // What a panic leaves half done lies in the closure, which is gone, or is the body's own business as in any thread.
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
fn carried(payload: Box<dyn Any + Send>, before: Before) -> Carried {
    let location = LOCATION.try_with(|kept| kept.replace(before.0)).ok().flatten();
    Carried { payload, location }
}

/// The location of an earlier panic: one that was caught elsewhere, or one whose unwinding runs what follows and is reported
/// later.
struct Before(Option<String>);

impl Before {
    #[inline]
    fn take() -> Self {
        Self(if LOCATION.try_with(|kept| kept.borrow().is_some()) == Ok(true) { take_location() } else { None })
    }

    /// Where there was none, one that was noted since stays: the next panic's replaces it, and what takes it first puts it back.
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

impl Carried {
    /// One that arose in another process.
    pub(crate) fn from_elsewhere(message: String, location: Option<String>) -> Self {
        Self { payload: Box::new(message), location }
    }

    /// Lets the panic go on from here. The panic hook, which has printed it, is not called again.
    pub(crate) fn go_on(self) -> ! {
        LOCATION.set(self.location);
        panic::resume_unwind(self.payload)
    }

    /// Returns the message and the location.
    pub(crate) fn into_text(self) -> (String, Option<String>) {
        (into_message(self.payload), self.location)
    }
}

/// Returns the message of a panic, or nothing where it is not text. The payload is dropped, which may panic in turn.
fn into_message(payload: Box<dyn Any + Send>) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let message = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or_default().to_owned();
    if let Err(again) = panic::catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        // Its own payload might panic as well, and so on without end.
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
    fn contained_value_whose_drop_panics_can_be_dropped_while_a_panic_unwinds() {
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
    fn contained_value_is_given_back_whole() {
        let kept = Contained::new(String::from("kept"));
        assert_eq!(*kept, "kept");
        assert_eq!(kept.into_inner(), "kept");
    }
}
