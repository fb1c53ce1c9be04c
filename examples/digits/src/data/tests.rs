//! Tests of reading digits, and of the errors for invalid files.

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
