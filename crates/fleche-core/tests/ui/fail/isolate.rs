//! Isolated functions whose parameters or results cannot go to another thread, and wrong options.
use std::{cell::Cell, error::Error, rc::Rc};

#[fleche_core::fleche(isolate, ignore(shared))]
fn shared_parameter(shared: Rc<i64>) -> i64 {
    *shared
}

#[fleche_core::fleche(isolate, ignore(cell))]
fn borrowed_cell(cell: &Cell<i64>) -> i64 {
    cell.get()
}

#[fleche_core::fleche(isolate)]
fn error(x: i64) -> Result<i64, Box<dyn Error>> {
    Ok(x)
}

#[fleche_core::fleche(isolate(process, stack = "16 MiB"))]
fn stack_of_a_process(x: i64) -> i64 {
    x
}

#[fleche_core::fleche(isolate(process), local)]
fn local(x: i64) -> i64 {
    x
}

#[fleche_core::fleche(isolate(process))]
async fn asynchronous(x: i64) -> i64 {
    x
}

#[fleche_core::fleche(isolate(keep))]
fn unknown(x: i64) -> i64 {
    x
}

#[fleche_core::fleche(isolate(stack = "16 MB"))]
fn stack(x: i64) -> i64 {
    x
}

fn main() {}
