//! Which functions there are: by the type of the function item, and by name, where two must not share one.

use std::{
    any::TypeId,
    borrow::Cow,
    collections::HashMap,
    sync::{LazyLock, OnceLock, PoisonError, RwLock},
};

use super::{Definition, Function, Load, Portable, near::unknown};
use crate::fork;

/// What the attribute submits: the definition and, where the function is not generic, how to find it by its type.
#[derive(Debug)]
pub struct Registration {
    /// The definition.
    pub definition: &'static Definition,
    /// Type of the function item, and the function.
    pub function: Option<fn() -> (TypeId, &'static Function)>,
}

inventory::collect!(Registration);

/// Functions by the type of their item. Instances of generic functions join when they are first called.
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

/// The function whose item has this type; `None` for any other type, and for generic instances not called yet.
pub(crate) fn by_type(item: TypeId) -> Option<&'static Function> {
    if fork::is_child() {
        // Another thread of the parent may have held the lock when this process was forked.
        return BY_TYPE.get()?.try_read().ok()?.get(&item).copied();
    }
    all_by_type().read().unwrap_or_else(PoisonError::into_inner).get(&item).copied()
}

/// The function of this name, for a call that comes from elsewhere; no instance of a generic one.
///
/// # Errors
/// Where no function has the name for itself, with the names that are near it.
pub(crate) fn by_name(name: &str) -> Result<&'static Function, String> {
    static FIXED: LazyLock<HashMap<&'static str, &'static Function>> = LazyLock::new(|| {
        let fixed = inventory::iter::<Registration>().filter_map(|registration| registration.function);
        fixed.map(|function| function().1).map(|function| (function.name(), function)).collect()
    });
    match FIXED.get(name) {
        Some(function) if function.has_its_name_alone() => Ok(function),
        Some(_) => Err(format!("two functions claim the name `{name}`; give one another: `#[fleche(name = \"…\")]`")),
        None => Err(unknown(name, BY_NAME.keys().copied())),
    }
}

/// The instance of a generic function, identified by the types of its items: `items[0]` is the engine's, the others are
/// what users may submit. `parameters` writes the type and const parameters.
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
        let mut by_type = all_by_type().write().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have been faster.
        if let Some(function) = items.first().and_then(|item| by_type.get(item)) {
            return function;
        }
        // Instances are as many as the program has types for them; they live as long as the code does.
        let function: &'static Function = Box::leak(Box::new(Function::named(definition, name, load, portable)));
        for other in by_type.values().filter(|other| other.name() == function.name()) {
            other.lose_its_name();
        }
        by_type.extend(items.iter().map(|item| (*item, function)));
        function
    })
}

/// Whether two functions claim the name of this one; says so, with both positions.
pub(super) fn warn_if_shared(function: &Function) -> bool {
    let definitions = BY_NAME.get(function.definition.name).map_or(&[][..], Vec::as_slice);
    if let [(first_file, first_line, _), (second_file, second_line, _), ..] =
        definitions.iter().map(|definition| definition.position).collect::<Vec<_>>()[..]
    {
        crate::log::warn!(
            function = function.name(),
            "two functions claim the name `{}`: {first_file}:{first_line} and {second_file}:{second_line}. Their calls \
             are not recorded. Give one of them another name: `#[fleche(name = \"…\")]`",
            function.definition.name,
        );
        return true;
    }
    shares_instance_name(function)
}

/// Two types may print alike: items of one name in two blocks of one function do.
fn shares_instance_name(function: &Function) -> bool {
    let by_type = all_by_type().read().unwrap_or_else(PoisonError::into_inner);
    let shared = by_type.values().any(|other| !std::ptr::eq(*other, function) && other.name() == function.name());
    if shared {
        crate::log::warn!(
            function = function.name(),
            "two instances of this generic function have type parameters that print alike; its calls are not recorded. \
             Give the types different names"
        );
    }
    shared
}
