//! Tests that each fault of a store is caught by the case of the broken promise, and that invalid selections of cases fail
//! with messages that say what to do.

use std::collections::BTreeSet;

use fleche_conformance::{Case, Needs, Selection, backend, cases, check, run, run_in_test};
use fleche_core::store::{BackendInfo, Reach};

use super::store::{Fault, backend, config};

/// Generates a test for each fault: the named cases must fail, with messages that contain these texts.
macro_rules! caught {
    ($($test:ident: $fault:ident, $($case:literal says $says:literal),+;)+) => {$(
        #[test]
        fn $test() {
            $(
                let path = concat!(module_path!(), "::", stringify!($test));
                let report = run_in_test(backend!($fault, Shared), &Selection::named([$case]).unwrap(), path);
                let failure = report.outcomes[0].failure.as_deref();
                let failure = failure.unwrap_or_else(|| panic!("`{}` does not catch {:?}", $case, Fault::$fault));
                assert!(failure.contains($says), "`{}` fails with another message: {failure}", $case);
                assert!(!report.is_success());
            )+
        }
    )+};
}

caught! {
    lost_put_is_caught: LosesSomePuts, "values::put_then_get" says "was put, but";
    wrong_bytes_are_caught: ReturnsWrongBytes, "values::put_then_get" says "are wrong", "values::large_value" says "changed";
    missing_refresh_is_caught: ForgetsRefresh, "values::put_refreshes_the_age" says "as old as before";
    refresh_that_races_with_removal_is_caught: RefreshRacesRemoval, "values::refreshed_entries_stay" says "removed for its earlier age";
    ids_listed_twice_are_caught: ListsTwice,
        "values::many_entries_are_listed_once" says "listed twice",
        "values::put_then_get" says "some of them twice",
        "calls::put_is_idempotent" says "some of them twice";
    full_prefix_that_finds_nothing_is_caught: ListsNothingForFullPrefix,
        "values::prefixes" says "0 of 1",
        "calls::prefixes" says "0 of 1";
    removal_of_young_values_is_caught: IgnoresAgeOnRemoval, "values::remove_respects_the_age" says "older than an hour";
    replaced_check_is_caught: ForgetsCheck, "values::custom_check" says "is damaged";
    batch_removal_of_young_values_is_caught: IgnoresAgeOnRemoval, "values::remove_all" says "younger than an hour";
    error_for_an_absent_entry_is_caught: ErrsOnAbsence, "values::absence" says "is damaged";
    undetected_damage_is_caught: ReadsUnverified,
        "values::flipped_bit" says "are wrong",
        "values::truncated" says "are wrong",
        "values::zeroed_page" says "are wrong",
        "values::swapped_entries" says "are wrong",
        "calls::flipped_bit" says "is wrong",
        "calls::swapped_entries" says "is wrong";
    put_that_does_not_repair_is_caught: NeverRepairs,
        "values::put_repairs_a_truncated_entry" says "damaged",
        "calls::put_repairs_a_truncated_entry" says "damaged";
    damage_that_is_reported_twice_is_caught: LeavesDamageInPlace,
        "values::flipped_bit" says "`contains` returns true",
        "calls::find_skips_damaged_records" says "1 errors in the second query";
    put_that_keeps_the_earlier_record_is_caught: FirstWriterWins,
        "calls::last_writer_wins" says "after put number 1",
        "calls::overwriting_is_atomic" says "last writer";
    compare_and_remove_without_comparison_is_caught: IgnoresOnly, "calls::compare_and_remove" says "earlier record";
    compare_and_remove_in_two_steps_is_caught: CompareRacesPut, "calls::compare_and_remove_is_atomic" says "in place of the earlier one";
    loss_of_unknown_fields_is_caught: DropsUnknownFields, "calls::records_round_trip" says "comes back changed";
    query_that_ignores_time_is_caught: FindIgnoresTime, "calls::find_since" says "60 records of 59";
    query_that_ends_at_damage_is_caught: FindEndsAtDamage, "calls::find_skips_damaged_records" says "damaged";
    later_format_reported_as_damage_is_caught: ReportsLaterFormatsAsDamage, "calls::later_format_is_kept" says "is damaged";
    entry_removed_by_two_callers_is_caught: RemovesForTwo,
        "values::one_remover_wins" says "`remove` returned true",
        "calls::one_remover_wins" says "`remove` returned true";
    entries_lost_by_reopening_are_caught: ForgetsOnClose,
        "values::reopened_store_keeps_everything" says "was put, but",
        "calls::same_location_is_same_store" says "was put, but";
    configuration_unequal_to_its_clone_is_caught: LosesFaultInConfig, "values::config_round_trips" says "not equal to its clone";
    random_operations_catch_a_lost_put: LosesSomePuts, "fuzz::values" says "shortest sequence";
    random_operations_catch_ids_listed_twice: ListsTwice,
        "fuzz::values" says "the ids: the store has",
        "fuzz::calls" says "the keys: the store has";
    random_operations_catch_a_put_that_keeps_the_earlier_record: FirstWriterWins, "fuzz::calls" says "not the one put last";
    random_operations_catch_a_missing_comparison: IgnoresOnly, "fuzz::calls" says "the result of `remove`";
    random_operations_catch_a_missing_check: ForgetsCheck, "fuzz::values" says "PutOtherForm";
    random_operations_catch_an_ignored_age: IgnoresAgeOnRemoval, "fuzz::values" says "the number of removed values";
    random_queries_catch_an_ignored_time: FindIgnoresTime, "fuzz::calls" says "the keys found";
    random_operations_catch_entries_lost_by_reopening: ForgetsOnClose,
        "fuzz::values" says "Reopen",
        "fuzz::calls" says "Reopen";
    random_operations_catch_a_panic: Panics, "fuzz::values" says "the store panics";
    store_that_other_processes_do_not_see_is_caught: ForgetsOnClose, "values::reach" says "another process, while the store is open here",
        "calls::reach" says "another process, while the store is open here";
    store_that_reads_entries_only_when_it_opens_is_caught: ReadsWhenItOpens, "values::reach" says "was put, but",
        "calls::reach" says "was put, but";
    panic_is_caught: Panics, "values::put_then_get" says "the store panics";
}

