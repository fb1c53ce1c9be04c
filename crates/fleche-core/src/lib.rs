//! Persistent memoization that follows the work wherever it runs.
//!
//! One attribute on an expensive, deterministic function keeps its results, by the content of its arguments, in a store
//! that the user picks. The same call later, from another thread, process or machine that reaches the store, is a
//! look-up.
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
//! | pools whose threads are not ours | [`Cache::install`] |
//! | `async fn`, and futures that take their cache along | [`fleche`](macro@fleche#jobs-and-async-fn), [`FutureExt::in_cache`] |
//! | files as arguments | [`FileContent`] |
//! | large arguments of many calls | [`Hashed`] |
//! | sets and ordered maps inside arguments | [`unordered`], [`ordered`] |
//! | the bytes of a value | [`encoding`] |
//! | what is kept beside a result | [`metadata`], [`tag`] |
//! | layers of stores, and results kept in front of them | [`layer`], [`Cache::hot_tier`] |
//! | collecting, verifying and copying what is stored | [`Cache::gc`], [`Cache::verify`], [`Cache::transfer`] |
//! | tests of programs that use memoized functions | [`testing`] |
//! | writing a backend | [`ValueStore`], [`CallStore`], [`register_backend!`] |
//!
//! # What the environment says
//!
//! | variable | meaning |
//! |---|---|
//! | `FLECHE=off` | every call runs its body; nothing is looked up and nothing is recorded |
//! | `FLECHE=readonly` | hits are served; nothing is recorded, claimed or evicted |
//! | `FLECHE=refresh` | every call computes once in the run and replaces its record; after that it is a hit. What counts for a run, its worker processes included, is what was recorded on this host since it began |
//! | `FLECHE_CONFIG=/path/to/fleche.toml` | the one [configuration file](config::ConfigFile) to read |
//! | `FLECHE_LOG=off`, `error` | which messages are printed on standard error where no `tracing` subscriber is installed; both warnings and errors if it is not set |
//!
//! `FLECHE` holds for the calls of memoized functions in the whole process and in its workers, whatever the program enters. It does
//! not hold for what a program asks of a [`Cache`] itself, except that `readonly` refuses to write there too.
//!
//! # Events about calls
//!
//! Each look-up is an event of [`tracing`](https://docs.rs/tracing), with the target `fleche_core::calls`. Where no
//! subscriber listens to its level, an event costs one load from memory.
//!
//! | message | level | fields beside `function` and `key` |
//! |---|---|---|
//! | `hit` | `DEBUG` | `from`: `thread-local tier`, `shared tier`, `store`, or `another call` that this one waited for |
//! | `miss` | `DEBUG` | `reason`: `not recorded`, `recorded by other code`, `recorded without fields of the result`, `recorded with another type of result`, `rerun` |
//! | `skip`: the call is not recorded | `DEBUG` | `reason`, as [`Skip`] says it; no `key` where there is none |
//! | `waiting for the same call in this process` | `DEBUG` | `process`; `age`: how long it has run |
//! | `waiting for the same call in another process` | `INFO` | `host`, `process`, `age` of the process that computes it |
//! | `the wait has lasted too long`: the call computes too | `DEBUG` | |
//!
//! `function` is the full name, `key` the name of the call in the store, as `f::key(…)` gives it. With
//! `tracing-subscriber` and its `EnvFilter`, `RUST_LOG=fleche_core::calls=debug` shows them. Calls with [`Cache::void`] have
//! no events. Warnings and errors have the targets of the modules that they come from; without a subscriber they are
//! printed on standard error.
//!
//! A program depends on this crate and on one store crate, plus `fleche-exec` to go parallel.

