//! Small calls with stores of files: hits beside reading the same files, misses beside writing as many.

use std::{
    fs::{self, File},
    hint::black_box,
    io::{Read, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use fleche_core::{
    Cache, CallKey, DigestPrefix,
    cache::HotTier,
    collect, fleche,
    metadata::{MetadataKind, Runtime},
};
use fleche_store_file::{FileCalls, FileValues};
use fleche_store_memory::{MemoryCalls, MemoryValues};

use super::file_of;
use crate::{
    rounds::{Measure, medians},
    table::Row,
};

#[fleche]
fn small(x: i64) -> i64 {
    x + 1
}

/// An argument that no call had before.
static FRESH: AtomicI64 = AtomicI64::new(0);

pub(super) fn run(quick: bool) -> Result<Vec<Row>, String> {
    let (rounds, calls) = if quick { (1, 50) } else { (15, 1_000) };
    let directory = tempfile::tempdir().map_err(|error| format!("no directory for files: {error}"))?;
    let said = |error: fleche_core::Error| error.to_string();
    let records = FileCalls::open(directory.path().join("calls")).map_err(said)?;
    let values = FileValues::open(directory.path().join("values")).map_err(said)?;
    let files = Cache::new(values, records.clone()).hot_tier(HotTier::OFF);
    let memory = Cache::new(MemoryValues::new(), MemoryCalls::new()).hot_tier(HotTier::OFF);
    // Each directory that a record may be in is there and looked through.
    files.scope(|| missed(FRESH.fetch_add(4_000, Relaxed), 4_000));
    let from = FRESH.fetch_add(calls, Relaxed);
    files.scope(|| missed(from, calls));
    let paths: Vec<_> = (from..from + calls).map(|x| file_of(records.root(), small::key(x).digest())).collect();
    let peers = Peers::new(directory.path())?;
    let kinds = || -> Vec<Arc<dyn MetadataKind>> { vec![Arc::new(Runtime)] };
    let none = || Vec::<Arc<dyn MetadataKind>>::new();
    let fresh = |calls: i64| missed(FRESH.fetch_add(calls, Relaxed), calls);
    let many = calls * 10;
    let mut measures: Vec<Measure<'_>> = vec![
        Box::new(|| read(&paths)),
        Box::new(|| Ok(files.scope(|| missed(from, calls)))),
        Box::new(|| peers.write(calls)),
        Box::new(|| Ok(files.scope(|| within(none(), || fresh(calls))))),
        Box::new(|| Ok(files.scope(|| within(kinds(), || fresh(calls))))),
        Box::new(|| Ok(memory.scope(|| within(none(), || fresh(many))))),
        Box::new(|| Ok(memory.scope(|| within(kinds(), || fresh(many))))),
    ];
    let times = medians(rounds, &mut measures)?;
    if records_of(&records)? == 0 {
        return Err("nothing was recorded".to_owned());
    }
    #[allow(clippy::cast_precision_loss)] // Some thousands.
    let each = |at: usize| times[at].as_secs_f64() / if at < 5 { calls as f64 } else { many as f64 };
    Ok(vec![
        Row::time("a record's file: opened, read, closed", each(0)),
        Row::time("hit of a small result in files", each(1)),
        Row::held("the same, against opening, reading and closing", each(1) / each(0), 1.5),
        Row::time("a file as long as a record: written, renamed", each(2)),
        Row::time("miss in files, no metadata", each(3)),
        Row::held("the same, against writing and renaming", each(3) / each(2), 1.5),
        Row::within("miss in files: what `Runtime` adds", each(4) - each(3), 3e-6),
        Row::within("miss in memory, no metadata", each(5), 2e-6),
        Row::within("miss in memory: what `Runtime` adds", each(6) - each(5), 3e-6),
    ])
}

fn records_of(records: &FileCalls) -> Result<usize, String> {
    use fleche_core::CallStore as _;
    let keys: Result<Vec<CallKey>, _> = records.keys(&DigestPrefix::all()).and_then(Iterator::collect);
    keys.map(|keys| keys.len()).map_err(|error| error.to_string())
}

fn within<R>(kinds: Vec<Arc<dyn MetadataKind>>, run: impl FnOnce() -> R) -> R {
    let _kinds = collect(kinds).enter();
    run()
}

/// How long so many calls take, one after the other.
fn missed(from: i64, calls: i64) -> Duration {
    let begun = Instant::now();
    for x in from..from + calls {
        assert_eq!(small(black_box(x)), x + 1);
    }
    begun.elapsed()
}

fn read(paths: &[PathBuf]) -> Result<Duration, String> {
    let said = |error| format!("cannot read a record: {error}");
    let mut buffer = [0; 4096];
    let begun = Instant::now();
    for path in paths {
        let mut file = File::open(path).map_err(said)?;
        black_box(file.read(&mut buffer).map_err(said)?);
    }
    Ok(begun.elapsed())
}

/// Where files are written without fleche, in as many directories.
struct Peers(PathBuf);

impl Peers {
    fn new(directory: &Path) -> Result<Self, String> {
        let below = directory.join("peers");
        for shard in 0..=u8::MAX {
            fs::create_dir_all(below.join(format!("{shard:02x}"))).map_err(|error| error.to_string())?;
        }
        Ok(Self(below))
    }

    /// How long it takes to write so many files, each under another name first.
    fn write(&self, files: i64) -> Result<Duration, String> {
        let said = |error| format!("cannot write a file: {error}");
        let from = FRESH.fetch_add(files, Relaxed);
        let bytes = [7; 400];
        let names: Vec<_> = (from..from + files)
            .map(|x| {
                let digest = fleche_core::Digest::of(&x.to_le_bytes());
                let path = file_of(&self.0, &digest);
                (path.with_file_name(format!(".tmp-this.host-12345-0123456789abcdef-{x}")), path)
            })
            .collect();
        let begun = Instant::now();
        for (unfinished, whole) in &names {
            let mut file = File::create_new(unfinished).map_err(said)?;
            file.write_all(&bytes).map_err(said)?;
            drop(file);
            fs::rename(unfinished, whole).map_err(said)?;
        }
        Ok(begun.elapsed())
    }
}
