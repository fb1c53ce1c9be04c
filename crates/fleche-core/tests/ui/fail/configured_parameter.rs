//! A parameter that is there in some configurations only.
#[fleche_core::fleche]
fn sized(x: i64, #[cfg(unix)] y: i64) -> i64 {
    x
}

fn main() {}
