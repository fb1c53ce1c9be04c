//! A borrow inside a parameter's type.
#[fleche_core::fleche]
fn joined(parts: &[&str]) -> String {
    parts.concat()
}

fn main() {
    joined(&["a"]);
}
