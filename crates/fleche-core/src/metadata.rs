//! Metadata: the information in a record about the computation of its result.

mod runtime_report;

pub use runtime_report::{Runtime, RuntimeReport};
pub(crate) use runtime_report::{borrow_cpu, lend_cpu};

use std::{
    any::Any,
    cell::Cell,
    collections::BTreeMap,
    fmt::{self, Debug},
    marker::PhantomData,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use fleche_encoding::spi::CheckedEncoded;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeOwned, MapAccess, Visitor},
};

use crate::{
    encoding::{self, Encoded},
    error::Result,
    runtime::panics::{Contained, contain},
};

/// The metadata of one record: a report for each kind, by the kind's name. Each kind encodes its own type.
// Sorted by name. A record usually has one report, for which a tree would take many times the memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata(Vec<(String, Encoded)>);

impl Metadata {
    /// Returns the report of the kind with this name, or `None` if it was not collected.
    ///
    /// # Errors
    /// Fails if the report is not a `T`.
    pub fn get<T: DeserializeOwned>(&self, kind: &str) -> Result<Option<T>> {
        Ok(self.position(kind).ok().map(|at| self.0[at].1.decode()).transpose()?)
    }

    /// Stores a report under this name and replaces an earlier one.
    pub fn insert(&mut self, kind: impl Into<String>, report: Encoded) {
        let kind = kind.into();
        match self.position(&kind) {
            Ok(at) => self.0[at].1 = report,
            Err(at) => self.0.insert(at, (kind, report)),
        }
    }

    /// Returns the name and the report of each kind, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Encoded)> {
        self.0.iter().map(|(kind, report)| (kind.as_str(), report))
    }

    /// Returns the index of the kind's report, or where to insert it.
    fn position(&self, kind: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(name, _)| name.as_str().cmp(kind))
    }
}

impl Serialize for Metadata {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Reports(|report| report, PhantomData))
    }
}

/// Metadata that only fleche's own deserializer reads.
pub(crate) struct TrustedMetadata(pub(crate) Metadata);

impl<'de> Deserialize<'de> for TrustedMetadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let unwrapped = |CheckedEncoded(report)| report;
        deserializer.deserialize_map(Reports(unwrapped, PhantomData)).map(Self)
    }
}

/// Reads a map of reports, each deserialized as an `R`.
struct Reports<F, R>(F, PhantomData<fn() -> R>);

impl<'de, R: Deserialize<'de>, F: Fn(R) -> Encoded> Visitor<'de> for Reports<F, R> {
    type Value = Metadata;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of reports by the names of their kinds")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Metadata, A::Error> {
        let mut metadata = Metadata::default();
        while let Some((kind, report)) = map.next_entry::<String, R>()? {
            metadata.insert(kind, (self.0)(report));
        }
        Ok(metadata)
    }
}

/// A point in time, in nanoseconds since 1970-01-01 00:00:00 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Returns the current time by the system's clock.
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    /// Converts to the standard library's type.
    pub fn to_system_time(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(self.0)
    }
}

/// Writes the time in UTC, with as many digits as it needs: `2026-05-01T12:00:00Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&humantime::format_rfc3339(self.to_system_time()), f)
    }
}

/// A kind of metadata. The value itself is the kind's configuration, which bound callables carry as text.
///
/// ```
/// use fleche_core::{encoding::{self, Encoded}, metadata::{Collector, MetadataKind}};
///
/// #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
/// struct Thread;
///
/// #[typetag::serde(name = "doc-thread")]
/// impl MetadataKind for Thread {
///     fn name(&self) -> &str { "thread" }
///     fn begin(&self) -> Box<dyn Collector> { Box::new(Thread) }
/// }
///
/// impl Collector for Thread {
///     fn finish(self: Box<Self>) -> fleche_core::Result<Encoded> {
///         Ok(Encoded::encode(&std::thread::current().name())?)
///     }
/// }
/// ```
#[typetag::serde(tag = "type")]
pub trait MetadataKind: KindObject + Debug + Send + Sync {
    /// Returns the name under which reports are stored in [`Metadata`].
    fn name(&self) -> &str;
    /// Starts the collection. Called right before the body runs.
    fn begin(&self) -> Box<dyn Collector>;
}

