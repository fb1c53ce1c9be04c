//! The input: images of handwritten digits and their labels, from CSV.

use std::{
    fs,
    num::IntErrorKind,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// Pixels of an image: 8 rows of 8.
pub const PIXELS: usize = 64;
/// The pixels and the label.
const COLUMNS: usize = PIXELS + 1;
/// The largest pixel.
const INK: u8 = 16;
/// The largest label.
const LAST_LABEL: u8 = 9;
/// Fewer rows leave a fold of the study empty.
const MIN_ROWS: usize = crate::study::FOLDS;

/// Images and their labels, row by row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digits {
    /// [`PIXELS`] a row.
    pixels: Vec<u8>,
    labels: Vec<u8>,
}

/// Where a file is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum DataError {
    /// The file cannot be read.
    #[error("cannot read {}: {why}; name another file with --data", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
    /// The file does not hold digits.
    #[error("{}, line {line}, column {column}: {problem}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// Which of the values of that line, from 1.
        column: usize,
        /// What is wrong there.
        problem: Problem,
    },
}

/// What can be wrong with a value, a row, or the file as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[allow(missing_docs)] // The texts are the documentation.
pub enum Problem {
    #[error("the file is empty")]
    Empty,
    #[error("the file ends after {rows} rows; the study needs at least {MIN_ROWS}")]
    TooFewRows { rows: usize },
    #[error("the text is not UTF-8")]
    NotUtf8,
    #[error("the row has {columns} columns instead of {COLUMNS}, {PIXELS} pixels and a label")]
    Columns { columns: usize },
    #[error("`{text}` is not an integer")]
    NotAnInteger { text: String },
    #[error("the pixel {text} is not within 0 to {INK}")]
    NotAPixel { text: String },
    #[error("the label {text} is not within 0 to {LAST_LABEL}")]
    NotALabel { text: String },
}

/// A problem and its place: line and column, from 1.
type Found = (usize, usize, Problem);

/// The digits that come with the example; `data/README.md` says where from.
pub const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/digits.csv");

impl Digits {
    /// Reads digits from this file.
    ///
    /// # Errors
    /// [`DataError`] names the file, and the place in it where there is one.
    pub fn read(path: &Path) -> Result<Self, DataError> {
        let bytes = fs::read(path).map_err(|error| {
            let why = error.to_string();
            DataError::Unreadable { path: path.to_owned(), why }
        })?;
        Self::parse(&bytes).map_err(malformed(path))
    }

    fn parse(csv: &[u8]) -> Result<Self, Found> {
        let csv = str::from_utf8(csv).map_err(|error| {
            let lines = csv[..error.valid_up_to()].split(|byte| *byte == b'\n');
            let line = lines.clone().next_back().unwrap_or_default();
            (lines.count(), line.split(|byte| *byte == b',').count(), Problem::NotUtf8)
        })?;
        let mut digits = Self { pixels: Vec::new(), labels: Vec::new() };
        for (line, row) in csv.lines().enumerate() {
            digits.push(row).map_err(|(column, problem)| (line + 1, column, problem))?;
        }
        match digits.rows() {
            0 => Err((1, 1, Problem::Empty)),
            rows if rows < MIN_ROWS => Err((rows + 1, 1, Problem::TooFewRows { rows })),
            _ => Ok(digits),
        }
    }

    /// Adds the image and the label of one line; else the column, from 1, and its problem.
    fn push(&mut self, row: &str) -> Result<(), (usize, Problem)> {
        let columns = if row.trim().is_empty() { 0 } else { row.split(',').count() };
        if columns != COLUMNS {
            return Err((columns.min(COLUMNS) + 1, Problem::Columns { columns }));
        }
        for (column, text) in row.split(',').map(str::trim).enumerate() {
            let added = if column < PIXELS {
                integer(text, INK, |text| Problem::NotAPixel { text }).map(|pixel| self.pixels.push(pixel))
            } else {
                integer(text, LAST_LABEL, |text| Problem::NotALabel { text }).map(|label| self.labels.push(label))
            };
            added.map_err(|problem| (column + 1, problem))?;
        }
        Ok(())
    }

    /// How many images there are.
    pub fn rows(&self) -> usize {
        self.labels.len()
    }

    /// The image in this row.
    pub fn image(&self, row: usize) -> &[u8] {
        &self.pixels[row * PIXELS..][..PIXELS]
    }

    /// Which digit the image in this row shows.
    pub fn label(&self, row: usize) -> u8 {
        self.labels[row]
    }

    /// Images that are blank but for their first pixel, with their labels.
    #[cfg(test)]
    pub(crate) fn of_first_pixels(rows: &[(u8, u8)]) -> Self {
        let blank = |first| (0..PIXELS).map(move |at| if at == 0 { first } else { 0 });
        let pixels = rows.iter().flat_map(|(first, _)| blank(*first)).collect();
        Self { pixels, labels: rows.iter().map(|(_, label)| *label).collect() }
    }
}

fn malformed(path: &Path) -> impl FnOnce(Found) -> DataError {
    move |(line, column, problem)| DataError::Malformed { path: path.to_owned(), line, column, problem }
}

/// An integer from 0 to `last`.
fn integer(text: &str, last: u8, outside: impl FnOnce(String) -> Problem) -> Result<u8, Problem> {
    match text.parse::<i64>() {
        Ok(number) => match u8::try_from(number) {
            Ok(number) if number <= last => Ok(number),
            _ => Err(outside(text.to_owned())),
        },
        Err(error) if matches!(error.kind(), IntErrorKind::PosOverflow | IntErrorKind::NegOverflow) => {
            Err(outside(text.to_owned()))
        }
        Err(_) => Err(Problem::NotAnInteger { text: text.to_owned() }),
    }
}

#[cfg(test)]
#[path = "data/tests.rs"]
mod tests;
