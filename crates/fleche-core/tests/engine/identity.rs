//! Tests of function identity: names, versions, code, and two functions with the same name.

use fleche_core::{SkipReason, fleche};

use crate::support::{Runs, logged, memory};

#[test]
fn name_version_and_hashed_code_are_part_of_the_key() {
    mod plain {
        #[fleche_core::fleche(name = "identity::f")]
        pub(crate) fn f(x: i64) -> i64 {
            x
        }
    }
    mod version {
        #[fleche_core::fleche(name = "identity::f2", version = 2)]
        pub(crate) fn f(x: i64) -> i64 {
            x
        }
    }
    mod code {
        #[fleche_core::fleche(name = "identity::f3", hash_code)]
        pub(crate) fn f(x: i64) -> i64 {
            x
        }
    }
    let keys = [plain::f::key(1), version::f::key(1), code::f::key(1)];
    assert!(keys[0] != keys[1] && keys[1] != keys[2] && keys[0] != keys[2]);
    let id = |name: &'static str, version, hash_code| fleche_core::FunctionId {
        name: name.into(),
        version,
        code: fleche_core::Digest::hash(b"other code"),
        hash_code,
    };
    let one = [fleche_core::call::Argument("x".into(), fleche_core::ValueRef::new(&[1]))];
    let key = |id| fleche_core::CallKey::new(&id, &one).unwrap();
    assert_eq!(plain::f::key(1), key(id("identity::f", 0, false)));
    assert_eq!(version::f::key(1), key(id("identity::f2", 2, false)));
    assert_ne!(code::f::key(1), key(id("identity::f3", 0, true)));
}

#[test]
fn functions_with_the_same_name_are_reported_and_not_recorded() {
    static RUNS: Runs = Runs::new();
    fn one() -> i64 {
        #[fleche]
        fn twin(x: i64) -> i64 {
            RUNS.count();
            x + 1
        }
        twin(1)
    }
    fn other() -> i64 {
        #[fleche]
        fn twin(x: i64) -> i64 {
            RUNS.count();
            x + 2
        }
        twin(1)
    }
    let cache = memory();
    let _active = cache.enter();
    let ((), log) = logged(|| {
        for _ in 0..2 {
            assert_eq!((one(), other()), (2, 3));
        }
    });
    assert_eq!(RUNS.take(), 4);
    assert_eq!(cache.stats().skipped[&SkipReason::NameClaimedTwice], 4);
    assert_eq!(cache.query(&fleche_core::Query::new()).unwrap().count(), 0);
    let position = format!("{}:", file!());
    assert_eq!(log.matches(&position).count(), 4, "both positions, once per function: {log}");
    assert!(log.contains("claim the name `fleche-core::engine::identity::twin`"), "{log}");
}

#[test]
fn records_under_an_ambiguous_name_are_neither_shown_nor_removed() {
    mod first {
        #[fleche_core::fleche(name = "identity::claimed")]
        pub(crate) fn claimed(x: i64) -> i64 {
            x + 1
        }
    }
    mod second {
        #[fleche_core::fleche(name = "identity::claimed")]
        pub(crate) fn claimed(x: i64) -> i64 {
            x + 2
        }
    }
    #[fleche(name = "identity::lender")]
    fn lender(x: i64) -> i64 {
        x
    }
    let cache = memory();
    let _active = cache.enter();
    lender(1);
    let record = cache.record(&lender::key(1)).unwrap().unwrap();
    cache.calls().put(&first::claimed::key(1), &record).unwrap();
    assert!(!first::claimed::contains(1).unwrap() && !second::claimed::evict(1).unwrap());
    assert_eq!(second::claimed::load(1).unwrap(), None);
    assert_eq!((first::claimed(1), second::claimed(1)), (2, 3));
    assert!(cache.record(&first::claimed::key(1)).unwrap().is_some());
}

#[test]
fn types_with_the_same_printed_name_do_not_share_results() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn alike<T: Default + Into<i64> + 'static>() -> i64 {
        RUNS.count();
        T::default().into()
    }
    macro_rules! number {
        ($value:literal) => {{
            #[derive(Default)]
            struct Number;
            impl From<Number> for i64 {
                fn from(_: Number) -> i64 {
                    $value
                }
            }
            alike::<Number>()
        }};
    }
    let _active = memory().enter();
    let (results, log) = logged(|| [number!(1), number!(2)]);
    assert_eq!(results, [1, 2]);
    assert!(log.contains("print alike"), "{log}");
}

#[test]
fn result_of_other_code_is_served_with_a_warning() {
    static RUNS: Runs = Runs::new();
    mod before {
        #[fleche_core::fleche(name = "identity::stale")]
        pub(crate) fn stale(x: i64) -> i64 {
            x + 1
        }
    }
    #[fleche(version = 0)]
    fn stale_now(x: i64) -> i64 {
        RUNS.count();
        x + 2
    }
    let cache = memory();
    let _active = cache.enter();
    assert_eq!(before::stale(1), 2);
    // The record that an earlier build of `stale_now` would have left.
    let record = cache.record(&before::stale::key(1)).unwrap().unwrap();
    cache.calls().put(&stale_now::key(1), &record).unwrap();
    let (results, log) = logged(|| (stale_now(1), stale_now(1)));
    assert_eq!(results, (2, 2));
    assert_eq!(RUNS.take(), 0);
    assert!(log.contains("version = 1"), "{log}");
    assert_eq!(log.lines().count(), 1, "one warning: {log}");
}

#[test]
fn default_name_is_package_module_and_function() {
    #[fleche]
    fn named(x: i64) -> i64 {
        x
    }
    assert_eq!(named::query().function_name(), Some("fleche-core::engine::identity::named"));
}
