//! Kinds of functions that cannot be memoized.
#[fleche_core::fleche]
const fn constant(x: i64) -> i64 {
    x
}

#[fleche_core::fleche]
async fn asynchronous(x: &mut i64) -> i64 {
    *x
}

#[fleche_core::fleche]
unsafe fn dangerous(x: i64) -> i64 {
    x
}

#[fleche_core::fleche]
extern "C" fn foreign(x: i64) -> i64 {
    x
}

fn main() {}