#[test]
fn sound_store_passes_every_case() {
    let path = concat!(module_path!(), "::sound_store_passes_every_case");
    let report = run_in_test(backend!(None, Shared), &Selection::all(), path);
    let failures: Vec<_> = report.failures().collect();
    assert!(failures.is_empty(), "{failures:#?}");
    assert_eq!(report.outcomes.len(), fleche_conformance::cases().len());
    assert!(report.is_success());
}

#[test]
fn exclusive_store_must_refuse_a_second_process() {
    let selection = Selection::named(["values::reach", "calls::reach"]).unwrap();
    let path = concat!(module_path!(), "::exclusive_store_must_refuse_a_second_process");
    let report = run_in_test(backend!(None, Exclusive), &selection, path);
    for outcome in &report.outcomes {
        let failure = outcome.failure.as_deref().unwrap_or_default();
        assert!(failure.contains("another process opens the store while it is open here"), "{failure}");
    }
}

fleche_conformance::admit_encoded_bytes!("broken-hex", "each byte as two digits");

#[test]
fn store_that_encodes_bytes_passes_if_it_declares_that() {
    let cases = ["flipped_bit", "truncated", "zeroed_page", "swapped_entries", "put_repairs_a_truncated_entry"];
    let cases: Vec<_> =
        ["values", "calls"].iter().flat_map(|kind| cases.map(|case| format!("{kind}::{case}"))).collect();
    let selection = Selection::named(cases).unwrap();
    let failures = run(backend!(StoresHex, Shared, "broken-hex"), &selection);
    let failures: Vec<_> = failures.failures().collect();
    assert!(failures.is_empty(), "{failures:#?}");
    let report = run(backend!(StoresHex, Shared), &selection);
    let why = report.outcome("values::flipped_bit").unwrap().failure.as_deref().unwrap();
    assert!(why.contains("admit_encoded_bytes"), "{why}");
}

