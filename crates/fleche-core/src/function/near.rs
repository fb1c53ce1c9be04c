//! The error for a function name that is not registered: it lists similar names and says why a name may be missing.

/// The number of similar names that the error lists.
const TOLD: usize = 3;
/// The number of changed, missing or extra letters up to which a name counts as mistyped.
const SLIPS: usize = 2;

/// Returns the error for this name, if these names are registered.
pub(super) fn unknown<'a>(name: &str, registered: impl Iterator<Item = &'a str>) -> String {
    let mut near: Vec<_> = registered.filter(|other| is_near(name, other)).collect();
    near.sort_unstable();
    near.truncate(TOLD);
    let near: Vec<_> = near.into_iter().map(|name| format!("`{name}`")).collect();
    let near = if near.is_empty() { String::new() } else { format!(" (similar names: {})", near.join(", ")) };
    let cure = if name.contains("::<") {
        "an instance of a generic function has no name that other processes know: bind it in this build, or write a \
         `#[fleche]` function without type parameters that calls it"
    } else {
        "a crate that is only listed in Cargo.toml is not linked until the program names it: `use the_crate as _;`; a \
         function that moved keeps its name with `#[fleche(name = \"…\")]`"
    };
    format!("this program registers no `#[fleche]` function named `{name}`{near}; {cure}")
}

/// Returns whether the names differ only in the module or by a typing error.
fn is_near(name: &str, other: &str) -> bool {
    last(name) == last(other) || distance(name, other) <= SLIPS
}

fn last(name: &str) -> &str {
    let generic = name.split("::<").next().unwrap_or(name);
    generic.rsplit("::").next().unwrap_or(generic)
}

/// Returns the Levenshtein distance: the fewest letters to change, remove or add that turn one name into the other. If
/// the lengths differ too much, returns `usize::MAX`.
fn distance(one: &str, other: &str) -> usize {
    if one.len().abs_diff(other.len()) > 4 * SLIPS {
        return usize::MAX; // A letter has at most four bytes.
    }
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, letter) in one.chars().enumerate() {
        let mut before = row[0];
        row[0] = at + 1;
        for (column, same) in other.iter().map(|other| *other == letter).enumerate() {
            let changed = before + usize::from(!same);
            before = row[column + 1];
            row[column + 1] = changed.min(before + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_changed_letters() {
        for (one, other, wanted) in [("", "", 0), ("a", "", 1), ("step", "stpe", 2), ("kitten", "sitting", 3)] {
            assert_eq!(distance(one, other), wanted, "{one} {other}");
        }
    }

    #[test]
    fn typing_errors_and_other_modules_are_similar() {
        let names = ["p::step", "p::walk", "q::r::stem"];
        let error = |name| unknown(name, names.into_iter());
        assert!(error("p::stap").contains("similar names: `p::step`)"), "{}", error("p::stap"));
        assert!(error("q::walk").contains("`p::walk`"));
        assert!(!error("p::other").contains("similar names"));
        assert!(error("p::step::<u8>").contains("`p::step`") && error("p::step::<u8>").contains("generic"));
    }
}
