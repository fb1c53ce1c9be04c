//! Runs other work on the thread of a task that waits for it.

use tracing::Span;

use crate::{context::with_empty_context, metadata};

/// Runs other work on the thread of a task that waits for it. For executors. Neither what is active on the thread nor
/// its tracing spans apply to that work, and the work's processor time does not count as the task's. Thread-local
/// variables of other crates are shared.
pub fn run_nested<R>(run: impl FnOnce() -> R) -> R {
    let (result, took) = metadata::lend_cpu(|| {
        let _out = Out::of_all_spans();
        with_empty_context(run)
    });
    metadata::borrow_cpu(took.map(|took| -took));
    result
}

/// The spans that were exited, the innermost first, to be entered again.
struct Out(Vec<Span>);

/// The maximum number of nested spans that are exited. A subscriber that keeps reporting a current span would loop
/// forever.
const SPANS: usize = 128;

impl Out {
    fn of_all_spans() -> Self {
        let mut left = Vec::new();
        while left.len() < SPANS {
            let span = Span::current();
            if span.with_subscriber(|(id, subscriber)| subscriber.exit(id)).is_none() {
                break;
            }
            left.push(span);
        }
        Self(left)
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        for span in self.0.iter().rev() {
            span.with_subscriber(|(id, subscriber)| subscriber.enter(id));
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing::{dispatcher, info_span};

    use super::*;

    #[test]
    fn spans_are_exited_and_entered_again() {
        dispatcher::with_default(&tracing_subscriber::registry().into(), || {
            let (outer, inner) = (info_span!("outer"), info_span!("inner"));
            let _entered = (outer.enter(), inner.enter());
            run_nested(|| {
                assert!(Span::current().is_none());
                info_span!("other").in_scope(|| run_nested(|| assert!(Span::current().is_none())));
            });
            assert_eq!(Span::current(), inner);
            inner.with_subscriber(|(id, subscriber)| subscriber.exit(id));
            assert_eq!(Span::current(), outer);
            inner.with_subscriber(|(id, subscriber)| subscriber.enter(id));
        });
    }

    #[test]
    fn processor_time_of_nested_work_is_subtracted() {
        let work = || (0..2_000_000_u64).fold(1_u64, |x, y| std::hint::black_box(x.wrapping_mul(31).wrapping_add(y)));
        let mut within = None;
        let ((), without) = metadata::lend_cpu(|| {
            run_nested(|| within = metadata::lend_cpu(work).1);
        });
        assert!(without < within || within.is_none(), "{without:?} {within:?}");
    }
}
