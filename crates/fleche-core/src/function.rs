//! Memoized functions as the program knows them: one definition per attribute, one instance per set of type parameters.

mod registry;
mod type_names;

pub use registry::{Registration, instance};
pub(crate) use registry::{by_name, by_type};
pub use type_names::stable_type_name;

use std::{
    any::{Any, type_name},
    borrow::Cow,
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::{
    cache::{Cache, SharedTier, SkipReason, StalePolicy},
    call::{CallKey, FunctionId, Identity},
    digest::Digest,
    error::Result,
};

/// The properties of a function that the attribute knows.
#[derive(Debug)]
pub struct Definition {
    /// The name, without type parameters.
    pub name: &'static str,
    /// The version; 0 if the attribute gives none.
    pub version: u64,
    /// The digest of the function's tokens.
    pub code: [u8; 32],
    /// The digest that earlier versions of fleche recorded for the same tokens.
    pub earlier_code: [u8; 32],
    /// Whether the digest is part of keys.
    pub hash_code: bool,
    /// The policy for results computed by other code, if the attribute gives one.
    pub stale: Option<StalePolicy>,
    /// The policy if neither the function nor the cache gives one.
    pub default_stale: StalePolicy,
    /// The parameters in declaration order.
    pub parameters: &'static [Parameter],
    /// The limit on the time for which the function's calls wait for another caller that computes the same call.
    pub wait_policy: WaitPolicy,
    /// Whether long arguments are stored.
    pub store_arguments: bool,
    /// Whether the function's results are kept in the hot tier.
    pub hot: bool,
    /// The position of the definition: file, line, column.
    pub position: (&'static str, u32, u32),
}

/// A parameter of a memoized function.
#[derive(Debug)]
pub struct Parameter {
    /// The name in keys.
    pub name: &'static str,
    /// Whether the parameter is left out of keys.
    pub ignored: bool,
}

/// The limit on the time for which calls wait for another caller that computes the same call.
#[derive(Clone, Copy, Debug)]
pub enum WaitPolicy {
    /// Calls wait until that call has ended.
    Endless,
    /// Calls wait for at most this long. After that, they run the body too.
    For(Duration),
    /// Calls do not wait.
    None,
}

/// One callable function: a definition, with the type parameters filled in for generic functions. Lives as long as the
/// process.
#[derive(Debug)]
pub struct Function {
    pub(crate) definition: &'static Definition,
    id: FunctionId,
    pub(crate) load: Load,
    portable: Option<&'static Portable>,
    /// Whether this is an instance of a generic function. Another process does not know an instance until it is called
    /// there.
    is_instance: bool,
    state: State,
}

/// A function that looks a call up in a cache.
pub(crate) type Load = fn(&'static Function, &Cache, &CallKey) -> Loaded;

/// The outcome of a lookup before the call itself.
#[derive(Debug)]
pub enum Loaded {
    /// The function's declared return type, boxed.
    Hit(Box<dyn Any>),
    /// There is no record.
    Missing,
    /// There is a record that is not served, or there may be one: the call itself looks it up.
    Undecided,
}

/// The state of a function in this process.
#[derive(Debug)]
struct State {
    identity: OnceLock<Identity>,
    misses: AtomicU64,
    /// The number of hits that were not served from the thread-local tier.
    hits: AtomicU64,
    bindings: AtomicU64,
    last_body: AtomicU64,
    last_check: AtomicU64,
    name_is_shared: OnceLock<bool>,
    /// Whether another instance with the same name has appeared.
    name_is_lost: AtomicBool,
    /// Whether an argument has failed the stability check.
    is_unstable: AtomicBool,
    /// Whether the function's results lack fields when they are encoded.
    fills_fields: AtomicBool,
    warned: [AtomicBool; 6],
}

/// The warnings that are logged once per function.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Warning {
    ArgumentNotEncodable,
    ArgumentNotStable,
    ResultNotStorable,
    ResultUnreadable,
    StaleCode,
    LacksFields,
}

impl Function {
    /// Creates the only instance of a function that is not generic. `portable` is `None` if it cannot leave the process.
    pub const fn new(definition: &'static Definition, load: Load, portable: Option<&'static Portable>) -> Self {
        Self::named(definition, Cow::Borrowed(definition.name), load, portable)
    }

    const fn named(
        definition: &'static Definition,
        name: Cow<'static, str>,
        load: Load,
        portable: Option<&'static Portable>,
    ) -> Self {
        let is_instance = matches!(name, Cow::Owned(_));
        let Definition { version, code, hash_code, .. } = *definition;
        Self {
            definition,
            id: FunctionId { name, version, code: Digest::from_bytes(code), hash_code },
            load,
            portable,
            is_instance,
            state: State {
                identity: OnceLock::new(),
                misses: AtomicU64::new(0),
                hits: AtomicU64::new(0),
                bindings: AtomicU64::new(0),
                last_body: AtomicU64::new(0),
                last_check: AtomicU64::new(0),
                name_is_shared: OnceLock::new(),
                name_is_lost: AtomicBool::new(false),
                is_unstable: AtomicBool::new(false),
                fills_fields: AtomicBool::new(false),
                warned: [const { AtomicBool::new(false) }; 6],
            },
        }
    }

    /// Returns the identity under which the function's calls are recorded.
    pub fn id(&self) -> &FunctionId {
        &self.id
    }

    /// Returns the identity as it is encoded in keys. It is encoded once.
    pub(crate) fn identity(&self) -> Result<&Identity> {
        if let Some(identity) = self.state.identity.get() {
            return Ok(identity);
        }
        let identity = Identity::new(&self.id)?;
        Ok(self.state.identity.get_or_init(|| identity))
    }

    /// Returns the pointers that let the function's calls run in another process; `None` for `local` and `async` functions, whose
    /// calls cannot.
    pub(crate) fn portable(&self) -> Option<&'static Portable> {
        self.portable
    }

    /// Returns whether every process that registers the function's name finds this function, and no other, by the name.
    pub(crate) fn is_known_by_name(&self) -> bool {
        !self.is_instance && self.has_its_name_alone()
    }

    /// Returns the function's full name.
    pub fn name(&self) -> &str {
        &self.id.name
    }

    /// Makes this process look up and record no further calls of the instance, because another one has the same name.
    fn lose_its_name(&self) {
        self.state.name_is_lost.store(true, Relaxed);
        SharedTier::invalidate_all();
    }

    /// Returns why the function's calls are neither looked up nor recorded, or `None` if they are.
    pub(crate) fn refusal(&self) -> Option<SkipReason> {
        if !self.has_its_name_alone() {
            return Some(SkipReason::NameClaimedTwice);
        }
        self.state.is_unstable.load(Relaxed).then_some(SkipReason::ArgumentNotStable)
    }

    /// Makes this process look up and record no further calls of the function, because an argument has failed the stability
    /// check: unchecked calls may have been recorded under keys that do not distinguish them.
    pub(crate) fn stop_recording(&self) {
        self.state.is_unstable.store(true, Relaxed);
        SharedTier::invalidate_all();
    }

    /// Counts a miss. Returns whether to check the encodings of this call's arguments: on misses 1, 2, 4, 8, …, and if
    /// the last body took more than ten times as long as the last check.
    pub(crate) fn miss_is_checked(&self) -> bool {
        let misses = self.state.misses.fetch_add(1, Relaxed) + 1;
        misses.is_power_of_two() || self.check_is_cheap_beside(self.state.last_body.load(Relaxed))
    }

    /// Counts a hit that was not served from the thread-local tier. Returns whether to check the encodings of this
    /// call's arguments: on hits 1, 2, 4, 8, ….
    pub(crate) fn hit_is_checked(&self) -> bool {
        (self.state.hits.fetch_add(1, Relaxed) + 1).is_power_of_two()
    }

    /// Counts a bound call. Returns whether to check the encodings of its arguments: on calls 1, 2, 4, 8, ….
    pub(crate) fn binding_is_checked(&self) -> bool {
        (self.state.bindings.fetch_add(1, Relaxed) + 1).is_power_of_two()
    }

    /// Records how long a body took. Returns whether a check takes less than a tenth of that.
    pub(crate) fn took_long(&self, body: Duration) -> bool {
        let body = nanoseconds(body);
        self.state.last_body.store(body, Relaxed);
        self.check_is_cheap_beside(body)
    }

    pub(crate) fn check_took(&self, check: Duration) {
        self.state.last_check.store(nanoseconds(check), Relaxed);
    }

    fn check_is_cheap_beside(&self, body: u64) -> bool {
        body / 10 > self.state.last_check.load(Relaxed)
    }

    /// Returns whether this is the digest of the function's present code.
    pub(crate) fn is_own_code(&self, code: &Digest) -> bool {
        // The present digest first: all but few records have it.
        self.id.code == *code || *code.as_bytes() == self.definition.earlier_code
    }

    /// Returns the digests that records of the present code may hold.
    pub(crate) fn codes(&self) -> impl Iterator<Item = Digest> {
        let earlier = Digest::from_bytes(self.definition.earlier_code);
        [self.id.code].into_iter().chain((earlier != self.id.code).then_some(earlier))
    }

    /// Returns the policy for results in this cache that other code computed.
    pub(crate) fn stale_policy(&self, cache: &Cache) -> StalePolicy {
        let Definition { stale, default_stale, .. } = *self.definition;
        stale.or(cache.stale_policy()).unwrap_or(default_stale)
    }

    /// Returns whether a field that is absent from a recorded result means that the result type has changed.
    pub(crate) fn records_its_fields(&self) -> bool {
        !self.state.fills_fields.load(Relaxed)
    }

    /// Ends the comparison of fields, because a result lacks fields as it is encoded: absent fields then no longer mean that
    /// the type has changed.
    pub(crate) fn stop_comparing_fields(&self) {
        self.state.fills_fields.store(true, Relaxed);
    }

    /// Returns whether to log this warning: true only the first time.
    pub(crate) fn warns(&self, warning: Warning) -> bool {
        !self.state.warned[warning as usize].swap(true, Relaxed)
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A function that calls another with encoded arguments and returns the encoded result, or the reason why that is impossible.
pub(crate) type Remote = fn(&[&[u8]]) -> Result<Vec<u8>, String>;

/// The functions that call and bind a function that was found by its name or code address.
#[derive(Debug)]
pub struct Portable {
    /// Calls the function.
    pub remote: Remote,
    /// Creates the `bound::Parts` from which bound calls of the function are built.
    pub parts: fn() -> Erased,
    /// A function that returns a pointer to this one, or `None` if no pointer type can express the signature.
    pub pointer: Option<fn() -> Erased>,
    /// The `engine::CheckSubmitted` that checks submitted arguments; `None` if the arguments' types cannot be named.
    pub check: Option<&'static (dyn Any + Send + Sync)>,
    /// The function's `bound::Descriptor`.
    pub descriptor: &'static (dyn Any + Send + Sync),
}

/// A value whose type is erased, except for the description that errors show.
#[derive(Debug)]
pub struct Erased {
    value: Box<dyn Any>,
    called: &'static str,
}

impl Erased {
    /// Erases the type of the value. The name of the type describes the value in errors.
    pub fn new<T: 'static>(value: T) -> Self {
        Self::called(type_name::<T>(), value)
    }

    /// Erases the type of the value. This text describes the value in errors.
    pub(crate) fn called<T: 'static>(called: &'static str, value: T) -> Self {
        Self { value: Box::new(value), called }
    }

    /// Returns the value.
    ///
    /// # Errors
    /// Fails with the description if the value is not a `T`.
    pub(crate) fn get<T: 'static>(self) -> Result<T, &'static str> {
        self.value.downcast().map(|value| *value).map_err(|_| self.called)
    }
}
