//! Reads the input, images of handwritten digits and their labels, from CSV.

use std::{
    fs,
    num::IntErrorKind,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// The number of pixels of an image: 8 rows of 8.
pub const PIXELS: usize = 64;
/// The number of columns: the pixels and the label.
const COLUMNS: usize = PIXELS + 1;
/// The largest value of a pixel.
const INK: u8 = 16;
/// The largest label.
const LAST_LABEL: u8 = 9;
/// The number of parts into which the rows are split. Each part is tested against the others.
pub const FOLDS: usize = 5;
/// The smallest number of rows, with which no fold of the study is empty.
const MIN_ROWS: usize = FOLDS;

/// Images and their labels, row by row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digits {
    /// The pixels of all images, [`PIXELS`] for each row.
    pixels: Vec<u8>,
    labels: Vec<u8>,
}

/// The error of a file that cannot be read or does not contain digits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum DataError {
    /// The file cannot be read.
    #[error("cannot read {}: {why}; name another file with --data", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        why: String,
    },
    /// The file does not contain digits.
    #[error("{}, line {line}, column {column}: {problem}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The number of the value in that line, counted from 1.
        column: usize,
        /// The problem at this position.
        problem: Problem,
    },
}

/// A problem with a value, a row, or the whole file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[allow(missing_docs)] // The error texts document the variants.
pub enum Problem {
    #[error("the file is empty")]
    Empty,
    #[error("the file ends after {rows} rows; the study needs at least {MIN_ROWS}")]
    TooFewRows { rows: usize },
    #[error("the text is not UTF-8")]
    NotUtf8,
    #[error("the row has {columns} columns instead of {COLUMNS} ({PIXELS} pixels and a label)")]
    Columns { columns: usize },
    #[error("`{text}` is not an integer")]
    NotAnInteger { text: String },
    #[error("pixel {text} is not in the range 0 to {INK}")]
    NotAPixel { text: String },
    #[error("label {text} is not in the range 0 to {LAST_LABEL}")]
    NotALabel { text: String },
}

/// A line and a column, both counted from 1, and the problem there.
type Found = (usize, usize, Problem);

/// The path of the digits that come with the example; `data/README.md` states their origin.
pub const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/digits.csv");

impl Digits {
    /// Reads digits from this file.
    ///
    /// # Errors
    /// Fails with a [`DataError`] that names the file and, if its content is invalid, the line and column.
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

    /// Adds the image and the label of one line, or returns the column, counted from 1, and the problem there.
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

    /// Returns the number of images.
    pub fn rows(&self) -> usize {
        self.labels.len()
    }

    /// Returns the pixels of the image in this row.
    pub fn image(&self, row: usize) -> &[u8] {
        &self.pixels[row * PIXELS..][..PIXELS]
    }

    /// Returns the digit that the image in this row shows.
    pub fn label(&self, row: usize) -> u8 {
        self.labels[row]
    }

    /// Creates images from the values of their first pixels, with the other pixels blank, and their labels.
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

/// Parses an integer from 0 to `last`.
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
mod tests {
    use super::{Digits, PIXELS, SHIPPED};

    /// Returns five rows of zeros, followed by `last`.
    fn with_last(last: &str) -> String {
        let row = format!("{}0\n", "0,".repeat(PIXELS));
        row.repeat(5) + last
    }

    fn problem(csv: impl AsRef<[u8]>) -> String {
        let file = tempfile::NamedTempFile::with_suffix("digits.csv").unwrap();
        std::fs::write(file.path(), csv).unwrap();
        let message = Digits::read(file.path()).unwrap_err().to_string();
        message.strip_prefix(&*file.path().to_string_lossy()).expect("the message begins with the file").to_owned()
    }

    #[test]
    fn shipped_file_contains_1797_digits() {
        let digits = Digits::read(SHIPPED.as_ref()).unwrap();
        assert_eq!(digits.rows(), 1797);
        assert_eq!((digits.label(0), digits.label(1796)), (0, 8));
        assert_eq!(digits.image(0)[..8], [0, 0, 5, 13, 9, 1, 0, 0]);
    }

    #[test]
    fn crlf_line_ends_are_accepted() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), with_last("").replace('\n', "\r\n")).unwrap();
        assert_eq!(Digits::read(file.path()).unwrap().rows(), 5);
    }

    #[test]
    fn error_for_missing_file_names_file_and_option() {
        let message = Digits::read("no/such.csv".as_ref()).unwrap_err().to_string();
        assert!(message.contains("no/such.csv") && message.contains("--data"), "{message}");
    }

    #[test]
    fn empty_file_is_an_error() {
        assert_eq!(problem(""), ", line 1, column 1: the file is empty");
    }

    #[test]
    fn too_few_rows_are_an_error() {
        let rows: String = with_last("").split_inclusive('\n').take(3).collect();
        assert_eq!(problem(rows), ", line 4, column 1: the file ends after 3 rows; the study needs at least 5");
    }

    #[test]
    fn error_for_short_row_points_to_its_end() {
        let says = ", line 6, column 4: the row has 3 columns instead of 65 (64 pixels and a label)";
        assert_eq!(problem(with_last("1,2,3")), says);
    }

    #[test]
    fn blank_row_is_an_error() {
        let says = ", line 6, column 1: the row has 0 columns instead of 65 (64 pixels and a label)";
        assert_eq!(problem(with_last("\n1,2")), says);
    }

    #[test]
    fn error_for_long_row_points_to_first_surplus_column() {
        let says = ", line 6, column 66: the row has 67 columns instead of 65 (64 pixels and a label)";
        assert_eq!(problem(with_last(&vec!["0"; 67].join(","))), says);
    }

    #[test]
    fn pixel_that_is_not_an_integer_is_an_error() {
        let row = format!("0,1.5{}", ",0".repeat(63));
        assert_eq!(problem(with_last(&row)), ", line 6, column 2: `1.5` is not an integer");
    }

    #[test]
    fn too_large_pixel_is_an_error() {
        let row = format!("0,0,17{}", ",0".repeat(62));
        assert_eq!(problem(with_last(&row)), ", line 6, column 3: pixel 17 is not in the range 0 to 16");
    }

    #[test]
    fn negative_pixel_is_an_error() {
        let row = format!("-1{}", ",0".repeat(64));
        assert_eq!(problem(with_last(&row)), ", line 6, column 1: pixel -1 is not in the range 0 to 16");
    }

    #[test]
    fn pixel_that_overflows_every_integer_type_is_an_error() {
        let row = format!("{}{}", "9".repeat(30), ",0".repeat(64));
        assert!(problem(with_last(&row)).ends_with("is not in the range 0 to 16"));
    }

    #[test]
    fn too_large_label_is_an_error() {
        let row = format!("{}10", "0,".repeat(PIXELS));
        assert_eq!(problem(with_last(&row)), ", line 6, column 65: label 10 is not in the range 0 to 9");
    }

    #[test]
    fn error_for_invalid_utf_8_points_to_its_start() {
        let csv = [with_last("0,0,").as_bytes(), b"\xff,0"].concat();
        assert_eq!(problem(csv), ", line 6, column 3: the text is not UTF-8");
    }
}
