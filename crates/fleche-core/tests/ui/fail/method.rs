//! A method.
struct Solver;

impl Solver {
    #[fleche_core::fleche]
    fn solve(&self, x: i64) -> i64 {
        x
    }
}

fn main() {}
