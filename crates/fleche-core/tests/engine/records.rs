//! Tests of the content of records: function, arguments, metadata and writer.

use std::sync::Arc;

use fleche_core::{
    Cache, ValueRef, collect, encoding, fleche,
    metadata::{Collector, MetadataKind, Runtime, RuntimeReport},
};
use fleche_store_memory::{MemoryCalls, MemoryValues};

use crate::support::memory;

#[test]
fn record_describes_function_arguments_result_and_writer() {
    #[fleche(version = 7)]
    fn recorded(x: i64, long: &str) -> String {
        format!("{x}{long}")
    }
    let cache = memory();
    let _active = cache.enter();
    let long = "x".repeat(100);
    let before = fleche_core::call::Timestamp::now();
    recorded(1, &long);
    let record = cache.record(&recorded::key(1, &long)).unwrap().unwrap();
    assert_eq!(record.function.name, "fleche-core::engine::records::recorded");
    assert_eq!((record.function.version, record.function.hash_code), (7, false));
    assert_eq!(record.arguments[0].1, ValueRef::new(&encoding::to_vec(&1_i64).unwrap()));
    assert!(record.arguments[1].1.stored().is_some());
    assert_eq!(cache.decode::<String>(&record.arguments[1].1).unwrap(), Some(long.clone()));
    assert_eq!(cache.decode::<String>(&record.result).unwrap(), Some(format!("1{long}")));
    assert_eq!(record.writer.process, std::process::id());
    assert!(!record.writer.host.is_empty() && !record.writer.program.is_empty());
    assert!(before <= record.written && record.written <= fleche_core::call::Timestamp::now());
    assert_eq!(fleche_core::CallKey::new(&record.function, &record.arguments).unwrap(), recorded::key(1, &long));
}

#[test]
fn runtime_is_collected_unless_other_kinds_are_chosen() {
    #[fleche]
    fn timed(x: i64) -> i64 {
        x
    }
    let cache = memory();
    let _active = cache.enter();
    timed(1);
    let none = collect([]).enter();
    timed(2);
    drop(none);
    let runtime = |x| {
        let record = cache.record(&timed::key(x)).unwrap().unwrap();
        record.metadata.get::<RuntimeReport>("runtime").unwrap()
    };
    let report = runtime(1).unwrap();
    assert!(report.start <= report.stop && report.wall_seconds >= 0.0);
    if cfg!(target_os = "linux") {
        assert!(report.cpu_seconds.unwrap() >= 0.0 && report.process_peak_bytes.unwrap() > 0);
    }
    assert_eq!(runtime(2), None);
}

#[test]
fn custom_metadata_kind_is_collected() {
    #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Constant(i64);
    #[typetag::serde(name = "test-constant")]
    impl MetadataKind for Constant {
        fn name(&self) -> &'static str {
            "constant"
        }
        fn begin(&self) -> Box<dyn Collector> {
            Box::new(self.clone())
        }
    }
    impl Collector for Constant {
        fn finish(self: Box<Self>) -> fleche_core::Result<encoding::Encoded> {
            Ok(encoding::Encoded::encode(&self.0)?)
        }
    }
    #[fleche]
    fn measured(x: i64) -> i64 {
        x
    }
    let cache = memory();
    let _active = cache.enter();
    let _kinds = collect([Arc::new(Runtime) as Arc<dyn MetadataKind>, Arc::new(Constant(5))]).enter();
    measured(1);
    let record = cache.record(&measured::key(1)).unwrap().unwrap();
    assert_eq!(record.metadata.get::<i64>("constant").unwrap(), Some(5));
    assert_eq!(record.metadata.iter().map(|(kind, _)| kind).collect::<Vec<_>>(), ["constant", "runtime"]);
}

#[test]
fn metadata_kind_may_call_memoized_functions_and_may_panic() {
    #[fleche]
    fn probed(x: i64) -> i64 {
        x
    }
    #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Probing;
    #[typetag::serde(name = "test-probing")]
    impl MetadataKind for Probing {
        fn name(&self) -> &'static str {
            "probing"
        }
        fn begin(&self) -> Box<dyn Collector> {
            probed(1);
            Box::new(Self)
        }
    }
    impl Collector for Probing {
        fn finish(self: Box<Self>) -> fleche_core::Result<encoding::Encoded> {
            panic!("no report")
        }
    }
    #[fleche]
    fn probing(x: i64) -> i64 {
        x + 1
    }
    let cache = memory();
    let _active = cache.enter();
    let _kinds = collect([Arc::new(Probing) as Arc<dyn MetadataKind>]).enter();
    assert_eq!(probing(1), 2);
    assert!(probing::contains(1).unwrap() && probed::contains(1).unwrap());
}

#[test]
fn arguments_are_not_stored_if_function_or_cache_disable_it() {
    #[fleche(store_arguments = false)]
    fn sparing(long: &str) -> usize {
        long.len()
    }
    #[fleche]
    fn storing(long: &str) -> usize {
        long.len()
    }
    let long = "x".repeat(100);
    let ids = |cache: &Cache| cache.values().ids(&fleche_core::DigestPrefix::all()).unwrap().count();
    let cache = memory();
    cache.scope(|| sparing(&long));
    assert_eq!(ids(&cache), 0);
    let without = cache.to_builder().store_arguments(false).build();
    without.scope(|| storing(&long));
    assert_eq!(ids(&cache), 0);
    assert!(cache.contains(&storing::key(&long)).unwrap());
    let cache = memory();
    cache.scope(|| storing(&long));
    assert_eq!(ids(&cache), 1);
}

#[test]
fn cache_can_be_reopened_from_its_configuration() {
    #[fleche]
    fn reopened(x: i64) -> i64 {
        x
    }
    let cache = Cache::new(MemoryValues::new(), MemoryCalls::new());
    cache.scope(|| reopened(1));
    let text = serde_json::to_string(&cache.config()).unwrap();
    let config: fleche_core::CacheConfig = serde_json::from_str(&text).unwrap();
    assert_eq!(config, cache.config());
    let again = Cache::from_config(&config).unwrap();
    assert!(again.contains(&reopened::key(1)).unwrap());
    let bytes = encoding::to_vec(&config).unwrap();
    assert_eq!(encoding::from_slice::<fleche_core::CacheConfig>(&bytes).unwrap(), config);
}
