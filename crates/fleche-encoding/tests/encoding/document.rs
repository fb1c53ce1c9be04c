//! Checks the worked examples in `docs/format.md` against the code.

use std::collections::HashMap;

use fleche_encoding::{diagnostic, to_vec};
use serde::Serialize;

use crate::common::{hex, unhex};

#[derive(Serialize)]
struct Point {
    y: u8,
    x: u8,
    label: &'static str,
}

#[derive(Serialize)]
enum Shape {
    Nothing,
    Circle(f64),
    Box(u16, u16),
}

/// Pairs each value's source text with its encoding.
macro_rules! encoded {
    ($($value:expr),* $(,)?) => {
        vec![$((stringify!($value), to_vec(&$value).unwrap())),*]
    };
}

#[test]
fn worked_examples_match_the_code() {
    let values = encoded![
        true,
        23u8,
        300i64,
        -1i8,
        -(1i128 << 64),
        1u128 << 64,
        1.5f32,
        -0.0f64,
        'ü',
        "IETF",
        (),
        None::<u8>,
        Some(1u8),
        Some(None::<u8>),
        Some(Some(())),
        [0u8; 0],
        [5u8],
        (1u8, 2u8),
        (1u8, 2u16),
        [1.0f64, 2.0],
        [-1i32, 2],
        [Some(1u8), None],
        HashMap::from([("bb", 1), ("a", 2)]),
        Point { y: 1, x: 2, label: "p" },
        Shape::Nothing,
        Shape::Circle(0.5f64),
        Shape::Box(3u16, 4u16),
    ];
    let page = include_str!("../../../../docs/format.md");
    let table = page.split("### Worked examples").nth(1).unwrap().split("\n### ").next().unwrap();
    let rows: Vec<[&str; 3]> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.strip_suffix("` |"))
        .map(|row| row.split("` | `").collect::<Vec<_>>().try_into().unwrap())
        .collect();
    assert_eq!(rows.len(), values.len());
    for ([value, bytes, notation], (source, encoded)) in rows.into_iter().zip(values) {
        assert_eq!(value, source);
        assert_eq!(bytes, hex(&encoded), "{value}");
        assert_eq!(notation, diagnostic(&unhex(bytes)), "{value}");
    }
}
