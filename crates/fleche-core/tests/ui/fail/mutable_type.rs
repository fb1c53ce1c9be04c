//! Parameters through which the function changes what its caller holds, told by their types.
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::{Arc, Mutex, atomic::AtomicU64},
};

type Lent<'a> = &'a mut Vec<i64>;

#[fleche_core::fleche(local)]
fn behind_an_alias(values: Lent<'_>) -> usize {
    values.push(1);
    values.len()
}

macro_rules! memoized {
    ($name:ident, $type:ty) => {
        #[fleche_core::fleche(local)]
        fn $name(values: $type) -> usize {
            values.push(1);
            values.len()
        }
    };
}

memoized!(in_a_macro, &mut Vec<i64>);
memoized!(alias_in_a_macro, Lent<'_>);

#[fleche_core::fleche(local)]
fn nested(values: (&mut Vec<i64>, i64)) -> usize {
    values.0.len()
}

#[fleche_core::fleche]
fn cell(count: &Cell<i64>) -> i64 {
    count.replace(1)
}

#[fleche_core::fleche]
fn shared_cell(values: Rc<RefCell<Vec<i64>>>) -> usize {
    values.borrow().len()
}

#[fleche_core::fleche]
fn lock(values: &Arc<Mutex<Vec<i64>>>) -> usize {
    values.lock().map_or(0, |values| values.len())
}

#[fleche_core::fleche]
fn counters(counters: &[AtomicU64]) -> usize {
    counters.len()
}

fn main() {}
