//! The solver: computes the temperatures of a heated rod. It reads `heat.in` and writes `heat.out` in its working directory.
//!
//! It stands for an old program that cannot be changed. Two runs in one directory at the same time would overwrite each
//! other's files.

use std::{error::Error, fs, io::Write, str::FromStr};

/// The largest change of a temperature in a step, in kelvins, at which the rod counts as steady.
const STEADY: f64 = 1e-12;

fn main() -> Result<(), Box<dyn Error>> {
    let input = fs::read_to_string("heat.in").map_err(|error| format!("cannot read heat.in: {error}"))?;
    let conductivity: f64 = value(&input, "conductivity")?;
    let source: f64 = value(&input, "source")?;
    let nodes: u16 = value(&input, "nodes")?;
    if !(conductivity > 0.0 && (3..=1000).contains(&nodes)) {
        return Err("the conductivity must be positive, and there must be 3 to 1000 nodes".into());
    }
    let spacing = 1.0 / f64::from(nodes - 1);
    let heating = source * spacing * spacing / conductivity;
    let mut rod = vec![0.0_f64; nodes.into()];
    loop {
        let mut change = 0.0_f64;
        for node in 1..rod.len() - 1 {
            let next = f64::midpoint(rod[node - 1], rod[node + 1]) + heating / 2.0;
            change = change.max((next - rod[node]).abs());
            rod[node] = next;
        }
        if change <= STEADY * (1.0 + heating.abs()) {
            break;
        }
    }
    let mut output = fs::File::create("heat.tmp")?;
    for temperature in rod {
        writeln!(output, "{temperature:.6}")?;
    }
    drop(output);
    fs::rename("heat.tmp", "heat.out")?;
    Ok(())
}

/// Returns the number after this name in the input.
fn value<T: FromStr>(input: &str, name: &str) -> Result<T, String> {
    let mut lines = input.lines().filter_map(|line| line.split_once(' '));
    let (_, value) = lines.find(|(word, _)| *word == name).ok_or_else(|| format!("heat.in has no `{name}`"))?;
    value.trim().parse().map_err(|_| format!("`{name}` in heat.in is not a number: {value}"))
}
