//! Warnings and errors for the user: emitted through `tracing` if a subscriber is installed, else printed on standard
//! error.
//!
//! Use [`warn!`](crate::spi::log::warn) and [`error!`](crate::spi::log::error) instead of the `tracing` macros of the same names,
//! with the same arguments. Events of lower levels go to `tracing` directly.
//!
//! Without a subscriber, each distinct line is printed once, as `fleche: warning: …` or `fleche: error: …`, with at
//! most [`LINES_PER_CALLSITE`] lines per call site. `FLECHE_LOG=off` silences them; `FLECHE_LOG=error` keeps only
//! errors.
//!
//! Warnings that a failing store would cause on every operation go through [`warn_rarely!`](crate::spi::log::warn_rarely).

#[doc(hidden)]
pub use tracing;

#[doc(inline)]
pub use crate::{__error as error, __warn as warn, __warn_rarely as warn_rarely};

use std::{
    collections::{HashMap, HashSet},
    env,
    fmt::{self, Write as _},
    io::{self, Write as _},
    sync::{LazyLock, Mutex},
    time::{Duration, Instant},
};

use tracing::{
    Dispatch, Event, Level, Metadata, Subscriber,
    callsite::Identifier,
    dispatcher,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span,
    subscriber::{Interest, NoSubscriber},
};

use super::{fork, lock::LockResultExt};

/// The maximum number of distinct lines that one call site prints.
#[doc(hidden)] // Only for tests.
pub const LINES_PER_CALLSITE: usize = 8;

/// The maximum length of a printed message in bytes, because errors may quote large values.
const MAX_LINE_LEN: usize = 1_000;

/// Emits a warning. Takes the arguments of `tracing::warn!`.
#[macro_export]
#[doc(hidden)]
macro_rules! __warn {
    ($($event:tt)+) => { $crate::spi::log::emit(|| $crate::spi::log::tracing::warn!($($event)+)) };
}

/// Emits a warning at most once a minute for each kind. Takes a [`Throttle`](crate::spi::log::Throttle), the number of the
/// kind, then the arguments of [`warn!`](crate::spi::log::warn). The field `repeats` is the number of warnings omitted since
/// the last one.
#[macro_export]
#[doc(hidden)]
macro_rules! __warn_rarely {
    ($throttle:expr, $kind:expr, $($event:tt)+) => {
        match $throttle.due($kind) {
            Some(0) => $crate::spi::log::warn!($($event)+),
            Some(repeats) => $crate::spi::log::warn!(repeats, $($event)+),
            None => {}
        }
    };
}

/// Emits an error. Takes the arguments of `tracing::error!`.
#[macro_export]
#[doc(hidden)]
macro_rules! __error {
    ($($event:tt)+) => { $crate::spi::log::emit(|| $crate::spi::log::tracing::error!($($event)+)) };
}

/// Runs `event`, which emits one `tracing` event, with this thread's subscriber, or with one that prints on standard
/// error.
#[doc(hidden)] // Only for the macros.
pub fn emit(event: impl FnOnce()) {
    static STDERR: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(Stderr));
    // Threads that a forked child does not have may hold locks of the log or of the subscriber.
    if fork::is_child() {
        return;
    }
    if dispatcher::get_default(Dispatch::is::<NoSubscriber>) {
        if max_level() != LevelFilter::OFF {
            dispatcher::with_default(&STDERR, event);
        }
    } else {
        event();
    }
}

/// Returns the level that `FLECHE_LOG` sets; the default is warnings and errors. The variable is read once.
fn max_level() -> LevelFilter {
    static LEVEL: LazyLock<LevelFilter> = LazyLock::new(|| match env::var("FLECHE_LOG").as_deref() {
        Ok("off") => LevelFilter::OFF,
        Ok("error") => LevelFilter::ERROR,
        _ => LevelFilter::WARN,
    });
    *LEVEL
}

/// A subscriber that prints each distinct event once, on one line.
struct Stderr;

