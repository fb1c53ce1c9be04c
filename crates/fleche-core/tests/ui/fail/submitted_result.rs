//! A function whose error is none of serde's is submitted; its bound call could be.
use fleche_core::{Executor, ExecutorExt};

#[fleche_core::fleche]
fn fails(x: u64) -> std::io::Result<u64> {
    Ok(x)
}

fn submits(pool: &dyn Executor) {
    pool.run(fails::bind(1));
    pool.submit(fails, (1,));
    let _ = pool.map(fails, [(1,)]);
}

fn main() {}
