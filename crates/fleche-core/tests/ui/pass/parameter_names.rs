//! Parameters may have the names that the expansion uses.
use fleche_core::fleche;

#[fleche]
fn sum(miss: i64, hit: i64, call: i64, result: i64, key: i64, guard: i64, arguments: i64, probe: i64) -> i64 {
    miss + hit + call + result + key + guard + arguments + probe
}

#[fleche]
fn more(function: i64, cache: i64, plan: i64, sum: i64) -> i64 {
    function + cache + plan + sum
}

fn main() {
    fleche_core::Cache::void().scope(|| {
        assert_eq!(sum(1, 1, 1, 1, 1, 1, 1, 1), 8);
        assert_eq!(more(1, 1, 1, 1), 4);
        assert!(!sum::contains(1, 1, 1, 1, 1, 1, 1, 1).unwrap());
        assert_eq!(more::load(1, 1, 1, 1).unwrap(), None);
        assert_eq!(more::bind(1, 1, 1, 1).call().unwrap(), 4);
    });
}