impl Subscriber for Stderr {
    // This subscriber sees only what `emit` passes to it, and must not enable other events of the program.
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.enabled(metadata) { Interest::always() } else { Interest::never() }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(max_level())
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= max_level()
    }

    fn event(&self, event: &Event<'_>) {
        let severity = if *event.metadata().level() == Level::ERROR { "error" } else { "warning" };
        let mut line = Line::default();
        event.record(&mut line);
        let mut line = format!("fleche: {severity}: {line}");
        if line.len() > MAX_LINE_LEN {
            line.truncate(line.floor_char_boundary(MAX_LINE_LEN));
            line.push('…');
        }
        line.push('\n');
        // Throttled messages are rare already, and each has a different count.
        if event.metadata().fields().field(REPEATS).is_some() {
            return print(&line);
        }
        match is_due(event.metadata().callsite(), &line) {
            Due::Print => print(&line),
            Due::PrintLast => {
                print(&format!("{line}fleche: {severity}: further messages of this kind are not shown\n"));
            }
            Due::Skip => {}
        }
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

enum Due {
    Print,
    PrintLast,
    Skip,
}

/// Returns whether to print this line, which is the case if it is new and its call site has lines left.
fn is_due(callsite: Identifier, line: &str) -> Due {
    static PRINTED: LazyLock<Mutex<HashMap<Identifier, HashSet<String>>>> = LazyLock::new(Mutex::default);
    let mut printed = PRINTED.lock().ignore_poison();
    let lines = printed.entry(callsite).or_default();
    if lines.len() == LINES_PER_CALLSITE || !lines.insert(line.to_owned()) {
        return Due::Skip;
    }
    if lines.len() == LINES_PER_CALLSITE { Due::PrintLast } else { Due::Print }
}

/// Writes the line without the lock of `std::io::stderr`, whose holder may be waiting for this thread.
fn print(line: &str) {
    #[cfg(unix)]
    let stderr = std::os::fd::AsFd::as_fd(&io::stderr()).try_clone_to_owned().map(std::fs::File::from);
    #[cfg(not(unix))]
    let stderr = io::Result::Ok(io::stderr());
    // A failure is ignored, because there is nowhere else to report it.
    let _ = stderr.and_then(|mut stderr| stderr.write_all(line.as_bytes()));
}

/// Collects the message of an event, then its fields in parentheses, without line breaks.
#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing into a string cannot fail, but a user's `Debug` may.
        let _ = if field.name() == "message" {
            write!(self.message, "{value:?}")
        } else {
            let separator = if self.fields.is_empty() { "" } else { ", " };
            write!(self.fields, "{separator}{}: {value:?}", field.name())
        };
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one_line = |text: &str| text.lines().map(str::trim).collect::<Vec<_>>().join(" ");
        f.write_str(&one_line(&self.message))?;
        if self.fields.is_empty() { Ok(()) } else { write!(f, " ({})", one_line(&self.fields)) }
    }
}

/// The field with the number of omitted messages. Events with this field are always printed.
const REPEATS: &str = "repeats";

/// The minimum time between two messages of one kind.
const INTERVAL: Duration = Duration::from_mins(1);
/// The maximum number of kinds that are counted separately; further ones share the last.
const KINDS: usize = 32;

/// Records the messages that one place in the code has emitted.
#[derive(Debug, Default)]
pub struct Throttle(Mutex<Vec<Kind>>);

#[derive(Debug)]
struct Kind {
    number: u64,
    emitted: Instant,
    /// The number of messages that were omitted since the last one.
    omitted: u64,
}

impl Throttle {
    /// Creates a throttle that has emitted nothing.
    pub const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// Counts a message of this kind. If it is due, returns how many were omitted since the last one. The first message
    /// of a kind is due, and so is the first one after a minute.
    pub fn due(&self, kind: u64) -> Option<u64> {
        self.due_at(kind, Instant::now())
    }

    fn due_at(&self, number: u64, now: Instant) -> Option<u64> {
        let mut kinds = self.0.lock().ignore_poison();
        if let Some(kind) = kinds.iter_mut().find(|kind| kind.number == number) {
            return kind.due(now);
        }
        if kinds.len() == KINDS
            && let Some(last) = kinds.last_mut()
        {
            return last.due(now);
        }
        kinds.push(Kind { number, emitted: now, omitted: 0 });
        Some(0)
    }
}

impl Kind {
    fn due(&mut self, now: Instant) -> Option<u64> {
        if now.saturating_duration_since(self.emitted) < INTERVAL {
            self.omitted += 1;
            return None;
        }
        self.emitted = now;
        Some(std::mem::take(&mut self.omitted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_is_due_once_a_minute_and_counts_omitted_ones() {
        let (throttle, begun) = (Throttle::new(), Instant::now());
        let after = |seconds| begun + Duration::from_secs(seconds);
        assert_eq!(throttle.due_at(1, begun), Some(0));
        for seconds in 1..60 {
            assert_eq!(throttle.due_at(1, after(seconds)), None);
        }
        assert_eq!(throttle.due_at(2, after(59)), Some(0), "another kind");
        assert_eq!(throttle.due_at(1, after(60)), Some(59));
        assert_eq!(throttle.due_at(1, after(61)), None);
        assert_eq!(throttle.due_at(1, after(120)), Some(1));
    }

    #[test]
    fn number_of_kinds_is_bounded() {
        let (throttle, now) = (Throttle::new(), Instant::now());
        let due = (0..1000).filter(|kind| throttle.due_at(*kind, now).is_some()).count();
        assert_eq!(due, KINDS);
    }
}
