//! Memoized functions as the program knows them: one definition an attribute, one instance a set of type parameters.

mod near;
mod portable;
mod registry;

pub use portable::{Erased, Portable, Remote};
pub use registry::{Registration, instance};
pub(crate) use registry::{by_name, by_type};

use std::{
    any::Any,
    borrow::Cow,
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::{
    cache::{Cache, Hot, Skip, StalePolicy},
    call::{CallKey, FunctionId, Identity},
    digest::Digest,
    error::Result,
};

/// What the attribute knows of a function.
#[derive(Debug)]
pub struct Definition {
    /// The name, without type parameters.
    pub name: &'static str,
    /// The version; 0 where none is stated.
    pub version: u64,
    /// Digest of the function's tokens.
    pub code: [u8; 32],
    /// The digest that earlier versions of fleche recorded for the same tokens.
    pub earlier_code: [u8; 32],
    /// Whether the digest is part of keys.
    pub hash_code: bool,
    /// The stated policy for results that were computed by other code.
    pub stale: Option<StalePolicy>,
    /// The policy where neither the function nor the cache states one.
    pub default_stale: StalePolicy,
    /// The parameters in order.
    pub parameters: &'static [Parameter],
    /// How long its calls wait for another that computes the same.
    pub patience: Patience,
    /// Whether long arguments are stored.
    pub store_arguments: bool,
    /// Whether its results are kept in front of the stores.
    pub hot: bool,
    /// Where the function stands: file, line, column.
    pub position: (&'static str, u32, u32),
}

/// A parameter of a memoized function.
#[derive(Debug)]
pub struct Parameter {
    /// Its name in keys.
    pub name: &'static str,
    /// Whether it is left out of keys.
    pub ignored: bool,
}

/// How long calls wait for another that computes the same.
#[derive(Clone, Copy, Debug)]
pub enum Patience {
    /// Until it has ended.
    Endless,
    /// So long; then they compute too.
    For(Duration),
    /// Not at all.
    None,
}

/// One callable function: a definition, for generic functions with the type parameters filled in. Lives as long as the
/// process.
#[derive(Debug)]
pub struct Function {
    pub(crate) definition: &'static Definition,
    id: FunctionId,
    pub(crate) load: Load,
    portable: Option<&'static Portable>,
    /// Whether it is one of a generic function's, which another process does not know until it is called there.
    is_instance: bool,
    state: State,
}

/// Answers a call from a cache: the function's declared return type, boxed, or `None` on a miss.
pub type Load = fn(&'static Function, &Cache, &CallKey) -> Option<Box<dyn Any>>;

/// What one process learns about a function.
#[derive(Debug)]
struct State {
    identity: OnceLock<Identity>,
    misses: AtomicU64,
    /// Hits that were not served from the thread-local hot tier.
    hits: AtomicU64,
    bindings: AtomicU64,
    last_body: AtomicU64,
    last_check: AtomicU64,
    name_is_shared: OnceLock<bool>,
    /// Another instance has come to print alike.
    name_is_lost: AtomicBool,
    /// An argument has failed the guard.
    is_unstable: AtomicBool,
    /// Its results lack fields as they are written.
    fills_fields: AtomicBool,
    warned: [AtomicBool; 6],
}

/// What is said once a function.
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
    /// The only instance of a function that is not generic, and how it leaves the process, where it can.
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

    /// The identity under which its calls are recorded.
    pub fn id(&self) -> &FunctionId {
        &self.id
    }

    /// The same, as it enters keys; encoded once.
    pub(crate) fn identity(&self) -> Result<&Identity> {
        if let Some(identity) = self.state.identity.get() {
            return Ok(identity);
        }
        let identity = Identity::of(&self.id)?;
        Ok(self.state.identity.get_or_init(|| identity))
    }

    /// How it leaves the process; `None` for `local` and `async` functions, which cannot.
    pub(crate) fn portable(&self) -> Option<&'static Portable> {
        self.portable
    }

    /// Whether its name leads to it, and to nothing else, in every process that registers the name.
    pub(crate) fn is_known_by_name(&self) -> bool {
        !self.is_instance && self.has_its_name_alone()
    }

    /// Its full name.
    pub fn name(&self) -> &str {
        &self.id.name
    }

    /// Whether its calls may be recorded: not where another function claims the same name, since the results of the one
    /// would be served to the other. Looked up once; the warning names both.
    pub(crate) fn has_its_name_alone(&self) -> bool {
        !*self.state.name_is_shared.get_or_init(|| registry::warn_if_shared(self))
            && !self.state.name_is_lost.load(Relaxed)
    }

    /// Another instance of the same name has appeared: from now on neither is recorded or looked up.
    fn lose_its_name(&self) {
        self.state.name_is_lost.store(true, Relaxed);
        Hot::forget();
    }

    /// Why its calls are neither looked up nor recorded; `None` if they are.
    pub(crate) fn refusal(&self) -> Option<Skip> {
        if !self.has_its_name_alone() {
            return Some(Skip::NameClaimedTwice);
        }
        self.state.is_unstable.load(Relaxed).then_some(Skip::ArgumentNotStable)
    }

    /// An argument has failed the guard. Calls that nobody checked could have been recorded under keys that say too
    /// little, so from now on, in this process, none of its calls is looked up or recorded.
    pub(crate) fn stop_recording(&self) {
        self.state.is_unstable.store(true, Relaxed);
        Hot::forget();
    }

    /// Counts a miss. Whether the encodings of this call's arguments are due to be checked: on misses 1, 2, 4, 8, …,
    /// and where the last body took more than ten times the last check.
    pub(crate) fn miss_is_checked(&self) -> bool {
        let misses = self.state.misses.fetch_add(1, Relaxed) + 1;
        misses.is_power_of_two() || self.check_is_cheap_beside(self.state.last_body.load(Relaxed))
    }

    /// Counts a hit that was not served from the thread-local hot tier. Returns whether the encodings of this call's arguments
    /// are due to be checked: on hits 1, 2, 4, 8, ….
    pub(crate) fn hit_is_checked(&self) -> bool {
        (self.state.hits.fetch_add(1, Relaxed) + 1).is_power_of_two()
    }

    /// Counts a call that is bound. Whether the encodings of its arguments are due to be checked: of calls 1, 2, 4, 8, ….
    pub(crate) fn binding_is_checked(&self) -> bool {
        (self.state.bindings.fetch_add(1, Relaxed) + 1).is_power_of_two()
    }

    /// Whether a check costs less than a tenth of a body that took so long.
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
        self.codes().any(|own| own == *code)
    }

    /// The digests that records of the present code may hold.
    pub(crate) fn codes(&self) -> impl Iterator<Item = Digest> {
        let earlier = Digest::from_bytes(self.definition.earlier_code);
        [self.id.code].into_iter().chain((earlier != self.id.code).then_some(earlier))
    }

    /// What becomes of a result that other code computed, in this cache.
    pub(crate) fn stale_policy(&self, cache: &Cache) -> StalePolicy {
        let Definition { stale, default_stale, .. } = *self.definition;
        stale.or(cache.stale_policy()).unwrap_or(default_stale)
    }

    /// Returns whether a field that a recorded result lacks tells that its type was another one.
    pub(crate) fn records_its_fields(&self) -> bool {
        !self.state.fills_fields.load(Relaxed)
    }

    /// Results lack fields as they are written.
    pub(crate) fn stop_comparing_fields(&self) {
        self.state.fills_fields.store(true, Relaxed);
    }

    /// Whether to say this now: true once.
    pub(crate) fn warns(&self, warning: Warning) -> bool {
        !self.state.warned[warning as usize].swap(true, Relaxed)
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
