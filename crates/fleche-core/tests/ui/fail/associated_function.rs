//! Functions in an `impl` and in a `trait`, without `self`.
struct Solver;

impl Solver {
    #[fleche_core::fleche]
    fn solve(x: i64) -> i64 {
        x
    }
}

trait Solves {
    #[fleche_core::fleche(version = 1)]
    fn solve_twice(x: i64) -> i64 {
        2 * x
    }
}

impl<T> Solves for Vec<T>
where
    T: Copy,
{
    #[fleche_core::fleche]
    fn solve_twice(x: i64) -> i64 {
        x
    }
}

fn main() {
    Solver::solve(1);
}
