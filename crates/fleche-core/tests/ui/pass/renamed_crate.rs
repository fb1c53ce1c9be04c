//! The crate under another name.
extern crate fleche_core as cache;

mod inner {
    pub(crate) use cache as hidden;
}

#[cache::fleche(crate = crate::inner::hidden)]
fn add(x: i64, y: i64) -> i64 {
    x + y
}

fn main() {
    cache::Cache::void().scope(|| assert_eq!(add(1, 2), 3));
}
