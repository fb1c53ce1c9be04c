//! Hashing long inputs on several threads, each a few pieces of the hash's tree at a time.
//!
//! The threads are started for one input and are gone when its digest is there. No pool is asked, rayon's least of all:
//! values are hashed while calls are led and waited for, and a pool's thread that waits for half of a hash may run another
//! task on top meanwhile, one that waits for the very call below it.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use blake3::hazmat::{self, ChainingValue, HasherExt, Mode};

/// From this many bytes on it pays to start a thread (`cargo xtask bench large`).
const LONG: usize = 1 << 21;

/// The size of a piece: a power of two, so that each but the last is a whole subtree. Small beside what a thread takes to
/// start, so that one that starts late leaves the others nothing to wait for.
const PIECE: usize = 1 << 17;

/// The most threads for one input.
const MOST_THREADS: usize = 4;

/// BLAKE3 of the bytes.
pub(super) fn hash(bytes: &[u8]) -> blake3::Hash {
    if bytes.len() < LONG {
        return blake3::hash(bytes);
    }
    let threads = cores().min(2 * bytes.len() / LONG);
    if threads < 2 { blake3::hash(bytes) } else { on_threads(bytes, threads) }
}

/// How many cores this thread may run on, and those that it starts; more than are of use are not counted.
#[cfg(target_os = "linux")]
fn cores() -> usize {
    use nix::{
        sched::{CpuSet, sched_getaffinity},
        unistd::Pid,
    };
    // Asked each time: threads may be kept to different cores, and it takes a microsecond.
    let Ok(cores) = sched_getaffinity(Pid::from_raw(0)) else { return 1 };
    (0..CpuSet::count()).filter(|core| cores.is_set(*core).unwrap_or(false)).take(MOST_THREADS).count()
}

#[cfg(not(target_os = "linux"))]
fn cores() -> usize {
    use std::sync::LazyLock;
    static CORES: LazyLock<usize> = LazyLock::new(|| thread::available_parallelism().map_or(1, Into::into));
    MOST_THREADS.min(*CORES)
}

/// The same on so many threads, this one among them. `bytes` are more than one piece.
fn on_threads(bytes: &[u8], threads: usize) -> blake3::Hash {
    let next = AtomicUsize::new(0);
    let work = || {
        let nexts = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
        let pieces = nexts.map_while(|at| Some((at, bytes.chunks(PIECE).nth(at)?)));
        pieces.map(|(at, piece)| (at, value_of(piece, at))).collect::<Vec<_>>()
    };
    let done = thread::scope(|scope| {
        let start = || thread::Builder::new().name("fleche-hash".to_owned()).spawn_scoped(scope, work).ok();
        // Where none can be started, this one does it all.
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

/// The chaining value of the piece at this place.
fn value_of(piece: &[u8], at: usize) -> ChainingValue {
    let mut hasher = blake3::Hasher::new();
    hasher.set_input_offset((at * PIECE) as u64).update(piece);
    hasher.finalize_non_root()
}

/// The chaining value of the subtree that these are the parts of; there is one at least.
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

/// How many of so many parts are on the left: the greatest power of two that leaves any on the right (section 2.1 of the
/// BLAKE3 paper); 0 where there is only one.
fn subtree(parts: usize) -> usize {
    if parts < 2 { 0 } else { parts.next_power_of_two() / 2 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_same_on_any_number_of_threads() {
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
    fn the_left_subtree_is_the_greatest_that_leaves_something() {
        assert_eq!([1, 2, 3, 4, 5, 8, 9].map(subtree), [0, 1, 2, 2, 4, 4, 8]);
    }
}