#[test]
fn error_for_two_backends_with_one_name_names_both_modules() {
    mod other {
        fleche_core::register_backend! {
            name: "twice",
            summary: "registered twice",
            reach: fleche_core::store::Reach::Shared,
            durable: false,
            scratch: |_| (Box::new(fleche_core::layer::Void), Box::new(fleche_core::layer::Void)),
        }
    }
    fleche_core::register_backend! {
        name: "twice",
        summary: "registered twice",
        reach: fleche_core::store::Reach::Shared,
        durable: false,
        scratch: |_| (Box::new(fleche_core::layer::Void), Box::new(fleche_core::layer::Void)),
    }
    let error = fleche_conformance::backend("twice").unwrap_err().to_string();
    assert!(error.contains("broken::cases::other") && error.contains("`twice`") && error.contains(" and "), "{error}");
}

#[test]
fn failing_case_does_not_affect_other_cases() {
    let report = run(backend!(Panics), &Selection::named(["values::put_then_get", "values::age_grows"]).unwrap());
    assert!(report.outcome("values::put_then_get").unwrap().failure.is_some());
    assert!(report.outcome("values::age_grows").unwrap().failure.is_none());
}

#[test]
fn store_that_is_not_durable_must_leave_nothing_on_disk() {
    static BACKEND: BackendInfo = BackendInfo {
        name: "broken",
        summary: "a durable store that declares not to be durable",
        reach: Reach::Exclusive,
        durable: false,
        module: module_path!(),
        scratch: |directory| {
            let config = |kind| Box::new(config(directory, kind, Fault::None));
            (config("values"), config("calls"))
        },
    };
    for case in ["values::flipped_bit", "calls::reopened_store_keeps_everything", "calls::later_format_is_kept"] {
        assert!(!run(&BACKEND, &Selection::named([case]).unwrap()).is_success(), "{case}");
    }
}

#[test]
fn error_for_unlinked_backend_says_how_to_link_it() {
    let error = backend("nowhere").unwrap_err().to_string();
    for part in ["`nowhere`", "use fleche_store_nowhere as _;", "register_backend!"] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
#[should_panic(expected = "no backend `nowhere` is linked")]
fn suite_for_unlinked_backend_fails() {
    check("nowhere", "values::absence", module_path!());
}

#[test]
fn empty_selection_is_an_error() {
    let error = Selection::<Case>::named::<&str>([]).unwrap_err().to_string();
    assert!(error.contains("Selection::all()"), "{error}");
}

#[test]
fn error_for_unknown_case_lists_the_cases() {
    let error = Selection::<Case>::named(["values::absence", "nothing"]).unwrap_err().to_string();
    assert!(error.contains("`nothing`") && error.contains("`calls::find_since`"), "{error}");
}

#[test]
fn group_selects_each_of_its_cases_once() {
    let selection = Selection::<Case>::named(["values::absence", "values", "values"]).unwrap();
    let expected = cases().iter().filter(|case| case.group() == "values").count();
    assert_eq!(selection.cases().len(), expected);
    assert_eq!(Selection::<Case>::all().cases().len(), cases().len());
}

#[test]
fn every_case_has_a_unique_name_and_a_description() {
    let names: BTreeSet<_> = cases().iter().map(|case| case.name).collect();
    assert_eq!(names.len(), cases().len());
    assert!(cases().iter().all(|case| case.description.ends_with('.')));
    assert!(cases().iter().any(|case| case.needs == Needs::Disk));
}
