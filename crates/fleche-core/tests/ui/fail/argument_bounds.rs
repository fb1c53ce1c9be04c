//! An argument that cannot be encoded.
struct Opaque(i64);

#[fleche_core::fleche]
fn opened(opaque: &Opaque) -> i64 {
    opaque.0
}

fn main() {
    opened(&Opaque(1));
}
