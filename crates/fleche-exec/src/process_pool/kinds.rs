//! The kinds of frames between a pool and its workers, in addition to those of `fleche_remote`.

use fleche_remote::spi::Kind;

/// To the worker: run call `number`. Parts: see `codec`.
pub(super) const TASK: Kind = Kind(32);
/// To the worker: return call `number`, or all calls if `number` is 0, unless they have started.
pub(super) const REVOKE: Kind = Kind(33);
/// To the worker: end after all accepted calls have run.
pub(super) const END: Kind = Kind(34);
/// To the pool: call `number` starts.
pub(super) const STARTED: Kind = Kind(35);
/// To the pool: call `number` has ended. Parts: nanoseconds, counters (or nothing), the encoded result.
pub(super) const DONE: Kind = Kind(36);
/// To the pool: like `DONE`, with an encoded error in place of the result.
pub(super) const FAILED: Kind = Kind(37);
/// To the pool: the running task begins to wait. Part: the key of the call that it waits for, or nothing.
pub(super) const PAUSED: Kind = Kind(38);
/// To the pool: the running task resumes.
pub(super) const RESUMED: Kind = Kind(39);
/// To the pool: the calls that are returned, in answer to the `REVOKE` of `number`. Part: their numbers.
pub(super) const REVOKED: Kind = Kind(40);
