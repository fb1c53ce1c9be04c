//! Selections that lead nowhere are failures that say what to do.

use std::collections::BTreeSet;

use fleche_conformance::{Case, Needs, Selection, backend, cases, check};

#[test]
fn a_backend_that_is_not_linked_is_named_with_the_cure() {
    let error = backend("nowhere").unwrap_err().to_string();
    for part in ["`nowhere`", "use fleche_store_nowhere as _;", "register_backend!"] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
#[should_panic(expected = "no backend `nowhere` is linked")]
fn a_suite_for_a_backend_that_is_not_linked_fails() {
    check("nowhere", "values::absence", module_path!());
}

#[test]
fn an_empty_selection_is_an_error() {
    let error = Selection::<Case>::named::<&str>([]).unwrap_err().to_string();
    assert!(error.contains("Selection::all()"), "{error}");
}

#[test]
fn an_unknown_case_is_an_error_that_lists_the_cases() {
    let error = Selection::<Case>::named(["values::absence", "nothing"]).unwrap_err().to_string();
    assert!(error.contains("`nothing`") && error.contains("`calls::find_since`"), "{error}");
}

#[test]
fn a_group_stands_for_its_cases_and_each_runs_once() {
    let selection = Selection::<Case>::named(["values::absence", "values", "values"]).unwrap();
    let expected = cases().iter().filter(|case| case.group() == "values").count();
    assert_eq!(selection.cases().len(), expected);
    assert_eq!(Selection::<Case>::all().cases().len(), cases().len());
}

#[test]
fn every_case_has_a_name_of_its_own_and_a_description() {
    let names: BTreeSet<_> = cases().iter().map(|case| case.name).collect();
    assert_eq!(names.len(), cases().len());
    assert!(cases().iter().all(|case| case.description.ends_with('.')));
    assert!(cases().iter().any(|case| case.needs == Needs::Disk));
}
