//! Tests that invalid selections fail with messages that say what to do.

use std::collections::BTreeSet;

use fleche_conformance::{Case, Needs, Selection, backend, cases, check};

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
