//! The registry of functions: by the type of the function item, and by name, which must be unique; an unknown name is an
//! error that lists similar names.

use std::{
    any::TypeId,
    borrow::Cow,
    collections::HashMap,
    sync::{LazyLock, OnceLock, RwLock, atomic::Ordering::Relaxed},
};

use super::{Definition, Function, Load, Portable};
use crate::runtime::{fork, lock::LockResultExt};

/// The registration of a function: its definition and, unless the function is generic, a way to find it by its type.
#[derive(Debug)]
pub struct Registration {
    /// The definition.
    pub definition: &'static Definition,
    /// Returns the type of the function item, and the function.
    pub function: Option<fn() -> (TypeId, &'static Function)>,
}

inventory::collect!(Registration);

/// Functions by the type of their item. Instances of generic functions are added when they are first called.
static BY_TYPE: OnceLock<RwLock<HashMap<TypeId, &'static Function>>> = OnceLock::new();

fn all_by_type() -> &'static RwLock<HashMap<TypeId, &'static Function>> {
    BY_TYPE.get_or_init(|| {
        let fixed = inventory::iter::<Registration>().filter_map(|registration| registration.function);
        RwLock::new(fixed.map(|function| function()).collect())
    })
}

/// Definitions by name.
static BY_NAME: LazyLock<HashMap<&'static str, Vec<&'static Definition>>> = LazyLock::new(|| {
    let mut by_name = HashMap::<_, Vec<_>>::new();
    for Registration { definition, .. } in inventory::iter::<Registration>() {
        by_name.entry(definition.name).or_default().push(*definition);
    }
    by_name
});

/// Returns the function whose item has this type; `None` for any other type, and for generic instances not called yet.
pub(crate) fn by_type(item: TypeId) -> Option<&'static Function> {
    if fork::is_child() {
        // Another thread of the parent may have held the lock when this process was forked.
        return BY_TYPE.get()?.try_read().ok()?.get(&item).copied();
    }
    all_by_type().read().ignore_poison().get(&item).copied()
}

/// Returns the function with this name, for a call from another process; never an instance of a generic function.
///
/// # Errors
/// Fails if the name is unknown, with similar names in the error, or if two functions share it.
pub(crate) fn by_name(name: &str) -> Result<&'static Function, String> {
    static FIXED: LazyLock<HashMap<&'static str, &'static Function>> = LazyLock::new(|| {
        let fixed = inventory::iter::<Registration>().filter_map(|registration| registration.function);
        fixed.map(|function| function().1).map(|function| (function.name(), function)).collect()
    });
    match FIXED.get(name) {
        Some(function) if function.has_its_name_alone() => Ok(function),
        Some(_) => Err(format!(
            "two functions claim the name `{name}`; give one of them another name: `#[fleche(name = \"…\")]`"
        )),
        None => Err(unknown_name(name, BY_NAME.keys().copied())),
    }
}

/// Returns the instance of a generic function, identified by the types of its items: `items[0]` is the engine's, the
/// others are those that users may submit. `parameters` formats the type and const parameters.
pub fn instance(
    definition: &'static Definition,
    items: &[TypeId],
    parameters: impl FnOnce() -> String,
    load: Load,
    portable: Option<&'static Portable>,
) -> &'static Function {
    let known = items.first().and_then(|item| by_type(*item));
    known.unwrap_or_else(|| {
        let name = Cow::Owned(format!("{}::<{}>", definition.name, parameters()));
        if fork::is_child() {
            // Not registered: calls in a forked child run without the cache.
            return Box::leak(Box::new(Function::named(definition, name, load, portable)));
        }
        let mut by_type = all_by_type().write().ignore_poison();
        // Another thread may have added it first.
        if let Some(function) = items.first().and_then(|item| by_type.get(item)) {
            return function;
        }
        // The program has finitely many types for instances, and they live as long as its code.
        let function: &'static Function = Box::leak(Box::new(Function::named(definition, name, load, portable)));
        for other in by_type.values().filter(|other| other.name() == function.name()) {
            other.lose_its_name();
        }
        by_type.extend(items.iter().map(|item| (*item, function)));
        function
    })
}

impl Function {
    /// Returns whether the function's calls may be recorded. They may not if another function has the same name, because the
    /// results of one would be served to the other. This is checked once; the warning names both functions.
    pub(crate) fn has_its_name_alone(&self) -> bool {
        !*self.state.name_is_shared.get_or_init(|| warn_if_shared(self)) && !self.state.name_is_lost.load(Relaxed)
    }
}

/// Returns whether two functions have the name of this one, and if so, logs a warning with the places of both definitions.
fn warn_if_shared(function: &Function) -> bool {
    let definitions = BY_NAME.get(function.definition.name).map_or(&[][..], Vec::as_slice);
    if let [(first_file, first_line, _), (second_file, second_line, _), ..] =
        definitions.iter().map(|definition| definition.position).collect::<Vec<_>>()[..]
    {
        crate::runtime::log::warn!(
            function = function.name(),
            "two functions claim the name `{}`: {first_file}:{first_line} and {second_file}:{second_line}. Their calls \
             are not recorded. Give one of them another name: `#[fleche(name = \"…\")]`",
            function.definition.name,
        );
        return true;
    }
    shares_instance_name(function)
}

/// Returns whether another instance has the same name: the names of two items in two blocks of one function are equal.
fn shares_instance_name(function: &Function) -> bool {
    let by_type = all_by_type().read().ignore_poison();
    let shared = by_type.values().any(|other| !std::ptr::eq(*other, function) && other.name() == function.name());
    if shared {
        crate::runtime::log::warn!(
            function = function.name(),
            "two instances of this generic function have type parameters that print alike; its calls are not recorded. \
             Give the types different names"
        );
    }
    shared
}

/// The number of similar names that the error lists.
const TOLD: usize = 3;
/// The number of changed, missing or extra letters up to which a name counts as mistyped.
const SLIPS: usize = 2;

/// Returns the error for this name, if these names are registered.
fn unknown_name<'a>(name: &str, registered: impl Iterator<Item = &'a str>) -> String {
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
        let error = |name| unknown_name(name, names.into_iter());
        assert!(error("p::stap").contains("similar names: `p::step`)"), "{}", error("p::stap"));
        assert!(error("q::walk").contains("`p::walk`"));
        assert!(!error("p::other").contains("similar names"));
        assert!(error("p::step::<u8>").contains("`p::step`") && error("p::step::<u8>").contains("generic"));
    }
}
