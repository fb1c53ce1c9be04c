//! Hashes long inputs on several threads. Each thread hashes pieces of the input, which are subtrees of the hash.
//!
//! The threads are started for one input and end when its digest is known. A thread pool would not do: values are hashed
//! while calls are led and awaited, and a pool thread that waits for half of a hash may start another task, which may
//! wait for the very call below it on the stack.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use blake3::hazmat::{self, ChainingValue, HasherExt, Mode};

/// The length in bytes from which starting a thread pays off (`cargo xtask bench large`).
const LONG: usize = 1 << 21;

/// The size of a piece: a power of two, so that each piece but the last is a whole subtree. Hashing a piece is quick
/// compared to starting a thread, so that a thread that starts late never makes the others wait.
const PIECE: usize = 1 << 17;

/// The maximum number of threads for one input.
const MAX_THREADS: usize = 4;

/// Returns the BLAKE3 hash of the bytes.
pub(crate) fn hash(bytes: &[u8]) -> blake3::Hash {
    if bytes.len() < LONG {
        return blake3::hash(bytes);
    }
    let threads = cores().min(2 * bytes.len() / LONG);
    if threads < 2 { blake3::hash(bytes) } else { on_threads(bytes, threads) }
}

/// Returns the number of cores that this thread and the threads that it starts may run on, at most [`MAX_THREADS`].
#[cfg(target_os = "linux")]
fn cores() -> usize {
    use nix::{
        sched::{CpuSet, sched_getaffinity},
        unistd::Pid,
    };
    // Not cached: each thread may have its own affinity, and the call takes a microsecond.
    let Ok(cores) = sched_getaffinity(Pid::from_raw(0)) else { return 1 };
    (0..CpuSet::count()).filter(|core| cores.is_set(*core).unwrap_or(false)).take(MAX_THREADS).count()
}

#[cfg(not(target_os = "linux"))]
fn cores() -> usize {
    use std::sync::LazyLock;
    static CORES: LazyLock<usize> = LazyLock::new(|| thread::available_parallelism().map_or(1, Into::into));
    MAX_THREADS.min(*CORES)
}

/// Hashes on this many threads, including the current one. `bytes` must be longer than one piece.
fn on_threads(bytes: &[u8], threads: usize) -> blake3::Hash {
    let next = AtomicUsize::new(0);
    let work = || {
        let nexts = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
        let pieces = nexts.map_while(|at| Some((at, bytes.chunks(PIECE).nth(at)?)));
        pieces.map(|(at, piece)| (at, value_of(piece, at))).collect::<Vec<_>>()
    };
    let done = thread::scope(|scope| {
        let start = || thread::Builder::new().name("fleche-hash".to_owned()).spawn_scoped(scope, work).ok();
        // If no thread can be started, this one does all the work.
        let others: Vec<_> = (1..threads).map_while(|_| start()).collect();
        let mut done = work();
        for other in others {
            done.extend(other.join().unwrap_or_default());
        }
        done.sort_unstable_by_key(|(at, _)| *at);
        done
    });
    let values: Vec<_> = done.into_iter().map(|(_, value)| value).collect();
    let left = subtree(values.len());
    if values.len() == bytes.len().div_ceil(PIECE) && left > 0 {
        let (left, right) = values.split_at(left);
        hazmat::merge_subtrees_root(&merged(left), &merged(right), Mode::Hash)
    } else {
        blake3::hash(bytes)
    }
}

/// Returns the chaining value of the piece at this index.
fn value_of(piece: &[u8], at: usize) -> ChainingValue {
    let mut hasher = blake3::Hasher::new();
    hasher.set_input_offset((at * PIECE) as u64).update(piece);
    hasher.finalize_non_root()
}

/// Returns the chaining value of the subtree with these parts, of which there is at least one.
fn merged(values: &[ChainingValue]) -> ChainingValue {
    match values {
        [] => ChainingValue::default(),
        [value] => *value,
        _ => {
            let (left, right) = values.split_at(subtree(values.len()));
            hazmat::merge_subtrees_non_root(&merged(left), &merged(right), Mode::Hash)
        }
    }
}

/// Returns the number of parts on the left: the greatest power of two that leaves any on the right (section 2.1 of
/// the BLAKE3 paper), or 0 if there is only one part.
fn subtree(parts: usize) -> usize {
    if parts < 2 { 0 } else { parts.next_power_of_two() / 2 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_is_the_same_on_any_number_of_threads() {
        let bytes: Vec<u8> =
            (0_u32..700_000).flat_map(|number| number.wrapping_mul(0x9e37_79b9).to_le_bytes()).collect();
        let around = [2, 3, 4, 5, 7, 8, 9, 16, 17]
            .map(|pieces| [-1_isize, 0, 1].map(|more| (pieces * PIECE).strict_add_signed(more)));
        let lengths = around.into_iter().flatten().chain([PIECE + 1, LONG - 1, LONG, LONG + 1, bytes.len()]);
        for length in lengths {
            let bytes = &bytes[..length];
            let expected = blake3::hash(bytes);
            assert_eq!(hash(bytes), expected, "{length} bytes");
            for threads in 1..=5 {
                assert_eq!(on_threads(bytes, threads), expected, "{length} bytes on {threads} threads");
            }
        }
    }

    #[test]
    fn left_subtree_is_the_greatest_power_of_two_that_leaves_a_right_part() {
        assert_eq!([1, 2, 3, 4, 5, 8, 9].map(subtree), [0, 1, 2, 2, 4, 4, 8]);
    }
}
