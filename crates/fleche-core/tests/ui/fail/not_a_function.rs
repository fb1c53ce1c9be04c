//! Something else than a function.
#[fleche_core::fleche]
struct Solver;

fn main() {
    let _ = Solver;
}
