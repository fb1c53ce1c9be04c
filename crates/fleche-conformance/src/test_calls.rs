//! Memoized functions for checks from the users' view: the results of calls, and the number of bodies that ran.

use std::{
    collections::BTreeMap,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, Wake},
    thread::{self, Thread},
};

use fleche_core::{fleche, spi::LockResultExt};

use crate::test_data::noise;

/// The number of bodies that ran, by scene.
static RUNS: Mutex<BTreeMap<u64, u64>> = Mutex::new(BTreeMap::new());

/// The calls of one check, which differ from those of all other checks in this process by their first argument.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scene(u64);

/// One call of a scene. Its arguments and its result are derived from its number.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Call {
    /// A call whose result is stored in the record.
    Short(u64),
    /// A call whose result is stored in the value store, with its length in bytes.
    Long(u64, usize),
    /// A call whose argument is stored in the value store, with its length in bytes.
    OfLong(u64, usize),
    /// A call that makes two [`Long`](Self::Long) calls, and whose result is stored in the value store.
    Nested(u64),
    /// A call like [`Long`](Self::Long), of an `async fn`.
    Later(u64, usize),
    /// A call like [`Short`](Self::Short), of a function that waits only 20 ms for another caller.
    ShortWait(u64),
}

impl Scene {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Relaxed))
    }

    /// Returns the scene of another process with this number.
    pub(crate) fn from_id(id: u64) -> Self {
        Self(id)
    }

    /// Returns the number that identifies the scene.
    pub(crate) fn id(self) -> u64 {
        self.0
    }

    /// Returns the number of bodies of the scene that have run.
    pub(crate) fn runs(self) -> u64 {
        runs().get(&self.0).copied().unwrap_or(0)
    }

    /// Makes the call, through the active cache.
    ///
    /// # Errors
    /// Fails if the result is wrong.
    pub(crate) fn call(self, call: Call) -> Result<(), String> {
        let right = match call {
            Call::Short(x) => short(self.0, x) == x * x + 1,
            Call::ShortWait(x) => impatient(self.0, x) == x * x + 1,
            Call::Long(x, length) => long(self.0, x, length) == text(x, length),
            Call::OfLong(x, length) => of_long(self.0, text(x, length)) == length + 1,
            Call::Later(x, length) => finished(later(self.0, x, length)) == text(x, length),
            Call::Nested(x) => nested(self.0, x) == text(x, 100) + &text(x + 1, 100),
        };
        if right { Ok(()) } else { Err(format!("the result of {call:?} is wrong")) }
    }
}

/// Makes a call that returns an error, which is never recorded, and fails if the error is not the right one.
pub(crate) fn call_that_fails(scene: Scene, x: u64) -> Result<(), String> {
    if fails(scene.0, x) == Err(format!("{x} is refused")) { Ok(()) } else { Err("a returned error is wrong".into()) }
}

pub(crate) use companions::{contains, evict, load};

/// Functions that use the companion of a memoized function.
mod companions {
    use fleche_core::Result;

    use super::{Scene, long};

    pub(crate) fn contains(scene: Scene, x: u64) -> Result<bool> {
        long::contains(scene.0, x, 100)
    }

    pub(crate) fn load(scene: Scene, x: u64) -> Result<Option<String>> {
        long::load(scene.0, x, 100)
    }

    pub(crate) fn evict(scene: Scene, x: u64) -> Result<bool> {
        long::evict(scene.0, x, 100)
    }
}

/// Runs the future on this thread, and returns its output.
fn finished<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(thread::current())).into();
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        thread::park();
    }
}

/// Returns text of `length` bytes, which differs for each number, does not repeat itself and hardly compresses.
pub(crate) fn text(x: u64, length: usize) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    noise(x, length).into_iter().map(|byte| char::from(ALPHABET[usize::from(byte % 64)])).collect()
}

fn runs() -> MutexGuard<'static, BTreeMap<u64, u64>> {
    RUNS.lock().ignore_poison()
}

/// Records that a body of the scene runs.
pub(crate) fn count(scene: u64) {
    note(scene);
}

fn note(scene: u64) {
    *runs().entry(scene).or_default() += 1;
}

#[fleche]
fn short(scene: u64, x: u64) -> u64 {
    note(scene);
    x * x + 1
}

#[fleche(wait_timeout = "20ms")]
fn impatient(scene: u64, x: u64) -> u64 {
    note(scene);
    x * x + 1
}

#[fleche]
fn long(scene: u64, x: u64, length: usize) -> String {
    note(scene);
    text(x, length)
}

#[fleche]
#[allow(clippy::needless_pass_by_value)] // Memoized, with its arguments.
fn of_long(scene: u64, text: String) -> usize {
    note(scene);
    text.len() + 1
}

#[fleche]
fn nested(scene: u64, x: u64) -> String {
    note(scene);
    long(scene, x, 100) + &long(scene, x + 1, 100)
}

#[fleche]
#[allow(clippy::unused_async)] // The test needs an `async fn`.
async fn later(scene: u64, x: u64, length: usize) -> String {
    note(scene);
    text(x, length)
}

#[fleche]
fn fails(scene: u64, x: u64) -> Result<u64, String> {
    note(scene);
    Err(format!("{x} is refused"))
}
