//! A pattern whose name in keys is taken.
#[fleche_core::fleche]
fn crossed(arg1: i64, (a, b): (i64, i64)) -> i64 {
    arg1 + a + b
}

fn main() {}
