//! Panics as errors, with the place where they arose.

use std::{
    any::Any,
    cell::RefCell,
    panic::{self, AssertUnwindSafe},
    sync::Once,
};

use super::JobError;

thread_local! {
    /// Where the last panic of this thread arose.
    static LOCATION: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs the closure; a panic in it becomes [`JobError::Panicked`]. The panic hook that was set prints as before.
///
/// # Errors
/// The panic.
pub fn catch<R>(run: impl FnOnce() -> R) -> Result<R, JobError> {
    carry(run).map_err(|Carried { payload, location }| JobError::Panicked { message: message(&*payload), location })
}

/// The location is known to the panic hook alone; one that notes it goes before the one that is set.
fn watch_locations() {
    static WATCHING: Once = Once::new();
    // A thread that panics may not change the hook; the next one does.
    if std::thread::panicking() {
        return;
    }
    WATCHING.call_once(|| {
        let earlier = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let location = info.location().map(ToString::to_string);
            // A thread that is ending keeps no location; the panic itself is told all the same.
            let _ = LOCATION.try_with(|kept| kept.replace(location));
            earlier(info);
        }));
    });
}

/// A panic with the place where it arose, on its way to another thread.
pub(crate) struct Carried {
    payload: Box<dyn Any + Send>,
    location: Option<String>,
}

/// Runs the closure; a panic in it can go on on another thread, the same as if it had arisen there.
pub(crate) fn carry<R>(run: impl FnOnce() -> R) -> Result<R, Carried> {
    watch_locations();
    // Of a panic that somebody else caught, or of one amid whose unwinding this runs, which is told of later.
    let before = LOCATION.try_with(RefCell::take).ok().flatten();
    // What a panic leaves half done lies in the closure, which is gone, or is the body's own business as in any thread.
    let outcome = panic::catch_unwind(AssertUnwindSafe(run));
    let location = LOCATION.try_with(|kept| kept.replace(before)).ok().flatten();
    outcome.map_err(|payload| Carried { payload, location })
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
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_panic_outlives_what_is_caught_while_it_unwinds() {
        struct Catches;
        impl Drop for Catches {
            fn drop(&mut self) {
                assert_eq!(catch(|| 1), Ok(1));
            }
        }
        let panicked: Result<(), _> = catch(|| {
            let _catches = Catches;
            panic!("tried")
        });
        let Err(JobError::Panicked { message, location: Some(at) }) = panicked else { panic!("{panicked:?}") };
        assert!(message == "tried" && at.contains("panic.rs"), "{message} {at}");
    }
}