mod alarm;
mod blocking;
pub mod bound;
pub mod cache;
pub mod call;
pub mod claim;
pub mod config;
pub mod context;
pub mod digest;
pub mod encoding;
pub mod error;
pub mod executor;
pub mod file_content;
pub mod fork;
#[doc(hidden)]
pub mod function;
pub mod future;
pub mod hashed;
#[doc(hidden)]
pub mod isolate;
pub mod job;
pub mod layer;
#[doc(hidden)]
pub mod log;
#[doc(hidden)]
pub mod memo;
pub mod metadata;
#[doc(hidden)]
pub mod mode;
#[doc(hidden)]
pub mod owner;
mod panics;
pub mod query;
#[doc(hidden)]
pub mod starter;
pub mod store;
pub mod testing;
pub mod waiting;
#[doc(hidden)]
pub mod written_file;

pub use bound::{Bound, BoundCall};
pub use cache::{Cache, Skip, Stats};
pub use call::{CallKey, FunctionId, Record, ValueRef};
pub use config::CacheConfig;
pub use context::{active_cache, collect, set_default_cache, tag};
pub use digest::{Digest, DigestPrefix};
pub use encoding::{ordered, unordered};
pub use error::{Error, Result};
pub use executor::{Executor, ExecutorExt, Resources, Task, wrap_executor};
pub use file_content::FileContent;
/// Keeps the results of a function by the content of its arguments.
///
/// The function stays callable as before. Each call is looked up in the [active](active_cache) cache: if it is there
/// (a hit), the recorded result is returned and the body does not run; else the body runs and its result is recorded.
/// No fault of the cache ever fails the call.
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
/// A type of the function's name comes with it; one `use` imports both.
///
/// ```
/// # use fleche_core::{Cache, fleche};
/// # use fleche_store_memory::{MemoryCalls, MemoryValues};
/// # #[fleche]
/// # fn compute(x: i64, label: &str) -> i64 { x + label.len() as i64 }
/// # let _active = Cache::new(MemoryValues::new(), MemoryCalls::new()).enter();
/// compute(3, "a");
/// let key = compute::key(3, "a");                   // its name in the store
/// assert!(compute::contains(3, "a")?);              // whether it is a hit
/// assert_eq!(compute::load(3, "a")?, Some(4));      // the recorded result, in the declared type
/// assert_eq!(compute::rerun(3, "a"), 4);            // runs, with the memoized calls inside it, and records
/// assert_eq!(compute::uncached(3, "a"), 4);         // runs and records nothing
/// let call = compute::bind(3, "a");                 // to run elsewhere, under this cache
/// assert_eq!(call.key(), Some(key));
/// let query = compute::query().argument("x", &3)?;  // its records, for `Cache::query`
/// assert!(compute::evict(3, "a")?);                 // forgets it
/// # Ok::<(), fleche_core::Error>(())
/// ```
///
/// # Options
///
/// | option | meaning |
/// |---|---|
/// | `version = 2` | part of the key; state a new one when results change; see [below](#edited-code) |
/// | `stale = "rerun"`, `"warn"`, `"serve"` | what becomes of results that other code of the function computed; see [below](#edited-code) |
/// | `name = "stable::name"` | in place of `package::module::path::function`; keeps results when the function moves |
/// | `companion = "compute_call"` | another name for the companion, where a module of the function's name is in scope (the compiler says E0255) |
/// | `hash_code` | the digest of the function's tokens is part of the key; functions that it calls are not |
/// | `ignore(verbose)`, or `#[ignore]` on a parameter | the parameter is not part of the key, and may be of any type; see [below](#what-can-be-memoized) |
/// | `#[by_name]` on a parameter | this path is meant as a name, not as what the file holds |
/// | `by_name` | the paths in the result are meant as names: what lies there may be gone when a hit returns them |
/// | `cache_errors` | an `Err` is recorded too; the error must then be `Serialize + DeserializeOwned` |
/// | `store_arguments = false` | arguments of more than 64 encoded bytes are not stored; keys stay the same |
/// | `hot = false` | results are not kept in front of the stores; see [`Cache::hot_tier`] |
/// | `wait_timeout = "30s"`, `wait = false` | how long a call waits for another that computes the same, before it computes too; see [below](#one-computation-per-call) |
/// | `local` | arguments need `Serialize` only and may borrow deeply; there is no guard and no `bind`. Ignored ones need nothing with or without it |
/// | `isolate`, `isolate(process)` | each computed call runs in a temporary working directory of its own; see [below](#isolated-calls) |
/// | `crate = path` | where this crate is found, if not at `::fleche_core` |
///
/// # Edited code
///
/// The name and the version of a function are part of the key, its code is not. Each record holds a digest of the code
/// that computed it: of the tokens of signature and body, without the function's name, comments and white space. A hit
/// whose record holds another digest is *stale*, and the [`StalePolicy`](cache::StalePolicy) decides:
///
/// - `rerun`, the default: the call runs again, with a warning once a function. The record that is replaced is not lost. It
///   is kept under a second key, and where the code is put back, its results are found there. Two programs of different
///   code that share a store each find their own results.
/// - `warn`, the default for functions that state a `version`: the result is served, with a warning once a function.
///   The author who states a version vouches that results of one version are the same.
/// - `serve`: the result is served.
///
/// The policy is `#[fleche(stale = "…")]`, else that of the cache ([`Cache::stale`], `stale = "…"` in a [configuration
/// file](config::ConfigFile)), else the default. [`Stats::stale`] counts stale hits.
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
/// A recorded result is also stale if its type has gained fields since: a field with a serde default and an `Option` would be
/// filled in silently. A field that is absent because `Serialize` skips its value does not count.
///
/// Tokens do not show everything that a result depends on. State a new `version` when one of these changes results:
///
/// - a function, a constant or a macro that the body uses;
/// - the definition of a type that the function takes or returns, except for fields that the result type has gained;
/// - a dependency, a feature or a build flag;
/// - the content of a data file that the body reads.
///
/// Two functions with the same name look like one function that was edited. `src/bin/fit.rs` and `examples/fit.rs` of one
/// package have the same module path, and so have two packages with the same name. While their code differs, each gets its
/// own results; with the same tokens and different helpers, they share results. Give one of them another `name`.
///
/// # What can be memoized
///
/// Free functions, generic ones included (their type parameters must be `'static`); for methods and associated functions,
/// write a free function that they call. Parameters by value, `&T`, `&str`,
/// `&[T]`, `&Path`, `mut`, patterns (called `arg0`, `arg1`, … by position in keys), `impl Trait`. Arguments must be
/// `Serialize + DeserializeOwned`, results moreover `Clone + Send + Sync + 'static`. Of a `Result` only the value of an
/// `Ok` is recorded, and the error may be any type. `None` and `()` are recorded. In a generic function that returns
/// `T`, a `T` that is a `Result` is recorded whole. Panics go on to the caller and record nothing.
///
/// A result must own what it returns: `String` in place of `&str`. A parameter that is part of the key must not be one
/// through which the body can change what its caller holds, since a hit changes nothing: `&mut T`, and `&Cell<T>`,
/// `Rc<RefCell<T>>`, `&Mutex<T>`, `&AtomicU64` and the like, are compile errors, also behind an alias and in a macro.
/// (Fields of structures and type parameters are not looked into.)
///
/// **Ignored parameters** may be of any type: a client, a `&dyn Fn`, a `&mut` context, a progress counter. What the body
/// does through them is up to the author: **a hit does not do it**. Only `bind`, whose calls may run elsewhere, needs
/// them to be `Serialize + DeserializeOwned`, and is a compile error where they are not; such calls run in place.
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
/// A function that returns a [`Job`] hands its job on, and what the job brings is recorded before anybody can see it,
/// also if the job is dropped; a hit is a job that is done already. A job that fails records nothing, and of a
/// `Job<Result<…>>` only the value of an `Ok` is recorded. The recording is done on the thread that completes the job.
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
/// An `async fn` is bound where it is called to what is active there: cache, tags, kinds of metadata. It is looked up
/// when it is first polled, on whatever thread and by whatever runtime, and its body, nested calls included, runs under
/// what it is bound to. The future is `Send` if that of the body is. Stores that [may wait](ValueStore::may_block) are
/// asked on threads of fleche's own, at most eight in a process, so that the runtime's threads go on; encoding and
/// decoding happen where the future is polled, and so do calls of memoized functions that are not `async`. A future
/// that is dropped before its body has completed records nothing. A future that is put into a cache afterwards, with
/// [`FutureExt::in_cache`], alone or inside another future, is looked up in that cache; one that is spawned without keeps
/// the cache that was active at the call. `rerun` and `uncached` give futures; the rest of the
/// companion is as for other functions, and asks the stores in place; there is no `bind`. A body that is not memoized
/// takes its cache along with [`FutureExt::in_cache`].
///
/// # One computation per call
///
/// Of all who ask for a missing call at the same time, on threads, in tasks and, as far as the store reaches, in other
/// processes, one computes it; the others wait, and get its result. Reruns take part.
///
/// - Where the one that computes panics, returns an `Err`, is dropped or killed, exactly one of those who wait goes on.
///   They wait as long as it takes; with `wait_timeout` (a number with `ms`, `s`, `min` or `h`) so long, and then compute
///   too; with `wait = false` not at all.
/// - A call that asks for itself, directly or through others that wait for it, computes in place. Within a process that
///   is known at once, for what the body calls, submits and binds, and for what runs under the [`active_cache`] that it
///   asked for on other threads. Between processes it is seen within about a second, and costs a second computation of a
///   call now and then. What a pool of others does for a body of its own accord, as rayon does that puts one piece of work
///   on top of another, cannot be traced to that body: on Linux such a circle is noticed once all threads of the process have
///   waited for one another for a second; for five seconds where some wait with a timeout, and for five minutes where some
///   sleep all that time, or the body waits with a timeout. A process in which a thread works, or waits for anything that
///   another process may bring about (a file, a socket, a terminal, a shared semaphore, another program), does not count. On
///   other systems such a circle is not noticed, nor where the body is that of an `async fn`, or one awaits it: let what
///   such bodies start run under [`active_cache`], or give such calls a `wait_timeout`.
/// - A body on another thread may wait for a lock that the caller holds: that of standard output, or a `Mutex` whose guard is
///   on the stack. Such a wait is noticed within seconds, even beside threads that sleep and wake.
/// - A task may hold the future that computes a call without polling it, as `select!` does with a `&mut future`. Then a waiter
///   computes the call: in the same task as soon as the future was woken, in another task once that was ten seconds ago, and
///   on a waiting thread after a minute.
/// - A wait of over a minute is logged once, as a warning: which call, who computes it and since when.
/// - A wait on a thread of one of fleche's pools lets another thread work in its stead; a wait of an `async fn` suspends
///   it.
/// - Where nobody else wants the call, a claim is cheap beside a miss: with stores in memory a few hundredths of one, with
///   stores in files a third at most (`cargo xtask bench claims` measures it).
/// - Waits are counted in [`Stats`], and reported to `tracing`: those for other processes at level `INFO`, and those
///   within the process at `DEBUG`; see [events](crate#events-about-calls).
/// - A function that returns a [`Job`] does not wait, since its call may be what brings that job about: two calls before
///   the first job is done are two computations.
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
/// A body that works with files of fixed names in the current directory, as many old programs do, gets a directory of
/// its own with `isolate`: each computed call (`uncached` included) runs in a new temporary directory, which is removed
/// when the body has returned a value, returned an `Err` or panicked. A hit makes none. The program's working directory
/// never changes, and calls that run at once never see each other's files.
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
/// - The directories lie in `$XDG_CACHE_HOME/fleche/cwd`, else `~/.cache/fleche/cwd`, else, or where that cannot be
///   written, in the system's temporary directory; only this user can read them. What a killed process leaves there is
///   removed by the next process on the same host that isolates a call.
/// - `isolate(keep_on_panic)` keeps the directory of a body that panics, for you to look into and remove: its path is
///   logged as an error.
/// - The body runs on a thread of its own, with the caller's cache, tags, metadata and log, and a stack of 8 MiB, or as
///   `isolate(stack = "64 MiB")` says. Parameters and result must be `Send` (what is borrowed, `Sync`), generic ones by
///   a bound.
/// - Threads that the body starts share its directory; those of a pool that runs already, such as rayon's, do not, nor
///   do those of fleche's pools, wherever they are made: for those there is `isolate(process)`. The body should wait for the threads it starts: when it returns, their directory
///   goes. A function that returns a [`Job`] returns before its work is done.
/// - Relative paths in arguments mean nothing there: pass absolute ones.
/// - `isolate(process)` runs the body in a worker process of this program, whose working directory is the call's own, for
///   all threads and pools that there are in it. It takes Linux, `fleche-exec`, and `fleche_exec::init()` as the first line
///   of `main`. Arguments and result travel as those of [bound calls](BoundCall) do. Calls inside the body are recorded in
///   the caller's cache. A panic of the body goes on in the caller with its message, and a worker that dies is a panic
///   too. Workers are kept for the program's life, as many as calls have run at once; the record's processor time is that of the caller's thread,
///   which waits.
/// - Plain `isolate` takes the right to `unshare` a thread's working directory, which needs no privilege but may be
///   forbidden in a sandbox. Where it is, and on other systems, calls run as with `isolate(process)`. A call that can be
///   isolated in neither way panics and says so: its body never runs in a directory that others use. Hits are served
///   everywhere.
///
/// # What must hold
///
/// The result must depend on the arguments alone. The cache watches what it can: on misses and on hits number 1, 2, 4, 8, … of a
/// function, and whenever the body took long beside it, it checks that the arguments decode, encode again to the same
/// bytes, and equal the originals. Once an argument does not, a warning names it and the cure, and the function's calls
/// run without the cache for the rest of the process. What nobody can see from outside, or not in time:
///
/// - arguments that become unstable only between two checks of a cheap function;
/// - a `Serialize` that writes two different values alike: skipped fields (a type with `==` is caught where a check
///   meets a value that the encoding loses), untagged variants that overlap;
/// - sets with a fixed hasher, whose order depends on their history;
/// - arguments that share state with each other or with the world, inside a structure for instance;
/// - results whose clones share what can change, such as an `Arc<Mutex<_>>`: hits that come from the [hot
///   tier](Cache::hot_tier) are clones of one value. `hot = false` has each read from the store;
/// - two types whose [`type_name`](std::any::type_name) is the same, as parameters of one generic function: items of one
///   name in two blocks of one function, or types of two versions of one crate. Where one run of a program uses both, this
///   is noticed when the second is first used, and neither is recorded from then on; where two runs use one each, it is
///   not;
/// - changes outside the function's own tokens; see [above](#edited-code).
///
/// The cache runs code of these types: `Serialize`, `Deserialize`, `PartialEq`, `Clone` and `Drop` of arguments and results, and
/// kinds of metadata. A panic in it fails no call and loses no computed result: it is logged, an argument whose code panics
/// makes the call run without the cache, and a result whose code panics is returned and not recorded, or is computed again.
/// With `panic = "abort"` such a panic ends the process, as every other does.
///
/// Types that serde has to buffer (flattened, untagged, internally tagged) cannot hold 128-bit integers; calls with such
/// arguments are not recorded, for that reason.
#[doc(inline)]
pub use fleche_macros::fleche;
pub use future::FutureExt;
pub use hashed::Hashed;
pub use job::{Job, JobError};
pub use query::Query;
pub use store::{CallStore, ValueStore};

#[doc(hidden)]
pub mod __private;

/// The examples of the README, which compile and run.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

/// The examples of the guide by symptom.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/troubleshooting.md")]
struct Troubleshooting;
