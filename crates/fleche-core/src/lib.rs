//! Persistent memoization for Rust: stores the results of functions marked `#[fleche]` by the content of their arguments.
//!
//! It is for expensive, deterministic functions. The user picks the store. The same call made later, from another thread,
//! process or machine that reaches the store, is a lookup.
//!
//! ```
//! use fleche_core::{Cache, fleche};
//! use fleche_store_memory::{MemoryCalls, MemoryValues};
//!
//! #[fleche]
//! fn energy(sites: &[[f64; 3]], cutoff: f64) -> f64 {
//!     sites.iter().flatten().filter(|x| **x < cutoff).sum() // Minutes of it.
//! }
//!
//! let cache = Cache::new(MemoryValues::new(), MemoryCalls::new());
//! let _active = cache.enter();
//! let first = energy(&[[0.5, 1.0, 1.5]], 1.2);
//! assert_eq!(energy(&[[0.5, 1.0, 1.5]], 1.2), first); // Its body does not run.
//! assert_eq!(cache.stats().hits, 1);
//! ```
//!
//! # Where to look
//!
//! | for | see |
//! |---|---|
//! | the attribute, its options and its companion | [`fleche`] |
//! | opening stores, counting, querying, evicting | [`Cache`] |
//! | which cache a call uses | [`Cache::enter`], [`set_default_cache`], [`config::ConfigFile`], [`active_cache`] |
//! | going parallel | [`wrap_executor`], [`ExecutorExt`], [`Bound`], [`Job`], [`job::as_completed`], [`job::join_all`] |
//! | functions and calls as text, for other processes | [`Bound`], [`BoundCall`], [`Bound::restore`] |
//! | thread pools of other libraries | [`Cache::install`] |
//! | `async fn`, and futures that carry their cache | [`fleche`](macro@fleche#jobs-and-async-fn), [`FutureExt::in_cache`] |
//! | files as arguments | [`FileContent`] |
//! | large arguments that many calls share | [`Hashed`] |
//! | sets and ordered maps inside arguments | [`unordered`], [`ordered`] |
//! | the encoding of a value | [`encoding`] |
//! | metadata stored with a result | [`metadata`], [`tag`] |
//! | layers of stores, and the in-memory tier in front of them | [`layer`], [`Cache::hot_tier`] |
//! | garbage collection, verification and transfer | [`Cache::gc`], [`Cache::verify`], [`Cache::transfer`] |
//! | tests of programs that use memoized functions | [`testing`] |
//! | writing a backend | [`ValueStore`], [`CallStore`], [`register_backend!`] |
//!
//! # Environment variables
//!
//! | variable | meaning |
//! |---|---|
//! | `FLECHE=off` | every call runs its body; nothing is looked up and nothing is recorded |
//! | `FLECHE=readonly` | hits are served; nothing is recorded, claimed or evicted |
//! | `FLECHE=refresh` | every call computes once per run and replaces its record; after that it is a hit. A record counts if it was written on this host since the run began; a run includes its worker processes |
//! | `FLECHE_CONFIG=/path/to/fleche.toml` | the one [configuration file](config::ConfigFile) to read |
//! | `FLECHE_LOG=off`, `error` | which messages are printed to standard error if no `tracing` subscriber is installed; if unset, both warnings and errors |
//!
//! `FLECHE` applies to calls of memoized functions in the whole process and in its workers, whichever cache the program
//! enters. It does not apply to operations that the program calls on a [`Cache`] itself, except that `readonly` refuses
//! writes there too.
//!
//! # Events about calls
//!
//! Each lookup emits an event of [`tracing`](https://docs.rs/tracing), with the target `fleche_core::calls`. If no
//! subscriber listens to its level, an event costs one load from memory.
//!
//! | message | level | fields besides `function` and `key` |
//! |---|---|---|
//! | `hit` | `DEBUG` | `from`: `thread-local tier`, `shared tier`, `store`, or `another call` if this one waited for it |
//! | `miss` | `DEBUG` | `reason`: `not recorded`, `recorded by other code`, `recorded without fields of the result`, `recorded with another type of result`, `rerun` |
//! | `skip`: the call is not recorded | `DEBUG` | `reason`: the [`SkipReason`] as text; no `key` if there is none |
//! | `waiting for the same call in this process` | `DEBUG` | `process`; `age`: how long it has run |
//! | `waiting for the same call in another process` | `INFO` | `host`, `process`, `age` of the process that computes it |
//! | `the wait has lasted too long`: the call computes too | `DEBUG` | |
//!
//! `function` is the full name, `key` the call's key in the store, as `f::key(…)` returns it. With `tracing-subscriber`
//! and its `EnvFilter`, `RUST_LOG=fleche_core::calls=debug` shows these events. Calls under [`Cache::void`] emit none.
//! Warnings and errors have the target of the module that emits them; without a subscriber they are printed to standard
//! error.
//!
//! A program depends on this crate and on one store crate, plus `fleche-exec` to go parallel.

