//! Calls that cannot be bound, since an ignored argument cannot be carried elsewhere.
struct Client;

#[fleche_core::fleche]
fn fetched(#[ignore] client: &Client, id: u64) -> u64 {
    let _ = client;
    id
}

#[fleche_core::fleche(ignore(f))]
fn root(f: &dyn Fn(f64) -> f64, guess: f64) -> f64 {
    f(guess)
}

#[fleche_core::fleche(ignore(log))]
fn logged(log: &mut Vec<u64>, x: u64) -> u64 {
    log.push(x);
    x
}

#[fleche_core::fleche(isolate(process))]
fn isolated(#[ignore] client: &Client, id: u64) -> u64 {
    let _ = client;
    id
}

fn main() {
    fetched(&Client, 1);
    fetched::bind(&Client, 1);
    root::bind(&|x| x, 1.0);
    logged::bind(&mut Vec::new(), 1);
}
