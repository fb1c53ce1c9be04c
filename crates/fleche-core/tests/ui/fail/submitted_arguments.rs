//! Arguments that cannot be submitted: the errors name the parameter, or the form that can.
use fleche_core::{Executor, ExecutorExt, fleche};

#[fleche]
fn sum(numbers: &[f64]) -> f64 {
    numbers.iter().sum()
}

#[fleche]
fn double(x: u64) -> u64 {
    2 * x
}

#[fleche]
fn applied(function: impl Fn(f64) -> f64 + 'static, x: f64) -> f64 {
    function(x)
}

fn submits(pool: &dyn Executor, numbers: &[f64]) {
    pool.submit(sum, (numbers,));
    pool.submit(double, 3);
}

fn main() {}
