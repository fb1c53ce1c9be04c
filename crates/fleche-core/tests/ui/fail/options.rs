//! Options that are unknown, given twice, or of the wrong form.
#[fleche_core::fleche(verison = 2)]
fn misspelt(x: i64) -> i64 {
    x
}

#[fleche_core::fleche(version = 1, version = 2)]
fn twice(x: i64) -> i64 {
    x
}

#[fleche_core::fleche(version = "two")]
fn text(x: i64) -> i64 {
    x
}

#[fleche_core::fleche(name = "")]
fn nameless(x: i64) -> i64 {
    x
}

#[fleche_core::fleche(ignore(y))]
fn nobody(x: i64) -> i64 {
    x
}

fn main() {
    misspelt(1);
}