/// Collects one kind of metadata for one call.
pub trait Collector: Send {
    /// Finishes the collection, and returns the report. Called right after the body has returned, on the same thread.
    /// If it fails, the error is logged and the call is recorded without this report.
    fn finish(self: Box<Self>) -> Result<Encoded>;

    /// Called instead of [`finish`](Self::finish) if the body did not run on one thread without interruption: when an
    /// `async fn` has completed, or when the job that a function returned is done. It may run on any thread, so
    /// per-thread measurements are meaningless and should be left out. The default calls `finish`.
    fn finish_elsewhere(self: Box<Self>) -> Result<Encoded> {
        self.finish()
    }
}

/// Comparison of boxed kinds, implemented for every kind that is `PartialEq`.
#[doc(hidden)]
pub trait KindObject: Any {
    fn same(&self, other: &dyn MetadataKind) -> bool;
}

impl<T: MetadataKind + PartialEq> KindObject for T {
    fn same(&self, other: &dyn MetadataKind) -> bool {
        (other as &dyn Any).downcast_ref::<T>() == Some(self)
    }
}

/// The name under which a record stores the tags that were active: a map of text to text.
pub const TAGS: &str = "tags";

/// The kinds of metadata collected around a call.
pub(crate) type Kinds = Arc<[Arc<dyn MetadataKind>]>;

thread_local! {
    /// Whether this thread is running code of a kind, to collect its report.
    static IS_COLLECTING: Cell<bool> = const { Cell::new(false) };
}

fn collecting<R>(ask: impl FnOnce() -> R) -> R {
    struct RestoreFlag(bool);
    impl Drop for RestoreFlag {
        fn drop(&mut self) {
            IS_COLLECTING.set(self.0);
        }
    }
    let _restore = RestoreFlag(IS_COLLECTING.replace(true));
    ask()
}

/// A kind of metadata and its collector.
type Running = (Arc<dyn MetadataKind>, Contained<Box<dyn Collector>>);

/// The collection of metadata around one body.
pub(crate) struct Collecting {
    running: Vec<Running>,
    tags: BTreeMap<String, String>,
}

impl Collecting {
    /// Starts the collection, right before the body runs under these tags.
    pub(crate) fn begin((kinds, tags): (Kinds, BTreeMap<String, String>)) -> Self {
        // A kind may call memoized functions, and must not collect metadata of those calls in turn.
        let kinds: Kinds = if IS_COLLECTING.get() { Arc::new([]) } else { kinds };
        let begin = |kind: &Arc<dyn MetadataKind>| match contain(|| kind.begin()) {
            Ok(collector) => Some((kind.clone(), Contained::new(collector))),
            Err(panic) => {
                crate::runtime::log::warn!("metadata could not be collected: the kind {panic}");
                None
            }
        };
        let running = collecting(|| kinds.iter().filter_map(begin).collect());
        Self { running, tags }
    }

    /// Finishes the collection on the thread that ran the body.
    pub(crate) fn finish(self) -> Metadata {
        self.end(Collector::finish)
    }

    /// Finishes the collection on any thread, once the result is available.
    pub(crate) fn finish_elsewhere(self) -> Metadata {
        self.end(Collector::finish_elsewhere)
    }

    fn end(self, finish: fn(Box<dyn Collector>) -> Result<Encoded>) -> Metadata {
        let mut metadata = Metadata::default();
        // The kind that began last ends first, so that each measures only what runs inside it.
        for (kind, collector) in self.running.into_iter().rev() {
            // The result is already computed, and a kind that panics must not lose it.
            match contain(|| (kind.name(), collecting(|| finish(collector.into_inner())))) {
                Ok((kind, Ok(report))) => metadata.insert(kind, report),
                Ok((kind, Err(error))) => {
                    crate::runtime::log::warn!(kind, error = %error.report(), "metadata could not be collected");
                }
                Err(panic) => crate::runtime::log::warn!("metadata could not be collected: the kind {panic}"),
            }
        }
        if !self.tags.is_empty() {
            match encoding::Encoded::encode(&self.tags) {
                Ok(report) => metadata.insert(TAGS, report),
                Err(error) => crate::runtime::log::warn!(kind = TAGS, %error, "metadata could not be collected"),
            }
        }
        metadata
    }
}
