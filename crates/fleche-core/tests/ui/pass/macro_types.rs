//! The types of a macro's `$type:ty` are seen for what they are.
use fleche_core::fleche;

macro_rules! memoized {
    ($name:ident, $type:ty) => {
        #[fleche]
        fn $name(value: $type) -> usize {
            value.len()
        }
    };
}

memoized!(text, &str);
memoized!(numbers, &[u64]);
memoized!(lent, &Vec<u64>);
memoized!(owned, String);

mod nested {
    pub struct Solver;

    impl Solver {
        pub fn solve(&self, x: u64) -> u64 {
            // A function inside a method is none of the `impl`'s.
            #[fleche_core::fleche]
            fn solved(x: u64) -> u64 {
                x
            }
            solved(x)
        }

        pub fn all() -> impl Iterator<Item = u64> {
            #[fleche_core::fleche]
            fn one(x: u64) -> u64 {
                x
            }
            (0..3).map(one)
        }
    }
}

fn main() {
    fleche_core::Cache::void().scope(|| {
        assert_eq!((text("a"), numbers(&[1, 2]), lent(&vec![1]), owned("abc".to_owned())), (1, 2, 1, 3));
        assert_eq!(text::bind("abcd").call().unwrap(), 4);
        assert_eq!(nested::Solver.solve(1) + nested::Solver::all().sum::<u64>(), 4);
    });
}
