//! A result without a name.
#[fleche_core::fleche]
fn numbers(to: i64) -> impl Iterator<Item = i64> {
    0..to
}

fn main() {
    numbers(3);
}