mod argument;
pub mod bound;
pub mod cache;
pub mod call;
pub mod claim;
pub mod config;
pub mod context;
mod engine;
pub mod error;
pub mod executor;
mod function;
mod isolate;
pub mod job;
pub mod layer;
pub mod metadata;
mod runtime;
pub mod spi;
pub mod store;
pub mod testing;

/// Digests: the names of values and calls in stores, and their prefixes. A re-export of `fleche_encoding`.
pub mod digest {
    #[doc(inline)]
    pub use fleche_encoding::{Digest, DigestPrefix, ParseDigestError};
}

/// The canonical encoding of values: deterministic CBOR, the bytes that are hashed and stored. A re-export of
/// [`fleche_encoding`], whose front page has its guarantees and limits.
pub mod encoding {
    #[doc(inline)]
    pub use fleche_encoding::{
        DecodeError, DecodeErrorKind, Deserializer, EncodeError, Encoded, MAX_DEPTH, WRAP_TAG, append, diagnostic,
        from_slice, ordered, stability, to_vec, to_writer, unordered,
    };
}

pub use crate::context::FutureExt;
pub use crate::store::query::Query;
pub use argument::{FileContent, Hashed};
pub use bound::{Bound, BoundCall};
pub use cache::{Cache, SkipReason, Stats};
pub use call::{CallKey, FunctionId, Record, ValueRef};
pub use config::CacheConfig;
pub use context::{active_cache, collect, set_default_cache, tag};
#[doc(no_inline)]
pub use digest::{Digest, DigestPrefix};
#[doc(no_inline)]
pub use encoding::{ordered, unordered};
pub use error::{Error, Result};
pub use executor::{Executor, ExecutorExt, Resources, Task, wrap_executor};
/// Memoizes a function: stores its results by the content of its arguments.
///
/// The function is called as before. Each call is looked up in the [active](active_cache) cache. If it is there (a hit),
/// the recorded result is returned and the body does not run; otherwise (a miss) the body runs and its result is
/// recorded. A failure of the cache never fails the call.
///
/// ```
/// # use fleche_core::{Cache, fleche};
/// # use fleche_store_memory::{MemoryCalls, MemoryValues};
/// #[fleche]
/// fn compute(x: i64, label: &str) -> i64 {
///     x + label.len() as i64
/// }
/// # let _active = Cache::new(MemoryValues::new(), MemoryCalls::new()).enter();
/// assert_eq!(compute(3, "a"), 4);
/// ```
///
/// # The companion
///
/// The attribute also declares a type with the function's name, the companion; one `use` imports both.
///
/// ```
/// # use fleche_core::{Cache, fleche};
/// # use fleche_store_memory::{MemoryCalls, MemoryValues};
/// # #[fleche]
/// # fn compute(x: i64, label: &str) -> i64 { x + label.len() as i64 }
/// # let _active = Cache::new(MemoryValues::new(), MemoryCalls::new()).enter();
/// compute(3, "a");
/// let key = compute::key(3, "a");                   // its key in the store
/// assert!(compute::contains(3, "a")?);              // whether it is a hit
/// assert_eq!(compute::load(3, "a")?, Some(4));      // the recorded result, in the declared type
/// assert_eq!(compute::rerun(3, "a"), 4);            // recomputes it and the memoized calls inside it
/// assert_eq!(compute::uncached(3, "a"), 4);         // runs and records nothing
/// let call = compute::bind(3, "a");                 // to run elsewhere, under this cache
/// assert_eq!(call.key(), Some(key));
/// let query = compute::query().argument("x", &3)?;  // its records, for `Cache::query`
/// assert!(compute::evict(3, "a")?);                 // removes its record
/// # Ok::<(), fleche_core::Error>(())
/// ```
///
/// # Options
///
/// | option | meaning |
/// |---|---|
/// | `version = 2` | part of the key; change it when results change; see [below](#edited-code) |
/// | `stale = "rerun"`, `"warn"`, `"serve"` | what happens to results that other code of the function computed; see [below](#edited-code) |
/// | `name = "stable::name"` | replaces `package::module::path::function`; keeps results when the function moves |
/// | `companion = "compute_call"` | another name for the companion, if a module with the function's name is in scope (compiler error E0255) |
/// | `hash_code` | the digest of the function's tokens is part of the key; functions that it calls are not |
/// | `ignore(verbose)`, or `#[ignore]` on a parameter | the parameter is not part of the key and may be of any type; see [below](#what-can-be-memoized) |
/// | `#[by_name]` on a parameter | the argument is the path itself, not the content of the file |
/// | `by_name` | the paths in the result are the result: a file may be gone when a hit returns its path |
/// | `cache_errors` | an `Err` is recorded too; the error must then be `Serialize + DeserializeOwned` |
/// | `store_arguments = false` | arguments of more than 64 encoded bytes are not stored; keys stay the same |
/// | `hot = false` | results are not kept in memory in front of the stores; see [`Cache::hot_tier`] |
/// | `wait_timeout = "30s"`, `wait = false` | how long a call waits for another that computes the same call, before it computes too; see [below](#one-computation-per-call) |
/// | `local` | arguments need only `Serialize` and may borrow deeply; there is no stability check and no `bind`. Ignored parameters need no traits, with or without it |
/// | `isolate`, `isolate(process)` | each computed call runs in its own temporary working directory; see [below](#isolated-calls) |
/// | `crate = path` | the path of this crate, if it is not `::fleche_core` |
///
/// # Edited code
///
/// The name and the version of a function are part of the key; its code is not. Each record holds a digest of the code
/// that computed it: the tokens of the signature and the body, without the function's name, comments and white space. A
/// hit whose record holds another digest is *stale*, and the [`StalePolicy`](cache::StalePolicy) decides what happens:
///
/// - `rerun`, the default: the call runs again, with one warning per function. The replaced record is kept under a second
///   key; if the old code is restored, its results are found there. Two programs with different code that share a store
///   each find their own results.
/// - `warn`, the default for functions with a `version`: the result is served, with one warning per function. An author
///   who states a version vouches that all results of one version are the same.
/// - `serve`: the result is served.
///
/// The policy is `#[fleche(stale = "…")]` if given, else that of the cache ([`Cache::stale`], `stale = "…"` in a
/// [configuration file](config::ConfigFile)), else the default. [`Stats::stale`] counts stale hits.
///
/// ```
/// # use fleche_core::{Cache, fleche};
/// # use fleche_store_memory::{MemoryCalls, MemoryValues};
/// #[fleche(version = 2, stale = "rerun")]
/// fn drag(speed: f64) -> f64 {
///     0.25 * speed * speed // Was 0.5, in version 1.
/// }
/// # let _active = Cache::new(MemoryValues::new(), MemoryCalls::new()).enter();
/// # assert_eq!(drag(2.0), 1.0);
/// ```
///
/// A recorded result is also stale if its type has gained fields since it was recorded: new fields with a serde default
/// and new `Option` fields would otherwise be filled in silently. A field that is absent because `Serialize` skips its
/// value does not count.
///
/// The tokens do not show everything that a result depends on. State a new `version` when a change to one of these
/// changes results:
///
/// - a function, a constant or a macro that the body uses;
/// - the definition of a type that the function takes or returns, except for fields that the result type has gained;
/// - a dependency, a feature or a build flag;
/// - the content of a data file that the body reads.
///
/// Two functions with the same name look like one function that was edited. `src/bin/fit.rs` and `examples/fit.rs` of one
/// package have the same module path, and so do two packages with the same name. While their code differs, each function
/// gets its own results; if their tokens are the same and only their helpers differ, they share results. Give one of them
/// another `name`.
///
/// # What can be memoized
///
/// The attribute applies to free functions, including generic ones whose type parameters are `'static`. For a method or an
/// associated function, write a free function and call it from there. Parameters may be values, `&T`, `&str`, `&[T]`,
/// `&Path`, `mut`, `impl Trait`, or patterns (named `arg0`, `arg1`, … by position in keys). Arguments must be
/// `Serialize + DeserializeOwned`; results must also be `Clone + Send + Sync + 'static`. Of a `Result`, only the value of
/// an `Ok` is recorded, and the error may be any type. `None` and `()` are recorded. In a generic function that returns
/// `T`, a `T` that is a `Result` is recorded whole. A panic propagates to the caller, and nothing is recorded.
///
/// A result must own its data: `String` instead of `&str`. A hit changes nothing, so a parameter in the key must not let
/// the body change data of the caller: `&mut T`, and `&Cell<T>`, `Rc<RefCell<T>>`, `&Mutex<T>`, `&AtomicU64` and similar
/// types, are compile errors, also behind an alias and in a macro. Fields of structs and type parameters are not
/// inspected.
///
/// **Ignored parameters** may be of any type: a client, a `&dyn Fn`, a `&mut` context, a progress counter. What the body
/// does through them is up to the author: **a hit does not do it**. Only `bind`, whose calls may run elsewhere, requires
/// them to be `Serialize + DeserializeOwned`; otherwise using `bind` is a compile error, and calls can only run in place.
///
/// ```
/// # use fleche_core::{Cache, fleche};
/// # use fleche_store_memory::{MemoryCalls, MemoryValues};
/// #[fleche(ignore(step, log))]
/// fn root(step: &dyn Fn(f64) -> f64, log: &mut Vec<f64>, guess: f64) -> f64 {
///     log.push(guess);
///     step(guess)
/// }
/// # let _active = Cache::new(MemoryValues::new(), MemoryCalls::new()).enter();
/// let mut log = Vec::new();
/// root(&|x| x / 2.0, &mut log, 1.0);
/// root(&|x| x / 2.0, &mut log, 1.0);
/// assert_eq!(log, [1.0]); // The second call was a hit.
/// ```
///
/// # Jobs and `async fn`
///
/// A function that returns a [`Job`] passes the job on to its caller. The result of the job is recorded before any caller
/// can see it, even if the job is dropped; a hit is a job that is already done. A job that fails records nothing, and of
/// a `Job<Result<…>>` only the value of an `Ok` is recorded. The recording is done on the thread that completes the job.
/// Two calls before the first job is done are two misses.
///
/// ```
/// # use fleche_core::{Cache, Job, fleche, job};
/// # use fleche_store_memory::{MemoryCalls, MemoryValues};
/// #[fleche]
/// fn submitted(x: i64) -> Job<i64> {
///     let (completer, job) = job::channel();
///     std::thread::spawn(move || completer.complete(x + 1)); // A queue, a cluster, a service.
///     job
/// }
/// # let _active = Cache::new(MemoryValues::new(), MemoryCalls::new()).enter();
/// assert_eq!(submitted(1).result()?, 2);
/// assert!(submitted(1).is_done());
/// # Ok::<(), fleche_core::JobError>(())
/// ```
///
/// An `async fn` is bound to the context that is active where it is called: cache, tags, kinds of metadata. The lookup
/// happens when the future is first polled, on any thread and runtime. The body, including nested calls, runs under the
/// bound context. The future is `Send` if that of the body is. Stores that [may block](ValueStore::may_block) are called
/// on fleche's own threads, at most eight per process, so that they do not block the runtime's threads. Encoding and
/// decoding happen where the future is polled, and so do calls of memoized functions that are not `async`. A future that
/// is dropped before its body has completed records nothing.
///
/// A future that is put into a cache afterwards, with [`FutureExt::in_cache`], alone or inside another future, is looked
/// up in that cache; a future that is spawned without it keeps the cache that was active at the call. `rerun` and
/// `uncached` return futures. The rest of the companion works as for other functions and calls the stores in place; there
/// is no `bind`. A body that is not memoized takes its cache along with [`FutureExt::in_cache`].
///
/// # One computation per call
///
/// Concurrent misses of the same call are coalesced: one caller computes, and the others wait for its result. This holds
/// for threads, for tasks and, as far as the store reaches, for other processes. Reruns take part.
///
/// - If the computing call panics, returns an `Err`, is dropped or is killed, exactly one waiter computes instead. Waits
///   have no limit by default. With `wait_timeout` (a number with `ms`, `s`, `min` or `h`), a call waits that long and
///   then computes too; with `wait = false` it does not wait.
/// - A call that waits for itself, directly or through other calls that wait for it, computes in place. Within a process
///   the cycle is detected at once, through everything that the body calls, submits and binds, and through work on other
///   threads under the [`active_cache`] that the body took. Between processes it is detected within about a second, and
///   occasionally a call is computed twice.
/// - A foreign pool may start one task on top of another on the same thread, as rayon does, and such a task cannot be
///   traced to a body. On Linux the resulting cycle is detected once all threads of the process have waited for one
///   another for a second; for five seconds if some wait with a timeout; for five minutes if some sleep the whole time or
///   the body waits with a timeout. A process in which a thread works, or waits for something that another process may
///   provide (a file, a socket, a terminal, a shared semaphore, another program), is exempt. On other systems such a
///   cycle is not detected. On no system is it detected if the body is that of an `async fn` or an `async fn` awaits the
///   call: run the work that such bodies start under [`active_cache`], or give the calls a `wait_timeout`.
/// - A body on another thread may wait for a lock that the caller holds, such as that of standard output. On Linux this
///   deadlock is detected within seconds, even if other threads sleep and wake. The caller then runs the body while it
///   holds the lock, so this helps if the lock is reentrant, as that of standard output is.
/// - A task may hold the future that computes a call without polling it, as `select!` does with a `&mut future`. Then a
///   waiter computes the call: in the same task as soon as the future was woken, in another task ten seconds after that,
///   and on a waiting thread after a minute.
/// - A wait of over a minute is logged once, as a warning that names the call, the computing thread or process, and the
///   start of the computation.
/// - While a call waits on a thread of a fleche pool, another thread works in its place. A waiting `async fn` is
///   suspended.
/// - If no other caller wants the call, a claim is cheap compared to a miss: a few hundredths of one with stores in
///   memory, at most a third with stores in files (`cargo xtask bench claims` measures it).
/// - Waits are counted in [`Stats`] and reported to `tracing`: waits for other processes at level `INFO`, waits within
///   the process at `DEBUG`; see [events](crate#events-about-calls).
/// - A function that returns a [`Job`] does not wait, because the job may depend on the second call: two calls before the
///   first job is done are two computations.
///
/// ```
/// # use fleche_core::{Cache, fleche};
/// # use fleche_store_memory::{MemoryCalls, MemoryValues};
/// #[fleche]
/// fn slow(x: u64) -> u64 {
///     x * 2 // Minutes of it.
/// }
/// let cache = Cache::new(MemoryValues::new(), MemoryCalls::new());
/// std::thread::scope(|scope| {
///     for _ in 0..4 {
///         scope.spawn(|| cache.scope(|| slow(21)));
///     }
/// });
/// assert_eq!(cache.stats().computed, 1);
/// ```
///
/// # Isolated calls
///
/// With `isolate`, a body that works with files of fixed names in the current directory, as many old programs do, gets
/// its own directory. Each computed call (`uncached` included) runs in a new temporary directory, which is removed when
/// the body has returned a value, returned an `Err` or panicked. A hit creates no directory. The program's working
/// directory never changes, and concurrent calls never see each other's files.
///
/// ```
/// # use fleche_core::{Cache, fleche};
/// # use fleche_store_memory::{MemoryCalls, MemoryValues};
/// #[fleche(isolate)]
/// fn solve(input: &str) -> std::io::Result<String> {
///     std::fs::write("INPUT", input)?; // And then a solver that reads it and writes OUTPUT.
///     # std::fs::rename("INPUT", "OUTPUT")?;
///     std::fs::read_to_string("OUTPUT")
/// }
/// # let _active = Cache::new(MemoryValues::new(), MemoryCalls::new()).enter();
/// # if cfg!(target_os = "linux") {
/// assert_eq!(solve("x = 1")?, "x = 1");
/// assert!(!std::path::Path::new("OUTPUT").exists());
/// # }
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// - The directories are in `$XDG_CACHE_HOME/fleche/cwd`, else in `~/.cache/fleche/cwd`, else, or if that cannot be
///   written, in the system's temporary directory; only this user can read them. Directories that a killed process left
///   there are removed by the next process on the same host that isolates a call.
/// - `isolate(keep_on_panic)` keeps the directory of a body that panics, and logs its path as an error. Remove the
///   directory after you have inspected it.
/// - The body runs on its own thread, with the caller's cache, tags, metadata and log, and with a stack of 8 MiB or the
///   size in `isolate(stack = "64 MiB")`. Parameters and result must be `Send` (borrowed data `Sync`); generic ones need
///   a bound for this.
/// - Threads that the body starts share its directory. Threads of a pool that already runs, such as rayon's, do not, and
///   neither do threads of fleche's pools, wherever the pools are created; use `isolate(process)` for these. The body
///   should wait for the threads that it starts, because their directory is removed when it returns. A function that
///   returns a [`Job`] returns before its work is done.
/// - Pass absolute paths: relative paths in arguments do not resolve in the new directory.
/// - `isolate(process)` runs the body in a worker process of this program, whose working directory is the call's own, for
///   all threads and pools in that process. It requires Linux, `fleche-exec`, and `fleche_exec::init()` as the first line
///   of `main`. Arguments and result are sent as those of [bound calls](BoundCall) are. Calls inside the body are
///   recorded in the caller's cache. A panic of the body resumes in the caller with its message, and a worker that dies
///   is a panic too. Workers are kept until the program ends, as many as calls have run at once. The record's processor
///   time is that of the caller's thread, which only waits.
/// - Plain `isolate` requires permission to `unshare` a thread's working directory. This needs no privilege but may be
///   forbidden in a sandbox. There, and on other systems, calls run as with `isolate(process)`. A call that can be
///   isolated in neither way panics with the reason: its body never runs in a directory that others use. Hits are served
///   everywhere.
///
/// # What must hold
///
/// The result must depend on the arguments alone. On misses and hits number 1, 2, 4, 8, … of a function, and whenever the
/// body took more than ten times as long as the last check, the cache checks that the arguments decode, encode again to
/// the same bytes, and equal the originals. Once an argument fails this check, a warning names the argument and the
/// remedy, and the function's calls run without the cache for the rest of the process. The cache cannot detect, or not in
/// time:
///
/// - arguments that become unstable only between two checks of a cheap function;
/// - a `Serialize` that writes two different values alike: skipped fields (for a type with `==`, this is detected once a
///   check meets a value that the encoding loses), untagged variants that overlap;
/// - sets with a fixed hasher, whose order depends on their history;
/// - arguments that share state with each other or with the rest of the program, for example inside a struct;
/// - results whose clones share mutable state, such as an `Arc<Mutex<_>>`: hits from the [hot tier](Cache::hot_tier) are
///   clones of one value. With `hot = false` each hit is read from the store;
/// - two types with the same [`type_name`](std::any::type_name) as parameters of one generic function: items with one
///   name in two blocks of one function, or types from two versions of one crate. If one run of a program uses both, this
///   is detected when the second is first used, and neither is recorded from then on; if two runs use one each, it is not
///   detected;
/// - changes outside the function's own tokens; see [above](#edited-code).
///
/// The cache runs code of the user's types: `Serialize`, `Deserialize`, `PartialEq`, `Clone` and `Drop` of arguments and
/// results, and kinds of metadata. A panic in this code fails no call and loses no computed result. It is logged; if it
/// comes from an argument, the call runs without the cache, and if it comes from a result, the result is returned without
/// being recorded, or is computed again. With `panic = "abort"` it ends the process, as every panic does.
///
/// Types that serde has to buffer (flattened, untagged, internally tagged) cannot hold 128-bit integers; calls with such
/// arguments are not recorded.
#[doc(inline)]
pub use fleche_macros::fleche;
pub use job::{Job, JobError};
pub use store::{CallStore, ValueStore};

#[doc(hidden)]
pub mod __private;

/// The examples of the README, compiled and run as doctests.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

/// The examples of the troubleshooting guide, compiled and run as doctests.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/troubleshooting.md")]
struct Troubleshooting;
