//! A result that cannot be recorded: one error for each missing bound.
#[derive(serde::Serialize, serde::Deserialize)]
struct NotClone(i64);

#[fleche_core::fleche]
fn wrapped(x: i64) -> NotClone {
    NotClone(x)
}

fn main() {
    wrapped(1);
}
