//! The program that `cargo xtask dev-builds` compiles with each profile. It measures hits of 8 MB in the file store.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use fleche_core::{Cache, cache::HotTier, fleche};
use fleche_store_file::{FileCalls, FileValues};
use serde::{Deserialize, Serialize};

#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct Series {
    name: String,
    values: Vec<f64>,
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct Point {
    x: f64,
    y: f64,
    z: f64,
}

fn numbers() -> Vec<f64> {
    (0..1_000_000).map(f64::from).collect()
}

#[fleche]
fn vector() -> Vec<f64> {
    numbers()
}

#[fleche]
fn series() -> Series {
    Series { name: "a series".to_owned(), values: numbers() }
}

#[fleche]
fn arrays() -> Vec<[f64; 3]> {
    numbers().chunks_exact(3).map(|three| [three[0], three[1], three[2]]).collect()
}

#[fleche]
fn points() -> Vec<Point> {
    numbers().chunks_exact(3).map(|three| Point { x: three[0], y: three[1], z: three[2] }).collect()
}

#[fleche]
fn of_vector(argument: &Vec<f64>) -> usize {
    argument.len()
}

#[fleche]
fn of_series(argument: &Series) -> usize {
    argument.values.len()
}

#[fleche]
fn of_arrays(argument: &Vec<[f64; 3]>) -> usize {
    argument.len()
}

#[fleche]
fn of_points(argument: &Vec<Point>) -> usize {
    argument.len()
}

/// Prints the median time of a hit in microseconds, after a first call that computes the result.
fn measure(name: &str, mut call: impl FnMut()) {
    call();
    let mut times: Vec<Duration> = (0..7)
        .map(|_| {
            let started = Instant::now();
            call();
            started.elapsed()
        })
        .collect();
    times.sort();
    println!("{name}\t{}", times[times.len() / 2].as_micros());
}

fn main() -> fleche_core::Result<()> {
    let directory = std::env::args_os().nth(1).expect("the first argument must be a directory for the store");
    let directory = std::path::PathBuf::from(directory);
    let (values, calls) = (FileValues::open(directory.join("values"))?, FileCalls::open(directory.join("calls"))?);
    let cache = Cache::builder().values(values).calls(calls).hot_tier(HotTier::OFF).build();
    let (a, b, c, d) = (vector::uncached(), series::uncached(), arrays::uncached(), points::uncached());
    cache.scope(|| {
        measure("result `Vec<f64>`", || drop(black_box(vector())));
        measure("result: a struct with a `Vec<f64>`", || drop(black_box(series())));
        measure("result `Vec<[f64; 3]>`", || drop(black_box(arrays())));
        measure("result: a `Vec` of structs", || drop(black_box(points())));
        measure("argument `&Vec<f64>`", || drop(black_box(of_vector(&a))));
        measure("argument: a struct with a `Vec<f64>`", || drop(black_box(of_series(&b))));
        measure("argument `&Vec<[f64; 3]>`", || drop(black_box(of_arrays(&c))));
        measure("argument: a `Vec` of structs", || drop(black_box(of_points(&d))));
    });
    assert_eq!(cache.stats().misses, 8, "all calls except the first must be hits");
    Ok(())
}
