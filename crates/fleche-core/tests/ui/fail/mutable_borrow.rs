//! A parameter that the function writes through.
#[fleche_core::fleche]
fn sort(values: &mut Vec<i64>) {
    values.sort();
}

fn main() {
    sort(&mut vec![1]);
}
